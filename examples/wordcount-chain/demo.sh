#!/usr/bin/env bash
# A node and functions on it: starts one, builds and deploys functions from C, calls them over HTTP,
# fans out to many calls, shares state between functions, shows how long starts take, and stops.
#
#   demo.sh [ATOLL] [TEXT]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
atoll=$(realpath "$(command -v "${1:-atoll}")")
text=${2:-/usr/share/common-licenses/GPL-3}
work=$(mktemp -d)
node=
trap '[ -z "$node" ] || kill "$node" 2>/dev/null || :; rm -rf "$work"' EXIT

if [ -t 1 ]; then bold=$'\033[1m' plain=$'\033[0m'; else bold='' plain=''; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

say '1. a node:  atoll up --data node-data'
"$atoll" up --data "$work/data" --listen 127.0.0.1:0 >"$work/url" 2>"$work/log" &
node=$!
for _ in $(seq 300); do
    [ ! -s "$work/url" ] || break
    kill -0 "$node" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
    sleep 0.1
done
ATOLL_NODE=$(cat "$work/url")
export ATOLL_NODE
echo "its live page: $ATOLL_NODE/"

say '2. functions from C:  atoll deploy count; atoll deploy split; atoll deploy shortener'
cp -r "$here" "$work/wordcount"
cp -r "$here/../shortener" "$work/shortener"
# Pieces of 4 KiB, so that this small text makes some calls.
sed -i 's/1048576/4096/' "$work/wordcount/split/atoll.yaml"
for function in wordcount/count wordcount/split shortener; do
    (cd "$work" && "$atoll" deploy "$function")
done

call=$ATOLL_NODE/v1/fn/default
say "3. a call that fans out to others:  curl --data-binary @$text $call/wordcount"
curl -sS --fail-with-body --data-binary "@$text" "$call/wordcount" -o "$work/words"
head -n 4 "$work/words"
id=$("$atoll" invoke wordcount -d "@$text" --async)
"$atoll" call wait "$id" | cmp - "$work/words"
printf 'calls it made: '
"$atoll" call graph "$id" | grep -c count

say "4. state that calls share:  curl -d https://example.org $call/shortener"
short=$(curl -sS --fail-with-body -d https://example.org "$call/shortener")
echo "its short form: $short"
for _ in 1 2 3; do
    curl -sS -o /dev/null "$call/shortener?id=$short"
done
printf 'opened by calls, each in an instance that is reset: '
curl -sS --fail-with-body "$call/shortener?id=$short&count"
"$atoll" state put default/note 'what one put, all see'
"$atoll" state get default/note
echo

say '5. how long starts take:  Server-Timing of calls that begin warm, restored, cold'
for start in '' fresh cold; do
    curl -sS -D - -o /dev/null ${start:+-H "Atoll-Start: $start"} -d 'one word' "$call/wordcount-count" |
        tr -d '\r' | sed -n "s/^[Ss]erver-[Tt]iming: /${start:-as it comes}: /p"
done

say '6. the node ends when nothing runs any more:  atoll node drain'
"$atoll" node drain
wait "$node"
node=
