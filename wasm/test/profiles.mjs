// Browsers whose pages can be killed and frozen. Each gives profiles, with a storage of their own that outlives its page:
// `newPage`, `crash`, and `freeze` and `thaw` of a page that is hidden meanwhile.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import puppeteer from "puppeteer-core";
import { FIREFOX } from "../scripts/firefox.mjs";
import { launchTabs, until } from "./browser.mjs";

/** Starts "chromium" or "firefox"; gives `profile` and `close`. */
export async function startProfiles(kind) {
  if (kind === "chromium") {
    const browser = await launchTabs();
    return {
      profile: async () => new ChromiumProfile(await browser.createBrowserContext()),
      close: () => browser.close(),
    };
  }
  assert.equal(kind, "firefox", "a browser is chromium or firefox");
  const profiles = [];
  return {
    profile() {
      const profile = FirefoxProfile.launch();
      profiles.push(profile);
      return profile;
    },
    close: () => Promise.all(profiles.map((profile) => profile.then((launched) => launched.close(), () => undefined))),
  };
}

/** A page freezes only while it is hidden: another one is brought in front of it. */
class Profile {
  #front;

  async hide(page) {
    this.#front = await this.newPage();
    await this.#front.bringToFront();
    assert.equal(await page.evaluate(() => document.visibilityState), "hidden");
  }

  async show(page) {
    await this.#front.close();
    await page.bringToFront();
  }
}

/** A context of one Chromium; its debugger crashes and freezes pages. */
class ChromiumProfile extends Profile {
  #context;

  constructor(context) {
    super();
    this.#context = context;
  }

  newPage() {
    return this.#context.newPage();
  }

  async crash(page) {
    const gone = new Promise((resolve) => page.once("error", resolve));
    const session = await page.createCDPSession();
    void session.send("Page.crash").catch(() => undefined);
    await gone;
    await page.close().catch(() => undefined);
  }

  async freeze(page) {
    await this.hide(page);
    await this.#state(page, "frozen");
  }

  async thaw(page) {
    await this.#state(page, "active");
    await this.show(page);
  }

  async #state(page, state) {
    const session = await page.createCDPSession();
    await session.send("Page.setWebLifecycleState", { state });
    await session.detach();
  }
}

/** A Firefox of its own, with one process for all its pages, which gets the signals. */
class FirefoxProfile extends Profile {
  #browser;

  static async launch() {
    const extraPrefsFirefox = {
      ...FIREFOX.extraPrefsFirefox,
      "dom.ipc.processCount": 1,
      "dom.ipc.processPrelaunch.enabled": false,
      "browser.tabs.crashReporting.sendReport": false,
    };
    const profile = new FirefoxProfile();
    profile.#browser = await puppeteer.launch({ ...FIREFOX, extraPrefsFirefox, timeout: 60_000 });
    // Of several browsers Puppeteer ends only some when it is interrupted.
    process.once("exit", profile.#kill);
    return profile;
  }

  newPage() {
    return this.#browser.newPage();
  }

  async crash(page) {
    const [content] = this.#signal("SIGKILL");
    await until("the content process is gone", 5_000, () => !this.#content().includes(content));
    await within(5_000, page.close());
  }

  async freeze(page) {
    await this.hide(page);
    this.#signal("SIGSTOP");
  }

  async thaw(page) {
    this.#signal("SIGCONT");
    await this.show(page);
  }

  async close() {
    // A process that is stopped would not end.
    for (const content of this.#content()) process.kill(content, "SIGCONT");
    await within(15_000, this.#browser.close());
    this.#kill();
    process.off("exit", this.#kill);
  }

  /** Ends all its processes that still run. */
  #kill = () => {
    try {
      process.kill(-this.#browser.process().pid, "SIGKILL");
    } catch {
      // None does.
    }
  };

  #signal(name) {
    const content = this.#content();
    assert.equal(content.length, 1, `content processes: ${content}`);
    process.kill(content[0], name);
    return content;
  }

  /** Processes below this Firefox (its fork server is between) that have web pages. */
  #content() {
    const processes = new Map();
    for (const id of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
      try {
        const [, name, parent] = /\((.*)\) \S (\d+)/s.exec(readFileSync(`/proc/${id}/stat`, "latin1"));
        processes.set(Number(id), { name, parent: Number(parent) });
      } catch {
        // It has ended.
      }
    }
    const own = (id) => id === this.#browser.process().pid || (processes.has(id) && own(processes.get(id).parent));
    return [...processes.keys()].filter((id) => processes.get(id).name === "Web Content" && own(id));
  }
}

/** Waits for a promise, which may fail, but no longer than that. */
async function within(ms, promise) {
  let timer;
  await Promise.race([promise.catch(() => undefined), new Promise((resolve) => (timer = setTimeout(resolve, ms)))]);
  clearTimeout(timer);
}
