// A page whose link to its supernode is a WebRTC data channel: it leaves the WebSocket it dialled, for the supernode speaks
// WebRTC itself (`websocket: "leave"`). Real Chromium and Firefox, real supernode. PONTOON_NATIVE_ROUNDS=100 makes 100 attempts
// in each.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startSupernode } from "../scripts/supernode.mjs";
import { launchFirefox, launchTabs, serve, until } from "./browser.mjs";

const ROUNDS = Number(process.env.PONTOON_NATIVE_ROUNDS ?? 5);
const OPEN_MS = 10_000;
const MESSAGES = 3_000;

let supernode, site, browser;

/** A page of its own that is connected; `db` is a global of it. */
async function join(options = {}) {
  const page = await (await browser.createBrowserContext()).newPage();
  await page.goto(site.address);
  await page.evaluate(async ([address, options]) => {
    const { connect } = await import("/index.js");
    window.db = await connect({
      network: "pontoon", supernodes: [address], tabs: "separate", storage: "memory", timeout: 30_000, ...options,
    });
    /** The link to the supernode. */
    window.home = async () => (await db.diagnose()).links.find(({ role }) => role === "supernode");
  }, [supernode.address, options]);
  return page;
}

async function leave(page) {
  await page.evaluate(() => db.close());
  await page.browserContext().close();
}

const health = async () => (await fetch(`${supernode.http}/healthz`)).json();

/** Numbered messages from one page to another; what arrives is looked at there. */
async function pour(from, to, pause) {
  const id = await to.evaluate(() => {
    window.heard = [];
    window.wrong = 0;
    db.onMessage(({ message: value }) => {
      const number = new DataView(value.buffer, value.byteOffset).getUint32(0);
      if (!value.subarray(4).every((byte) => byte === number % 251)) window.wrong += 1;
      window.heard.push(number);
    });
    return db.id;
  });
  const poured = from.evaluate(async ([id, count]) => {
    const sent = [];
    for (let number = 0; number < count; number += 1) {
      const bytes = new Uint8Array(2_004).fill(number % 251);
      new DataView(bytes.buffer).setUint32(0, number);
      sent.push(db.sendNode(id, bytes));
      if (sent.length >= 200) await Promise.all(sent.splice(0));
    }
    await Promise.all(sent);
  }, [id, MESSAGES]);
  await pause?.();
  await poured;
  const { heard, wrong } = await to.evaluate(() => ({ heard: window.heard, wrong: window.wrong }));
  assert.equal(wrong, 0, "bytes that are not those that were sent");
  assert.deepEqual(heard, Array.from({ length: MESSAGES }, (_, number) => number));
}

for (const [kind, launch] of Object.entries({ chromium: launchTabs, firefox: launchFirefox })) describe(kind, () => {
  before(async () => {
    [supernode, site, browser] = [await startSupernode(), await serve(), await launch()];
  });

  after(async () => {
    await browser?.close();
    site?.close();
    await supernode?.stop();
  });

  test(`a page leaves its WebSocket for a data channel, ${ROUNDS} times`, { timeout: 30_000 + ROUNDS * 2 * OPEN_MS }, async () => {
    const took = [];
    let [failed, first] = [0, 0];
    for (let round = 0; round < ROUNDS; round += 1) {
      const page = await join({ websocket: "leave" });
      const ms = await page.evaluate(async (patience) => {
        for (const began = performance.now(); performance.now() < began + patience; await new Promise((next) => setTimeout(next, 20))) {
          if ((await home())?.transport === "webrtc") return Math.round(performance.now() - began);
        }
        return null;
      }, OPEN_MS);
      if (ms === null) failed += 1;
      else {
        took.push(ms);
        // It is a link like any other: what is written over it is there.
        const value = await page.evaluate(async (round) => {
          await db.put("rounds", String(round), round);
          return (await db.get("rounds", String(round))).value;
        }, round);
        assert.equal(value, round);
        const { path, why, attempts } = await page.evaluate(() => home());
        assert.ok(["host", "nat", "webrtc"].includes(path) && why === null, path);
        if (attempts.length === 1) first += 1;
      }
      await leave(page);
    }
    took.sort((a, b) => a - b);
    const [median, slowest] = [took[took.length >> 1], took.at(-1)];
    console.log(`# ${kind}: ${took.length} of ${ROUNDS}, ${first} at the first attempt, median ${median} ms, slowest ${slowest} ms`);
    assert.ok(failed <= ROUNDS / 100, `${failed} of ${ROUNDS} attempts failed`);
    assert.ok(first >= ROUNDS - Math.max(1, ROUNDS / 50), `${first} of ${ROUNDS} were the first attempt`);
  });

  test("a page that keeps its WebSocket has no session with its supernode", { timeout: 60_000 }, async () => {
    const page = await join();
    await page.evaluate(() => db.put("kept", "k", 1));
    const { transport, path } = await page.evaluate(() => home());
    assert.deepEqual([transport, path], ["websocket", "websocket"]);
    await leave(page);
  });

  test("who takes slowly gets every byte, in order", { timeout: 180_000 }, async () => {
    // One page has a WebSocket only, so that all goes over the supernode; the other one is at the end of a data channel.
    const plain = await join({ direct: false });
    const page = await join({ websocket: "leave", worker: false });
    await until("a data channel to the supernode", 20_000, () => page.evaluate(async () => (await home())?.transport === "webrtc"));
    // A page that stands still again and again, its engine with it.
    const busy = await page.evaluate(() => setInterval(() => {
      for (const end = performance.now() + 180; performance.now() < end;);
    }, 200));
    await pour(plain, page);
    await page.evaluate((busy) => clearInterval(busy), busy);
    // A supernode that stands still for a while.
    await pour(page, plain, async () => {
      await supernode.freeze(1_500);
    });
    assert.equal((await page.evaluate(() => home())).transport, "webrtc");
    assert.equal((await health()).counters.clientsCut, 0);
    await leave(plain);
    await leave(page);
  });

  test("a connection that closes while it is asked keeps nobody waiting", { timeout: 60_000 }, async () => {
    const page = await join({ websocket: "leave" });
    await until("a data channel", 20_000, () => page.evaluate(async () => (await home())?.transport === "webrtc"));
    const answer = await page.evaluate(() => {
      const ask = RTCPeerConnection.prototype.getStats;
      RTCPeerConnection.prototype.getStats = function () {
        const asked = ask.call(this);
        this.close();
        return asked;
      };
      const late = new Promise((resolve) => setTimeout(resolve, 10_000, "none"));
      return Promise.race([db.diagnose().then(() => "an answer"), late]);
    });
    assert.equal(answer, "an answer");
    await leave(page);
  });

  test("the socket comes back where the data channel is lost", { timeout: 120_000 }, async () => {
    const page = await join({ websocket: "leave" });
    await until("a data channel", 20_000, () => page.evaluate(async () => (await home())?.transport === "webrtc"));
    await supernode.kill();
    await supernode.start();
    // The socket is dialled again, and left again.
    await until("a data channel to the new life", 60_000, () => page.evaluate(async () => (await home())?.transport === "webrtc"));
    const value = await page.evaluate(async () => {
      await db.put("back", "k", "again");
      return (await db.get("back", "k")).value;
    });
    assert.equal(value, "again");
    await leave(page);
  });
});
