// How a page and the engine talk, wherever that is: in a worker, in another tab's worker, or on the page itself.
//
//   client (calls.ts) ── Request ──▶ realm (realm.ts)
//                     ◀── Answer ───

import type { ErrorDetails } from "./errors.js";
import type { EngineEvent } from "./realm.js";

/** What a client asks. Names of calls are those of `Client` in realm.ts. */
export type Request =
  | { id: number; call: string; args: unknown[] }
  /** Who asked wants no more of it: a query is canceled, a stream ends. */
  | { id: number; end: true };

/** What the realm says. */
export type Answer =
  | { id: number; value: unknown }
  | { id: number; error: PlainError }
  /** Something before the end, or of a stream. */
  | { id: number; part: unknown }
  /** The realm is about to close, and has not begun this. */
  | { id: number; refused: true }
  | { event: EngineEvent };

/** An error as it crosses. */
export interface PlainError extends ErrorDetails {
  code: string;
  message: string;
}

/** One end of a connection. */
export interface Port {
  /** Whether what is posted is copied. */
  readonly copies: boolean;
  /** Called with each message of the other end. */
  listener: ((message: never) => void) | undefined;
  post(message: Request | Answer): void;
  close(): void;
}

/** Two ends on one thread: what is posted arrives at once. */
export function pair(): [Port, Port] {
  const end = (): Port & { other?: Port } => ({
    copies: false,
    listener: undefined,
    post(message) {
      this.other?.listener?.(message as never);
    },
    close() {
      this.listener = undefined;
      delete this.other;
    },
  });
  const [a, b] = [end(), end()];
  [a.other, b.other] = [b, a];
  return [a, b];
}

/** A message port or a broadcast channel that only two know. */
export function wrap(channel: MessagePort | BroadcastChannel): Port {
  const port: Port = {
    copies: true,
    listener: undefined,
    post: (message) => channel.postMessage(message),
    close: () => channel.close(),
  };
  channel.onmessage = ({ data }: MessageEvent) => port.listener?.(data as never);
  return port;
}
