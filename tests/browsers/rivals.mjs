// What is measured beside Pontoon: npm projects of their own in tests/rivals, so that nobody else downloads them.
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, readFileSync } from "node:fs";
import path from "node:path";

const rivals = path.resolve(import.meta.dirname, "..", "rivals");

/** Installs what a rival's lockfile says, unless it is there; gives a folder of its packages. */
export function install(rival, ...folder) {
  const here = path.join(rivals, rival);
  const [lock, installed] = [path.join(here, "package-lock.json"), path.join(here, "node_modules", ".installed-lockfile")];
  if (!existsSync(installed) || !readFileSync(installed).equals(readFileSync(lock))) {
    console.error(`installing ${rival}'s packages`);
    execFileSync("npm", ["ci", "--ignore-scripts"], { cwd: here, stdio: ["ignore", 2, 2] });
    copyFileSync(lock, installed);
  }
  return path.join(here, "node_modules", ...folder);
}
