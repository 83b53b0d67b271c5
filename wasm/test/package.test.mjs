// The built package as server-side rendering meets it: no page, no WebSocket, no IndexedDB.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

const { connect, PontoonError } = await import("pontoon-db");
const { decodeValue, encodeValue } = await import("../pkg/js/values.js");
const { placeholders } = await import("../pkg/js/template.js");
const { readReach } = await import("../js/dial.js");

test("what a page downloads before it takes part is at most 350 kB, the parser of SQL 400 kB", () => {
  const lines = execFileSync(process.execPath, [new URL("../scripts/size.mjs", import.meta.url).pathname], { encoding: "utf8" });
  const figures = lines.trim().split("\n").map((line) => JSON.parse(line));
  for (const [name, most] of Object.entries({ peer: 350_000, parser: 400_000 })) {
    const { value } = figures.find(({ artifact, figure }) => artifact === name && figure === "brotli_bytes");
    assert.ok(value <= most, `${name}: ${value} bytes (brotli): docs/decisions/015-size.md says where they go`);
  }
});

test("importing touches no globals and gives connect and PontoonError", () => {
  assert.equal(typeof connect, "function");
  assert.ok(new PontoonError("conflict", "somebody was faster") instanceof Error);
});

test("wrong options reject with invalid_argument", async () => {
  const wrong = [
    undefined,
    { network: "", supernodes: [] },
    { network: "shop", supernodes: "ws://a" },
    { network: "shop", supernodes: ["ftp://a"] },
    { network: "shop", supernodes: [], storage: "disk" },
    { network: "shop", supernodes: [], tabs: "one" },
    { network: "shop", supernodes: [], tabs: "shared", storage: "memory" },
    { network: "shop", supernodes: [], seed: new Uint8Array(31) },
    { network: "shop", supernodes: [], user: new Uint8Array(33) },
    { network: "shop", supernodes: [], user: "me" },
  ];
  for (const options of wrong) {
    await assert.rejects(connect(options), (error) => error instanceof PontoonError && error.code === "invalid_argument");
  }
});

test("what a supernode tells of how to be reached is read, and nothing else", () => {
  const address = "wss://sn.example.org:8443/pontoon?token=t";
  const told = { udp: 3478, stun: 3479, username: "u", credential: "c", seconds: 60, supernodes: ["wss://a/pontoon", "http://b", 3], more: 1 };
  const { servers, supernodes } = readReach(address, JSON.stringify(told));
  assert.deepEqual(supernodes, ["wss://a/pontoon?token=t"], "with the token that the first one asked for");
  assert.deepEqual(servers.stun, ["stun:sn.example.org:3478", "stun:sn.example.org:3479"]);
  assert.deepEqual(servers.turn, { urls: "turn:sn.example.org:3478?transport=udp", username: "u", credential: "c" });
  assert.ok(servers.until > Date.now() && servers.until <= Date.now() + 60_000);

  assert.deepEqual(readReach("ws://[::1]:80/pontoon", '{"udp":5}').servers.stun, ["stun:[::1]:5"]);
  assert.deepEqual(readReach(address, '{"udp":70000,"stun":1}'), { supernodes: [] }, "no port");
  const many = JSON.stringify({ supernodes: Array.from({ length: 99 }, (_, number) => `ws://${number}/`) });
  assert.equal(readReach(address, many).supernodes.length, 16);
  for (const other of ["", "hello", "null", "3", `{"udp":"${"x".repeat(9_000)}"}`]) assert.equal(readReach(address, other)?.servers, undefined);
});

test("values come back as they were put", () => {
  const values = ["", "text, also ünïcode 🛶", new Uint8Array([0, 255]), new Uint8Array(), 0, -1.5, true, null, [1, ["a"]], { a: { b: null } }];
  for (const value of values) assert.deepEqual(decodeValue(encodeValue(value)), value);
});

test("bytes that something else wrote come back as they are", () => {
  for (const bytes of [[], [1, 2, 3], [0xb1, 0xff], [0xb2, 0x7b]]) {
    const foreign = new Uint8Array(bytes);
    assert.deepEqual(decodeValue(foreign), foreign);
  }
});

test("what JSON cannot say is refused", () => {
  const circular = {};
  circular.self = circular;
  for (const value of [undefined, () => 1, 1n, circular]) {
    assert.throws(() => encodeValue(value), (error) => error.code === "invalid_argument");
  }
});

test("a template's values become numbered parameters", () => {
  const text = (strings, ..._values) => placeholders(strings);
  assert.equal(text`SELECT 1`, "SELECT 1");
  assert.equal(text`INSERT INTO t VALUES (${1}, ${2})`, "INSERT INTO t VALUES ($1, $2)");
});

test("whether the peer has joined is what was told last, however close together it was told", async () => {
  const { Pontoon } = await import("../pkg/js/pontoon.js");
  // A realm that says hello and that it has joined in one turn, before any promise is settled.
  const calls = {
    call(name, args, { onPart }) {
      onPart({ id: "1", joined: false, globals: [] });
      this.onEvent({ type: "joined", joined: true });
      this.onEvent({ type: "global", name: "theme", value: new TextEncoder().encode('"dark"') });
      return Promise.resolve();
    },
  };
  const db = new Pontoon(calls, async () => undefined);
  await db.open();
  await db.untilJoined(1_000);
  assert.equal(db.joined, true);
});
