// Runs SQL engines side by side in one page of headless Chromium; started by `bench sql-wasm`.
//
//   node run.mjs < job.json
//
// The job (tables, rows, queries; see tests/src/bin/bench/sql_wasm.rs) comes on standard input, one JSON object an
// operation goes to standard output. The first run installs the rivals here, by the lockfile.
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";

const here = import.meta.dirname;
const root = path.resolve(here, "..", "..", "..");
const modules = path.join(here, "node_modules");
const dist = path.join(root, "wasm", "dist");

if (!existsSync(path.join(dist, "index.js"))) fail("the package is not built: run `make page`");
install();
const { chromium } = await import("playwright-core").catch(() => fail("npm packages are missing: run `make setup`"));
const { CHROMIUM } = await import(path.join(root, "web-demo", "scripts", "chromium.mjs"));

const job = readFileSync(0);
const { rounds } = JSON.parse(job);
const types = { ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };
// Where each first part of an address lies. Nothing comes from anywhere else.
const places = { pontoon: dist, modules, bench: here };
const imports = {
  "apache-arrow": "/modules/apache-arrow/Arrow.dom.mjs",
  flatbuffers: "/modules/flatbuffers/mjs/flatbuffers.js",
  tslib: "/modules/tslib/tslib.es6.mjs",
};
const page = `<!doctype html><meta charset="utf-8"><title>SQL in one page</title><link rel="icon" href="data:,">
<script type="importmap">${JSON.stringify({ imports })}</script>`;

const site = createServer(async (request, response) => {
  // Isolated pages have a clock of five microseconds, others of a hundred.
  response.setHeader("cross-origin-opener-policy", "same-origin");
  response.setHeader("cross-origin-embedder-policy", "require-corp");
  if (request.url === "/") return response.setHeader("content-type", "text/html").end(page);
  if (request.url === "/job.json") return response.setHeader("content-type", "application/json").end(job);
  const [, place, ...rest] = path.posix.normalize(request.url).split("/");
  const file = places[place] && path.join(places[place], ...rest);
  const body = file ? await readFile(file).catch(() => null) : null;
  response.writeHead(body ? 200 : 404, { "content-type": types[path.extname(file ?? "")] ?? "text/plain" }).end(body);
});
await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));

const browser = await chromium.launch(CHROMIUM);
try {
  const measured = new Map();
  for (let round = 0; round < rounds; round += 1) {
    for (const { op, rows, took } of await once()) {
      const known = measured.get(op) ?? measured.set(op, { rows, took: {} }).get(op);
      for (const [name, times] of Object.entries(took)) (known.took[name] ??= []).push(...times);
    }
  }
  for (const [op, { rows, took }] of measured) {
    const ms = Object.entries(took).map(([name, times]) => [`${name}_ms`, median(times)]);
    console.log(JSON.stringify({ op, rows, ...Object.fromEntries(ms) }));
  }
} catch (error) {
  fail(error.message);
} finally {
  await browser.close();
  site.close();
}

/** The job, once, in a fresh page. */
async function once() {
  const tab = await browser.newPage();
  tab.on("console", (message) => console.error(message.text()));
  await tab.goto(`http://127.0.0.1:${site.address().port}/`);
  const done = await tab.evaluate(async () => (await import("/bench/page.mjs")).run());
  await tab.close();
  return done;
}

function median(times) {
  return times.sort((a, b) => a - b)[times.length >> 1];
}

/** Installs what the lockfile says, unless it is there. */
function install() {
  const [lock, installed] = [path.join(here, "package-lock.json"), path.join(modules, ".installed-lockfile")];
  if (existsSync(installed) && readFileSync(installed).equals(readFileSync(lock))) return;
  console.error("installing the rivals, some 180 MB");
  execFileSync("npm", ["ci", "--ignore-scripts"], { cwd: here, stdio: ["ignore", 2, 2] });
  copyFileSync(lock, installed);
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
