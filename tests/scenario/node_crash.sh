#!/usr/bin/env bash
# kill -9 of a worker and of the supervisor, in rounds: what was acknowledged as durable is there,
# no push is there by half, functions and aliases are what they were, calls end as lost or are tried
# again. ATOLL_CRASH_ROUNDS (20) says how often; 200 is the size of the specification.
. "$(dirname "$0")/node.bash"
cd "$work" || exit 1
rounds=${ATOLL_CRASH_ROUNDS:-20}

"$atoll" build "$here/functions/acts.c" -o acts.wasm || exit 1
check 'a node starts' node_start --threads 2
printf 'name: acts\nretries: 0\n' >acts.yaml
printf 'name: patient\nretries: 5\n' >patient.yaml
expect 0 'a function is deployed' "$atoll" deploy acts.wasm --name acts --manifest acts.yaml
expect 0 'and one that is tried again' "$atoll" deploy acts.wasm --name patient \
    --manifest patient.yaml

# ---- the worker ----
lost=0 again=0 alive=0
for ((i = 0; i < rounds; i++)); do
    "$atoll" invoke acts -d 'sleep 5000' >"$out" 2>lost.err &
    plain=$!
    "$atoll" invoke patient -d 'sleep 300' >"$out" 2>patient.err &
    patient=$!
    sleep 0.1
    workers | xargs kill -KILL
    wait $plain
    grep -q lost lost.err && lost=$((lost + 1))
    wait $patient && again=$((again + 1))
    [ "$("$atoll" invoke acts -d 'echo alive' 2>>"$work/log")" = 'echo alive' ] && alive=$((alive + 1))
    sleep 1 # a worker that dies young is restarted later and later
done
check 'each call of a killed worker that is not to be tried again is lost' test $lost -eq $rounds
check 'each that is to be tried again succeeds' test $again -eq $rounds
check 'each time the next call succeeds' test $alive -eq $rounds

# ---- the supervisor ----
# One call after another pushes a number; those that were acknowledged are noted.
writer() {
    local n=$1
    while "$atoll" invoke acts -d "push $n" >/dev/null 2>&1; do
        echo "$n" >acknowledged
        n=$((n + 1))
    done
}
# The number that the whole value is, or nothing when it is not one.
whole() {
    "$atoll" state get default/whole >value 2>>"$work/log" || return
    [ "$(wc -c <value)" -eq 262144 ] || return
    od -An -v -td8 -w8 value | sort -u | tr -d ' '
}
echo 0 >acknowledged
starts=0 wholes=0 durable=0 aliases=0 orphans=0
for ((i = 0; i < rounds; i++)); do
    before=$(cat acknowledged)
    writer $((before + 1)) &
    pusher=$!
    sleep "0.$((RANDOM % 4))$((RANDOM % 10))"
    old_workers=$(workers)
    kill -KILL $node
    wait $node 2>/dev/null
    wait $pusher
    acknowledged=$(cat acknowledged)
    for _ in $(seq 100); do # its workers end by themselves
        kill -0 $old_workers 2>/dev/null || break
        sleep 0.02
    done
    kill -0 $old_workers 2>/dev/null && orphans=$((orphans + 1))
    node_start --threads 2 && starts=$((starts + 1))
    now=$(whole)
    if [ "$acknowledged" -eq 0 ] && [ ! -s value ]; then
        now=0
    fi
    [ "$(echo "$now" | wc -w)" -eq 1 ] && wholes=$((wholes + 1))
    # The push that was under way may have been made and not acknowledged.
    [ "$now" = "$acknowledged" ] || [ "$now" = $((acknowledged + 1)) ] && durable=$((durable + 1))
    echo "${now:-$acknowledged}" | head -n 1 >acknowledged
    [ "$("$atoll" invoke acts -d 'echo alive' 2>>"$work/log")" = 'echo alive' ] &&
        "$atoll" invoke patient -d exit 2>>"$work/log" && aliases=$((aliases + 1))
done
check 'the node starts again each time' test $starts -eq $rounds
check 'its workers ended with it' test $orphans -eq 0
check 'no push is there by half' test $wholes -eq $rounds
check 'every push that was acknowledged is there' test $durable -eq $rounds
check 'every function is what it was' test $aliases -eq $rounds
check 'something was pushed at all' test "$(cat acknowledged)" -gt $((rounds / 4))

# ---- in the middle of deployments ----
intact=0
for ((i = 0; i < rounds / 4 + 1; i++)); do
    printf 'name: acts\nretries: 0\nconfig: { round: "%s" }\n' $i >acts.yaml
    "$atoll" deploy acts.wasm --name acts --manifest acts.yaml >"$out" 2>"$err" &
    deployer=$!
    sleep "0.0$((RANDOM % 10))"
    kill -KILL $node
    wait $node 2>/dev/null
    wait $deployer
    node_start --threads 2
    [ "$("$atoll" invoke acts -d 'fib 5' 2>>"$work/log")" = 5 ] && intact=$((intact + 1))
done
check 'a deployment that was cut short leaves the old version or the new' \
    test $intact -eq $((rounds / 4 + 1))
expect 0 'and the same is deployed again' "$atoll" deploy acts.wasm --name acts --manifest acts.yaml
check 'the node stops' node_stop TERM
finish
