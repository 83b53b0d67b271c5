// SQL text. What runs it is a wasm module of its own, fetched when a page first runs SQL; the engine gives it records.

import type { Engine } from "./core/pontoon_wasm.js";
import { PontoonError } from "./errors.js";
import type { QueryResult, SqlParam, SqlValue } from "./types.js";

/** Texts whose statements are remembered, the latest used ones. */
const CACHE_MAX = 256;
/** Longer texts (bulk inserts with literals) are parsed each time. */
const CACHED_TEXT_MAX = 4_096;

/** SQL and prefix hash trees. */
export type Module = typeof import("./parser/pontoon_wasm_parser.js");

/** A result whose rows are one flat list of values. */
export type RawResult = Omit<QueryResult, "rows"> & { values: SqlValue[] };

let loading: Promise<Module> | undefined;
const cache = new Map<string, Uint8Array[]>();

/** SQL over one engine. */
export class Sql {
  readonly #engine: Engine;
  #sql: InstanceType<Module["Sql"]> | undefined;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Runs the statements of `text` one after the other; gives the result of the last one. */
  async run(text: string, params: readonly SqlParam[], timeout: number | undefined): Promise<RawResult> {
    if (typeof text !== "string") throw new PontoonError("invalid_argument", "SQL is given as a string");
    const module = await loadModule();
    this.#sql ??= new module.Sql(this.#engine);
    let result: RawResult | undefined;
    for (const [index, statement] of statements(module, text, this.#sql.sqlite).entries()) {
      try {
        result = (await this.#sql.run(statement, params as unknown[], timeout)) as RawResult;
      } catch (cause) {
        throw located(module, text, index, cause);
      }
    }
    if (!result) throw new PontoonError("syntax_error", "no statement");
    return result;
  }
}

/** An error with the place in the text of the name that it is about. */
function located(module: Module, text: string, index: number, cause: unknown): unknown {
  const subject = (cause as { subject?: unknown } | null)?.subject;
  if (cause instanceof Error && typeof subject === "string") {
    const position = module.locate(text, index, subject);
    if (position !== undefined) Object.assign(cause, { position });
  }
  return cause;
}

/** The statements of `text` in one of the two syntaxes, encoded. */
function statements(module: Module, text: string, sqlite: boolean): Uint8Array[] {
  const name = `${sqlite} ${text}`;
  const known = cache.get(name);
  if (known) {
    cache.delete(name);
    cache.set(name, known);
    return known;
  }
  const parsed = module.parse(text, sqlite);
  if (text.length <= CACHED_TEXT_MAX) {
    cache.set(name, parsed);
    if (cache.size > CACHE_MAX) cache.delete(cache.keys().next().value as string);
  }
  return parsed;
}

/** The module, fetched once. */
export function loadModule(): Promise<Module> {
  return (loading ??= load());
}

async function load(): Promise<Module> {
  try {
    const module = await import("./parser/pontoon_wasm_parser.js");
    await module.default();
    return module;
  } catch (cause) {
    loading = undefined; // The next statement tries again.
    throw new PontoonError("unreachable", `the SQL module could not be loaded: ${String(cause)}`, { cause });
  }
}

/** A template's text with `$1`, `$2`, ... where its values stood. */
export function placeholders(strings: readonly string[]): string {
  return strings.reduce((text, part, index) => `${text}$${index}${part}`);
}
