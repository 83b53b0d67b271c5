// Tests of the browser driver in headless Chromium (wasm-pack test), with a real supernode beside them.
//
// PONTOON_SUPERNODE names the supernode's binary; without it, it is built. CHROMEDRIVER names chromedriver.
// Arguments go to cargo: `npm test -w pontoon-db -- --test browser`.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "..", "..");
process.env.PATH = [path.join(root, ".tools", "bin"), process.env.PATH].join(path.delimiter);

const chromedriver = process.env.CHROMEDRIVER ?? which("chromedriver");
if (!chromedriver) fail("chromedriver is missing: on Debian, `apt-get install chromium chromium-driver`");
const binary = process.env.PONTOON_SUPERNODE ?? buildSupernode();
const port = await freePort();
const data = mkdtempSync(path.join(tmpdir(), "pontoon-wasm-test-"));
const supernode = spawn(binary, ["--listen", `127.0.0.1:${port}`, "--data", data, "--log", "warn"], {
  stdio: ["ignore", "inherit", "inherit"],
});
supernode.on("error", (error) => fail(`the supernode did not start: ${error.message}`));
let code = 1;
try {
  await ready(`http://127.0.0.1:${port}/healthz`);
  code = await wasmPack("wasm", { PONTOON_TEST_SUPERNODE: `ws://127.0.0.1:${port}/pontoon` });
  if (code === 0) code = await wasmPack("wasm/parser", {});
} finally {
  supernode.kill("SIGKILL");
  rmSync(data, { recursive: true, force: true });
}
process.exit(code);

/** `wasm-pack test` of one crate. */
function wasmPack(crate, env) {
  const child = spawn(
    "wasm-pack",
    ["test", "--headless", "--chrome", "--chromedriver", chromedriver, "--mode", "no-install", crate, "--locked",
      ...process.argv.slice(2)],
    { cwd: root, stdio: "inherit", env: { WASM_BINDGEN_TEST_TIMEOUT: "120", ...process.env, ...env } },
  );
  return new Promise((resolve) => {
    child.on("error", (error) => fail(`wasm-pack: ${error.message}`));
    child.on("close", (status) => resolve(status ?? 1));
  });
}

function buildSupernode() {
  execFileSync("cargo", ["build", "--locked", "-p", "pontoon-supernode"], { cwd: root, stdio: "inherit" });
  const metadata = execFileSync("cargo", ["metadata", "--format-version=1", "--no-deps", "--locked"], {
    cwd: root,
    maxBuffer: 1 << 26,
  });
  return path.join(JSON.parse(metadata).target_directory, "debug", "pontoon-supernode");
}

async function ready(url) {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    if (supernode.exitCode !== null) fail(`the supernode ended with ${supernode.exitCode}`);
    if (await fetch(url).then((answer) => answer.ok, () => false)) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  fail(`the supernode did not answer at ${url} within 10 s`);
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

function which(command) {
  return process.env.PATH.split(path.delimiter).map((dir) => path.join(dir, command)).find(existsSync);
}

function fail(message) {
  console.error(`test: ${message}`);
  process.exit(1);
}
