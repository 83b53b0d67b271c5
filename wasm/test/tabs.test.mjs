// Tabs of one origin in a real Chromium, which share a peer: one at a time has it, and another takes over when it goes.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startSupernode } from "../scripts/supernode.mjs";
import { launch, launchTabs, serve, until } from "./browser.mjs";

let supernode, site, windows, browser;

before(async () => {
  [supernode, site] = [await startSupernode(), await serve()];
  // One in which all pages are visible, and one in which only the front one is.
  [windows, browser] = [await launch(), await launchTabs()];
});

after(async () => {
  await Promise.all([windows?.close(), browser?.close()]);
  site?.close();
  await supernode?.stop();
});

/** Opens a tab that uses the shared peer of its context; `db` is a global of the page then. */
async function open(context, options = {}) {
  const tab = await context.newPage();
  const problems = [];
  tab.on("pageerror", (error) => problems.push(error.message));
  await tab.goto(site.address);
  await tab.evaluate(async ([supernode, options]) => {
    const { connect } = await import("/index.js");
    window.db = await connect({ network: "pontoon", supernodes: [supernode], timeout: 30_000, ...options });
  }, [supernode.address, options]);
  return Object.assign(tab, { problems });
}

/** Workers of a tab: who has the engine has one. */
const leads = (tab) => tab.workers().length > 0;

/** Calls in a row, each begun when the one before has ended: how long each took, and how those that failed did. */
const keepCalling = (tab) => tab.evaluate(() => {
  window.calls = { ms: [], codes: [], stop: false };
  window.calling = (async () => {
    for (let index = 0; !window.calls.stop; index += 1) {
      const begun = performance.now();
      const call = index % 2 ? db.put("calls", `k${index}`, index) : db.get("calls", "k1");
      await call.catch((error) => window.calls.codes.push(error.code));
      window.calls.ms.push(performance.now() - begun);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  })();
});
const stopCalling = (tab) => tab.evaluate(async () => {
  window.calls.stop = true;
  await window.calling;
  const { ms, codes } = window.calls;
  const sorted = [...ms].sort((a, b) => a - b);
  return { count: ms.length, codes, longest: sorted.at(-1), p95: sorted[Math.floor(sorted.length * 0.95)] };
});

test("ten tabs are one peer, and closing the one that has it hands it over", { timeout: 120_000 }, async () => {
  const context = await windows.newContext();
  const tabs = [];
  for (let count = 0; count < 10; count += 1) tabs.push(await open(context));
  const ids = await Promise.all(tabs.map((tab) => tab.evaluate(() => db.id)));
  assert.equal(new Set(ids).size, 1);
  assert.deepEqual(tabs.map(leads), [true, ...Array(9).fill(false)]);
  const snapshot = await tabs[9].evaluate(() => db.inspect());
  assert.deepEqual(snapshot.peers.filter(({ role }) => role === "peer"), [], "nobody else is in the network");
  assert.equal(snapshot.driver.storage, "indexeddb");

  const watcher = tabs.pop();
  await watcher.evaluate(async () => {
    await db.sql`CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT)`;
    await db.sql`INSERT INTO t VALUES (1, 'one')`;
    window.live = db.live("SELECT s FROM t ORDER BY id");
    window.changes = [];
    live.onChange((change) => changes.push([change.added.map(({ s }) => s), change.removed.map(({ s }) => s)]));
    await live.ready;
    await db.setGlobal("motto", "afloat");
  });
  for (let round = 0; round < 4; round += 1) {
    const [closed] = tabs.splice(tabs.findIndex(leads), 1);
    await keepCalling(tabs[5 - round]);
    await new Promise((resolve) => setTimeout(resolve, 300));
    if (round % 2) await closed.evaluate(() => db.close());
    await closed.close({ runBeforeUnload: false });
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    const { codes, longest, count } = await stopCalling(tabs[5 - round]);
    assert.ok(codes.every((code) => code === "interrupted") && codes.length <= 1, codes.join());
    assert.ok(longest < 2_000, `handed over in ${Math.round(longest)} ms`);
    assert.ok(count > 5, `${count} calls`);
    assert.equal(tabs.filter(leads).length, 1);
    await tabs[5 - round].evaluate((round) => db.sql`INSERT INTO t VALUES (${10 + round}, ${`round ${round}`})`, round);
  }
  const told = ["round 0", "round 1", "round 2", "round 3"];
  await until("the live query goes on", 10_000, () => watcher.evaluate(() => live.rows.length === 5));
  const { changes, rows, motto, id } = await watcher.evaluate(() => ({
    changes, rows: live.rows.map(({ s }) => s), motto: db.getGlobal("motto"), id: db.id,
  }));
  assert.deepEqual(rows, ["one", ...told]);
  assert.deepEqual(changes.filter(([added, removed]) => added.length + removed.length > 0), [[["one"], []], ...told.map((text) => [[text], []])],
    "each change is told once");
  assert.equal(motto, "afloat");
  assert.equal(id, ids[0], "the peer is the same");
  assert.deepEqual(watcher.problems, []);
  for (const tab of tabs) assert.deepEqual(tab.problems, []);
  await context.close();
});

test("a hidden leader gives the peer to a visible tab, a frozen one loses it to one", { timeout: 120_000 }, async () => {
  const context = await browser.createBrowserContext();
  const first = await open(context);
  // What others held that are gone is given up first.
  await first.evaluate(() => Promise.all(Array.from({ length: 100 }, (_, index) => db.put("calls", `k${index}`, index))));
  await keepCalling(first);
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  const quiet = await stopCalling(first);

  // It is hidden behind the second one, which has no peer.
  const second = await open(context);
  await second.bringToFront();
  assert.equal(await first.evaluate(() => document.visibilityState), "hidden");
  await keepCalling(second);
  await until("the visible tab has the peer", 10_000, () => leads(second) && !leads(first));
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  const hidden = await stopCalling(second);
  assert.deepEqual(hidden.codes.filter((code) => code !== "interrupted"), []);
  assert.ok(hidden.longest < 2_000, `given in ${Math.round(hidden.longest)} ms`);

  // And the other way round, but that tab is frozen at once, with all it has begun.
  await first.bringToFront();
  const session = await second.createCDPSession();
  await session.send("Page.setWebLifecycleState", { state: "frozen" });
  await keepCalling(first);
  await until("the visible tab has the peer", 10_000, () => leads(first));
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  const frozen = await stopCalling(first);
  assert.deepEqual(frozen.codes.filter((code) => code !== "interrupted"), []);
  assert.ok(frozen.longest < 4_000, `taken in ${Math.round(frozen.longest)} ms`);
  await session.send("Page.setWebLifecycleState", { state: "active" });
  await until("who wakes up gives in", 10_000, () => !leads(second));
  assert.equal(await second.evaluate(async () => (await db.get("calls", "k1"))?.value), 1);
  for (const [what, { p95 }] of Object.entries({ quiet, hidden, frozen })) console.log(`${what}: p95 ${p95.toFixed(1)} ms`);
  assert.deepEqual([...first.problems, ...second.problems], []);
  await context.close();
});

test("a store that a tab from before has taken is taken back", { timeout: 60_000 }, async () => {
  const context = await windows.newContext();
  const tab = await open(context);
  const id = await tab.evaluate(() => db.id);
  await tab.evaluate(() => db.put("taken", "a", 1));
  // What a tab does that was frozen while it opened the store, and wakes.
  await tab.evaluate(async () => {
    const database = await new Promise((resolve) => {
      indexedDB.open("pontoon:pontoon:shared").onsuccess = ({ target }) => resolve(target.result);
    });
    const self = database.transaction("self", "readwrite").objectStore("self");
    const opened = await new Promise((resolve) => (self.get("opened").onsuccess = ({ target }) => resolve(target.result)));
    self.put(opened + 1, "opened");
    self.put(true, `fence ${opened}`);
    await new Promise((resolve) => (self.transaction.oncomplete = resolve));
    database.close();
  });
  const found = await tab.evaluate(async () => {
    const codes = [];
    for (let index = 0; index < 40; index += 1) {
      const code = await db.put("taken", "b", index, { timeout: 1_000 }).then(() => "stored", (error) => error.code);
      if (codes.at(-1) !== code) codes.push(code);
      if (code === "stored" && codes.length > 1) break;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return { codes, a: (await db.get("taken", "a"))?.value, id: db.id };
  });
  assert.equal(found.codes.at(-1), "stored", String(found.codes));
  assert.ok(found.codes.length > 1, "before, its writes are refused");
  assert.deepEqual([found.a, found.id], [1, id]);
  assert.deepEqual(tab.problems, []);
  await context.close();
});

test("two users in one page are one peer, and the last one that goes says goodbye", { timeout: 60_000 }, async () => {
  const context = await browser.createBrowserContext();
  const tab = await open(context);
  const other = await tab.evaluate(async (supernode) => {
    const { connect } = await import("/index.js");
    const again = await connect({ network: "pontoon", supernodes: [supernode] });
    const same = again.id === db.id;
    await again.close();
    return { same, codes: [await again.get("a", "b").catch((error) => error.code), await db.get("a", "b")] };
  }, supernode.address);
  assert.deepEqual(other, { same: true, codes: ["closed", null] });
  assert.equal(leads(tab), true);
  const id = await tab.evaluate(() => db.id);
  await tab.evaluate(() => db.close());
  await until("no worker is left", 5_000, () => !leads(tab));
  const again = await open(context);
  assert.equal(await again.evaluate(() => db.id), id);
  await context.close();
});
