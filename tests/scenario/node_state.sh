#!/usr/bin/env bash
# State as functions use it on a node: every host function, bad arguments, and what is left of it
# when a call or its worker dies.
. "$(dirname "$0")/node.bash"
cd "$work" || exit 1
state() { "$atoll" invoke state -d "$@"; }

expect 0 'the function is built' "$atoll" build "$here/functions/state.c" -o state.wasm
check 'a node starts' node_start --threads 2
cat >state.yaml <<'Y'
name: state
timeout: 60s
state:
  - { prefix: v, rights: rwld }
  - { prefix: m, rights: rwld }
  - { prefix: sum, rights: rwld }
  - { prefix: l, rights: rwld }
  - { prefix: g, rights: rwld }
  - { prefix: absent, rights: rwld }
  - { prefix: kept, rights: rwld }
  - { prefix: here, rights: rwld }
  - { prefix: held, rights: rwld }
  - { prefix: c, rights: rwld }
  - { prefix: q, rights: rwld }
Y
expect 0 'it is deployed' "$atoll" deploy state.wasm --name state --manifest state.yaml
expect 0 'values, mappings, merges, entries, locks, lists and objects are as promised' state all
expect 0 'bad arguments are refused and do no harm' state garbage

# ---- eight calls at once, on two threads: they run beside each other and interrupt each other ----
for i in 1 2 3 4 5 6 7 8; do
    state add >"add.$i" 2>&1 &
    adding[i]=$!
done
added=0
for i in 1 2 3 4 5 6 7 8; do
    wait "${adding[i]}" && added=$((added + $(cat "add.$i")))
done
expect 0 'eight calls add to one number at once' "$atoll" state get default/sum/total
check 'and nothing of it is lost' test "$(od -An -tu8 "$out" | tr -d ' ')" = "$added"

# ---- what HTTP and functions see of each other ----
expect 0 'a function pushes' state put
expect 0 'HTTP sees it' "$atoll" state get default/kept
check 'as it was pushed' test "$(cat "$out")" = push
expect 0 'a key may have dots between slashes' "$atoll" state put default/dots/../x dots
expect 0 'it is read' "$atoll" state get default/dots/../x
check 'as it was put' test "$(cat "$out")" = dots
expect 2 'entries are asked for by number' "$atoll" state entries default/kept --from x
check 'over HTTP, too' test "$(curl -s -o /dev/null -w '%{http_code}' \
    "$ATOLL_NODE/v1/state/default/kept?entries=x")" = 400
printf next >next
expect 0 'HTTP changes it' "$atoll" state put default/kept @next
expect 0 'the next call' state get
check 'sees that' test "$(cat "$out")" = next

# ---- what a zygote leaves ----
expect 0 'a function reads state in its zygote' \
    "$atoll" build "$here/functions/prepared.c" -o prepared.wasm
expect 0 'and is deployed' "$atoll" deploy prepared.wasm --name prepared
expect 0 'its calls' "$atoll" invoke prepared
check 'begin with what it kept' test "$(cat "$out")" = next
expect 0 'one that leaves a value mapped is built' \
    "$atoll" build -D LEAVE_MAPPED "$here/functions/prepared.c" -o mapped.wasm
expect 1 'and refused' "$atoll" deploy mapped.wasm --name mapped
says 'with what to do' 'zygote: .*"state" is mapped into it: unmap it first'

# ---- deaths ----
state hold --timeout 500ms >/dev/null 2>&1
expect 0 'a call that ended gives its lock back' state held
state die --timeout 50s >/dev/null 2>&1 &
sleep 1
for one in $(workers); do kill -KILL "$one"; done
wait $!
expect 0 'after its worker died, a call' state get
check 'sees nothing that was not pushed' test "$(cat "$out")" = next
expect 0 'but values that are local to the node as they were' state look
state hold --timeout 50s >/dev/null 2>&1 &
sleep 1
for one in $(workers); do kill -KILL "$one"; done
wait $!
expect 0 'a dead worker holds no lock' state held

check 'the node stops' node_stop TERM
finish
