// SQL text over one engine; fetched with the parser's module, which reads it, and SQL's, which runs it.

import type { Engine } from "../core/pontoon_wasm.js";
import { PontoonError, report } from "../errors.js";
import type { QueryOptions, QueryResult, SqlParam } from "../types.js";
import { type LiveQuery, Sql, Statements } from "../sql/pontoon_wasm_sql.js";
import { locate, parse } from "./pontoon_wasm_parser.js";

/** Texts whose statements are remembered, the latest used ones, and how long all of them are. */
const CACHE_MAX = 256;
const CACHE_LENGTH_MAX = 1 << 20;

const cache = new Map<string, Statements>();
let cachedLength = 0;

/** Runs SQL text over one engine. */
export class Session {
  readonly #sql: Sql;

  constructor(engine: Engine) {
    this.#sql = new Sql(engine);
  }

  /** Runs the statements of `text` one after the other; gives the result of the last one. */
  async run<R>(text: string, params: readonly SqlParam[], options: QueryOptions): Promise<QueryResult<R>> {
    const { timeout, signal, onProgress } = options;
    if (typeof text !== "string") throw new PontoonError("invalid_argument", "SQL is given as a string");
    const known = statements(text, this.#sql.sqlite);
    let result: QueryResult<R> | undefined;
    for (let index = 0; index < known.length; index += 1) {
      throwIfCanceled(signal);
      try {
        const running = signal || onProgress
          ? this.#observed(known, index, params, options)
          : this.#sql.run(known, index, params as unknown[], timeout);
        result = (running instanceof Promise ? await running : running) as QueryResult<R>;
      } catch (cause) {
        throw located(text, index, cause);
      }
    }
    if (!result) throw new PontoonError("syntax_error", "no statement");
    return result;
  }

  /** Runs a statement that somebody may cancel, or wants to hear of. */
  async #observed(
    known: Statements,
    index: number,
    params: readonly SqlParam[],
    { timeout, signal, onProgress }: QueryOptions,
  ): Promise<unknown> {
    const first: unknown[] = [];
    const told = onProgress && ((coverage: number, rows: number, early?: QueryResult<unknown>) => {
      if (early) first.push(...early.rows);
      report(() => onProgress({ coverage, rows, first: [...first] }));
    });
    const query = this.#sql.begin(known, index, params as unknown[], timeout, told);
    const cancel = (): void => query.cancel();
    signal?.addEventListener("abort", cancel);
    try {
      return await query.result();
    } catch (cause) {
      if ((cause as { code?: unknown }).code === "query_canceled") throwIfCanceled(signal);
      throw cause;
    } finally {
      signal?.removeEventListener("abort", cancel);
      query.free();
    }
  }

  /** Begins the live query of the one statement of `text`. */
  live(text: string, params: readonly SqlParam[], listener: LiveListener): LiveQuery {
    if (typeof text !== "string") throw new PontoonError("invalid_argument", "SQL is given as a string");
    const known = statements(text, this.#sql.sqlite);
    if (known.length !== 1) throw new PontoonError("syntax_error", "a live query is one statement");
    return this.#sql.live(known, 0, params as unknown[], (change: Change | undefined, error: unknown) => {
      listener(change, error === undefined ? error : located(text, 0, error));
    });
  }
}

/** Throws `query_canceled` if the signal was aborted, with its reason as the cause. */
function throwIfCanceled(signal: AbortSignal | undefined): void {
  if (!signal?.aborted) return;
  throw new PontoonError("query_canceled", "the query was canceled", { cause: signal.reason, sqlstate: "57014" });
}

/**
 * What came and what went; splices of the whole (place, rows that go, rows that come, and so on), and the rows that come
 * with them where those are not what came.
 */
export type Change = [
  added: QueryResult<unknown>, removed: QueryResult<unknown>, splices: number[], window: QueryResult<unknown> | undefined,
];

/** Told of each change, or in the end of an error alone. */
export type LiveListener = (change: Change | undefined, error: unknown) => void;

/** An error with the place in the text of the name that it is about. */
function located(text: string, index: number, cause: unknown): unknown {
  const subject = (cause as { subject?: unknown } | null)?.subject;
  if (cause instanceof Error && typeof subject === "string") {
    const position = locate(text, index, subject);
    if (position !== undefined) Object.assign(cause, { position });
  }
  return cause;
}

/** The statements of `text` in one of the two syntaxes, parsed once. */
function statements(text: string, sqlite: boolean): Statements {
  const name = `${sqlite} ${text}`;
  const parsed = cache.get(name) ?? new Statements(parse(text, sqlite));
  if (name.length > CACHE_LENGTH_MAX / 2) return parsed;
  // The latest used one stands last. What is let go is freed once nobody runs it any more, by the garbage collector.
  if (!cache.delete(name)) cachedLength += name.length;
  cache.set(name, parsed);
  for (const oldest of cache.keys()) {
    if (cache.size <= CACHE_MAX && cachedLength <= CACHE_LENGTH_MAX) break;
    cache.delete(oldest);
    cachedLength -= oldest.length;
  }
  return parsed;
}
