"""layers.py - includes go only along the edges of src/LAYERS, and always downwards."""
import re

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
LAYER = re.compile(r"^(\d+)\s+(\w+):\s*([\w ]*)\|(.*)$")

# C17 and POSIX/Linux headers by name; linux/, sys/ and the like by folder.
STANDARD = set("""assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp
    signal stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath
    threads time uchar wchar wctype dirent dlfcn fcntl fnmatch getopt glob grp netdb poll pthread pwd
    sched semaphore strings syslog termios unistd charconv cstddef cstdint cstring cmath
    system_error""".split())
STANDARD_FOLDERS = ("sys/", "linux/", "netinet/", "arpa/", "net/", "sanitizer/")
DATA_OF = {"errors": "base", "options": "config"}  # .def files and whose they are


def read_layers(tree):
    """{folder: (row, allowed folders, allowed headers of others)} and what is wrong with it."""
    table, wrong = {}, []
    for number, line in enumerate(tree.lines("src/LAYERS"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = LAYER.match(line)
        if match is None:
            wrong.append(("src/LAYERS", number, "want '<row> <folder>: <folders> | <headers>'"))
            continue
        row, folder, edges, headers = match.groups()
        table[folder] = (int(row), edges.split(), headers.split())
    for folder, (row, edges, _) in table.items():
        for edge in edges:
            if edge not in table or table[edge][0] >= row:
                wrong.append(("src/LAYERS", 0, f"{folder} -> {edge} does not lead downwards"))
    return table, wrong


def owner_of_header(name, table):
    """Folder that a public header recurd/<name> belongs to, or None."""
    stem = name.rsplit(".", 1)[0]
    if name.endswith(".def"):
        return DATA_OF.get(stem)
    return stem if stem in table else next((f for f in table if stem.startswith(f + "_")), None)


def folder_of(path, table):
    """Folder whose rules hold for the file."""
    if path.startswith("src/"):
        return path.split("/")[1]
    return owner_of_header(path.rsplit("/", 1)[1], table)


def is_standard(name):
    return name.startswith(STANDARD_FOLDERS) or name.rsplit(".", 1)[0] in STANDARD


def check_layers(tree):
    table, wrong = read_layers(tree)
    yield from wrong
    for path in tree.select(".c", ".h", ".cc", ".cpp", ".inc", under=("src/", "include/recurd/")):
        folder = folder_of(path, table)
        if folder not in table:
            yield path, 0, "belongs to no folder of src/LAYERS"
            continue
        row, edges, headers = table[folder]
        for number, line in enumerate(tree.lines(path), 1):
            match = INCLUDE.match(line)
            if match is None:
                continue
            _, name = match.groups()
            if name.startswith("recurd/"):
                target = owner_of_header(name[len("recurd/"):], table)
                if target is None:
                    yield path, number, f"{name} belongs to no folder"
                elif target != folder and target not in edges:
                    yield path, number, f"{folder} must not include {name} (src/LAYERS)"
            elif match.group(1) == '"':
                if "/" in name and not is_own(name, path):
                    yield path, number, f'"{name}" leads out of the folder'
            elif not is_standard(name) and not allowed_header(name, headers):
                yield path, number, f"{folder} must not include <{name}> (src/LAYERS)"


def is_own(name, path):
    """Does a quoted include with a slash stay inside src/<folder>/?"""
    parts = path.split("/")[:-1]
    for piece in name.split("/")[:-1]:
        if piece == "..":
            parts.pop()
        else:
            parts.append(piece)
    return len(parts) >= 2 and parts[:2] == path.split("/")[:2]


def allowed_header(name, headers):
    return any(name == h or (h.endswith("/") and name.startswith(h)) for h in headers)


RULES = {"layers": check_layers}
