// The package's files where a page, and every bundler, finds them.

import type { Platform } from "./home.js";

export const web: Platform = {
  wasm: {
    peer: () => new URL("./peer.wasm", import.meta.url),
    sql: () => new URL("./sql.wasm", import.meta.url),
    parser: () => new URL("./parser.wasm", import.meta.url),
  },
  worker: () => new Worker(new URL("./engine.js", import.meta.url), { type: "module", name: "pontoon" }),
  engine: () => import("./engine.js"),
};
