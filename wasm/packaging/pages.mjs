// One small page, served as it is and built by the bundlers that people use, in a real browser.
import assert from "node:assert/strict";
import { cpSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { build } from "vite";
import webpack from "webpack";
import { develop, serve, shop } from "./stage.mjs";
import { application, root } from "./tarball.mjs";

const app = application("shop");
const sold = JSON.stringify({ rows: [{ item: "boat", amount: 12.5 }], coverage: 1 });
let built;

/** What Vite builds, built once. */
const viteBuild = () => (built ??= (async () => {
  const outDir = path.join(root, "shop-vite");
  await build({ root: app, base: "./", configFile: false, logLevel: "error", build: { outDir } });
  return outDir;
})());

test("a page that nothing builds", { timeout: 60_000 }, async () => {
  // As a static site has it: the package is a folder of it.
  const site = path.join(root, "shop-plain");
  cpSync(app, site, { recursive: true });
  cpSync(path.join(root, "node_modules", "pontoon-db"), path.join(site, "node_modules", "pontoon-db"), { recursive: true });
  assert.equal(await shop(`${await serve(site)}plain.html`, "plain"), sold);
});

test("Vite's development server", { timeout: 60_000 }, async () => {
  assert.equal(await shop(await develop(app), "vite_dev"), sold);
});

test("a Vite build", { timeout: 60_000 }, async () => {
  assert.equal(await shop(await serve(await viteBuild()), "vite"), sold);
});

test("a webpack build", { timeout: 60_000 }, async () => {
  const outDir = path.join(root, "shop-webpack");
  const compiler = webpack({
    mode: "production",
    context: app,
    entry: "./main.js",
    output: { path: outDir, filename: "main.js" },
    performance: { hints: false },
  });
  const stats = await new Promise((resolve, reject) => {
    compiler.run((error, stats) => compiler.close((late) => (error ?? late ? reject(error ?? late) : resolve(stats))));
  });
  const { errors, warnings } = stats.toJson({ all: false, errors: true, warnings: true });
  assert.deepEqual([...errors, ...warnings], []);
  cpSync(path.join(app, "index.html"), path.join(outDir, "index.html"));
  assert.equal(await shop(await serve(outDir), "webpack"), sold);
});

const policy = (script) =>
  `default-src 'self'; script-src ${script}; connect-src 'self' ws://127.0.0.1:*; worker-src 'self'; img-src data:`;

test("a page under a Content-Security-Policy", { timeout: 60_000 }, async () => {
  const headers = { "content-security-policy": policy("'self' 'wasm-unsafe-eval'") };
  assert.equal(await shop(await serve(await viteBuild(), headers), "policy"), sold);
});

test("a policy without 'wasm-unsafe-eval' is told by name", { timeout: 60_000 }, async () => {
  const headers = { "content-security-policy": policy("'self'") };
  const told = await shop(await serve(await viteBuild(), headers), "forbidden");
  assert.match(told, /^PontoonError forbidden: .*script-src.*'wasm-unsafe-eval'/);
});
