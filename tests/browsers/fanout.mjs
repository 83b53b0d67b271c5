// 500 records of 100 bytes from one page to 15 others, all over one server: Pontoon, Yjs with y-websocket, and GUN.
//
// All are real pages of one Chromium, open and in step before anything is written. Records are written at once
// (`way` is "batch": one INSERT, one transaction) and one by one ("each": all without waiting, of Pontoon's INSERTs 16 in
// flight); the time is from the begin of the first write until the last reader has everything. Pontoon's writer is told
// when a majority has the rows on disk (`acknowledged_ms`), the others tell nothing of the kind.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { rmSync } from "node:fs";
import path from "node:path";
import { rolldown } from "rolldown";
import { launch, serve, supernode } from "./harness.mjs";
import { median, report } from "./report.mjs";
import { install } from "./rivals.mjs";

const [READERS, RECORDS, BYTES] = [15, 500, 100];
const PATIENCE_MS = 60_000;

export async function run({ rounds = 3, browser = "chromium" }) {
  const modules = install("fanout");
  const bundle = path.join(modules, ".bundle");
  await build(path.join(modules, "..", "page.mjs"), bundle);
  const site = await serve({ rivals: modules, bundle });
  const started = await launch(browser);
  try {
    for (const engine of ["pontoon", "yjs", "gun"]) await measure(site, started, engine, rounds);
  } finally {
    await started.close();
    site.close();
  }
}

async function measure(site, browser, engine, rounds) {
  const server = engine === "pontoon" ? await supernode() : await rival(engine);
  const profile = await browser.profile();
  try {
    const pages = [];
    for (let at = 0; at <= READERS; at += 1) pages.push(await profile.page(site.run("")));
    const [writer, ...readers] = pages;
    const job = { engine, supernode: server.address, network: "pontoon", port: server.port };
    const call = (page, name, job) =>
      page.evaluate(async ({ name, job }) => (await import("/page/fanout.mjs"))[name](job), { name, job });
    const ways = await call(writer, "open", { ...job, reads: false });
    await Promise.all(readers.map((page) => call(page, "open", { ...job, reads: true })));
    const times = Object.fromEntries(ways.map((way) => [way, { all: [], acknowledged: [] }]));
    let written = 0;
    rounds: for (let round = 0; round < rounds; round += 1) {
      for (const way of ways) {
        const records = Array.from({ length: RECORDS }, (_, at) => [`record ${written + at}`, "x".repeat(BYTES)]);
        written += RECORDS;
        const have = readers.map((page) => call(page, "have", { wanted: written, patience: PATIENCE_MS }));
        const { begun, done, failed } = await call(writer, "write", { records, way });
        if (failed) console.error(`fanout: ${engine}, ${way}: ${failed}`);
        const ends = await Promise.all(have);
        times[way].all.push(Math.max(...ends.map(({ at }) => at)) - begun);
        times[way].acknowledged.push(done - begun);
        const missing = ends.reduce((sum, { count }) => sum + written - count, 0);
        if (missing === 0) continue;
        // A time that ended in impatience says "at least".
        report("fanout", "missing", missing, "", { system: engine, way, readers: READERS, records: RECORDS });
        break rounds;
      }
    }
    for (const way of ways) {
      const more = { system: engine, way, readers: READERS, records: RECORDS };
      report("fanout", "all_ms", median(times[way].all), "ms", more);
      if (engine === "pontoon") report("fanout", "acknowledged_ms", median(times[way].acknowledged), "ms", more);
    }
  } finally {
    await profile.close();
    await server.stop();
  }
}

/** The rivals' side of the page as one module. */
async function build(input, folder) {
  rmSync(folder, { recursive: true, force: true });
  const bundle = await rolldown({ input, platform: "browser", logLevel: "warn" });
  await bundle.write({ dir: folder, entryFileNames: "page.mjs" });
  await bundle.close();
}

/** A rival's server. */
async function rival(engine) {
  const script = path.join(import.meta.dirname, "..", "rivals", "fanout", "serve.mjs");
  const child = spawn(process.execPath, [script, engine], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const stop = async () => {
    child.kill();
    await ended;
  };
  for await (const line of createInterface({ input: child.stdout })) return { port: Number(line), stop };
  throw new Error(`${engine}'s server does not start`);
}
