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
  /** Its name, where that was given already. */
  id?: number;
}

interface Pending extends CallHow {
  request: Extract<Request, { call: string }>;
  resolve(value: unknown): void;
  reject(error: PontoonError): void;
  sent: boolean;
  onAbort: () => void;
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
      const id = how.id ?? this.#id();
      const request = { id, call, args };
      const onAbort = (): void => this.#abort(id);
      const pending = { ...how, request, resolve: resolve as Pending["resolve"], reject, sent: false, onAbort };
      this.#pending.set(id, pending);
      how.signal?.addEventListener("abort", onAbort);
      this.#send(pending);
    });
  }

  /** Begins a stream; gives what ends it. `onEnd` is told why if it ends by itself. */
  stream(call: string, args: unknown[], onPart: (part: never) => void, onEnd: (error?: PontoonError) => void): () => void {
    const id = this.#id();
    this.call(call, args, { id, stream: true, onPart }).then(() => onEnd(), onEnd);
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
    else this.#take(answer.id)?.resolve(answer.value);
  }

  #abort(id: number): void {
    const pending = this.#forget(id);
    if (pending?.signal) pending.reject(aborted(pending.signal, pending.request.call));
  }

  /** Nobody wants to know any more. */
  #forget(id: number): Pending | undefined {
    const pending = this.#take(id);
    if (pending?.sent) this.#port?.post({ id, end: true });
    return pending;
  }

  #settle({ request, reject }: Pending, error: PontoonError): void {
    this.#take(request.id);
    reject(error);
  }

  /** A call is under way no more. */
  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    pending?.signal?.removeEventListener("abort", pending.onAbort);
    return pending;
  }

  #id(): number {
    return (this.#last += 1);
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
