#!/usr/bin/env bash
# The HTTP interface of a node, seen by clients that behave and by clients that do not.
. "$(dirname "$0")/node.bash"
if ! command -v node >/dev/null; then
    skip 'the HTTP interface' 'needs nodejs'
    finish
fi
export DATA=$work/data METRICS=$work/metrics ACTS=$work/acts.wasm

# Whether a text is in the exposition format: a HELP and a TYPE for each family, no sample twice,
# histograms that end at +Inf.
metrics_parse() {
    awk '
        function bad(why) { print "line " NR ": " why ": " $0; failed = 1 }
        /^# HELP / { if (help[$3]++) bad("HELP twice"); next }
        /^# TYPE / { if (type[$3]) bad("TYPE twice"); type[$3] = $4; next }
        /^#/ || /^$/ { next }
        !/^[a-zA-Z_:][a-zA-Z0-9_:]*({([a-zA-Z_][a-zA-Z0-9_]*="([^"\\]|\\.)*",?)*})? [-+0-9.eE]+(Inf|NaN)?$/ { bad("no sample") ; next }
        {
            sample = substr($0, 1, length($0) - length($NF) - 1)
            if (seen[sample]++) bad("sample twice")
            name = sample; sub(/{.*/, "", name)
            family = name; if (!(family in type)) sub(/_(bucket|sum|count)$/, "", family)
            if (!(family in type)) bad("no TYPE")
            if (!(family in help)) bad("no HELP")
        }
        END { exit failed }' "$1"
}

check 'functions are built' "$atoll" build "$here/functions/acts.c" -o "$ACTS"
check 'from C' "$atoll" build "$here/functions/heads.c" -o "$work/heads.wasm"
check 'each' "$atoll" build "$here/../../examples/shortener/shortener.c" -o "$work/shortener.wasm"
check 'a node starts' node_start --set limits.input=2MiB --set limits.module=4MiB \
    --set callbacks=127.0.0.1 --set metrics_listen=127.0.0.1:0
for name in acts heads; do
    check "$name is deployed" "$atoll" deploy "$work/$name.wasm" --name "$name"
done
check 'shortener is deployed' "$atoll" deploy "$work/shortener.wasm" --name shortener \
    --manifest "$here/../../examples/shortener/atoll.yaml"
node "$here/node_http.mjs" || failures=$((failures + 1))
check 'metrics are in the exposition format' metrics_parse "$METRICS"
check 'and are those that docs/operations.md lists' diff \
    <(sed -n 's/^# TYPE \(atoll_[a-z_]*\) .*/\1/p' "$METRICS" | grep -v '^atoll_guest_' | sort) \
    <(sed -n 's/^| `\(atoll_[a-z_]*\)` |.*/\1/p' "$here/../../docs/operations.md" | sort)
check 'compiling the three functions was measured' \
    awk '/^atoll_codegen_seconds_count / { compiled = $2 } END { exit compiled < 3 }' "$METRICS"
if command -v systemd-analyze >/dev/null; then
    sed "s#/usr/local/bin/atoll#$(realpath "$atoll")#" "$here/../../deploy/atoll.service" >"$work/atoll.service"
    check "the unit is one that systemd takes" systemd-analyze verify "$work/atoll.service"
else
    skip 'the unit is one that systemd takes' 'needs systemd'
fi
node_stop TERM
status=$?
check "SIGTERM ends the node well" test $status -eq 0
[ $status -eq 0 ] || tail -5 "$work/log" | sed "s/^/# /"

node_start && node_stop
check 'it starts again after all of this' test $? -eq 0
finish
