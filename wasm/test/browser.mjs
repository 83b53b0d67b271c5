// What tests of the built package in real browsers share: a site that serves it, a browser, a wait.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { chromium } from "playwright-core";
import puppeteer from "puppeteer-core";
import { FIREFOX } from "../scripts/firefox.mjs";

const dist = path.resolve(import.meta.dirname, "..", "dist");
const types = { ".js": "text/javascript", ".wasm": "application/wasm" };
const blank = "<!doctype html><title>A page</title>";

/** Serves the package and an empty page; `headers` go with the page. Gives its address and `close`. */
export async function serve(headers = {}) {
  const site = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://site");
    if (pathname === "/") return response.writeHead(200, { "content-type": "text/html", ...headers }).end(blank);
    const file = path.join(dist, path.normalize(pathname));
    const body = await readFile(file).catch(() => null);
    response.writeHead(body ? 200 : 404, { "content-type": types[path.extname(file)] ?? "text/plain" }).end(body);
  });
  await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
  return { address: `http://127.0.0.1:${site.address().port}/`, close: () => site.close() };
}

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic"];

/** A Chromium without a window. */
export function launch(...args) {
  return chromium.launch({ executablePath, args: ["--headless=new", ...flags, ...args] });
}

/** The same where tabs can be hidden: of those of one context only the one in front is visible. Driven by Puppeteer. */
export function launchTabs() {
  return puppeteer.launch({ executablePath, headless: true, args: flags });
}

/** A Firefox without a window. Driven by Puppeteer. */
export function launchFirefox() {
  return puppeteer.launch(FIREFOX);
}

/** Waits until `condition` gives something true, and gives it. */
export async function until(what, ms, condition, every = 100) {
  for (const end = Date.now() + ms; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, every))) {
    const found = await condition();
    if (found) return found;
  }
  assert.fail(`waited ${ms} ms in vain: ${what}`);
}
