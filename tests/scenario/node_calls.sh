#!/usr/bin/env bash
# Calls of a node: how they end and how that is told apart, chaining in its shapes, cancellation,
# limits, isolation, retries, concurrency. ATOLL_CALLS_FULL=1 runs the sizes of the specification.
. "$(dirname "$0")/node.bash"
cd "$work" || exit 1
if [ -n "${ATOLL_CALLS_FULL:-}" ]; then
    fan=100000 fib=18 fib_value=2584 roots=4000 resets=1000
else
    fan=5000 fib=12 fib_value=144 roots=200 resets=60
fi
acts() { "$atoll" invoke acts -d "$@"; }
answers() { # status name act [query]
    local wanted=$1 name=$2 got
    shift 2
    got=$(curl -s -o "$out" -D "$work/head" -w '%{http_code}' -d "$1" \
        "$ATOLL_NODE/v1/fn/default/acts?${2:-}")
    check "$name" test "$got" = "$wanted"
}
outputs() { # name text: the last call put out exactly this
    check "$1" test "$(cat "$out")" = "$2"
}
milliseconds() { echo $(($(date +%s%N) / 1000000)); }

"$atoll" build "$here/functions/acts.c" -o acts.wasm || exit 1
deploy_as() { # name, lines of a manifest on stdin
    { echo "name: $1"; cat; } >"$1.yaml"
    expect 0 "$1 is deployed" "$atoll" deploy acts.wasm --name "$1" --manifest "$1.yaml"
}
check 'a node starts' node_start --threads 2
deploy_as acts </dev/null

# ---- how calls end ----
expect 0 'a call succeeds' acts 'echo hello'
outputs 'with its output' 'echo hello'
expect 0 'an empty output is a success' acts exit
expect 1 'a code is a failure' acts 'code 3'
says 'with its number' 'returned 3'
expect 1 'a message is a failure' acts 'fail 7'
says 'with its text' 'as asked'
expect 1 'a trap is none' acts trap
says 'but a trap' 'trapped: unreachable'
expect 6 'a deadline is kept' acts spin --timeout 200ms
says 'and named' 'timed out'
answers 200 'over HTTP success is 200' exit
answers 502 'failure 502' 'code 3'
check 'with the code' grep -qi '^atoll-code: 3' head
answers 500 'a trap 500' trap
answers 504 'a deadline 504' spin 'timeout=100ms'
answers 200 'after all that calls still succeed' 'echo again'

# ---- chaining ----
expect 0 'a call calls others and waits for them' acts "fib $fib"
outputs 'which do so as well' $fib_value
expect 0 "a call has $fan children at a time" acts "fan $fan" --timeout 60s
outputs 'all of which end' "$fan"
expect 0 'calls are nested' acts 'deep 64'
outputs 'up to 64 deep' 64
expect 1 'and no deeper' acts 'deep 65'
check 'the node lives on' acts 'echo alive'
begun=$(milliseconds)
expect 0 'a call waits for sleeping children' acts 'park 100'
outputs 'that hold no thread' 100
check 'so that they sleep at the same time' test $(($(milliseconds) - begun)) -lt 10000
for ((i = 0; i < roots; i++)); do
    printf '"park 3"\n'
done >batch
expect 0 "$roots calls start children at the same time" curl -sf -X POST --data-binary @batch \
    -H 'Content-Type: application/x-ndjson' "$ATOLL_NODE/v1/batch/default/acts" -o ids
check 'as many are admitted' test "$(wc -l <ids)" -eq $roots
good=0
while read -r id; do
    "$atoll" call wait "$id" --timeout 60s >"$out" 2>"$err" && [ "$(cat "$out")" = 3 ] && good=$((good + 1))
done < <(grep -o '"call":"[0-9a-f]*"' ids | cut -d'"' -f4)
check 'and all of them end' test $good -eq $roots

# A wake-up that was lost shows as a call that ends only by its deadline.
stuck=0
for ((i = 0; i < resets; i++)); do
    for act in 'fan 100' 'deep 10' 'fan 2' 'fib 6'; do
        acts "$act" --timeout 10s >"$out" 2>"$err" || stuck=$((stuck + 1))
    done
done
check 'no wake-up is lost between one shape and the next' test $stuck -eq 0

# ---- cancelling ----
id=$("$atoll" invoke acts -d spin --async)
expect 0 'a running call is cancelled' "$atoll" call cancel "$id"
"$atoll" call wait "$id" --timeout 5s >/dev/null 2>&1
expect 0 'as that' "$atoll" call get "$id"
check 'it says so' grep -q cancelled "$out"
id=$("$atoll" invoke acts -d 'park 50' --async)
sleep 0.05
expect 0 'one that waits for its children is cancelled' "$atoll" call cancel "$id"
nothing_runs() {
    "$atoll" call graph "$id" --json >"$out" && ! grep -qE '"status":[^,]*"(running|pending)"' "$out"
}
check 'its graph has nothing that still runs' soon nothing_runs
id=$("$atoll" invoke acts -d 'fan 20000' --async)
expect 0 'a wide one is cancelled while it begins' "$atoll" call cancel "$id"
check 'the node answers' acts 'echo alive'
expect 0 'a call ends before its children' acts 'leave 10'
no_calls() { "$atoll" top --json | grep -q '"live_calls":[^0-9]*0,'; }
check 'who end with it' soon no_calls

before=$(workers)
expect 6 'calls that start calls without end have the deadline of their root' acts fork --timeout 2s
says 'which ends them' 'timed out'
expect 0 'and others go on' acts 'echo alive'
check 'in the same worker' test "$(workers)" = "$before"

# ---- limits ----
deploy_as small <<'Y'
limits: { memory: 16MiB, output: 64KiB, log: 4KiB, concurrency: 2 }
Y
small() { "$atoll" invoke small -d "$@"; }
expect 0 'output within the limit' small 'out 65536'
check 'arrives whole' test "$(wc -c <"$out")" -eq 65536
expect 1 'output beyond it is refused to the function' small 'out 65537'
says 'by ATOLL_ELIMIT' 'returned 7'
expect 0 'memory within the limit' small 'eat 4'
expect 1 'memory beyond it is refused to the function' small 'eat 32'
says 'as malloc says' 'returned 95'
expect 0 'a flood of log lines ends no call' small 'log 5000'
begun=$(milliseconds)
for _ in 1 2 3 4; do
    small 'sleep 300' >/dev/null &
done
wait $(jobs -p | grep -vx $node)
check 'two at a time means that four take twice as long' test $(($(milliseconds) - begun)) -ge 550
expect 0 'and nobody is refused for it' small exit

# ---- isolation ----
left=0
for ((i = 0; i < resets; i++)); do
    [ "$(acts mark)" = 0 ] || left=$((left + 1))
done
check 'a call finds nothing that an earlier one wrote' test $left -eq 0

deploy_as keeper </dev/null
expect 0 'nor one of the same tree' acts 'again 3'
outputs 'in memory' 0
deploy_as keeper <<'Y'
reset: tenant-trusted
Y
expect 0 'unless the manifest says so' acts 'again 3'
check 'then it does' test "$(cat "$out")" -ge 524288
expect 0 'of another tree' "$atoll" invoke keeper -d mark
outputs 'it does not' 0
id=$("$atoll" invoke acts -d 'again 3' --async)
"$atoll" call wait "$id" --timeout 10s >/dev/null
expect 0 'the graph' "$atoll" call graph "$id" --json
check 'says which calls did' test "$(grep -o '"kept"' "$out" | wc -l)" -eq 2
expect 0 'the function' "$atoll" fn show keeper
check 'that they may' grep -q '"reset":.*"tenant-trusted"' "$out"
printf 'name: keeper\nreset: never\n' >never.yaml
expect 126 'a function cannot never be reset' "$atoll" deploy acts.wasm --name keeper --manifest never.yaml
says 'which is for services' 'reset: never is for services'

# ---- retries ----
expect 1 'without retries a trap is final' acts 'flaky 2'
acts 'flaky 0' >/dev/null
deploy_as patient <<'Y'
retries: 3
Y
expect 0 'with them a call is tried again' "$atoll" invoke patient -d 'flaky 2'
expect 1 'a failure is not' "$atoll" invoke patient -d 'code 1'

# ---- merging ----
pids=
for _ in 1 2 3 4; do
    acts 'add 10000' >/dev/null &
    pids="$pids $!"
done
wait $pids
expect 0 'additions from several calls' "$atoll" state get default/sum
check 'are all there' test "$(od -An -td8 "$out" | tr -d ' ')" = 40000

check 'the node stops' node_stop TERM
finish
