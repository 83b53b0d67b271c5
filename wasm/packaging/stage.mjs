// What applications meet: a real supernode, a real Chromium, and web servers that serve a folder.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { after, before } from "node:test";
import { chromium } from "playwright-core";
import { startSupernode } from "../scripts/supernode.mjs";

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
  for (const server of servers) server.close();
  await supernode?.stop();
});

/** Serves with a handler; gives the address. */
export async function listen(handler) {
  const server = createServer(handler);
  servers.push(server);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${server.address().port}`;
}

/** Serves a folder, each file with some more headers; gives the address. */
export function serve(folder, headers = {}) {
  return listen(async ({ url }, response) => {
    const name = path.normalize(new URL(url, "http://a").pathname);
    const file = path.join(folder, name.endsWith("/") ? `${name}index.html` : name);
    const body = await readFile(file).catch(() => null);
    response.writeHead(body ? 200 : 404, { "content-type": types[path.extname(file)] ?? "text/plain", ...headers });
    response.end(body);
  });
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
