#!/bin/sh
# check_metrics.sh PRINT_METRICS - promtool must find nothing (its findings are exit status 3).
set -u
command -v promtool >/dev/null || { echo "promtool is not installed"; exit 77; }
text=$("$1") || exit 1
found=$(printf '%s\n' "$text" | promtool check metrics 2>&1)
status=$?
[ -z "$found" ] || { echo "$found"; exit 1; }
exit "$status"
