// What goes wrong in a first hour: insecure contexts, full disks, wrong clocks, policies, browsers that lack something.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { WebSocketServer } from "ws";
import { startSupernode } from "../scripts/supernode.mjs";
import { launch, serve, until } from "./browser.mjs";

let supernode, site, browser;

before(async () => {
  [supernode, site] = [await startSupernode(), await serve()];
  // A name as of a machine in the same house: a page there is no secure context.
  browser = await launch("--host-resolver-rules=MAP pontoon.lan 127.0.0.1");
});

after(async () => {
  await browser?.close();
  site?.close();
  await supernode?.stop();
});

/** Loads a page and connects; `db` is a global of the page then. */
async function open(context, options = {}, address = site.address) {
  const tab = await context.newPage();
  await tab.goto(address);
  await tab.evaluate(async ([supernode, options]) => {
    const { connect } = await import("/index.js");
    window.db = await connect({ network: "pontoon", supernodes: [supernode], timeout: 30_000, ...options });
  }, [supernode.address, options]);
  return tab;
}

test("on plain http a page is a peer, and so is each tab", { timeout: 60_000 }, async () => {
  const context = await browser.newContext();
  const lan = site.address.replace("127.0.0.1", "pontoon.lan");
  const [a, b] = [await open(context, {}, lan), await open(context, {}, lan)];
  const found = await a.evaluate(async (supernode) => {
    await db.sql`CREATE TABLE lan (id INTEGER PRIMARY KEY)`;
    await db.sql`INSERT INTO lan VALUES (1)`;
    const { connect } = await import("/index.js");
    const shared = await connect({ network: "pontoon", supernodes: [supernode], tabs: "shared" }).catch((error) => error.code);
    const { storage } = (await db.stats()).driver;
    return { secure: isSecureContext, locks: "locks" in navigator, shared, storage, id: db.id };
  }, supernode.address);
  const { id, ...rest } = found;
  assert.deepEqual(rest, { secure: false, locks: false, shared: "unsupported", storage: "indexeddb" });
  const other = await b.evaluate(async () => ({ id: db.id, rows: (await db.sql`SELECT * FROM lan`).rows }));
  assert.notEqual(other.id, id);
  assert.deepEqual(other.rows, [{ id: 1 }]);
  await until("a direct link", 20_000, () =>
    b.evaluate(async (id) => (await db.links()).some(({ peer, kind }) => peer === id && kind === "direct"), id));
  await context.close();
});

test("a clock that is a day ahead neither loses writes nor stops others", { timeout: 60_000 }, async () => {
  const [ahead, right] = [await browser.newContext(), await browser.newContext()];
  await ahead.addInitScript(() => {
    const [real, day] = [Date, 86_400_000];
    globalThis.Date = class extends real {
      constructor(...args) {
        super(...(args.length === 0 ? [real.now() + day] : args));
      }
      static now() {
        return real.now() + day;
      }
    };
  });
  // Its engine is on the page, where the clock is what the test makes it.
  const [a, b] = [await open(ahead, { worker: false }), await open(right)];
  const keys = Array.from({ length: 20 }, (_, index) => `clock ${index}`);
  const put = (tab, value) => tab.evaluate(async ([keys, value]) => {
    for (const key of keys) await db.put("clocks", key, value);
  }, [keys, value]);
  const get = (tab) => tab.evaluate(async (keys) => {
    const values = [];
    for (const key of keys) values.push((await db.get("clocks", key))?.value);
    return values;
  }, keys);
  for (const [writer, reader, value] of [[a, b, "from ahead"], [b, a, "from now"], [a, b, "from ahead again"], [b, a, "the last"]]) {
    await put(writer, value);
    assert.deepEqual(await get(reader), keys.map(() => value));
  }
  await Promise.all([ahead.close(), right.close()]);
});

test("a supernode of another version is told from one that does not answer", { timeout: 60_000 }, async () => {
  // It speaks first, as every peer does: a frame of three bytes that begins with a version yet to come.
  const newer = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  newer.on("connection", (socket) => socket.send(Uint8Array.of(0, 0, 3, 99, 0, 0)));
  const context = await browser.newContext();
  const tab = await context.newPage();
  await tab.goto(site.address);
  const found = await tab.evaluate(async (port) => {
    const { connect } = await import("/index.js");
    const code = (supernode) => connect({ network: "pontoon", supernodes: [supernode], timeout: 2_000 }).catch((error) => error.code);
    return [await code(`ws://127.0.0.1:${port}/pontoon`), await code("ws://127.0.0.1:1/pontoon")];
  }, newer.address().port);
  assert.deepEqual(found, ["version_mismatch", "unreachable"]);
  await context.close();
  newer.close();
});

test("a damaged store is told of, and no empty one takes its place", { timeout: 60_000 }, async () => {
  const context = await browser.newContext();
  const tab = await open(context, { tabs: "separate" });
  const codes = await tab.evaluate(async (supernode) => {
    const { connect } = await import("/index.js");
    const again = () => connect({ network: "pontoon", supernodes: [supernode], tabs: "separate", timeout: 30_000 });
    const change = async (act) => {
      const database = await new Promise((resolve) => {
        indexedDB.open("pontoon:pontoon:0").onsuccess = ({ target }) => resolve(target.result);
      });
      const transaction = database.transaction("log", "readwrite");
      act(transaction.objectStore("log"));
      await new Promise((resolve) => (transaction.oncomplete = resolve));
      database.close();
    };
    const { id } = db;
    await db.put("damaged", "k", 1);
    await db.close();
    // A length that leads beyond the end of its piece.
    await change((log) => log.put(Uint8Array.of(255, 0, 0, 0, 1), 1_000_000));
    const code = await again().then(() => "connected", (error) => error.code);
    await change((log) => log.delete(1_000_000));
    const mended = await again();
    const same = mended.id === id;
    await mended.close();
    return { code, same };
  }, supernode.address);
  assert.deepEqual(codes, { code: "disk_failed", same: true });
  await context.close();
});

test("a full disk fails writes with a code, and loses nothing", { timeout: 90_000 }, async () => {
  const context = await browser.newContext();
  const tab = await context.newPage();
  await tab.goto(site.address);
  const session = await context.newCDPSession(tab);
  const quota = (quotaSize) => session.send("Storage.overrideQuotaForOrigin", { origin: new URL(site.address).origin, ...(quotaSize && { quotaSize }) });
  await quota(1_000_000);
  const found = await tab.evaluate(async () => {
    const { connect } = await import("/index.js");
    window.db = await connect({ network: "full", supernodes: [], alone: true });
    window.fill = async (from, count) => {
      const codes = new Set();
      for (let index = from; index < from + count; index += 1) {
        const value = crypto.getRandomValues(new Uint8Array(60_000));
        await db.put("full", `k${index}`, value, { timeout: 5_000 }).then(() => stored.push(index), (error) => codes.add(error.code));
      }
      return [...codes];
    };
    window.stored = [];
    return fill(0, 5);
  });
  assert.deepEqual(found, []);
  const codes = await tab.evaluate(() => fill(5, 40));
  assert.ok(codes.length > 0, "writes fail");
  assert.ok(codes.every((code) => ["quota_exceeded", "disk_failed"].includes(code)), codes.join());
  await quota();
  const after = await tab.evaluate(async () => {
    const codes = await until(async () => { const codes = await fill(100, 3); return codes.length === 0 && codes; });
    const values = await Promise.all(stored.map((index) => db.get("full", `k${index}`)));
    return { codes, missing: values.filter((entry) => entry?.value.length !== 60_000).length, stored: stored.length };
    async function until(condition) {
      for (const end = Date.now() + 20_000; Date.now() < end;) {
        const found = await condition();
        if (found) return found;
      }
      return "in vain";
    }
  });
  assert.deepEqual({ ...after, stored: after.stored >= 8 }, { codes: [], missing: 0, stored: true });
  await context.close();
});

test("a browser that hands no data channels to workers has its page pump them", { timeout: 60_000 }, async () => {
  const context = await browser.newContext();
  await context.addInitScript(() => {
    const post = Worker.prototype.postMessage;
    window.refused = 0;
    Worker.prototype.postMessage = function (message, transfer) {
      if (Array.isArray(transfer) && transfer.some((what) => what instanceof RTCDataChannel)) {
        window.refused += 1;
        throw new DOMException("not here", "DataCloneError");
      }
      return post.call(this, message, transfer);
    };
  });
  const [a, b] = [await open(context, { tabs: "separate" }), await open(context, { tabs: "separate" })];
  const id = await b.evaluate(() => db.id);
  await until("a direct link", 20_000, () =>
    a.evaluate(async (id) => (await db.links()).some(({ peer, kind }) => peer === id && kind === "direct"), id));
  await b.evaluate(() => {
    window.heard = [];
    db.onMessage(({ message }) => heard.push(message.length));
  });
  const refused = await a.evaluate(async (id) => {
    const size = 60_000;
    for (let count = 0; count < 100; count += 1) await db.sendNode(id, new Uint8Array(size));
    return window.refused;
  }, id);
  assert.ok(refused > 0);
  await until("all messages arrive", 10_000, () => b.evaluate(() => heard.length === 100 && heard.every((length) => length === 60_000)));
  await context.close();
});

test("why a link is not direct, the page is told", { timeout: 60_000 }, async () => {
  const context = await browser.newContext();
  // Offers go out, but none of the page's own addresses.
  await context.addInitScript(() => {
    const describe = Object.getOwnPropertyDescriptor(RTCPeerConnection.prototype, "onicecandidate");
    Object.defineProperty(RTCPeerConnection.prototype, "onicecandidate", { ...describe, set() {} });
    const local = Object.getOwnPropertyDescriptor(RTCPeerConnection.prototype, "localDescription");
    Object.defineProperty(RTCPeerConnection.prototype, "localDescription", {
      get() {
        const found = local.get.call(this);
        return found && new RTCSessionDescription({ type: found.type, sdp: found.sdp.replace(/a=candidate.*\r\n/g, "") });
      },
    });
  });
  const [a, b] = [await open(context, { tabs: "separate" }), await open(context, { tabs: "separate" })];
  const id = await b.evaluate(() => db.id);
  const found = await until("an attempt fails", 40_000, () => a.evaluate(async (id) => {
    const diagnosis = await db.diagnose();
    const link = diagnosis.links.find(({ peer }) => peer === id);
    return link?.attempts.some(({ state }) => state === "failed") && { link, advice: diagnosis.advice, nat: diagnosis.nat };
  }, id));
  assert.equal(found.link.kind, "relayed");
  assert.match(found.link.why, /the last attempt failed|being negotiated/);
  assert.equal(found.nat, "unknown");
  assert.match(found.advice.join(), /STUN servers/);
  await context.close();
});
