"use client";
// React: components that ask for the same network share one peer, queries and live queries are state.
//
// What begins and ends (a peer, a query) is a `Shared`: it runs while somebody is subscribed to it. React subscribes once a
// component is on the page and never on a server, where everything is as in the beginning: connecting, loading.

import { connect, PontoonError } from "pontoon-db";
import type { Column, ConnectOptions, Pontoon, QueryResult, Row, SqlParam } from "pontoon-db";
import { createContext, createElement, useContext, useMemo, useSyncExternalStore } from "react";
import type { FunctionComponentElement, ProviderProps, ReactNode } from "react";

/** A peer as a component sees it. */
export interface PontoonState {
  status: "connecting" | "open" | "failed";
  /** Set while it is open. */
  db: Pontoon | undefined;
  /** Why it failed. A component that comes later tries again. */
  error: PontoonError | undefined;
}

/** What a `PontoonProvider` provides: a peer that it opens, or one that the application opened and closes. */
export type PontoonProviderProps = { children?: ReactNode } & (
  | { options: ConnectOptions; db?: never }
  | { db: Pontoon; options?: never }
);

/** Which peer is asked, and for how long. */
export interface UseQueryOptions extends UseLiveOptions {
  /** Give up after so many milliseconds. 30,000 ms. */
  timeout?: number;
}

export interface UseLiveOptions {
  /** The peer; without it, the one of the `PontoonProvider` above. */
  db?: Pontoon | undefined;
}

/** A query as a component sees it. */
export interface QueryState<R = Row> {
  /** None before the first result. */
  rows: readonly R[];
  /** With coverage and cost. */
  result: QueryResult<R> | undefined;
  error: PontoonError | undefined;
  loading: boolean;
  /** Asks again; what is there stays until the answer comes. */
  refetch: () => void;
}

/** A live query as a component sees it. */
export interface LiveState<R = Row> {
  rows: readonly R[];
  columns: readonly Column[];
  /** The share of the key space whose owners keep the rows up to date. 0 before the first rows. */
  coverage: number;
  error: PontoonError | undefined;
  loading: boolean;
}

const CONNECTING: PontoonState = { status: "connecting", db: undefined, error: undefined };
const NO_RESULT = { rows: [], result: undefined, error: undefined, refetch: () => undefined };
const NO_ROWS = { rows: [], columns: [], coverage: 0, error: undefined };

const Context = createContext<PontoonState | undefined>(undefined);

/** Provides one peer to all components below it. */
export function PontoonProvider(
  { options, db, children }: PontoonProviderProps,
): FunctionComponentElement<ProviderProps<PontoonState | undefined>> {
  const opened = useOpened(options);
  const given = useMemo(() => db && open(db), [db]);
  return createElement(Context.Provider, { value: given ?? opened }, children);
}

/**
 * The peer of these options, else of the `PontoonProvider` above. It is opened for the first component that asks, and closed
 * when the last one is gone.
 *
 * ```ts
 * const { db, status, error } = usePontoon({ network: "shop", supernodes: ["wss://sn.example.org/pontoon"] });
 * ```
 */
export function usePontoon(options?: ConnectOptions): PontoonState {
  const opened = useOpened(options);
  return useProvided(options && opened);
}

/**
 * Runs a query when the component is there, and anew when text or parameters change; a query that nobody waits for any more
 * is cancelled. Without text (`null`) it waits.
 *
 * ```ts
 * const { rows, loading, error, refetch } = useQuery("SELECT * FROM bids WHERE item = $1", [item]);
 * ```
 */
export function useQuery<R = Row>(
  text: string | null,
  params: readonly SqlParam[] = [],
  { db: given, timeout }: UseQueryOptions = {},
): QueryState<R> {
  const { db, error } = useProvided(given && open(given));
  const start = { ...NO_RESULT, loading: text !== null };
  const state = useShared<QueryState<R>>(start, [db, nameOf([text, params, timeout])], db && text !== null && ((tell) => {
    let last: QueryState<R> = start;
    let running: AbortController | undefined;
    let ended = false;
    const say = (news: Partial<QueryState<R>>): void => tell((last = { ...last, ...news, refetch: run }));
    const run = (): void => {
      if (ended) return;
      running?.abort();
      const { signal } = (running = new AbortController());
      say({ loading: true });
      db.query<R>(text, params, { signal, ...(timeout !== undefined && { timeout }) }).then(
        (result) => signal.aborted || say({ rows: result.rows, result, error: undefined, loading: false }),
        (error: PontoonError) => signal.aborted || say({ error, loading: false }),
      );
    };
    run();
    return () => {
      ended = true;
      running?.abort();
    };
  }));
  return error ? { ...state, error, loading: false } : state;
}

/**
 * Rows that are kept up to date while the component is there.
 *
 * ```ts
 * const { rows, coverage } = useLive("SELECT item, max(amount) AS top FROM bids GROUP BY item ORDER BY top DESC");
 * ```
 */
export function useLive<R = Row>(
  text: string | null,
  params: readonly SqlParam[] = [],
  { db: given }: UseLiveOptions = {},
): LiveState<R> {
  const { db, error } = useProvided(given && open(given));
  const start = { ...NO_ROWS, loading: text !== null };
  const state = useShared<LiveState<R>>(start, [db, nameOf([text, params])], db && text !== null && ((tell) => {
    const live = db.live<R>(text, params);
    const say = (error?: PontoonError): void => {
      const { rows, columns, coverage } = live;
      tell({ rows, columns, coverage, error, loading: false });
    };
    live.onChange(() => say(), say);
    return () => live.close();
  }));
  return error ? { ...state, error, loading: false } : state;
}

const open = (db: Pontoon): PontoonState => ({ status: "open", db, error: undefined });

function useProvided(given: PontoonState | undefined): PontoonState {
  const provided = useContext(Context);
  const state = given ?? provided;
  if (!state) throw new PontoonError("invalid_argument", "neither a peer is given, nor is a PontoonProvider above");
  return state;
}

function useOpened(options: ConnectOptions | undefined): PontoonState {
  const name = nameOf(options);
  return useShared(CONNECTING, [name], options && ((tell) => {
    const peer = peers.get(name) ?? { users: 0, db: connect(options) };
    peers.set(name, peer);
    peer.users += 1;
    const forget = (): void => void (peers.get(name) === peer && peers.delete(name));
    peer.db.then(
      (db) => tell(open(db)),
      (error: PontoonError) => (forget(), tell({ status: "failed", db: undefined, error })),
    );
    return () => {
      peer.users -= 1;
      if (peer.users > 0) return;
      forget();
      peer.db.then((db) => db.close()).catch(() => undefined);
    };
  }));
}

/** Peers that components use, by their options. */
const peers = new Map<string, { users: number; db: Promise<Pontoon> }>();

/** Begins something that tells of its states; gives what ends it. */
type Begin<T> = (tell: (state: T) => void) => () => void;

/** The state of what `begin` begins, begun anew when one of `names` changes; `start` until it tells, and where it is missing. */
function useShared<T>(start: T, names: readonly unknown[], begin: Begin<T> | undefined | false): T {
  // `begin` is made anew by each rendering; `names` say what it does.
  const shared = useMemo(() => new Shared(start, begin || (() => () => undefined)), names);
  return useSyncExternalStore(shared.subscribe, shared.state, shared.start);
}

/** Runs while somebody is subscribed. Who leaves and comes back at once, as all do in StrictMode, finds it running. */
class Shared<T> {
  readonly #start: T;
  readonly #begin: Begin<T>;
  readonly #listeners = new Set<() => void>();
  #state: T;
  #end: (() => void) | undefined;

  constructor(start: T, begin: Begin<T>) {
    this.#start = this.#state = start;
    this.#begin = begin;
  }

  readonly start = (): T => this.#start;
  readonly state = (): T => this.#state;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    this.#end ??= this.#run();
    return () => {
      this.#listeners.delete(listener);
      setTimeout(() => {
        if (this.#listeners.size === 0) this.#end?.();
      });
    };
  };

  #run(): () => void {
    let running = true;
    const end = this.#begin((state) => {
      if (!running) return;
      this.#state = state;
      for (const listener of [...this.#listeners]) listener();
    });
    return () => {
      running = false;
      this.#end = undefined;
      this.#state = this.#start;
      end();
    };
  }
}

/** What is equal has the same name. */
function nameOf(value: unknown): string {
  return JSON.stringify(value, function (this: Record<string, unknown>, key, json: unknown) {
    const plain = this[key];
    if (plain instanceof Date) return { date: Number(plain) };
    if (plain instanceof Uint8Array) return { bytes: [...plain] };
    if (typeof plain === "bigint") return { bigint: String(plain) };
    return typeof plain === "number" && !Number.isFinite(plain) ? { number: String(plain) } : json;
  }) ?? "";
}
