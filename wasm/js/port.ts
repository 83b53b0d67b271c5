// How a page and the engine talk, wherever that is: in a worker, in another tab's worker, or on the page itself.
//
//   client (calls.ts) ── Request ──▶ realm (realm.ts)
//                     ◀── Answer ───

import type { ErrorDetails } from "./errors.js";
import type { EngineEvent } from "./realm.js";
import { soon } from "./soon.js";

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
  /** What is long goes `alone`, so that it is taken in by itself. */
  post(message: Request | Answer, alone?: boolean): void;
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

/**
 * A message port or a broadcast channel that only two know. What is posted `together` goes a little later, in one message: only
 * for what nobody changes meanwhile.
 */
export function wrap(channel: MessagePort | BroadcastChannel, together = false): Port {
  let waiting: (Request | Answer)[] = [];
  const flush = (): void => {
    const messages = waiting;
    waiting = [];
    if (messages.length > 0) channel.postMessage(messages);
  };
  const port: Port = {
    copies: true,
    listener: undefined,
    post(message, alone = false) {
      if (!together || alone) {
        flush();
        return channel.postMessage([message]);
      }
      waiting.push(message);
      if (waiting.length === 1) soon(flush);
    },
    close() {
      flush();
      channel.close();
    },
  };
  channel.onmessage = ({ data }: MessageEvent<never[]>) => {
    for (const message of data) port.listener?.(message);
  };
  return port;
}
