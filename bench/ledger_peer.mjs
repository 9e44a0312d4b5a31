// The ledger beside another Byzantine fault tolerant engine, CometBFT, in the same run: four nodes of
// each on this machine, transactions of the same size, throughput of what was committed.
//
//   node bench/ledger_peer.mjs BUILD [SECONDS [ROUNDS]]
//
// CometBFT is $COMETBFT, else the one in PATH, else it is built from its Go module. It runs its
// built-in key-value store, with the settings that let it go as fast as it can here: no pause
// between blocks, no recheck, no index, a mempool that never refuses; and under the load that suits it
// best, because it stands still when more waits than it can take. What it does NOT do in this
// comparison, and the ledger does: verify a client's signature on every transaction, execute a bank
// on 500,000 accounts, give every client a receipt that can be checked offline, wait for the disk
// before a vote leaves. Exits with 0 and "skipped" when it cannot be had.
import {spawn, spawnSync} from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';

const MODULE = 'github.com/cometbft/cometbft/cmd/cometbft', VERSION = 'v0.37.5';
const NODES = 4, TX_BYTES = 181; // a SmallBank payment with its signature
const WAITING = [2000, 8000, 16000]; // transactions that wait at a node before nobody sends more
const build = process.argv[2] ?? 'build';
const seconds = Number(process.argv[3] ?? 10), rounds = Number(process.argv[4] ?? 3);
const sleep = ms => new Promise(done => setTimeout(done, ms));

function skip(why) {
    console.log(`skipped: ${why}`);
    process.exit(0);
}

function comet_find() {
    if (process.env.COMETBFT)
        return process.env.COMETBFT;
    const found = spawnSync('sh', ['-c', 'command -v cometbft'], {encoding: 'utf8'}).stdout.trim();
    if (found)
        return found;
    const cache = process.env.ATOLL_PACKAGES ??
        path.join(process.env.XDG_CACHE_HOME ?? path.join(os.homedir(), '.cache'), 'atoll-packages');
    const program = path.join(cache, `cometbft-${VERSION}`, 'cometbft');
    if (!fs.existsSync(program)) {
        console.error(`building ${MODULE}@${VERSION}…`);
        const go = spawnSync('go', ['install', `${MODULE}@${VERSION}`],
                             {env: {...process.env, GOBIN: path.dirname(program)}, stdio: 'ignore'});
        if (go.status !== 0)
            skip(`no CometBFT: set COMETBFT, or have Go and a way to ${MODULE}`);
    }
    return program;
}

// ---- CometBFT ----

function set(text, key, value) {
    return text.replace(new RegExp(`^${key} = .*$`, 'gm'), `${key} = ${value}`);
}

function comet_configure(directory, base) {
    const ids = [...Array(NODES).keys()].map(
        i => spawnSync(comet, ['show-node-id', '--home', `${directory}/node${i}`],
                       {encoding: 'utf8'}).stdout.trim());
    for (let i = 0; i < NODES; i++) {
        const file = `${directory}/node${i}/config/config.toml`;
        const others = ids.map((id, k) => `${id}@127.0.0.1:${base + 2 * k}`).filter((_, k) => k !== i);
        let text = fs.readFileSync(file, 'utf8');
        text = set(text, 'proxy_app', '"kvstore"');
        text = text.replace('laddr = "tcp://127.0.0.1:26657"', `laddr = "tcp://127.0.0.1:${base + 2 * i + 1}"`);
        text = text.replace('laddr = "tcp://0.0.0.0:26656"', `laddr = "tcp://127.0.0.1:${base + 2 * i}"`);
        text = set(text, 'persistent_peers', `"${others.join(',')}"`);
        text = set(text, 'timeout_commit', '"0s"');
        text = set(text, 'skip_timeout_commit', 'true');
        text = set(text, 'create_empty_blocks', 'false');
        text = set(text, 'recheck', 'false');
        text = set(text, 'indexer', '"null"');
        text = text.replace(/^size = 5000$/m, 'size = 100000');
        text = set(text, 'cache_size', '200000');
        text = set(text, 'max_body_bytes', '10000000');
        fs.writeFileSync(file, text);
    }
}

function rpc(port, body) {
    return new Promise((done, failed) => {
        const text = JSON.stringify(body);
        const request = http.request(
            {port, host: '127.0.0.1', method: 'POST', path: '/', agent,
             headers: {'content-type': 'application/json', 'content-length': Buffer.byteLength(text)}},
            reply => {
                let all = '';
                reply.on('data', piece => all += piece);
                reply.on('end', () => {
                    try {
                        done(JSON.parse(all));
                    } catch (e) {
                        failed(e);
                    }
                });
            });
        request.on('error', failed);
        request.end(text);
    });
}
const agent = new http.Agent({keepAlive: true, maxSockets: 64});

async function height(port) {
    const status = await rpc(port, {jsonrpc: '2.0', id: 1, method: 'status', params: {}});
    return Number(status.result.sync_info.latest_block_height);
}

// Transactions in the blocks above `from` up to `to`.
async function committed(port, from, to) {
    let count = 0;
    for (let high = to; high > from; high -= 20) {
        const low = Math.max(from + 1, high - 19);
        const reply = await rpc(port, {jsonrpc: '2.0', id: 1, method: 'blockchain',
                                       params: {minHeight: String(low), maxHeight: String(high)}});
        for (const meta of reply.result.block_metas)
            count += Number(meta.num_txs);
    }
    return count;
}

let serial = 0;
function transaction() {
    const head = `${(serial++).toString(36)}-${process.pid}=`;
    return Buffer.from(head.padEnd(TX_BYTES, 'x')).toString('base64');
}

async function waiting(port) {
    const reply = await rpc(port, {jsonrpc: '2.0', id: 1, method: 'num_unconfirmed_txs', params: {}});
    return Number(reply.result.total);
}

async function comet_watch(base, state) {
    while (!state.stop) {
        try {
            state.full = await waiting(base + 1) >= state.most;
        } catch {
            // it is busy: the next answer will say
        }
        await sleep(20);
    }
}

async function comet_load(base, state) {
    const batch = 50;
    while (!state.stop) {
        if (state.full) {
            await sleep(5);
            continue;
        }
        const body = [];
        for (let i = 0; i < batch; i++)
            body.push({jsonrpc: '2.0', id: i, method: 'broadcast_tx_sync', params: {tx: transaction()}});
        try {
            const reply = await rpc(base + 1 + 2 * (serial / batch % NODES | 0), body);
            if (!Array.isArray(reply) || reply.some(r => r.error))
                await sleep(20); // the mempool is full
        } catch {
            await sleep(50);
        }
    }
}

// Throughput, round by round, from the least, when up to `most` transactions wait.
async function comet_measure(most) {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'atoll-peer-'));
    const base = 20000 + (process.pid % 20000);
    const children = [];
    const rates = [];
    try {
        spawnSync(comet, ['testnet', '--v', String(NODES), '--o', directory], {stdio: 'ignore'});
        comet_configure(directory, base);
        for (let i = 0; i < NODES; i++)
            children.push(spawn(comet, ['node', '--home', `${directory}/node${i}`, '--log_level', 'error'],
                                {stdio: 'ignore'}));
        for (let tries = 0;; tries++) {
            await sleep(500);
            try {
                await height(base + 1);
                break;
            } catch (e) {
                if (tries > 60)
                    throw e;
            }
        }
        await sleep(2000);
        const state = {stop: false, full: false, most};
        const senders = [...Array(8)].map(() => comet_load(base, state));
        senders.push(comet_watch(base, state));
        await sleep(3000);
        for (let round = 0; round < rounds; round++) {
            const from = await height(base + 1), begin = performance.now();
            await sleep(seconds * 1000);
            const to = await height(base + 1), took = (performance.now() - begin) / 1000;
            rates.push(await committed(base + 1, from, to) / took);
        }
        state.stop = true;
        await Promise.all(senders);
    } finally {
        for (const child of children)
            child.kill('SIGKILL');
        agent.destroy();
        await sleep(500);
        fs.rmSync(directory, {recursive: true, force: true});
    }
    return rates.sort((a, b) => a - b);
}

// ---- both ----

const comet = comet_find();
/* The ledger goes first: after the peer's gigabytes of memory the machine is slow for a while. */
const own = spawnSync(`${build}/atoll`, ['ledger', 'bench', '--json', '--rounds', String(rounds),
                                         '--time', `${seconds}s`], {encoding: 'utf8'});
if (own.status !== 0) {
    console.error(own.stderr);
    process.exit(1);
}
const ours = JSON.parse(own.stdout);
const median_of = rates => (rates[rates.length >> 1] + rates[rates.length - 1 >> 1]) / 2;
const peers = [];
for (const most of WAITING)
    peers.push({most, rates: await comet_measure(most)});
peers.sort((a, b) => median_of(b.rates) - median_of(a.rates));
const row = (name, rates) => {
    const figures = [median_of(rates), rates[0], rates[rates.length - 1]];
    console.log(`${name.padEnd(44)} ${figures.map(f => f.toFixed(0).padStart(9)).join(' ')}  tx/s`);
};
const {least, median, most} = ours.tx_per_s;
console.log(`4 nodes each on ${os.cpus().length} cores, transactions of ${TX_BYTES} bytes, ${rounds} rounds of ${seconds} s`);
console.log(`${''.padEnd(44)} ${'median'.padStart(9)} ${'least'.padStart(9)} ${'most'.padStart(9)}`);
for (const peer of peers)
    row(`CometBFT ${VERSION}, kvstore, ${peer.most} waiting`, peer.rates);
row(`atoll ledger, ${ours.mode}, SmallBank`, [least, median, most]);
/* Under too much load the peer may commit nothing for a whole round. */
const best = peers[0].rates, ratio = of => of > 0 ? (median / of).toFixed(1) : 'none, it committed nothing';
console.log(`ratio to the peer's best median ${ratio(median_of(best))}, to its best round ${ratio(Math.max(...peers.flatMap(p => p.rates)))}`);
