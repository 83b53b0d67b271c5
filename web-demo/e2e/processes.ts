// The native programs that the tests run: the supernode as a user starts it, and the oracle (SQLite).

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { Inspect } from "pontoon-db";

const require = createRequire(import.meta.url);
const root = resolve(import.meta.dirname, "..", "..");

/** The built program: `PONTOON_SUPERNODE`, else cargo's debug build. */
export const SUPERNODE = process.env["PONTOON_SUPERNODE"] ?? built("pontoon-supernode");
/** The built oracle: `PONTOON_ORACLE`, else the one beside the supernode. */
const ORACLE = process.env["PONTOON_ORACLE"] ?? join(dirname(SUPERNODE), "oracle");
const READY_MS = 15_000;

function built(name: string): string {
  const target = process.env["CARGO_TARGET_DIR"] ?? join(root, "target");
  return join(target, "debug", name);
}

/** A supernode that the test may kill and start again on its store and port. */
export class Supernode {
  readonly data = mkdtempSync(join(tmpdir(), "pontoon-e2e-"));
  private child: ChildProcess | undefined;
  /** `http://127.0.0.1:port`; known once it has started. */
  url = "";

  constructor(readonly network: string) {}

  /** Starts it, the first time on a free port and later on the same one, and waits until it is ready. */
  async start(): Promise<void> {
    const listen = this.url === "" ? "127.0.0.1:0" : new URL(this.url).host;
    const child = spawn(
      SUPERNODE,
      ["--listen", listen, "--data", this.data, "--network", this.network, "--log", process.env["PONTOON_LOG"] ?? "warn"],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    this.child = child;
    this.url = await new Promise<string>((found, failed) => {
      const late = setTimeout(() => failed(new Error(`no sign of life of ${SUPERNODE} within ${READY_MS} ms`)), READY_MS);
      child.once("error", failed);
      child.once("exit", (code, signal) => failed(new Error(`the supernode ended with ${code ?? signal}`)));
      createInterface({ input: child.stdout! }).on("line", (line) => {
        const url = /http:\/\/[\d.]+:\d+/.exec(line)?.[0];
        if (!url) return;
        clearTimeout(late);
        found(url);
      });
    });
    child.removeAllListeners("exit");
  }

  /** `kill -9`: no goodbye, nothing flushed. */
  async kill(): Promise<void> {
    const child = this.child;
    if (!child) return;
    this.child = undefined;
    const gone = new Promise((ended) => child.once("exit", ended));
    child.kill("SIGKILL");
    await gone;
  }

  /** What the supernode says of itself. */
  async inspect(): Promise<Inspect> {
    const response = await fetch(`${this.url}/v1/inspect`);
    return (await response.json()) as Inspect;
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.data, { recursive: true, force: true });
  }
}

/** A statement with its parameters. */
export interface Statement {
  sql: string;
  params?: (string | number | null)[];
}

/** SQLite's answer to one statement. */
export interface Answer {
  columns?: string[];
  rows?: unknown[][];
  affected?: number;
}

/** The sample tables, created as the page creates them. */
export const SCHEMA: string[] = [
  `CREATE TABLE IF NOT EXISTS airports (iata TEXT PRIMARY KEY, name TEXT, city TEXT, state TEXT, country TEXT, latitude REAL, longitude REAL)`,
  `CREATE TABLE IF NOT EXISTS routes (origin TEXT, destination TEXT, count INTEGER, PRIMARY KEY (origin, destination))`,
];

/** What SQLite answers to the statements, run in order over the sample data. */
export function askSqlite(statements: Statement[]): Answer[] {
  if (!existsSync(ORACLE)) throw new Error(`${ORACLE} is missing: cargo build -p pontoon-tests --bin oracle`);
  const data = join(dirname(require.resolve("vega-datasets")), "..", "data");
  const tables = [
    { name: "airports", create: SCHEMA[0], csv: join(data, "airports.csv") },
    { name: "routes", create: SCHEMA[1], csv: join(data, "flights-airport.csv") },
  ];
  const output = execFileSync(ORACLE, { input: JSON.stringify({ tables, statements }), maxBuffer: 1 << 28 });
  return JSON.parse(output.toString()) as Answer[];
}
