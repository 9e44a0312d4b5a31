#!/usr/bin/env bash
# Shared files: what a tenant keeps on a node, its functions see; what they write there, all see.
. "$(dirname "$0")/node.bash"
is() { # name text: the last expected command printed this, with or without a line end
    check "$1" test "$(cat "$out")" = "$2"
}
check 'a node starts' node_start
expect 0 'an ordinary program is deployed' \
    "$atoll" deploy "$here/functions/files.c" --name files
expect 1 'a file that is not there' "$atoll" invoke files -d 'get /shared/a.txt'

printf 'first' >"$work/a.txt"
expect 0 'a file is put by command' "$atoll" files put default/a.txt "$work/a.txt"
expect 0 'the next call' "$atoll" invoke files -d 'get /shared/a.txt'
is 'reads it' first
expect 0 'also at the top, where the function has no file of that name' \
    "$atoll" invoke files -d 'get /a.txt'
is 'the same' first
printf 'second' >"$work/a.txt"
expect 0 'it is replaced' "$atoll" files put default/a.txt "$work/a.txt"
expect 0 'and the next call' "$atoll" invoke files -d 'get /shared/a.txt'
is 'reads the new one' second

expect 0 'a function writes a file beneath /shared' \
    "$atoll" invoke files -d 'put /shared/b.txt from a function'
expect 0 'another call' "$atoll" invoke files -d 'get /shared/b.txt'
is 'reads it' 'from a function'
expect 0 'and so does the command' "$atoll" files get default/b.txt
is 'the same' 'from a function'
expect 0 'a directory is listed' "$atoll" invoke files -d 'ls /shared'
check 'by name' diff <(printf 'a.txt\nb.txt\n') <(sort "$out")

expect 0 'a file that was never closed' "$atoll" invoke files -d 'half /shared/c.txt half of it'
expect 1 'is not there for others' "$atoll" invoke files -d 'get /shared/c.txt'
expect 0 'a file elsewhere' "$atoll" invoke files -d 'local mine'
is 'is private' mine
expect 1 'and gone with the call' "$atoll" invoke files -d 'get /private'

expect 0 'another tenant has the same program' \
    "$atoll" deploy "$here/functions/files.c" --name other/files
expect 1 'and sees none of these files' "$atoll" invoke other/files -d 'get /shared/a.txt'

expect 0 'a file is removed' "$atoll" files rm default/a.txt
expect 1 'and gone for the next call' "$atoll" invoke files -d 'get /shared/a.txt'
for i in $(seq 200); do echo "$i" | "$atoll" files put "default/many/$i" || break; done
expect 0 'two hundred files are listed' "$atoll" invoke files -d 'ls /shared/many'
check 'all of them' test "$(wc -l <"$out")" -eq 200
check 'the node ends well' node_stop TERM
check 'and starts again' node_start
expect 0 'with the files it had' "$atoll" invoke files -d 'get /shared/b.txt'
is 'unchanged' 'from a function'
finish
