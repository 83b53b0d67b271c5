// A peer that has just been opened: how long until it is usable, and until it has a direct link to another peer.
const begun = performance.now();
const since = () => performance.now() - begun;
const { supernode, seed, other } = JSON.parse(decodeURIComponent(location.hash.slice(1)));

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Whether the other peer is linked, and how. */
async function link(db) {
  return (await db.links()).find(({ peer }) => peer === other);
}

async function open() {
  const { connect } = await import("/pontoon/index.js");
  const db = await connect({ network: "pontoon", supernodes: [supernode], tabs: "separate", seed: new Uint8Array(seed) });
  globalThis.db = db;
  const connected = since();
  if (other === undefined) return { connected };
  await db.sendNode(other, "hello");
  const usable = since();
  for (const end = performance.now() + 30_000; performance.now() < end; await pause(5)) {
    if ((await link(db))?.transport === "webrtc") return { connected, usable, direct: since() };
  }
  return { connected, usable };
}

globalThis.opened = open().catch((error) => ({ error: `${error.code ?? error.name}: ${error.message}` }));
