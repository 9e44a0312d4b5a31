#!/usr/bin/env bash
# Tenants that all want the processor get it by their weights.
. "$(dirname "$0")/node.bash"

ticks() { # pid: processor time it has had
    awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"
}

worker_of() { # tenant
    "$atoll" top --json | tr -d ' \t\n' | tr '{' '\n' | sed -n "s/.*\"pid\":\([0-9]*\),\"tenant\":\"$1\".*/\1/p" | head -1
}

# Shares of two looping tenants over three seconds, as percent: "SMALL LARGE".
measure() {
    local small large small_began large_began
    small=$(worker_of small) large=$(worker_of large)
    small_began=$(ticks "$small") large_began=$(ticks "$large")
    sleep 3
    small=$(($(ticks "$small") - small_began)) large=$(($(ticks "$large") - large_began))
    echo "$((100 * small / (small + large))) $((100 * large / (small + large)))"
}

check 'a function is built' "$atoll" build "$here/functions/acts.c" -o "$work/acts.wasm"
check 'a node starts' node_start
expect 0 'a tenant has the weight 100' "$atoll" tenant set small --cpu-weight 100
expect 1 'none has the weight 0' "$atoll" tenant set small --cpu-weight 0
expect 0 'another 300' "$atoll" tenant set large --cpu-weight 300
printf 'timeout: 60s\n' >"$work/acts.yaml"
for tenant in small large; do
    check "$tenant deploys" "$atoll" deploy "$work/acts.wasm" --name "$tenant/acts" --manifest "$work/acts.yaml"
    for _ in $(seq $(($(nproc) + 1))); do
        "$atoll" invoke "$tenant/acts" -d spin --async >>"$work/calls"
    done
done
sleep 0.5
read -r small large <<<"$(measure)"
before=$large
echo "# weights 100 and 300: $small % and $large % by $(grep -o "kept by [a-z.]*" "$work/log" | head -1)"
check 'the shares follow the weights' test "$large" -ge 60 -a "$small" -ge 5
expect 0 'a weight is changed while they run' "$atoll" tenant set large --cpu-weight 100
read -r small large <<<"$(measure)"
echo "# weights 100 and 100: $small % and $large %"
if [ "$(id -u)" -eq 0 ] || grep -q 'cpu.weight beneath' "$work/log"; then
    check 'and the shares with it' test $((large + 8)) -le "$before"
else
    skip 'and the shares with it' 'raising a share again needs a privilege or a cgroup'
fi
while read -r id; do
    "$atoll" call cancel "$id" >/dev/null
done <"$work/calls"
check 'the node ends well' node_stop
finish
