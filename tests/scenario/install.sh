#!/usr/bin/env bash
# What `make install` puts down works where it lies.
. "$(dirname "$0")/tap.bash"
build=$(dirname "$(realpath "$atoll")")
expect 0 'meson installs the programs' meson install -C "$build" --no-rebuild --destdir "$work/root"
installed=$(find "$work/root" -path '*/bin/atoll')
check 'the command is there' test -x "$installed"
expect 0 'and finds its compiler' "$installed" doctor
expect 0 'also over a symbolic link' sh -c "ln -s '$installed' '$work/atoll' && '$work/atoll' doctor"
find "$work/root" -name atoll-cc -delete
expect 1 'without the compiler doctor says so' "$installed" doctor
check 'and what to do' grep -q 'atoll-cc' "$out"
finish
