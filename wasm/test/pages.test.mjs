// The built package in two tabs of a real Chromium, each a peer of its own, with a real supernode: what a page's author
// meets. The engine of one is in a worker, that of the other on its page, where the tests can keep it busy.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startSupernode } from "../scripts/supernode.mjs";
import { launch, serve, until } from "./browser.mjs";

let supernode, site, browser, tabs;

before(async () => {
  [supernode, site, browser] = [await startSupernode(), await serve(), await launch()];
  const context = await browser.newContext();
  tabs = [await context.newPage(), await context.newPage()];
  await join(tabs[0]);
  await join(tabs[1], { worker: false });
});

after(async () => {
  await browser?.close();
  site?.close();
  await supernode?.stop();
});

/** Loads the page and connects; `db` is a global of the page then. */
async function join(tab, options = {}) {
  await tab.goto(site.address);
  await tab.evaluate(async ([supernode, options]) => {
    const { connect } = await import("/index.js");
    window.db = await connect({ network: "pontoon", supernodes: [supernode], tabs: "separate", timeout: 30_000, ...options });
  }, [supernode.address, options]);
}

const identity = (tab) => tab.evaluate(() => db.id);

test("each tab is a peer, and links turn direct", { timeout: 60_000 }, async () => {
  const [a, b] = tabs;
  assert.notEqual(await identity(a), await identity(b));
  for (const tab of tabs) {
    await until("a direct WebRTC link", 45_000, () =>
      tab.evaluate(async () => (await db.links()).some((link) => link.transport === "webrtc" && link.kind === "direct")));
  }
});

test("values of every type come back from another tab", { timeout: 60_000 }, async () => {
  const [a, b] = tabs;
  await a.evaluate(async () => {
    await db.put("things", "k", { hello: ["world", 1] });
    await db.sql`CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT, at TIMESTAMP, x REAL, ok BOOLEAN, b BLOB)`;
    await db.sql`INSERT INTO t VALUES (${2n ** 60n}, ${"ü"}, ${new Date(5)}, ${0.5}, ${true}, ${new Uint8Array([1, 2])})`;
  });
  const found = await b.evaluate(async () => {
    const entry = await db.get("things", "k");
    const { rows, coverage, columns } = await db.sql`SELECT * FROM t`;
    const [{ id, s, at, x, ok, b }] = rows;
    return {
      entry: entry.value, absent: await db.get("things", "other"), coverage,
      types: columns.map((column) => column.type), values: [String(id), typeof id, s, at.getTime(), x, ok, [...b]],
    };
  });
  assert.deepEqual(found, {
    entry: { hello: ["world", 1] }, absent: null, coverage: 1,
    types: ["INTEGER", "TEXT", "TIMESTAMP", "REAL", "BOOLEAN", "BLOB"],
    values: [String(2n ** 60n), "bigint", "ü", 5, 0.5, true, [1, 2]],
  });
});

test("decimals, dates, intervals, JSON and UUIDs have their values in JavaScript", { timeout: 60_000 }, async () => {
  const [a, b] = tabs;
  const id = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
  await a.evaluate(async (id) => {
    await db.sql`CREATE TABLE exact (id UUID PRIMARY KEY, n NUMERIC(10, 2), day DATE, took INTERVAL, j JSON)`;
    await db.sql`INSERT INTO exact VALUES (${id}, ${"12.5"}, ${"2024-02-29"}, ${"36 hours"}, ${{ tags: ["a", 1] }})`;
  }, id);
  const found = await b.evaluate(async (id) => {
    const { rows, columns } = await db.sql`SELECT *, n * 2 AS twice, j -> 'tags' ->> 0 AS tag FROM exact WHERE id = ${id}`;
    const [{ day, ...rest }] = rows;
    return { ...rest, day: day.toISOString(), types: columns.map((column) => column.type) };
  }, id);
  assert.deepEqual(found, {
    id, n: "12.50", took: "36:00:00", j: { tags: ["a", 1] }, twice: "25.00", tag: "a", day: "2024-02-29T00:00:00.000Z",
    types: ["UUID", "NUMERIC", "DATE", "INTERVAL", "JSON", "NUMERIC", "TEXT"],
  });
});

test("texts of every kind come back, and rows of no column", { timeout: 60_000 }, async () => {
  const [a, b] = tabs;
  const texts = ["", "plain", "ü", "a\u{1f600}b", "\u0000", "Zürich"];
  const found = await a.evaluate(async (texts) => {
    await db.sql`CREATE TABLE texts (id INTEGER PRIMARY KEY, s TEXT, t TEXT)`;
    for (const [id, s] of texts.entries()) await db.sql`INSERT INTO texts VALUES (${id}, ${s}, ${s + s})`;
    const { rows } = await db.sql`SELECT id, s AS "größe", t, NULL AS nothing FROM texts ORDER BY id`;
    const torn = await db.query("SELECT $1 AS a, $2 AS b", ["\ud83d", "\ude00"]);
    return { rows, torn: torn.rows[0], none: (await db.sql`DELETE FROM texts WHERE id > ${99}`).rows };
  }, texts);
  assert.deepEqual(found, {
    rows: texts.map((s, id) => ({ id, größe: s, t: s + s, nothing: null })),
    torn: { a: "\ufffd", b: "\ufffd" },
    none: [],
  });
  const other = await b.evaluate(async () => (await db.sql`SELECT s FROM texts ORDER BY id`).rows.map(({ s }) => s));
  assert.deepEqual(other, texts);
});

test("what a page owns and what others own add up, again and again", { timeout: 60_000 }, async () => {
  const [a, b] = tabs;
  const sums = await a.evaluate(async () => {
    await db.sql`CREATE TABLE parts (id INTEGER PRIMARY KEY, kind INTEGER, amount REAL)`;
    const insert = async (from, count) => {
      const ids = Array.from({ length: count }, (_, index) => from + index);
      const marks = ids.map((_, row) => `($${3 * row + 1}, $${3 * row + 2}, $${3 * row + 3})`);
      await db.query(`INSERT INTO parts VALUES ${marks}`, ids.flatMap((id) => [id, id % 3, id / 4]));
    };
    const sums = [];
    for (let round = 0; round < 4; round += 1) {
      await insert(round * 100, 100);
      for (let time = 0; time < 4; time += 1) {
        const grouped = await db.sql`SELECT kind, count(*) AS n, sum(amount) AS sum FROM parts GROUP BY kind ORDER BY kind`;
        const all = await db.sql`SELECT id, amount FROM parts WHERE kind < 2`;
        const few = await db.sql`SELECT id FROM parts LIMIT 5`;
        sums.push([grouped.coverage, all.coverage, ...grouped.rows.map(({ n, sum }) => [n, sum]), all.rows.length,
          new Set(all.rows.map(({ id }) => id)).size, few.rows.length]);
      }
    }
    return sums;
  });
  const expected = (count) => {
    const of = (kind) => Array.from({ length: count }, (_, id) => id).filter((id) => id % 3 === kind);
    const groups = [0, 1, 2].map((kind) => [of(kind).length, of(kind).reduce((sum, id) => sum + id / 4, 0)]);
    const rows = of(0).length + of(1).length;
    return [1, 1, ...groups, rows, rows, 5];
  };
  assert.deepEqual(sums, Array.from({ length: 16 }, (_, at) => expected(100 * (Math.floor(at / 4) + 1))));
  const joined = await b.evaluate(async () => {
    const { rows, coverage } = await db.sql`SELECT count(*) AS n FROM parts a JOIN parts b ON a.kind = b.id`;
    return [rows[0].n, coverage];
  });
  assert.deepEqual(joined, [400, 1]);
});

test("a live join with groups follows writes of another tab", { timeout: 120_000 }, async () => {
  const [a, b] = tabs;
  await a.evaluate(async () => {
    await db.sql`CREATE TABLE airports (code TEXT PRIMARY KEY, city TEXT)`;
    await db.sql`CREATE TABLE flights (id INTEGER PRIMARY KEY, origin TEXT, delay INTEGER)`;
    await db.sql`INSERT INTO airports VALUES ('OSL', 'Oslo'), ('BGO', 'Bergen'), ('TRD', 'Trondheim')`;
    const codes = ["OSL", "BGO", "TRD"];
    for (let id = 0; id < 300; id += 1) await db.sql`INSERT INTO flights VALUES (${id}, ${codes[id % 3]}, ${id % 40})`;
  });
  await b.evaluate(async () => {
    window.view = db.live(`SELECT a.city, count(*) AS n, sum(f.delay) AS delay FROM flights f JOIN airports a
                           ON f.origin = a.code WHERE f.delay >= $1 GROUP BY a.city ORDER BY delay DESC, a.city`, [5]);
    window.seen = new Map();
    view.onChange(({ rows }) => {
      for (const { city, n, delay } of rows) if (city === "Oslo" && !seen.has(delay)) seen.set(delay, { at: Date.now(), n });
    });
    await view.ready;
  });
  assert.deepEqual(await b.evaluate(() => [view.rows.length, view.coverage, view.columns.map(({ name }) => name)]), [
    3, 1, ["city", "n", "delay"],
  ]);
  // Each write makes a sum that was not there before; both pages have one clock.
  let sum = await b.evaluate(() => view.rows.find(({ city }) => city === "Oslo").delay);
  const late = [];
  for (let write = 0; write < 100; write += 1) {
    const [id, delay] = [1_000 + write, 50 + write];
    const begun = await a.evaluate(async ([id, delay]) => {
      const begun = Date.now();
      await db.sql`INSERT INTO flights VALUES (${id}, 'OSL', ${delay})`;
      return begun;
    }, [id, delay]);
    sum += delay;
    await until(`the change of write ${write}`, 20_000, () => b.evaluate((sum) => seen.has(sum), sum), 5);
    late.push((await b.evaluate((sum) => seen.get(sum).at, sum)) - begun);
  }
  late.sort((x, y) => x - y);
  console.log(`a live join with groups: ${late[50]} ms from a write's begin to its change elsewhere, median of 100; ${late[95]} ms p95`);
  const fresh = await b.evaluate(async () => {
    const text = `SELECT a.city, count(*) AS n, sum(f.delay) AS delay FROM flights f JOIN airports a ON f.origin = a.code
                  WHERE f.delay >= 5 GROUP BY a.city ORDER BY delay DESC, a.city`;
    return { fresh: (await db.query(text)).rows, live: [...view.rows] };
  });
  assert.deepEqual(fresh.live, fresh.fresh);
  await b.evaluate(() => view.close());
});

test("changes of a live query are a stream, and leaving it ends the query", { timeout: 60_000 }, async () => {
  const [a, b] = tabs;
  await a.evaluate(() => db.sql`CREATE TABLE marks (id INTEGER PRIMARY KEY, big BIGINT, at DATE)`);
  const told = await a.evaluate(async () => {
    const told = [];
    for await (const { added, removed, rows, coverage } of db.live("SELECT id, big, at FROM marks ORDER BY id")) {
      told.push([added.map((row) => row.id), removed.map((row) => row.id), rows.length, coverage]);
      if (told.length === 1) await db.sql`INSERT INTO marks VALUES (1, ${2n ** 60n}, '2026-01-02'), (2, NULL, NULL)`;
      else if (rows.length === 2) await db.sql`DELETE FROM marks WHERE id = 1`;
      else if (removed.length > 0) break;
    }
    return told;
  });
  assert.deepEqual(told[0], [[], [], 0, 1]);
  assert.deepEqual(told.at(-1), [[], [1], 1, 1]);
  assert.deepEqual(told.slice(1).flatMap(([added]) => added).sort(), [1, 2]);
  // Rows at distant places at once, and of a list that is cut.
  const shown = await a.evaluate(async () => {
    const texts = ["SELECT id, big FROM marks ORDER BY big, id", "SELECT id FROM marks ORDER BY big DESC, id LIMIT 7 OFFSET 2"];
    const views = texts.map((text) => db.live(text));
    await Promise.all(views.map((view) => view.ready));
    const pairs = (count, of) => Array.from({ length: count }, (_, at) => `(${at + 3}, ${of(at)})`);
    await db.query(`INSERT INTO marks (id, big) VALUES ${pairs(50, (at) => (at * 7) % 50)}`);
    await db.query("UPDATE marks SET big = 50 - big WHERE id % 5 = 0");
    await db.query("DELETE FROM marks WHERE id % 7 = 0");
    const same = async (view, text) => JSON.stringify(view.rows) === JSON.stringify((await db.query(text)).rows);
    for (const end = performance.now() + 10_000; performance.now() < end; await new Promise((wake) => setTimeout(wake, 50))) {
      const found = await Promise.all(views.map((view, at) => same(view, texts[at])));
      if (!found.includes(false)) break;
    }
    return Promise.all(views.map(async (view, at) => [view.close(), view.rows.length, await same(view, texts[at])]));
  });
  assert.deepEqual(shown.map(([, count, same]) => [count, same]), [[44, true], [7, true]]);
  const failures = await b.evaluate(async () => {
    const code = async (text, params) => {
      const query = db.live(text, params);
      const [ready, looped] = [await query.ready.catch((error) => error.code), []];
      try { for await (const change of query) looped.push(change); } catch (error) { looped.push(error.code); }
      return [ready, ...looped, query.error?.code, query.error?.position];
    };
    const closed = db.live("SELECT 1");
    closed.close();
    return [await code("SELECT * FROM nothing_there"), await code("SELECT now()"), await code("SELECT 1; SELECT 2"),
      await code("SELEC"), await closed.ready.catch((error) => error.code)];
  });
  assert.deepEqual(failures, [
    ["undefined_table", "undefined_table", "undefined_table", 15],
    ["feature_not_supported", "feature_not_supported", "feature_not_supported", undefined],
    ["syntax_error", "syntax_error", "syntax_error", undefined],
    ["syntax_error", "syntax_error", "syntax_error", 1],
    "closed",
  ]);
});

test("a query can be cancelled, and tells how far it is", { timeout: 60_000 }, async () => {
  const [a, b] = tabs;
  await a.evaluate(async () => {
    await db.sql`CREATE TABLE slow (id INTEGER PRIMARY KEY, kind INTEGER)`;
    await db.query(`INSERT INTO slow VALUES ${Array.from({ length: 300 }, (_, id) => `(${id}, ${id % 7})`)}`);
  });
  for (const text of ["SELECT * FROM slow", "SELECT s.id FROM slow s JOIN slow t ON s.kind = t.id"]) {
    // The other tab answers nobody for a while.
    const busy = b.evaluate(() => { for (const end = Date.now() + 2_000; Date.now() < end;); });
    const found = await a.evaluate(async (text) => {
      const [controller, told, begun] = [new AbortController(), [], performance.now()];
      setTimeout(() => controller.abort(new Error("enough")), 400);
      const options = { signal: controller.signal, onProgress: (progress) => told.push(progress) };
      const error = await db.query(text, [], options).then(() => null, (error) => error);
      const ms = performance.now() - begun;
      const open = (await db.stats()).counters.tasks_open;
      return { name: error?.name, code: error?.code, sqlstate: error?.sqlstate, cause: error?.cause?.message, ms, open, told };
    }, text);
    const { ms, told, ...rest } = found;
    assert.deepEqual(rest, { name: "PontoonError", code: "query_canceled", sqlstate: "57014", cause: "enough", open: 0 });
    assert.ok(ms >= 390 && ms < 1_500, `it waits for nobody: ${ms} ms`);
    assert.ok(told.length > 0 && told.every(({ coverage, rows }) => coverage >= 0 && coverage < 1 && rows <= 600), JSON.stringify(told));
    await busy;
    await until("the other tab is told", 5_000, () => b.evaluate(async () => (await db.stats()).counters.tasks_open === 0));
  }
  const found = await a.evaluate(async () => {
    const code = (call) => call.then(() => "no failure", (error) => error.code);
    const [before, after, told] = [AbortSignal.abort(), new AbortController(), []];
    const thrown = new Promise((resolve) => window.addEventListener("error", (event) => (event.preventDefault(), resolve(event.message)), { once: true }));
    const onProgress = (progress) => { told.push(progress.coverage); if (told.length === 1) throw new Error("a listener's own"); };
    const { rows } = await db.query("SELECT count(*) AS n FROM slow", [], { signal: after.signal, onProgress });
    after.abort();
    return {
      before: await code(db.query("SELECT 1", [], { signal: before })), n: rows[0].n, thrown: await thrown, told: told.length > 0,
      other: await code(db.query("SELECT nothing FROM slow", [], { signal: new AbortController().signal })),
      bad: await code(db.query("SELECT 1", [], { signal: new AbortController().signal, timeout: -1 })),
    };
  });
  const { thrown, ...others } = found;
  assert.deepEqual(others, { before: "query_canceled", n: 300, told: true, other: "undefined_column", bad: "invalid_argument" });
  assert.match(thrown, /a listener's own/);
});

test("the first rows of a query are shown before its end", { timeout: 60_000 }, async () => {
  const [a, b] = tabs;
  // The other tab is busy, and so what the supernode has comes first, unless it is that tab which asks it.
  const busy = b.evaluate(() => { for (const end = Date.now() + 1_000; Date.now() < end;); });
  const found = await a.evaluate(async () => {
    const told = [];
    const { rows } = await db.query("SELECT id * 2 AS twice, kind FROM slow", [], { onProgress: (it) => told.push(it) });
    await db.query("SELECT kind, count(*) FROM slow GROUP BY kind", [], { onProgress: ({ first }) => told.push({ first, grouped: true }) });
    return { told, rows };
  });
  await busy;
  const keys = new Set(found.rows.map((row) => JSON.stringify(row)));
  const shown = found.told.filter((it) => !it.grouped).map(({ first }) => first);
  assert.equal(found.rows.length, 300);
  assert.ok(shown.length > 0 && shown.every((first) => first.length <= 100), JSON.stringify(found.told));
  assert.ok(shown.flat().every((row) => keys.has(JSON.stringify(row))), JSON.stringify(shown.at(-1)));
  assert.ok(found.told.filter((it) => it.grouped).every(({ first }) => first.length === 0));
});

test("a page serves others while its modules of SQL are still on their way", { timeout: 60_000 }, async () => {
  const context = await browser.newContext();
  const tab = await context.newPage();
  const asked = [];
  // Their requests are never answered.
  await tab.route(/\/(sql|parser)\.wasm$/, (route) => void asked.push(route.request().url()));
  await join(tab, { worker: false });
  const [a] = tabs;
  await a.evaluate(async () => {
    await db.sql`CREATE TABLE early (id INTEGER PRIMARY KEY, text TEXT)`;
    await db.query(`INSERT INTO early VALUES ${Array.from({ length: 300 }, (_, id) => `(${id}, 'row ${id}')`)}`);
  });
  // With it four are in the network, and what is nearest to it is its own after a while.
  await until("it answers for a region", 30_000, () => tab.evaluate(async () =>
    (await db.inspect()).fragments.some(({ owner, state }) => owner === db.id && state === "active")));
  const { rows, coverage } = await a.evaluate(async () => {
    const { rows, coverage } = await db.sql`SELECT count(*) AS n FROM early`;
    return { rows, coverage };
  });
  assert.deepEqual({ rows, coverage }, { rows: [{ n: 300 }], coverage: 1 });
  // It could not ask anything itself, and has not asked for what it would need for that.
  assert.deepEqual(asked, []);
  await context.close();
});

test("a page alone founds its network", { timeout: 60_000 }, async () => {
  const context = await browser.newContext();
  const tab = await context.newPage();
  await tab.goto(site.address);
  const found = await tab.evaluate(async () => {
    const { connect } = await import("/index.js");
    const options = { network: "own", supernodes: [], alone: true };
    let db = await connect(options);
    await db.sql`CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT)`;
    await db.sql`INSERT INTO t VALUES (${1}, ${"one"}), (${2}, ${"two"})`;
    const read = async () => {
      const { rows, coverage, cost } = await db.sql`SELECT s FROM t ORDER BY id`;
      return [rows.map(({ s }) => s), coverage, cost.peers];
    };
    const before = [await read(), await read(), await read()];
    await db.close();
    db = await connect(options);
    const code = await connect({ ...options, supernodes: ["ws://127.0.0.1:1"] }).catch((error) => error.code);
    return { before, after: await read(), joined: db.joined, code };
  });
  const read = [["one", "two"], 1, 1];
  assert.deepEqual(found, { before: [read, read, read], after: read, joined: false, code: "invalid_argument" });
  await context.close();
});

test("a tree is an ordered map of all tabs", { timeout: 60_000 }, async () => {
  const [a, b] = tabs;
  await a.evaluate(async () => {
    const scores = db.pht("scores");
    await scores.insertAll(Array.from({ length: 200 }, (_, index) => [[index % 10, `player ${index}`], { index }]));
    await scores.remove([3, "player 3"]);
  });
  const found = await b.evaluate(async () => {
    const scores = db.pht("scores");
    await scores.insert([9, "zed"], { index: -1 }, { ifAbsent: true });
    const twice = await scores.insert([9, "zed"], { index: 0 }, { ifAbsent: true }).catch((error) => error.code);
    const threes = await scores.range([3], [4]);
    const top = await scores.range(undefined, undefined, { reverse: true, limit: 2 });
    return {
      twice, coverage: threes.coverage, count: threes.entries.length, first: threes.entries[0],
      top: top.entries.map((entry) => entry.key), one: await scores.get([3, "player 13"]), none: await scores.get([3, "player 3"]),
    };
  });
  assert.deepEqual(found, {
    twice: "conflict", coverage: 1, count: 19, first: { key: [3, "player 103"], value: { index: 103 } },
    top: [[9, "zed"], [9, "player 99"]], one: { index: 13 }, none: null,
  });
});

test("a table belongs to the user who creates it, and others write what they are granted", { timeout: 120_000 }, async () => {
  const context = await browser.newContext();
  const [owner, other] = [await context.newPage(), await context.newPage()];
  await join(owner, { user: true });
  await join(other, { user: true });
  const user = (tab) => tab.evaluate(() => db.user);
  const [mine, theirs] = [await user(owner), await user(other)];
  for (const key of [mine, theirs]) assert.match(key, /^[0-9a-f]{64}$/);
  assert.notEqual(mine, theirs);
  assert.equal(await user(tabs[0]), null);

  /** The code that a statement fails with, or how many rows it wrote. */
  const run = (tab, text) =>
    tab.evaluate((text) => db.query(text).then(({ affected }) => affected, ({ code, sqlstate }) => `${code} ${sqlstate}`), text);
  await run(owner, "CREATE TABLE diary (id INTEGER PRIMARY KEY, author TEXT, line TEXT)");
  assert.equal(await run(owner, "INSERT INTO diary VALUES (1, current_user(), 'mine')"), 1);
  for (const text of ["INSERT INTO diary VALUES (2, current_user(), 'not mine')", "UPDATE diary SET line = ''", "DELETE FROM diary",
    "DROP TABLE diary", "ALTER TABLE diary DROP COLUMN line", `GRANT ALL ON diary TO "${theirs}"`]) {
    assert.equal(await run(other, text), "insufficient_privilege 42501", text);
  }
  assert.equal(await run(tabs[0], "DELETE FROM diary"), "unsigned 28000", "a page that acts for nobody");

  await run(owner, `GRANT INSERT ON diary TO "${theirs}"`);
  assert.equal(await run(other, "INSERT INTO diary VALUES (2, current_user(), 'allowed')"), 1);
  assert.equal(await run(other, "DELETE FROM diary"), "insufficient_privilege 42501");
  await run(owner, `REVOKE INSERT ON diary FROM "${theirs}"`);
  assert.equal(await run(other, "INSERT INTO diary VALUES (3, current_user(), 'late')"), "insufficient_privilege 42501");

  // A private table: by key and by scan.
  const read = (tab, text) => tab.evaluate((text) => db.query(text).then(({ rows }) => rows, ({ code }) => code), text);
  await run(owner, "CREATE TABLE letters (id INTEGER PRIMARY KEY, line TEXT) WITH (private = true)");
  assert.equal(await run(owner, "INSERT INTO letters VALUES (1, 'for two'), (2, 'only')"), 2);
  const questions = ["SELECT line FROM letters WHERE id = 1", "SELECT line FROM letters ORDER BY id LIMIT 1"];
  for (const text of questions) {
    assert.equal(await read(other, text), "insufficient_privilege", text);
    assert.equal(await read(tabs[0], text), "unsigned", text);
  }
  await run(owner, `GRANT SELECT ON letters TO "${theirs}"`);
  for (const text of questions) assert.deepEqual(await read(other, text), [{ line: "for two" }], text);
  await run(owner, `REVOKE SELECT ON letters FROM "${theirs}"`);
  for (const text of questions) assert.equal(await read(other, text), "insufficient_privilege", text);

  // Each writes its own rows.
  await run(owner, "CREATE TABLE board (id INTEGER PRIMARY KEY, author TEXT)");
  await run(owner, "GRANT INSERT, UPDATE, DELETE ON board TO PUBLIC");
  await run(owner, "CREATE POLICY own ON board USING (author = current_user)");
  assert.equal(await run(owner, "INSERT INTO board VALUES (1, current_user)"), 1);
  assert.equal(await run(other, "INSERT INTO board VALUES (2, current_user)"), 1);
  assert.equal(await run(other, "DELETE FROM board WHERE id = 1"), "insufficient_privilege 42501");
  assert.equal(await run(other, `INSERT INTO board VALUES (3, '${mine}')`), "insufficient_privilege 42501");
  assert.equal(await run(other, "DELETE FROM board WHERE id = 2"), 1);

  // The user is kept with the store.
  await join(owner, { user: true });
  assert.equal(await user(owner), mine);
  assert.equal(await run(owner, "UPDATE diary SET line = 'mine still' WHERE id = 1"), 1);
  const rows = await tabs[0].evaluate(async () => (await db.sql`SELECT id, author, line FROM diary ORDER BY id`).rows);
  assert.deepEqual(rows, [{ id: 1, author: mine, line: "mine still" }, { id: 2, author: theirs, line: "allowed" }]);
  await context.close();
});

test("failures have codes", { timeout: 60_000 }, async () => {
  const codes = await tabs[1].evaluate(async () => {
    const code = (call) => call.then(() => "no failure", (error) => (error.name === "PontoonError" ? error.code : error.name));
    return [
      await code(db.put("things", "k", 1, { ifAbsent: true })),
      await code(db.query("SELEC")),
      await code(db.query("SELECT * FROM nowhere")),
      await code(db.query("SELECT $1", [undefined])),
      await code(db.sendNode("0".repeat(40), "anybody?")),
    ];
  });
  assert.deepEqual(codes, ["conflict", "syntax_error", "undefined_table", "invalid_argument", "unreachable"]);
});

test("a reload keeps its identity; a closed database says so", { timeout: 60_000 }, async () => {
  const [, b] = tabs;
  const before = await identity(b);
  await join(b, { worker: false });
  assert.equal(await identity(b), before);
  const { code, ms } = await b.evaluate(async () => {
    const began = performance.now();
    await db.close();
    const ms = performance.now() - began;
    return { code: await db.get("things", "k").catch((error) => error.code), ms };
  });
  assert.equal(code, "closed");
  console.log(`closed in ${Math.round(ms)} ms`);
  assert.ok(ms < 2_000, `everything is handed over, not given up after 4 s: ${ms} ms`);
});

test("without Web Locks, as on plain http, a crashed tab's slot is claimed again", { timeout: 60_000 }, async () => {
  const context = await browser.newContext();
  await context.addInitScript(() => Object.defineProperty(navigator, "locks", { value: undefined }));
  const [first, second] = [await context.newPage(), await context.newPage()];
  await join(first);
  await join(second);
  const [lost, kept] = [await identity(first), await identity(second)];
  assert.notEqual(lost, kept);
  await join(second);
  assert.equal(await identity(second), kept, "a reload keeps its own");
  const gone = new Promise((resolve) => first.once("crash", resolve));
  const session = await context.newCDPSession(first);
  void session.send("Page.crash").catch(() => undefined);
  await gone;
  const third = await context.newPage();
  await join(third);
  assert.equal(await identity(third), lost);
  await context.close();
});
