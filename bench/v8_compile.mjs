// Compiles one module in V8 and prints "<wall ns> <cpu ns>", for bench/compile.c. The flags node was
// started with choose the compiler.
import { readFileSync } from 'node:fs';

const bytes = readFileSync(process.argv[2]);
const cpuBefore = process.cpuUsage();
const wallBefore = process.hrtime.bigint();
new WebAssembly.Module(bytes);
const wall = process.hrtime.bigint() - wallBefore;
const cpu = process.cpuUsage(cpuBefore);
console.log(`${wall} ${(cpu.user + cpu.system) * 1000}`);
