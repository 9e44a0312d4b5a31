#!/usr/bin/env bash
# A node as a service of the system: without a home, told apart from others, with a data directory
# that cannot be used, and what it tells who has started it.
. "$(dirname "$0")/node.bash"
cd "$work" || exit 1
"$atoll" build "$here/functions/acts.c" -o acts.wasm || exit 1
up() { # status name pattern options...: a node that does not start
    local status=$1 name=$2 pattern=$3
    shift 3
    expect "$status" "$name" timeout 20 "$atoll" up --listen 127.0.0.1:0 "$@"
    says 'and says why' "$pattern"
}

# ---- no home ----
(
    unset HOME ATOLL_HOME ATOLL_CACHE XDG_DATA_HOME XDG_CACHE_HOME
    exec "$atoll" up --data "$work/data" --listen 127.0.0.1:0 >"$work/url" 2>>"$work/log"
) &
node=$!
for _ in $(seq 100); do
    [ -s "$work/url" ] && break
    sleep 0.05
done
ATOLL_NODE=$(cat "$work/url")
export ATOLL_NODE
check 'a node starts for a user without a home' test -n "$ATOLL_NODE"
expect 0 'it takes a function' "$atoll" deploy acts.wasm --name acts
expect 0 'and calls it' "$atoll" invoke acts -d 'echo home'
check 'its key lies with its data' test -f "$work/data/artefact.key"
check 'closed to others' test "$(stat -c %a "$work/data/artefact.key")" = 600

# ---- who else ----
up 125 'a second node on the same data is refused' 'another node uses' --data "$work/data"
up 125 'one at the same address as well' 'in use|address' --data "$work/second" \
    --set listen="${ATOLL_NODE#http://}"
expect 0 'the first is not disturbed' "$atoll" invoke acts -d 'echo first'

# ---- data that cannot be ----
touch file
up 125 'a file is no data directory' 'not a directory' --data file
up 125 'nor one that cannot be made' 'cannot create' --data /proc/atoll
mkdir sealed
if mount -t tmpfs -o ro none sealed 2>/dev/null; then
    up 125 'nor one that is read-only' 'Read-only' --data sealed
    umount sealed
else
    skip 'nor one that is read-only' 'only root may mount'
fi
mkdir -p torn/store
head -c 8192 /dev/urandom >torn/store/data.mdb
up 125 'nor one with a store that is none' 'store' --data torn
check 'which is left as it was' test "$(stat -c %s torn/store/data.mdb)" -eq 8192
up 2 'a setting that is none is named' 'no setting "limits.inputs"' --set limits.inputs=1MiB
up 2 'as is one that makes no sense' 'limits.input' --set limits.input=much
check 'the node stops' node_stop TERM

# ---- what it tells ----
if command -v python3 >/dev/null; then
    cat >manager.py <<'END'
import atexit, os, signal, socket, subprocess, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("notify")
s.settimeout(20)
env = dict(os.environ, NOTIFY_SOCKET=os.path.abspath("notify"), WATCHDOG_USEC="400000")
env.pop("WATCHDOG_PID", None)
p = subprocess.Popen(sys.argv[1:], env=env, stdout=subprocess.DEVNULL)
told = []
atexit.register(p.kill) # when it did not tell
def until(what):
    while what not in told:
        told.extend(s.recv(1000).decode().split("\n"))
until("READY=1")
told.clear()
until("WATCHDOG=1")
p.send_signal(signal.SIGTERM)
until("STOPPING=1")
sys.exit(p.wait())
END
    check 'a manager hears that it is ready, alive and stopping' timeout 60 python3 manager.py \
        "$atoll" up --data "$work/told" --listen 127.0.0.1:0
else
    skip 'a manager hears that it is ready, alive and stopping' 'needs python3'
fi
finish
