// `pontoon-db/react` in a page of Vite's development server: React there is the one that renders and subscribes twice.
import assert from "node:assert/strict";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { develop, supernode, visit } from "./stage.mjs";
import { application, installed } from "./tarball.mjs";

let address, outside;

describe("pontoon-db/react", () => {
  before(async () => {
    address = await develop(application("react"));
    // A peer beside the page, which sees and writes what the page does.
    const { connect } = await import(pathToFileURL(path.join(installed, "dist", "node.js")));
    outside = await connect({ network: "pontoon", supernodes: [supernode.address] });
    await outside.sql`CREATE TABLE react_bids (id INTEGER PRIMARY KEY, item TEXT, amount REAL)`;
    await outside.sql`INSERT INTO react_bids VALUES (1, 'boat', 12.5)`;
  });

  after(() => outside?.close());

  test("StrictMode opens one peer, which closes with its last user", { timeout: 90_000 }, async () => {
    const before = (await sockets(1)).counters.socketsOpened;
    await shop(supernode.address, 15_000, async (page) => {
      await text(page, "#state", "open true");
      await text(page, "output", "1 above 10");
      assert.equal(await page.evaluate(() => opened.size), 1);
      assert.equal((await sockets(2)).counters.socketsOpened, before + 1);
      await page.click("#toggle");
      await sockets(1);
      await page.click("#toggle");
      await text(page, "output", "1 above 10");
      assert.equal(await page.evaluate(() => opened.size), 2);
      assert.equal((await sockets(2)).counters.socketsOpened, before + 2);
      await page.click("#toggle");
      await sockets(1);
    });
  });

  test("queries run once, follow their parameters, and are cancelled", { timeout: 90_000 }, async () => {
    await shop(supernode.address, 15_000, async (page) => {
      await text(page, "output", "1 above 10");
      await text(page, "code", "undefined_table");
      const asked = () => page.evaluate(() => queries.filter(({ params }) => params.length > 0).map(({ params, outcome }) => [...params, outcome]));
      assert.deepEqual(await asked(), [[10, "done"]]);

      // Of two clicks the second one comes when React has rendered the first, and before its answer.
      await page.evaluate(async () => {
        for (const button of Array(2).fill(document.querySelector("#less"))) {
          button.click();
          await Promise.resolve();
        }
      });
      await text(page, "output", "1 above 8");
      assert.deepEqual(await asked(), [[10, "done"], [9, "query_canceled"], [8, "done"]]);

      await outside.sql`INSERT INTO react_bids VALUES (2, 'mast', 9)`;
      await page.click("#again");
      await text(page, "output", "2 above 8");
      await page.click("#toggle");
      await sockets(1);
    });
  });

  test("live rows follow what another peer writes", { timeout: 90_000 }, async () => {
    await shop(supernode.address, 15_000, async (page) => {
      await text(page, "ul", "boat 12.5mast 9");
      await outside.sql`UPDATE react_bids SET amount = 13 WHERE id = 1`;
      await text(page, "ul", "boat 13mast 9");
      await outside.sql`DELETE FROM react_bids WHERE id = 2`;
      await text(page, "ul", "boat 13");
      await page.click("#toggle");
      await sockets(1);
    });
  });

  test("components are told that nobody lets them in", { timeout: 60_000 }, async () => {
    await shop("ws://127.0.0.1:1/", 500, async (page) => {
      await text(page, "#state", "failed true");
      await text(page, "output", "unreachable");
    });
  });
});

/** Opens the shop in React. */
function shop(supernode, timeout, use) {
  return visit(`${address}?${new URLSearchParams({ supernode, timeout })}`, use);
}

/** Waits until an element says so. */
async function text(page, selector, wanted) {
  const says = ([selector, wanted]) => document.querySelector(selector)?.textContent === wanted;
  await page.waitForFunction(says, [selector, wanted], { timeout: 20_000 }).catch(async (cause) => {
    assert.fail(`${selector} says "${await page.textContent(selector).catch(() => "nothing")}", not "${wanted}": ${cause.message}`);
  });
}

/** What the supernode says of itself, once so many sockets are open at it: it knows all peers, whoever opened them. */
async function sockets(wanted) {
  const address = new URL("/healthz", supernode.address.replace("ws:", "http:"));
  let health;
  for (const end = Date.now() + 20_000; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 50))) {
    health = await (await fetch(address)).json();
    if (health.sockets === wanted) return health;
  }
  return assert.fail(`${health.sockets} sockets are open at the supernode, not ${wanted}`);
}
