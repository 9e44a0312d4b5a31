#!/usr/bin/env bash
# Strangers, clients and a replica that mean harm, against a ledger of processes (ledger_hostile.c).
atoll=${1:-${ATOLL:-build/atoll}}
hostile=$(dirname "$atoll")/tests/scenario/ledger-hostile
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ ! -x "$hostile" ]; then
    echo '1..0 # SKIP ledger-hostile is not built beside the command'
    exit 0
fi
"$hostile" "$atoll" "$work/ledger"
