// Scans over 200,000 rows of a page's own: how long its thread is held up. The first run of a query decodes the rows into
// columns, which later ones find kept. Firefox reports no long tasks; what both have is the longest silence of a timer.
import { launch, serve } from "./harness.mjs";
import { median, report } from "./report.mjs";

const ROWS = 200_000;
const QUERIES = [
  { op: "count", text: "SELECT count(*) AS n FROM sales WHERE amount > 500 AND day < 100", count: 1 },
  { op: "group", text: "SELECT item, count(*) AS n, sum(amount) AS total FROM sales GROUP BY item", count: 1_000 },
  { op: "rows", text: "SELECT * FROM sales LIMIT 10000", count: 10_000 },
];

export async function run({ rounds = 5, browser }) {
  const site = await serve();
  try {
    for (const kind of browser ? [browser] : ["chromium", "firefox"]) await measure(site, kind, rounds);
  } finally {
    site.close();
  }
}

async function measure(site, kind, rounds) {
  const browser = await launch(kind);
  try {
    const profile = await browser.profile();
    const page = await profile.page(site.run(""));
    const job = { rows: ROWS, queries: QUERIES, times: rounds + 1 };
    const measured = await page.evaluate(async (job) => (await import("/page/longtask.mjs")).run(job), job);
    const kinds = new Set(measured.map(({ op, run }) => JSON.stringify({ op, run })));
    for (const { op, run } of [...kinds].map((kind) => JSON.parse(kind))) {
      const runs = measured.filter((one) => one.op === op && one.run === run);
      const line = (figure, value) => report("longtask", figure, value, "ms", { op, run, rows: ROWS, browser: kind });
      if (runs[0].task !== undefined) line("task_ms_max", Math.max(...runs.map(({ task }) => task)));
      line("gap_ms_max", Math.max(...runs.map(({ gap }) => gap)));
      line("took_ms", median(runs.map(({ ms }) => ms)));
    }
  } finally {
    await browser.close();
  }
}
