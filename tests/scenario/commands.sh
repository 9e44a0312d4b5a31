#!/usr/bin/env bash
# The command line itself: help, versions, mistakes, exit codes.
. "$(dirname "$0")/tap.bash"

expect 2 'atoll alone explains itself and fails' "$atoll"
says 'it lists its commands' '^  run '
expect 0 'atoll help succeeds' "$atoll" help
commands=$("$atoll" help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' | grep -vx help)
for command in run resume build compile inspect doctor version up deploy invoke ledger; do
    check "atoll help names $command" grep -qx "$command" <(echo "$commands")
done
for command in $commands; do
    expect 0 "atoll $command --help succeeds" "$atoll" "$command" --help
    check "the help of $command has a usage line and tells of --help" \
        sh -c "grep -q '^Usage: atoll $command ' $out && grep -q -- '--help' $out"
    [[ $command == @(version|ledger) ]] ||
        check "and of exit codes" grep -qi 'exit code' "$out"
    expect 0 "atoll help $command is the same" "$atoll" help "$command"
    expect 2 "atoll $command refuses an unknown option" "$atoll" "$command" --elephant
    says "and says where to look" "atoll $command --help"
done
expect 2 'a misspelt command is refused' "$atoll" inspekt
says 'with the nearest one' 'did you mean .atoll inspect.'
expect 0 'atoll --version prints the version' "$atoll" --version
check 'it is a version' grep -qE '^atoll [0-9]+\.[0-9]+\.[0-9]+' "$out"
expect 0 'atoll version --json prints JSON' "$atoll" version --json
check 'it parses' python3 -m json.tool "$out"

expect 0 'a module is built from C' "$atoll" build "$here/programs/world.c" -o "$work/world.wasm"
expect 0 'inspect shows it' "$atoll" inspect "$work/world.wasm"
check 'with the types of its imports' \
    grep -q '^import function wasi_snapshot_preview1.proc_exit: (i32) -> ()$' "$out"
check 'and its exports' grep -q '^export function _start: () -> ()$' "$out"
expect 0 'inspect --json shows it' "$atoll" inspect --json "$work/world.wasm"
check 'in JSON' python3 -c '
import json, sys
m = json.load(open(sys.argv[1]))
assert {"kind": "function", "name": "_start", "type": "() -> ()"} in m["exports"], m["exports"]
assert m["counts"]["functions"] > 10' "$out"

expect 0 'a program with atomics is built' \
    "$atoll" build "$here/programs/atomic.c" -o "$work/atomic.wasm"
check 'additions are instructions that nobody comes in between' \
    sh -c "wasm-objdump -d '$work/atomic.wasm' | grep -q 'i64.atomic.rmw.add'"
expect 0 'and errno and variables of the thread are as ever' "$atoll" run "$work/atomic.wasm"

printf 'no module' >"$work/bad.wasm"
head -c 5000 "$work/world.wasm" >"$work/cut.wasm"
for verb in inspect run compile; do
    expect 126 "$verb refuses what is no module" "$atoll" $verb "$work/bad.wasm"
    says 'and names the file' 'bad.wasm'
    expect 126 "$verb refuses a truncated module" "$atoll" $verb "$work/cut.wasm"
    says 'and says where it breaks off' 'at byte 0x'
    expect 127 "$verb says that a file is missing" "$atoll" $verb "$work/absent.wasm"
    says 'by name' 'absent.wasm: No such file'
    expect 127 "$verb says that a directory is no file" "$atoll" $verb "$work"
    says 'by name' "cannot read $work: it is no regular file"
    truncate -s 257M "$work/large.wasm"
    expect 126 "$verb refuses a module beyond the limit" "$atoll" $verb "$work/large.wasm"
    says 'and says what it is' 'large.wasm: the module is larger than the limit of 256 MiB'
    expect 2 "$verb needs a file" "$atoll" $verb
done
for refused in 'exceptions (tag)' 'multi-memory (memory 1) (memory 1)' 'memory64 (memory i64 1)' \
    'relaxed-simd (func (drop (f32x4.relaxed_min (v128.const i64x2 0 0) (v128.const i64x2 0 0))))'; do
    echo "(module ${refused#* })" >"$work/refused.wat"
    wat2wasm --enable-all "$work/refused.wat" -o "$work/refused.wasm"
    expect 126 "run refuses ${refused%% *}" "$atoll" run "$work/refused.wasm"
    says 'by that name' "${refused%% *}, which this engine does not have"
done
expect 126 'an error can be had as JSON' "$atoll" inspect --json "$work/bad.wasm"
check 'with its code' grep -q ATOLL_EMALFORMED "$err"

expect 0 'doctor finds this machine fit' "$atoll" doctor
check 'and has run a module to find out' grep -q '^ok  whole pipeline' "$out"
expect 0 'doctor --json succeeds' "$atoll" doctor --json
check 'and parses' python3 -c '
import json, sys
d = json.load(open(sys.argv[1]))
assert d["works"] is True and len(d["checks"]) > 10' "$out"
expect 1 'doctor says when something is broken' env ATOLL_CACHE=/proc/nowhere "$atoll" doctor
check 'and what to do' grep -q 'set ATOLL_CACHE' "$out"

expect 2 'up refuses what is no address' "$atoll" up --data "$work/node" --listen nowhere
says 'and says how one is written' 'write ADDRESS:PORT'
expect 2 'up refuses more threads than there can be' "$atoll" up --data "$work/node" --threads 1025
says 'and says how many can' 'between 0 and 1024'
expect 125 'up needs a directory to keep things in' "$atoll" up --data "$work/world.wasm" --listen 127.0.0.1:0
says 'and names the one it cannot have' 'world.wasm exists and is not a directory'
for command in 'inspect' 'compile --json'; do
    expect 125 "$command does not pass for a success when its output has no room" \
        sh -c "'$atoll' $command '$work/world.wasm' >/dev/full"
    says 'and says so' 'the output could not be written'
done
expect 125 'nor when there is no output at all' sh -c "'$atoll' inspect '$work/world.wasm' >&-"
expect 2 'up starts no node that speaks half TLS' "$atoll" up --data "$work/node" --listen 127.0.0.1:0 \
    --set tls.key="$work/world.wasm"
says 'and says what is missing' 'tls.certificate'
expect 2 'build refuses a level of optimisation that is none' \
    "$atoll" build -O9 "$here/programs/world.c" -o "$work/x.wasm"
expect 2 'and a stack that no memory has room for' \
    "$atoll" build --stack 99G "$here/programs/world.c" -o "$work/x.wasm"
expect 127 'and a directory in place of a source' "$atoll" build "$work" -o "$work/x.wasm"
expect 2 'no token is for ever that was to be for no time' \
    "$atoll" token make invoke --tenant t --ttl 500ms
expect 2 'build needs an output' "$atoll" build "$here/programs/world.c"
expect 127 'build names a missing source' "$atoll" build "$work/absent.c" -o "$work/x.wasm"
printf 'int main(void) { return missing; }\n' >"$work/wrong.c"
expect 1 'build reports what does not compile' "$atoll" build "$work/wrong.c" -o "$work/x.wasm"
printf '#include <linux/fs.h>\nint main(void) { return 0; }\n' >"$work/host.c"
expect 1 'build does not see the headers of the host' "$atoll" build "$work/host.c" -o "$work/x.wasm"
finish
