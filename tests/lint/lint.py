#!/usr/bin/env python3
"""lint.py [RULE...] - the rules of this tree, each one a check that passes or fails.

Runs from the root of the tree; needs build/release (compiled) for clang-tidy and the generated
configuration. `lint.py --list` names the rules. What a rule finds is printed as path:line: text;
tests/lint/exceptions.txt takes single findings out, with a reason.
"""
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import layers  # noqa: E402
import source_rules  # noqa: E402
import tools  # noqa: E402

HERE = pathlib.Path(__file__).parent


def tracked_files():
    """Files that belong to the tree, as paths relative to its root."""
    try:
        out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], check=True,
                             capture_output=True, text=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):  # not a clone: everything outside build/
        out = [os.path.relpath(os.path.join(folder, name))
               for folder, _, names in os.walk(".") for name in names]
        out = [path for path in out if not path.startswith(("build/", ".git/"))]
    return sorted(path for path in set(out) if os.path.isfile(path))


class Tree:
    """The files of the tree and their lines, read once."""

    def __init__(self):
        self.files = tracked_files()
        self.cache = {}

    def lines(self, path):
        if path not in self.cache:
            data = pathlib.Path(path).read_bytes()
            self.cache[path] = [] if b"\0" in data else data.decode("utf-8", "replace").split("\n")
        return self.cache[path]

    def select(self, *suffixes, under=("",)):
        return [f for f in self.files if f.endswith(suffixes) and f.startswith(tuple(under))]


def read_exceptions():
    """{(rule, path)} that are allowed; each must have a reason."""
    allowed = {}
    for number, line in enumerate((HERE / "exceptions.txt").read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        entry, _, reason = line.partition(" # ")
        fields = entry.split()
        if len(fields) != 2 or not reason.strip():
            sys.exit(f"tests/lint/exceptions.txt:{number}: want 'rule path # reason'")
        allowed[tuple(fields)] = number
    return allowed


RULES = {**layers.RULES, **source_rules.RULES, **tools.RULES}


def main():
    if "--list" in sys.argv:
        print("\n".join(RULES))
        return 0
    wanted = sys.argv[1:] or list(RULES)
    unknown = [name for name in wanted if name not in RULES]
    if unknown:
        sys.exit(f"no rule {unknown[0]}; lint.py --list names them")
    tree, allowed, used = Tree(), read_exceptions(), set()
    passed = failed = 0
    for name in wanted:
        found = []
        for path, line, text in RULES[name](tree):
            if (name, path) in allowed:
                used.add((name, path))
            else:
                found.append(f"{path}:{line}: {text}" if line else f"{path}: {text}")
        print(f"{'ok  ' if not found else 'FAIL'} {name}", flush=True)
        for text in found:
            print(f"     {text}")
        passed, failed = (passed, failed + 1) if found else (passed + 1, failed)
    stale = [key for key in allowed if key[0] in wanted and key not in used]
    for rule, path in stale:
        print(f"FAIL exceptions: tests/lint/exceptions.txt:{allowed[rule, path]}: nothing needs it")
        failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
