#!/bin/sh
# check_unit.sh UNIT PROGRAM verify|security - systemd's own judgement of the unit file, off line.
#
# `verify` wants the programs of ExecStart and ExecReload to exist, so PROGRAM stands in for the
# installed one. `security` fails above an exposure of 1.5 (nginx of Debian has 9.6, redis 1.2).
set -u
unit=$1 program=$(realpath "$2") check=$3
command -v systemd-analyze >/dev/null || { echo "systemd-analyze is not installed"; exit 77; }
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
sed "s|/usr/bin/recurd|$program|" "$unit" >"$folder/recurd.service" || exit 1
case $check in
verify)
    # --man=no: the pages of other units are none of our business. Only lines about ours count.
    found=$(systemd-analyze verify --man=no --recursive-errors=no "$folder/recurd.service" 2>&1 |
        grep -F recurd)
    [ -z "$found" ] || { echo "$found"; exit 1; }
    ;;
security)
    systemd-analyze security --no-pager --offline=true --threshold=15 "$folder/recurd.service"
    ;;
*)
    echo "unknown check '$check'"
    exit 1
    ;;
esac
