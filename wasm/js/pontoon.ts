// The calls of an open database. Values are turned to bytes here; everything else is the engine's.

import type { Engine } from "./core/pontoon_wasm.js";
import { guard, PontoonError, report } from "./errors.js";
import { LiveQuery } from "./live.js";
import { loadModule, placeholders, type Module } from "./sql.js";
import { Tree } from "./tree.js";
import type {
  CallOptions,
  DataChange,
  Entry,
  GetOptions,
  GlobalChange,
  Inspect,
  Key,
  LinkInfo,
  LocalEntry,
  Message,
  PutOptions,
  QueryOptions,
  QueryResult,
  Reached,
  RemoveOptions,
  Row,
  SqlParam,
  Stats,
  Storable,
  Stored,
  TraceEvent,
  Unsubscribe,
} from "./types.js";
import { decodeValue, encodeValue, keyBytes } from "./values.js";

/** A record as the engine gives it. */
interface Raw {
  namespace: string;
  key: Uint8Array;
  value: Uint8Array;
  version: string;
  expires: Date | null;
}

/** What the engine tells without being asked. */
export type EngineEvent =
  | { type: "message"; from: string; payload: Uint8Array; namespace?: string; key?: Uint8Array }
  | { type: "global"; name: string; value?: Uint8Array }
  | { type: "data"; record: Omit<Raw, "value"> & { value: Uint8Array | undefined } }
  | { type: "joined"; joined: boolean }
  | ({ type: "trace" } & TraceEvent);

/** An open database: one peer of a network. Made by `connect`. */
export class Pontoon {
  /** This peer's id: 40 hexadecimal digits. */
  readonly id: string;
  readonly #engine: Engine;
  #sql: InstanceType<Module["Session"]> | undefined;
  readonly #messages = new Set<(message: Message) => void>();
  readonly #globals = new Set<(change: GlobalChange) => void>();
  readonly #data = new Map<string, Set<(change: DataChange) => void>>();
  readonly #traces = new Set<(event: TraceEvent) => void>();
  readonly #states = new Set<(joined: boolean) => void>();
  readonly #lives = new Set<{ close(): void }>();
  #joined = false;
  #closing: Promise<void> | undefined;

  /** @internal */
  constructor(engine: Engine) {
    this.#engine = engine;
    this.id = engine.id;
    engine.listen((event: EngineEvent) => this.#onEvent(event));
  }

  // --- SQL ---------------------------------------------------------------------------------------------------------

  /** Runs SQL; the values of the template become its parameters. */
  sql<R = Row>(strings: TemplateStringsArray, ...values: SqlParam[]): Promise<QueryResult<R>> {
    return this.query<R>(placeholders(strings), values);
  }

  /**
   * Runs SQL with parameters `$1`, `$2`, ... Several statements run one after the other; the last one's result is given.
   * With a `signal` it can be cancelled, and `onProgress` hears how far it is.
   */
  query<R = Row>(text: string, params: readonly SqlParam[] = [], options: QueryOptions = {}): Promise<QueryResult<R>> {
    return guard(async () => (await this.#session()).run<R>(text, params, options));
  }

  /**
   * A SELECT whose result is kept up to date, peer to peer: as `rows`, by `onChange`, and as a stream of changes for
   * `for await`. Until it is closed.
   */
  live<R = Row>(text: string, params: readonly SqlParam[] = []): LiveQuery<R> {
    const query = new LiveQuery<R>(() => this.#session(), text, params, () => this.#lives.delete(query));
    this.#lives.add(query);
    if (this.#closing) query.close();
    return query;
  }

  async #session(): Promise<InstanceType<Module["Session"]>> {
    const { Session } = await loadModule();
    // Of several first statements one makes it: nothing is awaited between the look and the assignment.
    return (this.#sql ??= new Session(this.#engine));
  }

  // --- Storage -----------------------------------------------------------------------------------------------------

  /**
   * Stores a value; resolves when a majority of the key's group has it on disk. With `hinted`, where nobody who may vouch
   * for the key is reached in time, it resolves too: this peer keeps the write and forwards it, and the result says so.
   */
  async put(namespace: string, key: Key, value: Storable, options: PutOptions = {}): Promise<Stored> {
    const { ifAbsent, ifVersion, hinted, ttl, timeout } = options;
    if (Number(ifAbsent ?? false) + Number(ifVersion !== undefined) + Number(hinted ?? false) > 1) {
      throw new PontoonError("invalid_argument", "a key is either absent or of a version, and neither for a hint");
    }
    const expect = ifAbsent ? "absent" : hinted ? "hinted" : ifVersion;
    const version = await guard(() => this.#engine.put(namespace, keyBytes(key), encodeValue(value), expect, ttl, timeout));
    return { version: version ?? "", hinted: version === null };
  }

  /**
   * The current value; `null` only when the key is known to be absent; rejects when that could not be found out. With
   * `stale`, what any replica holds, at once: it may be older, and `null` may only mean that this replica holds none.
   */
  async get<V extends Storable = Storable>(namespace: string, key: Key, options: GetOptions = {}): Promise<Entry<V> | null> {
    const found = await guard(() => this.#engine.get(namespace, keyBytes(key), options.stale ?? false, options.timeout));
    if (!found) return null;
    const { version, expires, stale } = found;
    return { namespace, key, value: decodeValue(found.value) as V, version, expires, stale };
  }

  /** Removes a key; of an absent key without effect. */
  async remove(namespace: string, key: Key, options: RemoveOptions = {}): Promise<void> {
    await guard(() => this.#engine.remove(namespace, keyBytes(key), options.ifVersion, options.timeout));
  }

  /** Lets a value live until `ttl` ms from now; false when the key is absent. */
  renew(namespace: string, key: Key, ttl: number, options: CallOptions = {}): Promise<boolean> {
    return guard(() => this.#engine.renew(namespace, keyBytes(key), ttl, options.timeout));
  }

  /** What this peer itself holds of some namespaces. */
  async lscan(namespaces: readonly string[]): Promise<LocalEntry[]> {
    const records = await guard(() => this.#engine.lscan([...namespaces]));
    return records.map((record) => ({ ...place(record), value: decodeValue(record.value) }));
  }

  /**
   * What this peer commits of a namespace as its keys' owner, from when the promise resolves: a write is told where its
   * data is, at most once. All peers that listen hear of every write together, but for one whose owner changes meanwhile.
   */
  async onData(namespace: string, listener: (change: DataChange) => void): Promise<Unsubscribe> {
    const listeners = this.#data.get(namespace) ?? new Set();
    this.#data.set(namespace, listeners);
    const unsubscribe = subscribe(listeners, listener);
    const end = (): void => {
      unsubscribe();
      if (listeners.size > 0 || this.#data.get(namespace) !== listeners) return;
      this.#data.delete(namespace);
      // A database that is closed tells nothing any more.
      this.#engine.subscribe(namespace, false).catch(() => undefined);
    };
    await guard(() => this.#engine.subscribe(namespace, true)).catch((error: unknown) => {
      end();
      throw error;
    });
    return end;
  }

  /** An ordered map that lies on all peers: keys are values or lists of values, ranges are read in their order. */
  pht<V extends Storable = Storable>(name: string): Tree<V> {
    return new Tree<V>(this.#engine, name);
  }

  // --- Messages ----------------------------------------------------------------------------------------------------

  /** A message to the owner of a key; gives the id of the peer that took it. */
  async send(namespace: string, key: Key, message: Storable): Promise<string> {
    return guard(() => this.#engine.send(namespace, keyBytes(key), encodeValue(message)));
  }

  /** A message to a peer; resolves when delivered, rejects with `unreachable` when not. */
  async sendNode(id: string, message: Storable): Promise<void> {
    await guard(() => this.#engine.sendNode(id, encodeValue(message)));
  }

  /** A message to every other peer. */
  async sendAll(message: Storable): Promise<Reached> {
    return guard(() => this.#engine.sendAll(encodeValue(message)));
  }

  onMessage(listener: (message: Message) => void): Unsubscribe {
    return subscribe(this.#messages, listener);
  }

  // --- Globals -----------------------------------------------------------------------------------------------------

  /** Sets a global of the network; `undefined` removes it. */
  async setGlobal(name: string, value: Storable | undefined): Promise<void> {
    await guard(() => this.#engine.setGlobal(name, value === undefined ? undefined : encodeValue(value)));
  }

  /** A global as this peer knows it, at once. */
  getGlobal(name: string): Storable | undefined {
    const bytes = this.#engine.getGlobal(name);
    return bytes && decodeValue(bytes);
  }

  onGlobal(listener: (change: GlobalChange) => void): Unsubscribe {
    return subscribe(this.#globals, listener);
  }

  // --- State -------------------------------------------------------------------------------------------------------

  /** Whether this peer is part of the network now. */
  get joined(): boolean {
    return this.#joined;
  }

  /** Tells when this peer joins, loses every link, and joins again. */
  onJoined(listener: (joined: boolean) => void): Unsubscribe {
    return subscribe(this.#states, listener);
  }

  links(): LinkInfo[] {
    return this.inspect().links;
  }

  stats(): Stats {
    const { counters, store, driver } = this.inspect();
    return { counters, store, driver };
  }

  inspect(): Inspect {
    let snapshot: Inspect;
    try {
      snapshot = this.#engine.inspect() as Inspect;
    } catch (cause) {
      throw PontoonError.from(cause);
    }
    for (const [name, value] of Object.entries(snapshot.globals)) {
      snapshot.globals[name] = decodeValue(Uint8Array.from(value as readonly number[]));
    }
    return snapshot;
  }

  /** The trace stream, while somebody listens. */
  trace(listener: (event: TraceEvent) => void): Unsubscribe {
    const unsubscribe = subscribe(this.#traces, listener);
    this.#engine.setTracing(true);
    return () => {
      unsubscribe();
      if (this.#traces.size === 0 && !this.#closing) this.#engine.setTracing(false);
    };
  }

  /** Hands over what this peer holds, says goodbye and frees its slot. Further calls reject with `closed`. */
  close(): Promise<void> {
    if (!this.#closing) {
      for (const live of [...this.#lives]) live.close();
      this.#closing = guard(() => this.#engine.close());
    }
    return this.#closing;
  }

  /** @internal Resolves when joined, rejects with `unreachable` after `timeout` ms. */
  untilJoined(timeout: number): Promise<void> {
    if (this.#joined) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        unsubscribe();
        reject(new PontoonError("unreachable", `no supernode let this peer join within ${timeout} ms`));
      }, timeout);
      const unsubscribe = this.onJoined((joined) => {
        if (!joined) return;
        clearTimeout(timer);
        unsubscribe();
        resolve();
      });
    });
  }

  #onEvent(event: EngineEvent): void {
    switch (event.type) {
      case "message": {
        const message: Message = { from: event.from, message: decodeValue(event.payload) };
        if (event.namespace !== undefined) message.namespace = event.namespace;
        if (event.key !== undefined) message.key = event.key;
        return tell(this.#messages, message);
      }
      case "global":
        return tell(this.#globals, { name: event.name, value: event.value && decodeValue(event.value) });
      case "data": {
        const { record } = event;
        const listeners = this.#data.get(record.namespace);
        if (listeners) tell(listeners, { ...place(record), value: record.value && decodeValue(record.value) });
        return;
      }
      case "joined":
        this.#joined = event.joined;
        return tell(this.#states, event.joined);
      case "trace": {
        const { atMs, layer, event: what, peer, detail } = event as unknown as TraceEvent;
        return tell(this.#traces, { atMs, layer, event: what, peer, detail });
      }
    }
  }
}

/** A record's names, without its value. */
function place({ namespace, key, version, expires }: Omit<Raw, "value">): Omit<LocalEntry, "value"> {
  return { namespace, key: new TextDecoder().decode(key), keyBytes: key, version, expires };
}

function subscribe<T>(listeners: Set<(value: T) => void>, listener: (value: T) => void): Unsubscribe {
  const entry = (value: T): void => listener(value); // The same function may listen twice.
  listeners.add(entry);
  return () => void listeners.delete(entry);
}

/** A listener that throws is reported as an uncaught error and stops neither the others nor the engine. */
function tell<T>(listeners: Set<(value: T) => void>, value: T): void {
  for (const listener of [...listeners]) report(() => listener(value));
}
