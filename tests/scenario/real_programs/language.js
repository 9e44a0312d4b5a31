// What an ECMAScript engine must get right; prints one line per subject. The expected output is what
// another engine (V8) prints for the same script.

class Account {
    #balance = 0;
    static opened = 0;
    constructor(owner) { this.owner = owner; Account.opened++; }
    deposit(amount) { this.#balance += amount; return this; }
    get balance() { return this.#balance; }
    static #secret() { return 'static private'; }
    static reveal() { return Account.#secret(); }
}
class Savings extends Account {
    constructor(owner, rate) { super(owner); this.rate = rate; }
    deposit(amount) { return super.deposit(amount * (1 + this.rate)); }
    toString() { return `${this.owner}: ${this.balance.toFixed(2)}`; }
}
print(`classes ${new Savings('Ada', 0.05).deposit(100).deposit(1)} ${Account.opened} ${Account.reveal()}`);

function* fibonacci() {
    let [a, b] = [0n, 1n];
    for (;;) { yield a; [a, b] = [b, a + b]; }
}
let hundredth;
{
    let i = 0;
    for (const f of fibonacci()) if (i++ === 100) { hundredth = f; break; }
}
print(`generators ${hundredth}`);

const { x, y: { z = 7, ...others }, ...rest } = { x: 1, y: { p: 2, q: 3 }, r: 4, s: 5 };
print(`destructuring ${x} ${z} ${JSON.stringify(others)} ${JSON.stringify(rest)}`);

const counts = new Map();
for (const word of 'the quick the lazy the dog quick'.split(' '))
    counts.set(word, (counts.get(word) ?? 0) + 1);
print(`maps ${[...counts].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).join(';')}`);

const log = [];
const watched = new Proxy({ a: 1 }, {
    get(target, key) { log.push(`get ${String(key)}`); return Reflect.get(target, key); },
    has(target, key) { log.push(`has ${String(key)}`); return key in target; },
});
watched.a; watched.b; 'a' in watched;
print(`proxies ${log.join(',')}`);

const date = /(?<year>\d{4})-(?<month>\d\d)-(?<day>\d\d)/u.exec('on 2024-02-29, said she');
print(`regular expressions ${date.groups.day} ${'a1b22c333'.replace(/(?<=[bc])\d+/g, (d) => `<${d}>`)} ${
    [...'x=1, y=22'.matchAll(/(\w)=(\d+)/g)].map((m) => m[2]).join('+')} ${/^\p{Lu}/u.test('Éa')}`);

let factorial = 1n;
for (let i = 1n; i <= 40n; i++) factorial *= i;
print(`big integers ${factorial} ${factorial % 1000000007n} ${BigInt.asIntN(64, factorial)} ${(-7n) / 2n}`);

const view = new DataView(new ArrayBuffer(16));
view.setFloat64(0, Math.PI);
view.setInt32(8, -2, true);
print(`buffers ${[...new Uint8Array(view.buffer)].join(' ')} ${new Float32Array([0.1])[0]}`);

print(`numbers ${0.1 + 0.2} ${1 / 3} ${(255).toString(36)} ${(1e21 + 1)} ${(-1.5).toFixed(0)} ${
    (1234.5678).toExponential(3)} ${(0.000001234).toPrecision(2)} ${Number('0x1f')} ${parseFloat('3.25e2kg')} ${
    5e-324} ${2 ** 53 + 1} ${-0 === 0} ${Object.is(-0, 0)} ${0 / 0} ${(25).toString(2)}`);
print(`mathematics ${Math.hypot(3, 4)} ${Math.imul(0x7fffffff, 3)} ${Math.clz32(1)} ${Math.fround(5.05)} ${
    Math.sign(-3)} ${Math.trunc(-4.7)} ${Math.cbrt(27)} ${Math.max()} ${Math.atan2(1, 1).toFixed(12)}`);

const people = [['Eve', 30], ['Bob', 25], ['Cid', 30], ['Dan', 25]];
print(`sorting ${people.sort((a, b) => a[1] - b[1]).map((p) => p[0]).join()} ${
    [10, 9, 1].sort().join()} ${[3, 1, 2].toSorted().join()} ${[1, [2, [3, [4]]]].flat(Infinity).join()}`);

print(`strings ${'ab'.padStart(5, '*')} ${'ñ'.normalize('NFD').length} ${[...'a😀b'].length} ${
    'x'.codePointAt(0)} ${'a-b-c'.replaceAll('-', '+')} ${'title case'.at(-1)} ${
    String.raw`a\n${1 + 1}`} ${'İ'.toLowerCase().length} ${'straße'.toUpperCase()}`);

print(`dates ${new Date(Date.UTC(2024, 1, 29, 12, 30, 15, 250)).toISOString()} ${
    Date.parse('1970-01-02T00:00:00Z')} ${new Date(8.64e15).getUTCFullYear()} ${new Date(NaN).getTime()}`);

function attempt(action) {
    try { return action(); }
    catch (error) { return `${error.name}(${error.message ? 'text' : 'none'})`; }
    finally { attempt.count = (attempt.count ?? 0) + 1; }
}
print(`errors ${attempt(() => null.x)} ${attempt(() => undefined_name)} ${attempt(() => { throw new RangeError(); })} ${
    attempt(() => BigInt(1.5))} ${attempt(() => JSON.parse('{'))} ${attempt.count}`);
print(`causes ${new Error('outer', { cause: new Error('inner') }).cause.message}`);

outer: for (let i = 0; i < 5; i++)
    for (let j = 0; j < 5; j++) {
        if (j === 3) continue outer;
        if (i * j === 6) { print(`labels ${i} ${j}`); break outer; }
        if (i === 4) { print(`labels ${i} ${j}`); break outer; }
    }

print(`json ${JSON.stringify({ b: [1, null, undefined, () => 1], d: new Date(0), u: undefined, n: NaN,
    s: '\u2028"\\' })} ${JSON.stringify([1, { a: 2 }], null, 1).replaceAll('\n', '|')}`);

const tree = (n) => (n === 0 ? null : { left: tree(n - 1), right: tree(n - 1) });
const size = (t) => (t === null ? 0 : 1 + size(t.left) + size(t.right));
print(`garbage ${Array.from({ length: 20 }, () => size(tree(10))).reduce((a, b) => a + b)}`);

let state = 42;
const table = new Int32Array(5000);
for (let round = 0; round < 40; round++)
    for (let i = 0; i < table.length; i++) {
        state = (Math.imul(state, 1664525) + 1013904223) | 0;
        table[i] ^= (state >>> 7) + (table[(i * 7) % table.length] << 3);
    }
print(`integers ${table.reduce((a, b) => (a + b) | 0, 0)} ${state}`);

let inside = 0;
for (let py = -20; py < 20; py++)
    for (let px = -40; px < 20; px++) {
        let a = 0, b = 0, n = 0;
        while (a * a + b * b < 4 && n < 50) { [a, b] = [a * a - b * b + px / 20, 2 * a * b + py / 20]; n++; }
        if (n === 50) inside++;
    }
print(`floats ${inside}`);

const order = [];
(async () => {
    order.push('a');
    await null;
    order.push('d');
    for await (const v of [Promise.resolve('e'), 'f']) order.push(v);
    const settled = await Promise.allSettled([Promise.reject(new Error('no')), 1]);
    order.push(settled.map((s) => s.status[0]).join(''));
})().then(() => print(`promises ${order.join('')}`));
Promise.resolve().then(() => order.push('c'));
order.push('b');
