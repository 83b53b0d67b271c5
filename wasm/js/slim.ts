// `pontoon-db/slim`: for whoever loads the package's files in ways of their own. Nothing is fetched but what is given.

import { connectOn } from "./connect.js";
import type { Platform } from "./home.js";
import type { Pontoon } from "./pontoon.js";
import type { ConnectOptions } from "./types.js";
import type { WasmSource } from "./wasm.js";

export * from "./exports.js";
export type { Wasm, WasmSource } from "./wasm.js";

/** Where the package's files are. */
export interface SlimOptions extends ConnectOptions {
  /** `peer.wasm`, `sql.wasm` and `parser.wasm` of the package: addresses, bytes, responses or compiled modules, or functions that give them. */
  wasm: Record<"peer" | "sql" | "parser", WasmSource>;
  /** Starts `pontoon-db/engine.js` as a module worker; without it the engine is on the page. */
  start?: () => Worker;
}

/** The same as `connect` of `pontoon-db`, with what it would fetch passed in. */
export function connect({ wasm, start, ...options }: SlimOptions): Promise<Pontoon> {
  const platform: Platform = { wasm, engine: () => import("./engine.js"), ...(start && { worker: start }) };
  return connectOn(platform, options);
}
