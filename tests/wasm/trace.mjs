// Runs the simulator compiled to wasm and prints the trace hash of a seed: node trace.mjs MODULE SEED
import { readFile } from "node:fs/promises";

const [, , module, seed] = process.argv;
const { instance } = await WebAssembly.instantiate(await readFile(module), {});
const hash = BigInt.asUintN(64, instance.exports.mini_run(BigInt(seed)));
console.log(hash.toString(16).padStart(16, "0"));
