#!/usr/bin/env bash
# The SDK of functions: every template and example passes its own test in the native shim, becomes a
# module without a flag, and that module is the kind of module it should be.
. "$(dirname "$0")/tap.bash"
top=$(realpath "$here/../..")
PATH=$(dirname "$(realpath "$atoll")"):$PATH
export ATOLL_SDK=$top/sdk SDK=$top/sdk
make() { command make --silent CC="${CC:-clang-19} -Werror -Wextra" "$@"; }

exports() { # file name
    "$atoll" inspect "$1" | grep -q "^export [a-z]* $2: "
}
# A function: what the host looks for, and nothing imported but from Atoll and WASI.
is_function() { # file
    exports "$1" atoll_main && exports "$1" _initialize && exports "$1" memory &&
        exports "$1" __indirect_function_table && ! exports "$1" _start &&
        ! "$atoll" inspect "$1" | grep '^import' | grep -vqE ' (atoll|wasi_snapshot_preview1)\.'
}

for template in function http chain state wasi; do
    cp -r "$top/sdk/templates/$template" "$work/$template"
    sed -i "s/@NAME@/my-$template/g" "$work/$template"/*
    check "a project of the template $template has no mark left" \
        sh -c "! grep -rq '@NAME@' '$work/$template'"
    expect 0 "its test passes" make -C "$work/$template" test
    prints 'and says so' ok
    expect 0 'and it becomes a module' make -C "$work/$template" "my-$template.wasm"
    if [ "$template" = wasi ]; then
        check 'which is a plain program' exports "$work/wasi/my-wasi.wasm" _start
        expect 0 'that passes the same test' \
            sh "$work/wasi/test.sh" "$atoll" run "$work/wasi/my-wasi.wasm"
    else
        check 'which is a function' is_function "$work/$template/my-$template.wasm"
    fi
done

for example in wordcount-chain hogwild inference shortener; do
    cp -r "$top/examples/$example" "$work/$example"
    expect 0 "the example $example passes its test" make -C "$work/$example" test
    prints 'and says so' ok
    expect 0 'and is built' make -C "$work/$example"
    check 'there is a module' sh -c "find '$work/$example' -name '*.wasm' | grep -q ."
    for module in $(find "$work/$example" -name '*.wasm'); do
        check "$(basename "$module") is a function" is_function "$module"
    done
done

make -C "$work/hogwild" hogwild-native && make -C "$work/inference" native
expect 0 'the native reference of hogwild runs' "$work/hogwild/hogwild-native" 2000 2 1
check 'and learns' awk '/^epoch 1/ { first = $4 } /^epoch 2/ { exit !($4 < first) }' "$out"
expect 0 'the network is built as a plain program' \
    "$atoll" build -O3 "$work/inference/native.c" -o "$work/network.wasm"
expect 0 'it classifies natively' "$work/inference/native" 1 5
cp "$out" "$work/native.out"
expect 0 'and in Atoll' "$atoll" run "$work/network.wasm" 1 5
check 'with the same figures to the last digit' cmp "$work/native.out" "$out"

expect 0 'a function that imports everything is built' \
    "$atoll" build "$here/programs/imports.c" -o "$work/imports.wasm"
expect 0 'inspect shows it' "$atoll" inspect "$work/imports.wasm"
check 'and its imports are those of sdk/c/imports.txt' sh -c \
    "sed -n 's/^import function atoll\.//p' '$out' | LC_ALL=C sort | diff '$top/sdk/c/imports.txt' -"
sed -n 's/.*ATOLL_IMP(\([a-z_]*\)).*/\1/p' "$top/sdk/c/include/atoll.h" | grep -v '^name$' |
    LC_ALL=C sort >"$work/declared"
check 'which are all that atoll.h declares' \
    sh -c "sed 's/:.*//' '$top/sdk/c/imports.txt' | diff '$work/declared' -"

# The tour of docs/functions.md: its first blocks are a function, its manifest, its test, a command.
mkdir "$work/tour"
awk -v directory="$work/tour" '/^    / { if (!inside) block++; inside = 1; print substr($0, 5) > (directory "/" block); next }
     /^$/ { if (inside) print "" > (directory "/" block); next }
     { inside = 0 }' "$top/docs/functions.md"
mv "$work/tour/1" "$work/tour/greet.c"
mv "$work/tour/3" "$work/tour/test.c"
expect 0 'the function of the tour is built' \
    "$atoll" build "$work/tour/greet.c" -o "$work/tour/greet.wasm"
check 'and is a function' is_function "$work/tour/greet.wasm"
expect 0 'its test is compiled as the tour says, and passes' \
    sh -c "cd '$work/tour' && cc() { clang-19 \"\$@\"; } && tail -n 1 test.c >command && sed -i '\$d' test.c && . ./command"

cat >"$work/random.c" <<'C'
#include <atoll.h>
#include <stdlib.h>
ATOLL_FUNCTION(random_function) { return rand() & 1; }
C
expect 0 'a function that uses rand is built' "$atoll" build "$work/random.c" -o "$work/random.wasm"
check 'and has the hook that seeds it anew after a restore' exports "$work/random.wasm" atoll_on_restore
check 'which others do not have' \
    sh -c "! '$atoll' inspect '$work/imports.wasm' | grep -q atoll_on_restore"
cat >"$work/own.c" <<'C'
#include <atoll_random.h>
#include <stdio.h>
#include <stdlib.h>
int rand(void) { return 4; }
int main(void)
{
    srand(7);
    srandom(7);
    long a = random();
    srandom(7);
    printf("%d %d %d\n", rand(), a == random(), arc4random_uniform(1) == 0);
    return 0;
}
C
expect 0 'a program may have a rand of its own beside the others' \
    "$atoll" build "$work/own.c" -o "$work/own.wasm"
expect 0 'and it runs' "$atoll" run "$work/own.wasm"
prints 'with its own' '4 1 1'

expect 0 'without the SDK a plain program is still built' \
    env ATOLL_SDK="$work/nowhere" "$atoll" build "$here/programs/world.c" -o "$work/world.wasm"
finish
