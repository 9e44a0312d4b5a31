#!/usr/bin/env bash
# Tokens, scopes, tenants, grants, TLS.
. "$(dirname "$0")/node.bash"
if ! command -v node >/dev/null; then
    skip 'tokens and TLS' 'needs nodejs'
    finish
fi
export DATA=$work/data ACTS=$work/acts.wasm TOKEN_FILE=$work/token METRICS_URL=
port=$((20000 + $$ % 20000))
METRICS_URL=http://127.0.0.1:$port

check 'a function is built' "$atoll" build "$here/functions/acts.c" -o "$ACTS"
check 'a node that asks for tokens starts' node_start --set auth.required=always \
    --set "metrics_listen=127.0.0.1:$port"
check 'its log names the file of the first token, and not the token' \
    grep -q 'admin-token' "$work/log"
check 'which is not in the log' bash -c "! grep -qF \"\$(cat '$DATA/admin-token')\" '$work/log'"
node "$here/node_access.mjs" || failures=$((failures + 1))
expect 4 'the command without a token is not permitted' "$atoll" fn ls
export ATOLL_TOKEN
ATOLL_TOKEN=$(cat "$TOKEN_FILE")
expect 0 'with one it is' "$atoll" fn ls alice
node_stop KILL
before=$(cat "$DATA/admin-token")
check 'killed, it starts again' node_start --set auth.required=always
check 'with the first token it had' test "$(cat "$DATA/admin-token")" = "$before"
expect 0 'and the others' "$atoll" fn ls alice
node_stop

if command -v openssl >/dev/null; then
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout "$work/key.pem" \
        -out "$work/cert.pem" -addext subjectAltName=IP:127.0.0.1,DNS:localhost 2>/dev/null
    check 'a node with a certificate starts' node_start --set "tls.certificate=$work/cert.pem" \
        --set "tls.key=$work/key.pem"
    case $ATOLL_NODE in https://*) good=0 ;; *) good=1 ;; esac
    report $good 'and names its address with https'
    check 'it answers over TLS' env NODE_EXTRA_CA_CERTS="$work/cert.pem" node -e "
        fetch('$ATOLL_NODE/readyz').then(async (r) => process.exit((await r.text()) === 'ready\n' ? 0 : 1))"
    check 'and not without' node -e "
        fetch('${ATOLL_NODE/https/http}/readyz').then(() => process.exit(1), () => process.exit(0))"
    check 'not to one who trusts another' node -e "
        fetch('$ATOLL_NODE/readyz').then(() => process.exit(1), () => process.exit(0))"
    node_stop
    check 'clients must show a certificate when told so' node_start \
        --set "tls.certificate=$work/cert.pem" --set "tls.key=$work/key.pem" \
        --set "tls.client_ca=$work/cert.pem"
    check 'one without is refused' env NODE_EXTRA_CA_CERTS="$work/cert.pem" node -e "
        fetch('$ATOLL_NODE/readyz').then(() => process.exit(1), () => process.exit(0))"
    check 'one with is answered' node -e "
        const fs = require('fs'), pem = fs.readFileSync('$work/cert.pem')
        require('https').get('$ATOLL_NODE/readyz', { ca: pem, cert: pem, key: fs.readFileSync('$work/key.pem') },
            (r) => process.exit(r.statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"
    node_stop
    "$atoll" up --data "$work/data" --listen 127.0.0.1:0 --set "tls.certificate=$work/none.pem" \
        --set "tls.key=$work/key.pem" >"$out" 2>"$err"
    check 'a certificate that is not there is an error' test $? -ne 0
    says 'that names the file' 'none.pem'
else
    skip 'TLS' 'needs openssl'
fi
finish
