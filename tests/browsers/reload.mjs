// A page that comes back to its rows: from the first statement of its script to the first answer of a query over them,
// beside sql.js, which reads its whole database from IndexedDB. Each load is a new page of the same profile.
import { launch, serve } from "./harness.mjs";
import { median, report } from "./report.mjs";
import { install } from "./rivals.mjs";

const ROWS = 50_000;

export async function run({ rounds = 5, browser = "chromium" }) {
  const site = await serve({ sqljs: install("sql-wasm", "sql.js", "dist") });
  const started = await launch(browser);
  try {
    const profile = await started.profile();
    const load = async (engine, rows) => {
      const page = await profile.page(site.run("reload", { engine, rows }));
      const found = await page.evaluate(() => done);
      if (found.error) throw new Error(`${engine}: ${found.error}`);
      await page.evaluate(() => leave());
      await page.close();
      return found;
    };
    const engines = ["pontoon", "sqljs"];
    const expected = [];
    for (const engine of engines) expected.push((await load(engine, ROWS)).answer);
    const [opened, answered] = [[], { pontoon: [], sqljs: [] }];
    for (let round = 0; round < rounds; round += 1) {
      for (const engine of engines) {
        const found = await load(engine);
        answered[engine].push(found.answered);
        if (engine === "pontoon") opened.push(found.opened);
        expected.push(found.answer);
      }
    }
    for (const [n, total] of expected) {
      const same = n === expected[0][0] && Math.abs(total / expected[0][1] - 1) < 1e-9;
      if (!same) throw new Error(`the engines answer differently: ${JSON.stringify(expected)}`);
    }
    const [ours, theirs] = engines.map((engine) => median(answered[engine]));
    const line = (figure, value, unit) => report("reload", figure, value, unit, { rows: ROWS, browser });
    line("opened_ms", median(opened), "ms");
    line("answered_ms", ours, "ms");
    line("sqljs_ms", theirs, "ms");
    line("ratio", theirs / ours, "");
  } finally {
    await started.close();
    site.close();
  }
}
