#!/usr/bin/env bash
# The commands of README.md's tour work when typed.
. "$(dirname "$0")/tap.bash"
tour=$work/tour
awk '/^```sh$/ {inside = 1; next} /^```$/ {inside = 0} inside' "$here/../../README.md" >"$tour"
check 'README.md has a tour' test "$(wc -l <"$tour")" -gt 15
mkdir "$work/bin"
ln -s "$(realpath "$atoll")" "$work/bin/atoll"
mkdir "$work/typed"
cd "$work/typed" || exit 1
ln -s "$here/../../examples" examples
# The node of the tour listens at the address that readers have; here, at one that is free.
port=$((20000 + RANDOM % 20000))
export ATOLL_LISTEN=127.0.0.1:$port ATOLL_NODE=http://127.0.0.1:$port
expect 0 'every command of the tour succeeds' env PATH="$work/bin:$PATH" bash -eu "$tour"
check 'the program greets' grep -qx 'hello, reader' "$out"
check 'the function greets' grep -qx 'Hello, reader!' "$out"
check 'and its new version welcomes' grep -qx 'Welcome, back!' "$out"
check 'the state is read' grep -q 'shared memory for all functions' "$out"
check 'the words are counted' grep -qx '5641 words' "$out"
check 'without a directory there is no text' grep -qx 'it was given no directory' "$out"
check 'the stopped program went on to its end' grep -qx '20000 of 20000 rounds' "$out"
check 'the receipts of the ledger hold' test "$(grep -c 'rcpt: valid$' "$out")" -gt 20
finish
