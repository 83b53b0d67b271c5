// One peer for all tabs of an origin. A Web Lock decides which tab has it, the leader; the others talk to its engine over
// broadcast channels, one for each client. When the leader goes the lock is the next tab's, which opens the same store.
//
//   tab ──┐  lock `pontoon:<network>`          the leader holds it, the others wait for it
//   tab ──┼─ channel of the same name          who leads, pings, hand-over
//   tab ──┘  channel and lock `…:<client>`     a client and the leader's engine; the client holds the lock while it lives
//
// A leader that is hidden gives the peer to a visible tab. One that is frozen, and does not answer, loses it to a visible
// tab that waits: the lock is stolen, and what the frozen tab still wants to write is refused (disk.js).

import { Calls } from "./calls.js";
import { PontoonError, report } from "./errors.js";
import { goodbye, type Home } from "./home.js";
import { type Port, wrap } from "./port.js";

/** Tabs of other versions of what is said here and in port.ts cannot share a peer. */
const VERSION = 2;
/** A leader that stays hidden for so long gives the peer to a visible tab. */
const HIDDEN_MS = 2_000;
/** How long who shall have the peer may take to take it. */
const TAKE_MS = 3_000;
/** A leader whose store was opened elsewhere waits for so long for the word that it has lost the lock; else it opens it again. */
const LOST_MS = 1_000;
/** A call that hears nothing for so long asks whether the leader is there, and waits for so long for an answer. */
const QUIET_MS = 500;
const PONG_MS = 700;
const PONG_HIDDEN_MS = 5_000;

/** What tabs say, to all or to one. */
type What = { to?: string } & (
  | { type: "who" }
  /** `reign` is another one each time that a tab opens the peer. */
  | { type: "lead"; version: number; reign: string }
  | { type: "client"; name: string }
  | { type: "ping" | "pong" | "offer" | "take" | "yours" }
);
type Word = What & { from: string };

/** The tab's part in the networks that it is in. */
const joined = new Map<string, Tab>();

/** Whether tabs can share a peer here. */
export function tabsCanShare(): boolean {
  return typeof globalThis.navigator?.locks?.request === "function" && typeof globalThis.BroadcastChannel === "function" &&
    typeof globalThis.document === "object" && typeof globalThis.indexedDB === "object";
}

/** Lets `calls` be answered by the peer of this origin; `open` opens it where this tab is to have it. Gives what ends that. */
export function share(network: string, calls: Calls, open: () => Promise<Home>): () => Promise<void> {
  const tab = joined.get(network) ?? new Tab(network, open);
  joined.set(network, tab);
  tab.add(calls);
  return () => tab.remove(calls);
}

class Tab {
  readonly #name: string;
  readonly #network: string;
  readonly #open: () => Promise<Home>;
  readonly #me = Math.random().toString(36).slice(2);
  /** What lets a client's lock go, where another tab leads. */
  readonly #clients = new Map<Calls, (() => void) | undefined>();
  readonly #channel: BroadcastChannel;
  #home: Home | undefined;
  #leader: string | undefined;
  #reign: string | undefined;
  /** Whether it holds the lock. */
  #leads = false;
  /** Gives the lock back. */
  #resign: (() => void) | undefined;
  /** Stops waiting for the lock. */
  #waiting: AbortController | undefined;
  #over = false;
  readonly #listening = new AbortController();
  /** When something was last heard of the leader, and how much. */
  #heard = { at: 0, count: 0, pinged: 0 };
  readonly #watch: ReturnType<typeof setInterval>;
  #hidden: ReturnType<typeof setTimeout> | undefined;

  constructor(network: string, open: () => Promise<Home>) {
    this.#network = network;
    this.#name = `pontoon:${network}`;
    this.#open = open;
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = ({ data }: MessageEvent<Word>) => {
      if (data.to === undefined || data.to === this.#me) this.#onWord(data);
    };
    const { signal } = this.#listening;
    document.addEventListener("visibilitychange", () => this.#onVisibility(), { signal });
    document.addEventListener("freeze", () => this.#suspend(true), { signal });
    document.addEventListener("resume", () => this.#queue(), { signal });
    addEventListener("pagehide", ({ persisted }) => (persisted ? this.#suspend(false) : this.#goodbye()), { signal });
    addEventListener("pageshow", ({ persisted }) => persisted && this.#queue(), { signal });
    this.#watch = setInterval(() => this.#look(), QUIET_MS);
    this.#queue();
    this.#say({ type: "who" });
  }

  add(calls: Calls): void {
    this.#clients.set(calls, undefined);
    this.#attach(calls);
  }

  async remove(calls: Calls): Promise<void> {
    this.#clients.get(calls)?.();
    this.#clients.delete(calls);
    if (this.#clients.size > 0) return;
    // The last one: a later `connect` begins anew.
    if (joined.get(this.#network) === this) joined.delete(this.#network);
    this.#over = true;
    this.#listening.abort();
    clearInterval(this.#watch);
    clearTimeout(this.#hidden);
    this.#waiting?.abort();
    const home = this.#home;
    this.#home = undefined;
    if (home) await home.close(home.clients <= 1);
    this.#resign?.();
    this.#channel.close();
  }

  // --- The lock ----------------------------------------------------------------------------------------------------

  /** Waits for the lock, or takes it. */
  #queue(steal = false): void {
    if (this.#over || this.#home || (this.#waiting && !steal)) return;
    this.#waiting?.abort();
    const waiting = new AbortController();
    this.#waiting = waiting;
    const options: LockOptions = steal ? { steal } : { signal: waiting.signal };
    navigator.locks
      .request(this.#name, options, () => this.#lead(waiting))
      .catch(() => waiting.signal.aborted || this.#lost());
  }

  /** Holds the lock: until the promise that it gives resolves. */
  async #lead(waiting: AbortController): Promise<void> {
    if (this.#over) return;
    const resigned = new Promise<void>((resolve) => (this.#resign = resolve));
    this.#leads = true;
    let home: Home;
    try {
      home = await this.#open();
    } catch (cause) {
      this.#waiting = undefined;
      this.#leads = false;
      // None of this tab's users can be served.
      for (const calls of [...this.#clients.keys()]) calls.close(PontoonError.from(cause));
      return;
    }
    // Stolen or given up meanwhile.
    if (this.#over || this.#waiting !== waiting) return home.close(false);
    this.#home = home;
    // By a tab that was frozen while it opened it, and leads no more.
    home.onLost = () => setTimeout(() => this.#home === home && this.#lost(true), LOST_MS);
    this.#leader = this.#me;
    this.#reign = Math.random().toString(36).slice(2);
    for (const calls of this.#clients.keys()) this.#attach(calls);
    this.#say({ type: "lead", version: VERSION, reign: this.#reign });
    this.#onVisibility();
    await resigned;
    if (this.#waiting === waiting) this.#waiting = undefined;
  }

  /** Another tab has taken the lock, or the store: then this one takes it back. */
  #lost(steal = false): void {
    this.#stop();
    this.#queue(steal);
    this.#say({ type: "who" });
  }

  /** Lets go of the peer as if the tab had gone. */
  #stop(): void {
    const home = this.#home;
    // What becomes of its lock is of no interest any more.
    this.#waiting?.abort();
    this.#home = this.#waiting = undefined;
    this.#leads = false;
    this.#resign?.();
    if (!home) return;
    home.kill();
    this.#leader = undefined;
    for (const calls of this.#clients.keys()) calls.detach();
  }

  /** The tab sleeps: a peer that others use too is another tab's from now on. Alone it keeps it, if it `may`. */
  #suspend(may: boolean): void {
    if (this.#leads && may && (!this.#home || this.#home.clients <= this.#clients.size)) return;
    this.#stop();
  }

  /** The page goes: it says so as far as it still can. */
  #goodbye(): void {
    if (this.#home && this.#home.clients <= this.#clients.size) goodbye(this.#home);
    this.#resign?.();
  }

  // --- Words -------------------------------------------------------------------------------------------------------

  #say(what: What): void {
    if (!this.#over) this.#channel.postMessage({ ...what, from: this.#me });
  }

  #onWord(word: Word): void {
    const { from } = word;
    switch (word.type) {
      case "who":
        if (this.#home && this.#reign) this.#say({ type: "lead", version: VERSION, reign: this.#reign, to: from });
        return;
      case "lead":
        if (this.#home || (from === this.#leader && word.reign === this.#reign)) return;
        this.#leader = from;
        this.#reign = word.reign;
        this.#heard = { at: performance.now(), count: -1, pinged: 0 };
        for (const calls of [...this.#clients.keys()]) {
          if (word.version === VERSION) this.#attach(calls);
          else calls.close(new PontoonError("version_mismatch", "another tab of this page runs another version of pontoon-db: reload it"));
        }
        return;
      case "client":
        return this.#home?.serveTab(word.name);
      case "ping":
        if (this.#leads) this.#say({ type: "pong", to: from });
        return;
      case "pong":
        this.#heard.pinged = 0;
        return;
      case "offer":
        if (document.visibilityState === "visible" && !this.#leads) this.#say({ type: "take", to: from });
        return;
      case "take":
        return void this.#give(from);
      case "yours":
        return this.#queue(true);
    }
  }

  #onVisibility(): void {
    clearTimeout(this.#hidden);
    if (document.visibilityState !== "hidden" || !this.#home) return;
    this.#hidden = setTimeout(() => this.#say({ type: "offer" }), HIDDEN_MS);
  }

  /** Gives the peer to a tab that is seen. */
  async #give(to: string): Promise<void> {
    const home = this.#home;
    if (!home || document.visibilityState !== "hidden") return;
    this.#home = undefined;
    await home.close(false);
    for (const calls of this.#clients.keys()) calls.detach();
    this.#say({ type: "yours", to });
    // It takes the lock; should it have gone meanwhile, whoever waits has it.
    setTimeout(() => {
      if (!this.#leads) return;
      this.#leader = undefined;
      this.#lost();
    }, TAKE_MS);
  }

  // --- Clients -----------------------------------------------------------------------------------------------------

  #attach(calls: Calls): void {
    this.#clients.get(calls)?.();
    this.#clients.set(calls, undefined);
    if (this.#home) return calls.attach(this.#home.connect());
    const [leader, reign] = [this.#leader, this.#reign];
    if (!leader) return;
    calls.detach();
    const name = `${this.#name}:${Math.random().toString(36).slice(2)}`;
    void navigator.locks.request(name, () => new Promise<void>((release) => {
      if (this.#reign !== reign || !this.#clients.has(calls)) return release();
      const port: Port = wrap(new BroadcastChannel(name));
      this.#clients.set(calls, () => (release(), port.close()));
      // The engine says when it listens.
      port.listener = () => calls.attach(port);
      this.#say({ type: "client", name, to: leader });
    }));
  }

  /** Looks whether the leader still answers, while somebody waits for it. */
  #look(): void {
    if (this.#leads || this.#over) return;
    const patience = document.visibilityState === "visible" ? PONG_MS : PONG_HIDDEN_MS;
    const now = performance.now();
    let [waiting, count] = [0, 0];
    for (const calls of this.#clients.keys()) {
      waiting += calls.waiting;
      count += calls.heard;
    }
    if (waiting === 0 || count !== this.#heard.count) this.#heard = { at: now, count, pinged: 0 };
    else if (this.#heard.pinged && now > this.#heard.pinged + patience) {
      this.#heard = { at: now, count, pinged: 0 };
      report(() => console.warn("pontoon: the tab that ran the peer does not answer; this one runs it from now on"));
      this.#queue(true);
    } else if (!this.#heard.pinged && now > this.#heard.at + QUIET_MS) {
      this.#heard.pinged = now;
      this.#say(this.#leader ? { type: "ping", to: this.#leader } : { type: "ping" });
    }
  }
}
