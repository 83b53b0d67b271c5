// A page that stays while a thousand peers come, have a direct link to it, and go: does it run out of connections?
//
// A browser admits some 500 RTCPeerConnections to a page, and closed ones count until they are collected. The peers that
// come are in another page, several at a time, which is loaded anew each time: only the page that stays counts them all.
// When three times in a row none of those that came together gets a direct link, it has run out, and that is the end.
import { identity, launch, serve, supernode } from "./harness.mjs";
import { report } from "./report.mjs";

const [PEERS, PATIENCE_MS] = [8, 15_000];

export async function run({ rounds = 1_000, browser = "chromium" }) {
  const [site, node, started] = [await serve(), await supernode(), await launch(browser)];
  try {
    const standing = identity();
    const stays = await (await started.profile()).page(site.run("links", { supernode: node.address, seed: standing.seed }));
    const { error } = await stays.evaluate(() => opened);
    if (error) throw new Error(error);
    const profile = await started.profile();
    const job = { supernode: node.address, other: standing.id, peers: PEERS, patience: PATIENCE_MS };
    let [came, direct] = [0, 0];
    const begun = performance.now();
    for (let failures = 0; came < rounds && failures < 3; ) {
      const page = await profile.page(site.run(""));
      const found = await page.evaluate(async (job) => (await import("/page/churn.mjs")).cycle(job), job);
      await page.close();
      failures = found > 0 ? 0 : failures + 1;
      [came, direct] = [came + PEERS, direct + found];
      const late = came % (PEERS * 10) === 0 ? await figures(stays) : undefined;
      if (late) console.error(`churn: ${came} peers, ${direct} direct, ${JSON.stringify(late)}`);
    }
    const seconds = (performance.now() - begun) / 1_000;
    const { rtcOpened, rtcOpen } = await figures(stays);
    const line = (figure, value, unit) => report("churn", figure, value, unit, { browser });
    line("peers", came, "");
    line("direct", direct, "");
    line("connections_opened", rtcOpened, "");
    line("connections_open_at_end", rtcOpen, "");
    line("took_s", seconds, "s");
  } finally {
    await started.close();
    await node.stop();
    site.close();
  }
}

const figures = (page) => page.evaluate(async () => (await db.stats()).driver);
