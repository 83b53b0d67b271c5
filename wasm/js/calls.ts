// A client's calls under way. The realm that answers them may go away, with the tab it is in, and another one take over:
// what was not begun or only reads is asked again, a stream goes on, and what may have been carried out or not rejects with
// `interrupted`.

import { PontoonError } from "./errors.js";
import type { Answer, Port, Request } from "./port.js";
import type { EngineEvent } from "./realm.js";

/** Calls under way at once; beyond, further ones reject with `overloaded`. */
const CALLS_MAX = 100_000;

/** How a call is made. */
export interface CallHow {
  /** It changes nothing: another realm may be asked the same. */
  reads?: boolean;
  /** Has no end of its own, and is asked again of another realm. */
  stream?: boolean;
  /** Aborts it: it rejects at once, and the realm is told. */
  signal?: AbortSignal | undefined;
  onPart?: (part: never) => void;
}

interface Pending extends CallHow {
  request: Extract<Request, { call: string }>;
  resolve(value: unknown): void;
  reject(error: PontoonError): void;
  sent: boolean;
}

/** See above. */
export class Calls {
  /** Is told of what the engine says unasked. */
  onEvent: (event: EngineEvent) => void = () => undefined;
  /** Is told when another realm takes over. */
  onRealm: () => void = () => undefined;
  /** How much was heard of the realm. */
  heard = 0;
  readonly #pending = new Map<number, Pending>();
  #port: Port | undefined;
  #last = 0;
  #closed: PontoonError | undefined;

  /** Calls under way that have an end of their own. */
  get waiting(): number {
    let waiting = 0;
    for (const { stream } of this.#pending.values()) if (!stream) waiting += 1;
    return waiting;
  }

  /** Makes a call. */
  call<T>(call: string, args: unknown[], how: CallHow = {}): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(this.#closed);
      if (how.signal?.aborted) return reject(aborted(how.signal, call));
      if (this.#pending.size >= CALLS_MAX) {
        return reject(new PontoonError("overloaded", `more than ${CALLS_MAX} calls are under way`));
      }
      const request = { id: (this.#last += 1), call, args };
      const pending = { ...how, request, resolve: resolve as Pending["resolve"], reject, sent: false };
      this.#pending.set(request.id, pending);
      how.signal?.addEventListener("abort", () => this.#abort(pending), { once: true });
      this.#send(pending);
    });
  }

  /** Begins a stream; gives what ends it. `onEnd` is told why if it ends by itself. */
  stream(call: string, args: unknown[], onPart: (part: never) => void, onEnd: (error?: PontoonError) => void): () => void {
    const id = this.#last + 1;
    this.call(call, args, { stream: true, onPart }).then(() => onEnd(), onEnd);
    return () => this.#forget(id);
  }

  /** From now on this is the realm. */
  attach(port: Port): void {
    this.#port?.close();
    this.#port = port;
    port.listener = (answer: Answer) => this.#onAnswer(answer);
    for (const pending of [...this.#pending.values()]) {
      if (pending.sent && !pending.reads && !pending.stream) this.#settle(pending, interrupted());
      else this.#send(pending);
    }
    this.onRealm();
  }

  /** There is no realm at the moment. */
  detach(): void {
    this.#port?.close();
    this.#port = undefined;
    for (const pending of [...this.#pending.values()]) {
      if (pending.sent && !pending.reads && !pending.stream) this.#settle(pending, interrupted());
    }
  }

  /** Every call rejects, and every further one. */
  close(error: PontoonError): void {
    this.#closed = error;
    for (const pending of [...this.#pending.values()]) this.#settle(pending, error);
    this.#port?.close();
    this.#port = undefined;
  }

  #send(pending: Pending): void {
    if (!this.#port) return;
    pending.sent = true;
    try {
      this.#port.post(pending.request);
    } catch (cause) {
      // A value that cannot be copied, a function say.
      this.#settle(pending, new PontoonError("invalid_argument", String(cause), { cause }));
    }
  }

  #onAnswer(answer: Answer): void {
    this.heard += 1;
    if ("event" in answer) return this.onEvent(answer.event);
    const pending = this.#pending.get(answer.id);
    if (!pending) return;
    if ("part" in answer) pending.onPart?.(answer.part as never);
    else if ("refused" in answer) pending.sent = false;
    else if ("error" in answer) this.#settle(pending, PontoonError.from(answer.error));
    else {
      this.#pending.delete(answer.id);
      pending.resolve(answer.value);
    }
  }

  #abort(pending: Pending): void {
    if (this.#pending.get(pending.request.id) !== pending || !pending.signal) return;
    this.#forget(pending.request.id);
    pending.reject(aborted(pending.signal, pending.request.call));
  }

  /** Nobody wants to know any more. */
  #forget(id: number): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (pending?.sent) this.#port?.post({ id, end: true });
  }

  #settle(pending: Pending, error: PontoonError): void {
    this.#pending.delete(pending.request.id);
    pending.reject(error);
  }
}

function interrupted(): PontoonError {
  return new PontoonError("interrupted", "the tab that ran the peer went away: whether this was carried out is not known");
}

/** A query is canceled, in PostgreSQL's words; anything else is aborted. */
function aborted(signal: AbortSignal, call: string): PontoonError {
  return call === "query"
    ? new PontoonError("query_canceled", "the query was canceled", { cause: signal.reason, sqlstate: "57014" })
    : new PontoonError("aborted", "the call was aborted", { cause: signal.reason });
}
