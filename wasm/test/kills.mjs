// The kill matrix: three pages and a supernode, of which one or two at a time are killed, reloaded, frozen or restarted
// while all write. After each round every page must be linked to every other again, and what was acknowledged in it is
// read; every tenth time, and in the end, all that ever was.
//
//   node test/kills.mjs --rounds 200 --sleep-ms 60000 --seed 1 [--browser firefox]
//
// Chromium's debugger kills and freezes pages. Firefox's content process gets SIGKILL, or SIGSTOP and SIGCONT.
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { startSupernode } from "../scripts/supernode.mjs";
import { serve } from "./browser.mjs";
import { startProfiles } from "./profiles.mjs";

const PAGES = 3;
/** Links are back by then, and a peer that is gone is shown no longer than that. */
const LINKS_MS = 15_000;
const GHOST_MS = 30_000;
/** A majority that is silent for so long is given up, and the histories that part are one again by then. */
const LOST_MS = 15_000;
const MERGED_MS = 60_000;

/** Actions, each on a page but for the last one; each gives what brings back what it took. */
const actions = {
  async killed(swarm, page) {
    await swarm.crash(page);
    return () => swarm.open(page);
  },
  async reloaded(swarm, page) {
    return () => swarm.open(page);
  },
  async frozen(swarm, page) {
    await swarm.freeze(page);
    await pause(swarm.sleepMs);
    return () => swarm.thaw(page);
  },
  async restarted(swarm) {
    await swarm.supernode.kill();
    return () => swarm.supernode.start();
  },
};
const names = Object.keys(actions);

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Runs so many rounds; throws where one fails, and gives figures of all. */
export async function killMatrix({ rounds, seed = 1, sleepMs = 2_000, browser = "chromium", log = () => undefined }) {
  const swarm = new Swarm(browser, sleepMs);
  const figures = { rounds, writes: 0, interrupted: 0, back_ms: [] };
  const random = generator(seed);
  try {
    await swarm.begin();
    for (let round = 0; round < rounds; round += 1) {
      // Two at once every fifth time; never the same page twice.
      const first = { name: names[round % names.length], page: Math.floor(random() * PAGES) };
      const second = { name: names[Math.floor(random() * 3)], page: (first.page + 1) % PAGES };
      const chosen = round % 5 === 4 ? [first, second] : [first];
      const what = chosen.map(({ name, page }) => (name === "restarted" ? "supernode restarted" : `page ${page} ${name}`)).join(" and ");
      swarm.write(round);
      await pause(500);
      const back = await Promise.all(chosen.map(({ name, page }) => actions[name](swarm, page)));
      await pause(500 + random() * 1_000);
      const begun = performance.now();
      await Promise.all(back.map((bring) => bring()));
      await swarm.settle(what);
      const ms = performance.now() - begun;
      const { written, failed } = await swarm.stopWriting();
      const parted = chosen.length === 2 && chosen.every(({ name }) => name === "frozen") && sleepMs >= LOST_MS;
      const late = await swarm.verify(what, round % 10 === 9 || round === rounds - 1, parted ? MERGED_MS : 0);
      if (late > 1_000) log(`round ${round}: all was there ${Math.round(late)} ms later`);
      figures.writes += written;
      figures.interrupted += failed;
      figures.back_ms.push(ms);
      log(`round ${round}: ${what}: back in ${Math.round(ms)} ms, ${written} writes acknowledged, ${failed} not`);
    }
    figures.ghost_ms = await swarm.ghost();
    log(`a page that is gone is not shown after ${Math.round(figures.ghost_ms)} ms`);
    return figures;
  } finally {
    await swarm.end();
  }
}

class Swarm {
  acked = new Map();
  #profiles = [];
  #pages = [];

  constructor(browser, sleepMs) {
    this.kind = browser;
    this.sleepMs = sleepMs;
  }

  async begin() {
    [this.supernode, this.site, this.browser] = [await startSupernode(), await serve(), await startProfiles(this.kind)];
    this.#profiles = await Promise.all(Array.from({ length: PAGES }, () => this.browser.profile()));
    for (let page = 0; page < PAGES; page += 1) await this.open(page);
    await this.settle("the beginning");
  }

  async end() {
    await this.browser?.close();
    this.site?.close();
    await this.supernode?.stop();
  }

  /** Opens a page, anew or again: it is the same peer. */
  async open(index) {
    const page = (this.#pages[index] ??= await this.#newPage(index));
    await page.goto(this.site.address);
    await page.evaluate(async (supernode) => {
      const { connect } = await import("/index.js");
      window.db = await connect({ network: "pontoon", supernodes: [supernode], timeout: 30_000 });
    }, this.supernode.address).catch((error) => this.#tell(`page ${index} does not connect`, error));
    await this.#write(index);
  }

  /** Fails, with what the supernode and the pages say of themselves. */
  async #tell(what, cause) {
    const health = fetch(new URL("/healthz", this.supernode.address.replace(/^ws/, "http")));
    const supernode = await health.then((answer) => answer.text(), (error) => String(error.cause ?? error));
    const pages = await Promise.all(this.#pages.map((page) =>
      Promise.race([pause(2_000), page?.evaluate(() => db.inspect())]).catch((error) => error.message)));
    assert.fail(`${what}: ${cause.message}\nthe supernode: ${supernode}\nthe pages: ${JSON.stringify(pages)}`);
  }

  async #newPage(index) {
    const page = await this.#profiles[index].newPage();
    page.on("console", (message) => console.error(`page ${index} says: ${message.text()}`));
    await page.exposeFunction("acknowledged", (key, value) => void this.acked.set(key, value));
    return page;
  }

  async crash(index) {
    await this.#profiles[index].crash(this.#pages[index]);
    this.#pages[index] = undefined;
  }

  freeze(index) {
    return this.#profiles[index].freeze(this.#pages[index]);
  }

  thaw(index) {
    return this.#profiles[index].thaw(this.#pages[index]);
  }

  #round;

  /** Every page writes, one after the other, until told to stop. */
  write(round) {
    this.#round = round;
    this.#counts = { before: this.acked.size };
    return Promise.all(this.#pages.map((_, index) => this.#write(index)));
  }

  #counts;

  async #write(index) {
    if (this.#round === undefined) return;
    await this.#pages[index]?.evaluate(([name]) => {
      window.writing?.stop?.();
      const writing = (window.writing = { failed: 0, on: true, stop: () => (writing.on = false) });
      writing.done = (async () => {
        for (let number = 0; writing.on; number += 1) {
          const [key, value] = [`${name}-${performance.timeOrigin}-${number}`, Math.random()];
          await db.put("kills", key, value, { timeout: 5_000 }).then(() => acknowledged(key, value), () => (writing.failed += 1));
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      })();
    }, [`${this.#round}-${index}`]);
  }

  async stopWriting() {
    this.#round = undefined;
    const failed = await Promise.all(this.#pages.map((page) => page.evaluate(async () => {
      writing.stop();
      await writing.done;
      return writing.failed;
    })));
    return { written: this.acked.size - this.#counts.before, failed: failed.reduce((sum, count) => sum + count, 0) };
  }

  /** Waits until every page is linked to every other and to the supernode. */
  async settle(what) {
    const begun = performance.now();
    let last;
    while (performance.now() < begun + LINKS_MS) {
      const found = await Promise.all(this.#pages.map((page) => page.evaluate(async () => {
        const { id, joined, links } = await db.inspect();
        return { id, joined, linked: links.map(({ peer, kind, role }) => [peer, kind, role]) };
      })));
      last = found;
      const whole = found.every(({ joined, linked }, own) => joined && linked.some(([, , role]) => role === "supernode") &&
        found.every(({ id }, other) => other === own || linked.some(([peer]) => peer === id)));
      if (whole) return;
      await pause(50);
    }
    assert.fail(`${what}: links are not back within ${LINKS_MS} ms: ${JSON.stringify(last)}`);
  }

  /** Every acknowledged write of this round is there, or of all rounds, read by one of the pages. */
  async verify(what, ever, patienceMs) {
    const all = [...this.acked].slice(ever ? 0 : this.#counts.before);
    const reader = this.#pages[all.length % PAGES];
    const found = [];
    // A browser's answer is waited for no longer than some minutes.
    for (let from = 0; from < all.length; from += 1_024) found.push(...await this.#read(reader, all.slice(from, from + 1_024)));
    let missing = all.filter(([, value], index) => found[index] !== value);
    // Two that were frozen at once may be a majority, and given up: what only they had is brought back when they are.
    const begun = performance.now();
    let last;
    for (; missing.length > 0 && performance.now() < begun + patienceMs; await pause(500)) {
      last = await this.#read(reader, missing);
      missing = missing.filter(([, value], index) => last[index] !== value);
    }
    assert.deepEqual(missing, [], `${what}: acknowledged writes are lost: ${JSON.stringify(last)}`);
    return performance.now() - begun;
  }

  #read(page, writes) {
    return page.evaluate(async (keys) => {
      const read = async (key) => {
        for (const end = performance.now() + 15_000; ;) {
          try {
            return (await db.get("kills", key))?.value;
          } catch (error) {
            if (performance.now() > end) return `${error.code}: ${error.message}`;
          }
        }
      };
      const values = [];
      for (let from = 0; from < keys.length; from += 64) values.push(...await Promise.all(keys.slice(from, from + 64).map(read)));
      return values;
    }, writes.map(([key]) => key));
  }

  /** How long a page that is gone for good is shown by others. */
  async ghost() {
    const id = await this.#pages[0].evaluate(() => db.id);
    await this.crash(0);
    const begun = performance.now();
    for (;;) {
      const shown = await Promise.all(this.#pages.slice(1).map((page) => page.evaluate(async (id) => {
        const { peers, links } = await db.inspect();
        return [...peers.map((peer) => peer.id), ...links.map(({ peer }) => peer)].includes(id);
      }, id)));
      const ms = performance.now() - begun;
      if (!shown.includes(true)) return ms;
      assert.ok(ms < GHOST_MS, "a page that is gone is still shown");
      await pause(100);
    }
  }
}

/** Random numbers from 0 to 1 of a seed (mulberry32). */
function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "200" },
      seed: { type: "string", default: "1" },
      "sleep-ms": { type: "string", default: "60000" },
      browser: { type: "string", default: "chromium" },
    },
  });
  const { browser } = values;
  const figures = await killMatrix({
    rounds: Number(values.rounds), seed: Number(values.seed), sleepMs: Number(values["sleep-ms"]), browser, log: console.log,
  });
  const back = figures.back_ms.sort((a, b) => a - b);
  const run = { browser, rounds: figures.rounds, seed: Number(values.seed) };
  const line = (figure, value, unit) => console.log(JSON.stringify({ scenario: "kills", figure, value, unit, ...run }));
  line("writes", figures.writes, "writes");
  line("lost", 0, "writes");
  line("back_p50", back[Math.floor(back.length / 2)], "ms");
  line("back_max", back.at(-1), "ms");
  line("ghost", figures.ghost_ms, "ms");
}
