// The package in Node: a peer over WebSockets, which keeps its records in memory. Importing loads and touches nothing.

import { readFile } from "node:fs/promises";
import { connect as join } from "./connect.js";
import { PontoonError } from "./errors.js";
import type { Pontoon } from "./pontoon.js";
import type { ConnectOptions } from "./types.js";

export * from "./index.js";

/** As in a page. Until it is closed, the process stays alive. */
export async function connect(options: ConnectOptions): Promise<Pontoon> {
  try {
    globalThis.WebSocket ??= await socket();
    await (modules ??= load());
  } catch (cause) {
    modules = undefined; // The next call tries again.
    throw PontoonError.from(cause);
  }
  return join(options);
}

let modules: Promise<unknown> | undefined;

/** Both wasm modules, from the disk: Node fetches no files. What is loaded already is not fetched by who needs it. */
function load(): Promise<unknown> {
  const bytes = (name: string): Promise<Uint8Array> => readFile(new URL(name, import.meta.url));
  return Promise.all([
    import("./core/pontoon_wasm.js").then(async (module) => module.default({ module_or_path: bytes("core/pontoon_wasm_bg.wasm") })),
    import("./parser/pontoon_wasm_parser.js").then(async (module) => module.default({ module_or_path: bytes("parser/pontoon_wasm_parser_bg.wasm") })),
  ]);
}

/** The WebSocket of Node before 22. */
async function socket(): Promise<typeof globalThis.WebSocket> {
  const { WebSocket } = await import("ws");
  class Socket extends WebSocket {
    constructor(address: string) {
      super(address);
      // Where nobody listens, an error (a socket that is closed before it is open) would end the process.
      this.on("error", () => undefined);
    }
  }
  return Socket as unknown as typeof globalThis.WebSocket;
}
