// An encrypted table over four pages and a supernode, each a peer of its own: members read it, and neither an IndexedDB nor
// the supernode's store, nor what goes over sockets and data channels, has anything of it in clear.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { startSupernode } from "../scripts/supernode.mjs";
import { launch, serve, until } from "./browser.mjs";

const CANARY = "canary-55d0";
/** In clear on purpose, and so found wherever one looks rightly. */
const CONTROL = "control-55d0";

let supernode, site, browser, pages;
/** What passed sockets, as latin1. */
const frames = [];

before(async () => {
  [supernode, site, browser] = [await startSupernode(), await serve(), await launch()];
  const context = await browser.newContext();
  pages = [await context.newPage(), await context.newPage(), await context.newPage(), await context.newPage()];
  for (const [at, page] of pages.entries()) {
    page.on("websocket", (socket) => {
      for (const event of ["framesent", "framereceived"]) {
        socket.on(event, ({ payload }) => frames.push(Buffer.from(payload).toString("latin1")));
      }
    });
    await page.addInitScript(() => {
      window.channels = [];
      const { send } = RTCDataChannel.prototype;
      RTCDataChannel.prototype.send = function (data) {
        window.channels.push(new TextDecoder("latin1").decode(data));
        return send.call(this, data);
      };
    });
    await page.goto(site.address);
    // The last one acts for nobody. The engine is on the page, where its sockets and channels are seen.
    await page.evaluate(async ([supernode, user]) => {
      const { connect } = await import("/index.js");
      const options = { network: "pontoon", supernodes: [supernode], tabs: "separate", worker: false, timeout: 30_000 };
      window.db = await connect(user ? { ...options, user } : options);
    }, [supernode.address, at < 3]);
  }
});

after(async () => {
  await browser?.close();
  site?.close();
  await supernode?.stop();
});

/** Rows of a statement, or the code that it fails with. */
const run = (page, text) =>
  page.evaluate((text) => db.query(text).then(({ rows }) => rows, ({ code, sqlstate }) => `${code} ${sqlstate}`), text);

/** In how many values of a page's IndexedDB a text is. */
const inDatabases = (page, text) =>
  page.evaluate(async (text) => {
    const settled = (request) => new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    const within = (value) => {
      if (typeof value === "string") return value.includes(text);
      if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return new TextDecoder("latin1").decode(value).includes(text);
      return typeof value === "object" && value !== null && Object.values(value).some(within);
    };
    let found = 0;
    for (const { name } of await indexedDB.databases()) {
      const database = await settled(indexedDB.open(name));
      for (const store of database.objectStoreNames) {
        const values = await settled(database.transaction(store).objectStore(store).getAll());
        found += values.filter(within).length;
      }
      database.close();
    }
    return found;
  }, text);

/** In how many files of the supernode's store a text is. */
const inStore = (text) =>
  readdirSync(supernode.data, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .filter((entry) => readFileSync(path.join(entry.parentPath, entry.name)).includes(text)).length;

test("members read what nobody else finds anywhere", { timeout: 180_000 }, async () => {
  const [owner, member, other, nobody] = pages;
  const user = (page) => page.evaluate(() => db.user);
  await run(owner, "CREATE TABLE secrets (id INTEGER PRIMARY KEY, author TEXT, body TEXT) WITH (encryption = 'team')");
  await run(owner, "CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT) WITH (encryption = 'team')");
  await run(owner, "CREATE INDEX ON secrets (author)");
  await run(owner, `GRANT SELECT, INSERT ON secrets TO "${await user(member)}"`);
  for (let id = 0; id < 20; id += 1) {
    await run(id % 2 ? member : owner, `INSERT INTO secrets VALUES (${id}, '${CANARY} ${id % 4}', 'body ${id} of ${CANARY}')`);
  }
  await run(owner, `INSERT INTO names VALUES (1, '${CANARY} 3')`);
  await run(nobody, "CREATE TABLE plain (id INTEGER PRIMARY KEY, body TEXT)");
  for (let id = 0; id < 20; id += 1) await run(nobody, `INSERT INTO plain VALUES (${id}, '${CONTROL}')`);

  const join = "SELECT count(*) AS n, s.author FROM secrets s JOIN names n ON n.name = s.author GROUP BY s.author";
  for (const page of [owner, member]) {
    const found = await run(page, `SELECT body FROM secrets WHERE author = '${CANARY} 1' ORDER BY id`);
    assert.deepEqual(found, [1, 5, 9, 13, 17].map((id) => ({ body: `body ${id} of ${CANARY}` })));
    assert.deepEqual(await run(page, join), [{ n: 5, author: `${CANARY} 3` }]);
    assert.equal(await run(page, "SELECT id FROM secrets WHERE body < 'c'"), "feature_not_supported 0A000");
  }
  for (const page of [other, nobody]) {
    assert.equal(await run(page, "SELECT body FROM secrets"), "insufficient_privilege 42501");
    assert.deepEqual(await run(page, "SELECT count(*) AS n FROM secrets"), [{ n: 20 }]);
    assert.equal((await run(page, "SELECT body FROM plain")).length, 20);
  }

  await run(owner, `REVOKE SELECT ON secrets FROM "${await user(member)}"`);
  await run(owner, `INSERT INTO secrets VALUES (99, '${CANARY} 9', 'new ${CANARY}')`);
  assert.equal(await run(member, "SELECT body FROM secrets WHERE id = 99"), "insufficient_privilege 42501");
  assert.deepEqual(await run(owner, "SELECT body FROM secrets WHERE id = 99"), [{ body: `new ${CANARY}` }]);

  await until("the control in the supernode's store", 20_000, () => inStore(CONTROL) > 0);
  const channels = (await Promise.all(pages.map((page) => page.evaluate(() => window.channels)))).flat();
  const passed = (text) => [...frames, ...channels].filter((frame) => frame.includes(text)).length;
  const kept = async (text) => (await Promise.all(pages.map((page) => inDatabases(page, text)))).reduce((sum, n) => sum + n, 0);
  assert.ok(passed(CONTROL) > 0 && (await kept(CONTROL)) > 0, "it would be found");
  assert.deepEqual([passed(CANARY), await kept(CANARY), inStore(CANARY)], [0, 0, 0]);
});
