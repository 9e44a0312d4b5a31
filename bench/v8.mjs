// Runs kernels in V8 for bench/engine.c: one request a line on stdin, "<path> <repeat>"; one answer a
// line on stdout, "<nanoseconds of CPU> <checksum bits in hex>" or "error <text>".
//
// The first request for a module compiles it and runs it once before the run that is timed. The
// harness starts node with --no-liftoff, so that all code is TurboFan's from the start, and CPU time is
// read only after the compiler's threads have gone quiet.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

const instances = new Map();

function load(path, repeat) {
    let exports = instances.get(path);
    if (!exports) {
        const module = new WebAssembly.Module(readFileSync(path));
        exports = new WebAssembly.Instance(module, {}).exports;
        exports.run(Math.max(1, repeat >> 2));
        instances.set(path, exports);
    }
    return exports;
}

function measure(path, repeat) {
    const { run } = load(path, repeat);
    const before = process.cpuUsage();
    const result = run(repeat);
    const spent = process.cpuUsage(before);
    const bits = new DataView(new ArrayBuffer(8));
    bits.setFloat64(0, result);
    const nanoseconds = (spent.user + spent.system) * 1000;
    return `${nanoseconds} ${bits.getBigUint64(0).toString(16)}`;
}

for await (const line of createInterface({ input: process.stdin })) {
    const space = line.lastIndexOf(' ');
    let answer;
    try {
        answer = measure(line.slice(0, space), Number(line.slice(space + 1)));
    } catch (error) {
        answer = `error ${String(error).replaceAll('\n', ' ')}`;
    }
    process.stdout.write(answer + '\n');
}
