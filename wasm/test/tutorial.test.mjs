// The tutorial's blocks run in a real page, in their order, and print what it says they do.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { startSupernode } from "../scripts/supernode.mjs";
import { launch, serve } from "./browser.mjs";

const file = path.resolve(import.meta.dirname, "..", "..", "docs", "tutorial.md");

test("the tutorial runs as it stands", { timeout: 60_000 }, async () => {
  const text = await readFile(file, "utf8");
  const code = [...text.matchAll(/^```js\n(.*?)^```$/gms)].map(([, block]) => block).join("\n");
  const expected = [...code.matchAll(/console\.log\(.*\); \/\/ → (.*)$/gm)].map(([, printed]) => printed);
  assert.ok(expected.length >= 7);
  const [supernode, site, browser] = [await startSupernode(), await serve(), await launch()];
  try {
    const tab = await (await browser.newContext()).newPage();
    const printed = [];
    tab.on("console", (message) => message.type() === "log" && printed.push(message.text()));
    await tab.goto(site.address);
    // Only addresses are not those of the reader.
    const script = code.replace('"pontoon-db"', '"/index.js"').replace("ws://127.0.0.1:8080/pontoon", supernode.address);
    await tab.evaluate(async (script) => {
      const url = URL.createObjectURL(new Blob([script.replace('"/index.js"', `"${location.origin}/index.js"`)], { type: "text/javascript" }));
      await import(url);
    }, script);
    assert.deepEqual(printed, expected);
  } finally {
    await browser.close();
    site.close();
    await supernode.stop();
  }
});
