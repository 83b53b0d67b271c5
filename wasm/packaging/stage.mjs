// What applications meet: a real supernode, a real Chromium, and web servers that serve a folder.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { after, before } from "node:test";
import { chromium } from "playwright-core";
import { createServer as createViteServer } from "vite";
import { startSupernode } from "../scripts/supernode.mjs";
import { root } from "./tarball.mjs";

/** Set once the tests run. */
export let supernode;
let browser;
const servers = [];
const types = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };

before(async () => {
  supernode = await startSupernode();
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic"],
  });
});

after(async () => {
  await browser?.close();
  await Promise.all(servers.map((server) => server.close()));
  await supernode?.stop();
});

/** Vite's development server of an application; gives the address. */
export async function develop(app) {
  const cacheDir = path.join(root, `.vite-${path.basename(app)}`);
  const server = await createViteServer({ root: app, configFile: false, logLevel: "error", cacheDir, server: { host: "127.0.0.1" } });
  servers.push(server);
  await server.listen();
  return server.resolvedUrls.local[0];
}

/** Serves a folder, each file with some more headers; gives the address. */
export async function serve(folder, headers = {}) {
  const server = createServer(async ({ url }, response) => {
    const name = path.normalize(new URL(url, "http://a").pathname);
    const file = path.join(folder, name.endsWith("/") ? `${name}index.html` : name);
    const body = await readFile(file).catch(() => null);
    response.writeHead(body ? 200 : 404, { "content-type": types[path.extname(file)] ?? "text/plain", ...headers });
    response.end(body);
  });
  servers.push(server);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${server.address().port}/`;
}

/** Opens a page, hands it to `use`, closes it; fails if a script of it failed. */
export async function visit(address, use) {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    const failures = [];
    page.on("pageerror", (error) => failures.push(String(error)));
    await page.goto(address);
    const result = await use(page);
    if (failures.length > 0) throw new Error(`${address}: ${failures.join("; ")}`);
    return result;
  } finally {
    await context.close();
  }
}

/** What the shop at `address` shows in the end; each shop has a table of its own. */
export function shop(address, table) {
  const query = new URLSearchParams({ supernode: supernode.address, table });
  return visit(`${address}?${query}`, async (page) => {
    await page.waitForFunction(() => document.querySelector("output")?.value, undefined, { timeout: 40_000 });
    return page.evaluate(() => document.querySelector("output").value);
  });
}
