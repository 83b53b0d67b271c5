// SQL's two wasm modules, loaded when a client first needs them: one runs statements and trees, one parses text.

import parser from "./parser/pontoon_wasm_parser.js";
import { Session } from "./parser/session.js";
import sql, { Tree } from "./sql/pontoon_wasm_sql.js";

/** Gives compiled modules. */
type Wasm = (name: "sql" | "parser") => Promise<WebAssembly.Module>;

/** The module that runs statements and trees, loaded once. */
export const loadTrees: (wasm: Wasm) => Promise<typeof Tree> = once(async (wasm) => {
  await sql({ module_or_path: await wasm("sql") });
  return Tree;
});

/** Both modules, loaded once and side by side. */
export const loadSql: (wasm: Wasm) => Promise<typeof Session> = once(async (wasm) => {
  const parsing = wasm("parser").then((module) => parser({ module_or_path: module }));
  await Promise.all([loadTrees(wasm), parsing]);
  return Session;
});

/** Loads something once; what failed, the next time again. */
function once<T>(load: (wasm: Wasm) => Promise<T>): (wasm: Wasm) => Promise<T> {
  let loading: Promise<T> | undefined;
  return (wasm) => (loading ??= load(wasm).catch((cause: unknown) => {
    loading = undefined;
    throw cause;
  }));
}
