#!/usr/bin/env bash
# What functions reach on the network: what their manifest names, by address, range or name, by TCP
# and UDP; never the node itself, never loopback.
. "$(dirname "$0")/node.bash"
cd "$work" || exit 1
host=$(hostname -I 2>/dev/null | tr ' ' '\n' | grep -E '^[0-9.]+$' | grep -v '^127\.' | head -n 1)
if [ -z "$host" ] || ! command -v python3 >/dev/null; then
    skip 'the network of functions' 'needs an address besides loopback, and python3'
    finish
fi

cat >server.py <<'END'
import socket, sys, threading
stream, datagram = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
stream.bind(("0.0.0.0", 0))
port = stream.getsockname()[1]
datagram.bind(("0.0.0.0", port))
stream.listen(16)
print(port, flush=True)
def datagrams():
    while True:
        data, peer = datagram.recvfrom(100)
        datagram.sendto(b"udp" + data, peer)
threading.Thread(target=datagrams, daemon=True).start()
while True:
    c, _ = stream.accept()
    c.sendall(b"tcp" + c.recv(100))
    c.close()
END
python3 server.py >port &
server=$!
disown
trap 'kill -KILL $node $server 2>/dev/null; rm -rf "$work"' EXIT
for _ in $(seq 100); do
    [ -s port ] && break
    sleep 0.05
done
port=$(cat port)

# A node that knows a name: where this is allowed it has an /etc/hosts of its own.
named=
if unshare -m true 2>/dev/null; then
    named=yes
    printf '127.0.0.1 localhost\n%s peer.test\n' "$host" >hosts
    cat >named-node <<END
#!/bin/sh
[ "\$1" = up ] || exec "$atoll" "\$@"
exec unshare -m sh -c 'mount --bind "$work/hosts" /etc/hosts && exec "\$0" "\$@"' "$atoll" "\$@"
END
    chmod +x named-node
    atoll=$work/named-node
fi
check 'a node starts at all addresses' node_start --set listen=0.0.0.0:0 --set auth.required=never \
    --set metrics_listen=0.0.0.0:0
"$atoll" build "$here/functions/reach.c" -o reach.wasm || exit 1
deploy_as() { # name, entries of net
    printf 'name: %s\nnet: [ %s ]\n' "$1" "$2" >"$1.yaml"
    expect 0 "$1 is deployed" "$atoll" deploy reach.wasm --name "$1" --manifest "$1.yaml"
}
reaches() { # name function input output
    expect 0 "$1" "$atoll" invoke "$2" -d "$3"
    check 'and is answered' test "$(cat "$out")" = "$4"
}
refused() { # name function input
    expect 1 "$1" "$atoll" invoke "$2" -d "$3"
    says 'as not permitted' 'returned 3([^0-9]|$)'
}
deploy_as closed ''
deploy_as exact "{ host: $host, port: $port }"
deploy_as wide "{ host: 0.0.0.0/0 }, { host: 127.0.0.1 }"
refused 'a function without a net reaches nothing' closed "tcp $host $port"
reaches 'one whose manifest names address and port does' exact "tcp $host $port" 'tcp?'
reaches 'by UDP as well' exact "udp $host $port" 'udp?'
refused 'no other port' exact "tcp $host $((port + 1))"
refused 'no other address' exact "tcp 192.0.2.1 $port"
reaches 'a range is enough' wide "tcp $host $port" 'tcp?'
refused 'but not loopback' wide "tcp 127.0.0.1 $port"
refused 'nor a link-local address' wide 'tcp 169.254.169.254 80'
refused 'nor the node' wide "tcp $host ${ATOLL_NODE##*:}"
metrics=$(ss -ltnp 2>/dev/null | grep "pid=$node," | grep -v ":${ATOLL_NODE##*:} " |
    sed -n 's/.*0\.0\.0\.0:\([0-9]*\) .*/\1/p' | head -n 1)
if [ -n "$metrics" ]; then
    refused 'nor its metrics' wide "tcp $host $metrics"
else
    skip 'nor its metrics' 'needs ss'
fi

# ---- names ----
if [ -n "$named" ]; then
    deploy_as named "{ host: peer.test, port: $port }"
    refused 'an address of a name is not allowed as long as nobody knows it' named "tcp $host $port"
    reaches 'the name is looked up' named "tcp peer.test $port" 'tcp?'
    reaches 'however it is written' named "tcp Peer.TEST $port" 'tcp?'
    refused 'with the port that the manifest has' named "tcp peer.test $((port + 1))"
else
    skip 'a name is looked up' 'only root may give this node names of its own'
fi
refused 'another name is not looked up' exact "tcp localhost $port"

expect 0 'after all that calls go on' "$atoll" invoke exact -d "tcp $host $port"
check 'the node stops' node_stop TERM
finish
