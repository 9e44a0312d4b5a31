# Scenarios that need a node: `. "$(dirname "$0")/node.bash"` instead of tap.bash. It offers
# node_start and node_stop; the node listens at a free port, which ATOLL_NODE names.
. "$(dirname "${BASH_SOURCE[0]}")/tap.bash"
node=

node_start() { # options of `atoll up`
    rm -f "$work/url"
    "$atoll" up --data "$work/data" --listen 127.0.0.1:0 "$@" >"$work/url" 2>>"$work/log" &
    node=$!
    for _ in $(seq 200); do
        [ -s "$work/url" ] && break
        kill -0 $node 2>/dev/null || break
        sleep 0.05
    done
    ATOLL_NODE=$(cat "$work/url")
    export ATOLL_NODE
    [ -n "$ATOLL_NODE" ]
}

node_stop() { # signal; leaves the exit status in $?
    kill -"${1:-TERM}" $node 2>/dev/null
    wait $node 2>/dev/null
}

# The workers of the node, one process id a line.
workers() {
    "$atoll" node ls >/dev/null && "$atoll" top --json | sed -n 's/.*"pid":[^0-9]*\([0-9]*\).*/\1/p'
}

trap 'kill -KILL $node 2>/dev/null; rm -rf "$work"' EXIT
