// Pontoon: a relational database that floats on whatever browsers are there. Importing touches no globals.

import { connectOn } from "./connect.js";
import type { Pontoon } from "./pontoon.js";
import type { ConnectOptions } from "./types.js";
import { web } from "./web.js";

export * from "./exports.js";

/**
 * Joins a network and gives the open database, usable at once: first over links that a supernode relays, while direct
 * ones replace them in the background. Rejects with `unreachable` when nobody lets this peer in, or
 * with `version_mismatch` when that is why.
 *
 * ```ts
 * const db = await connect({ network: "shop", supernodes: ["wss://sn.example.org/pontoon"] });
 * await db.sql`CREATE TABLE IF NOT EXISTS bids (id TEXT PRIMARY KEY, amount REAL)`;
 * const { rows, coverage } = await db.sql`SELECT count(*) AS n FROM bids WHERE amount > ${10}`;
 * ```
 */
export function connect(options: ConnectOptions): Promise<Pontoon> {
  return connectOn(web, options);
}
