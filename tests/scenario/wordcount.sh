#!/usr/bin/env bash
# The example that `make demo` runs, on the text that every Debian has.
. "$(dirname "$0")/tap.bash"
text=/usr/share/common-licenses/GPL-3
if [ -r "$text" ]; then
    expect 0 'wordcount is built, run, stopped in the middle and continued, and agrees with native code' \
        "$here/../../examples/wordcount/demo.sh" "$atoll" "$text" 8000
else
    skip 'wordcount' "no $text"
fi
finish
