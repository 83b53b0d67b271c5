// Page to page through the package, beside a bare RTCDataChannel between the same two pages: both in turn.
//
// Throughput ends when the receiving page has said, the same way, that it has everything. A round trip is a message that
// the other page's listener answers with one. `ratio` is the package's figure over the bare channel's.
import { identity, launch, serve, supernode, until } from "./harness.mjs";
import { median, report } from "./report.mjs";

const PAIRS = [["chromium", "chromium"], ["chromium", "firefox"], ["firefox", "firefox"]];
const STREAMS = [{ size: 16 << 10, count: 1_000 }, { size: 100, count: 5_000 }];
const TRIPS = { size: 100, count: 300 };
const WAYS = ["pontoon", "bare"];

export async function run({ rounds = 5 }) {
  const [site, node] = [await serve(), await supernode()];
  const browsers = {};
  try {
    for (const kind of ["chromium", "firefox"]) browsers[kind] = await launch(kind);
    for (const pair of PAIRS) await measure(site, node, pair, pair.map((kind) => browsers[kind]), rounds);
  } finally {
    for (const browser of Object.values(browsers)) await browser.close();
    await node.stop();
    site.close();
  }
}

async function measure(site, node, pair, browsers, rounds) {
  const profiles = [];
  for (const browser of browsers) profiles.push(await browser.profile());
  const ids = [identity(), identity()];
  const pages = [];
  for (const [at, profile] of profiles.entries()) {
    const page = await profile.page(site.run("links", { supernode: node.address, seed: ids[at].seed }));
    const { error } = await page.evaluate(() => opened);
    if (error) throw new Error(error);
    await page.evaluate(async (other) => (await import("/page/channel.mjs")).openPontoon(other), ids[1 - at].id);
    pages.push(page);
  }
  const direct = () => pages[0].evaluate(async () => (await db.links()).some(({ transport }) => transport === "webrtc"));
  if (!(await until(60_000, direct))) throw new Error(`${pair}: no direct link`);
  const bare = (page, offer) => page.evaluate(async (offer) => (await import("/page/channel.mjs")).openBare(offer), offer);
  const answer = await bare(pages[1], await bare(pages[0]));
  await pages[0].evaluate(async (answer) => {
    await bare.connection.setRemoteDescription(answer);
    await bare.opened;
  }, answer);

  const run = (name, job) => pages[0].evaluate(async ({ name, job }) => (await import("/page/channel.mjs"))[name](job), { name, job });
  const line = (figure, value, unit, more) => report("channel", figure, value, unit, { ...more, pair: pair.join("-") });
  for (const { size, count } of STREAMS) {
    const rates = { pontoon: [], bare: [] };
    for (let round = 0; round < rounds; round += 1) {
      for (const name of WAYS) rates[name].push(await run("throughput", { name, size, count }));
    }
    const [ours, theirs] = WAYS.map((name) => median(rates[name]));
    line("bytes_per_s", ours, "B/s", { size, way: "pontoon" });
    line("bytes_per_s", theirs, "B/s", { size, way: "bare" });
    line("throughput_ratio", ours / theirs, "", { size });
  }
  const trips = { pontoon: [], bare: [] };
  for (let round = 0; round < rounds; round += 1) {
    for (const name of WAYS) trips[name].push(...(await run("roundTrips", { name, ...TRIPS })));
  }
  const [ours, theirs] = WAYS.map((name) => median(trips[name]));
  line("round_trip_ms", ours, "ms", { size: TRIPS.size, way: "pontoon" });
  line("round_trip_ms", theirs, "ms", { size: TRIPS.size, way: "bare" });
  line("round_trip_ratio", ours / theirs, "", { size: TRIPS.size });
  for (const page of pages) await page.evaluate(() => db.close());
  for (const profile of profiles) await profile.close();
}
