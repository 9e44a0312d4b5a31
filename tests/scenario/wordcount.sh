#!/usr/bin/env bash
# The examples that `make demo` runs, on the text that every Debian has.
. "$(dirname "$0")/tap.bash"
text=/usr/share/common-licenses/GPL-3
if [ -r "$text" ]; then
    expect 0 'wordcount is built, run, stopped in the middle and continued, and agrees with native code' \
        "$here/../../examples/wordcount/demo.sh" "$atoll" "$text" 8000
    expect 0 'functions are deployed on a node, called over HTTP, fan out and share state' \
        "$here/../../examples/wordcount-chain/demo.sh" "$atoll" "$text"
    check 'with what the text has' grep -q '^5641 words' "$out"
    check 'by several calls' grep -Eq '^calls it made: [1-9][0-9]' "$out"
    check 'through one state' grep -q 'is reset: 3$' "$out"
    check 'and the starts are timed' grep -q '^cold: .*restore;dur=' "$out"
else
    skip 'wordcount' "no $text"
fi
finish
