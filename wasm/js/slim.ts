// `pontoon-db/slim`: for whoever loads the package's files in ways of their own. Nothing is fetched but what is given.

import { connectOn } from "./connect.js";
import type { Platform, WasmSource } from "./home.js";
import type { Pontoon } from "./pontoon.js";
import type { ConnectOptions } from "./types.js";

export { type ErrorCode, type ErrorDetails, PontoonError } from "./errors.js";
export type { Wasm, WasmSource } from "./home.js";
export type { LiveQuery } from "./live.js";
export type { Pontoon } from "./pontoon.js";
export type { Tree } from "./tree.js";
export type * from "./types.js";

/** Where the package's files are. */
export interface SlimOptions extends ConnectOptions {
  /** `peer.wasm` and `sql.wasm` of the package: addresses, bytes, responses or compiled modules, or functions that give them. */
  wasm: { peer: WasmSource; sql: WasmSource };
  /** Starts `pontoon-db/engine.js` as a module worker; without it the engine is on the page. */
  start?: () => Worker;
}

/** The same as `connect` of `pontoon-db`, with what it would fetch passed in. */
export function connect({ wasm, start, ...options }: SlimOptions): Promise<Pontoon> {
  const platform: Platform = { wasm, engine: () => import("./engine.js"), ...(start && { worker: start }) };
  return connectOn(platform, options);
}
