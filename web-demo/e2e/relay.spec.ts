// Four pages, one of them without WebRTC: it can be reached over the supernode alone and takes part all the same.
// Then one page dies and another comes late: whatever was acknowledged is there.

import { type BrowserContext, expect, type Page, test } from "@playwright/test";
import { Supernode } from "./processes";
import { idOf, inspect, links, open, run, until } from "./swarm";

const NETWORK = "relay";
const NAMESPACE = "kept";
const BATCH = 25;

test.describe.configure({ mode: "serial" });

const supernode = new Supernode(NETWORK);
const problems: string[] = [];
/** Acknowledged records: key and value. */
const kept = new Map<string, string>();
let context: BrowserContext;
let pages: Page[] = [];
/** The page without WebRTC; one of `pages`. */
let plain: Page;

const url = (): string => `${supernode.url}/?network=${NETWORK}`;

/** Puts records one after the other in a page; gives those that it acknowledged. */
function put(page: Page, keys: string[]): Promise<string[]> {
  return page.evaluate(
    async ({ namespace, keys }) => {
      const stored: string[] = [];
      for (const key of keys) {
        await window.pontoon!.put(namespace, key, `value of ${key}`).then(
          () => stored.push(key),
          () => undefined,
        );
      }
      return stored;
    },
    { namespace: NAMESPACE, keys },
  );
}

/** Records that were acknowledged and that a page does not read as they were written. */
function unread(page: Page): Promise<string[]> {
  return page.evaluate(
    async ({ namespace, kept }) => {
      const reads = kept.map(async ([key, value]) => {
        const entry = await window.pontoon!.get(namespace, key, { timeout: 20_000 }).catch((error: Error) => error);
        if (entry instanceof Error) return `${key}: ${entry.message}`;
        return entry?.value === value ? [] : `${key}: ${entry === null ? "absent" : String(entry.value)}`;
      });
      return (await Promise.all(reads)).flat();
    },
    { namespace: NAMESPACE, kept: [...kept] },
  );
}

async function owned(page: Page): Promise<number> {
  const { store } = await inspect(page);
  return store.namespaces.find(({ namespace }) => namespace === NAMESPACE)?.owned ?? 0;
}

test.beforeAll(async ({ browser }) => {
  await supernode.start();
  context = await browser.newContext();
});

test.afterAll(async () => {
  await context?.close();
  await supernode.remove();
});

test("three tabs with WebRTC and one without join", async () => {
  const without = (page: Page): Promise<unknown> =>
    page.addInitScript(() => Reflect.deleteProperty(window, "RTCPeerConnection"));
  pages = await Promise.all([0, 1, 2, 3].map((at) => open(context, url(), problems, at === 3 ? without : undefined)));
  plain = pages[3]!;
  await until("the three are linked directly, the fourth over the supernode", 30_000, async () => {
    const other = await idOf(plain);
    for (const page of pages.slice(0, 3)) {
      const toTabs = (await links(page)).filter(({ role }) => role === "peer");
      const wrong = toTabs.find(({ peer, kind }) => (kind === "direct") === (peer === other));
      if (toTabs.length < 3 || wrong) return `a tab has links ${toTabs.map(({ kind }) => kind).join(", ")}`;
    }
    return undefined;
  });
  const [own, seen] = [await links(plain), await inspect(plain)];
  expect(own.filter(({ role }) => role === "peer").map(({ transport }) => transport)).toEqual(["relay", "relay", "relay"]);
  expect(seen.driver.rtcOpened, "it never tried").toBe(0);
  expect(seen.counters["rtc_failed"] ?? 0, "and nobody made it fail").toBe(0);
});

test("it stores, and owns what others stored", async () => {
  for (let round = 0; round === 0 || (await owned(plain)) === 0; round += 1) {
    expect(round, "a tab of five owns something of so many records").toBeLessThan(20);
    await Promise.all(
      pages.map(async (page, at) => {
        const keys = Array.from({ length: BATCH }, (_, number) => `${round} ${at} ${number}`);
        const stored = await put(page, keys);
        expect(stored, "with everybody there all is acknowledged").toEqual(keys);
        for (const key of stored) kept.set(key, `value of ${key}`);
      }),
    );
  }
  console.log(`    of ${kept.size} records it owns ${await owned(plain)}`);
});

test("it answers: messages to what it owns, reads of others, its own reads", async () => {
  const own = await idOf(plain);
  const asked = pages[0]!;
  const answered = await asked.evaluate(
    async ({ namespace, keys }) => Promise.all(keys.map((key) => window.pontoon!.send(namespace, key, `about ${key}`))),
    { namespace: NAMESPACE, keys: [...kept.keys()].slice(0, 4 * BATCH) },
  );
  const held = await plain.evaluate((namespace) => window.pontoon!.lscan([namespace]).then((all) => all.length), NAMESPACE);
  expect(held).toBeGreaterThan(0);
  const inbox = await plain.evaluate(() => window.inbox!.length);
  expect(inbox, "every message whose delivery it confirmed arrived there").toBe(answered.filter((id) => id === own).length);
  for (const page of pages) expect(await unread(page)).toEqual([]);
});

test("who listens to a namespace hears of what it owns, and of nothing else", async () => {
  for (const page of pages) {
    await page.evaluate(async (namespace) => {
      const told: string[] = (window.told = []);
      window.endTelling = await window.pontoon!.onData(namespace, ({ key, value }) => told.push(`${key} ${String(value)}`));
    }, NAMESPACE);
  }
  const keys = Array.from({ length: BATCH }, (_, number) => `told ${number}`);
  expect(await put(pages[0]!, keys)).toEqual(keys);
  await pages[1]!.evaluate((namespace) => window.pontoon!.remove(namespace, "told 0"), NAMESPACE);
  for (const key of keys.slice(1)) kept.set(key, `value of ${key}`);
  const owners = await pages[2]!.evaluate(
    ({ namespace, keys }) => Promise.all(keys.map((key) => window.pontoon!.send(namespace, key, "whose?"))),
    { namespace: NAMESPACE, keys },
  );
  for (const page of pages) {
    const own = await idOf(page);
    const expected = keys.filter((_, at) => owners[at] === own).map((key) => `${key} value of ${key}`);
    if (owners[0] === own) expected.push("told 0 undefined");
    expect(await page.evaluate(() => window.told!.sort())).toEqual(expected.sort());
    await page.evaluate(() => window.endTelling!());
  }
});

test("it queries, with every part of the key space covered", async () => {
  await run(plain, { sql: "CREATE TABLE notes (id INTEGER PRIMARY KEY, note TEXT)" });
  const rows = Array.from({ length: 40 }, (_, id) => `(${id}, 'note ${id % 4}')`).join(", ");
  expect(await run(plain, { sql: `INSERT INTO notes VALUES ${rows}` })).toMatchObject({ affected: 40 });
  for (const page of [plain, pages[1]!]) {
    const counted = await run(page, { sql: "SELECT note, count(*) FROM notes GROUP BY note ORDER BY note" });
    expect(counted).toMatchObject({ coverage: 1, rows: [0, 1, 2, 3].map((note) => [`note ${note}`, 10]) });
  }
});

test("a tab dies while others write, one comes late: every acknowledged record is readable everywhere", async () => {
  const dying = pages.splice(1, 1)[0]!;
  const writing = pages.map((page, at) => put(page, Array.from({ length: BATCH }, (_, number) => `last ${at} ${number}`)));
  const session = await context.newCDPSession(dying);
  const gone = dying.waitForEvent("crash");
  void session.send("Page.crash").catch(() => undefined);
  await gone;
  for (const key of (await Promise.all(writing)).flat()) kept.set(key, `value of ${key}`);
  const late = await open(context, url(), problems);
  pages.push(late);
  for (const page of pages) expect(await unread(page)).toEqual([]);
  console.log(`    ${kept.size} records, read by ${pages.length} tabs`);
  const counted = await run(late, { sql: "SELECT count(*) FROM notes" });
  expect(counted).toMatchObject({ coverage: 1, rows: [[40]] });
});

test("no page had an uncaught error", () => {
  expect(problems).toEqual([]);
});
