#!/usr/bin/env bash
# The ledger in the deterministic simulator. SIMULATION_SEEDS (300) seeds are run in fair and foul
# weather, with liars and without; the rest is sized to match. From 1,000 seeds on every fault,
# trick and lie has to have acted. LEDGER_SIM names the directory that holds ledger-sim and
# ledger-sim-mutated. With LEDGER_SIM_OTHER, that of another build (with sanitizers), only that one
# is looked at: every seed has to happen in it as in the first.
set -u
programs=${LEDGER_SIM:-build/tests/sim}
other=${LEDGER_SIM_OTHER:-}
seeds=${SIMULATION_SEEDS:-300}
jobs=$(nproc)
number=0 failed=0
output=$(mktemp)
trap 'rm -f "$output" "$output.2" "$output.3" "$output.all"' EXIT

check() { # name command...
    local name=$1
    shift
    number=$((number + 1))
    if "$@" >"$output" 2>&1; then
        echo "ok $number - $name"
        grep -E '^([0-9]+ seeds, |\|)' "$output" | sed 's/^/# /'
    else
        echo "not ok $number - $name"
        sed 's/^/# /' "$output" | tail -n 20
        failed=1
    fi
}

hashes() { # directory options...
    local directory=$1
    shift
    "$directory/ledger-sim" --hash "$@" >"$output.all" || return 1
    grep -E '^[0-9]+ [0-9a-f]{32}$' "$output.all" | sort -n
    rm -f "$output.all"
}

same_hashes() { # directory count options...
    local directory=$1 count=$2
    shift 2
    hashes "$programs" --seeds "1-$count" >"$output.2" || return 1
    hashes "$directory" --seeds "1-$count" "$@" >"$output.3" || return 1
    [ "$(wc -l <"$output.2")" -eq "$count" ] && diff "$output.2" "$output.3"
}

if [ -n "$other" ]; then
    check 'seeds happen in two builds alike' same_hashes "$other" 60 --jobs "$jobs"
    check 'and nothing else is wrong in the second' \
        "$other/ledger-sim" --seeds 61-$((60 + seeds / 10)) --liveness --jobs "$jobs"
    echo "1..$number"
    exit $failed
fi
check 'a seed happens the same way each time' same_hashes "$programs" 20 --jobs "$jobs"
if [ "$seeds" -ge 1000 ]; then
    check "$seeds seeds: no invariant is violated, every request ends, every trick acts" \
        "$programs/ledger-sim" --coverage "1-$seeds" --liveness --jobs "$jobs"
else
    check "$seeds seeds: no invariant is violated and every request ends" \
        "$programs/ledger-sim" --seeds "1-$seeds" --liveness --jobs "$jobs"
fi
check 'the same with real signatures' \
    "$programs/ledger-sim" --seeds 1-$((seeds / 100 + 12)) --crypto real --liveness --jobs "$jobs"
check 'more liars than the protocol bears: no correct replica could be blamed' \
    "$programs/ledger-sim" --seeds 1-$((seeds / 3)) --n 4 --faulty 2 --jobs "$jobs"
check 'all but one lie, and each to each of the others differently' \
    "$programs/ledger-sim" --seeds 1-$((seeds / 6)) --n 4 --faulty 3 --trick twin --jobs "$jobs"
# Each rule with the seeds within which its loss has to be noticed; some need a certain liar.
while read -r mutation budget options; do
    # shellcheck disable=SC2086
    check "without the rule of $mutation the simulator finds a violation within $budget seeds" \
        "$programs/ledger-sim-mutated" --mutation "$mutation" --seeds "1-$budget" $options \
        --jobs "$jobs"
done <<'LIST'
naive-tip 1000
new-view-omitted 300 --n 4 --faulty 1 --trick hoard
new-view-unbound 300 --n 4 --faulty 1 --trick hoard
nonce-early 100
nonce-after-change 100
no-abstain 1000
no-floor 1000 --n 4 --faulty 2 --trick twin
sign-early 100
vote-after-change 300
few-nonces 2000
nonce-unopened 300
prepare-unsigned 1000
evidence-unsigned 2000
change-unsigned 300 --n 4 --faulty 1 --trick false-tip
g-uncompared 300 --n 4 --faulty 1 --trick wrong-pp
m-uncompared 300 --n 4 --faulty 1 --trick wrong-pp
dc-uncompared 300 --n 4 --faulty 1 --trick wrong-pp
previous-uncompared 300 --n 4 --faulty 1 --trick wrong-pp
min-index 300
twice 300
sent-once 100 --liveness
LIST
echo "1..$number"
exit $failed
