// The SQL console: a plain text area that becomes an editor once that has loaded, examples, and the answer.

import type { Pontoon } from "pontoon-db";
import { byId, h } from "./dom";
import { EXAMPLES } from "./examples";
import { duration } from "./format";
import { showError, showResult } from "./results";

/** Where the statement's text is: the text area, or the editor that took its place. */
export interface Editor {
  text(): string;
  setText(text: string): void;
}

export class SqlConsole {
  private editor: Editor;
  private readonly run = byId<HTMLButtonElement>("run");
  private readonly running = byId("running");
  private readonly result = byId("result");
  private db: Pontoon | undefined;
  private afterWrite: () => void = () => {};
  private busy = false;

  constructor() {
    const area = byId<HTMLTextAreaElement>("sql");
    this.editor = {
      text: () => area.value,
      setText: (text) => void (area.value = text),
    };
    area.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      void this.execute();
    });
    this.run.addEventListener("click", () => void this.execute());
    this.showExamples();
    // The page is usable without it; a visitor on a slow line types into the text area meanwhile.
    void import("./editor")
      .then(({ mount }) => (this.editor = mount(byId("editor"), this.editor.text(), () => void this.execute())))
      .catch((error: unknown) => console.warn("the plain text area stays", error));
  }

  /** From now on statements can run; `afterWrite` is called when one may have changed rows. */
  attach(db: Pontoon, afterWrite: () => void): void {
    this.db = db;
    this.afterWrite = afterWrite;
    this.run.disabled = false;
  }

  private showExamples(): void {
    const buttons = EXAMPLES.map(({ name, sql }) => {
      const button = h("button", { type: "button", "aria-pressed": "false" }, name);
      button.addEventListener("click", () => {
        this.editor.setText(sql);
        for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      });
      return button;
    });
    byId("examples").append(...buttons);
    buttons[0]?.setAttribute("aria-pressed", "true");
    this.editor.setText(EXAMPLES[0]?.sql ?? "");
  }

  private async execute(): Promise<void> {
    const text = this.editor.text().trim();
    if (!this.db || this.busy || text === "") return;
    this.busy = this.run.disabled = true;
    const began = performance.now();
    const clock = setInterval(() => (this.running.textContent = `asking the swarm, ${duration(performance.now() - began)}`), 250);
    try {
      const result = await this.db.query(text);
      showResult(this.result, result);
      if (result.columns.length === 0) this.afterWrite();
    } catch (error) {
      showError(this.result, error);
    } finally {
      clearInterval(clock);
      this.running.textContent = "";
      this.busy = this.run.disabled = false;
    }
  }
}
