#!/usr/bin/env bash
# atoll run: what a program sees, what it cannot see, and how it may end.
. "$(dirname "$0")/tap.bash"
for name in world failing; do
    "$atoll" build "$here/programs/$name.c" -o "$work/$name.wasm" || exit 1
done
"$atoll" build "$here/programs/functions.c" --reactor -o "$work/functions.wasm" || exit 1
world() { "$atoll" run "$work/world.wasm" "$@"; }
failing() { "$atoll" run "$work/failing.wasm" "$@"; }

expect 0 'a program sees its arguments and variables' world --env A=1 --env B= one 'two words' -- --dir
prints 'exactly those' 'argument one
argument two words
argument --dir
variable A=1
variable B='
expect 42 'its exit code is ours' world exit 42
expect 0 'it reads standard input' sh -c "printf 'a\nb\n' | '$atoll' run '$work/world.wasm' stdin"
prints 'line by line' 'got a
got b'

mkdir "$work/dir"
echo hello >"$work/dir/file"
echo secret >"$work/secret"
ln -s ../secret "$work/dir/link"
expect 0 'it reads files in a directory it was given' world --dir "$work/dir::/data" cat /data/file
prints 'as they are' hello
expect 1 'it sees no other file' world cat "$work/secret"
expect 1 'not even over ..' world --dir "$work/dir::/data" cat /data/../secret
expect 1 'nor over a symbolic link' world --dir "$work/dir::/data" cat /data/link
expect 0 'it writes there' world --dir "$work/dir::/data" write /data/new
check 'the file is there' grep -qx written "$work/dir/new"
expect 1 'but not into a read-only directory' world --dir "$work/dir::/data::ro" write /data/other
check 'where nothing appears' test ! -e "$work/dir/other"
expect 125 'a missing directory is an error' world --dir "$work/none::/data" cat /data/file
says 'that names it' "$work/none"
expect 2 'a malformed --dir is refused' world --dir 'a::b::c' cat x
expect 2 'a malformed --env is refused' world --env A

expect 134 'a division by zero traps' failing divide
says 'by its name' '^atoll: trap: integer divide by zero$'
says 'in its function' 'in divide_by, function [0-9]+, at byte 0x'
says 'and tells the callers' 'called by .*main, function'
expect 134 'reading outside memory traps' failing bounds
says 'by its name' 'out of bounds memory access'
expect 134 'endless recursion traps' failing recurse
says 'by its name' '(call stack exhausted|out of bounds memory access)'
expect 134 'abort traps' failing abort
says 'as unreachable' 'unreachable'
expect 124 'an endless loop is stopped by --timeout' failing --timeout 100ms spin
says 'which says so' 'longer than --timeout'
mkfifo "$work/silent"
expect 124 'so is waiting for input' sh -c \
    "sleep 20 >'$work/silent' & '$atoll' run --timeout 100ms '$work/failing.wasm' wait <'$work/silent'; status=\$?; kill \$!; exit \$status"
expect 134 'an endless loop runs out of fuel' failing --fuel 1000000 spin
says 'by its name' 'fuel'
for option in --timeout=0 --fuel=0 --fuel=9223372036854775808 --mem-max=0 --mem-max=5G --stack=1K \
    --stack=65M --checkpoint= --invoke=; do
    expect 2 "a limit that cannot be is refused: $option" failing ${option%%=*} "${option#*=}" spin
    says 'by the name of its option' "atoll run: ${option%%=*} (can be|takes)"
done
expect 0 'memory ends at --mem-max' failing --mem-max 16M memory
check 'and malloc fails there' sh -c "test \"\$(cut -d' ' -f1 '$out')\" -lt 16"
printf '(module (memory 49152) (func (export "_start")))' >"$work/large.wat"
wat2wasm "$work/large.wat" -o "$work/large.wasm"
expect 0 'memory can reach up to 4 GiB' "$atoll" run --mem-max 4G "$work/large.wasm"
expect 126 'a module that begins with more than it may have is refused' "$atoll" run "$work/large.wasm"
says 'with both sizes' 'needs 3145728 KiB of memory at the start but may have 524288 KiB'
"$atoll" run "$work/failing.wasm" spin 2>"$err" &
program=$!
sleep 0.2
kill -SEGV $program
wait $program 2>>"$err"
check 'a fault signal that somebody sent ends the process and is no trap' test $? -eq 139
expect 125 'beyond a file size limit there is an error' \
    bash -c "ulimit -f 1; '$atoll' run --no-cache '$work/world.wasm' 2>&1 | cat >&2; exit \${PIPESTATUS[0]}"
says 'that names it' 'File too large'

functions() { "$atoll" run "$work/functions.wasm" --invoke "$@"; }
functions_json() { "$atoll" run "$work/functions.wasm" --json --invoke "$@"; }
expect 0 'an export is called with arguments' functions add 40 -- 2
prints 'and its result printed' 42
expect 0 'integers wrap as in the program' functions add 0x7fffffff 1
prints 'to negative' -2147483648
expect 0 'negative arguments go after two dashes' functions add -- -5 3
prints 'as themselves' -2
expect 0 'floats are read and printed exactly' functions scale 3 0.1 1.5
prints 'all digits' 1.8
expect 0 'a reactor is initialised first' functions ready
prints 'by its constructors' 42
expect 2 'a wrong number of arguments is refused' functions add 1
expect 2 'a value of another type is refused' functions add 1 1.5
says 'by position and type' 'argument 2: .* type i32'
expect 2 'a value out of range is refused' functions add 1 4294967296
expect 126 'an export that is not there is refused' functions subtract 1 2
says 'and the others are listed' '^  fibonacci$'
expect 126 'a reactor has no _start' "$atoll" run "$work/functions.wasm"

for tier in quick opt; do
    for mode in fast exact; do
        expect 0 "tier $tier in mode $mode computes the same" \
            functions fibonacci --tier $tier --mode $mode 20
        prints 'namely this' 6765
    done
done
expect 0 'so does the oldest processor level' functions fibonacci --cpu v2 20
prints 'namely this' 6765

expect 0 'the outcome can be had as JSON' functions_json add 1 2
expect 0 'a second start comes from the cache' functions_json add 1 2
check 'and says so' python3 -c '
import json, sys
o = json.load(open(sys.argv[1]))
assert o["end"] == "done" and o["results"] == ["3"] and o["cached"] is True, o' "$err"
expect 134 'a trap can be had as JSON' failing --json divide
check 'with its frames' python3 -c '
import json, sys
o = json.load(open(sys.argv[1]))
assert o["end"] == "trap" and o["trap"]["frames"][0]["name"] == "divide_by", o' "$err"

expect 0 'without the cache nothing is kept' \
    env ATOLL_CACHE="$work/untouched" "$atoll" run --no-cache "$work/world.wasm"
check 'no file' test -z "$(find "$work/untouched" -type f 2>/dev/null)"
find "$ATOLL_CACHE" -type f -exec sh -c 'printf garbage | dd of="$1" bs=1 seek=200 conv=notrunc 2>/dev/null' _ {} \;
expect 42 'damaged cache entries are made anew' world exit 42

for file in "$work"/*.wasm; do
    expect 0 "compile fills the cache with $(basename "$file")" \
        env ATOLL_CACHE="$work/second" "$atoll" compile --json "$file"
done
expect 0 'compile -o writes a file' "$atoll" compile "$work/world.wasm" -o "$work/world.artefact"
check 'which is there' test -s "$work/world.artefact"
finish
