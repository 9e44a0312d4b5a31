#!/usr/bin/env bash
# A node under many clients that ask for random things while workers are killed, functions are
# deployed anew and removed: every call is answered by its deadline, rightly, and nothing is left
# over. ATOLL_STRESS_SECONDS: how long each part takes (2); ATOLL_STRESS_SEED: which random things.
. "$(dirname "$0")/node.bash"
cd "$work" || exit 1
seconds=${ATOLL_STRESS_SECONDS:-2} seed=${ATOLL_STRESS_SEED:-1}
stress=${ATOLL_STRESS:-$(dirname "$(readlink -f "$atoll")")/tests/scenario/node-stress}

if [ ! -x "$stress" ]; then
    skip 'a node under stress' "there is no $stress"
    finish
fi
"$atoll" build "$here/functions/acts.c" -o acts.wasm || exit 1
children() { ps --ppid $node -o pid=,stat=,args=; }
open_files() { find "/proc/$1/fd" -mindepth 1 2>/dev/null | wc -l; }
mappings() { wc -l <"/proc/$1/maps"; }
worker_id() { children | awk '/ worker /{print $1}'; }
pressed() { # what the clients are asked to do; their report is shown when they are not content
    "$stress" "${ATOLL_NODE##*:}" "$@" >"$out" 2>"$err"
}
settled() { # what command... says must come to be at most $1
    local most=$1
    shift
    for _ in $(seq 100); do
        [ "$("$@")" -le "$most" ] && return
        sleep 0.1
    done
    echo "$("$@") and not $most"
    return 1
}

for threads in 1 2 4; do
    check "a node with $threads guest threads starts" node_start --threads $threads
    expect 0 'a function is deployed' "$atoll" deploy acts.wasm --name acts
    check 'a first round of calls is answered' pressed 16 2 "$seed"
    files=$(open_files $node) worker=$(worker_id)
    worker_files=$(open_files "$worker")
    check 'every call of many clients is answered' pressed 16 "$seconds" "$seed$threads"
    check 'and of one that calls now and then' pressed 1 "$seconds" "$seed$threads"
    check 'the supervisor has no more files open' settled $((files + 4)) open_files $node
    check 'nor has the worker' settled $((worker_files + 4)) open_files "$worker"
    check 'the worker is the same process' test "$(worker_id)" = "$worker"
    check 'it stops' node_stop TERM
done

check 'the node starts again' node_start --threads 2
files=$(open_files $node)
(
    for round in $(seq $((seconds * 2))); do
        sleep 0.5
        kill -KILL $(worker_id) 2>/dev/null
        printf 'name: acts\nenv: { ROUND: "%s" }\n' "$round" >acts.yaml
        "$atoll" deploy acts.wasm --name acts --manifest acts.yaml
        "$atoll" deploy acts.wasm --name passing --manifest acts.yaml
        "$atoll" invoke passing -d 'fan 50' &
        "$atoll" fn rm passing
    done
    wait
) >changes 2>&1 &
changes=$!
check 'every call is answered while workers die and functions change' \
    pressed 12 $((seconds + 1)) "$seed" chaos
wait $changes
expect 0 'afterwards calls succeed' "$atoll" invoke acts -d 'fan 100'
check 'as before' grep -qx 100 "$out"
check 'there are no zombies' test -z "$(children | awk '$2 ~ /Z/')"
check 'and no workers too many' test "$(worker_id | wc -l)" -le 1

# ---- ends ----
"$atoll" invoke acts -d 'park 50' >parked 2>&1 &
parked=$!
sleep 0.1
check 'a node that is stopped finishes what is parked' node_stop TERM
wait $parked
check 'whose caller has the answer' grep -qx 50 parked

check 'the node starts' node_start --threads 2
for _ in 1 2 3; do "$atoll" invoke acts -d spin --timeout 20s >/dev/null 2>&1 & done
sleep 0.3
kill -TERM $node
sleep 0.1
begun=$SECONDS
check 'a second SIGTERM does not wait for endless calls' node_stop TERM
check 'for long' test $((SECONDS - begun)) -lt 15

check 'the node starts' node_start --threads 2
expect 0 'and serves' "$atoll" invoke acts -d 'fib 5'
orphans=$(children | awk '{print $1}')
kill -KILL $node
wait $node 2>/dev/null
gone() {
    local alive=0
    for one in $orphans; do kill -0 "$one" 2>/dev/null && alive=$((alive + 1)); done
    echo $alive
}
check 'when the supervisor is killed, nothing keeps running' settled 0 gone
check 'the node starts with the same data' node_start --threads 2
expect 0 'and serves again' "$atoll" invoke acts -d 'fan 20'
check 'as before' grep -qx 20 "$out"
check 'it stops' node_stop TERM
finish
