import { createElement as h, StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Shop } from "./shop.js";

const { supernode, timeout } = Object.fromEntries(new URLSearchParams(location.search));
const options = { network: "pontoon", supernodes: [supernode], storage: "memory", timeout: Number(timeout) };
/** What a test looks at: peers that were opened, each once, and what became of each of their queries. */
globalThis.opened = new Set();
globalThis.queries = [];

function onOpen(db) {
  if (opened.has(db)) return;
  opened.add(db);
  const ask = db.query.bind(db);
  db.query = (text, params, settings) => {
    const entry = { text, params, outcome: "running" };
    queries.push(entry);
    const result = ask(text, params, settings);
    result.then(() => (entry.outcome = "done"), ({ code }) => (entry.outcome = code));
    return result;
  };
}

createRoot(document.querySelector("#root")).render(h(StrictMode, null, h(Shop, { options, onOpen })));
