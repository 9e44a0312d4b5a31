#!/usr/bin/env bash
# The ledger as its operators and clients use it: keys, genesis, replicas, calls, receipts, HTTP,
# checks, restarts.
. "$(dirname "$0")/tap.bash"
ledger() { "$atoll" ledger "$@"; }

declare -A pids
replica_start() { # directory arguments...: waits until it says that it runs
    local dir=$1
    shift
    : >"$dir.out" # here, or what an earlier life said is read before the child clears it
    "$atoll" ledger node "$@" "$dir" >"$dir.out" 2>"$dir.err" &
    pids[$dir]=$!
    for _ in $(seq 600); do
        grep -q '^replica ' "$dir.out" && return 0
        kill -0 "${pids[$dir]}" 2>/dev/null || break
        sleep 0.1
    done
    cat "$dir.out" "$dir.err"
    return 1
}

replica_stop() { # directory: orderly; its exit code
    kill -TERM "${pids[$1]}" && wait "${pids[$1]}"
}

replicas_end() {
    for pid in "${pids[@]}"; do
        kill -9 "$pid" 2>/dev/null
    done
    rm -rf "$work"
}
trap replicas_end EXIT

http_port() { # directory
    sed -n 's/^HTTP at port //p' "$1.out"
}

get() { # path arguments...: status on the first line, then the body
    local path=$1
    shift
    curl -s -o "$work/body" -w '%{http_code}' "$@" "$url$path" >"$work/status"
    cat "$work/status"
    echo
    cat "$work/body"
}

status_is() { # name status path arguments...
    local name=$1 wanted=$2
    shift 2
    get "$@" >"$out"
    check "$name" test "$(cat "$work/status")" = "$wanted"
}

# ---- keys and genesis by hand ----
echo 'the tide comes in twice' >"$work/passphrase"
echo 'another' >"$work/wrong"
expect 0 'a key is made' ledger keygen "$work/client.key"
check 'its file is for its owner alone' test "$(stat -c %a "$work/client.key")" = 600
expect 0 'a key is sealed under a passphrase' ledger keygen --passphrase-file "$work/passphrase" "$work/sealed.key"
sealed=$(cat "$out")
check 'and larger for it' test "$(stat -c %s "$work/sealed.key")" = 108
expect 0 'the passphrase opens it' ledger keygen --show --passphrase-file "$work/passphrase" "$work/sealed.key"
prints 'it is the same key' "$sealed"
expect 126 'another does not' ledger keygen --show --passphrase-file "$work/wrong" "$work/sealed.key"
expect 126 'none does not either' ledger keygen --show "$work/sealed.key"
expect 125 'a key is never overwritten' ledger keygen "$work/client.key"
says 'which it says' 'xist'

port=$((10000 + RANDOM % 20000))
replicas=()
for i in 0 1 2 3; do
    mkdir "$work/r$i"
    seal=()
    [ $i = 3 ] && seal=(--passphrase-file "$work/passphrase")
    key=$(ledger keygen "${seal[@]}" "$work/r$i/replica.key")
    member=$(ledger keygen "$work/r$i/member.key")
    replicas+=(--replica "127.0.0.1:$((port + i)),$key,member-$i,$member")
done
make_genesis() { ledger genesis "${replicas[@]}" --accounts 1000 --pipeline 2 --checkpoint 20 --timeout 1s "$@"; }
expect 125 'three replicas are too few' ledger genesis "${replicas[@]:0:6}" -o "$work/genesis"
expect 0 'a genesis is made of four replicas' make_genesis --name tide -o "$work/genesis"
expect 0 'and shown' ledger genesis "$work/genesis"
check 'with its name' grep -q 'ledger *tide' "$out"
check 'and what it bears' grep -q 'replicas 4, of which 1 may be faulty' "$out"
expect 0 'another genesis of the same replicas' make_genesis -o "$work/genesis.other"
for i in 0 1 2 3; do
    cp "$work/genesis" "$work/r$i/genesis"
done

# ---- four replicas ----
for i in 0 1 2; do
    check "replica $i starts" replica_start "$work/r$i" --http 127.0.0.1:0
done
expect 126 'a sealed replica key needs its passphrase' ledger node "$work/r3"
check 'replica 3 starts with it' replica_start "$work/r3" --passphrase-file "$work/passphrase"
url=http://127.0.0.1:$(http_port "$work/r1")
expect 125 'a second process on one directory is refused' ledger node --listen 127.0.0.1:0 "$work/r0"
says 'because the first has it' 'another|in use|already'
call() { ledger call --genesis "$work/genesis" --key "$work/client.key" "$@"; }
expect 0 'a balance is asked' call balance 7
check 'and told' grep -qE 'status 0, 200000 cents' "$out"
expect 0 'money is paid, with a receipt' call --receipt "$work/pay.rcpt" pay 7 8 1500
expect 0 'it has left' call --json balance 7
check 'exactly' grep -q '"value":\s*"198500"' "$out"
expect 1 'what is not there is not paid' call pay 7 8 100000000
expect 2 'a procedure that there is not is refused' call mint 7
for number in 99999999999999999999 ' 5' 0x10 5.0 ''; do
    expect 2 "\"$number\" is no amount" call pay 7 8 "$number"
done
check 'receipts are kept beside the key' test -f "$work/client.key.receipts"
expect 0 'a call in the same moment waits its turn' sh -c \
    "for i in 1 2 3 4; do \"$atoll\" ledger call --genesis \"$work/genesis\" --key \"$work/client.key\" deposit 9 1 & done; wait"
check 'and all are executed' test "$(grep -c 'status 0' "$out")" = 4
expect 0 'all receipts that were kept hold' ledger receipt verify --genesis "$work/genesis" --store "$work/client.key.receipts"
prints 'and are counted' "$work/client.key.receipts: 8 receipts valid, 0 not"
expect 2 'they are of one ledger' ledger receipt verify --genesis "$work/genesis.other" --store "$work/client.key.receipts"
install -m 600 "$work/genesis" "$work/no.key"
expect 126 'a key is no genesis' ledger call --genesis "$work/client.key" --key "$work/client.key" balance 7
expect 126 'and a genesis no key' ledger keygen --show "$work/no.key"
expect 125 'a genesis that is not there is no wrong command line' \
    ledger call --genesis "$work/absent" --key "$work/client.key" balance 7
expect 0 'a sealed client key calls, too' ledger call --genesis "$work/genesis" --key "$work/sealed.key" \
    --passphrase-file "$work/passphrase" --receipt "$work/sealed.rcpt" balance 8

# ---- receipts, offline ----
verify() { ledger receipt verify --genesis "$work/genesis" "$@"; }
expect 0 'receipts hold' verify "$work/pay.rcpt" "$work/sealed.rcpt"
check 'both' test "$(grep -c ': valid' "$out")" = 2
index=$(sed -n 's/^  transaction \([0-9]*\):.*/\1/p' "$out" | head -1)
size=$(stat -c %s "$work/pay.rcpt")
broken=0
for at in 60 100 300 $((size / 2)) $((size - 40)) $((size - 1)); do
    cp "$work/pay.rcpt" "$work/bit.rcpt"
    byte=$(od -An -tu1 -j "$at" -N1 "$work/pay.rcpt")
    printf "\\x$(printf %x $((byte ^ 1)))" | dd of="$work/bit.rcpt" bs=1 seek="$at" conv=notrunc 2>/dev/null
    verify "$work/bit.rcpt" >"$out" 2>"$err"
    [ $? = 1 ] && broken=$((broken + 1))
done
check 'with one bit changed they do not, anywhere' test $broken = 6
expect 1 'nor under another genesis' ledger receipt verify --genesis "$work/genesis.other" "$work/pay.rcpt"
check 'which is said' grep -q 'another ledger' "$out"
expect 0 'a receipt is shown without a genesis' ledger receipt show --json "$work/pay.rcpt"
check 'but no root to compare with' sh -c "! grep -q batch_root '$out'"
expect 2 'verifying wants a genesis' ledger receipt verify "$work/pay.rcpt"

expect 0 'one is taken out of those that were kept' ledger receipt get --genesis "$work/genesis" \
    --store "$work/client.key.receipts" -o "$work/taken.rcpt" "$index"
check 'it is the same' cmp -s "$work/taken.rcpt" "$work/pay.rcpt"
expect 2 'a receipt comes from one place' ledger receipt get --node http://127.0.0.1:1 --store "$work/client.key.receipts" -o "$work/taken.rcpt" 1
mv "$work/client.key.receipts" "$work/aside"
expect 0 'without them the key goes on' call balance 7
check 'with new ones' test -f "$work/client.key.receipts"
mv "$work/aside" "$work/client.key.receipts"
expect 0 'older ones do not make it sign a number twice' call balance 7

# ---- HTTP ----
status_is 'the view is well' 200 /healthz
status_is 'it tells the configuration' 200 /v1/config
check 'by name' grep -q '"name":"tide"' "$work/body"
status_is 'a transaction is known' 200 "/v1/tx/$index"
check 'as committed' grep -q '"status":"COMMITTED"' "$work/body"
status_is 'one that is to come is not' 200 /v1/tx/999999
check 'yet' grep -q '"status":"UNKNOWN"' "$work/body"
status_is 'there is no transaction 0' 200 /v1/tx/0
check 'ever' grep -q '"status":"INVALID"' "$work/body"
zeros=$(printf '0%.0s' $(seq 64))
status_is 'an index is that of one request' 200 "/v1/tx/$index?request=$zeros"
check 'and of no other' grep -q '"status":"INVALID"' "$work/body"
for bad in /v1/tx/07 /v1/tx/-1 /v1/tx/18446744073709551616 "/v1/tx/1?x=1" "/v1/tx/1?request=12" \
    /v1/request/abc/receipt "/v1/ledger?from=2&to=1" "/v1/ledger?from=x"; do
    status_is "$bad is refused" 400 "$bad"
done
status_is 'what there is not is not there' 404 /v1/nothing
status_is 'a receipt of nothing neither' 404 /v1/tx/999999/receipt
status_is 'nor of a request that nobody made' 404 "/v1/request/$zeros/receipt"
check 'or that is older than the replica can tell' grep -q "give the transaction's index" "$work/body"
expect 125 'which is what its receipt is got by' ledger receipt get --node "$url" -o "$work/none.rcpt" "$zeros"
says 'as is said' 'give the INDEX'
status_is 'a path has its methods' 405 /v1/config -X DELETE
status_is 'a page from elsewhere learns nothing' 403 /v1/config -H 'Host: evil.example'
expect 0 'a receipt is got by its index' ledger receipt get --node "$url" -o "$work/got.rcpt" "$index"
expect 0 'it holds' verify "$work/got.rcpt"
check 'and is of that transaction' grep -q "transaction $index:" "$out"
status_is 'it comes as JSON, too' 200 "/v1/tx/$index/receipt"
check 'without what has to be computed' sh -c "! grep -q batch_root '$work/body'"
status_is 'but as nothing else' 406 "/v1/tx/$index/receipt" -H 'Accept: image/png'
expect 0 'a request is signed for later' call --request "$work/request" pay 8 9 25
hash=$(cat "$out")
status_is 'it is handed in over HTTP' 202 /v1/call --data-binary "@$work/request" -H 'Content-Type: text/plain'
check 'and named' grep -q "\"$hash\"" "$work/body"
expect 0 'its receipt is got by its hash' ledger receipt get --node "$url" -o "$work/posted.rcpt" "$hash"
expect 0 'and holds' verify "$work/posted.rcpt"
status_is 'handing it in again changes nothing' 202 /v1/call --data-binary "@$work/request" -H 'Content-Type: text/plain'
tr 'A-Ya-y' 'B-Zb-z' <"$work/request" >"$work/request.bad"
status_is 'a damaged one is refused' 400 /v1/call --data-binary "@$work/request.bad" -H 'Content-Type: text/plain'
status_is 'what is no base64 is refused' 400 /v1/call --data-binary '***' -H 'Content-Type: text/plain'
status_is 'and another media type' 415 /v1/call --data-binary '{}' -H 'Content-Type: application/json'
head -c 6000000 /dev/zero | tr '\0' 'A' >"$work/huge"
status_is 'and too much' 413 /v1/call --data-binary "@$work/huge" -H 'Content-Type: text/plain'
base64 -d "$work/request" >"$work/request.bytes"
status_is 'bytes are taken, too' 202 /v1/call --data-binary "@$work/request.bytes" -H 'Content-Type: application/octet-stream'
status_is 'the ledger is read' 200 '/v1/ledger?from=0&to=3'
check 'from its genesis on' grep -q '"position":"0","type":"genesis"' "$work/body"
check 'and tells where to go on' grep -q '"next":"3"' "$work/body"
status_is 'nobody is accused' 200 /v1/proofs
check 'of anything' grep -qx '{"proofs":\[\]}' "$work/body"
status_is 'so there is no proof' 404 /v1/proofs/EQUIV_PP-2.pom
mkdir "$work/r1/proofs"
echo 'he did it' >"$work/r1/proofs/EQUIV_PP-2.pom"
status_is 'what proves nothing is no proof' 500 /v1/proofs/EQUIV_PP-2.pom
status_is 'but does not hide the others' 200 /v1/proofs
check 'and is named' grep -q '"name":"EQUIV_PP-2.pom","damaged":' "$work/body"
rm -r "$work/r1/proofs"
status_is 'metrics are told' 200 /v1/metrics
check 'with three peers' grep -qx 'atoll_ledger_peers 3' "$work/body"

# ---- the ledger, offline ----
expect 0 'the ledger is checked while it runs' ledger check "$work/r2"
expect 0 'and exported' ledger export -o "$work/all.lfrag" "$work/r2"
expect 0 'the export holds, too' ledger check --genesis "$work/genesis" "$work/all.lfrag"
expect 1 'under its own genesis only' ledger check --genesis "$work/genesis.other" "$work/all.lfrag"
expect 0 'a part is exported' ledger export -o "$work/part.lfrag" --from 3 --to 5 "$work/r2"
prints 'as long as it was asked for' '2 entries'
expect 0 'it is dumped' ledger dump "$work/all.lfrag"
check 'in words' grep -qi 'genesis' "$out"
mkfifo "$work/fifo"
mkdir "$work/nothing"
head -c 50 "$work/genesis" >"$work/short"
wrong() { # code words command...: what is wrong is said in one sentence
    local code=$1 words=$2
    shift 2
    expect "$code" "ledger $* fails" timeout 10 "$atoll" ledger "${@//WORK/$work}"
    says "$code: $words" "$words"
}
for command in check dump 'export -o WORK/none.lfrag'; do
    # shellcheck disable=SC2086
    {
        wrong 2 'something is missing' $command
        wrong 2 'is too much' $command a b
        wrong 2 'no option --mood' $command --mood WORK/r2
        wrong 125 'there is no ledger at' $command WORK/gone
        wrong 125 "no replica's directory" $command WORK/nothing
        wrong 125 "a replica's directory" $command WORK/fifo
    }
done
for command in dump 'export -o WORK/none.lfrag'; do
    # shellcheck disable=SC2086
    {
        wrong 2 'takes a whole number' $command --from x WORK/r2
        wrong 2 'there is nothing from entry 5' $command --from 5 --to 5 WORK/r2
        wrong 125 'no entry 999999' $command --from 999999 WORK/r2
    }
done
wrong 2 'give --output' export WORK/r2
wrong 125 'is no file; name another' export -o WORK/nothing WORK/r2
wrong 125 'is no file; name another' export -o WORK/fifo WORK/r2
wrong 125 'cannot create' export -o WORK/gone/x WORK/r2
wrong 125 "from a replica's directory" export -o WORK/none.lfrag WORK/all.lfrag
check 'and leave no file behind' sh -c "! ls '$work'/none.lfrag* 2>'$work/null'"
wrong 2 'Give --genesis' check WORK/all.lfrag
wrong 125 'begins at entry 3' check --genesis WORK/genesis WORK/part.lfrag
wrong 125 'cannot open' check --genesis WORK/gone WORK/r2
wrong 126 'not a usable genesis.*cut off' check --genesis WORK/short WORK/r2
wrong 1 'does not begin with this genesis' check --genesis WORK/genesis.other WORK/r2
wrong 1 'is no ledger fragment' check --genesis WORK/genesis WORK/short
wrong 125 'is no ledger fragment' dump WORK/short
cp "$work/all.lfrag" "$work/bad.lfrag"
printf 'x' | dd of="$work/bad.lfrag" bs=1 seek=$(($(stat -c %s "$work/bad.lfrag") / 2)) conv=notrunc 2>/dev/null
expect 1 'a damaged export is refused' ledger check --genesis "$work/genesis" "$work/bad.lfrag"
expect 0 'receipts stand in the ledger' verify --ledger "$work/r0" "$work/pay.rcpt" "$work/posted.rcpt"
check 'which is said' test "$(grep -c 'and in the ledger' "$out")" = 2
expect 1 'but not in a piece without them' verify --ledger "$work/part.lfrag" "$work/posted.rcpt"

# ---- stopping and starting ----
check 'replica 1 stops in order' replica_stop "$work/r1"
expect 0 'three go on' call pay 1 2 100
for i in 0 2 3; do
    check "replica $i stops" replica_stop "$work/r$i"
done
expect 124 'nobody answers when none runs' timeout 3 "$atoll" ledger call --genesis "$work/genesis" --key "$work/client.key" --timeout 60s balance 7
for i in 0 1 2; do
    check "replica $i starts again" replica_start "$work/r$i" --http 127.0.0.1:0
done
check 'replica 3, too' replica_start "$work/r3" --passphrase-file "$work/passphrase"
url=http://127.0.0.1:$(http_port "$work/r1")
expect 0 'nothing is forgotten' call balance 7
check 'to the cent' grep -q '198500 cents' "$out"
expect 0 'old receipts are still to be had' ledger receipt get --node "$url" -o "$work/again.rcpt" "$index"
expect 0 'and hold' verify --ledger "$work/r3" "$work/again.rcpt"
for i in 0 1 2 3; do
    replica_stop "$work/r$i" || check "replica $i stops again" false
done
expect 0 'the ledger is whole' ledger check "$work/r1"

# ---- a whole ledger at once, and its primary dies ----
expect 0 'a local ledger is made' ledger genesis --local "$work/local" --accounts 100 --port $((port + 10))
check 'with four replicas' test -f "$work/local/replica-3/replica.key"
expect 125 'never over another' ledger genesis --local "$work/local"
expect 0 'the demonstration runs' ledger demo --dir "$work/demo" --time 6s --accounts 1000
check 'with its view change' grep -q 'then follow replica' "$out"
check 'and receipts that hold' grep -q '20 of 20 receipts are valid' "$out"
check 'and fits a terminal, but for paths' sh -c "! grep -v '$work' '$out' | grep -qE '^.{81}'"
shown=$(sed -n '/^  \$ /,/rcpt$/p' "$out" | sed 's/^  \$ //')
expect 0 'the command that it prints can be repeated' sh -c "$shown"
check 'with the same answer' grep -q ': valid' "$out"
expect 2 'another number of replicas is another ledger' ledger demo --dir "$work/demo" --replicas 7
expect 0 'it goes on with the ledger that is there' ledger demo --dir "$work/demo" --time 4s --json
check 'and says so' grep -qE '"continued":\s*true' "$out"
check 'with nothing left without an answer' grep -qE '"unanswered":\s*0' "$out"
expect 0 'a crash of the primary is measured' ledger bench --crash-primary 1 --accounts 1000 --clients 2 \
    --in-flight 20 --timeout 300ms --json
check 'and nothing is left without an answer' grep -qE '"unanswered":\s*0' "$out"
echo "$work/demo/replica-" >"$work/pattern"
demo_processes() { grep -lsF -f "$work/pattern" /proc/[0-9]*/cmdline | wc -l; }
for signal in INT TERM KILL; do
    "$atoll" ledger demo --dir "$work/demo" >"$work/null" 2>&1 &
    demo=$!
    for _ in $(seq 600); do
        [ "$(demo_processes)" = 4 ] && break
        sleep 0.1
    done
    check "it runs four processes" test "$(demo_processes)" = 4
    sleep "0.$((RANDOM % 10))"
    kill -$signal $demo
    wait $demo 2>"$work/null"
    for _ in $(seq 300); do
        [ "$(demo_processes)" = 0 ] && break
        sleep 0.1
    done
    check "SIG$signal leaves none" test "$(demo_processes)" = 0
done
receipt=$(find "$work/demo/receipts" -name '*.rcpt' | head -1)

# ---- an interruption leaves nothing behind ----
mkdir "$work/tmp"
for signal in INT TERM; do
    wanted=143
    [ $signal = INT ] && wanted=130
    # As under nohup: the hangup of the terminal is none of its business.
    (trap '' HUP; TMPDIR=$work/tmp exec "$atoll" ledger bench --accounts 1000 --time 60s) \
        >"$work/null" 2>"$err" &
    bench=$!
    for _ in $(seq 600); do
        [ "$(find "$work/tmp" -name votes-00000001 | wc -l)" = 4 ] && break
        sleep 0.1
    done
    kill -HUP $bench
    sleep "0.$((RANDOM % 10))"
    kill -$signal $bench
    wait $bench 2>"$work/null"
    code=$?
    check "SIG$signal ends a benchmark as it should" test $code = $wanted
    says 'in a sentence' 'Interrupted; all replicas are stopped, the ledger is removed'
    check 'with nothing left' test "$(find "$work/tmp" | wc -l)" = 1
done

# ---- readers have a share of a replica's time ----
check 'a replica of the demonstration starts alone' replica_start "$work/demo/replica-2" --http 127.0.0.1:0
url=http://127.0.0.1:$(http_port "$work/demo/replica-2")
for _ in $(seq 50); do # a fast machine has answered many when its share is used up
    curl -s -Z -o "$work/null" -w '%{http_code} %header{retry-after}\n' \
        "$url/v1/ledger?from=[1000-1200]&to=2000" >>"$work/answers"
    grep -q '^503' "$work/answers" && break
done
cp "$work/answers" "$out"
check 'who asks on and on gets answers' grep -q '^200' "$out"
check 'and is told to come later' grep -qx '503 1' "$out"
status_is 'who watches is heard all the same' 200 /v1/metrics
replica_stop "$work/demo/replica-2" || check 'it stops' false
expect 0 'its receipts hold' ledger receipt verify --genesis "$work/demo/genesis" --ledger "$work/demo/replica-1" "$receipt"

crash=$(dirname "$atoll")/tests/scenario/ledger-crash
if [ -x "$crash" ]; then
    check 'receipts survive six rounds of kill -9' "$crash" "$atoll" "$work/crash" 6
else
    skip 'receipts survive six rounds of kill -9' 'ledger-crash is not built beside the command'
fi
transfer=$(dirname "$atoll")/tests/scenario/ledger-transfer
if [ -x "$transfer" ]; then
    check 'a replica without a disk takes over a checkpoint' "$transfer" "$atoll" "$work/transfer"
else
    skip 'a replica without a disk takes over a checkpoint' 'ledger-transfer is not built beside the command'
fi
finish
