// Sizes of what a page downloads, one JSON line a figure:
//   peer     the engine's wasm and the JavaScript of a page and its worker
//   sql      the wasm that runs statements and trees, fetched at the first use of SQL or a tree
//   parser   the wasm that parses text, fetched when a page first runs SQL text
import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";

const dist = path.resolve(import.meta.dirname, "..", "dist");
if (!existsSync(path.join(dist, "index.js"))) {
  console.error("size: nothing built yet; run `npm run build` in wasm/ first");
  process.exit(1);
}
const others = ["node.js", "react.js", "slim.js"];
const scripts = readdirSync(dist).filter((file) => file.endsWith(".js") && !others.includes(file));
const artifacts = { peer: [...scripts, "peer.wasm"], sql: ["sql.wasm"], parser: ["parser.wasm"] };
const measures = {
  raw_bytes: (bytes) => bytes.length,
  gzip_bytes: (bytes) => gzipSync(bytes, { level: 9 }).length,
  brotli_bytes: (bytes) => brotliCompressSync(bytes).length,
};
for (const [artifact, names] of Object.entries(artifacts)) {
  for (const [figure, measure] of Object.entries(measures)) {
    // Each file is fetched, and so compressed, on its own.
    const value = names.reduce((sum, name) => sum + measure(readFileSync(path.join(dist, name))), 0);
    console.log(JSON.stringify({ scenario: "size", figure, value, unit: "bytes", artifact }));
  }
}
