// The head of the page: who this tab is, and the pier with one float for each live peer.

import type { Inspect } from "pontoon-db";
import { byId, s, setText } from "./dom";
import { plural, shortId } from "./format";

/** Floats drawn before the rest is only counted. */
const FLOATS_MAX = 12;

export class Header {
  private readonly floats = new Map<string, SVGSVGElement>();
  private readonly pier = byId("pier");
  private readonly state = byId("state");

  constructor() {
    byId<HTMLAnchorElement>("another-tab").href = location.href;
    this.pier.append(quay());
  }

  /** Connecting failed for good. */
  failed(reason: string): void {
    this.state.dataset["state"] = "failed";
    setText(this.state, reason);
  }

  snapshot(snapshot: Inspect): void {
    setText(byId("peer-id"), shortId(snapshot.id));
    byId("peer-id").title = snapshot.id;
    this.state.dataset["state"] = snapshot.joined ? "joined" : "connecting";
    setText(this.state, snapshot.joined ? "joined" : "connecting");
    const others = snapshot.peers.filter((peer) => peer.id !== snapshot.id);
    setText(byId("peer-count"), `${others.length + 1} with this`);
    const direct = snapshot.links.filter((link) => link.kind === "direct").length;
    const relayed = snapshot.links.length - direct;
    setText(byId("link-count"), relayed === 0 ? `${direct} direct` : `${direct} direct, ${relayed} relayed`);
    this.moor(snapshot);
  }

  /** This tab's float lies first, then the other tabs by id; a supernode is the light on the quay, not a float. */
  private moor(snapshot: Inspect): void {
    const others = snapshot.peers
      .filter((peer) => peer.id !== snapshot.id && peer.role === "peer")
      .map((peer) => peer.id)
      .sort();
    const shown = [snapshot.id, ...others].slice(0, FLOATS_MAX);
    const lit = snapshot.peers.some((peer) => peer.role === "supernode" && peer.linked);
    this.pier.querySelector(".light")?.classList.toggle("gone", !lit);
    for (const [id, float] of this.floats) {
      if (shown.includes(id)) continue;
      float.remove();
      this.floats.delete(id);
    }
    const first = this.floats.size === 0;
    shown.forEach((id, place) => {
      if (this.floats.has(id)) return;
      const float = floatFor(id, id === snapshot.id);
      float.style.setProperty("--n", String(place));
      if (!first) float.classList.add("new");
      this.floats.set(id, float);
      this.pier.append(float);
    });
    const label = `A pontoon of ${plural(shown.length, "float")}, one for each tab${lit ? ", and a light on the quay for the supernode" : ""}`;
    if (this.pier.ariaLabel !== label) this.pier.ariaLabel = label;
  }
}

/** The quay with its light: the supernode, where newcomers arrive. */
function quay(): SVGSVGElement {
  return s(
    "svg",
    { width: 118, height: 128, viewBox: "0 0 118 128", "aria-hidden": "true" },
    s("path", { class: "rock", d: "M-700 98H84c10 0 16 6 18 16l4 24H-700z" }),
    s(
      "g",
      { class: "light" },
      s(
        "linearGradient",
        { id: "beam" },
        s("stop", { class: "beam-near", offset: 0 }),
        s("stop", { class: "beam-far", offset: 1 }),
      ),
      s("path", { fill: "url(#beam)", d: "M46 25 190 -6v62z" }),
      s("path", { class: "tower", d: "M35 98l4-64h14l4 64z" }),
      s("path", { class: "band", d: "M37.7 54h16.6l1 16H36.7zM35.7 86h20.6l.7 12H35z" }),
      s("rect", { class: "lamp", x: 40, y: 18, width: 12, height: 16, rx: 2 }),
      s("path", { class: "band", d: "M36 18h20L46 8z" }),
    ),
    s("path", { class: "rope", d: "M92 100q14 10 28 4" }),
  );
}

/** One float: planks on two barrels, a post with a pennant on this tab's. */
function floatFor(id: string, mine: boolean): SVGSVGElement {
  const float = s(
    "svg",
    { class: "float", width: 96, height: 128, viewBox: "0 0 96 128", "aria-hidden": "true" },
    s("title", {}, id),
    s("rect", { class: "barrel", x: 10, y: 106, width: 26, height: 18, rx: 8 }),
    s("rect", { class: "barrel", x: 60, y: 106, width: 26, height: 18, rx: 8 }),
    s("rect", { class: "wood", x: 2, y: 96, width: 92, height: 9, rx: 2 }),
    s("rect", { class: "edge", x: 2, y: 105, width: 92, height: 4, rx: 1 }),
    s("path", { class: "gap", d: "M20.5 96v9M39 96v9M57.5 96v9M76 96v9" }),
    mine ? s("path", { class: "pole", d: "M16 96V46" }) : s("path", { class: "pole", d: "M14 96v-9M82 96v-9" }),
    mine ? s("path", { class: "pennant", d: "M17 46l30 9-30 9z" }) : null,
    s("text", { x: 48, y: 86 }, shortId(id)),
  );
  return float;
}
