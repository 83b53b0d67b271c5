// What callers see: options, results, snapshots. Times are milliseconds, sizes bytes, ids 40 hexadecimal digits.

/** What JSON says. */
export type JsonValue = string | number | boolean | null | JsonValue[] | { [name: string]: JsonValue };

/**
 * A value that SQL takes as a parameter. A `number` that is a safe integer is an INTEGER, any other a REAL; a plain object
 * or an array is JSON; NUMERICs, INTERVALs and UUIDs go as text.
 */
export type SqlParam =
  | string
  | number
  | bigint
  | boolean
  | null
  | Date
  | Uint8Array
  | JsonValue[]
  | { [name: string]: JsonValue };

/**
 * A value of a result. INTEGERs beyond ±2^53 come as `bigint`, TIMESTAMPs (milliseconds) and DATEs (midnight, UTC) as `Date`,
 * BLOBs as bytes, NUMERICs, INTERVALs and UUIDs as text, JSON parsed.
 */
export type SqlValue =
  | string
  | number
  | bigint
  | boolean
  | null
  | Date
  | Uint8Array
  | JsonValue[]
  | { [name: string]: JsonValue };

/** The SQL types. */
export type SqlType =
  | "INTEGER"
  | "REAL"
  | "TEXT"
  | "BOOLEAN"
  | "TIMESTAMP"
  | "BLOB"
  | "NUMERIC"
  | "DATE"
  | "INTERVAL"
  | "JSON"
  | "UUID";

/** A row, keyed by column name. Of two columns of one name the later one is kept: name them apart with `AS`. */
export type Row = Record<string, SqlValue>;

/** What JSON can say. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** What `put`, messages and globals carry: bytes and text as they are, everything else as JSON. */
export type Storable = Uint8Array | Json;

/** A key of the storage layer; a string stands for its UTF-8 bytes. */
export type Key = string | Uint8Array;

/** How to take part in a network. */
export interface ConnectOptions {
  /** Peers of different networks refuse one another. At most 64 bytes. */
  network: string;
  /** Where to start: WebSocket addresses; `http(s)` and addresses relative to the page are understood. */
  supernodes: readonly string[];
  /**
   * A network of its own, which this page founds and nobody joins: a database in the page. `supernodes` is empty then, and
   * the first statements wait until the network is founded, about two seconds.
   */
  alone?: boolean;
  /**
   * `shared`: the tabs of an origin are one peer with one identity and one store; the engine is in one of them, and when that
   * closes, in another. The default where the browser has Web Locks (not on plain `http`, but for localhost) and IndexedDB;
   * options are those of the tab that has the engine. `separate`: each tab is a peer of its own; a reload gets its own back.
   */
  tabs?: "shared" | "separate";
  /** Whether the engine runs in a worker, so that no query holds up a frame. True where the browser and the page's policy can. */
  worker?: boolean;
  /** `indexeddb` (where the browser has it), or `memory`: a peer that forgets when its page closes. */
  storage?: "indexeddb" | "memory";
  /** STUN and TURN servers for direct links, beside those that supernodes bring. */
  iceServers?: IceServer[];
  /**
   * `keep`: the link to a supernode stays on its WebSocket. `leave`: where the supernode speaks WebRTC, a data channel takes the
   * socket's place once it is open; when that is lost the socket comes back.
   */
  websocket?: "keep" | "leave";
  /** Whether to open direct (WebRTC) links. True where the browser can. */
  direct?: boolean;
  /** The identity: a secret of 32 bytes. Otherwise made at first and kept with the store. */
  seed?: Uint8Array;
  /**
   * For whom this peer acts: `true` is a user whose key is made at first and kept with the store, 32 bytes are the secret of a
   * user's key that the application keeps (the same on each of the user's devices). A user owns the tables that it creates: others
   * may read them, and write what they are granted. A peer that acts for nobody creates tables that everybody may change.
   */
  user?: boolean | Uint8Array;
  /** How long to wait for the network before rejecting with `unreachable`. 15,000 ms. */
  timeout?: number;
}

/** A STUN or TURN server, as `RTCPeerConnection` takes it. */
export interface IceServer {
  urls: string | string[];
  username?: string;
  credential?: string;
}

/** Bounds of one call. */
export interface CallOptions {
  /** Give up after so many milliseconds. 30,000 ms. */
  timeout?: number;
  /**
   * Aborts the call: it rejects with `aborted` (a query with `query_canceled`), whose `cause` is the signal's reason. A write
   * that is under way may still be carried out.
   */
  signal?: AbortSignal;
}

/**
 * Bounds of one query, and who hears of it. Of an aborted query the peers that work for it are told at once; what a statement
 * that writes has written by then stays written.
 */
export interface QueryOptions extends CallOptions {
  /** Is told how far the query is while others are asked, from 0 on; for a progress bar. It is not told of the end. */
  onProgress?: (progress: QueryProgress) => void;
}

/** How far a query has come. */
export interface QueryProgress {
  /** The share of what was asked of peers that has answered, from 0 to 1; of a statement it never falls. */
  coverage: number;
  /** Rows that came of them so far, or groups; some of a join may still be dropped. */
  rows: number;
  /**
   * The first rows of the result, up to 100, as they came: of a query that neither sorts, groups, limits nor joins here what
   * peers have found, else none. Some of a join may still be dropped.
   */
  first: unknown[];
}

/** How to read a value. */
export interface GetOptions extends CallOptions {
  /** Take what any replica holds, at once, instead of what the key's owner vouches for. */
  stale?: boolean;
}

/** How to store a value. */
export interface PutOptions extends CallOptions {
  /** Soft state: the value lapses after so many milliseconds unless renewed. */
  ttl?: number;
  /** Store only if the key is absent; rejects with `conflict` otherwise. */
  ifAbsent?: boolean;
  /** Store only over this version; rejects with `conflict` otherwise. */
  ifVersion?: string;
  /** Where nobody who may vouch for the key is reached in time, keep the write here and forward it later. */
  hinted?: boolean;
}

/** How to remove a key. */
export interface RemoveOptions extends CallOptions {
  /** Remove only this version; rejects with `conflict` otherwise. */
  ifVersion?: string;
}

/** What `get` gives. */
export interface Entry<V extends Storable = Storable> {
  namespace: string;
  key: Key;
  value: V;
  /** For a conditional `put` or `remove`. */
  version: string;
  /** When the value lapses, if it is soft state. */
  expires: Date | null;
  /** A replica said so, not the key's owner: there may be a newer value. Only where `stale` was asked for. */
  stale: boolean;
}

/** A record that this peer holds. */
export interface LocalEntry {
  namespace: string;
  /** The key as text; what is not UTF-8 shows as U+FFFD. */
  key: string;
  keyBytes: Uint8Array;
  /** As `put` took it; the bytes as they are where something else wrote them (rows of tables). */
  value: Storable;
  version: string;
  expires: Date | null;
}

/** A version of a key that this peer committed as the key's owner. */
export interface DataChange extends Omit<LocalEntry, "value"> {
  /** `undefined`: the key was removed. */
  value: Storable | undefined;
}

/** What a write gives. */
export interface Stored {
  /** For a conditional `put` or `remove`; empty for a hint, which has none yet. */
  version: string;
  /** Not stored yet: this peer will forward it. Only where `hinted` was asked for. */
  hinted: boolean;
}

/** What `sendAll` reached. */
export interface Reached {
  /** Peers beside this one. */
  nodes: number;
  /** The share of the key space whose peers confirmed: 1 is everybody. */
  coverage: number;
}

/** A message of the application. */
export interface Message {
  /** The sender's id. */
  from: string;
  message: Storable;
  /** Set when it was sent to a key. */
  namespace?: string;
  key?: Uint8Array;
}

/** A value that keys of a tree are made of. Numbers order as numbers and before text; bigints are of a kind of their own. */
export type TreeKeyPart = string | number | bigint | boolean | Date | Uint8Array;

/**
 * A key of a tree: one value, or several that order one after the other. No key may be the beginning of another one: of one
 * tree all keys have as many values.
 */
export type TreeKey = TreeKeyPart | readonly TreeKeyPart[];

/** An entry of a tree. */
export interface TreeEntry<V extends Storable = Storable> {
  key: TreeKey;
  value: V;
}

/** How a range of a tree is read. */
export interface TreeRangeOptions extends CallOptions {
  /** The last entries first. */
  reverse?: boolean;
  /** No more entries than that. */
  limit?: number;
}

/** Entries of a range. */
export interface TreeRange<V extends Storable = Storable> {
  entries: TreeEntry<V>[];
  /** The share of the range's leaves that answered: 1 is all of it. */
  coverage: number;
}

/** A global that was set, or removed (`undefined`). */
export interface GlobalChange {
  name: string;
  value: Storable | undefined;
}

export interface Column {
  name: string;
  /** `null` where only NULLs are. */
  type: SqlType | null;
}

/** What a statement cost, as far as the asker can tell. */
export interface Cost {
  messages: number;
  bytes: number;
  /** Peers that answered. */
  peers: number;
  elapsedMs: number;
}

export interface QueryResult<R = Row> {
  rows: R[];
  columns: Column[];
  /** Rows written by INSERT, UPDATE or DELETE. */
  affected: number;
  /** 1: every part of the key space that was asked answered. Below 1: how much did. */
  coverage: number;
  /** Whether a part that answered had given up a majority of its group for lost. */
  assumedLost: boolean;
  cost: Cost;
}

/** What is new of a live query. The first change has all rows as added. */
export interface LiveChange<R = Row> {
  /** Rows that came, each as often as it did, in the order of the result. */
  added: readonly R[];
  /** Rows that went, each as often as it did. A row that changed went and came. */
  removed: readonly R[];
  /** All rows, in the order that the query asks for. */
  readonly rows: readonly R[];
  /** 1: all owners of what was asked keep this result up to date. Below 1: how much do. */
  coverage: number;
  /** Whether a part that answered had given up a majority of its group for lost. */
  assumedLost: boolean;
}

/** Who is told of changes. */
export type LiveChangeListener<R = Row> = (change: LiveChange<R>) => void;

export interface LinkInfo {
  peer: string;
  kind: "direct" | "relayed";
  transport: "websocket" | "webrtc" | "relay";
  /** The relaying peer of a relayed link. */
  via: string | null;
  role: "supernode" | "peer";
  /** Smoothed round trip, microseconds; 0 until measured. */
  rttUs: number;
  sibling: boolean;
  sentBytes: number;
  receivedBytes: number;
}

export interface PeerInfo {
  id: string;
  role: "supernode" | "peer";
  linked: boolean;
}

export interface FragmentInfo {
  /** Ternary pattern: `01*1`, `*` for everything. */
  region: string;
  /** Share of the key space. */
  share: number;
  epoch: number;
  owner: string;
  members: string[];
  /** Whether this copy has been in step with its owner's: nothing that was acknowledged before is missing. */
  inStep: boolean;
  state: "active" | "merging" | "syncing" | "changing" | "member" | "backup" | "retired";
  assumedLost: boolean;
  leaseMs: number;
  records: number;
}

export interface NamespaceInfo {
  namespace: string;
  records: number;
  owned: number;
  bytes: number;
}

export interface StoreInfo {
  records: number;
  bytes: number;
  namespaces: NamespaceInfo[];
}

/** A peer at one moment. */
export interface Inspect {
  id: string;
  network: string;
  role: "supernode" | "peer";
  joined: boolean;
  nowMs: number;
  links: LinkInfo[];
  /** Every live peer heard of lately, linked or not. */
  peers: PeerInfo[];
  fragments: FragmentInfo[];
  store: StoreInfo;
  globals: Record<string, Storable>;
  counters: Record<string, number>;
  /** The driver's own figures. */
  driver: DriverInfo;
}

/** What the browser driver of this page counts. */
export interface DriverInfo {
  /** Where records are kept. */
  storage: "indexeddb" | "memory";
  /**
   * WebRTC connections: made since the page loaded, in use, held by the browser (closed ones count until they are collected),
   * and how many may be held before no more are made.
   */
  rtcOpened: number;
  rtcOpen: number;
  rtcHeld: number;
  rtcMax: number;
  websocketsOpen: number;
  /** Transactions written, and batches waiting for one. */
  transactions: number;
  batchesWaiting: number;
}

/** What one attempt at a direct link tried, for `diagnose`. */
export interface Report {
  session: number;
  /** The other end. */
  peer: string;
  state: "offered" | "answered" | "open" | "interrupted" | "failed" | "closed";
  /** Milliseconds since the epoch. */
  startedAt: number;
  /** How long it took to open. */
  openMs?: number;
  /** Why it failed. */
  reason?: string;
  /** Kinds of this end's addresses (`host`, `srflx`, `prflx`, `relay`), and of the other end's. */
  local: string[];
  remote: string[];
  restarts: number;
  /** Which kinds the connection goes over. */
  pair?: string;
}

/**
 * Which address translation a page seems to be behind: one that keeps a socket's outer name (`cone`), or changes it for each
 * destination (`symmetric`, where only TURN helps). `no answer` of any STUN server: UDP is blocked.
 */
export type Nat = "unknown" | "none" | "cone" | "symmetric" | "no answer";

/** WebRTC connections of a page: made since it loaded, in use, held by the browser, and how many may be held. */
export interface Budget {
  opened: number;
  open: number;
  held: number;
  max: number;
}

/** An event of the trace stream. */
export interface TraceEvent {
  atMs: number;
  layer: string;
  event: string;
  peer: string | null;
  detail: string;
}

/** Figures of this peer. */
export interface Stats {
  counters: Record<string, number>;
  store: StoreInfo;
  driver: DriverInfo;
}

/** Undoes a subscription. */
export type Unsubscribe = () => void;
