// Real pages in real browsers, the package as it is built, a real supernode: what all scenarios need.
//
// Chromium is driven by Playwright and Firefox by Puppeteer (WebDriver BiDi), for each drives only its own. What is used
// of a page means the same in both: `goto`, `reload`, `close`, `on("console")`, and `evaluate` with one argument.
import { createHash, createPrivateKey, createPublicKey, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { chromium } from "playwright-core";
import puppeteer from "puppeteer-core";
import { CHROMIUM } from "../../web-demo/scripts/chromium.mjs";
import { FIREFOX } from "../../wasm/scripts/firefox.mjs";
import { startSupernode } from "../../wasm/scripts/supernode.mjs";

const here = import.meta.dirname;
const dist = path.resolve(here, "..", "..", "wasm", "dist");
const types = { ".js": "text/javascript", ".mjs": "text/javascript", ".html": "text/html", ".wasm": "application/wasm" };

/** The port of the site: the package at /pontoon/, the pages' modules at /page/, further folders by name. */
export async function serve(places = {}, host = "127.0.0.1") {
  if (!existsSync(path.join(dist, "index.js"))) throw new Error("the package is not built: run `make page`");
  const folders = { pontoon: dist, page: path.join(here, "page"), ...places };
  const site = createServer(async (request, response) => {
    // Isolated pages have a clock of some microseconds, others of a millisecond.
    response.setHeader("cross-origin-opener-policy", "same-origin");
    response.setHeader("cross-origin-embedder-policy", "require-corp");
    const [, place, ...rest] = path.posix.normalize(new URL(request.url, "http://site").pathname).split("/");
    if (place === "" || place === "run") {
      const script = rest[0] ? `<script type="module" src="/page/${rest[0]}.mjs"></script>` : "";
      const page = `<!doctype html><meta charset="utf-8"><title>A page</title><link rel="icon" href="data:,">${script}`;
      return response.setHeader("content-type", "text/html").end(page);
    }
    const file = folders[place] && path.join(folders[place], ...rest);
    const body = file ? await readFile(file).catch(() => null) : null;
    response.writeHead(body ? 200 : 404, { "content-type": types[path.extname(file ?? "")] ?? "text/plain" }).end(body);
  });
  await new Promise((resolve) => site.listen(0, host, resolve));
  const origin = `http://${host}:${site.address().port}`;
  return {
    origin,
    /** The address of a page that begins with the module /page/`name`.mjs, which finds `job` in `location.hash`. */
    run: (name, job = {}) => `${origin}/run/${name}#${encodeURIComponent(JSON.stringify(job))}`,
    close: () => site.close(),
  };
}

/** Starts "chromium" or "firefox"; `profile` gives pages that share nothing with those of other profiles. */
export async function launch(kind) {
  const browser = kind === "firefox" ? await puppeteer.launch(FIREFOX) : await chromium.launch(CHROMIUM);
  const fresh = () => (kind === "firefox" ? browser.createBrowserContext() : browser.newContext());
  return {
    kind,
    version: kind === "firefox" ? await browser.version() : browser.version(),
    async profile() {
      const context = await fresh();
      return {
        async page(address) {
          const page = await context.newPage();
          page.on("console", (message) => {
            if (["error", "warning", "warn"].includes(message.type())) console.error(`${kind}: ${message.text()}`);
          });
          if (address) await page.goto(address);
          return page;
        },
        close: () => context.close(),
      };
    },
    close: () => browser.close(),
  };
}

/** A supernode: its WebSocket address, `inspect`, and `stop`. */
export async function supernode() {
  const { address, stop } = await startSupernode();
  const inspect = async () => (await fetch(address.replace(/^ws(.*)\/pontoon$/, "http$1/v1/inspect"))).json();
  return { address, inspect, stop };
}

/** A fresh identity: the seed for `connect`, as numbers, and the id that comes of it. */
export function identity() {
  const seed = randomBytes(32);
  const key = createPrivateKey({
    key: Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]), // PKCS #8 of Ed25519
    format: "der",
    type: "pkcs8",
  });
  const public_ = createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32);
  return { seed: [...seed], id: createHash("sha1").update(public_).digest("hex") };
}

/** Waits until `condition` holds, and says whether it did in time. */
export async function until(ms, condition, every = 50) {
  for (const end = Date.now() + ms; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, every))) {
    if (await condition()) return true;
  }
  return false;
}
