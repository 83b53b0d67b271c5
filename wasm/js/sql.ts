// SQL's module: a wasm module of its own with what runs text in it, fetched when a page first runs SQL.

import { PontoonError } from "./errors.js";

/** SQL and prefix hash trees. */
export type Module = typeof import("./parser/pontoon_wasm_parser.js") & typeof import("./parser/session.js");

let loading: Promise<Module> | undefined;

/** The module, fetched once. */
export function loadModule(): Promise<Module> {
  return (loading ??= load());
}

async function load(): Promise<Module> {
  try {
    const module = await import("./parser/pontoon_wasm_parser.js");
    await module.default();
    return { ...module, ...(await import("./parser/session.js")) };
  } catch (cause) {
    loading = undefined; // The next statement tries again.
    throw new PontoonError("unreachable", `the SQL module could not be loaded: ${String(cause)}`, { cause });
  }
}

/** A template's text with `$1`, `$2`, ... where its values stood. */
export function placeholders(strings: readonly string[]): string {
  return strings.reduce((text, part, index) => `${text}$${index}${part}`);
}
