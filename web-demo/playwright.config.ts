// End to end: real pages in a real Chromium against the real supernode. Two stories, each told in order, by one worker.
import { defineConfig } from "@playwright/test";
import { CHROMIUM } from "./scripts/chromium.mjs";

const { headless, ...launchOptions } = CHROMIUM;

export default defineConfig({
  testDir: "e2e",
  outputDir: "../target/e2e",
  workers: 1,
  retries: 0,
  forbidOnly: true,
  timeout: 60_000,
  globalTimeout: 5 * 60_000,
  reporter: [["list"]],
  use: { headless, launchOptions },
});
