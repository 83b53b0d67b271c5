// Figures of the package in real browsers, one JSON object a line; also `bench SCENARIO` of pontoon-tests.
//
//   node tests/browsers/bench.mjs SCENARIO [--rounds N] [--browser chromium|firefox]
//
// It wants the package built (`make page`) and the browsers that `make setup` installs. PONTOON_SUPERNODE names the
// supernode's binary; without it, it is built.
import { parseArgs } from "node:util";

const scenarios = ["links", "channel", "reload", "longtask", "fanout", "churn"];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: "string" }, browser: { type: "string" } },
});
const [name] = positionals;
if (!scenarios.includes(name)) {
  console.error(`no scenario ${name}: ${scenarios.join(", ")}`);
  process.exit(2);
}
const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
if (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0)) {
  console.error("--rounds is a number above 0");
  process.exit(2);
}
const { run } = await import(`./${name}.mjs`);
await run({ rounds, browser: values.browser });
