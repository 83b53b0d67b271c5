// Loaded before a server's bundle: says at the end which globals of pages were looked at, and which globals were made.
const pages = [
  "window", "self", "document", "navigator", "location", "localStorage", "sessionStorage", "indexedDB", "WebSocket",
  "RTCPeerConnection", "Worker", "SharedWorker", "fetch", "WebAssembly", "addEventListener",
];
const touched = new Set();
for (const name of pages) {
  const value = globalThis[name];
  Object.defineProperty(globalThis, name, {
    configurable: true,
    get: () => (touched.add(name), value),
    set: () => touched.add(`${name} =`),
  });
}
const before = new Set(Reflect.ownKeys(globalThis));
process.on("exit", () => {
  const made = Reflect.ownKeys(globalThis).filter((name) => !before.has(name)).map(String);
  console.error(JSON.stringify({ touched: [...touched], made }));
});
