// Builds the one page that the supernode embeds and serves: everything it needs is in dist/, nothing comes from elsewhere.
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { defineConfig } from "vite";

const require = createRequire(import.meta.url);
/** The package's entry is build/index.js; its data files lie beside, outside its `exports`. */
const data = join(dirname(require.resolve("vega-datasets")), "..", "data");
const supernode = process.env["PONTOON_PROXY"] ?? "http://127.0.0.1:8080";

export default defineConfig({
  base: "./",
  resolve: { alias: { "vega-data": data } },
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    sourcemap: false,
    reportCompressedSize: false,
  },
  server: {
    fs: { allow: [".."] },
    proxy: { "/pontoon": { target: supernode, ws: true } },
  },
});
