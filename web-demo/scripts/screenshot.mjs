// Makes the pictures of docs/images from the real page: a supernode, three tabs, the sample data, a question.
//
//   npm run screenshot       (after `make demo` has built things, or with PONTOON_SUPERNODE=path)
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "@playwright/test";
import { CHROMIUM } from "./chromium.mjs";

const root = path.resolve(import.meta.dirname, "..", "..");
const images = path.join(root, "docs", "images");
const target = process.env.CARGO_TARGET_DIR ?? path.join(root, "target");
const supernode =
  process.env.PONTOON_SUPERNODE ??
  ["release", "debug"].map((profile) => path.join(target, profile, "pontoon-supernode")).find(existsSync);
if (!supernode) throw new Error("no supernode is built: make demo");

const WAIT_MS = 60_000;

const data = mkdtempSync(path.join(tmpdir(), "pontoon-pictures-"));
const child = spawn(supernode, ["--listen", "127.0.0.1:0", "--data", data, "--log", "error"], {
  stdio: ["ignore", "pipe", "inherit"],
});
const browser = await chromium.launch(CHROMIUM);
try {
  const url = await new Promise((found) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const address = /http:\/\/[\d.]+:\d+/.exec(line)?.[0];
      if (address) found(address);
    });
  });
  const context = await browser.newContext();
  const [first, second, third] = await Promise.all([context.newPage(), context.newPage(), context.newPage()]);
  const tabs = [first, second, third];
  for (const tab of tabs) {
    await tab.goto(url);
    await tab.locator('#state[data-state="joined"]').waitFor({ timeout: WAIT_MS });
  }
  await first.click("#load-basic");
  await first.getByText("aboard in").waitFor({ timeout: WAIT_MS });
  // Each tab asks for itself what the first one loaded; the others greet it.
  for (const tab of tabs) {
    await tab.locator('#panel-links [data-kind="direct"]').nth(2).waitFor({ timeout: WAIT_MS });
    await tab.click("#run");
    await tab.locator("#result .badge").waitFor({ timeout: WAIT_MS });
  }
  await third.click("#wave");
  await second.fill("#chat-text", "Ahoy! The airports have arrived here too.");
  await second.click("#chat-send");
  await first.locator("#chat-log li").nth(1).waitFor({ timeout: WAIT_MS });

  mkdirSync(images, { recursive: true });
  await second.click("#tab-store");
  await picture("demo", first, 1360, "light");
  await picture("demo-dark", second, 1360, "dark");
  await picture("demo-phone", third, 390, "light");
} finally {
  await browser.close();
  child.kill("SIGKILL");
  rmSync(data, { recursive: true, force: true });
}

/**
 * @param {string} name
 * @param {import("@playwright/test").Page} tab
 * @param {number} width
 * @param {"light" | "dark"} colorScheme
 */
async function picture(name, tab, width, colorScheme) {
  await tab.emulateMedia({ colorScheme, reducedMotion: "reduce" });
  await tab.setViewportSize({ width, height: 900 });
  await tab.mouse.move(0, 0);
  await tab.waitForTimeout(1500);
  await tab.screenshot({ path: path.join(images, `${name}.png`), fullPage: true });
  console.log(`docs/images/${name}.png`);
}
