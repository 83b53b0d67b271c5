//! Row policies: of a table that everybody may write each writes its own rows, whatever program asks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // how a test fails, helpers included

use pontoon_core::{
    data::{QueryResult, Value, codec},
    dht, group,
    sql::catalog::{self, TableDescriptor},
    store::{Action, Expect, KeyOp, Outcome, Record, Refusal, Version},
    trust,
    wire::Body,
};
use pontoon_tests::{
    ops::get,
    sim::{Sim, SimConfig, user},
};

const SECOND_US: u64 = 1_000_000;
const ALICE: (usize, u8) = (1, 1);
const MALLORY: (usize, u8) = (2, 2);
const BOB: (usize, u8) = (3, 3);

fn run(sim: &mut Sim, node: usize, text: &str) -> QueryResult {
    sim.sql(node, text).unwrap_or_else(|error| panic!("{text}: {error} ({})", error.code()))
}

fn refused(sim: &mut Sim, node: usize, text: &str) {
    let before = rows(sim);
    let error = sim.sql(node, text).expect_err(text);
    assert_eq!(error.code(), "insufficient_privilege", "{text}: {error}");
    assert_eq!(rows(sim), before, "{text}");
}

fn rows(sim: &mut Sim) -> Vec<Vec<Value>> {
    run(sim, 0, "SELECT id, author, text FROM board ORDER BY id").rows
}

/// A board of Alice's that everybody writes, each its own rows, of which all have ten columns' worth of room.
fn board(seed: u64) -> Sim {
    let mut sim = Sim::new(SimConfig::new(seed, 6));
    sim.settle(120 * SECOND_US).unwrap();
    for (node, user) in [ALICE, MALLORY, BOB] {
        assert!(sim.act_for(node, user));
    }
    for text in [
        "CREATE TABLE board (id INTEGER PRIMARY KEY, text TEXT, author TEXT DEFAULT 'nobody', size INTEGER)",
        "CREATE INDEX by_author ON board (author)",
        "GRANT INSERT, UPDATE, DELETE ON board TO PUBLIC",
        "CREATE POLICY own ON board USING (author = current_user) WITH CHECK (author = current_user AND length(text) < 20)",
        "INSERT INTO board VALUES (1, 'welcome', 'the house', 1)",
    ] {
        run(&mut sim, ALICE.0, text);
    }
    sim
}

#[test]
fn each_writes_its_own_rows() {
    let mut sim = board(1);
    let (mallory, bob) = (user(MALLORY.1), user(BOB.1));
    run(
        &mut sim,
        BOB.0,
        "INSERT INTO board VALUES (2, 'by bob', current_user, 1), (3, 'by bob, too', current_user, 2)",
    );
    run(&mut sim, BOB.0, "UPDATE board SET text = 'changed' WHERE id = 3");
    for text in [
        format!("INSERT INTO board VALUES (4, 'in his name', '{bob}', 1)"),
        "INSERT INTO board VALUES (4, 'of nobody', NULL, 1)".to_owned(),
        "INSERT INTO board (id, text) VALUES (4, 'by default')".to_owned(),
        "INSERT INTO board VALUES (4, 'a text that is longer than it may be', current_user, 1)".to_owned(),
        "UPDATE board SET text = 'mine' WHERE id = 2".to_owned(),
        "UPDATE board SET author = current_user WHERE id = 2".to_owned(),
        "UPDATE board SET text = 'mine'".to_owned(),
        "DELETE FROM board WHERE id = 2".to_owned(),
        "DELETE FROM board".to_owned(),
        "INSERT INTO board VALUES (2, 'over his', current_user, 1) ON CONFLICT (id) DO UPDATE SET author = current_user".to_owned(),
    ] {
        refused(&mut sim, MALLORY.0, &text);
    }
    run(&mut sim, MALLORY.0, "INSERT INTO board VALUES (5, 'hers', current_user, 1)");
    refused(&mut sim, MALLORY.0, &format!("UPDATE board SET author = '{bob}' WHERE id = 5"));
    // Of a statement that fails nothing stays, though what it wrote first was allowed.
    refused(
        &mut sim,
        MALLORY.0,
        &format!("INSERT INTO board VALUES (6, 'hers', '{mallory}', 1), (7, 'his', '{bob}', 1)"),
    );
    run(&mut sim, MALLORY.0, "DELETE FROM board WHERE id = 5");
    // Whose table it is may do everything.
    run(&mut sim, ALICE.0, "UPDATE board SET size = 9");
    run(&mut sim, ALICE.0, "DELETE FROM board WHERE id = 3");
    assert_eq!(rows(&mut sim).len(), 2);
    assert!(sim.counted_by_all("trust.policed") > 5);
    let shown = run(&mut sim, 0, "SELECT table_name, name, command, grantee, using_text FROM pontoon_policies").rows;
    let text = |text: &str| Value::Text(text.to_owned());
    assert_eq!(shown, [[text("board"), text("own"), text("ALL"), text("PUBLIC"), text("author = current_user")]]);
}

#[test]
fn a_patched_client_writes_no_more_than_its_rows() {
    let mut sim = board(2);
    run(&mut sim, BOB.0, "INSERT INTO board VALUES (2, 'by bob', current_user, 1)");
    let table = match sim.keys(0, vec![catalog::entry("board", 0, Action::Get)]).remove(0) {
        Outcome::Found { value, .. } => TableDescriptor::decode(&value).unwrap(),
        other => panic!("{other:?}"),
    };
    let key = |id: i64| codec::encode_key(&[Value::Integer(id)]);
    let text = |text: &str| Value::Text(text.to_owned());
    let of = |id, author| {
        codec::encode_row(&[Value::Integer(id), text("x"), text(&user(author).to_string()), Value::Integer(1)])
    };
    let op = |id, action| KeyOp { action, ..get(&table.namespace, &key(id)) };
    let put = |value: Vec<u8>, expect| Action::Put { value, expect, ttl_us: None };
    let found = |sim: &mut Sim, id| match sim.keys(0, vec![op(id, Action::Get)]).remove(0) {
        Outcome::Found { value, version, .. } => (value, version),
        other => panic!("{other:?}"),
    };
    let (bobs, version) = found(&mut sim, 2);
    let (own, his) = (of(9, MALLORY.1), of(9, BOB.1));
    let tries = [
        (2, put(of(2, MALLORY.1), Expect::Version(version))),
        (2, put(of(2, MALLORY.1), Expect::Any)),
        (8, put(own.clone(), Expect::Absent)),
        (2, put(bobs.clone(), Expect::Version(version))),
        (2, Action::Remove { expect: Expect::Version(version) }),
        (2, Action::Remove { expect: Expect::Any }),
        (9, put(his, Expect::Absent)),
        (9, put(b"no row at all".to_vec(), Expect::Absent)),
        (9, put(Vec::new(), Expect::Any)),
    ];
    for (id, action) in tries {
        let outcome = sim.keys(MALLORY.0, vec![op(id, action.clone())]).remove(0);
        assert_eq!(outcome, Outcome::Refused(Refusal::Forbidden), "{action:?}");
    }
    assert_eq!(found(&mut sim, 2), (bobs, version));
    let outcome = sim.keys(MALLORY.0, vec![op(9, put(own, Expect::Absent))]).remove(0);
    assert!(matches!(outcome, Outcome::Stored { .. }), "her own she writes: {outcome:?}");
}

#[test]
fn a_row_lies_under_its_own_key_and_what_is_there_is_a_conflict() {
    let mut sim = board(4);
    for text in [
        "CREATE TABLE profiles (size INTEGER, id TEXT PRIMARY KEY, line TEXT)",
        "GRANT INSERT, UPDATE ON profiles TO PUBLIC",
        "CREATE POLICY join ON profiles FOR INSERT WITH CHECK (id = current_user)",
        "CREATE POLICY own ON profiles FOR UPDATE USING (id = current_user)",
    ] {
        run(&mut sim, ALICE.0, text);
    }
    let text = |text: &str| Value::Text(text.to_owned());
    let line = |sim: &mut Sim| run(sim, 0, "SELECT line FROM profiles ORDER BY line").rows;
    run(&mut sim, BOB.0, "INSERT INTO profiles VALUES (1, current_user, 'bob')");
    let again = "INSERT INTO profiles VALUES (1, current_user, 'bob again')";
    assert_eq!(sim.sql(BOB.0, again).unwrap_err().code(), "unique_violation");
    run(&mut sim, BOB.0, &format!("{again} ON CONFLICT (id) DO UPDATE SET line = 'bob again'"));
    let over = format!("INSERT INTO profiles VALUES (1, '{}', 'mallory') ON CONFLICT (id) DO", user(BOB.1));
    assert_eq!(
        sim.sql(MALLORY.0, &format!("{over} UPDATE SET line = 'x'")).unwrap_err().code(),
        "insufficient_privilege"
    );
    assert_eq!(line(&mut sim), [[text("bob again")]]);
    // A patched client puts a row of its own under a key that is another's.
    let table = match sim.keys(0, vec![catalog::entry("profiles", 0, Action::Get)]).remove(0) {
        Outcome::Found { value, .. } => TableDescriptor::decode(&value).unwrap(),
        other => panic!("{other:?}"),
    };
    let of = |author: u8| text(&user(author).to_string());
    let put = |under: u8, of: Value| {
        let value = codec::encode_row(&[Value::Integer(1), of, text("mallory")]);
        let action = Action::Put { value, expect: Expect::Absent, ttl_us: None };
        KeyOp { action, ..get(&table.namespace, &codec::encode_key(&[text(&user(under).to_string())])) }
    };
    let squat = put(ALICE.1, of(MALLORY.1));
    assert_eq!(sim.keys(MALLORY.0, vec![squat]), [Outcome::Refused(Refusal::Forbidden)]);
    let own = put(MALLORY.1, of(MALLORY.1));
    assert!(matches!(sim.keys(MALLORY.0, vec![own])[..], [Outcome::Stored { .. }]));
}

#[test]
fn a_stranger_donates_nothing_that_a_policy_forbids() {
    let mut sim = board(5);
    run(&mut sim, BOB.0, "INSERT INTO board VALUES (2, 'by bob', current_user, 1)");
    let table = match sim.keys(0, vec![catalog::entry("board", 0, Action::Get)]).remove(0) {
        Outcome::Found { value, .. } => TableDescriptor::decode(&value).unwrap(),
        other => panic!("{other:?}"),
    };
    let key = codec::encode_key(&[Value::Integer(2)]);
    let held = match sim.keys(0, vec![KeyOp { action: Action::Prove, ..get(&table.namespace, &key) }]).remove(0) {
        Outcome::Proven(record) => *record,
        other => panic!("{other:?}"),
    };
    let (id, owner) = (held.id(), sim.owner_of(&held.id()).unwrap());
    let eve = (0..6).find(|node| sim.linked(*node, owner)).unwrap();
    let (session, to) = (sim.session(eve, MALLORY.1).unwrap(), sim.fragment_of(owner, &id).unwrap());
    let text = |text: &str| Value::Text(text.to_owned());
    let hers =
        codec::encode_row(&[Value::Integer(2), text("x"), text(&user(MALLORY.1).to_string()), Value::Integer(1)]);
    let put = |expect| Action::Put { value: hers.clone(), expect, ttl_us: None };
    let tries = [
        Action::Remove { expect: Expect::Any },
        Action::Remove { expect: Expect::Version(held.version) },
        put(Expect::Any),
        put(Expect::Absent),
        put(Expect::Version(held.version)),
    ];
    for (request, action) in tries.into_iter().enumerate() {
        let (wall_us, request) = (sim.clocks(eve).wall, request as u64);
        let mut ops = [(0, KeyOp { action: action.clone(), ..get(&table.namespace, &key) })];
        trust::sign_as(&*sim.identity(eve), &session, ("sim", wall_us), request, &mut ops);
        let [(_, op)] = ops;
        let expected = trust::What::of(&action).and_then(|what| what.expect());
        let parent = if let Some(Expect::Version(version)) = expected { Some(version) } else { None };
        let record = Record {
            value: action.value().map(<[u8]>::to_vec),
            version: Version { wall_us, counter: dht::tag(request, 0), author: sim.id(eve) },
            parent,
            earlier: Vec::new(),
            proof: op.proof,
            ..held.clone()
        };
        let page = group::message::Page { after: None, until: None, records: vec![record] };
        assert!(sim.say(eve, owner, Body::Group(group::Message::Donate { of: to, to, page })));
        sim.run_for(5 * SECOND_US);
        let now = match sim.keys(0, vec![KeyOp { action: Action::Prove, ..get(&table.namespace, &key) }]).remove(0) {
            Outcome::Proven(record) => *record,
            other => panic!("{action:?}: {other:?}"),
        };
        assert_eq!(now.version, held.version, "{action:?}");
    }
}

#[test]
fn policies_come_and_go_and_are_for_whom_they_name() {
    let mut sim = board(3);
    run(&mut sim, BOB.0, "INSERT INTO board VALUES (2, 'by bob', current_user, 1)");
    let bob = user(BOB.1);
    run(&mut sim, ALICE.0, &format!("CREATE POLICY moderators ON board FOR DELETE TO \"{bob}\" USING (true)"));
    run(&mut sim, ALICE.0, "CREATE POLICY small ON board FOR UPDATE USING (size < 3) WITH CHECK (size < 3)");
    run(&mut sim, MALLORY.0, "UPDATE board SET size = 2 WHERE id = 2");
    refused(&mut sim, MALLORY.0, "UPDATE board SET size = 3 WHERE id = 2");
    refused(&mut sim, MALLORY.0, "DELETE FROM board WHERE id = 1");
    run(&mut sim, BOB.0, "DELETE FROM board WHERE id = 1");
    for (text, code) in [
        ("CREATE POLICY own ON board USING (true)", "duplicate_object"),
        ("DROP POLICY other ON board", "undefined_object"),
        ("CREATE POLICY p ON board USING (nothing = 1)", "undefined_column"),
        ("CREATE POLICY p ON board FOR INSERT USING (true)", "invalid_table_definition"),
        ("CREATE POLICY p ON board FOR SELECT USING (true)", "feature_not_supported"),
        ("CREATE POLICY p ON board USING ((SELECT count(*) FROM board) = 1)", "feature_not_supported"),
        ("CREATE POLICY p ON nothing USING (true)", "undefined_table"),
    ] {
        let error = sim.sql(ALICE.0, text).expect_err(text);
        assert_eq!(error.code(), code, "{text}: {error}");
    }
    for text in ["CREATE POLICY all ON board USING (true)", "DROP POLICY own ON board"] {
        let text = text.replace("POLICY all", "POLICY everything");
        assert_eq!(sim.sql(MALLORY.0, &text).unwrap_err().code(), "insufficient_privilege", "{text}");
    }
    run(&mut sim, ALICE.0, "DROP POLICY IF EXISTS other ON board");
    // A column that comes later changes nothing; rows that come without one that a policy reads do not pass.
    run(&mut sim, ALICE.0, "ALTER TABLE board ADD COLUMN more TEXT DEFAULT 'more'");
    run(&mut sim, BOB.0, "INSERT INTO board VALUES (7, 'by bob', current_user, 1, 'more')");
    run(&mut sim, ALICE.0, "TRUNCATE board");
    run(&mut sim, BOB.0, "INSERT INTO board VALUES (8, 'by bob', current_user, 1, 'more')");
    run(&mut sim, ALICE.0, "ALTER TABLE board DROP COLUMN size");
    run(&mut sim, BOB.0, "INSERT INTO board VALUES (9, 'by bob', current_user, 'more')");
    refused(&mut sim, MALLORY.0, "UPDATE board SET more = 'x' WHERE id = 9");
    for name in ["own", "moderators", "small"] {
        run(&mut sim, ALICE.0, &format!("DROP POLICY {name} ON board"));
    }
    run(&mut sim, MALLORY.0, "UPDATE board SET text = 'as it was before there were any' WHERE id = 8");
    assert_eq!(rows(&mut sim).len(), 2);
}
