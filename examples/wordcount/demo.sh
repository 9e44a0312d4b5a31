#!/usr/bin/env bash
# From C source to a WebAssembly program that is stopped in the middle and continued by another
# process: builds wordcount.c, runs it under Atoll and natively on the same text, compares, then stops
# it in the middle, continues it from the file, and compares again.
#
#   demo.sh [ATOLL] [TEXT] [ROUNDS]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
atoll=${1:-atoll}
text=${2:-/usr/share/common-licenses/GPL-3}
rounds=${3:-20000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ -t 1 ]; then bold=$'\033[1m' plain=$'\033[0m'; else bold='' plain=''; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
now() { date +%s%N; }
milliseconds() { echo $((($(now) - $1) / 1000000)); }
# What goes to the guest as a file lies in its own directory.
mkdir "$work/data"
cp "$text" "$work/data/text"

say "1. C to WebAssembly:  atoll build wordcount.c -o wordcount.wasm"
"$atoll" build "$here/wordcount.c" -o "$work/wordcount.wasm"
"$atoll" inspect "$work/wordcount.wasm" | head -n 2

say "2. to native code:  atoll compile wordcount.wasm"
"$atoll" compile "$work/wordcount.wasm"

say "3. run:  atoll run wordcount.wasm --dir data::/data::ro /data/text $rounds"
began=$(now)
"$atoll" run "$work/wordcount.wasm" --dir "$work/data::/data::ro" /data/text "$rounds" \
    >"$work/atoll.out"
atoll_ms=$(milliseconds "$began")
cat "$work/atoll.out"

say "4. the same C, compiled for this machine by the same compiler"
clang-19 -O2 -march=x86-64-v3 "$here/wordcount.c" -o "$work/wordcount"
began=$(now)
"$work/wordcount" "$work/data/text" "$rounds" >"$work/native.out"
native_ms=$(milliseconds "$began")
cmp "$work/native.out" "$work/atoll.out"
echo "same output; native $native_ms ms, Atoll $atoll_ms ms with its start ($((100 * atoll_ms / native_ms)) %)"

say "5. stop it in the middle:  atoll run --checkpoint stopped.atoll ... &  kill -USR2"
"$atoll" run "$work/wordcount.wasm" --dir "$work/data::/data::ro" \
    --checkpoint "$work/stopped.atoll" /data/text "$rounds" >"$work/first.out" &
program=$!
# Its first line says that it is a quarter through.
until [ -s "$work/first.out" ] || ! kill -0 $program 2>/dev/null; do sleep 0.02; done
kill -USR2 $program
status=0
wait $program || status=$?
cat "$work/first.out"
if [ "$status" -ne 123 ]; then
    echo "it should have ended with 123 (stopped), not $status" >&2
    exit 1
fi
ls -l "$work/stopped.atoll" | awk '{print "stopped.atoll:", $5, "bytes"}'

say "6. continue it in another process:  atoll resume stopped.atoll"
began=$(now)
"$atoll" resume "$work/stopped.atoll" >"$work/second.out"
cat "$work/second.out"
echo "took $(milliseconds "$began") ms"
cat "$work/first.out" "$work/second.out" | cmp - "$work/atoll.out"
say "Both halves together are what the uninterrupted run printed."
