#!/usr/bin/env bash
# The live page of a node, as a browser shows it while the node works.
. "$(dirname "$0")/node.bash"
BROWSER=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
if [ -z "$BROWSER" ] || ! command -v node >/dev/null; then
    skip 'the live page' 'needs chromium and nodejs'
    finish
fi
check 'a function is built' "$atoll" build "$here/functions/acts.c" -o "$work/acts.wasm"
check 'a node starts' node_start
check 'the function is deployed' "$atoll" deploy "$work/acts.wasm" --name acts
export BROWSER PROFILE=$work/browser NODE_PID=$node
timeout 120 node "$here/node_page.mjs" || failures=$((failures + 1))
wait $node
check 'the node that was told to stop ended well' test $? -eq 0
finish
