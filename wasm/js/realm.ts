// Where the engine is: a worker, or the page itself. It runs one peer and serves clients, one for each user of the peer:
// several tabs may share it.

import initialize, { Engine, type EngineOptions } from "./core/pontoon_wasm.js";
import { PontoonError, report } from "./errors.js";
import { dialEarly, type Servers } from "./dial.js";
import { close, open } from "./disk.js";
import { type PlainError, type Port, type Request, wrap } from "./port.js";
import type { Session } from "./parser/session.js";
import { loadSql, loadTrees } from "./sql.js";
import type { Tree } from "./sql/pontoon_wasm_sql.js";
import type { Budget, Inspect, Nat, QueryProgress, QueryResult, Report, SqlParam, TreeKey } from "./types.js";

/** Rows that cross to a page at once: so many are taken in within a few milliseconds. */
const ROWS_AT_ONCE = 1_000;
/** How long a realm that closes waits for what it has begun. */
const PATIENCE_MS = 1_000;

/** A record as the engine gives it. */
export interface RawRecord {
  namespace: string;
  key: Uint8Array;
  value: Uint8Array | undefined;
  version: string;
  expires: Date | null;
}

/** What the engine tells without being asked. */
export type EngineEvent =
  | { type: "message"; from: string; payload: Uint8Array; namespace?: string; key?: Uint8Array }
  | { type: "global"; name: string; value?: Uint8Array }
  | { type: "joined"; joined: boolean };

type AnyEvent = EngineEvent | { type: "data"; record: RawRecord } | { type: "trace" };

/** What a client is told first. */
export interface Hello {
  id: string;
  user: string | null;
  joined: boolean;
  globals: [string, Uint8Array][];
}

/** What a live query tells: what came and went, and how the whole changed. */
export interface LivePart {
  added: QueryResult<unknown>;
  removed: unknown[];
  /** Place, rows that go and rows that come, one splice of the whole after the other. */
  splices: number[];
  /** The rows that come with them, in their order, where those are not `added`. */
  window?: unknown[];
  /** It is the first change of this realm: the whole is new. */
  first: boolean;
}

/** What negotiates WebRTC sessions: `Negotiator` of rtc.js, or what speaks for it in a worker. */
export interface AnyNegotiator {
  told: ((session: number, what: Uint8Array | string | RTCDataChannel) => void) | undefined;
  open(session: number, initiator: boolean, peer: string): void;
  signal(session: number, payload: Uint8Array): void;
  close(session: number): void;
  servers(address: string, servers: Servers): void;
  readonly budget: Budget | Promise<Budget>;
  reports(): Promise<{ nat: Nat; reports: Report[] }>;
}

/** Names of the wasm modules. */
export type WasmName = "peer" | "sql" | "parser";

/** What a realm cannot do itself. */
export interface RealmHost {
  /** A compiled module. */
  wasm(name: WasmName): Promise<WebAssembly.Module>;
  /** Nothing where there is no WebRTC. */
  negotiator: AnyNegotiator | undefined;
  /** How many clients there are, when it changes. */
  onClients?(count: number): void;
  /** Another realm has opened the store: nothing is written any more. */
  onLost?(): void;
}

/** How a realm is opened. */
export interface RealmOptions extends EngineOptions {
  /** The name of its database; without one it is in memory. */
  store?: string;
}

/** See above. */
export class Realm {
  readonly engine: Engine;
  readonly host: RealmHost;
  joined = false;
  closing = false;
  /** Who hears of each namespace's data. */
  readonly data = new Map<string, Set<(record: RawRecord) => void>>();
  readonly traces = new Set<(event: unknown) => void>();
  readonly #clients = new Set<Client>();

  /** Opens the store, if it has a name and there is one here, and starts the peer. */
  static async open(options: RealmOptions, host: RealmHost): Promise<Realm> {
    const { store: name, ...engine } = options;
    const forget = dialEarly(engine.supernodes);
    const opening = name !== undefined && globalThis.indexedDB ? open(name) : undefined;
    try {
      const started = host.wasm("peer").then((module) => initialize({ module_or_path: module }));
      const [store] = await Promise.all([opening, started]);
      if (store) store.lost = () => host.onLost?.();
      return new Realm(Engine.open(engine, host.negotiator, store), host);
    } catch (error) {
      forget();
      opening?.then((store) => store && close(store)).catch(() => undefined);
      throw error;
    }
  }

  private constructor(engine: Engine, host: RealmHost) {
    this.engine = engine;
    this.host = host;
    engine.listen((event: AnyEvent) => this.#onEvent(event));
  }

  /** Serves a client until it goes; gives what ends that. */
  serve(port: Port): () => void {
    const client = new Client(this, port);
    this.#clients.add(client);
    this.host.onClients?.(this.#clients.size);
    return () => {
      if (!this.#clients.delete(client)) return;
      client.close();
      this.host.onClients?.(this.#clients.size);
    };
  }

  /** Serves a client in another tab, over a channel that only the two know, as long as that tab holds a lock. */
  serveTab(name: string): void {
    const port = wrap(new BroadcastChannel(name), true);
    const end = this.serve(port);
    void navigator.locks.request(name, end);
    // It has waited for that before it asks.
    port.post({ id: 0, value: null });
  }

  /** Lets what is begun come to its end, for a moment; then lets go of everything, by an orderly leave if nobody takes over. */
  async close(leave: boolean): Promise<void> {
    this.closing = true;
    if (!leave) {
      const ended = Promise.all([...this.#clients].map((client) => client.idle()));
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, PATIENCE_MS))]);
    }
    for (const client of this.#clients) client.close();
    this.#clients.clear();
    await this.engine.close(leave);
  }

  #onEvent(event: AnyEvent): void {
    switch (event.type) {
      case "data":
        for (const listener of this.data.get(event.record.namespace) ?? []) listener(event.record);
        return;
      case "trace":
        for (const listener of this.traces) listener(event);
        return;
      case "joined":
        this.joined = event.joined;
    }
    for (const client of this.#clients) client.tell(event);
  }
}

/** A call under way. */
class Running {
  /** Ended by who made it. */
  ended = false;
  readonly #post: (part: unknown, alone: boolean) => void;
  #aborter: AbortController | undefined;

  constructor(post: (part: unknown, alone: boolean) => void) {
    this.#post = post;
  }

  /** Made when it is asked for: most calls have no use for it. */
  get signal(): AbortSignal {
    this.#aborter ??= new AbortController();
    if (this.ended) this.#aborter.abort();
    return this.#aborter.signal;
  }

  end(): void {
    this.ended = true;
    this.#aborter?.abort();
  }

  /** Something before the end; `alone` when it is long. */
  part(part: unknown, alone = false): void {
    if (!this.ended) this.#post(part, alone);
  }
}

/** One client: its session of SQL, its trees and what it listens to. */
class Client {
  readonly #realm: Realm;
  readonly #port: Port;
  readonly #running = new Map<number, Running>();
  readonly #trees = new Map<string, Tree>();
  #sql: Session | undefined;
  #idle: (() => void) | undefined;
  /** Calls that end by themselves. */
  #busy = 0;

  constructor(realm: Realm, port: Port) {
    this.#realm = realm;
    this.#port = port;
    port.listener = (request: Request) => this.#onRequest(request);
  }

  tell(event: EngineEvent): void {
    this.#port.post({ event });
  }

  /** Resolves when nothing is under way but streams. */
  idle(): Promise<void> {
    return this.#busy === 0 ? Promise.resolve() : new Promise((resolve) => (this.#idle = resolve));
  }

  close(): void {
    for (const running of this.#running.values()) running.end();
    this.#port.close();
  }

  #onRequest(request: Request): void {
    const { id } = request;
    if ("end" in request) return this.#running.get(id)?.end();
    if (this.#realm.closing) return this.#port.post({ id, refused: true });
    const call = calls[request.call as keyof typeof calls] as ((client: Client, running: Running, ...args: unknown[]) => unknown) | undefined;
    const running = new Running((part, alone) => this.#port.post({ id, part }, alone));
    this.#running.set(id, running);
    const streams = STREAMS.has(request.call);
    if (!streams) this.#busy += 1;
    const end = (answer: { value: unknown } | { error: PlainError }): void => {
      this.#running.delete(id);
      // Who ended it does not wait for an answer.
      if (!running.ended) this.#port.post({ id, ...answer });
      if (streams) return;
      this.#busy -= 1;
      if (this.#busy === 0) this.#idle?.();
    };
    const fail = (cause: unknown): void => end({ error: plain(cause) });
    try {
      if (!call) throw new PontoonError("internal", `no call ${request.call}`);
      const value = call(this, running, ...request.args);
      // What is there at once is told at once.
      if (value instanceof Promise) value.then((value: unknown) => end({ value }), fail);
      else end({ value });
    } catch (cause) {
      fail(cause);
    }
  }

  /** What the engine's calls are made of. */
  get engine(): Engine {
    return this.#realm.engine;
  }

  get realm(): Realm {
    return this.#realm;
  }

  /** Whether results are copied on their way. */
  get copies(): boolean {
    return this.#port.copies;
  }

  session(): Session | Promise<Session> {
    // Of several first statements one makes it: nothing is awaited between the look and the assignment.
    return this.#sql ?? loadSql(this.#realm.host.wasm).then((Session) => (this.#sql ??= new Session(this.engine)));
  }

  async tree(name: string): Promise<Tree> {
    const Tree = await loadTrees(this.#realm.host.wasm);
    const tree = this.#trees.get(name) ?? new Tree(this.engine, name);
    this.#trees.set(name, tree);
    return tree;
  }
}

/** Calls that go on until they are ended. */
const STREAMS = new Set(["data", "trace", "live"]);

/** Settles when a call is ended by who made it. */
function ended({ signal }: Running): Promise<void> {
  return new Promise((resolve) => (signal.aborted ? resolve() : signal.addEventListener("abort", () => resolve(), { once: true })));
}

/** Every call there is, by name. */
const calls = {
  hello({ realm }: Client, running: Running): void {
    const { globals } = realm.engine.inspect() as Inspect;
    const bytes = Object.entries(globals).map(([name, value]): [string, Uint8Array] => [name, Uint8Array.from(value as number[])]);
    running.part({ id: realm.engine.id, user: realm.engine.user ?? null, joined: realm.joined, globals: bytes } satisfies Hello);
  },

  put: ({ engine }: Client, _: Running, ...args: Parameters<Engine["put"]>) => engine.put(...args),
  get: ({ engine }: Client, _: Running, ...args: Parameters<Engine["get"]>) => engine.get(...args),
  remove: ({ engine }: Client, _: Running, ...args: Parameters<Engine["remove"]>) => engine.remove(...args),
  renew: ({ engine }: Client, _: Running, ...args: Parameters<Engine["renew"]>) => engine.renew(...args),
  lscan: ({ engine }: Client, _: Running, ...args: Parameters<Engine["lscan"]>) => engine.lscan(...args),
  send: ({ engine }: Client, _: Running, ...args: Parameters<Engine["send"]>) => engine.send(...args),
  sendNode: ({ engine }: Client, _: Running, ...args: Parameters<Engine["sendNode"]>) => engine.sendNode(...args),
  sendAll: ({ engine }: Client, _: Running, ...args: Parameters<Engine["sendAll"]>) => engine.sendAll(...args),
  setGlobal: ({ engine }: Client, _: Running, ...args: Parameters<Engine["setGlobal"]>) => engine.setGlobal(...args),

  /** What this peer commits of a namespace; a part without a record says that it has begun. */
  async data({ realm }: Client, running: Running, namespace: string) {
    const listeners = realm.data.get(namespace) ?? new Set();
    realm.data.set(namespace, listeners);
    const listener = (record: RawRecord): void => running.part({ record });
    listeners.add(listener);
    try {
      await realm.engine.subscribe(namespace, true);
      running.part({});
      await ended(running);
    } finally {
      listeners.delete(listener);
      if (listeners.size === 0 && realm.data.get(namespace) === listeners) {
        realm.data.delete(namespace);
        // A peer that is closed tells nothing any more.
        realm.engine.subscribe(namespace, false).catch(() => undefined);
      }
    }
  },

  async trace({ realm }: Client, running: Running) {
    const listener = (event: unknown): void => running.part(event);
    realm.traces.add(listener);
    realm.engine.setTracing(true);
    await ended(running);
    realm.traces.delete(listener);
    if (realm.traces.size === 0 && !realm.closing) realm.engine.setTracing(false);
  },

  async inspect({ realm }: Client): Promise<unknown> {
    const snapshot = realm.engine.inspect() as Inspect;
    const rtc = await realm.host.negotiator?.budget;
    const { opened = 0, open = 0, held = 0, max = 0 } = rtc ?? {};
    Object.assign(snapshot.driver, { rtcOpened: opened, rtcOpen: open, rtcHeld: held, rtcMax: max });
    return snapshot;
  },

  async diagnose({ realm }: Client) {
    return realm.host.negotiator?.reports();
  },

  query(client: Client, running: Running, text: string, params: SqlParam[], timeout: number | undefined, observed: boolean) {
    const onProgress = (progress: QueryProgress): void => running.part({ progress });
    const options = { ...(timeout !== undefined && { timeout }), ...(observed && { signal: running.signal, onProgress }) };
    const give = (result: QueryResult<unknown>): unknown => {
      const { rows, ...rest } = result;
      if (!client.copies || rows.length <= ROWS_AT_ONCE) return result;
      for (let from = 0; from < rows.length; from += ROWS_AT_ONCE) {
        running.part({ rows: rows.slice(from, from + ROWS_AT_ONCE) }, true);
      }
      return { ...rest, rows: [] };
    };
    const session = client.session();
    const result = session instanceof Promise
      ? session.then((session) => session.run<unknown>(text, params, options))
      : session.run<unknown>(text, params, options);
    return result.then(give);
  },

  async live(client: Client, running: Running, text: string, params: SqlParam[]) {
    const session = await client.session();
    let first = true;
    let fail: (error: unknown) => void = () => undefined;
    const failed = new Promise<never>((_, reject) => (fail = reject));
    const query = session.live(text, params, (change, error) => {
      if (!change) return fail(error);
      const [added, removed, splices, window] = change;
      const part: LivePart = { added, removed: removed.rows, splices, ...(window && { window: window.rows }), first };
      running.part(part);
      first = false;
    });
    try {
      await Promise.race([failed, ended(running)]);
    } finally {
      query.close();
    }
  },

  treeGet: async (client: Client, _: Running, name: string, key: TreeKey, timeout?: number) =>
    (await client.tree(name)).get(key, timeout),
  treeRange: async (client: Client, _: Running, name: string, ...args: Parameters<Tree["range"]>) =>
    (await client.tree(name)).range(...args),
  treeWrite: async (client: Client, _: Running, name: string, ...args: Parameters<Tree["write"]>) =>
    (await client.tree(name)).write(...args),
};

/** An error that can be copied. */
function plain(cause: unknown): PlainError {
  const { code, message, sqlstate, hint, position } = PontoonError.from(cause);
  return {
    code,
    message,
    ...(sqlstate !== undefined && { sqlstate }),
    ...(hint !== undefined && { hint }),
    ...(position !== undefined && { position }),
  };
}
