// The engine's script: runs as a worker, or is imported by a page that has none. One file without imports, so that no
// bundler has to split what a worker loads.

import { PontoonError } from "./errors.js";
import { wrap } from "./port.js";
import { Pumped } from "./pump.js";
import type { Servers } from "./dial.js";
import { type AnyNegotiator, Realm, type RealmOptions, type WasmName } from "./realm.js";
import type { Budget } from "./types.js";

export { Realm };

/** What the page tells its worker. */
export type ToWorker =
  | { type: "open"; options: RealmOptions; webrtc: boolean }
  | { type: "client"; port: MessagePort }
  | { type: "tab"; name: string }
  | { type: "close"; leave: boolean }
  | { type: "answer"; id: number; value: unknown; error?: unknown }
  | { type: "rtc"; session: number; what: Uint8Array | string | RTCDataChannel | MessagePort };

/** What the page is asked. */
export type Question = { what: "wasm"; name: WasmName } | { what: "budget" } | { what: "reports" };

/** What a worker tells its page. */
export type FromWorker =
  | { type: "opened" }
  | { type: "failed"; error: { code: string; message: string } }
  | { type: "closed" }
  | { type: "clients"; count: number }
  | { type: "lost" }
  | { type: "ask"; id: number; question: Question }
  | { type: "rtc"; session: number; open: boolean; peer: string }
  | { type: "rtc"; session: number; signal: Uint8Array }
  | { type: "rtc"; session: number; close: true }
  | { type: "servers"; address: string; servers: Servers };

/** The half of a worker's realm that is on its page. */
class Page {
  #realm: Realm | undefined;
  readonly #asked = new Map<number, { resolve(value: never): void; reject(error: unknown): void }>();
  #last = 0;
  readonly #negotiator: AnyNegotiator;

  constructor() {
    const page = this;
    this.#negotiator = {
      told: undefined,
      open: (session, initiator, peer) => tell({ type: "rtc", session, open: initiator, peer }),
      signal: (session, signal) => tell({ type: "rtc", session, signal }),
      close: (session) => tell({ type: "rtc", session, close: true }),
      servers: (address, servers) => tell({ type: "servers", address, servers }),
      get budget() {
        return page.#ask<Budget>({ what: "budget" });
      },
      reports: () => this.#ask({ what: "reports" }),
    };
  }

  onMessage(message: ToWorker): void {
    switch (message.type) {
      case "open":
        return void this.#open(message);
      case "client":
        return void this.#realm?.serve(wrap(message.port, true));
      case "tab":
        return this.#realm?.serveTab(message.name);
      case "close":
        return void this.#realm?.close(message.leave).then(() => tell({ type: "closed" }));
      case "rtc": {
        const { session, what } = message;
        const pumped = what instanceof MessagePort ? (new Pumped(what) as unknown as RTCDataChannel) : what;
        return this.#negotiator.told?.(session, pumped);
      }
      case "answer": {
        const asked = this.#asked.get(message.id);
        this.#asked.delete(message.id);
        if (message.error === undefined) asked?.resolve(message.value as never);
        else asked?.reject(PontoonError.from(message.error));
      }
    }
  }

  async #open({ options, webrtc }: Extract<ToWorker, { type: "open" }>): Promise<void> {
    try {
      this.#realm = await Realm.open(options, {
        wasm: (name) => this.#ask({ what: "wasm", name }),
        negotiator: webrtc ? this.#negotiator : undefined,
        onClients: (count) => tell({ type: "clients", count }),
        onLost: () => tell({ type: "lost" }),
      });
      tell({ type: "opened" });
    } catch (cause) {
      const { code, message } = PontoonError.from(cause);
      tell({ type: "failed", error: { code, message } });
    }
  }

  #ask<T>(question: Question): Promise<T> {
    const id = (this.#last += 1);
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject });
      tell({ type: "ask", id, question });
    });
  }
}

function tell(message: FromWorker): void {
  globalThis.postMessage(message);
}

// A page has a document, and so has nobody else.
if (typeof (globalThis as { WorkerGlobalScope?: unknown }).WorkerGlobalScope === "function" && !("document" in globalThis)) {
  const page = new Page();
  globalThis.onmessage = ({ data }: MessageEvent<ToWorker>) => page.onMessage(data);
}
