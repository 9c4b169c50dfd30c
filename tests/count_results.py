#!/usr/bin/env python3
"""count_results.py BUILD_FOLDER... - what came out of `meson test`, as one line.

A Criterion program counts as its test cases, a program whose last line is "N passed, N failed" as
these, any other as one. A program that meson calls failed counts at least one failure, whatever it
printed, and the end of what it printed stands below its name, so that the end of a log tells why.
Skipped ones are named, not counted. The exit status is 1 when anything failed or nothing ran.
"""
import json
import pathlib
import re
import sys

CRITERION = re.compile(r"Tested: (\d+) \| Passing: (\d+) \| Failing: (\d+) \| Crashing: (\d+)")
SUMMARY = re.compile(r"^(\d+) passed, (\d+) failed$")
ANSI = re.compile(r"\x1b\[[0-9;]*m")
REASON = re.compile(r"FAIL|error|ERROR|[Aa]ssert|SUMMARY|WARNING: ThreadSanitizer|Crash|[Tt]imed out")
TAIL, REASONS, WIDTH = 15, 15, 200


def count(test):
    """(passed, failed) of one entry of testlog.json."""
    text = ANSI.sub("", test.get("stdout", "") + test.get("stderr", ""))
    good = test["result"] in ("OK", "EXPECTEDFAIL")
    passed, failed = (1, 0) if good else (0, 1)
    lines = [line for line in test.get("stdout", "").splitlines() if line.strip()]
    cases = CRITERION.findall(text)
    if cases:
        passed = sum(int(c[1]) for c in cases)
        failed = sum(int(c[2]) + int(c[3]) for c in cases)
    elif lines and SUMMARY.match(lines[-1]):
        passed, failed = (int(n) for n in SUMMARY.match(lines[-1]).groups())
    if not good and failed == 0:
        failed = 1
    return passed, failed


def told(test):
    """Why it failed, in its own words: lines that say so, and its last ones; each marked, none of them a count."""
    lines = [line.rstrip() for part in ("stdout", "stderr") for line in ANSI.sub("", test.get(part, "")).splitlines()]
    lines = [line for line in lines if line.strip() and not SUMMARY.match(line)]
    early = [line for line in lines[:-TAIL] if REASON.search(line)]
    return ["    | " + line[:WIDTH] for line in early[:REASONS] + lines[-TAIL:]]


def main():
    total_passed = total_failed = 0
    for folder in sys.argv[1:]:
        log = pathlib.Path(folder) / "meson-logs" / "testlog.json"
        if not log.exists():
            print(f"{folder}: no test ran")
            total_failed += 1
            continue
        for line in log.read_text().splitlines():
            test = json.loads(line)
            if test["result"] == "SKIP":
                print(f"{folder}: skipped: {test['name']}")
                continue
            passed, failed = count(test)
            total_passed += passed
            total_failed += failed
            if failed:
                print(f"{folder}: {test['name']}: {test['result']}, {failed} failed")
                print(*told(test), sep="\n", end="\n" if told(test) else "")
    print(f"{total_passed} passed, {total_failed} failed")
    return 1 if total_failed or not total_passed else 0


if __name__ == "__main__":
    sys.exit(main())
