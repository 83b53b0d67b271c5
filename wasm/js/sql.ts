// SQL text to encoded statements. The parser is a wasm module of its own, fetched when a page first runs SQL text.

import { PontoonError } from "./errors.js";

/** Texts whose statements are remembered, the latest used ones. */
const CACHE_MAX = 256;
/** Longer texts (bulk inserts with literals) are parsed each time. */
const CACHED_TEXT_MAX = 4_096;

type Parse = (text: string) => Uint8Array[];

let parser: Promise<Parse> | undefined;
const cache = new Map<string, Uint8Array[]>();

/** The statements of `text`, each as the engine takes it. */
export async function statements(text: string): Promise<Uint8Array[]> {
  if (typeof text !== "string") throw new PontoonError("invalid_argument", "SQL is given as a string");
  const known = cache.get(text);
  if (known) {
    cache.delete(text);
    cache.set(text, known);
    return known;
  }
  parser ??= load();
  const parsed = (await parser)(text);
  if (text.length <= CACHED_TEXT_MAX) {
    cache.set(text, parsed);
    if (cache.size > CACHE_MAX) cache.delete(cache.keys().next().value as string);
  }
  return parsed;
}

async function load(): Promise<Parse> {
  try {
    const module = await import("./parser/pontoon_wasm_parser.js");
    await module.default();
    return module.parse;
  } catch (cause) {
    parser = undefined; // The next statement tries again.
    throw new PontoonError("unreachable", `the SQL parser could not be loaded: ${String(cause)}`, { cause });
  }
}

/** A template's text with `$1`, `$2`, ... where its values stood. */
export function placeholders(strings: readonly string[]): string {
  return strings.reduce((text, part, index) => `${text}$${index}${part}`);
}
