#!/usr/bin/env bash
# What `make install` puts down is enough to embed Atoll: the example is built against it, and runs.
. "$(dirname "$0")/tap.bash"
build=$(dirname "$(realpath "$atoll")")
meson install -C "$build" --no-rebuild --destdir "$work/root" >"$out" 2>"$err"
prefix=$(dirname "$(dirname "$(find "$work/root" -path '*/bin/atoll')")")
check 'the headers are there' test -f "$prefix/include/atoll/atoll.h"
library=$(find "$prefix" -name libatoll.a)
check 'the library shows no name but those of the interface' \
    sh -c "nm -g --defined-only '$library' | awk 'NF == 3 && \$3 !~ /^atoll_/ { print; bad = 1 } END { exit bad }'"
check 'the header stands alone in C11' \
    sh -c "echo '#include <atoll/atoll.h>' | cc -std=c11 -pedantic -Wall -Wextra -Werror -I '$prefix/include' -fsyntax-only -x c -"
if command -v c++ >/dev/null; then
    check 'and in C++' \
        sh -c "echo '#include <atoll/atoll.h>
            struct atoll_wasi_config config = ATOLL_WASI_CONFIG;
            struct atoll_val value = atoll_f64(1);' |
            c++ -std=c++17 -Wall -Wextra -Werror -Wno-missing-field-initializers -I '$prefix/include' -fsyntax-only -x c++ -"
else
    skip 'the header in C++' 'no C++ compiler'
fi
expect 0 'the example builds and runs' "$here/../../examples/embed/run.sh" "$prefix" 1000
check 'its guest called the host' grep -q 'reports, to its host: 1000' "$out"
check 'its trap was caught and placed' grep -q 'in element' "$out"
check 'its loop was interrupted' grep -q 'interrupted after' "$out"
# 1000 totals of 1000 + k for k in [0, 1000)
check 'its instances were a thousand, each with memory of its own' \
    grep -q '1000 instances.*sum to 1499500' "$out"
finish
