#!/usr/bin/env bash
# A node at its limits: connections, slow clients, a full queue, a full disk, a damaged store.
. "$(dirname "$0")/node.bash"
if ! command -v node >/dev/null; then
    skip 'a node at its limits' 'needs nodejs'
    finish
fi
acts=$work/acts.wasm
check 'a function is built' "$atoll" build "$here/functions/acts.c" -o "$acts"
check 'a node for 64 clients starts' node_start --set limits.connections=64
for tenant in default busy; do
    check "the tenant $tenant deploys" "$atoll" deploy "$acts" --name "$tenant/acts"
done
node "$here/node_limits.mjs" || failures=$((failures + 1))
node_stop
rm -rf "$work/data"

# ---- a full disk ----
disk=$work/data
mkdir "$disk"
if mount -t tmpfs -o size=24m atoll-test "$disk" 2>/dev/null; then
    trap 'kill -KILL $node 2>/dev/null; umount -l "$disk" 2>/dev/null; rm -rf "$work"' EXIT
    check 'a node on a small disk starts' node_start
    expect 0 'a function is deployed' "$atoll" deploy "$acts" --name acts
    head -c 100 /dev/urandom >"$work/small"
    head -c 8M /dev/urandom >"$work/big"
    expect 0 'a value is kept' "$atoll" state put default/kept "@$work/small"
    head -c 64M /dev/zero >"$disk/fill" 2>/dev/null
    "$atoll" state put default/big "@$work/big" >"$out" 2>"$err"
    check 'with the disk full a value is refused' test $? -ne 0
    says 'with the reason' 'disk is full|No space left'
    check 'and the log says so to the operator' \
        grep -qE '"level":"error".*(disk is full|No space left)' "$work/log"
    "$atoll" deploy "$acts" --name other >"$out" 2>"$err"
    check 'and a function' test $? -ne 0
    expect 0 'calls go on' "$atoll" invoke acts -d 'echo on'
    check 'as ever' grep -qx 'echo on' "$out"
    "$atoll" state get default/kept >"$work/got"
    check 'what was kept is there' cmp "$work/small" "$work/got"
    rm "$disk/fill"
    expect 0 'with room again a value is taken' "$atoll" state put default/big "@$work/big"
    node_stop KILL
    check 'killed after that the node starts again' node_start
    "$atoll" state get default/kept >"$work/got"
    check 'with what was kept' cmp "$work/small" "$work/got"
    "$atoll" state get default/big >"$work/got"
    check 'all of it' cmp "$work/big" "$work/got"
    node_stop
    umount -l "$disk"
    rm -rf "$disk"
else
    skip 'a full disk' 'only root may mount'
fi

# ---- a damaged store ----
check 'a node starts' node_start
check 'a function is deployed' "$atoll" deploy "$acts" --name acts
node_stop
for file in "$work"/data/store/*; do
    [ "$(stat -c %s "$file")" -gt 8192 ] || continue
    dd if=/dev/urandom of="$file" bs=4096 count=2 conv=notrunc 2>/dev/null
done
"$atoll" up --data "$work/data" --listen 127.0.0.1:0 >"$out" 2>"$err"
check 'with a damaged store it does not start' test $? -ne 0
says 'and says where' 'store'
rm -rf "$work/data"
printf 'junk\n' >"$work/atoll.yaml"
expect 2 'with a configuration that is none neither' "$atoll" up --config "$work/atoll.yaml" --data "$work/data"
says 'and says where' 'atoll.yaml'
finish
