//! Live queries on simulated networks: what they show follows what is written, whoever dies meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // how a test fails, helpers included

use chacha20::rand_core::SeedableRng as _;
use pontoon_core::{
    CallId, Command, Config, Error, Id, Now, Output, Region,
    crypto::KeyedHash,
    ctx::{Ctx, Outbox, Rng},
    data::{Row, Value, codec},
    live::{Delta, Fed, Message, Watched, Watches},
    spread::Report,
    sql::asking::Definitions,
    store::Action,
    trust::Signer,
};
use pontoon_tests::{
    live::Living,
    ops::{Ask, op},
    seeds::{self, number},
    sim::{Crash, Signing, Sim, SimConfig},
};

const SECOND_US: u64 = 1_000_000;

fn network(seed: u64, nodes: usize) -> Sim {
    let mut sim = Sim::new(SimConfig { signing: Signing::KeyedHash, ..SimConfig::new(seed, nodes) });
    sim.settle(600 * SECOND_US).expect("a quiet network settles");
    sim
}

fn run(sim: &mut Sim, node: usize, texts: &[&str]) {
    texts.iter().for_each(|text| drop(sim.sql(node, text).unwrap_or_else(|error| panic!("{text}: {error}"))));
}

/// Runs on, and lets live queries follow.
fn follow(sim: &mut Sim, livings: &mut [&mut Living], us: u64) {
    let until = sim.now_us() + us;
    while sim.now_us() < until {
        sim.run_for(50_000);
        for living in livings.iter_mut() {
            sim.attend(living);
        }
    }
}

fn integers(rows: &[Row]) -> Vec<Vec<i64>> {
    let number = |value: &Value| match value {
        Value::Integer(number) => *number,
        Value::Null => i64::MIN,
        other => panic!("{other:?}"),
    };
    rows.iter().map(|row| row.iter().map(number).collect()).collect()
}

#[test]
fn a_view_follows_what_is_written() {
    let mut sim = network(1, 12);
    run(
        &mut sim,
        1,
        &[
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER)",
            "CREATE TABLE u (a INTEGER PRIMARY KEY, name INTEGER)",
            "INSERT INTO t VALUES (1, 1, 10), (2, 1, 20), (3, 2, 30), (4, 3, 40)",
            "INSERT INTO u VALUES (1, 100), (2, 200)",
        ],
    );
    let top = "SELECT id, b FROM t WHERE b > 10 ORDER BY b DESC LIMIT 2";
    let grouped = "SELECT u.name, count(*), sum(t.b) FROM t JOIN u ON t.a = u.a GROUP BY u.name ORDER BY 1";
    let one = "SELECT b FROM t WHERE id = 3";
    let (mut top, mut grouped, mut one) =
        (sim.begin_live(2, top).unwrap(), sim.begin_live(5, grouped).unwrap(), sim.begin_live(7, one).unwrap());
    let all = &mut [&mut top, &mut grouped, &mut one];
    follow(&mut sim, all, 2 * SECOND_US);
    assert_eq!(integers(all[0].rows()), [[4, 40], [3, 30]]);
    assert_eq!(integers(all[1].rows()), [[100, 2, 30], [200, 1, 30]]);
    assert_eq!(integers(all[2].rows()), [[30]]);
    assert!(all.iter().all(|living| living.coverage == 1.0 && living.changes == 1));

    run(&mut sim, 3, &["UPDATE t SET b = 35, a = 1 WHERE id = 3"]);
    follow(&mut sim, all, SECOND_US);
    assert_eq!(integers(all[0].rows()), [[4, 40], [3, 35]]);
    assert_eq!(integers(all[1].rows()), [[100, 3, 65]]);
    assert_eq!(integers(all[2].rows()), [[35]]);
    run(&mut sim, 4, &["DELETE FROM t WHERE id = 3", "INSERT INTO u VALUES (3, 300)"]);
    follow(&mut sim, all, SECOND_US);
    assert_eq!(integers(all[0].rows()), [[4, 40], [2, 20]]);
    assert_eq!(integers(all[1].rows()), [[100, 2, 30], [300, 1, 40]]);
    assert_eq!(integers(all[2].rows()), [[0_i64; 0]; 0]);
    assert!(all.iter().all(|living| living.adds_up() && living.error.is_none()));
}

#[test]
fn windows_over_time_follow() {
    let mut sim = network(5, 12);
    run(
        &mut sim,
        1,
        &[
            "CREATE TABLE visits (id INTEGER PRIMARY KEY, at TIMESTAMP)",
            "INSERT INTO visits VALUES (1, '2024-05-17 10:00:10'), (2, '2024-05-17 10:00:50')",
        ],
    );
    let minute = "date_part('minute', window_start) * 60 + date_part('second', window_start)";
    let hop = format!(
        "SELECT CAST({minute} AS INTEGER) AS s, count(*) FROM visits, hop(at, '30 seconds', '1 minute')
         GROUP BY window_start ORDER BY s"
    );
    let tumble = "SELECT CAST(date_part('minute', tumble(at, '1 minute')) AS INTEGER) AS m, count(*) FROM visits
         GROUP BY tumble(at, '1 minute') ORDER BY m";
    let (mut hop, mut tumble) = (sim.begin_live(2, &hop).unwrap(), sim.begin_live(5, tumble).unwrap());
    let all = &mut [&mut hop, &mut tumble];
    follow(&mut sim, all, 2 * SECOND_US);
    assert_eq!(integers(all[0].rows()), [[0, 2], [30, 1], [3_570, 1]]);
    assert_eq!(integers(all[1].rows()), [[0, 2]]);
    run(&mut sim, 3, &["INSERT INTO visits VALUES (3, '2024-05-17 10:01:00')", "DELETE FROM visits WHERE id = 1"]);
    follow(&mut sim, all, SECOND_US);
    assert_eq!(integers(all[0].rows()), [[0, 1], [30, 2], [60, 1]]);
    assert_eq!(integers(all[1].rows()), [[0, 1], [1, 1]]);
    assert!(all.iter().all(|living| living.adds_up() && living.error.is_none()));
}

/// How many live queries stand at all nodes together.
fn standing(sim: &Sim) -> usize {
    (0..sim.len()).map(|node| sim.standing_queries(node)).sum()
}

#[test]
fn nothing_stays_of_a_query_that_ends() {
    let mut sim = network(2, 12);
    run(&mut sim, 1, &["CREATE TABLE t (a INTEGER)", "INSERT INTO t VALUES (1), (2), (3)"]);
    let (mut closed, mut abandoned) =
        (sim.begin_live(2, "SELECT a FROM t").unwrap(), sim.begin_live(3, "SELECT sum(a) FROM t").unwrap());
    follow(&mut sim, &mut [&mut closed, &mut abandoned], 2 * SECOND_US);
    let all = standing(&sim);
    assert!(all >= 2 * 12, "{all} stand");
    // Who closes one is forgotten at once ..
    sim.close(&mut closed);
    sim.run_for(SECOND_US / 2);
    assert!(standing(&sim) <= all / 2, "{} of {all} stand", standing(&sim));
    // .. and who dies when the lease lapses, also where nothing is written.
    sim.crash(3, Crash::Silent);
    sim.run_for(6 * SECOND_US);
    assert!(standing(&sim) > 0);
    sim.run_for(5 * SECOND_US);
    assert_eq!(standing(&sim), 0);
    let changes = closed.changes;
    run(&mut sim, 1, &["INSERT INTO t VALUES (4)"]);
    follow(&mut sim, &mut [&mut closed], SECOND_US);
    assert_eq!((closed.changes, &closed.error), (changes, &None));
}

#[test]
fn a_query_that_its_owners_know_and_its_asker_does_not_is_cancelled() {
    let mut sim = network(3, 8);
    run(&mut sim, 1, &["CREATE TABLE t (a INTEGER PRIMARY KEY)"]);
    let mut living = sim.begin_live(2, "SELECT a FROM t").unwrap();
    follow(&mut sim, &mut [&mut living], SECOND_US);
    // It comes back without a memory of what it asked for.
    sim.crash(2, Crash::Noticed);
    sim.restart(2);
    sim.run_for(4 * SECOND_US);
    let before = standing(&sim);
    let rows: Vec<String> = (0..100).map(|a| format!("({a})")).collect();
    run(&mut sim, 1, &[&format!("INSERT INTO t VALUES {}", rows.join(", "))]);
    sim.run_for(SECOND_US / 2);
    assert!(standing(&sim) < before, "{} of {before}", standing(&sim));
}

#[test]
fn who_takes_a_region_over_goes_on_telling() {
    let mut sim = network(7, 4);
    run(&mut sim, 1, &["CREATE TABLE t (a INTEGER PRIMARY KEY)"]);
    let namespace = match sim.sql(1, "SELECT namespace FROM pontoon_tables").unwrap().rows.remove(0).remove(0) {
        Value::Text(namespace) => namespace,
        other => panic!("{other:?}"),
    };
    let mut living = sim.begin_live(2, "SELECT a FROM t").unwrap();
    follow(&mut sim, &mut [&mut living], 2 * SECOND_US);
    let mut key = 0;
    for _ in 0..8 {
        let node = sim.add_node(0);
        let owned = |sim: &Sim| sim.standing(node).map(|standing| standing.owned).unwrap_or_default();
        while owned(&sim).is_empty() {
            follow(&mut sim, &mut [&mut living], 50_000);
        }
        // What it owns now it was not asked for, and the asker renews only every three seconds.
        let owned = owned(&sim);
        let lives = |key: i64| Id::object(&namespace, &codec::encode_key(&[Value::Integer(key)]), 0);
        key = (key + 1..).find(|key| owned.iter().any(|region| region.contains(&lives(*key)))).unwrap();
        run(&mut sim, node, &[&format!("INSERT INTO t VALUES ({key})")]);
        follow(&mut sim, &mut [&mut living], SECOND_US);
        assert!(integers(living.rows()).contains(&vec![key]), "{key} of {node} is told");
    }
    assert!(living.adds_up() && living.error.is_none());
}

#[test]
fn who_goes_leaves_what_stands_to_its_heir() {
    const BITS: u8 = 12;
    let mut sim = network(8, 10);
    // All rows live at one peer.
    sim.set_locality_bits(BITS);
    run(&mut sim, 1, &["CREATE TABLE t (a INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)"]);
    let namespace = match sim.sql(1, "SELECT namespace FROM pontoon_tables").unwrap().rows.remove(0).remove(0) {
        Value::Text(namespace) => namespace,
        other => panic!("{other:?}"),
    };
    let place = Region::namespace(&namespace, BITS).nearest(&Id::ZERO);
    let owner = sim.owner_of(&place).unwrap();
    let asker = (1..10).find(|node| *node != owner).unwrap();
    let mut living = sim.begin_live(asker, "SELECT a FROM t").unwrap();
    follow(&mut sim, &mut [&mut living], 2 * SECOND_US);
    assert_eq!(integers(living.rows()), [[1]]);
    let before: Vec<usize> = (0..10).map(|node| sim.standing_queries(node)).collect();
    assert!(before[owner] > 0);
    // Nobody renews anything any more.
    sim.crash(asker, Crash::Silent);
    let call = sim.command(owner, Command::Leave);
    assert!(sim.wait(&[call], 10 * SECOND_US)[0].is_some());
    sim.stop(owner);
    let heir = sim.owner_of(&place).unwrap();
    assert!(sim.standing_queries(heir) > before[heir], "{heir} has what {owner} had");
}

/// What one watch tells of reports and messages that are given to it by hand.
struct Hand {
    watches: Watches,
    watch: u64,
    config: Config,
    rng: Rng,
    out: Outbox,
    now_us: u64,
}

impl Hand {
    fn new() -> Hand {
        let (config, rng, out) = (Config::default(), Rng::seed_from_u64(1), Outbox::default());
        let mut hand = Hand { watches: Watches::default(), watch: 0, config, rng, out, now_us: 1 };
        let stand = pontoon_core::sql::standing::stand_entry("t", 0);
        hand.watch = hand.with(|watches, ctx| watches.begin(ctx, CallId(1), &stand.fragment, Region::ALL).unwrap());
        hand
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Watches, &mut Ctx<'_>) -> T) -> T {
        let now = Now { mono: self.now_us, wall: self.now_us };
        let (config, rng, out) = (&self.config, &mut self.rng, &mut self.out);
        let signer = Signer::new(Box::new(KeyedHash([0; 32])));
        act(&mut self.watches, &mut Ctx { now, me: Id::ZERO, config, signer: &signer, rng, out })
    }

    /// The next task: what it leaves out, if it is time for one.
    fn task(&mut self) -> Option<Vec<Region>> {
        let watch = self.watch;
        self.with(|watches, ctx| watches.start(ctx, None, watch)).map(|start| start.except)
    }

    fn report(&mut self, fed: &[(Region, u64, u64, bool)]) -> String {
        let fed = fed.iter().map(|(region, session, seq, read)| Fed {
            region: *region,
            session: *session,
            seq: *seq,
            read: *read,
        });
        let report = Report { fed: fed.collect(), ..Report::default() };
        let watch = self.watch;
        self.with(|watches, ctx| watches.on_report(ctx, watch, report));
        self.told()
    }

    fn hear(&mut self, session: u64, seq: u64) -> String {
        let delta = Delta { gone: vec![vec![session as u8, seq as u8]], ..Delta::default() };
        let message = Message::Changed { watch: self.watch, session, seq, delta };
        self.with(|watches, ctx| watches.on_message(ctx, Id::ZERO, message));
        self.told()
    }

    fn later(&mut self, us: u64) -> String {
        self.now_us += us;
        let watch = self.watch;
        self.with(|watches, ctx| watches.on_timer(ctx, watch));
        self.told()
    }

    /// What the application is told, in short.
    fn told(&mut self) -> String {
        let tell = |output| match output {
            Output::Watched { event: Watched::Read { regions, .. }, .. } => format!("read {}", regions.len()),
            Output::Watched { event: Watched::Changed(delta), .. } => {
                format!("{}.{}", delta.gone[0][0], delta.gone[0][1])
            }
            Output::Watched { event: Watched::Covered { coverage, .. }, .. } => format!("covered {coverage}"),
            other => format!("{other:?}"),
        };
        self.out.outputs.drain(..).map(tell).collect::<Vec<_>>().join(", ")
    }
}

#[test]
fn a_stream_is_in_order_and_without_gaps() {
    let (low, high) = (Region::ALL.fix(0, false), Region::ALL.fix(0, true));
    let mut hand = Hand::new();
    assert_eq!(hand.task(), Some(vec![]));
    assert_eq!(hand.task(), None, "one at a time");
    // What comes before its rows waits for them; what they say already is left out.
    assert_eq!(hand.hear(7, 2) + &hand.hear(7, 3) + &hand.hear(7, 1), "");
    assert_eq!(hand.report(&[(low, 7, 1, true), (high, 8, 0, true)]), "read 2, 7.2, 7.3, covered 1");
    // In order, and once.
    assert_eq!(hand.hear(7, 3) + &hand.hear(7, 5), "");
    assert_eq!(hand.hear(7, 4), "7.4, 7.5");
    assert_eq!(hand.hear(7, 5) + &hand.hear(7, 4), "");
    assert_eq!(hand.hear(8, 1), "8.1");
    // Renewed, and nothing is missing.
    assert_eq!(hand.task(), None);
    assert_eq!(hand.later(3_000_000), "");
    assert_eq!(hand.task(), Some(vec![]));
    assert_eq!(hand.report(&[(low, 7, 5, false), (high, 8, 1, false)]), "");
    // What is lost is found by what follows, and read again, that session alone.
    assert_eq!(hand.hear(8, 3), "");
    assert_eq!(hand.later(600_000), "covered 0.5");
    assert_eq!(hand.task(), Some(vec![low]));
    assert_eq!(hand.hear(8, 4) + &hand.hear(8, 2), "", "it waits for the rows");
    assert_eq!(hand.report(&[(high, 8, 3, true)]), "read 1, 8.4, covered 1");
    // Another owner: what the one before has still to say is of no interest any more.
    assert_eq!(hand.later(3_000_000), "");
    assert_eq!(hand.task(), Some(vec![]));
    assert_eq!(hand.report(&[(low, 7, 5, false), (high, 9, 2, true)]), "read 1");
    assert_eq!(hand.hear(8, 5) + &hand.later(600_000), "");
    assert_eq!(hand.hear(9, 3), "9.3");
    // An owner that says that it counted further is believed, after a while.
    assert_eq!(hand.later(3_000_000), "");
    assert_eq!(hand.task(), Some(vec![]));
    assert_eq!(hand.report(&[(low, 7, 6, false), (high, 9, 3, false)]), "");
    assert_eq!(hand.later(600_000), "covered 0.5");
    assert_eq!(hand.task(), Some(vec![high]));
    assert_eq!(hand.report(&[(low, 7, 6, true)]), "read 1, covered 1");
    // Nobody answers for a part: it is not covered, and goes on where it was.
    assert_eq!(hand.later(3_000_000), "");
    assert_eq!(hand.task(), Some(vec![]));
    let report = Report {
        missing: vec![high],
        fed: vec![Fed { region: low, session: 7, seq: 6, read: false }],
        ..Report::default()
    };
    let watch = hand.watch;
    hand.with(|watches, ctx| watches.on_report(ctx, watch, report));
    assert_eq!(hand.told(), "covered 0.5");
    assert_eq!(hand.hear(9, 4), "9.4");
    assert_eq!(hand.later(600_000), "");
    assert_eq!(hand.task(), Some(vec![]));
    assert_eq!(hand.report(&[(low, 7, 6, false), (high, 9, 4, false)]), "covered 1");
}

#[test]
fn what_waits_is_bounded() {
    let mut hand = Hand::new();
    assert_eq!(hand.task(), Some(vec![]));
    for seq in 1..=300 {
        assert_eq!(hand.hear(7, seq), "");
    }
    assert_eq!(hand.report(&[(Region::ALL, 7, 299, true)]), "read 1, 7.44, covered 1");
    assert_eq!(hand.hear(7, 301), "7.45");
    for seq in 303..=700 {
        assert_eq!(hand.hear(7, seq), "");
    }
    assert_eq!(hand.later(600_000), "covered 0");
    assert_eq!(hand.task(), Some(vec![]));
    assert_eq!(hand.report(&[(Region::ALL, 7, 700, true)]), "read 1, covered 1");
    assert_eq!(hand.hear(7, 701), "7.189");
}

#[test]
fn rows_leave_when_they_lapse() {
    let mut sim = network(4, 8);
    run(&mut sim, 1, &["CREATE TABLE t (a INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1), (2), (3)"]);
    let namespace =
        match sim.sql(1, "SELECT namespace FROM pontoon_tables WHERE name = 't'").unwrap().rows.remove(0).remove(0) {
            Value::Text(namespace) => namespace,
            other => panic!("{other:?}"),
        };
    let row = |a| codec::encode_key(&[Value::Integer(a)]);
    let renew = |sim: &mut Sim, a, ttl_us| drop(sim.keys(5, vec![op(&namespace, &row(a), Action::Renew { ttl_us })]));
    // One that lapses already when it is first seen, and one that begins to later.
    renew(&mut sim, 1, 5 * SECOND_US);
    let mut living = sim.begin_live(2, "SELECT a FROM t ORDER BY a").unwrap();
    follow(&mut sim, &mut [&mut living], SECOND_US);
    renew(&mut sim, 2, 2 * SECOND_US);
    assert_eq!(integers(living.rows()), [[1], [2], [3]]);
    follow(&mut sim, &mut [&mut living], SECOND_US);
    assert_eq!(integers(living.rows()), [[1], [2], [3]]);
    follow(&mut sim, &mut [&mut living], 3 * SECOND_US / 2);
    assert_eq!(integers(living.rows()), [[1], [3]]);
    // It is renewed in time.
    renew(&mut sim, 1, 20 * SECOND_US);
    follow(&mut sim, &mut [&mut living], 5 * SECOND_US);
    assert_eq!(integers(living.rows()), [[1], [3]]);
    follow(&mut sim, &mut [&mut living], 16 * SECOND_US);
    assert_eq!(integers(living.rows()), [[3]]);
    assert!(living.adds_up());
}

#[test]
fn a_view_outlives_what_becomes_of_its_table() {
    let mut sim = network(5, 8);
    run(&mut sim, 1, &["CREATE TABLE t (a INTEGER PRIMARY KEY, b INTEGER)", "INSERT INTO t VALUES (1, 10), (2, 20)"]);
    let mut living = sim.begin_live(2, "SELECT * FROM t ORDER BY a").unwrap();
    let all = &mut [&mut living];
    follow(&mut sim, all, SECOND_US);
    run(&mut sim, 3, &["ALTER TABLE t ADD COLUMN c INTEGER DEFAULT 7", "INSERT INTO t VALUES (3, 30, 8)"]);
    follow(&mut sim, all, 2 * SECOND_US);
    assert_eq!(integers(all[0].rows()), [[1, 10, 7], [2, 20, 7], [3, 30, 8]]);
    run(&mut sim, 3, &["TRUNCATE t", "INSERT INTO t VALUES (4, 40, 9)"]);
    follow(&mut sim, all, 2 * SECOND_US);
    assert_eq!(integers(all[0].rows()), [[4, 40, 9]]);
    assert!(all[0].adds_up() && all[0].error.is_none());
    run(&mut sim, 3, &["DROP TABLE t"]);
    follow(&mut sim, all, 2 * SECOND_US);
    assert_eq!(all[0].error.as_ref().map(Error::code), Some("undefined_table"));
    sim.run_for(SECOND_US);
    assert_eq!(standing(&sim), 0);
}

#[test]
fn what_cannot_be_kept_up_to_date_is_refused() {
    let mut sim = network(6, 3);
    run(&mut sim, 1, &["CREATE TABLE t (a INTEGER PRIMARY KEY, at TIMESTAMP)", "INSERT INTO t VALUES (0, NULL)"]);
    let refused = [
        ("SELECT * FROM t WHERE at > now() - INTERVAL '1 minute'", "feature_not_supported"),
        ("SELECT a, random() FROM t", "feature_not_supported"),
        ("SELECT * FROM pontoon_tables", "feature_not_supported"),
        ("SELECT * FROM pontoon_peers", "feature_not_supported"),
        ("SELECT * FROM pontoon_conflicts", "feature_not_supported"),
        ("INSERT INTO t VALUES (1, NULL)", "feature_not_supported"),
        ("SET pontoon.dialect = 'sqlite'", "feature_not_supported"),
        ("SELECT * FROM nothing", "undefined_table"),
        ("SELECT 1 / a FROM t", "division_by_zero"),
        ("SELECT count(*) FROM t WHERE 1 / a > 0", "division_by_zero"),
    ];
    for (text, code) in refused {
        let mut living = sim.begin_live(2, text).unwrap();
        follow(&mut sim, &mut [&mut living], SECOND_US);
        assert_eq!((living.error.as_ref().map(Error::code), living.changes), (Some(code), 0), "{text}");
    }
    assert_eq!(standing(&sim), 0);
    // What comes later ends it, too.
    run(&mut sim, 1, &["DELETE FROM t", "INSERT INTO t VALUES (1, NULL)"]);
    let mut living = sim.begin_live(2, "SELECT 1 / a FROM t").unwrap();
    follow(&mut sim, &mut [&mut living], SECOND_US);
    assert_eq!(integers(living.rows()), [[1]]);
    run(&mut sim, 1, &["INSERT INTO t VALUES (0, NULL)"]);
    follow(&mut sim, &mut [&mut living], SECOND_US);
    assert_eq!(living.error.as_ref().map(Error::code), Some("division_by_zero"));
    // Without a table there is nothing to wait for.
    let mut constant = sim.begin_live(2, "SELECT 1 + 1").unwrap();
    sim.attend(&mut constant);
    assert_eq!(integers(constant.rows()), [[2]]);
}

/// Live queries over `t (id, a, b)` and `u (a, v)`; those with ORDER BY are ordered in full.
const QUERIES: &[&str] = &[
    "SELECT id, a, b FROM t WHERE b > 3",
    "SELECT a, count(*), sum(b), min(b) FROM t GROUP BY a",
    "SELECT t.id, u.v FROM t JOIN u ON t.a = u.a WHERE u.v > 1",
    "SELECT u.a, count(t.id), max(t.b) FROM u LEFT JOIN t ON t.a = u.a GROUP BY u.a",
    "SELECT id, b FROM t ORDER BY b DESC, id LIMIT 5",
    "SELECT DISTINCT b FROM t",
    "SELECT a FROM t UNION SELECT a FROM u",
    "SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.a = t.a AND u.v > t.b)",
    "SELECT id, rank() OVER (PARTITION BY a ORDER BY b) FROM t",
    "WITH RECURSIVE r (x) AS (SELECT min(a) FROM u UNION SELECT t.b FROM r JOIN t ON t.a = r.x) SELECT x FROM r",
    "SELECT count(*), count(DISTINCT a) FROM t",
    "SELECT b FROM t WHERE id = 7",
    "SELECT t.a, sum(u.v) AS s FROM t JOIN u ON u.a = t.b GROUP BY t.a ORDER BY s DESC, t.a LIMIT 3 OFFSET 1",
];

/// What one run of the property came to.
#[derive(Debug, Default)]
struct Run {
    changes: usize,
    crashes: usize,
    lapsing: usize,
    written: usize,
}

/// Writes, deletions, lapses and deaths; at rest every live view is what its query gives anew.
fn churn(seed: u64) -> Result<Run, String> {
    let config = SimConfig {
        signing: Signing::KeyedHash,
        disk_us: 20_000,
        break_ppm: 200,
        spike_ppm: 20_000,
        ..SimConfig::new(seed, 20)
    };
    let mut sim = Sim::new(config);
    sim.settle(600 * SECOND_US).map_err(|unsettled| unsettled.0)?;
    let made = |result: Result<_, Error>| result.map(drop).map_err(|error| error.to_string());
    made(sim.sql(1, "CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER)"))?;
    made(sim.sql(1, "CREATE TABLE u (a INTEGER PRIMARY KEY, v INTEGER)"))?;
    made(sim.sql(2, "INSERT INTO u VALUES (0, 4), (1, 2), (2, 6)"))?;
    let namespace = sim.sql(1, "SELECT namespace FROM pontoon_tables WHERE name = 't'");
    let namespace = match namespace.map_err(|error| error.to_string())?.rows.remove(0).remove(0) {
        Value::Text(namespace) => namespace,
        other => return Err(format!("{other:?} is no namespace")),
    };
    // Askers live; the founder of this network does not matter more than others.
    let askers = [1, 2, 3];
    let mut livings = Vec::new();
    for (at, text) in QUERIES.iter().enumerate() {
        if (seed as usize + at).is_multiple_of(2) || at < 3 {
            let living = sim.begin_live(askers[at % 3], text).map_err(|error| error.to_string())?;
            livings.push((*text, living));
        }
    }
    let mut report = Run::default();
    let mut writing: Vec<(Ask, Definitions)> = Vec::new();
    let mut away: Vec<(usize, u64)> = Vec::new();
    let ends_us = sim.now_us() + 25 * SECOND_US;
    while sim.now_us() < ends_us {
        let step_us = 20_000 + sim.draw(120_000);
        sim.run_for(step_us);
        livings.iter_mut().for_each(|(_, living)| drop(sim.attend(living)));
        writing.retain_mut(|(ask, definitions)| sim.look(ask, definitions).is_none());
        let live = sim.live();
        let node = live[sim.draw(live.len() as u64) as usize];
        let (id, a, b) = (sim.draw(16), sim.draw(4), sim.draw(9));
        let text = match sim.draw(8) {
            0..3 => format!("INSERT INTO t VALUES ({id}, {a}, {b})"),
            3 | 4 => format!("UPDATE t SET a = {a}, b = {b} WHERE id = {id}"),
            5 => format!("DELETE FROM t WHERE id = {id}"),
            6 => format!("INSERT INTO u VALUES ({a}, {b}) ON CONFLICT (a) DO UPDATE SET v = {b}"),
            _ => format!("DELETE FROM u WHERE a = {a} AND v = {b}"),
        };
        if writing.len() < 8 {
            let mut definitions = Definitions::default();
            let ask = sim.ask(node, &mut definitions, &text, Some(5 * SECOND_US)).map_err(|error| error.to_string())?;
            writing.push((ask, definitions));
            report.written += 1;
        }
        let key = codec::encode_key(&[Value::Integer(id as i64)]);
        if sim.draw(10) == 0 {
            let ttl_us = SECOND_US / 2 + sim.draw(6 * SECOND_US);
            sim.start(node, op(&namespace, &key, Action::Renew { ttl_us }));
            report.lapsing += 1;
        }
        // The owner of a row that is being written dies, so that it may have told or not.
        let owner = sim.owner_of(&Id::object(&namespace, &key, 0)).unwrap_or_default();
        if away.len() < 2 && sim.draw(12) == 0 && owner > 3 {
            let update = format!("UPDATE t SET b = b + 1 WHERE id = {id}");
            let mut definitions = Definitions::default();
            let ask = sim.ask(1, &mut definitions, &update, Some(5 * SECOND_US)).map_err(|error| error.to_string())?;
            writing.push((ask, definitions));
            let soon_us = sim.draw(500_000);
            sim.run_for(soon_us);
            let how = if sim.draw(3) == 0 { Crash::Silent } else { Crash::Noticed };
            sim.crash(owner, how);
            report.crashes += 1;
            away.push((owner, sim.now_us() + 4 * SECOND_US + sim.draw(12 * SECOND_US)));
        }
        let now_us = sim.now_us();
        for (node, _) in away.extract_if(.., |(_, back_us)| *back_us <= now_us) {
            if sim.draw(2) == 0 {
                sim.wipe(node);
            }
            sim.restart(node);
        }
    }
    away.iter().for_each(|(node, _)| sim.restart(*node));
    let rest_us = sim.now_us() + 40 * SECOND_US;
    // Channels go on breaking, and now and then a part is not covered for a moment.
    let uncovered = |livings: &[(&str, Living)]| livings.iter().any(|(_, living)| living.coverage < 1.0);
    while sim.now_us() < rest_us || uncovered(&livings) && sim.now_us() < rest_us + 60 * SECOND_US {
        sim.run_for(200_000);
        livings.iter_mut().for_each(|(_, living)| drop(sim.attend(living)));
        writing.retain_mut(|(ask, definitions)| sim.look(ask, definitions).is_none());
    }
    for (text, living) in &mut livings {
        let result = sim.sql(4, text);
        // Two deaths may have taken a table's definition from everybody.
        if let Some(error) = &living.error {
            if result.as_ref().err().map(Error::code) != Some(error.code()) {
                return Err(format!("{text}: {error}, but a fresh query gives {result:?}"));
            }
            continue;
        }
        if !living.adds_up() {
            return Err(format!("{text}: its changes do not lead to its rows"));
        }
        let result = result.map_err(|error| format!("{text}: {error}"))?;
        let ordered = text.contains("ORDER BY") && text.contains("LIMIT");
        let sorted = |rows: &[Row]| {
            let mut rows = integers(rows);
            if !ordered {
                rows.sort();
            }
            rows
        };
        let (shown, right) = (sorted(living.rows()), sorted(&result.rows));
        if shown != right || living.coverage != result.coverage {
            let (shows, is) = (living.coverage, result.coverage);
            return Err(format!("{text}\n shows {shown:?} ({shows})\n  it is {right:?} ({is})"));
        }
        report.changes += living.changes;
    }
    Ok(report)
}

#[test]
fn at_rest_views_are_what_their_queries_give() {
    seeds::each("live", number("LIVE_SEEDS").unwrap_or(20), churn);
}

/// A peer whose disk was replaced by an empty one is told that it owns what it owned, by those who have it all.
#[test]
fn an_owner_that_lost_its_disk_does_not_empty_those_of_the_others() {
    churn(256).unwrap();
}
