// Serves the laboratory's pages from within its network: node site.mjs ADDRESS. Says the origin, and ends with its parent.
import { serve } from "../browsers/harness.mjs";

const site = await serve({}, process.argv[2]);
console.log(site.origin);
process.stdin.on("end", () => process.exit()).resume();
