// The connection doctor: what of each link was tried, and why one is not direct.

import type { Inspect, LinkInfo, Nat, Report } from "./types.js";

/** How this page reaches others, and why not otherwise. */
export interface Diagnosis {
  /** Whether WebRTC exists, the page is a secure context, and the engine runs off the page's thread. */
  webrtc: boolean;
  secureContext: boolean;
  storage: "indexeddb" | "memory";
  /** Which address translation this page seems to be behind. */
  nat: Nat;
  /** WebRTC connections that the browser holds, of how many it may hold before no more are made. */
  rtcHeld: number;
  rtcMax: number;
  links: DiagnosedLink[];
  /** What to do about it, for people. */
  advice: string[];
}

/** A link, and what came of attempts to make it direct. */
export interface DiagnosedLink extends LinkInfo {
  /**
   * Over what it goes: a `websocket`; WebRTC within one network (`host`), through address translations (`nat`) or over a TURN
   * server (`turn`), `webrtc` where the browser does not say; or wrapped over another peer (`relay`).
   */
  path: "websocket" | "host" | "nat" | "turn" | "webrtc" | "relay";
  /** Why it is not direct; `null` where it is. */
  why: string | null;
  /** Sessions with that peer of late, the latest last. */
  attempts: Report[];
}

export function diagnose(snapshot: Inspect, negotiated: { nat: Nat; reports: Report[] } | undefined): Diagnosis {
  const { driver } = snapshot;
  const nat = negotiated?.nat ?? "unknown";
  const links = snapshot.links.map((link): DiagnosedLink => {
    const attempts = (negotiated?.reports ?? []).filter(({ peer }) => peer === link.peer);
    return { ...link, path: path(link, attempts), why: why(link, attempts, negotiated !== undefined), attempts };
  });
  return {
    webrtc: negotiated !== undefined,
    secureContext: globalThis.isSecureContext ?? true,
    storage: driver.storage,
    nat,
    rtcHeld: driver.rtcHeld,
    rtcMax: driver.rtcMax,
    links,
    advice: advise(snapshot, nat, links),
  };
}

function path({ transport }: LinkInfo, attempts: Report[]): DiagnosedLink["path"] {
  if (transport !== "webrtc") return transport;
  const pair = attempts.findLast(({ state }) => state === "open" || state === "interrupted")?.pair;
  if (pair === undefined || pair.includes("?")) return "webrtc";
  return pair.includes("relay") ? "turn" : pair === "host to host" ? "host" : "nat";
}

function why({ kind, role }: LinkInfo, attempts: Report[], webrtc: boolean): string | null {
  if (kind === "direct") return null;
  if (role === "supernode") return "a supernode that another one relays to";
  if (!webrtc) return "this browser, or this page's options, have no WebRTC";
  const last = attempts.at(-1);
  if (!last) return "no attempt yet: the other end may not take direct links";
  const kinds = (names: string[]): string => names.join(", ") || "none";
  const tried = `addresses of this end: ${kinds(last.local)}; of the other: ${kinds(last.remote)}`;
  switch (last.state) {
    case "failed":
      return `the last attempt failed: ${last.reason ?? "unknown"} (${tried})`;
    case "closed":
      return `the last direct channel was closed (${tried})`;
    default:
      return `being negotiated for ${Date.now() - last.startedAt} ms (${tried})`;
  }
}

function advise({ joined, driver }: Inspect, nat: Nat, links: DiagnosedLink[]): string[] {
  const advice: string[] = [];
  if (!joined) advice.push("No supernode lets this peer in: check the address, and that a Content-Security-Policy allows it in connect-src.");
  if (driver.storage === "memory") advice.push("What this peer stores is forgotten when the page closes: IndexedDB is absent, or does not open (private windows).");
  const failed = links.some(({ attempts }) => attempts.at(-1)?.state === "failed");
  if (failed && nat === "unknown") advice.push("No supernode here answers STUN: start one with it, or give servers (`iceServers`), so that peers in other networks can be reached directly.");
  if (failed && nat === "symmetric") advice.push("This network changes the outer port for each destination: only a TURN server, a supernode's or another (`iceServers`), makes links direct.");
  if (nat === "no answer") advice.push("No STUN server answers: UDP seems to be blocked here. Links stay on WebSockets, which work; TURN over TCP or TLS (`iceServers`) may pass as well.");
  if (driver.rtcHeld >= driver.rtcMax) advice.push("This page has made more WebRTC connections than browsers admit; more are made when closed ones are collected.");
  return advice;
}
