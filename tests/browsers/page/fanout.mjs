// One of many pages: writes records, or says when it has them all. Times are the machine's, which all pages share.

const IN_FLIGHT = 16;

const now = () => performance.timeOrigin + performance.now();

const ENGINES = {
  /** A table and a live query at every reader; one INSERT of all rows, or an INSERT for each, `IN_FLIGHT` at once. */
  async pontoon({ supernode, network }) {
    const { connect } = await import("/pontoon/index.js");
    const db = await connect({ network, supernodes: [supernode], tabs: "separate", storage: "memory", timeout: 60_000 });
    globalThis.db = db;
    await db.sql`CREATE TABLE IF NOT EXISTS feed (id TEXT PRIMARY KEY, body TEXT)`;
    return {
      ways: ["batch", "each"],
      async write(records, way) {
        const groups = way === "batch" ? [records] : records.map((record) => [record]);
        const lane = async () => {
          for (let group; (group = groups.pop()); ) {
            const marks = group.map((_, at) => `($${2 * at + 1}, $${2 * at + 2})`);
            await db.query(`INSERT INTO feed VALUES ${marks}`, group.flat());
          }
        };
        await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
      },
      async onCount(listener) {
        const live = db.live("SELECT id, body FROM feed");
        live.onChange(({ rows }) => listener(rows.length));
        await live.ready;
      },
    };
  },
  yjs: async (job) => (await import("/bundle/page.mjs")).yjs(job),
  gun: async (job) => (await import("/bundle/page.mjs")).gun(job),
};

let [engine, count, waiting] = [undefined, 0, undefined];

/** Connects; a reader counts from now on. */
export async function open({ engine: name, reads, ...job }) {
  engine = await ENGINES[name](job);
  if (reads) {
    await engine.onCount((found) => {
      count = found;
      if (count >= waiting?.wanted) waiting.resolve();
    });
  }
  return engine.ways;
}

/** Waits until there are `wanted` records in all, or no longer; when that was, and how many there are. */
export async function have({ wanted, patience }) {
  await new Promise((resolve) => {
    if (count >= wanted) return resolve();
    waiting = { wanted, resolve };
    setTimeout(resolve, patience);
  });
  return { at: now(), count };
}

/** Writes; gives when it began, and when the engine said that it was done, or why it was not. */
export async function write({ records, way }) {
  const begun = now();
  const failed = await engine.write(records, way).then(() => undefined, (error) => error.message);
  return { begun, done: now(), failed };
}
