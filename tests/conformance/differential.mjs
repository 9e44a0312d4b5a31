// V8's side of the differential test: node differential.mjs run|validate DIRECTORY COUNT
//
// run: for each DIRECTORY/N.wasm with N below COUNT prints "module N", then for each export, in
// order, "NAME value …" (unsigned decimal) or "NAME ! class of trap"; then "end".
// validate: prints "N valid" or "N invalid".
import { readFileSync } from 'node:fs';

const [mode, directory, count] = process.argv.slice(2);

const classes = [
  ['unreachable', 'unreachable'],
  ['memory access out of bounds', 'memory'],
  ['data segment out of bounds', 'memory'],
  ['does not support unaligned', 'unaligned'],
  ['null function or function signature', 'callee'],
  ['table index is out of bounds', 'table'],
  ['table access out of bounds', 'table'],
  ['element segment out of bounds', 'table'],
  ['divide by zero', 'zero'],
  ['remainder by zero', 'zero'],
  ['divide result unrepresentable', 'overflow'],
  ['float unrepresentable', 'conversion'],
  ['call stack', 'exhausted'],
];

function trapClass(error) {
  const found = classes.find(([text]) => error.message.includes(text));
  return found ? found[1] : `unknown (${error.message})`;
}

function show(value) {
  return typeof value === 'bigint' ? BigInt.asUintN(64, value) : value >>> 0;
}

function run(name, call) {
  try {
    const result = call();
    const values = result === undefined ? [] : Array.isArray(result) ? result : [result];
    return [name, ...values.map(show)].join(' ');
  } catch (error) {
    return `${name} ! ${trapClass(error)}`;
  }
}

function runModule(bytes) {
  let exports;
  try {
    exports = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;
  } catch (error) {
    return [`start ! ${trapClass(error)}`];
  }
  return Object.entries(exports).map(([name, call]) => run(name, call));
}

for (let n = 0; n < Number(count); n++) {
  const bytes = readFileSync(`${directory}/${n}.wasm`);
  if (mode === 'validate')
    console.log(`${n} ${WebAssembly.validate(bytes) ? 'valid' : 'invalid'}`);
  else
    console.log([`module ${n}`, ...runModule(bytes), 'end'].join('\n'));
}
