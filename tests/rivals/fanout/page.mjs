// In the page: how each rival writes records and is told of them. Bundled for browsers by `bench fanout`.
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";

/** Yjs with y-websocket: a shared map; as one transaction, or a transaction for each record. */
export async function yjs({ port }) {
  const document = new Y.Doc();
  const provider = new WebsocketProvider(`ws://127.0.0.1:${port}`, "feed", document, { disableBc: true });
  await new Promise((resolve) => provider.once("sync", resolve));
  const feed = document.getMap("feed");
  return {
    ways: ["batch", "each"],
    async write(records, way) {
      const set = () => records.forEach(([id, body]) => feed.set(id, body));
      if (way === "batch") document.transact(set);
      else set();
    },
    onCount(listener) {
      let count = feed.size;
      feed.observe((event) => listener((count += event.keysChanged.size)));
    },
  };
}

/** GUN: each record under a key of its own, readers by `map().on()`. It has nothing for many at once. */
export async function gun({ port }) {
  const script = Object.assign(globalThis.document.createElement("script"), { src: "/rivals/gun/gun.js" });
  await new Promise((resolve) => globalThis.document.head.append(Object.assign(script, { onload: resolve })));
  const feed = globalThis.Gun({ peers: [`http://127.0.0.1:${port}/gun`], localStorage: false, radisk: false }).get("feed");
  return {
    ways: ["each"],
    async write(records) {
      for (const [id, body] of records) feed.get(id).put(body);
    },
    onCount(listener) {
      const seen = new Set();
      feed.map().on((_, id) => listener(seen.add(id).size));
    },
  };
}
