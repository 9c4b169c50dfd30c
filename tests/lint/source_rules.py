"""source_rules.py - sizes, names, banned calls and words, comments of public headers, clean text."""
import pathlib
import re

SOURCE = (".c", ".h", ".cc", ".cpp", ".inc")
CODE = ("src/", "include/", "clients/", "conf/")
TEXT = SOURCE + (".py", ".sh", ".build", ".txt", ".md", ".def", ".conf", ".service", ".socket",
                 ".json", ".proto")
SCRIPTS = ("dev", ".ci/run")
BANNED_CALLS = ("strcpy", "strcat", "stpcpy", "sprintf", "vsprintf", "atoi", "atol", "atof", "gets",
                "strtok", "alloca", "system", "popen", "tmpnam", "mktemp", "rand", "srand",
                "localtime", "gmtime", "ctime", "asctime", "strerror_l", "setjmp", "longjmp")
LOGGERS = ("src/daemon/", "src/obs/", "src/ctl/", "src/api/")
PRINTERS = ("src/daemon/", "src/ctl/")


def code_lines(lines):
    """(number, line) with comments and string contents blanked."""
    in_comment = False
    for number, line in enumerate(lines, 1):
        out, i = [], 0
        while i < len(line):
            if in_comment:
                end = line.find("*/", i)
                if end < 0:
                    break
                in_comment, i = False, end + 2
            elif line.startswith("/*", i):
                in_comment, i = True, i + 2
            elif line.startswith("//", i):
                break
            elif line[i] in "\"'":
                quote, i = line[i], i + 1
                while i < len(line) and line[i] != quote:
                    i += 2 if line[i] == "\\" else 1
                i += 1
                out.append(quote * 2)
            else:
                out.append(line[i])
                i += 1
        yield number, "".join(out)


def file_size(tree):
    for path in tree.select(*SOURCE, ".py", ".sh", under=("src/", "include/", "clients/", "tests/",
                                                          "models/")):
        n = len(tree.lines(path)) - 1
        if n > 600:
            yield path, 0, f"{n} lines, at most 600"
        elif n > 450:
            print(f"warn {path}: {n} lines; over 450 it wants splitting")


def function_size(tree):
    for path in tree.select(".c", ".cc", ".cpp", under=CODE):
        start = None
        for number, line in enumerate(tree.lines(path), 1):
            if line == "{":
                start = number
            elif line == "}" and start is not None:
                if number - start - 1 > 70:
                    yield path, start, f"function of {number - start - 1} lines, at most 70"
                start = None


def file_names(tree):
    for path in tree.files:
        for part in path.lower().split("/"):
            if re.search(r"(^|[_-])(utils?|misc|helpers?|common)([_.-]|$)", part):
                yield path, 0, f"'{part}' says nothing about what is inside"


def design_notes(tree):
    for path in tree.select(".c", ".h", ".cc", ".cpp", under=("src/", "include/")):
        lines = tree.lines(path)
        name = path.rsplit("/", 1)[1]
        if not lines[0].startswith((f"/* {name} - ", f"// {name} - ")):
            yield path, 1, f"opens with '/* {name} - what it owns and the idea'"


def banned_calls(tree):
    pattern = re.compile(r"(?<![\w.>])(" + "|".join(BANNED_CALLS) + r")\s*\(")
    for path in tree.select(*SOURCE, under=("src/", "include/", "clients/", "tests/", "conf/")):
        for number, line in code_lines(tree.lines(path)):
            match = pattern.search(line)
            if match:
                yield path, number, f"{match.group(1)}() is banned"


def raw_memory(tree):
    """malloc and friends have one seam, so that tests can let any allocation fail."""
    pattern = re.compile(r"(?<![\w.>])(malloc|calloc|realloc|free|strdup|strndup|aligned_alloc|"
                         r"posix_memalign)\s*\(")
    for path in tree.select(*SOURCE, under=("src/",)):
        if path == "src/base/memory.c" or path.startswith("src/ctl/"):
            continue
        for number, line in code_lines(tree.lines(path)):
            match = pattern.search(line)
            if match:
                yield path, number, f"{match.group(1)}() instead of rcd_{match.group(1)}"


def printing(tree):
    for path in tree.select(*SOURCE, under=("src/",)):
        for number, line in code_lines(tree.lines(path)):
            if not path.startswith(PRINTERS) and re.search(
                    r"(?<!\w)(printf|puts|putchar|perror)\s*\(|\bfprintf\s*\(\s*std", line):
                if path != "src/base/error.c":  # the assert's last words
                    yield path, number, "prints; return an error or use the log hook"
            if not path.startswith(LOGGERS) and re.search(r"\brcd_log\s*\(", line):
                yield path, number, "logs; only daemon/ and api/ do, others through their hook"


def ending(tree):
    """Only main decides when the process ends; an assert may abort."""
    for path in tree.select(*SOURCE, under=("src/",)):
        if path.startswith(PRINTERS) or path == "src/base/error.c":
            continue
        for number, line in code_lines(tree.lines(path)):
            if re.search(r"(?<!\w)(exit|_exit|abort|quick_exit)\s*\(", line):
                yield path, number, "ends the process"


def threading_notes(tree):
    """A public header that declares functions says who may call them."""
    declares = re.compile(r"\brcd_\w+\s*\(")
    for path in tree.select(".h", under=("include/recurd/",)):
        lines = tree.lines(path)
        first = next((n for n, line in code_lines(lines) if declares.search(line)
                      and not line.lstrip().startswith(("#", "return"))), None)
        if first is not None and not any("Threading:" in line for line in lines):
            yield path, first, "declares functions but has no 'Threading:' note"


def unfinished(tree):
    pattern = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b")
    for path in tree.select(*TEXT, *SCRIPTS):
        for number, line in enumerate(tree.lines(path), 1):
            if pattern.search(line) and not path.startswith("tests/lint/"):
                yield path, number, "finish it or file an issue"


def clean_text(tree):
    for path in tree.select(*TEXT, *SCRIPTS):
        lines = tree.lines(path)
        if lines and lines[-1] != "":
            yield path, len(lines), "no newline at the end of the file"
        for number, line in enumerate(lines, 1):
            if line != line.rstrip() and not path.endswith(".md"):
                yield path, number, "blanks at the end of the line"
            if "\t" in line or "\r" in line:
                yield path, number, "a tab or carriage return"
            if len(line) > 140 and path.endswith(SOURCE + (".py", ".sh", ".build", ".def")):
                yield path, number, f"{len(line)} characters, at most 140"


def machine_paths(tree):
    """Nothing in the tree knows the machine that it was written on."""
    hosts = {line.strip() for line in pathlib.Path("tests/lint/hosts.txt").read_text().splitlines()}
    paths = re.compile(r"(?<![\w.$}-])/(work|root|home/\w+|Users)/")
    link = re.compile(r"https?://(?:[^/@\s\"'<>]*@)?([A-Za-z0-9.-]+)")
    for path in tree.select(*TEXT, *SCRIPTS):
        if path.startswith("tests/lint/"):
            continue
        for number, line in enumerate(tree.lines(path), 1):
            if paths.search(line):
                yield path, number, "a path of somebody's machine"
            for host in link.findall(line):
                if "." in host and host.lower() not in hosts:
                    yield path, number, f"host {host} is not in tests/lint/hosts.txt"


RULES = {
    "file-size": file_size,
    "function-size": function_size,
    "file-names": file_names,
    "design-notes": design_notes,
    "banned-calls": banned_calls,
    "raw-memory": raw_memory,
    "printing": printing,
    "ending": ending,
    "threading-notes": threading_notes,
    "unfinished": unfinished,
    "clean-text": clean_text,
    "machine-paths": machine_paths,
}
