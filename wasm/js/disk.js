// The engine's disk in IndexedDB, by promises. Two object stores: "log", bytes by ascending number, whose order is what counts
// (what is in them is the engine's: src/log.rs), and "self" of the driver.

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
const result = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/**
 * @param {IDBTransaction} transaction
 * @returns {Promise<void>}
 */
const completed = (transaction) =>
  new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new Error("the transaction was aborted"));
  });

/** So many openings ago nobody can be who still wants to write. */
const OPENINGS_FENCED = 1_000;

/**
 * A key that stands in "self" once the database was opened again after the opening of that number.
 * @param {number} opened
 */
const fence = (opened) => `fence ${opened}`;

/**
 * A database that was opened, and all that is in it as of then. `lost` is called when it was opened again since.
 * @typedef {{ database: IDBDatabase, opened: number, seed: Uint8Array, numbers: number[], pieces: Uint8Array[], lost?: () => void }} Opened
 */

/**
 * The database of that name; made when it is not there, and the 32 bytes of its seed with it. Who opened it before can write no
 * more: it may be a page that was frozen and does not know yet that another one has taken its place.
 * Gives nothing where no database opens, as in private windows of some browsers; fails where one opens and cannot be read.
 * @param {string} name
 * @returns {Promise<Opened | undefined>}
 */
export async function open(name) {
  const request = indexedDB.open(name, 2);
  request.onupgradeneeded = () => {
    const { result: database } = request;
    // Version 1 was never published.
    if (database.objectStoreNames.contains("records")) database.deleteObjectStore("records");
    for (const store of ["log", "self"]) {
      if (!database.objectStoreNames.contains(store)) database.createObjectStore(store);
    }
  };
  const database = await result(request).catch(() => undefined);
  if (!database) return undefined;
  try {
    return await take(database);
  } catch (error) {
    database.close();
    throw Object.assign(new Error(`the browser's store cannot be read: ${error}`), { code: "disk_failed" });
  }
}

/**
 * @param {IDBDatabase} database
 * @returns {Promise<Opened>}
 */
async function take(database) {
  // Another tab deletes the database: let go, or it waits for us.
  database.onversionchange = () => database.close();
  const transaction = database.transaction(["log", "self"], "readwrite");
  const [log, self] = [transaction.objectStore("log"), transaction.objectStore("self")];
  const [before = 0, kept, numbers, pieces] = await Promise.all([
    result(self.get("opened")),
    result(self.get("seed")),
    result(log.getAllKeys()),
    result(log.getAll()),
  ]);
  const seed = kept?.length === 32 ? kept : crypto.getRandomValues(new Uint8Array(32));
  self.put(seed, "seed");
  self.put(before + 1, "opened");
  self.put(true, fence(before));
  self.delete(fence(before - OPENINGS_FENCED));
  await completed(transaction);
  return { database, opened: before + 1, seed, numbers: /** @type {number[]} */ (numbers), pieces };
}

/**
 * Writes pieces from a number on, in place of those from `first` to before `number`, all or nothing. Fails when the database
 * was opened again since.
 * @param {Opened} store
 * @param {number} first
 * @param {number} number
 * @param {Uint8Array[]} pieces
 */
export async function write(store, first, number, pieces) {
  const { database, opened } = store;
  const transaction = database.transaction(["log", "self"], "readwrite");
  const [log, self] = [transaction.objectStore("log"), transaction.objectStore("self")];
  try {
    // Adding what is there already aborts the transaction. (`commit()` would be no faster, and in Firefox 153 it commits even so.)
    self.add(true, fence(opened));
    self.delete(fence(opened));
    if (first < number) log.delete(IDBKeyRange.bound(first, number, false, true));
    pieces.forEach((piece, index) => log.put(piece, number + index));
  } catch (error) {
    // What was queued before it would be written.
    transaction.abort();
    throw error;
  }
  try {
    await completed(transaction);
  } catch (error) {
    if (error instanceof DOMException && error.name === "ConstraintError") store.lost?.();
    throw error;
  }
}

/**
 * The pieces from a number on.
 * @param {Opened} opened
 * @param {number} first
 * @returns {Promise<Uint8Array[]>}
 */
export function read({ database }, first) {
  return result(database.transaction("log").objectStore("log").getAll(IDBKeyRange.lowerBound(first)));
}

/** @param {Opened} opened */
export function close({ database }) {
  // The browser lets running transactions complete first.
  database.close();
}
