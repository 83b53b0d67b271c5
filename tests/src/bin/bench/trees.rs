//! `pht-range`: what lookups and ranges of a prefix hash tree cost, in probes (operations on labels) and time.
//!
//! One tree of random 64-bit keys. Cold is a peer that knows nothing of the tree's shape, warm one that has looked up
//! before. `allowed` is the bound of Ramabhadran et al. (*Prefix Hash Tree*, 2004) for a lookup, `floor(log2(D + 1)) + 1`
//! with `D` = 64, and for a range of `k` leaves `1.25 k + floor(log2(D + 1)) + 2`; their own ranges met `2 k` nodes, as
//! every inner one is visited. `range_ms` is the time of the whole range, in parallel; on OpenDHT the median was 2 to 4 s
//! (Chawathe et al., SIGCOMM 2005).

use pontoon_core::pht::{Change, Held, Range, Request, Shape, What, Wrote};
use pontoon_tests::{sim::Sim, trees::point};
use serde_json::json;

use crate::report::Report;

const SECOND_US: u64 = 1_000_000;
const BITS: u32 = 64;
const BATCH: usize = 1_000;
const LOOKUPS: usize = 200;
const LEAVES: [usize; 7] = [1, 3, 10, 30, 100, 300, 1_000];
const RANGES: usize = 5;

/// The `pht-range` scenario.
pub fn pht_range(report: &Report) -> Result<(), String> {
    let config = report.options.network(100);
    let (nodes, seed) = (config.nodes, config.seed);
    let entries = report.options.ops.unwrap_or(if nodes < 1_000 { 50_000 } else { 10_000 });
    let mut sim = Sim::new(config);
    sim.settle(300 * SECOND_US).map_err(|unsettled| unsettled.to_string())?;
    let figure = |name: &str, value: f64, unit: &str, more: &[(&str, serde_json::Value)]| {
        let all = [&[("nodes", json!(nodes)), ("seed", json!(seed)), ("entries", json!(entries))], more].concat();
        report.measured("pht-range", name, value, unit, &all);
    };

    let mut keys: Vec<Vec<u8>> = (0..entries).map(|_| sim.draw(u64::MAX).to_be_bytes().to_vec()).collect();
    let (mut warm, mut probes, mut written) = (Shape::default(), 0, 0);
    let begun = sim.now_us();
    for batch in keys.chunks(BATCH) {
        let change = |key: &Vec<u8>| Change { key: key.clone(), what: What::Set(vec![0; 16], 1), expect: Held::Any };
        let answer = sim.tree(1, "bench", &mut warm, Request::Write(batch.iter().map(change).collect()));
        if answer.wrote.iter().any(|wrote| *wrote != Wrote::Done) {
            return Err("an entry was not written".to_owned());
        }
        probes += answer.probes;
        written += batch.len();
    }
    figure("insert_probes_per_entry", probes as f64 / written as f64, "probes", &[]);
    figure("insert_entries_per_s", written as f64 * 1e6 / (sim.now_us() - begun) as f64, "1/s", &[]);
    keys.sort();
    keys.dedup();

    let lookup = u64::from((BITS + 1).ilog2() + 1);
    let (mut cold_max, mut cold_sum, mut warm_max, mut warm_sum, mut cold_us) = (0, 0, 0, 0, 0);
    for _ in 0..LOOKUPS {
        let key = keys[sim.draw(keys.len() as u64) as usize].clone();
        let node = sim.draw(nodes as u64) as usize;
        let begun = sim.now_us();
        let cold = sim.tree(node, "bench", &mut Shape::default(), Request::Range(point(&key)));
        cold_us += sim.now_us() - begun;
        let again = sim.tree(1, "bench", &mut warm, Request::Range(point(&key)));
        for answer in [&cold, &again] {
            if answer.entries.len() != 1 || answer.missing > 0 {
                return Err("a key was not found".to_owned());
            }
        }
        (cold_max, cold_sum) = (cold.probes.max(cold_max), cold_sum + cold.probes);
        (warm_max, warm_sum) = (again.probes.max(warm_max), warm_sum + again.probes);
    }
    let allowed = |bound: u64| [("allowed", json!(bound))];
    figure("probes_cold_max", cold_max as f64, "probes", &allowed(lookup));
    figure("probes_cold_mean", cold_sum as f64 / LOOKUPS as f64, "probes", &[]);
    figure("lookup_cold_ms", cold_us as f64 / 1e3 / LOOKUPS as f64, "ms", &[]);
    figure("probes_warm_max", warm_max as f64, "probes", &allowed(2));
    figure("probes_warm_mean", warm_sum as f64 / LOOKUPS as f64, "probes", &[]);

    let whole = sim.tree(1, "bench", &mut Shape::default(), Request::Range(Range::default()));
    if whole.entries.len() != keys.len() {
        return Err(format!("{} of {} entries are in the tree", whole.entries.len(), keys.len()));
    }
    let per_leaf = keys.len() / whole.buckets as usize;
    figure("leaves", whole.buckets as f64, "leaves", &[]);
    for size in LEAVES.into_iter().filter(|size| size * per_leaf < keys.len()) {
        let (mut worst, mut leaves, mut messages, mut took_us) = (0.0_f64, 0, 0, 0);
        for _ in 0..RANGES {
            let from = sim.draw((keys.len() - size * per_leaf) as u64) as usize;
            let to = keys.get(from + size * per_leaf).cloned();
            let range = Range { from: keys[from].clone(), to, ..Range::default() };
            let node = sim.draw(nodes as u64) as usize;
            let begun = sim.now_us();
            let answer = sim.tree(node, "bench", &mut Shape::default(), Request::Range(range));
            took_us += sim.now_us() - begun;
            if answer.entries.len() != size * per_leaf || answer.missing > 0 {
                return Err("a range is not whole".to_owned());
            }
            let bound = 1.25 * answer.buckets as f64 + (lookup + 1) as f64;
            worst = worst.max(answer.probes as f64 / bound);
            (leaves, messages) = (leaves + answer.buckets, messages + answer.probes);
        }
        let mean = |sum: u64| sum as f64 / RANGES as f64;
        let of = [("k", json!(size))];
        figure("range_leaves", mean(leaves), "leaves", &of);
        figure("range_messages", mean(messages), "probes", &of);
        figure("range_worst_of_allowed", worst, "", &of);
        figure("range_ms", mean(took_us) / 1e3, "ms", &of);
    }
    Ok(())
}
