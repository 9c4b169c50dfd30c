#!/bin/sh
# run_test.sh PROGRAM [ARGS] - run one test program; fail also when a sanitizer wrote a report.
# Criterion prints a leak but exits 0 (the leak is found in the child that ran the case), so the
# sanitizers write to files here, and any file is a failure.
set -u
logs=$(mktemp -d) || exit 99
trap 'rm -rf "$logs"' EXIT
ASAN_OPTIONS="${ASAN_OPTIONS:-}:log_path=$logs/asan"
UBSAN_OPTIONS="${UBSAN_OPTIONS:-}:log_path=$logs/ubsan"
export ASAN_OPTIONS UBSAN_OPTIONS
"$@"
status=$?
for log in "$logs"/*; do
    [ -f "$log" ] || continue
    echo "--- sanitizer report"
    cat "$log"
    [ "$status" -ne 0 ] || status=1
done
exit "$status"
