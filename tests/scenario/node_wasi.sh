#!/usr/bin/env bash
# Small unmodified C programs that read standard input and write standard output, as functions: each
# must put out and return what the same source, compiled for this machine, does.
. "$(dirname "$0")/node.bash"
compiler=$(command -v clang-19 || command -v cc) || {
    skip 'programs as functions' 'no C compiler for this machine'
    exit 0
}
cd "$work" || exit 1
check 'a node starts' node_start
sed -n '1,40p' "$here/node_wasi.sh" >text
head -c 3000 "$here/filters/sha256.c" >>text
: >nothing
printf 'no newline (at the end)' >short
for source in "$here"/filters/*.c; do
    name=$(basename "$source" .c)
    "$compiler" -O1 -w "$source" -o native -lm || exit 1
    expect 0 "$name is deployed as it is" "$atoll" deploy "$source" --name "$name"
    for input in text nothing short; do
        [ "$input" = nothing ] && [ "$name" = statistics ] && continue # 0 / 0 has a sign or not
        ./native <$input >wanted
        status=$?
        curl -s -o got -D head --data-binary @$input "$ATOLL_NODE/v1/fn/default/$name"
        code=$(tr -d '\r' <head | sed -n 's/^[Aa]toll-[Cc]ode: //p')
        if [ $status -eq 0 ]; then
            check "$name of $input is the same" cmp wanted got
        else
            check "$name of $input ends the same" test "${code:-0}" -eq $status
        fi
    done
done
check 'the node stops' node_stop TERM
finish
