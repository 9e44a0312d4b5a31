#!/usr/bin/env bash
# WASI as programs built with the C library see it: each program of wasi/ against what it should print.
. "$(dirname "$0")/tap.bash"
for source in "$here"/wasi/*.c; do
    name=$(basename "$source" .c)
    "$atoll" build -W all -W error "$source" -o "$work/$name.wasm" || exit 1
done

# A fresh directory for the guest, beside one that it may only read and a file that is none of its.
fresh() {
    rm -rf "$work/data" "$work/fixed"
    mkdir "$work/data" "$work/fixed"
    printf content >"$work/fixed/file"
    echo secret >"$work/secret"
}
program() { # name arguments...
    local name=$1
    shift
    "$atoll" run "$work/$name.wasm" --dir "$work/data::/data" --dir "$work/fixed::/fixed::ro" "$@"
}
as_expected() { # name
    check 'just as expected' diff "$here/wasi/$1.expected" "$out"
}

for name in files directories links; do
    fresh
    expect 0 "$name work as in any C program" program $name
    as_expected $name
done

fresh
mkdir "$work/data/d"
ln -s .. "$work/data/up"
ln -s ../secret "$work/data/out"
ln -s /etc "$work/data/etc"
ln -s ../.. "$work/data/d/up2"
before=$(find "$work" -maxdepth 1 ! -name out ! -name err ! -name check | sort)
expect 0 'a program tries every way out' program escape
check 'and finds none' sh -c "! grep 'NOT REFUSED' '$out' && test \$(grep -c refused '$out') -ge 59"
check 'the file outside is as it was' grep -qx secret "$work/secret"
check 'and nothing was made beside it' test "$before" = \
    "$(find "$work" -maxdepth 1 ! -name out ! -name err ! -name check | sort)"

fresh
program process --env A=1 --env 'B=two words' x 'y z' '' </dev/null 2>"$err" | cat >"$out"
as_expected process
says 'its standard error is ours' '^to standard error$'
expect 7 'exit gives its code' program process exit 7
prints 'and what was buffered' 'lost with the buffer, unless exit flushes it'
expect 134 'abort is a trap' program process abort

# Gives a line whenever the program has come to where it waits for one.
converse() {
    local line
    mkfifo "$work/questions" "$work/answers"
    program waiting <"$work/answers" >"$work/questions" 2>"$err" &
    exec 8>"$work/answers" 9<"$work/questions"
    while IFS= read -r line <&9; do
        printf '%s\n' "$line"
        case $line in
        'not at once'*) printf 'first\n' >&8 ;;
        'without'*) printf 'second line\n' >&8 ;;
        'with waiting'*) exec 8>&- ;;
        esac
    done
    exec 9<&-
    wait $!
}
expect 0 'a program waits for times and for input' converse
as_expected waiting

head -c 3000000 /dev/urandom >"$work/bytes"
expect 0 'a file goes through a program' sh -c "'$atoll' run '$work/copy.wasm' <'$work/bytes'"
check 'unchanged' cmp "$work/bytes" "$out"
expect 0 'so do bytes from a pipe' sh -c "cat '$work/bytes' | '$atoll' run '$work/copy.wasm' | cat"
check 'unchanged' cmp "$work/bytes" "$out"
expect 0 'and into a pipe that closes early' sh -c \
    "{ '$atoll' run '$work/copy.wasm' <'$work/bytes' 2>'$work/said'; echo \$? >'$work/code'; } | head -c 10 >/dev/null"
check 'which is an error and no death' sh -c "grep -q Broken '$work/said' && grep -qx 1 '$work/code'"

# The same programs as functions: in a tree in memory, with streams, twice in one instance. There "/"
# is all theirs, and nothing in it is read-only.
runner=$(dirname "$atoll")/tests/scenario/function-run
function_run() { # name arguments...
    local name=$1
    shift
    "$runner" "$(dirname "$atoll")/atoll-cc" "$work/$name.wasm" "$@" </dev/null
}
if [ -x "$runner" ]; then
    for name in files directories links; do
        expect 0 "$name work the same in a tree in memory" function_run $name
        check 'but that all of it is the function'"'"'s' diff "$out" <(sed \
            -e 's/^\(write into a read-only directory\): .*/\1: done/' \
            -e 's/^\(.elsewhere\): .*/\1: No such file or directory/' "$here/wasi/$name.expected")
    done
    expect 0 'a function has arguments, environment, clocks and randomness' function_run process x 'y z' ''
    as_expected process
    says 'its standard error is the log' '^to standard error$'
    expect 7 'exit gives its code' function_run process exit 7
    prints 'and what was buffered' 'lost with the buffer, unless exit flushes it'
    expect 134 'abort is a trap' function_run process abort
    expect 0 'input goes through a function' \
        sh -c "'$runner' '$(dirname "$atoll")/atoll-cc' '$work/copy.wasm' <'$work/bytes'"
    check 'unchanged' cmp "$work/bytes" "$out"
else
    skip 'programs as functions' 'function-run is not built beside the command'
fi

# Stopped while it waits for input, half through a file and a directory, and resumed.
fresh
printf 'line one\nline two\n' >"$work/data/lines"
mkdir "$work/data/many"
touch "$work/data/many/"{a,b,c,d,e,f,g,h,i,j}{1,2}
mkfifo "$work/silence"
"$atoll" run "$work/moved.wasm" --dir "$work/data::/data" --checkpoint "$work/image" \
    <"$work/silence" >"$work/first" 2>"$err" &
program=$!
exec 8>"$work/silence"
until [ -s "$work/first" ] || ! kill -0 $program 2>/dev/null; do sleep 0.01; done
kill -USR2 $program
wait $program
check 'a program that waits can be stopped' test $? -eq 123
exec 8>&-
expect 0 'and goes on with the input of another process' \
    sh -c "echo later | '$atoll' resume '$work/image'"
cat "$work/first" "$out" >"$work/both"
mv "$work/both" "$out"
as_expected moved
cp "$work/data/lines" "$work/copy"
rm "$work/data/lines"
expect 125 'a file that is gone keeps it from going on' "$atoll" resume "$work/image"
says 'and is named' 'lines'
sleep 0.05
cp "$work/copy" "$work/data/lines"
expect 125 'so does another file of its name' "$atoll" resume "$work/image"
finish
