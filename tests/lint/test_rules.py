#!/usr/bin/env python3
"""test_rules.py - every rule of ours finds the fault it is for, and nothing in clean text."""
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))
import layers  # noqa: E402
import source_rules  # noqa: E402

RULES = {**layers.RULES, **source_rules.RULES}
LAYERS = "0 base: |\n1 obs: base | ini.h\n1 codec: base |\n"
FUNCTION = "/* big.c - x */\nvoid f(void)\n{\n" + "    x();\n" * 71 + "}\n"


class FakeTree:
    def __init__(self, files):
        self.text = {"src/LAYERS": LAYERS, **files}
        self.files = sorted(self.text)

    def lines(self, path):
        return self.text[path].split("\n")

    def select(self, *suffixes, under=("",)):
        return [f for f in self.files if f.endswith(suffixes) and f.startswith(tuple(under))]


# rule, path, text, is it a fault
CASES = [
    ("layers", "src/obs/a.c", '#include "recurd/base.h"\n#include <ini.h>\n#include <sys/x.h>', 0),
    ("layers", "src/base/a.c", '#include "recurd/obs.h"', 1),
    ("layers", "src/obs/a.c", '#include "recurd/codec_json.h"', 1),
    ("layers", "src/obs/a.c", "#include <uv.h>", 1),
    ("layers", "src/obs/a.c", '#include "../codec/codec_int.h"', 1),
    ("layers", "src/obs/ops/a.c", '#include "../obs_int.h"', 0),
    ("layers", "src/nowhere/a.c", "", 1),
    ("layers", "include/recurd/base.h", '#include "recurd/errors.def"', 0),
    ("layers", "include/recurd/base.h", '#include "recurd/options.def"', 1),
    ("file-size", "src/obs/a.c", "\n" * 601, 1),
    ("file-size", "src/obs/a.c", "\n" * 400, 0),
    ("function-size", "src/obs/big.c", FUNCTION, 1),
    ("function-size", "src/obs/big.c", FUNCTION.replace("    x();\n", "", 1), 0),
    ("file-names", "src/obs/http_util.c", "", 1),
    ("file-names", "src/helpers/a.c", "", 1),
    ("file-names", "src/obs/utilisation.c", "", 0),
    ("design-notes", "src/obs/a.c", "/* a.c - counts\n */", 0),
    ("design-notes", "src/obs/a.c", "#include <x.h>", 1),
    ("banned-calls", "src/obs/a.c", "    strcpy(a, b);", 1),
    ("banned-calls", "src/obs/a.c", '    /* strcpy(a) */ x("strcpy(a)"); my_strcpy(a);', 0),
    ("banned-calls", "src/obs/a.c", "    /* one\n  strcpy(a)\n */ rand ();", 1),
    ("raw-memory", "src/obs/a.c", "    p = malloc(3);", 1),
    ("raw-memory", "src/obs/a.c", "    p = rcd_malloc(3); x->free(p);", 0),
    ("printing", "src/obs/a.c", '    printf("x");', 1),
    ("printing", "src/obs/a.c", '    snprintf(a, n, "x");', 0),
    ("printing", "src/codec/a.c", "    rcd_log(3);", 1),
    ("ending", "src/codec/a.c", "    exit(3);", 1),
    ("ending", "src/codec/a.c", "    on_exit(3);", 0),
    ("threading-notes", "include/recurd/obs.h", "void rcd_x(void);", 1),
    ("threading-notes", "include/recurd/obs.h", "/* Threading: any. */\nvoid rcd_x(void);", 0),
    ("threading-notes", "include/recurd/obs.h", "struct rcd_x;", 0),
    ("unfinished", "src/obs/a.c", "/* TO" "DO later */", 1),
    ("clean-text", "src/obs/a.c", "int a;", 1),
    ("clean-text", "src/obs/a.c", "int a; \n", 1),
    ("clean-text", "src/obs/a.c", "\tint a;\n", 1),
    ("clean-text", "src/obs/a.c", "int a;\n", 0),
    ("machine-paths", "README.md", "see /ro" "ot/x", 1),
    ("machine-paths", "README.md", "from https://mirror.internal/simple", 1),
    ("machine-paths", "README.md", "https://github.com/x and build/work/x", 0),
]


def main():
    failed = 0
    for number, (rule, path, text, fault) in enumerate(CASES):
        found = [f for f in RULES[rule](FakeTree({path: text})) if f[0] == path]
        if bool(found) != bool(fault):
            print(f"case {number}: {rule} on {text!r}: found {found}")
            failed += 1
    missing = set(RULES) - {case[0] for case in CASES if case[3]}
    for rule in missing:
        print(f"rule {rule} has no case that it must find")
        failed += 1
    print(f"{len(CASES) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
