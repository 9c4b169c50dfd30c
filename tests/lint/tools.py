"""tools.py - checks that are programs of others or of the build."""
import os
import re
import subprocess

BUILD = "build/release"
FORMATTED = ("src/", "include/", "tests/", "clients/", "conf/")
FINDING = re.compile(r"^(\S+?):(\d+):\d+: (?:warning|error): (.*)$")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def run(command):
    return subprocess.run(command, capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL)


def relative(path, start="."):
    return os.path.relpath(path if os.path.isabs(path) else os.path.join(start, path))


def clang_format(tree):
    files = tree.select(".c", ".h", ".cc", ".cpp", under=FORMATTED)
    seen = set()
    for line in run(["clang-format-14", "--dry-run", *files]).stderr.splitlines():
        match = FINDING.match(line)
        if match and match.group(1) not in seen:
            seen.add(match.group(1))
            yield relative(match.group(1)), int(match.group(2)), "not formatted; ./dev fmt does it"


def clang_tidy(tree):
    """Over src/ only; the compile commands come from the release build."""
    result = run(["run-clang-tidy-14", "-quiet", "-j", str(os.cpu_count() or 2), "-p", BUILD,
                  "-extra-arg=-Wno-unknown-warning-option", "^(?!.*pb-c).*/src/.*\\.c$"])
    found = set()
    for line in result.stdout.splitlines():
        match = FINDING.match(COLOUR.sub("", line))
        if match:
            found.add((relative(match.group(1), BUILD), int(match.group(2)), match.group(3)))
    yield from sorted(found)
    if result.returncode != 0 and not found:
        yield "run-clang-tidy-14", 0, (result.stderr or result.stdout).strip()[-500:]


def generated_conf(tree):
    result = run([f"{BUILD}/conf/print_conf"])
    if result.returncode != 0 or result.stdout != "\n".join(tree.lines("conf/recurd.conf")):
        yield "conf/recurd.conf", 0, "is not what the option table says; ./dev fmt writes it anew"


def shell_syntax(tree):
    scripts = tree.select(".sh") + [f for f in ("dev", ".ci/run") if f in tree.files]
    for path in scripts:
        shell = "bash" if "bash" in tree.lines(path)[0] else "sh"
        result = run([shell, "-n", path])
        if result.returncode != 0:
            yield path, 0, result.stderr.strip()
        if not os.access(path, os.X_OK):
            yield path, 0, "not executable"


def python_syntax(tree):
    for path in tree.select(".py"):
        try:
            compile("\n".join(tree.lines(path)), path, "exec")
        except SyntaxError as error:
            yield path, error.lineno or 0, error.msg


RULES = {
    "shell-syntax": shell_syntax,
    "python-syntax": python_syntax,
    "generated-conf": generated_conf,
    "clang-format": clang_format,
    "clang-tidy": clang_tidy,
}
