// Browsers on the laboratory's hosts. They are started by who is not in their network: Chromium is talked to over a pipe,
// Firefox, which has none, over a port of this network that leads to the same one of its own.
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import path from "node:path";
import puppeteer from "puppeteer-core";
import { CHROMIUM } from "../../web-demo/scripts/chromium.mjs";
import { FIREFOX } from "../../wasm/scripts/firefox.mjs";
import { namespace } from "./network.mjs";

/** What is between a host's port and who runs it there. */
const FORWARD = `
  const socket = require("node:net").connect(Number(process.argv[1]), "127.0.0.1").on("error", () => {});
  process.stdin.pipe(socket).on("close", () => process.exit()).pipe(process.stdout);`;

/** Starts "chromium" or "firefox" on a host; what it needs of files is in a directory. */
export function startBrowser(kind, host, directory) {
  return kind === "firefox" ? startFirefox(host, directory) : startChromium(host, directory);
}

function startChromium(host, directory) {
  return puppeteer.launch({ ...CHROMIUM, executablePath: onHost(host, CHROMIUM, directory), pipe: true });
}

async function startFirefox(host, directory) {
  const extraPrefsFirefox = {
    ...FIREFOX.extraPrefsFirefox,
    // As people have it.
    "media.peerconnection.ice.obfuscate_host_addresses": true,
  };
  const door = await forward(host);
  const options = { ...FIREFOX, extraPrefsFirefox, debuggingPort: door.address().port, timeout: 60_000 };
  try {
    const browser = await puppeteer.launch({ ...options, executablePath: onHost(host, FIREFOX, directory) });
    return browser.once("disconnected", () => door.close());
  } catch (error) {
    door.close();
    throw error;
  }
}

/** A program that is a browser in a host's namespace. */
function onHost(host, { executablePath }, directory) {
  const script = path.join(directory, `${path.basename(executablePath)}-${host}`);
  writeFileSync(script, `#!/bin/sh\nexec ip netns exec ${namespace(host)} ${executablePath} "$@"\n`, { mode: 0o755 });
  return script;
}

/** Listens on a free port for connections to the same port of a host. */
async function forward(host) {
  const door = createServer((socket) => {
    const { port } = door.address();
    const child = spawn("ip", ["netns", "exec", namespace(host), process.execPath, "-e", FORWARD, port], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    child.stdin.on("error", () => undefined);
    child.once("exit", () => socket.destroy());
    socket.on("error", () => undefined).pipe(child.stdin);
    child.stdout.pipe(socket);
  });
  await new Promise((resolve) => door.listen(0, "127.0.0.1", resolve));
  return door;
}
