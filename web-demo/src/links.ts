// The table of this tab's links.

import type { Inspect, LinkInfo } from "pontoon-db";
import { byId, h } from "./dom";
import { bytes, duration, shortId } from "./format";

export class Links {
  private readonly panel = byId("panel-links");

  snapshot({ links }: Inspect): void {
    if (this.panel.hidden && this.panel.hasChildNodes()) return;
    if (links.length === 0) {
      this.panel.replaceChildren(h("p", { class: "empty" }, "No links yet."));
      return;
    }
    const head = h("tr", {}, ...["peer", "link", "over", "round trip", "sent", "received"].map(heading));
    const sorted = [...links].sort((a, b) => a.role.localeCompare(b.role) || a.peer.localeCompare(b.peer));
    this.panel.replaceChildren(
      h("div", { class: "scroll" }, h("table", {}, h("thead", {}, head), h("tbody", {}, ...sorted.map(linkRow)))),
    );
  }
}

function heading(name: string, column: number): HTMLElement {
  return h("th", { scope: "col", class: column > 2 && "number" }, name);
}

function linkRow(link: LinkInfo): HTMLElement {
  const over = link.via ? `via ${shortId(link.via)}` : link.transport;
  return h(
    "tr",
    { "data-peer": link.peer, "data-kind": link.kind },
    h("td", { title: link.peer }, h("code", {}, shortId(link.peer)), link.role === "supernode" ? h("small", {}, "supernode") : null),
    h("td", {}, h("span", { class: `kind ${link.kind}` }, link.kind)),
    h("td", {}, over),
    h("td", { class: "number" }, link.rttUs > 0 ? duration(link.rttUs / 1000) : "–"),
    h("td", { class: "number" }, bytes(link.sentBytes)),
    h("td", { class: "number" }, bytes(link.receivedBytes)),
  );
}
