// Where a page keeps its engine: in a worker, so that no query holds up a frame, or on the page itself, where there are no
// workers or the page's policy forbids them.

import type { FromWorker, Question, ToWorker } from "./engine.js";
import { PontoonError } from "./errors.js";
import { pair, type Port, wrap } from "./port.js";
import { pump } from "./pump.js";
import type { RealmOptions, WasmName } from "./realm.js";
import { Negotiator } from "./rtc.js";
import type { WasmSource } from "./wasm.js";

/** What is different from one entry of the package to another. */
export interface Platform {
  wasm: Record<WasmName, WasmSource>;
  /** The engine's script as a worker. */
  worker?: () => Worker;
  /** The engine's script. */
  engine: () => Promise<typeof import("./engine.js")>;
}

/** How a home is opened. */
export interface HomeOptions {
  /** What the engine is opened with, where that is yet to be found out: everything else is made ready meanwhile. */
  engine: Promise<RealmOptions>;
  rtc: RTCConfiguration;
  worker: boolean;
}

/** Where an engine is. */
export interface Home {
  /** How many clients it serves. */
  readonly clients: number;
  /** Called when its store was opened elsewhere: it can write no more. */
  onLost: () => void;
  /** A client's end of a new connection. */
  connect(): Port;
  /** Serves another tab; see `Realm.serveTab`. */
  serveTab(name: string): void;
  /** Closes the peer; `leave`s its network in good order unless somebody takes over. */
  close(leave: boolean): Promise<void>;
  /** Ends at once, as if the page had been closed. */
  kill(): void;
}

/** How long a page that goes lets its worker say goodbye. */
const GOODBYE_MS = 25;

/** Leaves the network from a page that is going: a worker ends with its page, and nothing is waited for any more but this. */
export function goodbye(home: Home): void {
  void home.close(true);
  for (const end = performance.now() + GOODBYE_MS; performance.now() < end;);
}

/** How long a worker may take until it runs; else the engine is on the page. */
const WORKER_MS = 5_000;

/** Opens the peer. */
export async function openHome(platform: Platform, options: HomeOptions): Promise<Home> {
  const webrtc = typeof globalThis.RTCPeerConnection === "function";
  const negotiator = webrtc ? new Negotiator(options.rtc) : undefined;
  const wasm = (name: WasmName): Promise<WebAssembly.Module> => compiled(platform, name);
  const early = wasm("peer");
  // Who waits for it is told.
  early.catch(() => undefined);
  options.engine.catch(() => undefined);
  if (options.worker && platform.worker && typeof globalThis.Worker === "function") {
    const home = await WorkerHome.open(platform.worker, options.engine, negotiator, wasm);
    if (home) return home;
  }
  const { Realm } = await platform.engine();
  let clients = 0;
  const onClients = (count: number): void => void (clients = count);
  const realm = await Realm.open(await options.engine, { wasm, negotiator, onClients, onLost: () => home.onLost() });
  const close = async (leave: boolean): Promise<void> => {
    await realm.close(leave);
    negotiator?.shutdown();
  };
  const home: Home = {
    onLost: () => undefined,
    get clients() {
      return clients;
    },
    connect() {
      const [here, there] = pair();
      const end = realm.serve(there);
      const { close } = here;
      return Object.assign(here, { close: () => (close.call(here), end()) });
    },
    serveTab: (name) => realm.serveTab(name),
    close,
    kill: () => void close(false),
  };
  return home;
}

/** An engine in a worker of this page. */
class WorkerHome implements Home {
  clients = 0;
  onLost: () => void = () => undefined;
  readonly #worker: Worker;
  readonly #negotiator: Negotiator | undefined;
  readonly #wasm: (name: WasmName) => Promise<WebAssembly.Module>;
  #closed: () => void = () => undefined;

  /** Nothing when no worker runs here. */
  static async open(
    start: () => Worker,
    options: Promise<RealmOptions>,
    negotiator: Negotiator | undefined,
    wasm: (name: WasmName) => Promise<WebAssembly.Module>,
  ): Promise<WorkerHome | undefined> {
    let worker: Worker;
    try {
      worker = start();
    } catch {
      return undefined; // The page's policy forbids it.
    }
    const home = new WorkerHome(worker, negotiator, wasm);
    return new Promise((resolve, reject) => {
      let runs = false;
      const give = (home: WorkerHome | undefined): void => {
        clearTimeout(patience);
        worker.onerror = null;
        if (!home) worker.terminate();
        resolve(home);
      };
      let patience: ReturnType<typeof setTimeout> | undefined;
      worker.onerror = () => runs || give(undefined);
      worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
        runs = true;
        if (data.type === "opened") give(home);
        else if (data.type === "failed") {
          worker.terminate();
          reject(PontoonError.from(data.error));
        } else home.#onMessage(data);
      };
      const open = (options: RealmOptions): void => {
        patience = setTimeout(() => runs || give(undefined), WORKER_MS);
        home.#tell({ type: "open", options, webrtc: negotiator !== undefined });
      };
      options.then(open).catch((cause) => {
        worker.terminate();
        reject(cause);
      });
    });
  }

  private constructor(worker: Worker, negotiator: Negotiator | undefined, wasm: (name: WasmName) => Promise<WebAssembly.Module>) {
    this.#worker = worker;
    this.#negotiator = negotiator;
    this.#wasm = wasm;
    if (!negotiator) return;
    negotiator.told = (session, what) => {
      const channel = typeof RTCDataChannel === "function" && what instanceof RTCDataChannel;
      if (!channel) return this.#tell({ type: "rtc", session, what });
      try {
        this.#tell({ type: "rtc", session, what }, [what as unknown as Transferable]);
      } catch {
        // A browser that does not hand channels to workers.
        const port = pump(what as RTCDataChannel);
        this.#tell({ type: "rtc", session, what: port }, [port]);
      }
    };
  }

  connect(): Port {
    const { port1, port2 } = new MessageChannel();
    this.#tell({ type: "client", port: port2 }, [port2]);
    return wrap(port1);
  }

  serveTab(name: string): void {
    this.#tell({ type: "tab", name });
  }

  close(leave: boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#closed = () => {
        this.kill();
        resolve();
      };
      this.#tell({ type: "close", leave });
    });
  }

  kill(): void {
    this.#negotiator?.shutdown();
    this.#worker.terminate();
  }

  #onMessage(message: FromWorker): void {
    switch (message.type) {
      case "clients":
        this.clients = message.count;
        return;
      case "lost":
        return this.onLost();
      case "closed":
        return this.#closed();
      case "ask":
        return void this.#answer(message.id, message.question);
      case "servers":
        return this.#negotiator?.servers(message.address, message.servers);
      case "rtc": {
        const { session } = message;
        if ("signal" in message) this.#negotiator?.signal(session, message.signal);
        else if ("open" in message) this.#negotiator?.open(session, message.open, message.peer);
        else this.#negotiator?.close(session);
      }
    }
  }

  async #answer(id: number, question: Question): Promise<void> {
    try {
      const value = await (question.what === "wasm"
        ? this.#wasm(question.name)
        : question.what === "budget" ? this.#negotiator?.budget : this.#negotiator?.reports());
      this.#tell({ type: "answer", id, value });
    } catch (cause) {
      const { code, message } = PontoonError.from(cause);
      this.#tell({ type: "answer", id, value: undefined, error: { code, message } });
    }
  }

  #tell(message: ToWorker, transfer: Transferable[] = []): void {
    this.#worker.postMessage(message, transfer);
  }
}

/** Modules that were compiled, or are being, by platform. */
const modules = new WeakMap<Platform, Map<WasmName, Promise<WebAssembly.Module>>>();

function compiled(platform: Platform, name: WasmName): Promise<WebAssembly.Module> {
  const known = modules.get(platform) ?? new Map<WasmName, Promise<WebAssembly.Module>>();
  modules.set(platform, known);
  const compiling = known.get(name) ?? compile(platform.wasm[name]);
  known.set(name, compiling);
  compiling.catch(() => known.delete(name)); // The next one tries again.
  return compiling;
}

async function compile(source: WasmSource): Promise<WebAssembly.Module> {
  try {
    const given = await (typeof source === "function" ? source() : source);
    if (given instanceof WebAssembly.Module) return given;
    if (given instanceof ArrayBuffer || ArrayBuffer.isView(given)) return await WebAssembly.compile(given as BufferSource);
    const response = given instanceof Response ? given : await fetch(given);
    if (!response.ok) throw new Error(`${response.status} ${response.statusText} for ${response.url}`);
    const streams = response.headers.get("content-type")?.startsWith("application/wasm");
    return await (streams ? WebAssembly.compileStreaming(response) : WebAssembly.compile(await response.arrayBuffer()));
  } catch (cause) {
    const error = PontoonError.from(cause);
    if (error.code === "forbidden") throw error;
    throw new PontoonError("unreachable", `a wasm module could not be loaded: ${error.message}`, { cause });
  }
}
