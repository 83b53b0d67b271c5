// Twenty rounds of the kill matrix.
import assert from "node:assert/strict";
import { test } from "node:test";
import { killMatrix } from "./kills.mjs";

test("pages and supernode are killed, reloaded, frozen and restarted: no acknowledged write is lost", { timeout: 360_000 }, async () => {
  const { writes, back_ms } = await killMatrix({ rounds: 20, log: (line) => console.log(line) });
  assert.ok(writes > 200, `${writes} writes`);
  assert.equal(back_ms.length, 20);
});
