// What is in the tarball, and what tools that judge packages say of it.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { application, files, installed, manifest, tarball } from "./tarball.mjs";

const run = promisify(execFile);

test("every file of the tarball is a document or reached from an entry", () => {
  const entries = Object.values(manifest.exports).flatMap(targets);
  const reached = new Set(["LICENSE-APACHE", "LICENSE-MIT", "README.md"]);
  const visit = (file) => {
    if (reached.has(file)) return;
    reached.add(file);
    if (!/\.(d\.ts|js)$/.test(file)) return;
    for (const next of references(file, readFileSync(path.join(installed, file), "utf8"))) visit(next);
  };
  entries.forEach(visit);
  assert.deepEqual([...files].sort(), [...reached].sort());
});

test("the tarball has documents, modules, their types and WebAssembly, and nothing else", () => {
  const other = files.filter((file) => !/^(LICENSE-\w+|README\.md|package\.json|dist\/[\w/-]+\.(js|d\.ts|wasm))$/.test(file));
  assert.deepEqual(other, []);
  assert.deepEqual(files.filter((file) => file.endsWith(".wasm")).length, 3);
});

test("modules name no folder of the machine that built them", () => {
  for (const file of files) {
    const text = readFileSync(path.join(installed, file), "latin1");
    assert.doesNotMatch(text, /sourceMappingURL|\/home\/|\/Users\/|\.cargo\/registry/, file);
  }
});

test("a strict application compiles, declarations of the package checked along", async () => {
  const app = application("types");
  const compilers = {
    "in a bundler": ["--module", "esnext", "--moduleResolution", "bundler", "--lib", "es2023,dom", "--types", "", "page.ts", "component.ts"],
    "as Node resolves": ["--module", "nodenext", "--lib", "es2023,dom", "--types", "", "page.ts", "component.ts"],
    "in Node, without a page's types": ["--module", "nodenext", "--lib", "es2023", "--types", "node", "page.ts"],
  };
  const manifestOf = createRequire(import.meta.url).resolve("typescript/package.json");
  const tsc = path.resolve(path.dirname(manifestOf), JSON.parse(readFileSync(manifestOf, "utf8")).bin.tsc);
  const strict = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--skipLibCheck", "false", "--target", "es2022"];
  await Promise.all(Object.entries(compilers).map(async ([where, options]) => {
    await run(process.execPath, [tsc, ...strict, ...options], { cwd: app }).catch((error) => assert.fail(`${where}: ${error.stdout}`));
  }));
});

test("publint finds nothing", async () => {
  const { messages } = await publint({ pkgDir: installed, pack: false, strict: true });
  assert.deepEqual(messages.map((message) => formatMessage(message, manifest)), []);
});

test("all ways to import ES modules find types, and the right ones", async () => {
  const analysis = await checkPackage(createPackageFromTarballData(readFileSync(tarball)));
  assert.ok(analysis.types, "no types at all");
  // The package has ES modules only: what finds it by `require`, or without reading `exports`, is none of its concern.
  const foreign = ["node10", "node16-cjs"];
  // And what only its address is wanted of is not imported.
  const asset = (name) => name === "./package.json" || /\.(wasm|js)$/.test(name);
  const problems = analysis.problems.filter(({ resolutionKind, entrypoint }) => !foreign.includes(resolutionKind) && !asset(entrypoint ?? ""));
  assert.deepEqual(problems, []);
  for (const [name, { resolutions }] of Object.entries(analysis.entrypoints)) {
    if (asset(name)) continue;
    for (const kind of ["node16-esm", "bundler"]) {
      assert.match(resolutions[kind].resolution?.fileName ?? "none", /\.d\.ts$/, `${name} in ${kind}`);
    }
  }
});

/** The files that an entry of `exports` names, whatever the conditions. */
function targets(entry) {
  return typeof entry === "string" ? [path.posix.normalize(entry)] : Object.values(entry).flatMap(targets);
}

/** The files of the package that a module or a declaration needs. */
function references(file, text) {
  const pattern = /(?:\bfrom|\bimport\(?|\bnew URL\()\s*(["'`])([\w./-]+)\1/g;
  const needed = [...text.matchAll(pattern)].map(([, , name]) => name);
  return needed.filter((name) => !/^(node:|ws$|react$|pontoon-db$)/.test(name)).map((name) => {
    const found = path.posix.join(path.posix.dirname(file), name);
    return file.endsWith(".d.ts") ? found.replace(/\.js$/, ".d.ts") : found;
  });
}
