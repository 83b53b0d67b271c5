// The laboratory's network: an "internet" with the supernodes, and two hosts behind routers that translate addresses.
//
//   first host 10.1.0.2 ── first router ──┐ 203.0.113.11
//                                         ├── bridge 203.0.113.0/24 ── 203.0.113.1, .2 (supernodes, site)
//   second host 10.2.0.2 ── second router ┘ 203.0.113.12
//
// Each of the five is a network namespace of Linux; needs root. `missing` says which piece of the system is not there.
import { execFileSync } from "node:child_process";

const NAMES = ["core", "router1", "router2", "host1", "host2"];
/** The namespaces' names on this machine. */
export const namespace = (name) => `pontoon-nat-${name}`;
/** Where the supernodes are. */
export const SUPERNODES = ["203.0.113.1", "203.0.113.2"];

function run(command, ...args) {
  return execFileSync(command, args, { stdio: ["pipe", "pipe", "pipe"], encoding: "utf8" });
}

/** Runs a command in one of the namespaces. */
function within(name, command, ...args) {
  return run("ip", "netns", "exec", namespace(name), command, ...args);
}

/** The piece of the system that the laboratory lacks, if one. */
export function missing() {
  if (process.getuid() !== 0) return "root (network namespaces are made by root)";
  for (const [command, ...args] of [["ip", "-V"], ["nft", "--version"]]) {
    try {
      run(command, ...args);
    } catch {
      return `the program ${command} (Debian: apt-get install iproute2 nftables)`;
    }
  }
  const probe = namespace("probe");
  try {
    run("ip", "netns", "add", probe);
  } catch (error) {
    return `network namespaces: ${error.stderr?.trim()}`;
  }
  try {
    return pieceMissing(probe);
  } finally {
    run("ip", "netns", "del", probe);
  }
}

function pieceMissing(probe) {
  const pieces = {
    "virtual ethernet pairs": ["ip", "-n", probe, "link", "add", "end1", "type", "veth", "peer", "name", "end2"],
    bridges: ["ip", "-n", probe, "link", "add", "bridge", "type", "bridge"],
    "nftables' address translation": ["ip", "netns", "exec", probe, "nft", rules({ symmetric: true, udp: true })],
  };
  for (const [name, [command, ...args]] of Object.entries(pieces)) {
    try {
      run(command, ...args);
    } catch (error) {
      return `${name}: ${error.stderr?.trim()}`;
    }
  }
  return null;
}

/** What a router does: lets out what comes from inside, and in what answers it. */
function rules({ symmetric, udp }) {
  return `
    table inet filter {
      chain forward {
        type filter hook forward priority filter; policy drop;
        ${udp ? "" : "meta l4proto udp drop"}
        iifname "lan" oifname "wan" accept
        ct state established,related accept
      }
      chain input { type filter hook input priority filter; policy accept; iifname "wan" drop; }
    }
    table ip nat {
      chain postrouting { type nat hook postrouting priority srcnat; oifname "wan" masquerade ${symmetric ? "fully-random" : ""}; }
    }`;
}

/** Makes the network anew; gives what changes it and takes it down. */
export function build() {
  destroy();
  for (const name of NAMES) {
    run("ip", "netns", "add", namespace(name));
    run("ip", "-n", namespace(name), "link", "set", "lo", "up");
  }
  run("ip", "-n", namespace("core"), "link", "add", "bridge", "type", "bridge");
  for (const address of SUPERNODES) run("ip", "-n", namespace("core"), "addr", "add", `${address}/24`, "dev", "bridge");
  run("ip", "-n", namespace("core"), "link", "set", "bridge", "up");
  for (const number of [1, 2]) {
    const [router, host] = [`router${number}`, `host${number}`];
    join(["core", `to${number}`], [router, "wan"]);
    run("ip", "-n", namespace("core"), "link", "set", `to${number}`, "master", "bridge");
    run("ip", "-n", namespace(router), "addr", "add", `203.0.113.1${number}/24`, "dev", "wan");
    join([router, "lan"], [host, "eth"]);
    run("ip", "-n", namespace(router), "addr", "add", `10.${number}.0.1/24`, "dev", "lan");
    run("ip", "-n", namespace(host), "addr", "add", `10.${number}.0.2/24`, "dev", "eth");
    run("ip", "-n", namespace(host), "route", "add", "default", "via", `10.${number}.0.1`);
    within(router, "sysctl", "-qw", "net.ipv4.ip_forward=1");
  }
}

/** What the translation of a router is like: `restricted` (by address and port), `symmetric`, or `blocked` for UDP. */
export function translate(number, kind) {
  const router = `router${number}`;
  within(router, "nft", "flush", "ruleset");
  within(router, "nft", rules({ symmetric: kind === "symmetric", udp: kind !== "blocked" }));
}

function join([one, at], [other, there]) {
  run("ip", "-n", namespace(one), "link", "add", at, "type", "veth", "peer", "name", there, "netns", namespace(other));
  run("ip", "-n", namespace(one), "link", "set", at, "up");
  run("ip", "-n", namespace(other), "link", "set", there, "up");
}

/** Takes the network down, if it is there. */
export function destroy() {
  for (const name of NAMES) {
    try {
      run("ip", "netns", "del", namespace(name));
    } catch {
      // It was not there.
    }
  }
}
