#!/usr/bin/env bash
# Compiling on a node: a module that takes long holds up neither small ones nor the node's end, and is
# given up when it takes too long.
. "$(dirname "$0")/node.bash"
cd "$work" || exit 1

# 100,000 functions, 400 KiB: a minute of compiling.
python3 - <<'PYTHON'
def number(n):
    out = b''
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])
def section(number_, content):
    return bytes([number_]) + number(len(content)) + content
def module(count):
    exports = b'\2\6_start\0\0\6memory\2\0'
    return (b'\0asm\1\0\0\0' + section(1, b'\1\x60\0\0') + section(3, number(count) + bytes(count)) +
            section(5, b'\1\0\1') + section(7, exports) + section(10, number(count) + b'\2\0\x0b' * count))
open('large.wasm', 'wb').write(module(100000))
open('small.wasm', 'wb').write(module(1))
PYTHON

check 'a node starts' node_start --set drain=1h
"$atoll" deploy large.wasm --name default/large >large.out 2>large.err &
large=$!
sleep 1
expect 0 'a small function is deployed' "$atoll" deploy small.wasm --name default/small
expect 0 'and runs' "$atoll" invoke small
check 'while the large one is still being compiled' kill -0 $large
"$atoll" logs -f >followed 2>&1 &
follower=$!
until [ -s followed ]; do sleep 0.1; done
check 'a node that is told to stop ends in the midst of it, though it may drain for an hour' \
    timeout 60 tail --pid=$(kill -TERM $node; echo $node) -f /dev/null
wait $large
check 'and who deployed is told' test $? -eq 1
check 'why' grep -q 'codegen: the node is stopping' large.err
wait $follower
check 'and who followed the log has seen it' grep -q draining followed

check 'a node that gives two seconds to a module starts' node_start --set limits.compile=2s
expect 1 'a module that takes longer is refused' "$atoll" deploy large.wasm --name default/large
says 'at its stage, with the limit' 'codegen: .*more than 2 seconds.*limits.compile'
expect 0 'and the next one is compiled as ever' "$atoll" deploy small.wasm --name default/other
expect 0 'and runs' "$atoll" invoke other
check 'the node stops' node_stop
finish
