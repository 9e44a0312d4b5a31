#!/usr/bin/env bash
# Builds and runs the example.
#
#   run.sh PREFIX [INSTANCES]   against an installation below PREFIX
set -eu
here=$(cd "$(dirname "$0")" && pwd)
prefix=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
pc=$(dirname "$(find "$prefix" -name atoll.pc)")
flags=$(PKG_CONFIG_PATH=$pc pkg-config --define-variable=prefix="$prefix" --cflags --libs atoll)

"$prefix/bin/atoll" build --reactor "$here/guest.c" -o "$work/guest.wasm"
# shellcheck disable=SC2086 # the flags are several words
${CC:-cc} -std=c11 -Wall -Wextra -Werror -O2 "$here/embed.c" $flags -o "$work/embed"
export ATOLL_CC=$prefix/libexec/atoll/atoll-cc
"$work/embed" "$work/guest.wasm" ${2:+"$2"}
