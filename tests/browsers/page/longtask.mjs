// Whether a page's thread stays free while its peer scans: the longest task that the browser reports (Chromium), and the
// longest time between two beats of a timer.
import { connect } from "/pontoon/index.js";
import { inserts, TABLE } from "/page/rows.mjs";

/** Runs `action`; the longest task and the longest silence of a timer meanwhile. */
async function watched(action) {
  const tasks = [];
  const observer = PerformanceObserver.supportedEntryTypes.includes("longtask")
    ? new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({ duration }) => duration)))
    : undefined;
  observer?.observe({ type: "longtask" });
  let [last, gap] = [performance.now(), 0];
  const beat = () => {
    const now = performance.now();
    [gap, last] = [Math.max(gap, now - last), now];
  };
  const timer = setInterval(beat, 1);
  const begun = performance.now();
  await action();
  const ms = performance.now() - begun;
  // The last task is reported after it has ended.
  await new Promise((resolve) => setTimeout(resolve, 200));
  clearInterval(timer);
  observer?.disconnect();
  return { ms, gap, task: observer && Math.max(0, ...tasks) };
}

/** Fills a table and runs each query `times` times; what was watched, of the first run and of all others. */
export async function run({ rows, queries, times }) {
  const db = await connect({ network: "longtask", supernodes: [], alone: true, storage: "memory", tabs: "separate" });
  await db.query(TABLE);
  const measured = [];
  measured.push({
    op: "insert",
    ...(await watched(async () => {
      for (const [text, params] of inserts(rows)) await db.query(text, params);
    })),
  });
  for (const { op, text, count } of queries) {
    for (let time = 0; time < times; time += 1) {
      const found = await watched(async () => {
        const { rows, coverage } = await db.query(text);
        if (coverage !== 1 || rows.length !== count) throw new Error(`${op}: ${rows.length} rows, coverage ${coverage}`);
      });
      measured.push({ op, run: time === 0 ? "first" : "again", ...found });
    }
  }
  await db.close();
  return measured;
}
