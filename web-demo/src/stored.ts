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
      ...grid(["namespace", "records", "owned here", "bytes"], store.namespaces.map(namespaceRow)),
      h("h3", { class: "panel-title" }, "Fragments of the key space"),
      h("p", { class: "empty" }, `This tab answers for ${share(owned)} of all keys, and keeps copies of other parts.`),
      ...grid(
        ["region", "share", "epoch", "owner", "copies at", "state", "lease"],
        fragments.map((fragment) => fragmentRow(fragment, id)),
      ),
    );
  }
}

function keeper(storage: string): string {
  return storage === "indexeddb" ? "IndexedDB" : "memory";
}

/** Columns whose cells are text; the others are numbers. */
const TEXT = ["namespace", "region", "owner", "copies at", "state"];

function grid(names: string[], rows: HTMLElement[]): HTMLElement[] {
  if (rows.length === 0) return [];
  const head = names.map((name) => h("th", { scope: "col", class: !TEXT.includes(name) && "number" }, name));
  const table = h("table", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows));
  return [h("div", { class: "scroll" }, table)];
}

function namespaceRow(namespace: NamespaceInfo): HTMLElement {
  return h(
    "tr",
    { "data-namespace": namespace.namespace },
    h("td", { title: namespace.namespace }, h("code", {}, shortNamespace(namespace.namespace))),
    h("td", { class: "number" }, count(namespace.records)),
    h("td", { class: "number" }, count(namespace.owned)),
    h("td", { class: "number" }, bytes(namespace.bytes)),
  );
}

/** Rows of a table live in a namespace named after it and a hash of its definition; the hash says little to people. */
function shortNamespace(namespace: string): string {
  return namespace.replace(/^pontoon\.rows\.(.+)\.[0-9a-f]{16,}$/, "rows of $1");
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
