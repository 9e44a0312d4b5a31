#!/usr/bin/env bash
# A node under load for a while: every call ends well, and memory, descriptors, mappings and threads
# of supervisor and worker are in the end what they were after the beginning. ATOLL_SOAK_SECONDS (20)
# says how long; 3600 is the size of the specification. Four callers with pauses: some processor time
# is left over.
. "$(dirname "$0")/node.bash"
cd "$work" || exit 1
seconds=${ATOLL_SOAK_SECONDS:-20}

# Of the supervisor and its workers: "KIB DESCRIPTORS MAPPINGS THREADS".
resources() {
    local pid kib=0 fds=0 maps=0 threads=0
    for pid in $node $(workers); do
        kib=$((kib + $(awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup")))
        fds=$((fds + $(ls "/proc/$pid/fd" | wc -l)))
        maps=$((maps + $(wc -l <"/proc/$pid/maps")))
        threads=$((threads + $(ls "/proc/$pid/task" | wc -l)))
    done
    echo "$kib $fds $maps $threads"
}

"$atoll" build "$here/functions/acts.c" -o acts.wasm || exit 1
check 'a node starts' node_start
printf 'name: acts\npool: { idle_ttl: 2s }\n' >acts.yaml
expect 0 'a function is deployed' "$atoll" deploy acts.wasm --name acts --manifest acts.yaml

cat >load.py <<'END'
import http.client, random, sys, threading, time
host, until = sys.argv[1].split("//")[1], time.monotonic() + float(sys.argv[2])
good = bad = 0
lock = threading.Lock()

# What is called: small and large inputs, state, logs; new instances and cold starts among them.
def one(c, n):
    kind = random.random()
    headers = {}
    if kind < 0.05:
        headers["Atoll-Start"] = "fresh"
    elif kind < 0.07:
        headers["Atoll-Start"] = "cold"
    if kind < 0.6:
        body = b"echo " + b"x" * random.randrange(50)
        wanted = body
    elif kind < 0.7:
        body = b"echo " + b"y" * 200000
        wanted = body[:63] # it reads no more
    elif kind < 0.8:
        body, wanted = b"push %d" % n, None
    else:
        body, wanted = b"add 10", b"10"
    c.request("POST", "/v1/fn/default/acts", body, headers)
    answer = c.getresponse()
    output = answer.read()
    return answer.status == 200 and (wanted is None or output == wanted)

def caller(number):
    global good, bad
    c, n = http.client.HTTPConnection(host), number
    while time.monotonic() < until:
        well = one(c, n)
        n += 1
        with lock:
            good, bad = good + well, bad + (not well)
        time.sleep(random.expovariate(1000))

threads = [threading.Thread(target=caller, args=(k * 1000000,)) for k in range(4)]
for t in threads: t.start()
for t in threads: t.join()
print(good, bad)
END
load() { python3 load.py "$ATOLL_NODE" "$1" >counts 2>>"$work/log"; }

# Long enough that pools, tables and buffers have their size.
check 'the load runs' load 5
sleep 5
before=$(resources)
check 'and goes on' load "$seconds"
read -r good bad <counts
sleep 5
after=$(resources)
echo "# $good calls; KiB, descriptors, mappings, threads: $before, then $after"
check 'every call ended well' test "$bad" -eq 0
check 'there were some' test "$good" -gt $((seconds * 20))
read -r kib fds maps threads <<<"$before"
read -r kib_after fds_after maps_after threads_after <<<"$after"
# Of calls within the hour graphs are kept, of 262,144 at most.
kept=$((good < 262144 ? good : 262144))
check 'memory is flat' test "$kib_after" -le $((kib + kib / 10 + kept / 2 + 8192))
check 'descriptors are' test "$fds_after" -le $((fds + 4))
check 'mappings are' test "$maps_after" -le $((maps + 48))
check 'threads are' test "$threads_after" -le $((threads + 1))
check 'the node ends well' node_stop
finish
