#!/bin/sh
# check_conf.sh PRINT_CONF FILE - is the example file what the option table says?
"$1" | diff -u "$2" - && exit 0
echo "conf/recurd.conf is not what include/recurd/options.def says; './dev fmt' writes it anew"
exit 1
