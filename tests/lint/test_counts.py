#!/usr/bin/env python3
"""test_counts.py - what count_results.py makes of a meson log: the count as the last line, and why something failed."""
import json
import pathlib
import subprocess
import sys
import tempfile

COUNT = pathlib.Path(__file__).parent.parent / "count_results.py"
CRITERION = "[====] Synthesis: Tested: 5 | Passing: 3 | Failing: 1 | Crashing: 1"

# entries of testlog.json, standard output, exit status
CASES = [
    ([("a", "OK", "x", "")], "1 passed, 0 failed\n", 0),
    ([("a", "OK", "ok b\n12 passed, 0 failed\n", "")], "12 passed, 0 failed\n", 0),
    ([("a", "SKIP", "", "")], "B: skipped: a\n0 passed, 0 failed\n", 1),
    ([("a", "FAIL", "", CRITERION)], f"B: a: FAIL, 2 failed\n    | {CRITERION}\n3 passed, 2 failed\n", 1),
    ([("a", "TIMEOUT", "", "")], "B: a: TIMEOUT, 1 failed\n0 passed, 1 failed\n", 1),
    ([("a", "FAIL", "FAIL b\n  x == 3\n\n7 passed, 1 failed\n", "\x1b[31mlog\x1b[0m"), ("c", "OK", "", "")],
     "B: a: FAIL, 1 failed\n    | FAIL b\n    |   x == 3\n    | log\n8 passed, 1 failed\n", 1),
    # the last fifteen lines, and those before them that tell of a fault; long ones are cut
    ([("a", "FAIL", "first\nAssertionError: y\n" + "z\n" * 40 + "w" * 300, "")],
     "B: a: FAIL, 1 failed\n    | AssertionError: y\n" + "    | z\n" * 14 + "    | " + "w" * 200 + "\n0 passed, 1 failed\n", 1),
]


def main():
    failed = 0
    for number, (tests, want, status) in enumerate(CASES):
        with tempfile.TemporaryDirectory() as folder:
            log = pathlib.Path(folder, "meson-logs", "testlog.json")
            log.parent.mkdir()
            log.write_text("".join(json.dumps(dict(zip(("name", "result", "stdout", "stderr"), t))) + "\n" for t in tests))
            p = subprocess.run([sys.executable, str(COUNT), folder], capture_output=True, text=True, check=False)
            if (p.stdout.replace(folder, "B"), p.returncode) != (want, status):
                print(f"case {number}: {p.stdout!r} {p.stderr!r}, status {p.returncode}")
                failed += 1
    print(f"{len(CASES) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
