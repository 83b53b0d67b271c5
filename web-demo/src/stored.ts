// What this tab keeps: records by namespace, and the fragments of the key space it holds.

import type { FragmentInfo, Inspect, NamespaceInfo } from "pontoon-db";
import { byId, h } from "./dom";
import { bytes, count, duration, plural, share, shortId } from "./format";

export class Stored {
  private readonly panel = byId("panel-store");

  snapshot({ id, store, fragments, driver }: Inspect): void {
    if (this.panel.hidden && this.panel.hasChildNodes()) return;
    const owned = fragments.filter((fragment) => fragment.owner === id).reduce((sum, fragment) => sum + fragment.share, 0);
    this.panel.replaceChildren(
      h("h3", { class: "panel-title" }, "Records"),
      h("p", { class: "empty" }, `${plural(store.records, "record")}, about ${bytes(store.bytes)}, kept in ${keeper(driver.storage)}.`),
      store.namespaces.length === 0
        ? null
        : grid(["namespace", "records", "owned here", "bytes"], 0, store.namespaces.map(namespaceRow)),
      h("h3", { class: "panel-title" }, "Fragments of the key space"),
      h("p", { class: "empty" }, `This tab answers for ${share(owned)} of all keys, and keeps copies of other parts.`),
      fragments.length === 0
        ? null
        : grid(["region", "share", "epoch", "owner", "copies at", "state", "lease"], 0, fragments.map((f) => fragmentRow(f, id))),
    );
  }
}

function keeper(storage: string): string {
  return storage === "indexeddb" ? "IndexedDB" : "memory";
}

function grid(names: string[], textColumn: number, rows: HTMLElement[]): HTMLElement {
  const head = names.map((name, column) => h("th", { scope: "col", class: isNumber(name, column, textColumn) }, name));
  return h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows)));
}

function isNumber(name: string, column: number, textColumn: number): string | false {
  return column !== textColumn && !["owner", "copies at", "state"].includes(name) && "number";
}

function namespaceRow(namespace: NamespaceInfo): HTMLElement {
  return h(
    "tr",
    { "data-namespace": namespace.namespace },
    h("td", {}, h("code", {}, namespace.namespace)),
    h("td", { class: "number" }, count(namespace.records)),
    h("td", { class: "number" }, count(namespace.owned)),
    h("td", { class: "number" }, bytes(namespace.bytes)),
  );
}

function fragmentRow(fragment: FragmentInfo, me: string): HTMLElement {
  const name = (id: string): string => (id === me ? "this tab" : shortId(id));
  const others = fragment.members.filter((member) => member !== fragment.owner);
  return h(
    "tr",
    {},
    h("td", {}, h("code", {}, fragment.region)),
    h("td", { class: "number" }, share(fragment.share)),
    h("td", { class: "number" }, count(fragment.epoch)),
    h("td", {}, name(fragment.owner)),
    h("td", {}, others.map(name).join(", ") || "nobody"),
    h("td", {}, fragment.assumedLost ? `${fragment.state}, some assumed lost` : fragment.state),
    h("td", { class: "number" }, fragment.leaseMs > 0 ? duration(fragment.leaseMs) : "–"),
  );
}
