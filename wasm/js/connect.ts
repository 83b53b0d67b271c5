// `connect`: claims a slot, starts the engine and waits until it has joined.

import { PontoonError } from "./errors.js";
import { Pontoon } from "./pontoon.js";
import type { ConnectOptions } from "./types.js";

const TIMEOUT_MS = 15_000;

/**
 * Joins a network and gives the open database, usable at once: first over links that a supernode relays, while direct
 * ones replace them in the background. Rejects with `unreachable` when nobody lets this peer in.
 *
 * ```ts
 * const db = await connect({ network: "shop", supernodes: ["wss://sn.example.org/pontoon"] });
 * await db.sql`CREATE TABLE IF NOT EXISTS bids (id TEXT PRIMARY KEY, amount REAL)`;
 * const { rows, coverage } = await db.sql`SELECT count(*) AS n FROM bids WHERE amount > ${10}`;
 * ```
 */
export async function connect(options: ConnectOptions): Promise<Pontoon> {
  const checked = check(options);
  let db: Pontoon;
  try {
    const module = await import("./core/pontoon_wasm.js");
    await module.default();
    db = new Pontoon(await module.Engine.open(checked));
  } catch (cause) {
    throw PontoonError.from(cause);
  }
  // A page that goes away says goodbye as far as it still can.
  const leave = (): void => void db.close().catch(() => undefined);
  globalThis.addEventListener?.("pagehide", leave, { once: true });
  try {
    if (!options.alone) await db.untilJoined(options.timeout ?? TIMEOUT_MS);
    return db;
  } catch (error) {
    globalThis.removeEventListener?.("pagehide", leave);
    await db.close().catch(() => undefined);
    throw error;
  }
}

function check(options: ConnectOptions): ConnectOptions {
  const fail = (message: string): never => {
    throw new PontoonError("invalid_argument", message);
  };
  if (typeof options?.network !== "string" || options.network === "") fail("`network` names the network to join");
  if (!Array.isArray(options.supernodes)) fail("`supernodes` is a list of addresses");
  if (options.alone && options.supernodes.length > 0) fail("who is alone has no `supernodes`");
  if (options.tabs !== undefined && options.tabs !== "separate") fail("`tabs` is 'separate'");
  if (options.storage !== undefined && !["indexeddb", "memory"].includes(options.storage)) {
    fail("`storage` is 'indexeddb' or 'memory'");
  }
  if (options.seed !== undefined && !(options.seed instanceof Uint8Array && options.seed.length === 32)) {
    fail("`seed` is 32 bytes");
  }
  return { ...options, supernodes: options.supernodes.map(webSocketAddress) };
}

function webSocketAddress(address: string): string {
  try {
    const url = new URL(address, globalThis.location?.href);
    if (url.protocol === "http:") url.protocol = "ws:";
    if (url.protocol === "https:") url.protocol = "wss:";
    if (url.protocol === "ws:" || url.protocol === "wss:") return url.href;
  } catch {
    // Told below.
  }
  throw new PontoonError("invalid_argument", `not the address of a supernode: ${address}`);
}
