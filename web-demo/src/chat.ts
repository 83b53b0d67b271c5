// A word to every tab: `sendAll` made visible.

import type { Inspect, Pontoon, Storable } from "pontoon-db";
import { byId, h } from "./dom";
import { plural, shortId } from "./format";
import { errorMessage } from "./swarm";

const LINES_MAX = 50;
const TEXT_MAX = 200;

/** What this page sends: other applications of the network may send anything else. */
interface Said {
  say: string;
}

export class Chat {
  private readonly log = byId<HTMLOListElement>("chat-log");
  private readonly input = byId<HTMLInputElement>("chat-text");

  constructor(private readonly db: Pontoon) {
    db.onMessage(({ from, message }) => {
      if (isSaid(message)) this.line(from, message.say.slice(0, TEXT_MAX));
    });
    byId<HTMLFormElement>("chat").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.input.value.trim();
      if (text === "") return;
      this.input.value = "";
      void this.say(text);
    });
    byId("wave").addEventListener("click", () => void this.say("waves hello"));
  }

  snapshot({ joined }: Inspect): void {
    byId<HTMLButtonElement>("chat-send").disabled = !joined;
    byId<HTMLButtonElement>("wave").disabled = !joined;
  }

  private async say(text: string): Promise<void> {
    const line = this.line(null, text);
    const fate = h("small", {}, "…");
    line.append(fate);
    try {
      const { nodes } = await this.db.sendAll({ say: text });
      fate.textContent = `reached ${plural(nodes, "peer")}`;
    } catch (error) {
      fate.textContent = `not sent: ${errorMessage(error)}`;
    }
  }

  private line(from: string | null, text: string): HTMLElement {
    const line = h("li", { class: from === null && "mine" }, h("code", {}, from === null ? "you" : shortId(from)), text);
    this.log.prepend(line);
    while (this.log.childElementCount > LINES_MAX) this.log.lastElementChild?.remove();
    return line;
  }
}

function isSaid(message: Storable): message is Storable & Said {
  return typeof message === "object" && message !== null && typeof (message as Partial<Said>).say === "string";
}
