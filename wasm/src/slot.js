// The lock or the name that makes a slot; see slot.rs.

const session = () => {
  try {
    return globalThis.sessionStorage;
  } catch {
    return undefined; // Forbidden.
  }
};

const keep = (key, name) => {
  try {
    session()?.setItem(key, name);
  } catch {
    // Full or forbidden: the next page takes a free slot.
  }
};

/** Claims a slot: its name and what lets go of it; `undefined` when all `most` are taken. */
export async function claim(key, waitMs, most) {
  const last = session()?.getItem(key);
  const locks = globalThis.navigator?.locks;
  if (!locks) {
    session()?.removeItem(key);
    const name = last ?? Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    return [name, () => keep(key, name)];
  }
  const take = async (name, options) => {
    const release = await lock(locks, `${key}:${name}`, options);
    if (release) keep(key, name);
    return release && [name, release];
  };
  // The page that this one replaces may not be gone yet; a tab that was duplicated waits in vain.
  const again = last != null && (await take(last, AbortSignal.timeout ? { signal: AbortSignal.timeout(waitMs) } : { ifAvailable: true }));
  if (again) return again;
  for (let number = 0; number < most; number += 1) {
    const slot = await take(String(number), { ifAvailable: true });
    if (slot) return slot;
  }
  return undefined;
}

/** What releases the lock, if it is granted. */
function lock(locks, name, options) {
  return new Promise((resolve) => {
    const request = locks.request(name, options, (granted) => {
      if (!granted) return resolve(undefined);
      // The lock lives as long as this promise.
      return new Promise((release) => resolve(release));
    });
    // It waited in vain.
    request.catch(() => resolve(undefined));
  });
}
