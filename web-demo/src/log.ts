// The trace stream as a list: bounded, newest first, with a filter and a pause.

import type { TraceEvent } from "pontoon-db";
import { byId, h } from "./dom";
import { shortId, time } from "./format";

/** Events kept; older ones are forgotten. */
const EVENTS_MAX = 300;
const LAYERS = ["link", "route", "group", "store", "spread", "query", "message", "global"];

export class Log {
  private readonly panel = byId("panel-log");
  private readonly list = h("ol", { class: "log", tabindex: 0, "aria-label": "Events, newest first" });
  private readonly filter = h("select", { "aria-label": "Layer", onchange: () => this.draw() });
  private readonly pause = h("button", { class: "button small", type: "button", "aria-pressed": "false", onclick: () => this.toggle() }, "Pause");
  private events: TraceEvent[] = [];
  private paused = false;
  private due = false;

  constructor() {
    this.filter.append(h("option", { value: "" }, "all layers"), ...LAYERS.map((layer) => h("option", { value: layer }, layer)));
    const clear = h("button", { class: "button small", type: "button", onclick: () => this.clear() }, "Clear");
    this.panel.append(h("div", { class: "log-tools" }, this.filter, this.pause, clear), this.list);
    document.getElementById("tab-log")?.addEventListener("click", () => this.draw());
  }

  trace(event: TraceEvent): void {
    if (this.paused) return;
    this.events.unshift(event);
    if (this.events.length > EVENTS_MAX) this.events.length = EVENTS_MAX;
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      this.draw();
    });
  }

  private draw(): void {
    if (this.panel.hidden) return;
    const layer = this.filter.value;
    const shown = layer === "" ? this.events : this.events.filter((event) => event.layer === layer);
    if (shown.length === 0) this.list.replaceChildren(h("li", { class: "empty" }, "Nothing yet."));
    else this.list.replaceChildren(...shown.map(line));
  }

  private toggle(): void {
    this.paused = !this.paused;
    this.pause.setAttribute("aria-pressed", String(this.paused));
    this.pause.textContent = this.paused ? "Resume" : "Pause";
  }

  private clear(): void {
    this.events = [];
    this.draw();
  }
}

function line(event: TraceEvent): HTMLElement {
  const peer = event.peer ? `${shortId(event.peer)} ` : "";
  return h(
    "li",
    {},
    h("time", {}, time(event.atMs)),
    h("b", {}, event.layer),
    h("span", {}, `${peer}${event.event}${event.detail ? `: ${event.detail}` : ""}`),
  );
}
