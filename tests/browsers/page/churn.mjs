// Several peers of one page, each with a direct link to a peer in another page, which then close.
import { connect } from "/pontoon/index.js";

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Opens `peers` peers at once; how many had a direct link to `other` within `patience` ms. All are closed again. */
export async function cycle({ supernode, other, peers, patience }) {
  const open = async () => {
    const db = await connect({ network: "pontoon", supernodes: [supernode], tabs: "separate", storage: "memory", timeout: patience });
    try {
      for (const end = performance.now() + patience; performance.now() < end; await pause(20)) {
        if ((await db.links()).some(({ peer, transport }) => peer === other && transport === "webrtc")) return true;
      }
      return false;
    } finally {
      await db.close();
    }
  };
  const found = await Promise.all(Array.from({ length: peers }, () => open().catch(() => false)));
  return found.filter(Boolean).length;
}
