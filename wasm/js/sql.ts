// SQL's two wasm modules, fetched when a page first needs them: one runs statements and trees, one parses text.

import { PontoonError } from "./errors.js";

/** What runs statements and trees. */
type Sql = typeof import("./sql/pontoon_wasm_sql.js");
/** The same with what runs text. */
export type Module = Sql & typeof import("./parser/session.js");

/** The module that runs statements and trees, fetched once. */
export const loadSql: () => Promise<Sql> = once(async () => {
  const sql = await import("./sql/pontoon_wasm_sql.js");
  await sql.default();
  return sql;
});

/** Both modules, fetched once and side by side. */
export const loadModule: () => Promise<Module> = once(async () => {
  const parser = import("./parser/pontoon_wasm_parser.js").then(({ default: load }) => load());
  const [sql, session] = await Promise.all([loadSql(), import("./parser/session.js"), parser]);
  return { ...sql, ...session };
});

/** Loads something once; what failed, the next time again. */
function once<T>(load: () => Promise<T>): () => Promise<T> {
  let loading: Promise<T> | undefined;
  return () => (loading ??= load().catch((cause: unknown) => {
    loading = undefined;
    if (cause instanceof PontoonError) throw cause;
    throw new PontoonError("unreachable", `the SQL module could not be loaded: ${String(cause)}`, { cause });
  }));
}

/** A template's text with `$1`, `$2`, ... where its values stood. */
export function placeholders(strings: readonly string[]): string {
  return strings.reduce((text, part, index) => `${text}$${index}${part}`);
}
