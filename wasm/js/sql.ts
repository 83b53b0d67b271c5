// SQL's module: a wasm module of its own with what runs text in it, loaded when a client first runs SQL.

import initialize, { Tree } from "./parser/pontoon_wasm_parser.js";
import { Session } from "./parser/session.js";

/** SQL and prefix hash trees. */
export interface Module {
  Session: typeof Session;
  Tree: typeof Tree;
}

let loading: Promise<Module> | undefined;

/** The module, loaded once. */
export function loadModule(wasm: () => Promise<WebAssembly.Module>): Promise<Module> {
  loading ??= load(wasm);
  loading.catch(() => (loading = undefined)); // The next statement tries again.
  return loading;
}

async function load(wasm: () => Promise<WebAssembly.Module>): Promise<Module> {
  await initialize({ module_or_path: await wasm() });
  return { Session, Tree };
}
