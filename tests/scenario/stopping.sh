#!/usr/bin/env bash
# Commands that are ended by a signal leave nothing behind: no compiler that goes on, no node, no
# temporary file. The compiler is a stand-in that waits, so that every signal comes in the middle.
. "$(dirname "$0")/tap.bash"
mkdir "$work/tmp dir"
cat >"$work/compiler" <<'END'
#!/bin/sh
echo object >"$TMPDIR/object.o"
echo $$ >"$STARTED.new" && mv "$STARTED.new" "$STARTED"
exec sleep 60
END
chmod +x "$work/compiler"
export TMPDIR="$work/tmp dir" WASI_CC=$work/compiler STARTED=$work/started

compiling() { [ -s "$STARTED" ]; }
ended() { ! kill -0 "$1" 2>/dev/null; }
no_nodes() { ! pgrep -f -- "--data $TMPDIR" >/dev/null; }
empty() { [ -z "$(ls -A "$TMPDIR")" ]; }

stopped() { # signal status name command...
    local signal=$1 wanted=$2 name=$3 command status=0
    shift 3
    rm -f "$STARTED"
    # Background jobs of a script ignore SIGINT, those of nohup SIGHUP, and what they start as well.
    python3 -c 'import os, signal, sys
for number in signal.SIGINT, signal.SIGHUP, signal.SIGTERM:
    signal.signal(number, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$@" >"$out" 2>"$err" &
    command=$!
    check "$name: it compiles" soon compiling
    kill -"$signal" "$command"
    { wait "$command" || status=$?; } 2>/dev/null
    check "$name: SIG$signal ends it" test "$status" -eq "$wanted"
    check "$name: its compiler ends, too" soon ended "$(cat "$STARTED")"
    check "$name: nothing temporary is left" soon empty
}

echo 'int main(void) { return 0; }' >"$work/program.c"
for signal in INT:130 TERM:143 HUP:129 KILL:137; do
    stopped "${signal%:*}" "${signal#*:}" build "$atoll" build "$work/program.c" -o "$work/p.wasm"
    stopped "${signal%:*}" "${signal#*:}" deploy "$atoll" deploy "$work/program.c"
done
check 'no module was written' test ! -e "$work/p.wasm"
stopped TERM 143 bench "$atoll" bench chain
stopped KILL 137 bench "$atoll" bench chain
check 'the nodes are gone' soon no_nodes

unset WASI_CC
TMPDIR=$work/absent expect 125 'a temporary directory that is not there is named' \
    "$atoll" build "$work/program.c" -o "$work/p.wasm"
says 'by its path' "$work/absent"
finish
