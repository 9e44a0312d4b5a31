#!/usr/bin/env bash
# The first hour with a node: start it, make a function, deploy, call, change, roll back, stop.
. "$(dirname "$0")/node.bash"
cd "$work" || exit 1

check 'a node starts with nothing configured' node_start
expect 0 'a function begins from a template' "$atoll" init hello
expect 0 'and is built and deployed' "$atoll" deploy hello
expect 0 'and called' "$atoll" invoke hello -d World
prints 'with an answer' 'Hello, World!'

sed -i 's/Hello/Goodbye/' hello/*.c
touch -d '+2 seconds' hello/*.c
expect 0 'a changed source is built and deployed again' "$atoll" deploy hello
expect 0 'the next call' "$atoll" invoke hello -d World
prints 'is the new version' 'Goodbye, World!'
expect 0 'the function is rolled back' "$atoll" fn rollback hello
expect 0 'and the next call' "$atoll" invoke hello -d World
prints 'is the old version' 'Hello, World!'
expect 0 'deploying the same bytes' "$atoll" deploy hello
check 'is nothing new' grep -q 'nothing new' "$out"
expect 0 'a source alone is deployed' "$atoll" deploy hello/function.c --name hello2
expect 0 'and deploying it again' "$atoll" deploy hello/function.c --name hello2
check 'is nothing new either' grep -q 'nothing new' "$out"
expect 0 'functions are listed' "$atoll" fn ls
check 'by name' grep -q '^default/hello  *live' "$out"

expect 0 'a call is started without waiting' "$atoll" invoke hello -d async --async
id=$(cat "$out")
expect 0 'waited for' "$atoll" call wait "$id"
prints 'and its output kept' 'Goodbye, async!'
expect 0 'what became of it' "$atoll" call get "$id"
check 'is known' grep -q ': ok' "$out"
expect 0 'its graph' "$atoll" call graph "$id"
check 'has one call' grep -q '^hello  ok' "$out"

expect 5 'a function that is not there is not found' "$atoll" invoke nobody
says 'and named' 'no function default/nobody'
expect 2 'a name that is none is refused' "$atoll" invoke 'No/Name'
expect 5 'a call that is not there is not found' "$atoll" call get 0123456789abcdef

printf 'not a module' >broken.wasm
expect 1 'a file that is no module is refused' "$atoll" deploy broken.wasm --name hello
says 'naming the stage' 'validate'
expect 0 'and the function' "$atoll" invoke hello -d World
prints 'is what it was' 'Goodbye, World!'
printf 'name: default/hello\nlimits: { memroy: 1MiB }\n' >wrong.yaml
expect 126 'a manifest with a misspelt key is refused' \
    "$atoll" deploy hello/hello.wasm --name hello --manifest wrong.yaml
says 'by line and column' 'line 2, column [0-9]+: unknown key "memroy"'

expect 0 'the node is stopped' "$atoll" node drain 1
wait $node
check 'and ends well' test $? -eq 0
expect 3 'without a node nothing is reached' "$atoll" invoke hello
says 'and the message says what to do' 'atoll up'

check 'it starts again' node_start
expect 0 'with the functions it had' "$atoll" invoke hello -d again
prints 'in the version they had' 'Goodbye, again!'
"$atoll" up --data "$work/data" --listen 127.0.0.1:0 >"$out" 2>"$err"
check 'a second node with the same data is refused' test $? -ne 0
says 'with the reason' 'another node uses'
check 'SIGTERM ends it well' node_stop TERM
finish
