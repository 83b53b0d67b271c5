// `make test`: every test there is, in stages; prints the minutes of each and fails a stage that takes more than its share.
//
//   node scripts/test.mjs                 all stages
//   node scripts/test.mjs sql supernode   some of them (the build always runs; it is quick when nothing changed)
//   node scripts/test.mjs units           the unit tests of core and parser alone, for `make check`
//
// All native test binaries are built by one cargo call, so that dependencies are compiled with one set of features,
// once; a stage then runs its share of them. A binary that no stage claims runs with "core": nothing is left out.
// TIME_FACTOR=2 doubles the shares, for a slower or busier machine. The last line is "N passed, N failed".
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "..");
const factor = Number(process.env.TIME_FACTOR ?? 1);

/** Native binaries, as (package, target), and the minutes they may take. The first stage that claims one runs it. */
const native = {
  sql: (pkg, target) => pkg === "pontoon-parser" || (pkg === "pontoon-tests" && target === "sql"),
  distributed: (pkg, target) => pkg === "pontoon-tests" && ["faults", "guards", "heir", "live", "orphans", "partition", "returns", "simulator"].includes(target),
  supernode: (pkg) => pkg === "pontoon-supernode",
  fuzz: (pkg) => pkg === "pontoon-fuzz",
  core: () => true,
};
const stages = {
  build: { share: 32, run: build },
  core: { share: 9, run: () => runBinaries("core").then(docTests) },
  sql: { share: 3, run: () => runBinaries("sql") },
  distributed: { share: 4, run: () => runBinaries("distributed") },
  browsers: { share: 18, run: browsers },
  supernode: { share: 5, run: () => runBinaries("supernode") },
  fuzz: { share: 2, run: () => runBinaries("fuzz") },
};

let binaries = [];
let counted = { passed: 0, failed: 0 };

/** Runs a command, passes its output through, counts the results of the test runners it prints. */
async function run(command, args, { cwd = root, env = {}, onLine } = {}) {
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", onLine ? "inherit" : "pipe"],
  });
  const exit = new Promise((resolve) => {
    child.on("error", (error) => resolve(`${command}: ${error.message}`));
    child.on("close", (code, signal) => resolve(code === 0 ? null : `${command} ended with ${signal ?? code}`));
  });
  const outputs = [child.stdout, child.stderr].filter(Boolean).map(async (stream) => {
    for await (const line of createInterface({ input: stream })) {
      if (onLine) onLine(line);
      else {
        count(line);
        console.log(line);
      }
    }
  });
  await Promise.all(outputs);
  const failure = await exit;
  if (failure) throw new Error(failure);
}

/** libtest's and wasm-bindgen-test's summary, then Playwright's, then node:test's. */
function count(line) {
  // eslint-disable-next-line no-control-regex
  const plain = line.replace(/\x1b\[[0-9;]*m/g, "");
  let found = /^test result: .* (\d+) passed; (\d+) failed/.exec(plain);
  if (found) {
    counted.passed += Number(found[1]);
    counted.failed += Number(found[2]);
  } else if ((found = /^ {2}(\d+) (passed|failed|flaky|did not run|interrupted)\b/.exec(plain))) {
    counted[found[2] === "passed" ? "passed" : "failed"] += Number(found[1]);
  } else if ((found = /^(?:#|ℹ) (pass|fail) (\d+)$/.exec(plain))) {
    counted[`${found[1]}ed`] += Number(found[2]);
  }
}

async function build() {
  await run("scripts/setup.sh", []);
  await run("make", ["--no-print-directory", "page"]);
  await buildBinaries();
  // What wasm-pack will run, compiled as it does: package by package.
  for (const crate of ["wasm", "wasm/parser", "wasm/sql"]) {
    const cwd = path.join(root, crate);
    await run("cargo", ["build", "--tests", "--locked", "--target", "wasm32-unknown-unknown"], { cwd });
  }
}

async function buildBinaries(...flags) {
  const onLine = (line) => {
    const message = line.startsWith("{") ? JSON.parse(line) : {};
    if (message.reason === "compiler-message") console.log(message.message.rendered.trimEnd());
    if (message.reason !== "compiler-artifact" || !message.profile.test || !message.executable) return;
    const dir = path.dirname(message.manifest_path);
    const pkg = /([\w-]+)@[^@]*$/.exec(message.package_id)?.[1] ?? path.basename(message.package_id.split("#")[0]);
    const stage = Object.keys(native).find((name) => native[name](pkg, message.target.name));
    binaries.push({ stage, pkg, dir, name: message.target.name, kind: message.target.kind[0], file: message.executable });
  };
  binaries = [];
  await run("cargo", ["test", "--no-run", "--locked", "--message-format=json", ...flags], { onLine });
}

/** Runs the test binaries of a stage; all of them, even after one fails. */
async function runBinaries(stage, filter = () => true) {
  const mine = binaries.filter((binary) => binary.stage === stage && filter(binary));
  if (mine.length === 0) throw new Error(`no test binary belongs to the stage "${stage}"`);
  const failures = [];
  for (const { pkg, dir, name, kind, file } of mine) {
    console.log(`\n--- ${pkg} ${kind} ${name}`);
    await run(file, [], { cwd: dir, env: { CARGO_MANIFEST_DIR: dir } }).catch((error) => {
      failures.push(`${pkg} ${name}: ${error.message}`);
    });
  }
  if (failures.length > 0) throw new Error(failures.join("; "));
}

async function docTests() {
  await run("cargo", ["test", "--doc", "--locked"]);
}

/** The driver in headless Chromium and Firefox (wasm-pack), then the demo's pages (Playwright), both with the supernode just built. */
async function browsers() {
  const env = { PONTOON_SUPERNODE: path.join(await targetDirectory(), "debug", "pontoon-supernode") };
  const failures = [];
  for (const script of [["test", "--workspaces", "--if-present"], ["e2e", "--workspace", "pontoon-demo"]]) {
    await run("npm", ["run", ...script], { env }).catch((error) => failures.push(`npm run ${script[0]}: ${error.message}`));
  }
  if (failures.length > 0) throw new Error(failures.join("; "));
}

async function targetDirectory() {
  let found;
  await run("cargo", ["metadata", "--format-version=1", "--no-deps", "--locked"], {
    onLine: (line) => (found = JSON.parse(line).target_directory),
  });
  return found;
}

async function main(asked) {
  if (asked[0] === "units") {
    await buildBinaries("--lib");
    await runBinaries("core", ({ pkg }) => pkg === "pontoon-core");
    await runBinaries("sql", ({ pkg }) => pkg === "pontoon-parser");
    return;
  }
  for (const name of asked) if (!(name in stages)) throw new Error(`no stage "${name}": ${Object.keys(stages).join(", ")}`);
  const rows = [];
  let passed = 0;
  let failed = 0;
  for (const [name, { share, run }] of Object.entries(stages)) {
    if (asked.length > 0 && name !== "build" && !asked.includes(name)) continue;
    console.log(`\n=== ${name} (at most ${share * factor} minutes)`);
    counted = { passed: 0, failed: 0 };
    const started = performance.now();
    const problems = [];
    await run().catch((error) => problems.push(error.message));
    const minutes = (performance.now() - started) / 60_000;
    if (minutes > share * factor) problems.push(`over its share of ${share * factor} minutes`);
    if (name !== "build" && counted.passed + counted.failed === 0) problems.push("ran no test");
    if (problems.length > 0 && counted.failed === 0) counted.failed = 1;
    passed += counted.passed;
    failed += counted.failed;
    rows.push({ name, minutes, share: share * factor, ...counted, problems });
    if (name === "build" && problems.length > 0) break; // nothing to run
  }
  console.log("\nstage         minutes  share  passed  failed");
  for (const row of rows) {
    const figures = [row.minutes.toFixed(1).padStart(7), String(row.share).padStart(6), row.passed, row.failed];
    console.log(row.name.padEnd(13), figures[0], figures[1], ...figures.slice(2).map((n) => String(n).padStart(7)), row.problems.join("; "));
  }
  console.log(`\n${passed} passed, ${failed} failed`);
  process.exitCode = failed > 0 ? 1 : 0;
}

await main(process.argv.slice(2));
