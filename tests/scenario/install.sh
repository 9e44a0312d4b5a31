#!/usr/bin/env bash
# What `make install` puts down works where it lies.
. "$(dirname "$0")/tap.bash"
build=$(dirname "$(realpath "$atoll")")
expect 0 'meson installs the programs' meson install -C "$build" --no-rebuild --destdir "$work/root"
installed=$(find "$work/root" -path '*/bin/atoll')
check 'the command is there' test -x "$installed"
expect 0 'and finds its compiler' "$installed" doctor
expect 0 'also over a symbolic link' sh -c "ln -s '$installed' '$work/atoll' && '$work/atoll' doctor"
sdk=$(dirname "$(dirname "$installed")")/share/atoll/sdk
check 'the SDK lies where it belongs' test -f "$sdk/c/include/atoll.h" -a -f "$sdk/templates/http/atoll.yaml"
expect 0 'and functions are built with it' env -u ATOLL_SDK "$installed" build -v \
    "$sdk/templates/http/http.c" -o "$work/http.wasm"
says 'from there' '/share/atoll/sdk/c/include'
find "$work/root" -name atoll-cc -delete
expect 1 'without the compiler doctor says so' "$installed" doctor
check 'and what to do' grep -q 'atoll-cc' "$out"
finish
