// The ring of keys: every peer where its id puts it, this tab's links, and the keys this tab answers for.

import type { FragmentInfo, Inspect, LinkInfo, PeerInfo, TraceEvent } from "pontoon-db";
import { byId, calm, h, s, setText } from "./dom";
import { duration, share, shortId } from "./format";

const SIZE = 440;
const HEIGHT = 390;
const MIDDLE = { x: SIZE / 2, y: HEIGHT / 2 };
const RADIUS = 150;
/** Bits of a region that are drawn: the ring is shaded in steps of 1/256. */
const BITS = 8;
/** Names closer than this (radians) are pushed apart; of more peers than this, only the dots are drawn. */
const NAME_APART = 0.3;
const NAMES_MAX = 18;

interface Point {
  x: number;
  y: number;
}

export class Ring {
  private readonly picture = s("svg", { viewBox: `0 0 ${SIZE} ${HEIGHT}`, role: "group", "aria-label": "The ring of peers" });
  private readonly shading = s("g");
  private readonly links = s("g");
  private readonly peers = s("g");
  private readonly note = h("p", { class: "note", role: "status" });
  private readonly lines = new Map<string, SVGElement>();
  private shown = "";
  private told: string | null = null;

  constructor() {
    this.picture.append(
      s("circle", { class: "water", cx: MIDDLE.x, cy: MIDDLE.y, r: RADIUS }),
      s("circle", { class: "rope", cx: MIDDLE.x, cy: MIDDLE.y, r: RADIUS }),
      this.shading,
      this.links,
      this.peers,
    );
    byId("ring").append(this.picture, this.note);
  }

  snapshot(snapshot: Inspect): void {
    const owned = snapshot.fragments.filter(({ owner }) => owner === snapshot.id);
    // Redrawn only when something moved, so that focus and hover stay.
    const shown = JSON.stringify([
      snapshot.peers.map(({ id, linked }) => [id, linked]),
      snapshot.links.map(({ peer, kind }) => [peer, kind]),
      owned.map(({ region }) => region),
    ]);
    if (shown !== this.shown) {
      this.shown = shown;
      this.shading.replaceChildren(...arcs(owned));
      this.drawLinks(snapshot);
      this.drawPeers(snapshot);
    }
    this.tell(snapshot, owned);
  }

  /** A link that carries something lights up for a moment. */
  trace({ peer, layer }: TraceEvent): void {
    const line = peer ? this.lines.get(peer) : undefined;
    if (!line || calm() || !["spread", "query", "message", "route"].includes(layer) || line.classList.contains("busy")) return;
    line.classList.add("busy");
    setTimeout(() => line.classList.remove("busy"), 700);
  }

  private drawLinks({ id, links }: Inspect): void {
    this.lines.clear();
    const from = onRing(angle(id), RADIUS);
    const drawn = links.map((link) => {
      const to = onRing(angle(link.peer), RADIUS);
      const bend = inward(from, to);
      const path = `M${from.x} ${from.y}Q${bend.x} ${bend.y} ${to.x} ${to.y}`;
      const line = s("path", { class: `link ${link.kind}`, d: path, "data-peer": link.peer, "data-kind": link.kind });
      this.lines.set(link.peer, line);
      const grip = s("path", { class: "grip", d: path }, s("title", {}, aboutLink(link)));
      grip.addEventListener("mouseenter", () => this.tellOf(link.peer));
      grip.addEventListener("mouseleave", () => this.tellOf(null));
      return s("g", {}, line, grip);
    });
    this.links.replaceChildren(...drawn);
  }

  private drawPeers({ id, peers }: Inspect): void {
    const all: PeerInfo[] = [{ id, role: "peer", linked: true }, ...peers.filter((peer) => peer.id !== id)];
    all.sort((a, b) => angle(a.id) - angle(b.id));
    const names = apart(all.map((peer) => angle(peer.id)));
    const drawn = all.map((peer, place) => {
      const mine = peer.id === id;
      const group = dot(peer, mine, angle(peer.id), mine || all.length <= NAMES_MAX ? names[place] : undefined);
      group.addEventListener("mouseenter", () => this.tellOf(peer.id));
      group.addEventListener("mouseleave", () => this.tellOf(null));
      group.addEventListener("focus", () => this.tellOf(peer.id));
      group.addEventListener("blur", () => this.tellOf(null));
      return group;
    });
    this.peers.replaceChildren(...drawn);
  }

  private tellOf(peer: string | null): void {
    this.told = peer;
    if (this.last) this.tell(this.last.snapshot, this.last.owned);
  }

  private last: { snapshot: Inspect; owned: FragmentInfo[] } | undefined;

  private tell(snapshot: Inspect, owned: FragmentInfo[]): void {
    this.last = { snapshot, owned };
    const link = snapshot.links.find(({ peer }) => peer === this.told);
    const peer = snapshot.peers.find(({ id }) => id === this.told);
    if (link) setText(this.note, aboutLink(link));
    else if (peer && peer.id !== snapshot.id) setText(this.note, `${shortId(peer.id)}: a ${name(peer)} without a link to this tab`);
    else setText(this.note, `This tab answers for ${share(owned.reduce((sum, part) => sum + part.share, 0))} of all keys.`);
  }
}

function name({ role }: { role: string }): string {
  return role === "supernode" ? "supernode" : "peer";
}

function aboutLink(link: LinkInfo): string {
  const way = link.via ? `relayed by ${shortId(link.via)}` : `${link.kind} over ${link.transport === "webrtc" ? "WebRTC" : "WebSocket"}`;
  const trip = link.rttUs > 0 ? `, round trip ${duration(link.rttUs / 1000)}` : "";
  return `${name(link)} ${shortId(link.peer)}: ${way}${trip}`;
}

/** Where an id lies on the ring: its first 32 bits as a share of the whole turn, from the top, clockwise. */
function angle(id: string): number {
  return (Number.parseInt(id.slice(0, 8), 16) / 2 ** 32) * 2 * Math.PI;
}

function onRing(at: number, radius: number): Point {
  return { x: tenths(MIDDLE.x + radius * Math.sin(at)), y: tenths(MIDDLE.y - radius * Math.cos(at)) };
}

/** Where the line between two peers bends to: between their middle and the ring's. */
function inward(from: Point, to: Point): Point {
  const between = (a: number, b: number, middle: number): number => tenths(((a + b) / 2) * 0.4 + middle * 0.6);
  return { x: between(from.x, to.x, MIDDLE.x), y: between(from.y, to.y, MIDDLE.y) };
}

function tenths(value: number): number {
  return Math.round(value * 10) / 10;
}

/** Angles (ascending) pushed apart until names at them do not overlap, or there is no room. */
function apart(angles: number[]): number[] {
  const moved = [...angles];
  if (moved.length < 2) return moved;
  for (let round = 0; round < 40; round++) {
    for (let at = 0; at < moved.length; at++) {
      const next = (at + 1) % moved.length;
      const gap = (moved[next] ?? 0) - (moved[at] ?? 0) + (next === 0 ? 2 * Math.PI : 0);
      const push = (NAME_APART - gap) / 2;
      if (push <= 0) continue;
      moved[at] = (moved[at] ?? 0) - push;
      moved[next] = (moved[next] ?? 0) + push;
    }
  }
  return moved;
}

function dot(peer: PeerInfo, me: boolean, at: number, nameAt: number | undefined): SVGGElement {
  const { x, y } = onRing(at, RADIUS);
  const looks = `dot ${me ? "me" : peer.role}${peer.linked ? "" : " unlinked"}`;
  const mark =
    peer.role === "supernode"
      ? s("rect", { class: looks, x: x - 9, y: y - 9, width: 18, height: 18, rx: 3 })
      : s("circle", { class: looks, cx: x, cy: y, r: me ? 11 : 9 });
  return s(
    "g",
    {
      class: `peer${me ? " me" : ""}`,
      tabindex: 0,
      role: "img",
      "aria-label": `${me ? "this tab" : name(peer)} ${shortId(peer.id)}`,
      "data-peer": peer.id,
    },
    s("title", {}, peer.id),
    mark,
    nameAt === undefined ? null : label(nameAt, me ? "this tab" : shortId(peer.id)),
  );
}

function label(at: number, text: string): SVGElement {
  const { x, y } = onRing(at, RADIUS + 21);
  const side = Math.abs(x - MIDDLE.x) < 30 ? "middle" : x < MIDDLE.x ? "end" : "start";
  return s("text", { x, y: y + 4, "text-anchor": side }, text);
}

/** The parts of the ring that ternary patterns (`01*1`) cover, as arcs; patterns finer than the drawing count where they begin. */
function arcs(fragments: FragmentInfo[]): SVGElement[] {
  const steps = 2 ** BITS;
  const covered = Array.from({ length: steps }, (_, step) => {
    const bits = step.toString(2).padStart(BITS, "0");
    return fragments.some(({ region }) => matches(region, bits));
  });
  if (covered.every(Boolean)) return [s("circle", { class: "owned", cx: MIDDLE.x, cy: MIDDLE.y, r: RADIUS })];
  const drawn: SVGElement[] = [];
  for (let step = 0; step < steps; step++) {
    if (!covered[step]) continue;
    let end = step;
    while (covered[end + 1]) end++;
    drawn.push(arc((step / steps) * 2 * Math.PI, ((end + 1) / steps) * 2 * Math.PI));
    step = end;
  }
  return drawn;
}

function matches(region: string, bits: string): boolean {
  return [...bits].every((bit, at) => {
    const wanted = region[at] ?? "*";
    return wanted === "*" || wanted === bit;
  });
}

function arc(from: number, to: number): SVGElement {
  const a = onRing(from, RADIUS);
  const b = onRing(to, RADIUS);
  return s("path", { class: "owned", d: `M${a.x} ${a.y}A${RADIUS} ${RADIUS} 0 ${to - from > Math.PI ? 1 : 0} 1 ${b.x} ${b.y}` });
}
