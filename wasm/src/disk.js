// IndexedDB by promises: two object stores, "records" of the engine and "self" of the driver, keys and values bytes.

const result = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

const completed = (transaction) =>
  new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new Error("the transaction was aborted"));
  });

/**
 * The database of that name; made when it is not there. Who opened it before can write no more: it may be a page that
 * was frozen and does not know yet that another one has taken its place.
 */
export async function open(name) {
  const request = indexedDB.open(name, 1);
  request.onupgradeneeded = () => {
    for (const store of ["records", "self"]) request.result.createObjectStore(store);
  };
  const database = await result(request);
  // Another tab deletes the database: let go, or it waits for us.
  database.onversionchange = () => database.close();
  const transaction = database.transaction("self", "readwrite");
  const self = transaction.objectStore("self");
  const before = (await result(self.get("opened"))) ?? 0;
  self.put(before + 1, "opened");
  self.put(true, fence(before));
  self.delete(fence(before - OPENINGS_FENCED));
  await completed(transaction);
  return Object.assign(database, { opened: before + 1 });
}

/** So many openings ago nobody can be who still wants to write. */
const OPENINGS_FENCED = 1_000;

/** A key that stands in "self" once the database was opened again after the opening of that number. */
const fence = (opened) => `fence ${opened}`;

/** The 32 bytes kept as the seed; `fresh` when there are none, which is then kept. */
export async function seed(database, fresh) {
  const transaction = database.transaction("self", "readwrite");
  const store = transaction.objectStore("self");
  const kept = await result(store.get("seed"));
  if (kept?.length === fresh.length) return kept;
  store.put(fresh, "seed");
  await completed(transaction);
  return fresh;
}

/** All keys and all values, as of one moment. */
export function load(database) {
  const store = database.transaction("records").objectStore("records");
  return Promise.all([result(store.getAllKeys()), result(store.getAll())]);
}

/** Writes in order, all or nothing; a key without value is deleted. Fails when the database was opened again since. */
export async function write(database, keys, values) {
  const transaction = database.transaction(["records", "self"], "readwrite");
  const [store, self] = [transaction.objectStore("records"), transaction.objectStore("self")];
  // Adding what is there already aborts the transaction. (`commit()` would be no faster, and in Firefox 153 it commits even so.)
  self.add(true, fence(database.opened));
  self.delete(fence(database.opened));
  keys.forEach((key, index) => (values[index] ? store.put(values[index], key) : store.delete(key)));
  await completed(transaction);
}
