// Live queries: results that follow what is written, as a view that is kept up to date and as a stream of changes.

import type { Calls } from "./calls.js";
import { PontoonError, report } from "./errors.js";
import type { LivePart } from "./realm.js";
import type { Column, LiveChange, LiveChangeListener, Row, SqlParam, Unsubscribe } from "./types.js";

/**
 * A query whose result is kept up to date, made by `live`. It costs its peers something until it is closed: by `close`, by
 * leaving a loop over it, or with the database.
 *
 * ```ts
 * for await (const { added, removed, rows } of db.live("SELECT item, max(amount) AS top FROM bids GROUP BY item")) {
 *   console.log(`${added.length} rows came, ${removed.length} went`, rows);
 * }
 * ```
 */
export class LiveQuery<R = Row> implements AsyncIterable<LiveChange<R>> {
  /** Resolves with the first result, rejects where there is none. */
  readonly ready: Promise<void>;
  readonly #listeners = new Set<{ change: LiveChangeListener<R>; end: (error?: PontoonError) => void }>();
  #rows: readonly R[] = [];
  #columns: readonly Column[] = [];
  #last: LiveChange<R> | undefined;
  #error: PontoonError | undefined;
  #closed = false;
  readonly #ended: () => void;
  readonly #stop: () => void;

  /** @internal */
  constructor(calls: Calls, text: string, params: readonly SqlParam[], ended: () => void) {
    this.#ended = ended;
    this.ready = new Promise((resolve, reject) => {
      const end = (error?: PontoonError): void => reject(error ?? new PontoonError("closed", "the live query is closed"));
      const first = { change: () => (this.#listeners.delete(first), resolve()), end };
      this.#listeners.add(first);
    });
    // Who does not ask hears of a failure in other ways.
    this.ready.catch(() => undefined);
    this.#stop = calls.stream("live", [text, params], (part: LivePart) => this.#onPart(part), (error) => this.#end(error));
  }

  /** The rows as of the last change, in the order that the query asks for; none before the first. */
  get rows(): readonly R[] {
    return this.#rows;
  }

  get columns(): readonly Column[] {
    return this.#columns;
  }

  /** The share of the key space whose owners keep the rows up to date: 1 is all of it. 0 before the first change. */
  get coverage(): number {
    return this.#last?.coverage ?? 0;
  }

  /** Why it ended, if it ended by itself. */
  get error(): PontoonError | undefined {
    return this.#error;
  }

  /** Tells each change from now on; at once also the rows that are there. `onError` is told if it ends by itself. */
  onChange(listener: LiveChangeListener<R>, onError?: (error: PontoonError) => void): Unsubscribe {
    const entry = { change: listener, end: (error?: PontoonError) => void (error && onError?.(error)) };
    let wanted = true;
    // It is told of changes from when it was told the whole, so that no row comes twice.
    const begin = (): void => {
      if (!wanted) return;
      if (this.#error) return entry.end(this.#error);
      this.#listeners.add(entry);
      if (this.#last) report(() => listener(this.#whole()));
    };
    if (this.#error || this.#last) queueMicrotask(begin);
    else begin();
    return () => {
      wanted = false;
      this.#listeners.delete(entry);
    };
  }

  /** Ends it; its peers forget it. */
  close(): void {
    this.#end(undefined);
  }

  /** Leaving the loop closes the query. Changes that came while the loop was busy are given as one. */
  async *[Symbol.asyncIterator](): AsyncGenerator<LiveChange<R>, void, undefined> {
    let waiting: LiveChange<R> | undefined = this.#last && this.#whole();
    let ended = this.#closed;
    let error = this.#error;
    let wake: () => void = () => undefined;
    const entry = {
      change: (change: LiveChange<R>) => ((waiting = waiting ? merge(waiting, change) : change), wake()),
      end: (why?: PontoonError) => ((ended = true), (error = why), wake()),
    };
    this.#listeners.add(entry);
    try {
      for (;;) {
        if (waiting) {
          const change = waiting;
          waiting = undefined;
          yield change;
        } else if (ended) {
          if (error) throw error;
          return;
        } else {
          await new Promise<void>((resolve) => (wake = resolve));
        }
      }
    } finally {
      this.#listeners.delete(entry);
      this.close();
    }
  }

  /** Everything as it is, as if it came now. */
  #whole(): LiveChange<R> {
    const { coverage, assumedLost } = this.#last ?? { coverage: 0, assumedLost: false };
    return { added: [...this.#rows], removed: [], rows: this.#rows, coverage, assumedLost };
  }

  #onPart({ added, removed, splices, window, first }: LivePart): void {
    if (this.#closed) return;
    const { coverage, assumedLost, columns } = added;
    let [came, went] = [added.rows as R[], removed as R[]];
    const old = this.#rows;
    // Of a realm that takes over the whole is new: told is what differs from what was known.
    const again = first && this.#last !== undefined;
    this.#rows = spliced(first ? [] : old, splices, (window ?? came) as R[]);
    if (again) [went, came] = without(old, this.#rows);
    this.#columns = columns;
    if (again && came.length + went.length === 0 && this.#last?.coverage === coverage) return;
    this.#last = { added: came, removed: went, rows: this.#rows, coverage, assumedLost };
    const change = this.#last;
    for (const entry of [...this.#listeners]) report(() => entry.change(change));
  }

  #end(error: PontoonError | undefined): void {
    if (this.#closed) return;
    // What was told last stays to be looked at.
    this.#closed = true;
    this.#error = error;
    this.#stop?.();
    this.#ended();
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const entry of listeners) report(() => entry.end(error));
  }
}

/** A list after splices of it, at ascending places, each of the list as the one before left it. */
function spliced<R>(rows: readonly R[], splices: readonly number[], window: readonly R[]): readonly R[] {
  const parts: (readonly R[])[] = [];
  let [length, kept, used] = [0, 0, 0];
  for (let next = 0; next < splices.length; next += 3) {
    const [at, gone, came] = splices.slice(next, next + 3) as [number, number, number];
    parts.push(rows.slice(kept, (kept += at - length)), window.slice(used, (used += came)));
    [length, kept] = [at + came, kept + gone];
  }
  parts.push(rows.slice(kept));
  return parts.flat() as R[];
}

/** Two changes as one: what came and went in between is not told. */
function merge<R>(first: LiveChange<R>, second: LiveChange<R>): LiveChange<R> {
  const [removed, came] = without(second.removed, first.added);
  const [added, went] = without(second.added, first.removed);
  const { coverage, assumedLost } = second;
  return {
    added: [...came, ...added],
    removed: [...went, ...removed],
    coverage,
    assumedLost,
    rows: second.rows,
  };
}

/** Both lists without the rows that they have in common. */
function without<R>(some: readonly R[], others: readonly R[]): [R[], R[]] {
  const counts = new Map<string, number>();
  for (const row of others) counts.set(name(row), (counts.get(name(row)) ?? 0) + 1);
  const common = new Map<string, number>();
  const left = some.filter((row) => {
    const count = counts.get(name(row)) ?? 0;
    if (count === 0) return true;
    counts.set(name(row), count - 1);
    common.set(name(row), (common.get(name(row)) ?? 0) + 1);
    return false;
  });
  const kept = others.filter((row) => {
    const count = common.get(name(row)) ?? 0;
    common.set(name(row), count - 1);
    return count <= 0;
  });
  return [left, kept];
}

/** A row as text: equal rows have the same. */
function name(row: unknown): string {
  return JSON.stringify(row, (_, value: unknown) => {
    if (typeof value === "bigint") return { bigint: String(value) };
    return value instanceof Uint8Array ? { bytes: [...value] } : value;
  });
}
