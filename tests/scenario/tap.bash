# What every scenario begins with: `. "$(dirname "$0")/tap.bash"`. It finds the command ($ATOLL, else
# build/atoll), gives it a home and a cache of its own, and offers `expect` and `check`.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
atoll=${ATOLL:-$here/../../build/atoll}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ATOLL_HOME=$work/home ATOLL_CACHE=$work/cache
out=$work/out err=$work/err
failures=0

report() { # status name
    if [ "$1" -eq 0 ]; then
        echo "ok - $2"
    else
        echo "not ok - $2"
        failures=$((failures + 1))
    fi
}

# Runs a command and checks its exit code; what it prints is left in $out and $err.
expect() { # status name command...
    local wanted=$1 name=$2 status=0
    shift 2
    "$@" >"$out" 2>"$err" || status=$?
    [ "$status" -eq "$wanted" ]
    report $? "$name"
    if [ "$status" -ne "$wanted" ]; then
        echo "# \$ $* ended with $status, not $wanted"
        sed 's/^/# out: /' "$out"
        sed 's/^/# err: /' "$err"
    fi
}

# Checks anything: a command that must succeed.
check() { # name command...
    local name=$1
    shift
    "$@" >"$work/check" 2>&1
    local status=$?
    report $status "$name"
    if [ $status -ne 0 ]; then
        echo "# \$ $*"
        sed 's/^/# /' "$work/check" "$out" "$err"
    fi
}

soon() { # condition...: within 30 s
    local i
    for i in $(seq 600); do
        "$@" && return
        sleep 0.05
    done
    return 1
}

prints() { # name text: the last expected command printed exactly this
    check "$1" diff <(printf '%s\n' "$2") "$out"
}

says() { # name pattern: the last expected command said this on its error output
    check "$1" grep -qE -- "$2" "$err"
}

skip() { # name reason
    echo "ok - $1 # SKIP $2"
}

finish() {
    exit $((failures > 0))
}
