#!/usr/bin/env bash
# The ledger in the deterministic simulator. SIMULATION_SEEDS (300) seeds are run in fair and foul
# weather, with liars and without; the rest is sized to match. LEDGER_SIM names the directory that
# holds ledger-sim and ledger-sim-mutated.
set -u
programs=${LEDGER_SIM:-build/tests/sim}
seeds=${SIMULATION_SEEDS:-300}
jobs=$(nproc)
number=0 failed=0
output=$(mktemp)
trap 'rm -f "$output" "$output.2" "$output.3"' EXIT

check() { # name command...
    local name=$1
    shift
    number=$((number + 1))
    if "$@" >"$output" 2>&1; then
        echo "ok $number - $name"
        grep -E '^[0-9]+ seeds' "$output" | sed 's/^/# /'
    else
        echo "not ok $number - $name"
        sed 's/^/# /' "$output" | tail -n 20
        failed=1
    fi
}

same_twice() {
    "$programs/ledger-sim" --seeds 1-20 --hash >"$output.2" || return 1
    "$programs/ledger-sim" --seeds 1-20 --hash --jobs "$jobs" >"$output.3" || return 1
    diff <(grep -E '^[0-9]+ [0-9a-f]{32}$' "$output.2") \
        <(grep -E '^[0-9]+ [0-9a-f]{32}$' "$output.3" | sort -n)
}

check 'a seed happens the same way each time' same_twice
check "$seeds seeds: no invariant is violated and every request ends" \
    "$programs/ledger-sim" --seeds "1-$seeds" --liveness --jobs "$jobs"
check 'the same with real signatures' \
    "$programs/ledger-sim" --seeds 1-$((seeds / 30 + 5)) --crypto real --liveness --jobs "$jobs"
check 'more liars than the protocol bears: no correct replica could be blamed' \
    "$programs/ledger-sim" --seeds 1-$((seeds / 3)) --n 4 --faulty 2 --jobs "$jobs"
while read -r mutation budget options; do
    # shellcheck disable=SC2086
    check "without the rule of $mutation the simulator finds a violation within $budget seeds" \
        "$programs/ledger-sim-mutated" --mutation "$mutation" --seeds "1-$budget" $options \
        --jobs "$jobs"
done <<'LIST'
naive-tip 1000
new-view-omitted 1000 --n 4 --faulty 1 --trick hoard
new-view-unbound 1000 --n 4 --faulty 1 --trick hoard
nonce-early 100
nonce-after-change 100
no-abstain 1000
no-floor 2000 --n 4 --faulty 2 --trick twin
LIST
echo "1..$number"
exit $failed
