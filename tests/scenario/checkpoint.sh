#!/usr/bin/env bash
# Stopping a running program at any instruction and going on in another process.
. "$(dirname "$0")/tap.bash"
"$atoll" build "$here/programs/counter.c" -o "$work/counter.wasm" || exit 1
"$atoll" build "$here/programs/failing.c" -o "$work/failing.wasm" || exit 1
"$atoll" build "$here/programs/functions.c" --reactor -o "$work/functions.wasm" || exit 1
steps=60
mkdir "$work/data"

expect 0 'the program runs through' \
    "$atoll" run "$work/counter.wasm" --dir "$work/data::/data" /data/log $steps
cp "$out" "$work/whole"

# Stopped every now and then, each time continued in a new process, until it ends.
"$atoll" run "$work/counter.wasm" --dir "$work/data::/data" --checkpoint "$work/image" \
    --checkpoint-after 50ms /data/log $steps >"$work/parts" 2>"$err"
status=$? moves=0
while [ $status -eq 123 ] && [ $moves -lt 200 ]; do
    moves=$((moves + 1))
    mv "$work/image" "$work/image.now"
    "$atoll" resume "$work/image.now" --checkpoint "$work/image" --checkpoint-after 50ms \
        >>"$work/parts" 2>"$err"
    status=$?
done
check 'a program that is stopped again and again ends well' test $status -eq 0
check 'it was stopped at least three times' test $moves -ge 3
check 'the parts together are what the uninterrupted run printed' cmp "$work/whole" "$work/parts"
check 'and so is the file it kept open' cmp "$work/whole" "$work/data/log"

"$atoll" run "$work/counter.wasm" --dir "$work/data::/data" --checkpoint "$work/image" \
    /data/log $steps >"$work/first" 2>"$err" &
program=$!
until [ -s "$work/first" ] || ! kill -0 $program 2>/dev/null; do sleep 0.01; done
kill -USR2 $program
wait $program
check 'SIGUSR2 stops a program, which ends with 123' test $? -eq 123
expect 0 'it goes on from the file' "$atoll" resume "$work/image"
cat "$out" >>"$work/first"
check 'where it was' cmp "$work/whole" "$work/first"

expect 125 'another directory is refused for a name that the program never had' \
    "$atoll" resume "$work/image" --dir "$work::/elsewhere"
says 'naming it' 'had no directory /elsewhere'
mkfifo "$work/device"
expect 0 'without a regular file to write to there is no checkpoint' "$atoll" run \
    --checkpoint "$work/device" --checkpoint-after 30ms "$work/functions.wasm" \
    --invoke fibonacci 38
says 'and a message says why' 'no regular file'
check 'and what was there stays' test -p "$work/device"

echo other >"$work/data/other"
mv "$work/data/other" "$work/data/log"
expect 125 'another file in the place of one it had open is refused' "$atoll" resume "$work/image"
says 'and named' 'log'
check 'and left alone' grep -qx other "$work/data/log"

expect 123 'a function called by name is stopped, too' "$atoll" run "$work/functions.wasm" \
    --checkpoint "$work/image" --checkpoint-after 30ms --invoke fibonacci 40
expect 0 'goes on' "$atoll" resume "$work/image"
prints 'and its result is printed by who ended it' 102334155
expect 0 'one image can be continued more than once' "$atoll" resume "$work/image"
prints 'with the same result' 102334155

cp "$work/image" "$work/altered"
printf 'x' | dd of="$work/altered" bs=1 seek=$(($(stat -c %s "$work/image") / 2)) conv=notrunc \
    2>/dev/null
expect 126 'an altered image is refused' "$atoll" resume "$work/altered"
head -c 1000 "$work/image" >"$work/short"
expect 126 'a truncated image is refused' "$atoll" resume "$work/short"
expect 126 'an image of a stranger is refused' \
    env ATOLL_HOME="$work/stranger" "$atoll" resume "$work/image"
says 'naming the key it claims' "$(cat "$ATOLL_HOME/sign.pub")"
expect 0 'and accepted with --trust' env ATOLL_HOME="$work/stranger" "$atoll" resume \
    --trust "$(cat "$ATOLL_HOME/sign.pub")" "$work/image"
prints 'with the same result' 102334155

mkfifo "$work/pipe"
sleep 30 >"$work/pipe" &
writer=$!
expect 123 'a program that waits for input is stopped, too' "$atoll" run "$work/failing.wasm" \
    --checkpoint "$work/image" --checkpoint-after 100ms wait <"$work/pipe"
kill $writer
printf 'A' >"$work/letter"
expect 65 'and goes on waiting in the other process' "$atoll" resume "$work/image" <"$work/letter"
expect 2 '--checkpoint-after needs --checkpoint' \
    "$atoll" run --checkpoint-after 1s "$work/counter.wasm"
finish
