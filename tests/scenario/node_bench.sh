#!/usr/bin/env bash
# atoll bench: that it measures, and the figures of it that do not depend on how busy the machine is.
. "$(dirname "$0")/tap.bash"
cd "$work" || exit 1

expect 2 'a topic that is none is refused' "$atoll" bench nothing
says 'by name' 'no topic nothing'
expect 0 'chaining and state are measured' env TMPDIR="$work" "$atoll" bench chain state --json
cp "$out" figures.json
check 'as JSON, with the machine and its load' python3 -c '
import json
o = json.load(open("figures.json"))
assert o["environment"]["cores"] > 0 and len(o["environment"]["load"]) == 3
assert all(f["value"] >= 0 for f in o["figures"] if "deadline" not in f["name"])
assert {f["topic"] for f in o["figures"]} == {"chain", "state"}'
check 'no update is lost' python3 -c '
import json
lost = [f["value"] for f in json.load(open("figures.json"))["figures"] if "lost" in f["name"]]
assert lost == [0, 0], lost'
check 'functions share what they map' python3 -c '
import json
shared = [f["value"] for f in json.load(open("figures.json"))["figures"] if "share" in f["name"]]
assert all(s < 1.5 for s in shared), shared'
check 'nothing is left behind' sh -c "! ls -d '$work'/atoll-bench-* 2>/dev/null | grep -q ."
finish
