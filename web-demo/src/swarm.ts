// This tab's peer, as the page sees it: one connection, one snapshot a second, one trace stream.
//
// Invariant: nothing on the page is known otherwise than by `inspect()`, `trace()`, messages and the results of calls.

import { connect, type Inspect, type Pontoon, type TraceEvent } from "pontoon-db";

const POLL_MS = 1000;

/** A part of the page that follows this tab's peer. */
export interface Watcher {
  /** A new snapshot, about once a second. */
  snapshot?(snapshot: Inspect): void;
  /** An event of the trace stream. */
  trace?(event: TraceEvent): void;
}

/** Connects to the swarm of the supernode that served the page; usable as soon as it resolves. */
export function join(): Promise<Pontoon> {
  const { protocol, host } = location;
  return connect({
    network: networkName(),
    supernodes: [`${protocol === "https:" ? "wss" : "ws"}://${host}/pontoon`],
    tabs: "separate",
  });
}

/** Keeps the watchers informed until the page goes. */
export function follow(db: Pontoon, watchers: readonly Watcher[]): void {
  db.trace((event) => watchers.forEach((watcher) => watcher.trace?.(event)));
  const look = async (): Promise<void> => {
    const snapshot = await db.inspect();
    watchers.forEach((watcher) => watcher.snapshot?.(snapshot));
  };
  const again = (): void => void setTimeout(() => look().then(again, again), POLL_MS);
  look().then(again, again);
}

/** Which network the page joins: `?network=`, else the name that a supernode takes unasked. */
function networkName(): string {
  return new URLSearchParams(location.search).get("network") || "pontoon";
}

/** The stable code of an error thrown by the database, if it has one. */
export function errorCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : undefined;
}

/** What went wrong, and what may have been meant. */
export function errorMessage(error: unknown): string {
  const { hint, position } = (error ?? {}) as { hint?: string; position?: number };
  const message = error instanceof Error ? error.message : String(error);
  return [message, position === undefined ? undefined : `(character ${position})`, hint].filter(Boolean).join(" ");
}
