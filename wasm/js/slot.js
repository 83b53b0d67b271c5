// Slots: where tabs do not share a peer, each is one with an identity and a store of its own, and a reload gets its own
// back. A slot is a lock that the browser frees however the page ends: a Web Lock, or where there are none (plain `http`
// on a LAN address) the one connection to a database of the slot's own. The tab's last slot stands in its `sessionStorage`
// and is tried first.

/** Slots of one network at one origin: tabs open at once. */
const SLOTS_MAX = 128;
/** How long a reloaded page waits for the page that it replaces to let go of the slot. */
const WAIT_MS = 1_000;
/** How long a slot may take to say that it is free, where there are no Web Locks. */
const PROBE_MS = 2_000;

const session = () => {
  try {
    return globalThis.sessionStorage;
  } catch {
    return undefined; // Forbidden.
  }
};

/** @param {string} key @param {string} name */
const keep = (key, name) => {
  try {
    session()?.setItem(key, name);
  } catch {
    // Full or forbidden: the next page takes a free slot.
  }
};

/**
 * Claims a slot of a network: its name and what lets go of it; `undefined` when all are taken.
 * @param {string} network
 * @returns {Promise<[name: string, release: () => void] | undefined>}
 */
export async function claim(network) {
  const key = `pontoon:${network}:slot`;
  const last = session()?.getItem(key);
  const locks = globalThis.navigator?.locks;
  /**
   * @param {string} name @param {number} [waitMs]
   * @returns {Promise<[string, () => void] | undefined>}
   */
  const take = async (name, waitMs) => {
    const release = await (locks ? lock(locks, `${key}:${name}`, waitMs) : database(`${key}:${name}`, waitMs));
    if (!release) return undefined;
    keep(key, name);
    return [name, release];
  };
  // The page that this one replaces may not be gone yet; a tab that was duplicated waits in vain.
  const again = last != null && (await take(last, WAIT_MS));
  if (again) return again;
  for (let number = 0; number < SLOTS_MAX; number += 1) {
    const slot = await take(String(number));
    if (slot) return slot;
  }
  return undefined;
}

/**
 * What releases the lock, if it is granted, at once or within `waitMs`.
 * @param {LockManager} locks @param {string} name @param {number} [waitMs]
 * @returns {Promise<(() => void) | undefined>}
 */
function lock(locks, name, waitMs) {
  /** @type {LockOptions} */
  const options = waitMs && AbortSignal.timeout ? { signal: AbortSignal.timeout(waitMs) } : { ifAvailable: true };
  return new Promise((resolve) => {
    const request = locks.request(name, options, (granted) => {
      if (!granted) return resolve(undefined);
      // The lock lives as long as this promise.
      return new Promise((release) => resolve(() => release(undefined)));
    });
    // It waited in vain.
    request.catch(() => resolve(undefined));
  });
}

/**
 * The same by a connection to a database: one of a higher version does not open before all others are closed.
 * @param {string} name @param {number} [waitMs]
 * @returns {Promise<(() => void) | undefined>}
 */
function database(name, waitMs) {
  const opened = new Promise((resolve, reject) => {
    // Not the version of a page that asks in the same instant.
    const request = indexedDB.open(name, Date.now() * 1000 + Math.floor(Math.random() * 1000));
    let [upgraded, late] = [false, false];
    const refuse = () => {
      late = true;
      resolve(undefined);
    };
    // Behind another request that is blocked nothing is told.
    const patience = setTimeout(refuse, waitMs ?? PROBE_MS);
    if (!waitMs) request.onblocked = refuse;
    request.onupgradeneeded = () => (upgraded = true);
    // The clock may have been ahead when somebody held the slot.
    request.onerror = () => (request.error?.name === "VersionError" ? refuse() : reject(request.error));
    request.onsuccess = () => {
      clearTimeout(patience);
      const release = () => request.result.close();
      // A request cannot be withdrawn: what comes too late is let go.
      if (upgraded && !late) return resolve(release);
      release();
      refuse();
    };
  });
  // Where no database opens there is nothing to keep apart: the peer's store is in memory.
  return opened.catch(() => () => undefined);
}
