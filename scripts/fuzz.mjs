// `make fuzz`: libFuzzer over the targets of fuzz/, two at once at most. One JSON object a line for each target:
//
//   {"target":"wire","executions":10000000,"coverage":1234,"corpus":321,"seconds":600,"crashes":0}
//
//   RUNS=1000000 TARGET=wire,sql SECONDS_MAX=600 node scripts/fuzz.mjs
//
// Coverage is in edges. What was interesting is kept in fuzz/corpus, and begun from the next time; what crashed is in
// fuzz/artifacts: it belongs into fuzz/seeds/TARGET as found-*, with what fixes it.
import { spawn, spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "..");
const folder = path.join(root, "fuzz");
const runs = Number(process.env.RUNS ?? 10_000_000);
const secondsMax = Number(process.env.SECONDS_MAX ?? 0); // 0: as long as it takes
const atOnce = Number(process.env.AT_ONCE ?? 2);
const all = readdirSync(path.join(folder, "fuzz_targets")).map((file) => path.basename(file, ".rs"));
const asked = process.env.TARGET?.split(",") ?? all;
/** Targets whose inputs are SQL. */
const words = ["sql", "eval"];

function fail(message) {
  console.error(`fuzz: ${message}`);
  process.exit(1);
}

function run(command, args, env = {}) {
  const { status, error } = spawnSync(command, args, { cwd: folder, env: { ...process.env, ...env }, stdio: ["ignore", 2, 2] });
  if (error || status !== 0) fail(`${[command, ...args].join(" ")}: ${error?.message ?? `ended with ${status}`}`);
}

/** Builds all of them; tells where they are. No nightly is needed without a sanitizer, and safe Rust gains little by one. */
function build() {
  if (spawnSync("c++", ["--version"]).status !== 0) fail("a C++ compiler is missing (c++), which builds libFuzzer: on Debian, g++");
  run(path.join(root, "scripts/setup.sh"), ["--fuzz"]);
  copyFileSync(path.join(root, "Cargo.lock"), path.join(folder, "Cargo.lock"));
  const target = process.env.CARGO_TARGET_DIR ?? path.join(root, "target", "fuzz");
  run("cargo", ["fuzz", "build", "--sanitizer", "none", "--codegen-units", "16"], { CARGO_TARGET_DIR: target });
  const host = /^host: (.*)$/m.exec(spawnSync("rustc", ["-vV"], { cwd: root, encoding: "utf8" }).stdout)[1];
  return path.join(target, host, "release");
}

/** Runs one target to its end. */
async function fuzz(binaries, target) {
  const [corpus, artifacts] = ["corpus", "artifacts"].map((name) => path.join(folder, name, target));
  for (const made of [corpus, artifacts]) mkdirSync(made, { recursive: true });
  const before = readdirSync(artifacts).length;
  const args = [corpus, path.join(folder, "seeds", target), `-runs=${runs}`, `-max_total_time=${secondsMax}`];
  args.push("-max_len=4096", "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1", `-artifact_prefix=${artifacts}/`);
  if (words.includes(target)) args.push(`-dict=${path.join(folder, "sql.dict")}`);
  const started = performance.now();
  const child = spawn(path.join(binaries, target), args, { stdio: ["ignore", "ignore", "pipe"] });
  let tail = "";
  let last = "";
  for await (const chunk of child.stderr.setEncoding("utf8")) {
    tail = (tail + chunk).slice(-20_000);
    last = tail.match(/^#\d+\t.* cov: \d+ .*$/gm)?.at(-1) ?? last;
  }
  const figure = (pattern, text) => Number(pattern.exec(text)?.[1] ?? 0);
  const crashes = readdirSync(artifacts).length - before;
  console.log(
    JSON.stringify({
      target,
      executions: figure(/number_of_executed_units: (\d+)/, tail) || figure(/^#(\d+)/, last),
      coverage: figure(/ cov: (\d+)/, last),
      corpus: figure(/ corp: (\d+)/, last),
      seconds: Math.round((performance.now() - started) / 1_000),
      crashes,
    }),
  );
  if (crashes > 0 || child.exitCode) {
    writeFileSync(path.join(artifacts, "log.txt"), tail);
    process.exitCode = 1;
  }
}

const unknown = asked.find((target) => !all.includes(target));
if (unknown) fail(`no target "${unknown}": ${all.join(", ")}`);
const binaries = build();
const waiting = [...asked];
const work = async () => {
  while (waiting.length > 0) await fuzz(binaries, waiting.shift());
};
await Promise.all(Array.from({ length: atOnce }, work));
