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

/** The database of that name; made when it is not there. */
export async function open(name) {
  const request = indexedDB.open(name, 1);
  request.onupgradeneeded = () => {
    for (const store of ["records", "self"]) request.result.createObjectStore(store);
  };
  const database = await result(request);
  // Another tab deletes the database: let go, or it waits for us.
  database.onversionchange = () => database.close();
  return database;
}

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

/** Writes in order, all or nothing; a key without value is deleted. */
export async function write(database, keys, values) {
  const transaction = database.transaction("records", "readwrite");
  const store = transaction.objectStore("records");
  keys.forEach((key, index) => (values[index] ? store.put(values[index], key) : store.delete(key)));
  await completed(transaction);
}
