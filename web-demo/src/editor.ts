// The SQL editor (CodeMirror 6), loaded after the page: colours, completion of the sample tables, Ctrl+Enter.

import { autocompletion, closeBrackets, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { PostgreSQL, sql } from "@codemirror/lang-sql";
import { bracketMatching, HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { EditorState, Prec } from "@codemirror/state";
import { drawSelection, EditorView, keymap } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import type { Editor } from "./console";

const COLUMNS = {
  airports: ["iata", "name", "city", "state", "country", "latitude", "longitude"],
  routes: ["origin", "destination", "count"],
  flights: ["id", "at", "delay", "distance", "origin", "destination"],
};

const colours = HighlightStyle.define([
  { tag: tags.keyword, color: "var(--water)", fontWeight: "600" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--buoy)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--good)" },
  { tag: tags.comment, color: "var(--soft)", fontStyle: "italic" },
  { tag: tags.operator, color: "var(--soft)" },
]);

const looks = EditorView.theme({
  "&": { fontSize: "0.93rem", backgroundColor: "transparent", color: "var(--ink)" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.55", minHeight: "9.5rem", maxHeight: "26rem" },
  ".cm-content": { padding: "0.7rem 0", caretColor: "var(--buoy)" },
  ".cm-line": { padding: "0 0.9rem" },
  ".cm-cursor": { borderLeft: "2px solid var(--buoy)" },
  "&.cm-focused .cm-selectionBackground, .cm-selectionBackground": {
    backgroundColor: "color-mix(in srgb, var(--water) 25%, transparent) !important",
  },
  ".cm-matchingBracket": { backgroundColor: "var(--plank-wash)", outline: "1px solid var(--plank)" },
  ".cm-tooltip": { backgroundColor: "var(--surface)", border: "1px solid var(--line)", borderRadius: "8px", overflow: "hidden" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: "var(--water)", color: "var(--on-water)" },
});

/** Puts the editor in the text area's place. `run` is Ctrl+Enter (Cmd+Enter on a Mac). */
export function mount(place: HTMLElement, text: string, run: () => void): Editor {
  const focused = place.contains(document.activeElement);
  const view = new EditorView({
    parent: place,
    state: EditorState.create({
      doc: text,
      extensions: [
        Prec.highest(keymap.of([{ key: "Mod-Enter", run: () => (run(), true) }])),
        keymap.of([...completionKeymap, ...defaultKeymap, ...historyKeymap]),
        history(),
        drawSelection(),
        bracketMatching(),
        closeBrackets(),
        autocompletion(),
        sql({ dialect: PostgreSQL, schema: COLUMNS, upperCaseKeywords: true }),
        syntaxHighlighting(colours),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ "aria-label": "SQL statement" }),
        looks,
      ],
    }),
  });
  place.querySelector("textarea")?.remove();
  document.querySelector('label[for="sql"]')?.remove();
  if (focused) view.focus();
  return {
    text: () => view.state.doc.toString(),
    setText: (next) => view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: next } }),
  };
}
