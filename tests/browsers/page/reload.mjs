// A page with rows on its disk, from the first statement of its script to the first answer over them.
const begun = performance.now();
const { engine, rows } = JSON.parse(decodeURIComponent(location.hash.slice(1)));

const QUERY = "SELECT count(*) AS n, sum(amount) AS total FROM sales WHERE day < 100";

const ENGINES = {
  pontoon: {
    async open() {
      const { connect } = await import("/pontoon/index.js");
      return connect({ network: "reload", supernodes: [], alone: true, tabs: "separate" });
    },
    async fill(db) {
      const { TABLE, inserts } = await import("/page/rows.mjs");
      await db.query(TABLE);
      for (const [text, params] of inserts(rows)) await db.query(text, params);
    },
    async ask(db) {
      const { rows, coverage } = await db.query(QUERY);
      if (coverage !== 1) throw new Error(`coverage ${coverage}`);
      return [rows[0].n, rows[0].total];
    },
    close: (db) => db.close(),
  },

  // Its documentation's way to keep a database: all of it as bytes, here in IndexedDB.
  sqljs: {
    async open() {
      const [SQL, saved] = await Promise.all([sqljs(), kept().then((store) => store.get("database"))]);
      return new SQL.Database(saved);
    },
    async fill(db) {
      const { TABLE, WIDTH, row } = await import("/page/rows.mjs");
      db.run(TABLE);
      db.run("BEGIN");
      const statement = db.prepare(`INSERT INTO sales VALUES (${Array(WIDTH).fill("?")})`);
      for (let id = 0; id < rows; id += 1) statement.run(row(id));
      statement.free();
      db.run("COMMIT");
      await (await kept()).put("database", db.export());
    },
    ask: async (db) => db.exec(QUERY)[0].values[0],
    close: async (db) => db.close(),
  },
};

async function sqljs() {
  const script = Object.assign(document.createElement("script"), { src: "/sqljs/sql-wasm.js" });
  await new Promise((resolve, reject) => {
    Object.assign(script, { onload: resolve, onerror: () => reject(new Error("sql.js does not load")) });
    document.head.append(script);
  });
  return globalThis.initSqlJs({ locateFile: (file) => `/sqljs/${file}` });
}

/** `get` and `put` of the one object store of a database. */
async function kept() {
  const done = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const request = indexedDB.open("sqljs", 1);
  request.onupgradeneeded = () => request.result.createObjectStore("kept");
  const database = await done(request);
  const store = (mode) => database.transaction("kept", mode).objectStore("kept");
  return { get: (key) => done(store("readonly").get(key)), put: (key, value) => done(store("readwrite").put(value, key)) };
}

const { open, fill, ask, close } = ENGINES[engine];

/** Opens, fills where there are rows to fill with, and asks. */
async function run() {
  const db = await open();
  const opened = performance.now() - begun;
  if (rows !== undefined) await fill(db);
  const answer = await ask(db);
  const answered = performance.now() - begun;
  globalThis.leave = () => close(db);
  return { opened, answered, answer };
}

globalThis.done = run().catch((error) => ({ error: `${error.code ?? error.name}: ${error.message}` }));
