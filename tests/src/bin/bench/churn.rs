//! The `dht-churn` scenario: nodes come and go, keys are written and read all along.

use std::time::Instant;

use pontoon_tests::churn::{Churn, Outcomes, PURPOSES, Plan};

use crate::report::Report;

const SECOND_US: u64 = 1_000_000;

/// Both modes, or the one that the options ask for.
pub fn dht_churn(report: &Report) -> Result<(), String> {
    let options = &report.options;
    let modes = [("mixed", 84, false), ("crashes", 600, true)];
    for (mode, session_s, crashes) in modes {
        if options.crashes.is_some_and(|wanted| wanted != crashes) {
            continue;
        }
        let session_us = options.session_s.unwrap_or(session_s) * SECOND_US;
        let mut config = options.network(1_000);
        config.supernode = options.supernode.unwrap_or(false);
        let plan = if crashes { Plan::crashes(config, session_us) } else { Plan::mixed(config, session_us) };
        run(report, mode, Plan { lasts_us: options.minutes.unwrap_or(30) * 60 * SECOND_US, ..plan })?;
    }
    Ok(())
}

fn run(report: &Report, mode: &str, plan: Plan) -> Result<(), String> {
    let (begun, config) = (Instant::now(), plan.config.clone());
    let session_s = (plan.median_session_us / SECOND_US).to_string();
    let out = Churn::new(plan).run(|_| {}).map_err(|unsettled| unsettled.to_string())?;
    let more = [("mode", mode), ("session_s", session_s.as_str())];
    let figure = |name: &str, value: f64, unit: &str| report.simulated(&config, "dht-churn", name, value, unit, &more);
    let Outcomes { gets, found, absent_and_said_so, unreachable, .. } = &out;
    let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    figure("settled_s", out.settled_us as f64 / 1e6, "s");
    for (how, count) in &out.departures {
        figure(&format!("departures_{}", how.replace(' ', "_")), *count as f64, "nodes");
    }
    figure("lookups", *gets as f64, "gets");
    figure("lookup_consistent", share(found + absent_and_said_so + unreachable, *gets), "");
    figure("lookup_by_holder", share(found + absent_and_said_so, *gets), "");
    figure("lookup_said_unreachable", share(*unreachable, *gets), "");
    figure("lookup_absent", out.absent as f64, "gets");
    figure("lookup_wrong", out.wrong as f64, "gets");
    figure("lookup_unanswered", out.unanswered as f64, "gets");
    figure("get_found", share(*found, *gets), "");
    for (name, percent) in [("get_p50_us", 50), ("get_p99_us", 99)] {
        figure(name, out.get_us.get(out.get_us.len() * percent / 100).copied().unwrap_or(0) as f64, "us");
    }
    figure("put_acknowledged", share(out.acknowledged, out.puts), "");
    figure("acknowledged", out.acknowledged as f64, "puts");
    figure("lost_acknowledged", out.lost.len() as f64, "puts");
    figure("lost_silently", out.lost.iter().filter(|lost| !lost.said_so).count() as f64, "puts");
    figure("not_read", out.unread as f64, "puts");
    let bytes = |purposes: &[&str]| -> f64 {
        share(purposes.iter().filter_map(|purpose| out.bytes.get(purpose)).sum(), out.node_s)
    };
    figure("maintenance_bytes_per_node_s", bytes(&PURPOSES[..3]), "B/s");
    for purpose in PURPOSES {
        figure(&format!("{purpose}_per_node_s"), bytes(&[purpose]), "B/s");
    }
    figure("bytes_all_per_node_s", share(out.bytes_all, out.node_s), "B/s");
    figure("settled_afterwards", f64::from(u8::from(out.unsettled.is_none())), "");
    figure("invariants_broken", out.broken.len() as f64, "");
    figure("answered_in_two_histories", out.forked as f64, "looks");
    figure("wall_s", begun.elapsed().as_secs_f64(), "s");
    out.unexplained.iter().for_each(|line| eprintln!("ABSENT {line}"));
    out.lost.iter().for_each(|lost| eprintln!("{}", lost.line()));
    out.broken.iter().take(20).for_each(|broken| eprintln!("BROKEN {broken}"));
    out.unsettled.iter().for_each(|why| eprintln!("not settled afterwards: {why}"));
    Ok(())
}
