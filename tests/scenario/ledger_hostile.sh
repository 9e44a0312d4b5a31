#!/usr/bin/env bash
# Strangers, clients and a replica that mean harm, against a ledger of processes (ledger_hostile.c);
# then damage to a replica's files.
. "$(dirname "$0")/tap.bash"
ledger() { "$atoll" ledger "$@"; }

hostile=$(dirname "$atoll")/tests/scenario/ledger-hostile
if [ -x "$hostile" ]; then
    check 'the service stands every attack' "$hostile" "$atoll" "$work/hostile"
else
    skip 'the service stands every attack' 'ledger-hostile is not built beside the command'
fi

# ---- damage ----
expect 0 'a ledger is made' ledger demo --dir "$work/demo" --time 4s --accounts 1000
replica=$work/demo/replica-2

flip() { # file offset: one byte is another
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1")
    # shellcheck disable=SC2059
    printf "\\x$(printf %x $(((byte + 1) % 256)))" |
        dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

refuses() { # name pattern file how argument: a replica with such a file says so and does not start
    local name=$1 pattern=$2 file=$3 how=$4 argument=$5
    rm -rf "$work/copy"
    cp -a --sparse=always "$replica" "$work/copy"
    "$how" "$work/copy/$file" "$argument"
    expect 125 "$name is refused" timeout 60 "$atoll" ledger node "$work/copy"
    check "$name is named" grep -q "$pattern" "$err"
}
cut() { truncate -s "$2" "$1"; }
gone() { rm "$1"; }

refuses 'a genesis that is cut off' 'not a usable genesis' genesis cut 100
refuses 'a key that is cut off' 'is not a key file' replica.key cut 20
refuses 'a missing vote log' 'the vote log is missing.*new key' log/votes-00000001 gone -
refuses 'a missing state file' 'the state file of the log is missing' log/state gone -
refuses 'a state file that is cut off' 'the state file of the log is damaged' log/state cut 100

waits() { # name pattern file how argument: it says so and starts, and waits for the others
    local name=$1 pattern=$2 file=$3 how=$4 argument=$5 pid
    rm -rf "$work/copy"
    cp -a --sparse=always "$replica" "$work/copy"
    "$how" "$work/copy/$file" "$argument"
    : >"$work/waits.out" # what the one before said
    "$atoll" ledger node "$work/copy" >"$work/waits.out" 2>"$work/waits.err" &
    pid=$!
    for _ in $(seq 240); do
        # Before it says that it runs, a signal ends it at once.
        grep -q '^replica ' "$work/waits.out" && break
        sleep 0.25
    done
    kill -TERM "$pid"
    check "$name lets it start" wait "$pid"
    check "$name is told of" grep -q "$pattern" "$work/waits.err"
}
waits 'a damaged vote log' 'the vote log.*is damaged.*nothing is signed before the others are ahead' \
    log/votes-00000001 flip 5000
waits 'a vote log with a damaged head' 'the head of votes-00000001 is damaged.*nothing is signed' \
    log/votes-00000001 flip 60

batches() { # directory: how far there is evidence in it
    ledger check "$1" 2>"$work/null" | sed -n 's/.*evidence for batches up to \([0-9]*\).*/\1/p'
}
wanted=$(batches "$work/demo/replica-1")
whole() { # the damaged one has all that had evidence before it was damaged
    [ "$(batches "$replica")" -ge "$wanted" ]
}
first() { head -1; }
newest() { tail -1; }
heals() { # name which how argument: replica 2 starts with such a segment; the others give what it lacks
    local name=$1 which=$2 how=$3 argument=$4 segment pids=()
    segment=$(find "$replica/log" -name 'segment-*' | sort | "$which")
    "$how" "$segment" "$argument"
    for i in 0 1 2 3; do
        "$atoll" ledger node "$work/demo/replica-$i" >"$work/$i.out" 2>"$work/$i.err" &
        pids+=($!)
    done
    for _ in $(seq 240); do
        sleep 0.5
        whole 2>"$work/null" && break
    done
    check "$name is told of" grep -q 'the log is damaged.*come from the other replicas' "$work/2.err"
    kill -TERM "${pids[@]}"
    wait "${pids[@]}"
    check "$name: what was damaged came from the others" whole
    check "$name: and keeps to the rules" ledger check "$replica"
}
# The newest segment has the marks of what was signed last, from its first record on.
heals 'damage below the durable mark' newest flip 4200
check 'nothing is signed before it is known that nothing is signed twice' \
    grep -q 'nothing is signed before the others are ahead' "$work/2.err"
heals 'a segment that is cut off' first cut 50000
heals 'a segment with a damaged head' first flip 60
heals 'a segment that is gone' first gone -

# ---- an old image of a replica's disk ----
all_begin() { # replica 2 in this directory
    pids=()
    for i in 0 1 3; do
        "$atoll" ledger node "$work/demo/replica-$i" >"$work/$i.out" 2>"$work/$i.err" &
        pids+=($!)
    done
    : >"$work/2.out"
    "$atoll" ledger node "$1" >"$work/2.out" 2>"$work/2.err" &
    second=$!
}
all_end() {
    kill -TERM "${pids[@]}"
    wait "${pids[@]}"
}
starts_known() { # of replica 2, by the others
    for i in 0 1 3; do
        od -An -tu8 -j $((49 + 2 * 24)) -N 8 "$work/demo/replica-$i/lives"
    done
}
all_know() { # of a start after those that were known
    starts_known | sort -n | head -1 >"$work/least"
    [ "$(cat "$work/least")" -gt "$((before))" ]
}
cp -a --sparse=always "$replica" "$work/image"
before=$(starts_known | sort -n | tail -1)
all_begin "$replica"
check 'the others write down that a replica starts' soon all_know
kill -TERM $second
check 'it goes on as long as it is asked to' wait $second
all_end
all_begin "$work/image"
wait $second
check 'an image from before that start ends by itself' test $? -eq 125
check 'and says why' grep -q 'other replicas know a later start of this one' "$work/2.err"
all_end
expect 125 'it does not start again' timeout 60 "$atoll" ledger node "$work/image"
before=$(starts_known | sort -n | tail -1)
all_begin "$replica"
check 'the true one starts as ever' soon all_know
kill -TERM $second
check 'and stays' wait $second
all_end
finish
