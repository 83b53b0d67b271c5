// The calls of an open database. Values are turned to bytes here; everything else is the engine's.

import type { Calls } from "./calls.js";
import { type Diagnosis, diagnose } from "./diagnose.js";
import { PontoonError, report } from "./errors.js";
import { LiveQuery } from "./live.js";
import type { EngineEvent, Hello, RawRecord } from "./realm.js";
import { placeholders } from "./template.js";
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
  QueryProgress,
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

/** An entry as the engine gives it. */
interface RawEntry {
  value: Uint8Array;
  version: string;
  expires: Date | null;
  stale: boolean;
}

/** How long who may not join asks its engine why. */
const REASON_MS = 500;

/** An open database: one peer of a network. Made by `connect`. */
export class Pontoon {
  readonly #calls: Calls;
  readonly #messages = new Set<(message: Message) => void>();
  readonly #globals = new Set<(change: GlobalChange) => void>();
  readonly #states = new Set<(joined: boolean) => void>();
  readonly #ends = new Set<{ close(): void }>();
  readonly #known = new Map<string, Uint8Array>();
  readonly #leave: () => Promise<void>;
  #id = "";
  #user: string | null = null;
  #joined = false;
  #closing: Promise<void> | undefined;

  /** @internal */
  constructor(calls: Calls, leave: () => Promise<void>) {
    this.#calls = calls;
    this.#leave = leave;
    calls.onEvent = (event) => this.#onEvent(event);
  }

  /** @internal Says hello, now and to each realm that takes over. */
  async open(): Promise<void> {
    // Taken in when it comes, not when a promise says so: the events behind it may come in the same turn, and are newer.
    const onPart = ({ id, user, joined, globals }: Hello): void => {
      this.#id = id;
      this.#user = user;
      this.#known.clear();
      for (const [name, value] of globals) this.#known.set(name, value);
      this.#tellJoined(joined);
    };
    const greet = (): Promise<void> => this.#calls.call<void>("hello", [], { reads: true, onPart });
    await greet();
    this.#calls.onRealm = () => void greet().catch(() => undefined);
  }

  /** This peer's id: 40 hexadecimal digits. */
  get id(): string {
    return this.#id;
  }

  /** The user for whom this peer acts, as SQL's `current_user` gives it: a public key of 64 hexadecimal digits. */
  get user(): string | null {
    return this.#user;
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
  async query<R = Row>(text: string, params: readonly SqlParam[] = [], options: QueryOptions = {}): Promise<QueryResult<R>> {
    const { timeout, signal, onProgress } = options;
    const rows: R[] = [];
    const onPart = (part: { rows: R[] } | { progress: QueryProgress }): void => {
      if ("rows" in part) for (const row of part.rows) rows.push(row);
      else if (onProgress) report(() => onProgress(part.progress));
    };
    const args = [text, params, timeout, signal !== undefined || onProgress !== undefined];
    const result = await this.#calls.call<QueryResult<R>>("query", args, { signal, onPart, reads: reads(text) });
    return rows.length > 0 ? { ...result, rows } : result;
  }

  /**
   * A SELECT whose result is kept up to date, peer to peer: as `rows`, by `onChange`, and as a stream of changes for
   * `for await`. Until it is closed.
   */
  live<R = Row>(text: string, params: readonly SqlParam[] = []): LiveQuery<R> {
    const query = new LiveQuery<R>(this.#calls, text, params, () => this.#ends.delete(query));
    this.#ends.add(query);
    if (this.#closing) query.close();
    return query;
  }

  // --- Storage -----------------------------------------------------------------------------------------------------

  /**
   * Stores a value; resolves when a majority of the key's group has it on disk. With `hinted`, where nobody who may vouch
   * for the key is reached in time, it resolves too: this peer keeps the write and forwards it, and the result says so.
   */
  async put(namespace: string, key: Key, value: Storable, options: PutOptions = {}): Promise<Stored> {
    const { ifAbsent, ifVersion, hinted, ttl, timeout, signal } = options;
    if (Number(ifAbsent ?? false) + Number(ifVersion !== undefined) + Number(hinted ?? false) > 1) {
      throw new PontoonError("invalid_argument", "a key is either absent or of a version, and neither for a hint");
    }
    const expect = ifAbsent ? "absent" : hinted ? "hinted" : ifVersion;
    const args = [namespace, keyBytes(key), encodeValue(value), expect, ttl, timeout];
    const version = await this.#calls.call<string | null>("put", args, { signal });
    return { version: version ?? "", hinted: version === null };
  }

  /**
   * The current value; `null` only when the key is known to be absent; rejects when that could not be found out. With
   * `stale`, what any replica holds, at once: it may be older, and `null` may only mean that this replica holds none.
   */
  async get<V extends Storable = Storable>(namespace: string, key: Key, options: GetOptions = {}): Promise<Entry<V> | null> {
    const args = [namespace, keyBytes(key), options.stale ?? false, options.timeout];
    const found = await this.#calls.call<RawEntry | null>("get", args, { reads: true, signal: options.signal });
    if (!found) return null;
    const { version, expires, stale } = found;
    return { namespace, key, value: decodeValue(found.value) as V, version, expires, stale };
  }

  /** Removes a key; of an absent key without effect. */
  async remove(namespace: string, key: Key, options: RemoveOptions = {}): Promise<void> {
    const args = [namespace, keyBytes(key), options.ifVersion, options.timeout];
    await this.#calls.call("remove", args, { signal: options.signal });
  }

  /** Lets a value live until `ttl` ms from now; false when the key is absent. */
  async renew(namespace: string, key: Key, ttl: number, options: CallOptions = {}): Promise<boolean> {
    const args = [namespace, keyBytes(key), ttl, options.timeout];
    return this.#calls.call("renew", args, { signal: options.signal });
  }

  /** What this peer itself holds of some namespaces. */
  async lscan(namespaces: readonly string[]): Promise<LocalEntry[]> {
    const records = await this.#calls.call<(RawRecord & RawEntry)[]>("lscan", [[...namespaces]], { reads: true });
    return records.map((record) => ({ ...place(record), value: decodeValue(record.value) }));
  }

  /**
   * What this peer commits of a namespace as its keys' owner, from when the promise resolves: a write is told where its
   * data is, at most once. All peers that listen hear of every write together, but for one whose owner changes meanwhile.
   */
  onData(namespace: string, listener: (change: DataChange) => void): Promise<Unsubscribe> {
    return new Promise((resolve, reject) => {
      const onPart = ({ record }: { record?: RawRecord }): void => {
        if (!record) return resolve(stop);
        report(() => listener({ ...place(record), value: record.value && decodeValue(record.value) }));
      };
      const stop = this.#stream("data", [namespace], onPart, reject);
    });
  }

  /** An ordered map that lies on all peers: keys are values or lists of values, ranges are read in their order. */
  pht<V extends Storable = Storable>(name: string): Tree<V> {
    return new Tree<V>(this.#calls, name);
  }

  // --- Messages ----------------------------------------------------------------------------------------------------

  /** A message to the owner of a key; gives the id of the peer that took it. */
  async send(namespace: string, key: Key, message: Storable): Promise<string> {
    return this.#calls.call("send", [namespace, keyBytes(key), encodeValue(message)]);
  }

  /** A message to a peer; resolves when delivered, rejects with `unreachable` when not. */
  async sendNode(id: string, message: Storable): Promise<void> {
    await this.#calls.call("sendNode", [id, encodeValue(message)]);
  }

  /** A message to every other peer. */
  async sendAll(message: Storable): Promise<Reached> {
    return this.#calls.call("sendAll", [encodeValue(message)]);
  }

  onMessage(listener: (message: Message) => void): Unsubscribe {
    return subscribe(this.#messages, listener);
  }

  // --- Globals -----------------------------------------------------------------------------------------------------

  /** Sets a global of the network; `undefined` removes it. */
  async setGlobal(name: string, value: Storable | undefined): Promise<void> {
    const bytes = value === undefined ? undefined : encodeValue(value);
    await this.#calls.call("setGlobal", [name, bytes]);
    // Told of as well, but perhaps later than this resolves.
    this.#setKnown(name, bytes);
  }

  /** A global as this peer knows it, at once. */
  getGlobal(name: string): Storable | undefined {
    const bytes = this.#known.get(name);
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

  async links(): Promise<LinkInfo[]> {
    return (await this.inspect()).links;
  }

  async stats(): Promise<Stats> {
    const { counters, store, driver } = await this.inspect();
    return { counters, store, driver };
  }

  async inspect(): Promise<Inspect> {
    const snapshot = await this.#calls.call<Inspect>("inspect", [], { reads: true });
    const globals = Object.entries(snapshot.globals).map(([name, value]) => {
      return [name, decodeValue(Uint8Array.from(value as readonly number[]))];
    });
    return { ...snapshot, globals: Object.fromEntries(globals) as Inspect["globals"] };
  }

  /** How this peer reaches others: which ways were tried, which NAT is assumed, and why a link is not direct. */
  async diagnose(): Promise<Diagnosis> {
    const [snapshot, negotiated] = await Promise.all([
      this.inspect(),
      this.#calls.call<Parameters<typeof diagnose>[1]>("diagnose", [], { reads: true }),
    ]);
    return diagnose(snapshot, negotiated);
  }

  /** The trace stream, while somebody listens. */
  trace(listener: (event: TraceEvent) => void): Unsubscribe {
    const onPart = ({ atMs, layer, event, peer, detail }: TraceEvent): void => {
      report(() => listener({ atMs, layer, event, peer, detail }));
    };
    return this.#stream("trace", [], onPart);
  }

  /**
   * Lets go of the peer; the last one that uses it hands over what it holds and says goodbye. Calls under way and further
   * ones reject with `closed`.
   */
  close(): Promise<void> {
    if (!this.#closing) {
      for (const end of [...this.#ends]) end.close();
      this.#closing = this.#leave();
    }
    return this.#closing;
  }

  /** @internal Resolves when joined, rejects with `unreachable` after `timeout` ms. */
  untilJoined(timeout: number): Promise<void> {
    if (this.#joined) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(async () => {
        unsubscribe();
        // An engine that does not answer is not waited for.
        const silence = new Promise<undefined>((resolve) => setTimeout(resolve, REASON_MS));
        const counters = await Promise.race([this.stats().then((stats) => stats.counters, () => undefined), silence]);
        if (this.#joined) return resolve();
        reject(counters?.versions_differ
          ? new PontoonError("version_mismatch", "who was asked to let this peer join speaks another version of the protocol: one of the two is to be updated")
          : new PontoonError("unreachable", `no supernode let this peer join within ${timeout} ms`));
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
        this.#setKnown(event.name, event.value);
        return tell(this.#globals, { name: event.name, value: event.value && decodeValue(event.value) });
      case "joined":
        return this.#tellJoined(event.joined);
    }
  }

  #tellJoined(joined: boolean): void {
    if (joined === this.#joined) return;
    this.#joined = joined;
    tell(this.#states, joined);
  }

  #setKnown(name: string, value: Uint8Array | undefined): void {
    if (value) this.#known.set(name, value);
    else this.#known.delete(name);
  }

  /** A stream that ends with the database. */
  #stream(call: string, args: unknown[], onPart: (part: never) => void, onEnd: (error: PontoonError) => void = () => undefined): Unsubscribe {
    const ended = { close: (): void => undefined };
    const end = this.#calls.stream(call, args, onPart, (error) => {
      this.#ends.delete(ended);
      if (error) onEnd(error);
    });
    ended.close = (): void => {
      this.#ends.delete(ended);
      end();
    };
    this.#ends.add(ended);
    return ended.close;
  }
}

/** Whether a text only reads, as far as it can be told without parsing it: then it may be run once more. */
function reads(text: unknown): boolean {
  return typeof text === "string" && /^\s*(select|with|values|table|explain|show)\b/i.test(text) &&
    !/\b(insert|update|delete|create|drop|alter|set|analyze)\b/i.test(text);
}

/** A record's names, without its value. */
function place({ namespace, key, version, expires }: Omit<RawRecord, "value">): Omit<LocalEntry, "value"> {
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
