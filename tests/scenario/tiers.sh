#!/usr/bin/env bash
# Large modules start at tier quick while opt is compiled in the background for the next start.
. "$(dirname "$0")/tap.bash"

# Hundreds of functions that cannot be folded into one, more than 64 KiB of code in all.
{
    echo '#include <stdio.h>'
    echo 'static volatile unsigned input = 7;'
    for i in $(seq 700); do
        echo "__attribute__((noinline)) unsigned f$i(unsigned x) { for (unsigned i = 0; i < x % 9; i++)"
        echo "x = (x ^ $((i * 7919))) * $((i * 2 + 1)) + (x >> $((i % 31 + 1))) - i * x % $((i + 3)) + (x << $((i % 7)));"
        echo "return x % 3 ? x / $((i + 2)) ^ x * $((i + 11)) : x + $((i * 31)); }"
    done
    echo 'int main(void) { unsigned x = input;'
    for i in $(seq 700); do echo "x += f$i(x);"; done
    echo 'printf("%u\n", x); }'
} >"$work/large.c"
expect 0 'a large program is built' "$atoll" build "$work/large.c" -o "$work/large.wasm"
tier() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["tier"])' "$err"; }

expect 0 'it runs' "$atoll" run --json "$work/large.wasm"
cp "$out" "$work/result"
check 'at quick at first' test "$(tier)" = quick
deadline=$((SECONDS + 240))
while [ "$(tier)" = quick ] && [ $SECONDS -lt $deadline ]; do
    sleep 0.5
    "$atoll" run --json "$work/large.wasm" >"$out" 2>"$err"
done
check 'and at opt after a while, without being asked' test "$(tier)" = opt
check 'with the same result' cmp "$work/result" "$out"
expect 0 'a small program is at opt at once' "$atoll" build "$here/programs/world.c" -o "$work/small.wasm"
expect 0 'when it runs' "$atoll" run --json "$work/small.wasm"
check 'the first time' test "$(tier)" = opt
expect 0 'tier quick can be demanded' "$atoll" run --json --tier quick "$work/small.wasm"
check 'even when opt is in the cache' test "$(tier)" = quick
finish
