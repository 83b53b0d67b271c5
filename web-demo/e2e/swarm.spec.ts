// The story of a swarm: four tabs and a supernode, data, questions, newcomers, failures.

import { createRequire } from "node:module";
import { type BrowserContext, expect, type Page, test } from "@playwright/test";
import { type Answer, askSqlite, SCHEMA, Supernode } from "./processes";
import { CHANGES, QUERIES } from "./queries";
import { allDirect, arrives, ask, difference, holdings, idOf, inspect, joined, links, open, run, until, wrong } from "./swarm";

const NETWORK = "e2e";
const ROWS = 3_376 + 5_366;

test.describe.configure({ mode: "serial" });

const supernode = new Supernode(NETWORK);
const problems: string[] = [];
let context: BrowserContext;
let pages: Page[] = [];
let expected: Answer[] = [];
let changed: Answer[] = [];
/** SQLite's answers to QUERIES as of now. */
let now: Answer[] = [];

const url = (): string => `${supernode.url}/?network=${NETWORK}`;

/** Whether the key space is whole again, seen from every page: a question that every part must answer is answered right. */
async function whole(asked: Page[]): Promise<string | undefined> {
  const found = await Promise.all(asked.map((page) => wrong(page, QUERIES[0]!, now[0]!, 3_000)));
  return found.find((problem) => problem !== undefined);
}

/** Waits until the key space is whole again; then all pages must answer everything, at the first try. */
async function recovers(what: string, deadlineMs: number, asked: Page[]): Promise<void> {
  await until(what, deadlineMs, () => whole(asked)).catch(async (error: unknown) => {
    const snapshots = await Promise.all([...asked.map(inspect), supernode.inspect().catch(() => undefined)]);
    console.log(snapshots.filter((snapshot) => snapshot !== undefined).map(holdings).join("\n"));
    throw error;
  });
  expect(await anyWrong(asked)).toBeUndefined();
}

/** What is wrong with any page's answer to any query; each page is asked by itself, all of them at once. */
async function anyWrong(asked: Page[]): Promise<string | undefined> {
  const found = await Promise.all(
    asked.map(async (page) => {
      for (const [at, query] of QUERIES.entries()) {
        const problem = await wrong(page, query, now[at]!);
        if (problem) return `${query.shape}: ${problem}`;
      }
      return undefined;
    }),
  );
  return found.find((problem) => problem !== undefined);
}

test.beforeAll(async ({ browser }) => {
  const answers = askSqlite([...QUERIES, ...CHANGES, ...QUERIES]);
  expected = answers.slice(0, QUERIES.length);
  changed = answers.slice(QUERIES.length);
  now = expected;
  await supernode.start();
  context = await browser.newContext();
});

test.afterAll(async () => {
  await context?.close();
  await supernode.remove();
});

test("four tabs join through the supernode", async () => {
  pages = await Promise.all([0, 1, 2, 3].map(() => open(context, url(), problems)));
  await until("every tab knows the three others and the supernode", 20_000, async () => {
    for (const page of pages) {
      const known = (await inspect(page)).peers.length;
      if (known < 4) return `a tab knows ${known} others`;
    }
    return undefined;
  });
});

test("all four create the same schema at once", async () => {
  const outcomes = await Promise.all(pages.flatMap((page) => SCHEMA.map((sql) => ask(page, { sql }))));
  expect(outcomes.map((outcome) => ("ok" in outcome ? "ok" : outcome))).toEqual(outcomes.map(() => "ok"));
  const different = await ask(pages[2]!, { sql: "CREATE TABLE airports (iata INTEGER PRIMARY KEY)" });
  expect(different).toMatchObject({ code: "duplicate_table" });
});

test("two tabs insert the same key at once, a hundred times, and the same unique value: one wins each time", async () => {
  const [a, b] = pages as [Page, Page];
  await run(a, { sql: "CREATE TABLE race (id INTEGER PRIMARY KEY, mail TEXT UNIQUE, who TEXT CHECK (who <> ''))" });
  const sql = "INSERT INTO race VALUES ($1, $2, $3)";
  const both = (params: (at: number) => (string | number)[]) =>
    Promise.all([a, b].map((page, at) => ask(page, { sql, params: params(at) })));
  const said = (outcomes: object[]) => outcomes.map((it) => ("ok" in it ? "ok" : "code" in it ? it.code : it)).sort();
  for (let round = 0; round < 100; round++) {
    const [key, value] = [2 * round, 2 * round + 1];
    expect(said(await both((at) => [key, `key ${round} of ${at}`, "tab"])), `key ${key}`).toEqual(["ok", "unique_violation"]);
    expect(said(await both((at) => [1_000 * (at + 1) + round, `mail ${round}`, "tab"])), `value ${value}`).toEqual(["ok", "unique_violation"]);
  }
  expect((await run(b, { sql: "SELECT count(*), count(DISTINCT mail) FROM race" })).rows).toEqual([[200, 200]]);
  // Of what is refused nothing is left: neither the row nor its unique value.
  expect(await ask(a, { sql, params: [9_000, "fresh", ""] })).toMatchObject({ code: "check_violation" });
  expect(await ask(a, { sql: "INSERT INTO race VALUES (9000, 'fresh', 'x'), (0, 'other', 'x')" })).toMatchObject({ code: "unique_violation" });
  expect(await ask(b, { sql: "INSERT INTO race VALUES (9001, 'fresh', 'x'), (9002, 'other', 'x')" })).toMatchObject({ ok: { affected: 2 } });
  expect((await run(a, { sql: "SELECT id FROM race WHERE mail IN ('fresh', 'other', 'mail 7x') ORDER BY id" })).rows).toEqual([[9_001], [9_002]]);
  await run(a, { sql: "DROP TABLE race" });
});

test("links turn from relayed to direct between all tabs", async () => {
  await until("all links between tabs direct", 30_000, () => allDirect(pages));
  for (const page of pages) {
    const seen = await page.evaluate(() => window.kindsSeen!);
    console.log(`    ${(await idOf(page)).slice(0, 6)} saw ${Object.values(seen).map((kinds) => kinds.join(" then ")).join(", ")}`);
  }
  const seen = await Promise.all(pages.map((page) => page.evaluate(() => Object.values(window.kindsSeen!).flat())));
  expect(seen.flat(), "links were relayed first").toContain("relayed");
});

test("tab A loads airports and routes with the page's own button; twice is harmless", async () => {
  const [a] = pages as [Page];
  const contested: string[] = [];
  a.on("console", (message) => {
    if (message.text().startsWith("rows of a batch are there already")) contested.push(message.text());
  });
  await a.click("#load-basic");
  const label = a.locator("#load-label");
  await expect(label).toContainText("aboard", { timeout: 60_000 });
  await expect(a.locator("#load-error")).toBeHidden();
  console.log(`    ${await label.textContent()}`);
  await expect(label).toContainText(`${ROWS.toLocaleString("en")} rows`);
  expect(contested, "nobody else inserts, so no key is there before").toEqual([]);
  await a.click("#load-basic");
  await expect(label).toContainText("aboard already", { timeout: 20_000 });
});

test(`tab B answers ${QUERIES.length} questions as SQLite does, with coverage 1`, async () => {
  const b = pages[1]!;
  for (const [at, query] of QUERIES.entries()) {
    const began = performance.now();
    const problem = await wrong(b, query, expected[at]!, 20_000);
    expect.soft(problem, `${query.shape}: ${query.sql}`).toBeUndefined();
    console.log(`    ${(performance.now() - began).toFixed(0).padStart(5)} ms  ${query.shape}`);
  }
});

test("every tab gives the same answers", async () => {
  expect(await anyWrong(pages)).toBeUndefined();
});

test("tab B's console shows the answer, its coverage and its plan", async () => {
  const b = pages[1]!;
  await b.getByRole("button", { name: "Busiest states" }).click();
  await b.click("#run");
  await expect(b.locator("#result .badge")).toHaveText("complete", { timeout: 20_000 });
  const first = expected[0]!.rows![0]!.map((value) => (typeof value === "number" ? value.toLocaleString("en") : String(value)));
  await expect(b.locator("#result tbody tr").first().locator("td")).toHaveText(first);
  await expect(b.locator("#result tbody tr")).toHaveCount(10);
  await b.getByRole("button", { name: "Explain the plan" }).click();
  await b.click("#run");
  await expect(b.locator("#result .plan")).toContainText(/join/i);
  const missing = await ask(b, { sql: "SELECT x FROM no_such_table" });
  expect(missing).toMatchObject({ code: "undefined_table" });
});

test("the page is accessible, light and dark", async () => {
  const b = pages[1]!;
  await b.addScriptTag({ path: createRequire(import.meta.url).resolve("axe-core") });
  for (const colorScheme of ["light", "dark"] as const) {
    await b.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    const violations = await b.evaluate(async () => {
      const { violations } = await (window as unknown as { axe: typeof import("axe-core") }).axe.run();
      return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(" ")).join(", ")}`);
    });
    expect.soft(violations, colorScheme).toEqual([]);
  }
});

test("rows are spread: nobody owns all of a table, and all own it together", async () => {
  const snapshots = [await supernode.inspect(), ...(await Promise.all(pages.map(inspect)))];
  for (const [table, rows] of [["airports", 3_376], ["routes", 5_366]] as const) {
    const owned = snapshots.map(({ store }) =>
      store.namespaces.filter(({ namespace }) => namespace.includes(table)).reduce((sum, part) => sum + part.owned, 0),
    );
    console.log(`    ${table} owned by supernode and tabs: ${owned.join(", ")}`);
    expect(owned.reduce((sum, part) => sum + part, 0)).toBe(rows);
    expect(Math.max(...owned)).toBeLessThan(rows);
    expect(owned.filter((part) => part > 0).length).toBeGreaterThan(1);
  }
});

test("changes made in tab C are seen in tab D", async () => {
  const [, , c, d] = pages as [Page, Page, Page, Page];
  for (const [at, statement] of CHANGES.entries()) {
    const result = await run(c, statement);
    expect(result.affected, statement.sql).toBe(changed[at]!.affected);
  }
  now = changed.slice(CHANGES.length);
  const again = await ask(c, CHANGES.at(-1)!);
  expect(again).toMatchObject({ code: "unique_violation" });
  expect(await anyWrong([d])).toBeUndefined();
});

test("messages arrive: to one, and to all", async () => {
  const [a, b, ...rest] = pages as [Page, Page, ...Page[]];
  const [to, from] = [await idOf(a), await idOf(b)];
  await b.evaluate((id) => window.pontoon!.sendNode(id, "to one"), to);
  await arrives(a, from, "to one");
  const reached = await b.evaluate(() => window.pontoon!.sendAll("to all"));
  expect(reached).toEqual({ nodes: 4, coverage: 1 });
  for (const page of [a, ...rest]) await arrives(page, from, "to all");
});

test("a late tab has everything", async () => {
  const late = await open(context, url(), problems);
  pages.push(late);
  await recovers("the late tab answers as the others do", 20_000, [late]);
  await until("all links between five tabs direct", 30_000, () => allDirect(pages));
});

test("a reloaded tab is the same peer again", async () => {
  const c = pages[2]!;
  const before = await idOf(c);
  await c.reload();
  await joined(c);
  expect(await idOf(c)).toBe(before);
  await until("all links direct after the reload", 10_000, () => allDirect(pages));
  await recovers("all tabs answer after the reload", 20_000, pages);
});

test("the supernode is killed: all answers stay, messages arrive over direct links", async () => {
  await supernode.kill();
  await recovers("all tabs answer without the supernode", 15_000, pages);
  const [a, b, ...rest] = pages as [Page, Page, ...Page[]];
  for (const page of pages) expect((await links(page)).map(({ transport }) => transport)).not.toContain("websocket");
  expect(await allDirect(pages)).toBeUndefined();
  const [to, from] = [await idOf(a), await idOf(b)];
  await b.evaluate((id) => window.pontoon!.sendNode(id, "still to one"), to);
  await arrives(a, from, "still to one");
  const reached = await b.evaluate(() => window.pontoon!.sendAll("still to all"));
  expect(reached).toEqual({ nodes: pages.length - 1, coverage: 1 });
  for (const page of [a, ...rest]) await arrives(page, from, "still to all");
});

test("it starts again on its old store: the tabs find it, and its rows are there", async () => {
  const writer = pages[3]!;
  await run(writer, { sql: "INSERT INTO airports VALUES ('PONT3', 'Meanwhile', 'Away', 'NO', 'Norway', 59.9, 10.7)" });
  await supernode.start();
  await until("every tab has a link to the supernode again", 30_000, async () => {
    for (const page of pages) {
      if (!(await links(page)).some(({ role }) => role === "supernode")) return `${(await idOf(page)).slice(0, 6)} has none`;
    }
    return undefined;
  });
  await until("the supernode owns rows again", 30_000, async () => {
    const { store } = await supernode.inspect();
    const owned = store.namespaces.filter(({ namespace }) => /airports|routes/.test(namespace)).map((part) => part.owned);
    return owned.some((rows) => rows > 0) ? undefined : `it owns ${owned.join(", ") || "nothing"}`;
  });
  await run(writer, { sql: "DELETE FROM airports WHERE iata = 'PONT3'" });
  await recovers("all tabs answer with the supernode back", 20_000, pages);
});

test("a tab crashes without goodbye: the others give the same answers", async () => {
  const crashed = pages.splice(3, 1)[0]!;
  const session = await context.newCDPSession(crashed);
  const gone = crashed.waitForEvent("crash");
  void session.send("Page.crash").catch(() => undefined);
  await gone;
  await recovers("the remaining tabs answer", 30_000, pages);
});

test("the tab that loaded the rows is closed: what the others are told stays exact", async () => {
  const closed = pages.shift()!;
  const owned = (await inspect(closed)).store.namespaces.filter(({ namespace }) => /airports|routes/.test(namespace));
  expect(owned.reduce((sum, part) => sum + part.owned, 0), "rows that it owns").toBeGreaterThan(0);
  let [done, exact, short] = [false, 0, 0];
  const asking = (async () => {
    for (let at = 0; !done; at = (at + 1) % QUERIES.length) {
      const outcome = await ask(pages[0]!, QUERIES[at]!, 2_000);
      if (!("ok" in outcome) || outcome.ok.coverage < 1) short += 1;
      else {
        exact += 1;
        expect.soft(difference(outcome.ok.rows, now[at]!.rows ?? [], QUERIES[at]!.ordered ?? false), QUERIES[at]!.sql).toBeUndefined();
      }
    }
  })();
  await closed.close();
  await recovers("the others answer without it", 20_000, pages);
  done = true;
  await asking;
  console.log(`    ${exact} complete answers meanwhile, all of them exact; ${short} said that they are not complete`);
  expect(exact).toBeGreaterThan(0);
});

test("no page had an uncaught error", () => {
  expect(problems).toEqual([]);
});
