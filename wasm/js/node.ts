// The package in Node: a peer over WebSockets, which keeps its records in memory. Importing loads and touches nothing.

import { readFile } from "node:fs/promises";
import { connectOn } from "./connect.js";
import { PontoonError } from "./errors.js";
import type { Platform } from "./home.js";
import type { Pontoon } from "./pontoon.js";
import type { ConnectOptions } from "./types.js";

export * from "./exports.js";

// Node fetches no files.
const bytes = (name: string) => (): Promise<BufferSource> => readFile(new URL(name, import.meta.url)) as Promise<BufferSource>;

const node: Platform = {
  wasm: { peer: bytes("./peer.wasm"), sql: bytes("./sql.wasm"), parser: bytes("./parser.wasm") },
  engine: () => import("./engine.js"),
};

/** As in a page. Until it is closed, the process stays alive. */
export async function connect(options: ConnectOptions): Promise<Pontoon> {
  try {
    globalThis.WebSocket ??= await socket();
  } catch (cause) {
    throw PontoonError.from(cause);
  }
  return connectOn(node, options);
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
