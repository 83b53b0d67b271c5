// The NAT laboratory (`make nat-lab`): two browsers behind two NATs, two supernodes outside. Whatever the NATs are, the two
// pages are linked, SQL answers with coverage 1, and `diagnose()` tells which way the link goes. Needs root, iproute2 and
// nftables; what the system lacks is said, and what can be run without it is.
//
//   node tests/nat/lab.mjs [CASE] [--browser chromium|firefox|mixed]    (make nat-lab CASE=2 BROWSER=firefox)
//
// Without a browser: all cases in Chromium, then some in Chromium and Firefox. CASE is the number of one that was printed.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import assert from "node:assert/strict";
import { parseArgs } from "node:util";
import { supernodeBinary } from "../../wasm/scripts/supernode.mjs";
import { startBrowser } from "./browsers.mjs";
import { build, destroy, missing, namespace, SUPERNODES, translate } from "./network.mjs";

/** Each case: the two NATs, the ways that the link between the pages may go, what a page says of its NAT. Some are also `mixed`. */
const CASES = [
  { nats: ["restricted", "restricted"], ways: ["nat"], seen: ["cone", "cone"], mixed: true },
  { nats: ["symmetric", "symmetric"], ways: ["turn"], seen: ["symmetric", "symmetric"], mixed: true },
  { nats: ["symmetric", "restricted"], ways: ["turn"], seen: ["symmetric", "cone"] },
  { nats: ["blocked", "restricted"], ways: ["relay"], seen: ["no answer", "cone"], mixed: true },
  { nats: ["blocked", "blocked"], ways: ["relay"], seen: ["no answer", "no answer"] },
  { nats: ["restricted", "restricted"], ways: ["nat"], seen: ["cone", "cone"], kill: true },
  { nats: ["blocked", "symmetric"], ways: ["relay"], seen: ["no answer", "symmetric"], kill: true },
];
/** The browsers on the two hosts. */
const PAIRS = { chromium: ["chromium", "chromium"], firefox: ["firefox", "firefox"], mixed: ["chromium", "firefox"] };
const LINKED_MS = 45_000;
const MOVED_MS = 30_000;
const PORT = 8080;

const lack = missing();
if (lack) {
  console.log(`nat-lab: this system lacks ${lack}. Nothing of the laboratory runs without it.`);
  process.exit(process.env.NAT_LAB_REQUIRED ? 1 : 0);
}
const { values, positionals: [only] } = parseArgs({ allowPositionals: true, options: { browser: { type: "string" } } });
assert.ok(!values.browser || values.browser in PAIRS, `a browser is one of ${Object.keys(PAIRS)}`);
const inPair = (pair) => (job) => ({ ...job, pair });
const mixed = CASES.filter((job) => job.mixed).map(inPair("mixed"));
const jobs = values.browser ? CASES.map(inPair(values.browser)) : [...CASES.map(inPair("chromium")), ...mixed];
const directory = mkdtempSync(path.join(tmpdir(), "pontoon-nat-"));
const children = new Set();
let [ran, failed] = [0, 0];
try {
  build();
  const site = await serveSite();
  for (const [number, job] of jobs.entries()) {
    if (only && String(number + 1) !== only) continue;
    ran += 1;
    const name = `${job.pair}, ${job.nats.join(" and ")}${job.kill ? ", supernode killed" : ""}`;
    const began = Date.now();
    try {
      const told = await run(job, number, site);
      console.log(`ok ${number + 1} - ${name}: ${told} (${((Date.now() - began) / 1000).toFixed(0)} s)`);
    } catch (error) {
      failed += 1;
      console.log(`not ok ${number + 1} - ${name}: ${error.stack ?? error.message}`);
    }
  }
} finally {
  for (const child of children) child.kill("SIGKILL");
  destroy();
  rmSync(directory, { recursive: true, force: true });
}
if (ran === 0) console.log(`nat-lab: there is no case ${only}`);
else console.log(failed === 0 ? "nat-lab: all as it should be" : `nat-lab: ${failed} failed`);
process.exit(ran > 0 && failed === 0 ? 0 : 1);

/** One case. Gives what was seen, for people. */
async function run({ nats, pair, ways, seen, kill }, number, site) {
  nats.forEach((kind, at) => translate(at + 1, kind));
  const network = `lab${number}`;
  const supernodes = [];
  const browsers = [];
  try {
    for (const [at, address] of SUPERNODES.entries()) supernodes.push(await startSupernode(network, address, SUPERNODES[1 - at], at === 0));
    for (const [at, kind] of PAIRS[pair].entries()) browsers.push(await startBrowser(kind, `host${at + 1}`, directory));
    const pages = [];
    for (const browser of browsers) {
      const page = await browser.newPage();
      page.on("pageerror", (error) => console.log(`# page: ${error.message}`));
      await page.goto(`${site}/run/nat#${encodeURIComponent(JSON.stringify({ network, supernodes: [`ws://${SUPERNODES[0]}:${PORT}/pontoon`] }))}`);
      pages.push(page);
    }
    const ids = await Promise.all(pages.map((page) => page.evaluate(() => window.lab.id())));
    const began = Date.now();
    const way = await linked(pages, ids, ways);
    const linkedMs = Date.now() - began;
    await answers(pages, "before");
    const nat = await Promise.all(pages.map((page) => page.evaluate(async () => (await window.lab.diagnose()).nat)));
    assert.deepEqual(nat, seen, "what each page takes its NAT for");
    let told = `link over ${way} after ${linkedMs} ms`;
    if (kill) {
      const killed = Date.now();
      await supernodes[0].kill();
      const at = await moved(pages, supernodes[1].id);
      const movedMs = Date.now() - killed;
      const again = await linked(pages, ids, ways);
      await answers(pages, "after");
      told += `; supernode killed: at the other one (${at.join(" and ")}) after ${movedMs} ms, link over ${again}`;
    }
    return told;
  } finally {
    await Promise.all(browsers.map((browser) => browser.close().catch(() => undefined)));
    await Promise.all(supernodes.map(({ kill }) => kill()));
  }
}

/** Waits until each page says that its link to the other goes one of the ways; gives which. */
async function linked(pages, ids, ways) {
  let links;
  for (const end = Date.now() + LINKED_MS; Date.now() < end; await pause(200)) {
    links = await Promise.all(pages.map((page, at) => page.evaluate((peer) => window.lab.link(peer), ids[1 - at])));
    if (links.every((link) => link && ways.includes(link.path))) return links[0].path;
  }
  throw new Error(`no link over ${ways} in ${LINKED_MS} ms: ${JSON.stringify(links, null, 1)}`);
}

/** Waits until both pages are linked directly to this supernode: by its WebSocket, or by a data channel that they had opened. */
async function moved(pages, supernode) {
  let links;
  for (const end = Date.now() + MOVED_MS; Date.now() < end; await pause(100)) {
    links = await Promise.all(pages.map((page) => page.evaluate((peer) => window.lab.link(peer), supernode)));
    if (links.every((link) => link?.kind === "direct")) return links.map(({ path }) => path);
  }
  throw new Error(`the pages are not at the second supernode: ${JSON.stringify(links, null, 1)}`);
}

/** What one page writes the other one finds, of all peers. */
async function answers(pages, table) {
  for (const [at, page] of pages.entries()) {
    const other = pages[1 - at];
    const name = `${table}${at}`;
    await page.evaluate((name) => window.lab.fill(name), name);
    const result = await other.evaluate((name) => window.lab.count(name), name);
    assert.deepEqual(result, { coverage: 1, count: 20, sum: 190 }, `SQL from page ${2 - at}`);
  }
}

async function startSupernode(network, address, other, found) {
  const data = mkdtempSync(path.join(directory, "data-"));
  const flags = ["--listen", `${address}:${PORT}`, "--data", data, "--network", network, "--log", process.env.PONTOON_LOG ?? "warn"];
  flags.push("--public", `ws://${address}:${PORT}/pontoon`, "--peer", `ws://${other}:${PORT}/pontoon`);
  const child = start("core", supernodeBinary(), [...flags, found ? "--found" : "--no-found"], ["ignore", "ignore", "inherit"]);
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const answer = await fetchWithin(`http://${address}:${PORT}/healthz`);
    if (answer) return { id: JSON.parse(answer).id, kill: child.end };
    if (child.ended) break;
    await pause(50);
  }
  throw new Error(`the supernode at ${address} does not answer`);
}

/** This process is not in the laboratory's network: somebody there fetches. */
async function fetchWithin(address) {
  const script = `fetch(${JSON.stringify(address)}).then((answer) => answer.text()).then((text) => process.stdout.write(text), () => undefined)`;
  const child = start("core", process.execPath, ["-e", script], ["ignore", "pipe", "ignore"]);
  let text = "";
  for await (const part of child.stdout) text += part;
  return text;
}

async function serveSite() {
  const child = start("core", process.execPath, [path.join(import.meta.dirname, "site.mjs"), SUPERNODES[0]], ["pipe", "pipe", "inherit"]);
  for await (const line of createInterface({ input: child.stdout })) return line;
  throw new Error("no site");
}

function start(name, command, args, stdio) {
  const child = spawn("ip", ["netns", "exec", namespace(name), command, ...args], { stdio });
  children.add(child);
  const ended = new Promise((resolve) => child.once("exit", resolve).once("error", resolve));
  void ended.then(() => {
    child.ended = true;
    children.delete(child);
  });
  child.end = async () => {
    child.kill("SIGKILL");
    await ended;
  };
  return child;
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
