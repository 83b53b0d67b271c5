// A real supernode for tests: on a free port, with a store of its own that is removed in the end.
//
// PONTOON_SUPERNODE names the binary; without it, it is built. PONTOON_LOG says what it logs.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "..", "..");

/**
 * Starts one and waits until it answers; gives its WebSocket address, the directory of its `data`, `kill` (kill -9), `freeze` for some milliseconds,
 * `start`, which starts it again on the same port and store, and `stop`, which kills it for good.
 */
export async function startSupernode(...args) {
  const binary = supernodeBinary();
  const port = await freePort();
  const data = mkdtempSync(path.join(tmpdir(), "pontoon-test-"));
  let child, ended;
  const kill = async () => {
    child.kill("SIGKILL");
    await ended;
  };
  const freeze = async (ms) => {
    child.kill("SIGSTOP");
    await new Promise((resolve) => setTimeout(resolve, ms));
    child.kill("SIGCONT");
  };
  const stop = async () => {
    await kill();
    rmSync(data, { recursive: true, force: true });
  };
  const start = async () => {
    child = spawn(binary, ["--listen", `127.0.0.1:${port}`, "--data", data, "--log", process.env.PONTOON_LOG ?? "warn", ...args], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    ended = new Promise((resolve) => child.once("error", resolve).once("exit", resolve));
    for (let attempt = 0; attempt < 400; attempt += 1) {
      if (await fetch(`http://127.0.0.1:${port}/healthz`).then((answer) => answer.ok, () => false)) return;
      if (child.exitCode !== null || child.pid === undefined) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await stop();
    throw new Error(`the supernode ${binary} does not answer on port ${port}`);
  };
  await start();
  return { address: `ws://127.0.0.1:${port}/pontoon`, http: `http://127.0.0.1:${port}`, data, kill, freeze, start, stop };
}

/** The binary. */
export function supernodeBinary() {
  return process.env.PONTOON_SUPERNODE ?? build();
}

function build() {
  execFileSync("cargo", ["build", "--locked", "-p", "pontoon-supernode"], { cwd: root, stdio: "inherit" });
  const metadata = execFileSync("cargo", ["metadata", "--format-version=1", "--no-deps", "--locked"], {
    cwd: root,
    maxBuffer: 1 << 26,
  });
  return path.join(JSON.parse(metadata).target_directory, "debug", "pontoon-supernode");
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
