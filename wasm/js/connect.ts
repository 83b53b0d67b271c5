// `connect`: finds or opens the peer, and waits until it has joined.

import { Calls } from "./calls.js";
import { PontoonError } from "./errors.js";
import { goodbye, type Home, openHome, type Platform } from "./home.js";
import { Pontoon } from "./pontoon.js";
import { claim } from "./slot.js";
import { share, tabsCanShare } from "./tabs.js";
import type { ConnectOptions } from "./types.js";

const TIMEOUT_MS = 15_000;

/** `connect` of an entry of the package. */
export async function connectOn(platform: Platform, options: ConnectOptions): Promise<Pontoon> {
  const checked = check(options);
  const calls = new Calls();
  const leave = await begin(platform, checked, calls);
  const db = new Pontoon(calls, leave);
  try {
    await db.open();
    if (!checked.alone) await db.untilJoined(checked.timeout ?? TIMEOUT_MS);
    return db;
  } catch (error) {
    await db.close().catch(() => undefined);
    throw error;
  }
}

/** Lets calls be answered; gives what ends that. */
async function begin(platform: Platform, options: ConnectOptions, calls: Calls): Promise<() => Promise<void>> {
  const { network, supernodes, seed, user, iceServers } = options;
  const durable = options.storage !== "memory";
  const open = (store: Promise<string | undefined>): Promise<Home> =>
    openHome(platform, {
      engine: store.then((store) => ({
        network,
        supernodes,
        direct: options.direct ?? true,
        leaveSockets: options.websocket === "leave",
        alone: options.alone ?? false,
        ...(store !== undefined && { store }),
        ...(seed !== undefined && { seed }),
        ...(user !== undefined && { user }),
      })),
      rtc: iceServers ? { iceServers } : {},
      worker: options.worker ?? true,
    });
  const end = (leave: () => Promise<void>) => async (): Promise<void> => {
    calls.close(new PontoonError("closed", "the database is closed"));
    await leave();
  };

  // Peers that forget are nobody else's, and nor are those of an identity that was given to one tab.
  if (options.tabs === "shared" || (options.tabs === undefined && durable && !seed && tabsCanShare())) {
    if (!tabsCanShare()) throw new PontoonError("unsupported", "tabs share a peer only where there are Web Locks (not on plain http)");
    return end(share(network, calls, () => open(Promise.resolve(`pontoon:${network}:shared`))));
  }

  const claimed = durable && globalThis.indexedDB ? claim(network) : undefined;
  const release = (): void => void claimed?.then((slot) => slot?.[1]());
  let home: Home;
  try {
    home = await open(named(network, claimed));
  } catch (cause) {
    release();
    throw PontoonError.from(cause);
  }
  calls.attach(home.connect());
  // A page that goes away says goodbye as far as it still can.
  const leave = (): void => goodbye(home);
  globalThis.addEventListener?.("pagehide", leave, { once: true });
  return end(async () => {
    globalThis.removeEventListener?.("pagehide", leave);
    await home.close(true);
    release();
  });
}

/** The store of a slot; without one it is in memory. */
async function named(network: string, claimed: ReturnType<typeof claim> | undefined): Promise<string | undefined> {
  const slot = await claimed;
  if (claimed && !slot) throw new PontoonError("overloaded", "too many tabs of this origin are in the network already");
  return slot && `pontoon:${network}:${slot[0]}`;
}

function check(options: ConnectOptions): ConnectOptions {
  const fail = (message: string): never => {
    throw new PontoonError("invalid_argument", message);
  };
  if (typeof options?.network !== "string" || options.network === "") fail("`network` names the network to join");
  if (!Array.isArray(options.supernodes)) fail("`supernodes` is a list of addresses");
  if (options.alone && options.supernodes.length > 0) fail("who is alone has no `supernodes`");
  if (options.tabs !== undefined && !["shared", "separate"].includes(options.tabs)) fail("`tabs` is 'shared' or 'separate'");
  if (options.storage !== undefined && !["indexeddb", "memory"].includes(options.storage)) {
    fail("`storage` is 'indexeddb' or 'memory'");
  }
  if (options.websocket !== undefined && !["keep", "leave"].includes(options.websocket)) fail("`websocket` is 'keep' or 'leave'");
  if (options.tabs === "shared" && options.storage === "memory") fail("tabs share what is stored: not in memory");
  if (options.seed !== undefined && !(options.seed instanceof Uint8Array && options.seed.length === 32)) {
    fail("`seed` is 32 bytes");
  }
  const { user } = options;
  if (user !== undefined && typeof user !== "boolean" && !(user instanceof Uint8Array && user.length === 32)) {
    fail("`user` is true or 32 bytes");
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
