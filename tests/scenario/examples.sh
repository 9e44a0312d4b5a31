#!/usr/bin/env bash
# The examples and templates on a node: what they answer there is what plain programs answer.
. "$(dirname "$0")/node.bash"
top=$(realpath "$here/../..")
export ATOLL_SDK=$top/sdk
cp -r "$top/examples" "$work/examples"
find "$work/examples" -name '*.wasm' -delete
cd "$work/examples" || exit 1
check 'a node starts' node_start
url() { echo "$ATOLL_NODE/v1/fn/default/$1"; }

for example in wordcount-chain/count wordcount-chain/split hogwild inference/weights \
    inference/infer shortener; do
    expect 0 "$example is built and deployed" "$atoll" deploy $example
done
SDK=$top/sdk make --silent -C hogwild CC=clang-19 hogwild-native
SDK=$top/sdk make --silent -C inference CC=clang-19 native

# words come in pieces of 64 KiB
sed -i 's/1048576/65536/' wordcount-chain/split/atoll.yaml
expect 0 'wordcount is deployed with another configuration' "$atoll" deploy wordcount-chain/split
seq 1 40000 | sed 's/.*/the number &, and the next/' >text
expect 0 'words are counted by many calls' "$atoll" invoke wordcount -d @text
check 'all of them' test "$(head -n 2 "$out" | tr '\n' ' ')" = '200000 words, 4 different 80000 the '

expect 0 'data for training is made in state' "$atoll" invoke hogwild -d 'generate 5000 3'
expect 0 'one worker trains on it' "$atoll" invoke hogwild -d 'train 3 1'
cp "$out" trained
expect 0 'so does the plain program' hogwild/hogwild-native 5000 3 1
check 'and both learn the same' sh -c "tail -n 3 '$out' | diff trained -"
expect 0 'several workers train without locks' "$atoll" invoke hogwild -d 'train 3 4'
check 'and learn as much, within a point' \
    awk 'NR == FNR { wanted = $4; next } { got = $4 } END { exit !(got < wanted + 1) }' trained "$out"

expect 0 'the weights of a network are made in state' "$atoll" invoke mobilenet-weights
expect 0 'a plain program classifies an image' inference/native 1 3
cp "$out" classes
inference/native image 3 >image
expect 0 'the function classifies it' "$atoll" invoke mobilenet -d @image
check 'with the same figures to the last digit' cmp classes "$out"
expect 1 'what is no image is refused' "$atoll" invoke mobilenet -d text
says 'with the function'\''s own words' '224 x 224 x 3'

expect 0 'a URL is shortened' curl -s -d https://example.org/page "$(url shortener)"
id=$(cat "$out")
check 'to seven characters' test ${#id} -eq 7
expect 0 'the short form is asked for' curl -s -o /dev/null -w '%{http_code} %{redirect_url}' \
    "$(url shortener)?id=$id"
check 'and leads to the URL' test "$(cat "$out")" = '302 https://example.org/page'
expect 0 'how often it was' curl -s "$(url shortener)?id=$id&count"
prints 'is known' 1
expect 0 'an unknown id' curl -s -o /dev/null -w '%{http_code}' "$(url shortener)?id=0000000"
check 'is not found' test "$(cat "$out")" = 404

for template in chain state http wasi; do
    expect 0 "a function of the template $template begins" \
        "$atoll" init "my-$template" --template $template
    expect 0 'and is deployed' "$atoll" deploy "my-$template"
done
seq 1 1000 >numbers
expect 0 'numbers are added by calls of the same module' "$atoll" invoke my-chain -d @numbers
check 'correctly' test "$(cat "$out")" = 500500
expect 0 'a number is kept' "$atoll" invoke my-state -d 2.5
expect 0 'and another' "$atoll" invoke my-state -d -4
prints 'in the same state' 'count 2, sum -1.500, least -4.000, greatest 2.500'
expect 0 'an HTTP function answers' curl -s -d a,b -H 'Content-Type: text/csv' \
    -w ' %{content_type}' "$(url my-http)"
check 'with headers of its own' test "$(cat "$out")" = 'a,b text/csv'
expect 0 'a plain program reads its input' "$atoll" invoke my-wasi -d line
check 'and its output is the answer' test "$(cat "$out")" = '     1  line'
node_stop
check 'the node ends well' test $? -eq 0
finish
