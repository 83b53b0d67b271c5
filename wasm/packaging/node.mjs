// Node, this one and the next long-term version: peers over WebSockets, and a server that only renders.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createServer } from "node:net";
import path from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { build } from "vite";
import { supernode } from "./stage.mjs";
import { application, root } from "./tarball.mjs";

const run = promisify(execFile);
const app = application("node");

/** Where a version of Node is; npm fetches it, once, into its cache. */
const fetched = (version) => (fetching ??= run("npm", ["exec", "--yes", `--package=node@${version}`, "--", "node", "-p", "process.execPath"]));
let fetching;

/** Binaries of Node; NODE_22 names another one. */
const nodes = {
  [`Node ${process.versions.node}`]: () => process.execPath,
  "Node 22": async () => process.env.NODE_22 ?? (await fetched("22.23.3")).stdout.trim(),
};

for (const [name, binary] of Object.entries(nodes)) {
  const node = async (...args) => run(await binary(), args, { cwd: app, timeout: 60_000 });

  test(`two peers in ${name}, which ends when they are closed`, { timeout: 90_000 }, async () => {
    const table = name.toLowerCase().replaceAll(/\W/g, "_");
    const { stdout, stderr } = await node("shop.mjs", supernode.address, table);
    const { own, closed, ...found } = JSON.parse(stdout);
    assert.deepEqual(found, { rows: [{ item: "boat", amount: 12.5 }], coverage: 1, storage: "memory", distinct: true });
    assert.equal(own, !name.startsWith("Node 20"), "a WebSocket of Node's own");
    assert.equal(stderr, "");
    assert.ok(Date.now() - closed < 5_000, "something kept the process alive");
  });

  test(`${name} ends after a supernode that never answers`, { timeout: 90_000 }, async () => {
    const sockets = [];
    const silent = createServer((socket) => sockets.push(socket.on("error", () => undefined)));
    await new Promise((resolve) => silent.listen(0, "127.0.0.1", resolve));
    try {
      const { stdout, stderr } = await node("silent.mjs", `ws://127.0.0.1:${silent.address().port}`);
      assert.deepEqual([stdout, stderr], ["unreachable\n", ""]);
      assert.ok(sockets.length > 0, "nobody dialled");
    } finally {
      for (const socket of sockets) socket.destroy();
      silent.close();
    }
  });
}

test("a server renders, and touches no global", { timeout: 60_000 }, async () => {
  const site = application("react");
  const outDir = path.join(root, "react-server");
  await build({ root: site, configFile: false, logLevel: "error", build: { ssr: "server.js", outDir } });
  const { stdout, stderr } = await run(process.execPath, ["--import", path.join(site, "trap.mjs"), path.join(outDir, "server.js")]);
  assert.match(stdout, /^<main>.*connecting true.*loading.*<\/main>\n$/);
  assert.deepEqual(JSON.parse(stderr), { touched: [], made: [] });
});
