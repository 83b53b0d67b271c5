// Tests of the browser driver in headless Chromium and Firefox (wasm-pack test), with a real supernode beside them.
//
// PONTOON_SUPERNODE names the supernode's binary; without it, it is built. CHROMEDRIVER and GECKODRIVER name the drivers.
// Arguments go to cargo: `npm test -w pontoon-db -- --test browser`.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { nudge } from "./nudge.mjs";
import { startSupernode } from "./supernode.mjs";

const root = path.resolve(import.meta.dirname, "..", "..");
process.env.PATH = [path.join(root, ".tools", "bin"), process.env.PATH].join(path.delimiter);

const browsers = ["chrome", "firefox"].flatMap((browser) => {
  const driver = browser === "chrome" ? "chromedriver" : "geckodriver";
  const found = process.env[driver.toUpperCase()] ?? which(driver);
  if (found) return [`--${browser}`, `--${driver}`, found];
  console.error(`test: ${driver} is missing: run \`make setup\``);
  process.exit(1);
});
const supernode = await startSupernode();
const rest = nudge();
let code = 1;
try {
  code = await wasmPack("wasm", { PONTOON_TEST_SUPERNODE: supernode.address });
  if (code === 0) code = await wasmPack("wasm/parser", {});
  if (code === 0) code = await wasmPack("wasm/sql", {});
} finally {
  rest();
  await supernode.stop();
}
process.exit(code);

/** `wasm-pack test` of one crate, in one browser after the other. */
function wasmPack(crate, env) {
  const child = spawn(
    "wasm-pack",
    ["test", "--headless", ...browsers, "--mode", "no-install", crate, "--locked", ...process.argv.slice(2)],
    { cwd: root, stdio: "inherit", env: { WASM_BINDGEN_TEST_TIMEOUT: "120", ...process.env, ...env } },
  );
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status) => resolve(status ?? 1));
  });
}

function which(command) {
  return process.env.PATH.split(path.delimiter).map((dir) => path.join(dir, command)).find(existsSync);
}
