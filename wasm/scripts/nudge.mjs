// wasm-bindgen's test runner serves its page by a pool of threads that leaves a connection unserved when a fifth one comes in the
// same moment as others, until yet another one comes: then the page waits for a module for ever. So while tests run, one
// comes now and then. Linux tells at which port the runner listens; elsewhere nothing is done.
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { connect } from "node:net";

const RUNNER = "wasm-bindgen-te"; // As much of its name as the system keeps.
const EVERY_MS = 2_000;
const LISTENING = "0A";

/** Begins to nudge every runner of this machine; gives what ends that. */
export function nudge() {
  if (process.platform !== "linux") return () => undefined;
  const timer = setInterval(() => {
    try {
      for (const port of ports()) connect(port, "127.0.0.1", function () { this.destroy(); }).on("error", () => undefined);
    } catch {
      // It ended meanwhile.
    }
  }, EVERY_MS);
  return () => clearInterval(timer);
}

function ports() {
  const inodes = new Set(runners().flatMap(sockets));
  const lines = readFileSync("/proc/net/tcp", "utf8").trim().split("\n").slice(1);
  const entries = lines.map((line) => line.trim().split(/\s+/));
  const own = entries.filter(([, , , state, , , , , , inode]) => state === LISTENING && inodes.has(inode));
  return own.map(([, local]) => Number.parseInt(local.split(":")[1], 16));
}

function runners() {
  return readdirSync("/proc").filter((pid) => /^\d+$/.test(pid) && told(() => readFileSync(`/proc/${pid}/comm`, "utf8"))?.startsWith(RUNNER));
}

function sockets(pid) {
  const fds = told(() => readdirSync(`/proc/${pid}/fd`)) ?? [];
  return fds.flatMap((fd) => /^socket:\[(\d+)\]$/.exec(told(() => readlinkSync(`/proc/${pid}/fd/${fd}`)) ?? "")?.[1] ?? []);
}

function told(read) {
  try {
    return read();
  } catch {
    return undefined;
  }
}
