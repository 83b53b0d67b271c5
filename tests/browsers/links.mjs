// Two fresh peers and one supernode: how long until a page is usable, and until it has a direct link to the other one.
//
// One page stands; the other one is opened, and everything is counted from the first statement of its script: package and
// engine are fetched, compiled and started within it. Every attempt has new profiles and new identities. Of two
// different browsers each is opened second in half of the attempts.
import { identity, launch, serve, supernode, until } from "./harness.mjs";
import { median, quantile, report } from "./report.mjs";

const PAIRS = [["chromium", "chromium"], ["chromium", "firefox"], ["firefox", "firefox"]];

export async function run({ rounds = 100 }) {
  const [site, node] = [await serve(), await supernode()];
  const browsers = {};
  try {
    for (const kind of ["chromium", "firefox"]) browsers[kind] = await launch(kind);
    for (const pair of PAIRS) {
      const attempts = [];
      for (let round = 0; round < rounds; round += 1) {
        const [first, second] = round % 2 === 0 ? pair : pair.toReversed();
        attempts.push(await attempt(site, node, browsers[first], browsers[second]));
        if ((round + 1) % 25 === 0) console.error(`links: ${round + 1} attempts of ${pair.join("-")}`);
      }
      print(pair.join("-"), attempts);
    }
  } finally {
    for (const browser of Object.values(browsers)) await browser.close();
    await node.stop();
    site.close();
  }
}

async function attempt(site, node, first, second) {
  const profiles = [await first.profile(), await second.profile()];
  try {
    const [standing, coming] = [identity(), identity()];
    const job = { supernode: node.address };
    const before = await profiles[0].page(site.run("links", { ...job, seed: standing.seed }));
    const { error } = await before.evaluate(() => opened);
    if (error) return { error };
    const page = await profiles[1].page(site.run("links", { ...job, seed: coming.seed, other: standing.id }));
    const found = await page.evaluate(() => opened);
    // The next attempt finds the supernode alone.
    for (const peer of [page, before]) await peer.evaluate(() => globalThis.db?.close());
    await until(10_000, async () => (await node.inspect()).links.length === 0);
    return found;
  } finally {
    for (const profile of profiles) await profile.close();
  }
}

function print(pair, attempts) {
  const of = (figure) => attempts.map((attempt) => attempt[figure]).filter((ms) => ms !== undefined);
  const [connected, usable, direct] = [of("connected"), of("usable"), of("direct")];
  for (const error of of("error")) console.error(`links ${pair}: ${error}`);
  const line = (figure, value, unit) => report("links", figure, value, unit, { pair });
  line("attempts", attempts.length, "");
  line("usable", usable.length, "");
  line("direct", direct.length, "");
  line("connected_ms_median", median(connected), "ms");
  line("relayed_ms_median", median(usable), "ms");
  line("relayed_ms_p95", quantile(usable, 0.95), "ms");
  line("direct_ms_median", median(direct), "ms");
  line("direct_ms_p95", quantile(direct, 0.95), "ms");
}
