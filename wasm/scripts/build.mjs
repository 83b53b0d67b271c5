// Builds the npm package into dist/: the wasm modules with their bindings (by way of pkg/), the TypeScript (by way of
// pkg/js/), and of that one script for the engine, without imports, and one for each entry of the package, minified.
//
//   node scripts/build.mjs
//
// There is no wasm-opt: it makes the module smaller, and what a page downloads larger (docs/decisions/015-size.md).
// What is newer than its source is left alone, so that a second run takes a second.
import { execFileSync, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import path from "node:path";
import { rolldown } from "rolldown";

const packageDir = path.resolve(import.meta.dirname, "..");
const root = path.resolve(packageDir, "..");
const pkg = path.join(packageDir, "pkg");
const dist = path.join(packageDir, "dist");

/** Each wasm module: its crate, the folder of its bindings, the profile that it is built with, and its name in dist/. */
const modules = [
  { crate: "pontoon-wasm", place: "core", profile: "wasm", wasm: "peer.wasm" },
  { crate: "pontoon-wasm-parser", place: "parser", profile: "wasm", wasm: "parser.wasm" },
  { crate: "pontoon-wasm-sql", place: "sql", profile: "wasm-sql", wasm: "sql.wasm" },
];

/** What can be imported of the package. */
const entries = ["index", "node", "react", "slim"];

// Tools that `make setup` put into the repository come first.
process.env.PATH = [path.join(root, ".tools", "bin"), process.env.PATH].join(path.delimiter);

const run = (command, ...args) => execFileSync(command, args, { cwd: root, stdio: "inherit" });
const start = (command, ...args) => new Promise((resolve, reject) => {
  const child = spawn(command, args, { cwd: root, stdio: "inherit" });
  child.on("error", reject);
  child.on("close", (code, signal) => (code === 0 ? resolve() : reject(new Error(`${command} ended with ${signal ?? code}`))));
});
const modified = (file) => (existsSync(file) ? statSync(file).mtimeMs : 0);

// Panics name the files of dependencies: not where this machine keeps them.
const registry = path.join(process.env.CARGO_HOME ?? path.join(homedir(), ".cargo"), "registry", "src");
const flags = JSON.stringify([`--remap-path-prefix=${registry}${path.sep}=`]);
// One by one: built together, the peer's module would have the parts of the engine that only SQL's asks for. But at
// the same time: each is optimised as a whole, by one thread. Those of one profile share a folder, and wait for each other.
await Promise.all(modules.map(({ crate, profile }) =>
  start("cargo", "build", "--quiet", "--locked", "--profile", profile, "--target", "wasm32-unknown-unknown",
    "--config", `target.wasm32-unknown-unknown.rustflags=${flags}`, "-p", crate)));

const metadata = execFileSync("cargo", ["metadata", "--format-version=1", "--no-deps", "--locked"], {
  cwd: root,
  maxBuffer: 1 << 26,
});
const built = path.join(JSON.parse(metadata).target_directory, "wasm32-unknown-unknown");

for (const { crate, place, profile } of modules) {
  const name = crate.replaceAll("-", "_");
  const source = path.join(built, profile, `${name}.wasm`);
  const out = path.join(pkg, place);
  // One file says when the module was made.
  const stamp = path.join(out, ".made");
  if (modified(stamp) > modified(source)) continue;
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  run("wasm-bindgen", "--target", "web", "--omit-default-module-path", "--remove-name-section", "--remove-producers-section",
    "--out-dir", out, source);
  const module = path.join(out, `${name}_bg.wasm`);
  numberImports(path.join(out, `${name}.js`), module);
  dropCustomSections(module);
  writeFileSync(stamp, "");
}

const compiled = path.join(pkg, "js");
rmSync(compiled, { recursive: true, force: true });
run(process.execPath, tool("typescript", "tsc"), "-p", packageDir, "--outDir", compiled);
for (const { place } of modules) cpSync(path.join(pkg, place), path.join(compiled, place), { recursive: true });
rmSync(dist, { recursive: true, force: true });
for (const { crate, place, wasm } of modules) {
  cpSync(path.join(pkg, place, `${crate.replaceAll("-", "_")}_bg.wasm`), path.join(dist, wasm));
}
// A script for each: one that imported another would be waited for twice. No page has use for two of them, but for react.js,
// which imports the package.
for (const name of ["engine", ...entries]) await bundle(name);
for (const name of declarations(entries)) cpSync(path.join(compiled, name), path.join(dist, name));

/** Makes of an entry a script in dist/. */
async function bundle(name) {
  const input = { [name]: path.join(compiled, `${name}.js`) };
  const external = (id) => name !== "engine" && (id.endsWith("/engine.js") || !/^[./]/.test(id));
  // That it might get lost is said of a directive that is kept.
  const onLog = (level, log, handle) => log.code === "MODULE_LEVEL_DIRECTIVE" || handle(level, log);
  // What Rust imports is copied beside its bindings; of a module with a state there is to be one.
  const snippet = { name: "snippet", resolveId: (id) => {
    const [, script] = /\/snippets\/[^/]+\/js\/(\w+\.js)$/.exec(id) ?? [];
    return script && path.join(compiled, script);
  } };
  const built = await rolldown({ input, external, platform: "neutral", treeshake: true, onLog, plugins: [snippet] });
  await built.write({ dir: dist, format: "esm", minify: true, codeSplitting: false });
}

/** The declarations that entries need, from one to the next. */
function declarations(names) {
  const found = new Set(names.map((name) => `${name}.d.ts`));
  for (const name of found) {
    const text = readFileSync(path.join(compiled, name), "utf8");
    for (const [, other] of text.matchAll(/from "\.\/([\w/]+)\.js"/g)) found.add(`${other}.d.ts`);
  }
  return found;
}

/** The names of imports, which end in hashes, do not compress: each becomes a number of the same length. */
function numberImports(bindings, module) {
  let [text, binary] = [readFileSync(bindings, "latin1"), readFileSync(module, "latin1")];
  const names = new Set([...text.matchAll(/\b__wbg_(\w+_[0-9a-f]{16})\b/g)].map(([, name]) => name));
  for (const [index, name] of [...names].entries()) {
    const number = String(index).padStart(name.length, "0");
    [text, binary] = [text.replaceAll(name, number), binary.replaceAll(name, number)];
  }
  writeFileSync(bindings, text, "latin1");
  writeFileSync(module, binary, "latin1");
}

/** What the compiler tells other tools (of the target's features) nobody reads any more. */
function dropCustomSections(module) {
  const bytes = readFileSync(module);
  const kept = [bytes.subarray(0, 8)];
  for (let at = 8; at < bytes.length; ) {
    let [end, size, shift] = [at + 1, 0, 0];
    do size += (bytes[end] & 0x7f) * 2 ** shift;
    while (((shift += 7), bytes[end++] & 0x80));
    end += size;
    if (bytes[at] !== 0) kept.push(bytes.subarray(at, end));
    at = end;
  }
  writeFileSync(module, Buffer.concat(kept));
}

/** The script of an npm package's command, wherever npm put the package. */
function tool(from, command) {
  const manifest = createRequire(import.meta.url).resolve(`${from}/package.json`);
  return path.resolve(path.dirname(manifest), JSON.parse(readFileSync(manifest, "utf8")).bin[command]);
}
