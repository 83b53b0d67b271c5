//! Who may read a private table: by whatever way somebody asks, those who store its rows tell them to whom SELECT was granted,
//! and to nobody else; from the moment that a REVOKE returns not to that one either.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // how a test fails, helpers included

use pontoon_core::{
    Id,
    data::{Cost, QueryResult, Value, codec},
    dht,
    exec::{Env, Need},
    group::Name,
    live, pht, spread,
    sql::{
        asking::{Asking, Definitions},
        catalog::{self, TableDescriptor},
    },
    store::{Action, KeyOp, Outcome, Refusal},
    trust::{self, Proof, Realm, Session},
    wire::Body,
};
use pontoon_tests::{
    live::Living,
    ops::get,
    sim::{Sim, SimConfig, user},
};

const SECOND_US: u64 = 1_000_000;
/// Who asks at which node, and as which user. Nobody is known at node 4.
const ALICE: (usize, u8) = (1, 1);
const MALLORY: (usize, u8) = (2, 2);
const BOB: (usize, u8) = (3, 3);
const NOBODY: usize = 4;

/// Every way to read: by scan, key, index, with the rows of another table, of a part of the peers, in a view.
const QUESTIONS: [&str; 11] = [
    "SELECT * FROM diary",
    "SELECT entry FROM diary WHERE id = 7",
    "SELECT entry FROM diary WHERE id IN (3, 4, 5)",
    "SELECT id FROM diary WHERE mood = 'mood 3'",
    "SELECT count(*), max(entry) FROM diary",
    "SELECT entry FROM diary ORDER BY entry LIMIT 3",
    "SELECT d.entry FROM days JOIN diary d ON d.id = days.id",
    "SELECT d.entry FROM days JOIN diary d ON d.mood = days.mood",
    "SELECT days.id FROM days WHERE EXISTS (SELECT 1 FROM diary WHERE diary.id = days.id)",
    "SELECT entry FROM moody",
    "EXPLAIN ANALYZE SELECT * FROM diary",
];

fn run(sim: &mut Sim, node: usize, text: &str) -> QueryResult {
    sim.sql(node, text).unwrap_or_else(|error| panic!("{text}: {error} ({})", error.code()))
}

/// Alice's private table of fifty rows beside one that everybody reads.
fn diary(seed: u64) -> Sim {
    let mut sim = Sim::new(SimConfig::new(seed, 8));
    sim.settle(120 * SECOND_US).unwrap();
    for (node, user) in [ALICE, MALLORY, BOB] {
        assert!(sim.act_for(node, user));
    }
    let rows = |row: &dyn Fn(i64) -> String| (0..50).map(row).collect::<Vec<_>>().join(", ");
    for text in [
        "CREATE TABLE diary (id INTEGER PRIMARY KEY, mood TEXT, entry TEXT) WITH (private = true)",
        "CREATE INDEX by_mood ON diary (mood)",
        "CREATE VIEW moody AS SELECT entry FROM diary WHERE mood = 'mood 3'",
        "CREATE TABLE days (id INTEGER PRIMARY KEY, mood TEXT)",
        &format!("INSERT INTO diary VALUES {}", rows(&|id| format!("({id}, 'mood {}', 'secret {id}')", id % 5))),
        &format!("INSERT INTO days VALUES {}", rows(&|id| format!("({id}, 'mood {}')", id % 5))),
    ] {
        run(&mut sim, ALICE.0, text);
    }
    sim
}

fn table(sim: &mut Sim) -> TableDescriptor {
    match sim.keys(0, vec![catalog::entry("diary", 0, Action::Get)]).remove(0) {
        Outcome::Found { value, .. } => TableDescriptor::decode(&value).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn grant(sim: &mut Sim, text: &str, to: u8) {
    run(sim, ALICE.0, &text.replace("USER", &format!("\"{}\"", user(to))));
}

#[test]
fn nobody_reads_what_is_private_but_who_was_granted_that_and_until_it_is_revoked() {
    let mut sim = diary(1);
    let asked = |sim: &mut Sim, node: usize, code: &str| {
        for text in QUESTIONS {
            let error = sim.sql(node, text).expect_err(text);
            assert_eq!(error.code(), code, "{text}: {error}");
            assert!(!error.to_string().contains("secret"), "{text}: {error}");
        }
    };
    let told: Vec<_> = QUESTIONS.iter().map(|text| run(&mut sim, ALICE.0, text).rows.len()).collect();
    assert!(told.iter().all(|rows| *rows > 0) && told[0] == 50, "{told:?}");
    asked(&mut sim, MALLORY.0, "insufficient_privilege");
    asked(&mut sim, NOBODY, "unsigned");
    asked(&mut sim, BOB.0, "insufficient_privilege");
    // What was granted of something else is no right to read, and writers are told what is there.
    grant(&mut sim, "GRANT INSERT, UPDATE, DELETE ON diary TO USER", BOB.1);
    asked(&mut sim, BOB.0, "insufficient_privilege");
    for text in ["INSERT INTO diary VALUES (7, 'x', 'x')", "UPDATE diary SET mood = 'x'", "DELETE FROM diary"] {
        assert_eq!(sim.sql(BOB.0, text).expect_err(text).code(), "insufficient_privilege", "{text}");
    }
    for round in 0..2 {
        grant(&mut sim, "GRANT SELECT ON diary TO USER", BOB.1);
        for (text, told) in QUESTIONS.iter().zip(&told) {
            assert_eq!(run(&mut sim, BOB.0, text).rows.len(), *told, "{text}");
        }
        run(&mut sim, BOB.0, &format!("INSERT INTO diary VALUES ({}, 'bob', 'by bob')", 100 + round));
        grant(&mut sim, "REVOKE SELECT ON diary FROM USER", BOB.1);
        asked(&mut sim, BOB.0, "insufficient_privilege");
        run(&mut sim, ALICE.0, "DELETE FROM diary WHERE mood = 'bob'");
        sim.run_for(10 * SECOND_US);
    }
    assert_eq!(run(&mut sim, ALICE.0, "SELECT count(*) FROM diary").rows, [[Value::Integer(50)]]);
    // What everybody reads nobody may close, and a table that is to be private is not opened by being there already.
    let error = sim.sql(ALICE.0, "REVOKE SELECT ON days FROM PUBLIC").unwrap_err();
    assert_eq!(error.code(), "feature_not_supported", "{error}");
    let again = "CREATE TABLE days (id INTEGER PRIMARY KEY, mood TEXT) WITH (private = true)";
    for again in [again.to_owned(), again.replace("TABLE", "TABLE IF NOT EXISTS")] {
        assert_eq!(sim.sql(ALICE.0, &again).unwrap_err().code(), "duplicate_table");
    }
    assert_eq!(sim.sql(NOBODY, &again.replace("days", "other")).unwrap_err().code(), "unsigned");
}

/// Runs on, and lets live queries follow.
fn follow(sim: &mut Sim, livings: &mut [&mut Living]) {
    for _ in 0..100 {
        sim.run_for(SECOND_US / 10);
        for living in livings.iter_mut() {
            sim.attend(living);
        }
    }
}

#[test]
fn a_live_query_ends_with_the_right_to_read() {
    let mut sim = diary(2);
    grant(&mut sim, "GRANT SELECT ON diary TO USER", BOB.1);
    let begin = |sim: &mut Sim, node| sim.begin_live(node, "SELECT id, entry FROM diary").unwrap();
    let (mut bob, mut mallory, mut nobody) =
        (begin(&mut sim, BOB.0), begin(&mut sim, MALLORY.0), begin(&mut sim, NOBODY));
    follow(&mut sim, &mut [&mut bob, &mut mallory, &mut nobody]);
    assert!(bob.rows().len() == 50 && bob.error.is_none(), "{:?}", bob.error);
    for (living, code) in [(&mallory, "insufficient_privilege"), (&nobody, "unsigned")] {
        assert!(living.rows().is_empty() && living.error.as_ref().is_some_and(|it| it.code() == code));
    }
    run(&mut sim, ALICE.0, "INSERT INTO diary VALUES (200, 'new', 'secret 200')");
    follow(&mut sim, &mut [&mut bob]);
    assert_eq!(bob.rows().len(), 51, "he hears of what is new");
    grant(&mut sim, "REVOKE SELECT ON diary FROM USER", BOB.1);
    run(&mut sim, ALICE.0, "INSERT INTO diary SELECT id + 1000, 'new', 'secret' FROM diary");
    follow(&mut sim, &mut [&mut bob]);
    assert!(bob.rows().len() <= 51, "of what came after he hears nothing");
    assert!(bob.error.as_ref().is_some_and(|error| error.code() == "insufficient_privilege"), "{:?}", bob.error);
    sim.run_for(10 * SECOND_US);
    assert!((0..8).all(|node| sim.standing_queries(node) == 0));
}

/// An encoded plan for all rows of the table, as Alice's peer makes it.
fn scan(sim: &mut Sim) -> Vec<u8> {
    let mut definitions = Definitions::default();
    let (now_us, user) = (sim.clocks(ALICE.0).wall as i64, sim.user(ALICE.0));
    let env = Env { now_us, random: 1, me: sim.id(ALICE.0), user, locality_bits: 0 };
    let statement = pontoon_parser::parse_one("SELECT * FROM diary").unwrap();
    let mut asking = Asking::new(statement, Vec::new(), env, &mut definitions);
    loop {
        match asking.poll().expect("it reads") {
            Need::Gather { fragment, .. } if fragment.namespace().contains("diary") => return fragment.encode(),
            Need::Ops { need, ops } => {
                let outcomes = sim.keys(ALICE.0, ops);
                asking.on_ops(&mut definitions, need, outcomes, Cost::default());
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn credentials_that_are_anothers_old_or_of_something_else_are_refused() {
    let mut sim = diary(3);
    let table = table(&mut sim);
    let realm = table.realm().unwrap();
    grant(&mut sim, "GRANT SELECT ON diary TO USER", BOB.1);
    let key = codec::encode_key(&[Value::Integer(7)]);
    let (now_us, network) = (sim.clocks(MALLORY.0).wall, "sim");
    let (alices, mallorys) = (sim.session(ALICE.0, ALICE.1).unwrap(), sim.session(MALLORY.0, MALLORY.1).unwrap());
    let made = |sim: &Sim, session: &Session, at_us: u64| -> Proof {
        trust::credential_as(&*sim.identity(MALLORY.0), session.clone(), (network, at_us), &realm)
    };
    let bobs = sim.session(BOB.0, BOB.1).unwrap();
    let by_bob = |sim: &Sim, at_us| trust::credential_as(&*sim.identity(BOB.0), bobs.clone(), (network, at_us), &realm);
    let other = Realm::of(&user(BOB.1), 1);
    let minutes = 60 * SECOND_US;
    let written =
        match sim.keys(ALICE.0, vec![KeyOp { action: Action::Prove, ..get(&table.namespace, &key) }]).remove(0) {
            Outcome::Proven(record) => *record.proof.unwrap(),
            other => panic!("{other:?}"),
        };
    let own_word = Session { user: user(ALICE.1), ..mallorys.clone() };
    let tries = [
        ("for herself", Some(made(&sim, &mallorys, now_us)), Refusal::Forbidden),
        ("none", None, Refusal::Forbidden),
        ("with Alice's session", Some(made(&sim, &alices, now_us)), Refusal::Forged),
        ("with a session that Alice did not sign", Some(made(&sim, &own_word, now_us)), Refusal::Forged),
        ("with what Alice wrote with", Some(written), Refusal::Forged),
        ("old", Some(by_bob(&sim, now_us - 20 * minutes)), Refusal::Late),
        ("of the future", Some(by_bob(&sim, now_us + 20 * minutes)), Refusal::Late),
        (
            "of another realm",
            Some(trust::credential_as(&*sim.identity(BOB.0), bobs.clone(), (network, now_us), &other)),
            Refusal::Forged,
        ),
        (
            "of another network",
            Some(trust::credential_as(&*sim.identity(BOB.0), bobs.clone(), ("other", now_us), &realm)),
            Refusal::Forged,
        ),
    ];
    for (how, proof, refusal) in tries {
        let proof = proof.map(Box::new);
        for action in [Action::Get, Action::GetStale, Action::Prove] {
            let op = KeyOp { action: action.clone(), proof: proof.clone(), ..get(&table.namespace, &key) };
            let alone = sim.keys(MALLORY.0, vec![op.clone()]);
            assert_eq!(alone, [Outcome::Refused(refusal)], "{how}: {action:?}");
            let together = sim.keys(MALLORY.0, vec![op; 3]);
            assert_eq!(together, vec![Outcome::Refused(refusal); 3], "{how}: {action:?}");
        }
    }
    // The pieces of an index say as much as rows do.
    let index = table.details().unwrap().indexes.remove(0);
    let node = get(&index.namespace, &pht::Label::default().to_key());
    assert_eq!(sim.keys(MALLORY.0, vec![node.clone()]), [Outcome::Refused(Refusal::Forbidden)]);
    assert!(matches!(sim.keys(ALICE.0, vec![node])[..], [Outcome::Found { .. }]));
}

#[test]
fn who_passes_for_a_reader_on_the_way_is_told_nothing() {
    let mut sim = diary(4);
    let table = table(&mut sim);
    let key = codec::encode_key(&[Value::Integer(7)]);
    let id = Id::object(&table.namespace, &key, table.locality_bits);
    let owner = sim.owner_of(&id).unwrap();
    // The owner may read, and is asked in its own name.
    assert!(sim.act_for(owner, ALICE.1));
    run(&mut sim, owner, "SELECT * FROM diary");
    sim.run_for(SECOND_US);
    let eve = (0..8).find(|node| sim.linked(*node, owner) && !sim.holders(&id).contains(node)).unwrap();
    let Name { region, .. } = sim.fragment_of(owner, &id).unwrap();
    let (plan, asker) = (scan(&mut sim), sim.id(owner));
    let work = || spread::Work::Query { plan: plan.clone(), reader: None };
    let task =
        |asker| spread::Message::Task { branch: 77, asker, region, depth: 1, patience_us: 5_000_000, work: work() };
    let read = KeyOp { action: Action::Get, ..get(&table.namespace, &key) };
    let keys = spread::Work::Keys { request: 5, ops: vec![(0, read.clone())] };
    let keys = spread::Message::Task { branch: 78, asker, region, depth: 1, patience_us: 5_000_000, work: keys };
    let messages = [
        Body::Spread(task(asker)),
        Body::Spread(task(sim.id(eve))),
        Body::Spread(keys),
        Body::Dht(dht::Message::Request { request: 6, op: read.clone(), epoch: 0 }),
        Body::Dht(dht::Message::ReadFor { request: 7, op: read }),
    ];
    sim.record(true);
    for body in messages {
        assert!(sim.say(eve, owner, body));
        sim.run_for(2 * SECOND_US);
    }
    let secret = b"secret 7".as_slice();
    let heard = sim.record(false).into_iter().filter(|frame| frame.to == eve && frame.from == owner);
    let heard: Vec<_> = heard.map(|frame| frame.bytes).collect();
    assert!(!heard.is_empty(), "it was answered");
    assert!(!heard.iter().any(|bytes| bytes.windows(secret.len()).any(|part| part == secret)));
    assert!(sim.counted(owner, "trust.unsigned") >= 4);
}

#[test]
fn who_gives_up_while_rights_are_read_leaves_nothing_standing() {
    let mut sim = diary(6);
    let table = table(&mut sim);
    let (plan, realm) = (scan(&mut sim), table.realm().unwrap());
    // Nobody holds rights that were read lately.
    sim.run_for(10 * SECOND_US);
    let id = Id::object(&table.namespace, &codec::encode_key(&[Value::Integer(7)]), 0);
    let owner = sim.owner_of(&id).unwrap();
    let eve = (0..8).find(|node| sim.linked(*node, owner)).unwrap();
    let session = sim.session(eve, MALLORY.1).unwrap();
    let own = trust::credential_as(&*sim.identity(eve), session, ("sim", sim.clocks(eve).wall), &realm);
    let Name { region, .. } = sim.fragment_of(owner, &id).unwrap();
    for (branch, reader) in [(7, Some(own)), (8, None)] {
        let request = live::Request {
            watch: 1,
            plan: plan.clone(),
            region,
            lease_us: 60 * SECOND_US,
            relay: None,
            read: true,
            reader: reader.map(Box::new),
        };
        let handed = live::Message::HandOver { asker: sim.id(eve), request: request.clone() };
        let (asker, work) = (sim.id(eve), spread::Work::Watch(request));
        let task = spread::Message::Task { branch, asker, region, depth: 1, patience_us: 5_000_000, work };
        for body in [Body::Spread(task), Body::Spread(spread::Message::Cancel { branch }), Body::Live(handed)] {
            assert!(sim.say(eve, owner, body));
        }
        sim.run_for(2 * SECOND_US);
        assert_eq!(sim.standing_queries(owner), 0);
    }
}

#[test]
fn statistics_of_a_private_table_have_no_values_in_them() {
    let mut sim = diary(5);
    for text in ["ANALYZE diary", "ANALYZE"] {
        run(&mut sim, ALICE.0, text);
    }
    run(&mut sim, NOBODY, "ANALYZE");
    assert_eq!(sim.sql(NOBODY, "ANALYZE diary").unwrap_err().code(), "unsigned");
    let shown = run(&mut sim, NOBODY, "SELECT * FROM pontoon_statistics");
    let shown = format!("{:?}", shown.rows);
    assert!(shown.contains("diary") && shown.contains("days") && shown.contains("mood 3"), "{shown}");
    assert!(!shown.contains("secret"), "{shown}");
}
