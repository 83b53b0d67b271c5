// The package as npm would publish it, and applications that have it installed.
//
// It is packed once, and unpacked as npm would; what else the applications import is linked from the repository's own
// node_modules, so that nothing is fetched. Applications are copied, so that nothing of the repository is near them.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";

const packageDir = path.resolve(import.meta.dirname, "..");
const require = createRequire(import.meta.url);

/** Where all of it is, until the process ends. */
export const root = realpathSync(mkdtempSync(path.join(tmpdir(), "pontoon-packaging-")));
process.on("exit", () => rmSync(root, { recursive: true, force: true }));

const [packed] = JSON.parse(execFileSync("npm", ["pack", "--json", "--pack-destination", root], {
  cwd: packageDir,
  encoding: "utf8",
  shell: process.platform === "win32",
}));

/** The tarball. */
export const tarball = path.join(root, packed.filename);

/** What is in it: paths within the package. */
export const files = packed.files.map((file) => file.path);

/** The package as it is installed. */
export const installed = path.join(root, "node_modules", "pontoon-db");
mkdirSync(installed, { recursive: true });
execFileSync("tar", ["-xzf", tarball, "-C", installed, "--strip-components=1"]);

/** Its package.json. */
export const manifest = JSON.parse(readFileSync(path.join(installed, "package.json"), "utf8"));

writeFileSync(path.join(root, "package.json"), JSON.stringify({ private: true, type: "module" }));
for (const name of ["ws", "react", "react-dom", "@types/node", "@types/react"]) {
  const link = path.join(root, "node_modules", name);
  mkdirSync(path.dirname(link), { recursive: true });
  symlinkSync(path.dirname(require.resolve(`${name}/package.json`)), link, "junction");
}

/** A copy of one of the applications in apps/. */
export function application(name) {
  const copy = path.join(root, name);
  cpSync(path.join(import.meta.dirname, "apps", name), copy, { recursive: true });
  return copy;
}
