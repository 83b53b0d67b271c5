// What the tests do with pages: open them, ask them, wait for them. Every wait has a deadline and says how long it took.

import { type BrowserContext, expect, type Page } from "@playwright/test";
import type { Inspect, LinkInfo, Pontoon } from "pontoon-db";
import type { Answer, Statement } from "./processes";

declare global {
  interface Window {
    pontoon?: Pontoon;
    /** Messages that arrived, by the text that they carry. */
    inbox?: { from: string; message: unknown }[];
    /** New data that the page was told of, and how to end that. */
    told?: string[];
    endTelling?: () => void;
    /** Kinds of the links to other tabs that were seen since the page began. */
    kindsSeen?: Record<string, string[]>;
  }
}

const JOIN_MS = 30_000;
/** A look at a swarm in trouble may take as long as its calls: each is cut short so that the next can be tried. */
const ASK_MS = 6_000;

/** A result as it crosses from the page to the test. */
export interface Result {
  columns: string[];
  rows: unknown[][];
  affected: number;
  coverage: number;
  assumedLost: boolean;
}

export type Outcome = { ok: Result } | { code: string; message: string };

/** Opens a page and waits until its peer has joined; `prepare` is called before anything is loaded. */
export async function open(
  context: BrowserContext,
  url: string,
  problems: string[],
  prepare?: (page: Page) => Promise<unknown>,
): Promise<Page> {
  const page = await context.newPage();
  await prepare?.(page);
  page.on("pageerror", (error) => problems.push(`${error.name}: ${error.message}`));
  await page.addInitScript(() => {
    const seen: Record<string, string[]> = (window.kindsSeen = {});
    setInterval(async () => {
      for (const { peer, kind, role } of (await window.pontoon?.links().catch(() => [])) ?? []) {
        if (role !== "supernode" && !seen[peer]?.includes(kind)) (seen[peer] ??= []).push(kind);
      }
    }, 10);
  });
  await page.goto(url);
  await joined(page);
  return page;
}

/** Waits until the page's peer has joined, and collects its messages from then on. */
export async function joined(page: Page): Promise<void> {
  await page.waitForFunction(() => window.pontoon?.joined === true, undefined, { timeout: JOIN_MS });
  await page.evaluate(() => {
    const inbox: { from: string; message: unknown }[] = (window.inbox = []);
    window.pontoon!.onMessage(({ from, message }) => inbox.push({ from, message }));
  });
}

export function idOf(page: Page): Promise<string> {
  return page.evaluate(() => window.pontoon!.id);
}

export function inspect(page: Page): Promise<Inspect> {
  return page.evaluate(() => window.pontoon!.inspect());
}

export function links(page: Page): Promise<LinkInfo[]> {
  return page.evaluate(() => window.pontoon!.links());
}

/** Who a peer is linked with and which fragments it holds, for a failure's report. */
export function holdings({ id, role, joined, links, fragments }: Inspect): string {
  const short = (peer: string): string => peer.slice(0, 6);
  const linked = links.map((link) => `${short(link.peer)} ${link.kind}`).join(", ");
  const held = fragments.map(({ region, epoch, owner, members, state, leaseMs, records }) => {
    const group = `${short(owner)} of ${members.map(short).join(" ")}`;
    return `      ${region.padEnd(6)} epoch ${epoch} ${state.padEnd(8)} lease ${leaseMs} ms, ${records} records, ${group}`;
  });
  return [`    ${role} ${short(id)}${joined ? "" : " (not joined)"}: ${linked}`, ...held].join("\n");
}

/** Runs a statement in the page. Errors of the database come back as values. */
export function ask(page: Page, { sql, params = [] }: Statement, timeout = 30_000): Promise<Outcome> {
  return page.evaluate(
    async ({ sql, params, timeout }) => {
      try {
        const result = await window.pontoon!.query(sql, params, { timeout });
        const columns = result.columns.map(({ name }) => name);
        const { rows, affected, coverage, assumedLost } = result;
        return { ok: { columns, rows: rows.map((row) => columns.map((name) => row[name])), affected, coverage, assumedLost } };
      } catch (error) {
        const { code, message } = error as { code?: string; message: string };
        return { code: code ?? "no code", message };
      }
    },
    { sql, params, timeout },
  );
}

/** Runs a statement that must succeed. */
export async function run(page: Page, statement: Statement): Promise<Result> {
  const outcome = await ask(page, statement);
  if (!("ok" in outcome)) throw new Error(`${statement.sql}: ${outcome.code}: ${outcome.message}`);
  return outcome.ok;
}

/** What is wrong with a page's answer, measured by SQLite's; `undefined` when nothing is. */
export async function wrong(page: Page, query: Statement & { ordered?: boolean }, expected: Answer, timeout = ASK_MS): Promise<string | undefined> {
  const outcome = await ask(page, query, timeout);
  if (!("ok" in outcome)) return `${outcome.code}: ${outcome.message}`;
  const { rows, coverage } = outcome.ok;
  if (coverage !== 1) return `coverage is ${coverage}`;
  return difference(rows, expected.rows ?? [], query.ordered ?? false);
}

/** Waits until `problem` finds nothing wrong; gives the milliseconds it took, or fails with what was wrong last. */
export async function until(what: string, deadlineMs: number, problem: () => Promise<string | undefined>): Promise<number> {
  const began = performance.now();
  let last: string | undefined = "never looked";
  while (performance.now() - began < deadlineMs) {
    last = await problem();
    const took = Math.round(performance.now() - began);
    if (last === undefined && took > deadlineMs) last = `only after ${took} ms`;
    if (last === undefined) {
      console.log(`    ${what} after ${took} ms`);
      return took;
    }
    await new Promise((resume) => setTimeout(resume, 50));
  }
  throw new Error(`${what}: not within ${deadlineMs} ms: ${last}`);
}

/** How two lists of rows differ; numbers may differ in their last digits (sums of REALs depend on the order). */
export function difference(found: unknown[][], expected: unknown[][], ordered: boolean): string | undefined {
  if (found.length !== expected.length) return `${found.length} rows instead of ${expected.length}`;
  const arranged = (rows: unknown[][]): unknown[][] =>
    ordered ? rows : [...rows].sort((a, b) => (sortKey(a) < sortKey(b) ? -1 : 1));
  const ours = arranged(found);
  const theirs = arranged(expected);
  for (const [at, row] of ours.entries()) {
    const other = theirs[at]!;
    const same = row.length === other.length && row.every((value, column) => equal(value, other[column]));
    if (!same) return `row ${at}: ${JSON.stringify(row)} instead of ${JSON.stringify(other)}`;
  }
  return undefined;
}

function sortKey(row: unknown[]): string {
  return JSON.stringify(row.map((value) => (typeof value === "number" ? Number(value.toPrecision(6)) : value)));
}

function equal(a: unknown, b: unknown): boolean {
  if (typeof a === "number" && typeof b === "number") return Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(a), Math.abs(b));
  if (typeof a === "boolean") return Number(a) === b;
  return a === b;
}

/** Every link of every page to another tab is direct (WebRTC). */
export async function allDirect(pages: Page[]): Promise<string | undefined> {
  const ids = await Promise.all(pages.map(idOf));
  for (const page of pages) {
    const own = await idOf(page);
    const open = await links(page);
    for (const id of ids) {
      const link = open.find(({ peer }) => peer === id);
      if (id === own) continue;
      if (link?.kind !== "direct" || link.transport !== "webrtc") {
        return `${own.slice(0, 6)} to ${id.slice(0, 6)}: ${link ? `${link.kind} over ${link.transport}` : "no link"}`;
      }
    }
  }
  return undefined;
}

/** Waits until a message arrived at a page. */
export async function arrives(page: Page, from: string, text: string): Promise<void> {
  await expect
    .poll(() => page.evaluate(() => window.inbox), { timeout: 5_000, message: `"${text}" arrives` })
    .toContainEqual({ from, message: text });
}
