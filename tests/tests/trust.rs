//! Who may write: a peer that runs another program than ours tries what it may not, among peers that run ours. Everything
//! is refused with the right code where it is stored, nothing of it is stored, and nobody else notices.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // how a test fails, helpers included

use std::sync::Arc;

use pontoon_core::{
    Command, Error, Id, Reply,
    data::{QueryResult, Value},
    dht, group, pht,
    sql::catalog::{self, TableDescriptor},
    store::{Action, Expect, KeyOp, Outcome, Record, Refusal, Version},
    trust::{self, Grantee, Privileges, Realm, Rights, rights_op},
};
use pontoon_tests::{
    ops::{get, keys},
    sim::{Sim, SimConfig, user},
};

const SECOND_US: u64 = 1_000_000;
/// Who asks at which node, and as which user. Nobody is known at node 4.
const ALICE: (usize, u8) = (1, 1);
const MALLORY: (usize, u8) = (2, 2);
const BOB: (usize, u8) = (3, 3);
const NOBODY: usize = 4;
const OTHER: usize = 5;
const ROWS: &str = "SELECT id, author, note FROM notes ORDER BY id";

fn settled(seed: u64) -> Sim {
    let mut sim = Sim::new(SimConfig::new(seed, 6));
    sim.settle(120 * SECOND_US).unwrap();
    for (node, user) in [ALICE, MALLORY, BOB] {
        assert!(sim.act_for(node, user));
    }
    sim
}

fn run(sim: &mut Sim, node: usize, text: &str) -> QueryResult {
    sim.sql(node, text).unwrap_or_else(|error| panic!("{text}: {error} ({})", error.code()))
}

/// A table of Alice's with an index, a view and three rows, which Bob may add to.
fn notes(seed: u64) -> Sim {
    let mut sim = settled(seed);
    for text in [
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, author TEXT, note TEXT)",
        "CREATE TABLE plain (id INTEGER)",
        "CREATE INDEX by_author ON notes (author)",
        "CREATE VIEW mine AS SELECT note FROM notes WHERE author = 'alice'",
        "INSERT INTO notes VALUES (1, 'alice', 'one'), (2, 'alice', 'two'), (3, 'alice', 'three')",
        &format!("GRANT INSERT ON notes TO \"{}\"", user(BOB.1)),
    ] {
        run(&mut sim, ALICE.0, text);
    }
    sim
}

fn table(sim: &mut Sim, name: &str) -> (TableDescriptor, Version) {
    let op = catalog::entry(name, sim.locality_bits(), Action::Get);
    match sim.keys(0, vec![op]).remove(0) {
        Outcome::Found { value, version, .. } => (TableDescriptor::decode(&value).unwrap(), version),
        other => panic!("{other:?}"),
    }
}

fn refused(sim: &mut Sim, node: usize, op: KeyOp) -> Refusal {
    match sim.keys(node, vec![op.clone()]).remove(0) {
        Outcome::Refused(refusal) => refusal,
        other => panic!("{op:?} came to {other:?}"),
    }
}

fn put(value: &[u8], expect: Expect) -> Action {
    Action::Put { value: value.to_vec(), expect, ttl_us: None }
}

/// The record of a key, with its proof.
fn record(sim: &mut Sim, namespace: &str, key: &[u8]) -> Record {
    match sim.keys(0, vec![KeyOp { action: Action::Prove, ..get(namespace, key) }]).remove(0) {
        Outcome::Proven(record) => *record,
        other => panic!("{other:?}"),
    }
}

/// A row's key.
fn row(id: i64) -> Vec<u8> {
    pontoon_core::data::codec::encode_key(&[Value::Integer(id)])
}

#[test]
fn what_is_forbidden_is_refused_in_sql_and_honest_users_go_on() {
    let mut sim = notes(1);
    let before = run(&mut sim, 0, ROWS).rows;
    let (mallory, bob) = (user(MALLORY.1), user(BOB.1));
    let forbidden = [
        "DROP TABLE notes",
        "DROP VIEW mine",
        "DROP INDEX by_author",
        "TRUNCATE notes",
        "ALTER TABLE notes ADD COLUMN secret TEXT",
        "ALTER TABLE notes DROP COLUMN note",
        "ALTER TABLE plain RENAME TO mallorys",
        "CREATE INDEX mallorys ON notes (note)",
        "CREATE OR REPLACE VIEW mine AS SELECT author AS note FROM notes",
        "INSERT INTO notes VALUES (4, 'mallory', 'mine')",
        "INSERT INTO notes VALUES (1, 'mallory', 'mine') ON CONFLICT (id) DO UPDATE SET author = 'mallory'",
        "UPDATE notes SET author = 'mallory'",
        "DELETE FROM notes WHERE id = 2",
        "REVOKE INSERT ON notes FROM PUBLIC",
        &format!("GRANT ALL ON notes TO \"{mallory}\""),
        &format!("REVOKE ALL ON notes FROM \"{bob}\""),
    ];
    for text in forbidden {
        let error = sim.sql(MALLORY.0, text).expect_err(text);
        let lawful = text.starts_with("REVOKE ALL") && error.code() == "feature_not_supported";
        assert!(error.code() == "insufficient_privilege" || lawful, "{text}: {error} ({})", error.code());
        assert_eq!(run(&mut sim, 0, ROWS).rows, before, "{text}");
    }
    // Who says nothing of itself may do no more.
    let error = sim.sql(NOBODY, "DELETE FROM notes").unwrap_err();
    assert_eq!(error.code(), "unsigned", "{error}");
    // Bob may add and nothing else; both see everything, and what is not there any more is not found by the index either.
    run(&mut sim, BOB.0, "INSERT INTO notes VALUES (10, 'bob', 'ten')");
    for text in ["UPDATE notes SET note = 'x' WHERE id = 1", "DELETE FROM notes WHERE id = 1"] {
        assert_eq!(sim.sql(BOB.0, text).unwrap_err().code(), "insufficient_privilege", "{text}");
    }
    // What is there already he is told of, as everybody is.
    let twice = "INSERT INTO notes VALUES (10, 'bob', 'again')";
    assert_eq!(sim.sql(BOB.0, twice).unwrap_err().code(), "unique_violation");
    assert_eq!(run(&mut sim, BOB.0, &format!("{twice} ON CONFLICT (id) DO NOTHING")).affected, 0);
    // Of a statement that fails nothing stays.
    let failing = "INSERT INTO notes VALUES (11, 'bob', 'new'), (10, 'bob', 'again')";
    assert_eq!(sim.sql(BOB.0, failing).unwrap_err().code(), "unique_violation");
    assert_eq!(run(&mut sim, 0, "SELECT count(*) FROM notes WHERE id = 11").rows, [[Value::Integer(0)]]);
    run(&mut sim, ALICE.0, "UPDATE notes SET note = 'zwei' WHERE id = 2");
    for (author, count) in [("alice", 3), ("bob", 1), ("mallory", 0)] {
        let found = run(&mut sim, OTHER, &format!("SELECT count(*) FROM notes WHERE author = '{author}'"));
        assert_eq!(found.rows, [[Value::Integer(count)]], "{author}");
    }
    assert!(sim.counted_by_all("trust.forbidden") >= 10);
}

#[test]
fn who_is_granted_may_and_who_is_revoked_may_not_from_that_moment() {
    let mut sim = notes(2);
    // So many that nodes of the index are split by who was granted no more than that.
    let many: Vec<String> = (1_000..1_400).map(|id| format!("({id}, 'bob {id}', 'many')")).collect();
    run(&mut sim, BOB.0, &format!("INSERT INTO notes VALUES {}", many.join(", ")));
    let found = run(&mut sim, OTHER, "SELECT count(*) FROM notes WHERE author >= 'bob 1100' AND author < 'bob 1200'");
    assert_eq!(found.rows, [[Value::Integer(100)]]);
    run(&mut sim, ALICE.0, "DELETE FROM notes WHERE note = 'many'");
    let (bob, insert) = (user(BOB.1), "INSERT INTO notes VALUES");
    let mut number = 100;
    for round in 0..3 {
        // He writes without a pause while the right goes.
        let mut asks = Vec::new();
        let mut definitions = pontoon_core::sql::asking::Definitions::default();
        for _ in 0..20 {
            number += 1;
            let text = format!("{insert} ({number}, 'bob', 'x')");
            asks.push(sim.ask(BOB.0, &mut definitions, &text, None).unwrap());
        }
        let began = sim.now_us();
        run(&mut sim, ALICE.0, &format!("REVOKE INSERT ON notes FROM \"{bob}\""));
        assert!(sim.now_us() - began >= trust::LEASE_US, "somebody may hold older rights still");
        let count = |sim: &mut Sim| run(sim, 0, "SELECT count(*) FROM notes").rows;
        let then = count(&mut sim);
        number += 1;
        let error = sim.sql(BOB.0, &format!("{insert} ({number}, 'bob', 'late')")).unwrap_err();
        assert_eq!(error.code(), "insufficient_privilege", "round {round}");
        sim.answers(asks, &mut definitions, 60 * SECOND_US);
        sim.run_for(30 * SECOND_US);
        assert_eq!(count(&mut sim), then, "what was under way is not written after the right is gone");
        let again = sim.now_us();
        run(&mut sim, ALICE.0, &format!("REVOKE INSERT ON notes FROM \"{bob}\""));
        assert!(sim.now_us() - again >= trust::LEASE_US, "nor may who asks twice believe that sooner");
        run(&mut sim, ALICE.0, &format!("GRANT INSERT ON notes TO \"{bob}\""));
        number += 1;
        run(&mut sim, BOB.0, &format!("{insert} ({number}, 'bob', 'again')"));
    }
    let shown =
        "SELECT grantee, privilege FROM pontoon_privileges WHERE table_name = 'notes' ORDER BY grantee, privilege";
    let shown = run(&mut sim, OTHER, shown).rows;
    let text = |text: &str| Value::Text(text.to_owned());
    assert!(shown.contains(&vec![text(&bob.to_string()), text("INSERT")]), "{shown:?}");
    assert!(shown.contains(&vec![text("PUBLIC"), text("SELECT")]));
    assert!(shown.contains(&vec![text(&user(ALICE.1).to_string()), text("ALL")]));
    run(&mut sim, ALICE.0, "GRANT INSERT, UPDATE, DELETE ON notes TO PUBLIC");
    run(&mut sim, MALLORY.0, "UPDATE notes SET note = 'all may' WHERE id = 1");
    run(&mut sim, MALLORY.0, "DELETE FROM notes WHERE author = 'bob'");
    assert_eq!(run(&mut sim, 0, "SELECT count(*) FROM notes").rows, [[Value::Integer(3)]]);
}

#[test]
fn who_may_alter_may_neither_drop_nor_disown() {
    let mut sim = notes(8);
    run(&mut sim, ALICE.0, &format!("GRANT ALTER ON notes TO \"{}\"", user(BOB.1)));
    run(&mut sim, BOB.0, "ALTER TABLE notes ADD COLUMN tag TEXT");
    run(&mut sim, BOB.0, "CREATE INDEX by_note ON notes (note)");
    assert_eq!(sim.sql(BOB.0, "DROP TABLE notes").unwrap_err().code(), "insufficient_privilege");
    let (notes, version) = table(&mut sim, "notes");
    let encoded = notes.encode();
    let bare = trust::unclaimed(&encoded).1.to_vec();
    let bobs = Rights::new(user(BOB.1), 3, false, "notes");
    let claim = rights_op(bobs.realm(), put(&bobs.encode(), Expect::Absent));
    assert!(matches!(sim.keys(BOB.0, vec![claim]).remove(0), Outcome::Stored { .. }));
    for value in [bare.clone(), trust::claimed(Some(bobs.realm()), bare)] {
        let op = catalog::entry("notes", sim.locality_bits(), put(&value, Expect::Version(version)));
        assert_eq!(refused(&mut sim, BOB.0, op), Refusal::Forbidden);
    }
    // An open view stays open, whoever replaces it.
    run(&mut sim, NOBODY, "CREATE VIEW open AS SELECT 1 AS one");
    run(&mut sim, MALLORY.0, "CREATE OR REPLACE VIEW open AS SELECT 2 AS one");
    assert_eq!(run(&mut sim, 0, "SELECT one FROM open").rows, [[Value::Integer(2)]]);
    run(&mut sim, NOBODY, "DROP VIEW open");
    run(&mut sim, ALICE.0, "TRUNCATE notes");
    run(&mut sim, ALICE.0, "INSERT INTO notes VALUES (1, 'alice', 'anew', NULL)");
    run(&mut sim, ALICE.0, "DROP TABLE notes");
    run(&mut sim, MALLORY.0, "CREATE TABLE notes AS SELECT 7 AS id");
    assert_eq!(sim.sql(ALICE.0, "DROP TABLE notes").unwrap_err().code(), "insufficient_privilege");
}

#[test]
fn operations_on_keys_are_judged_like_statements() {
    let mut sim = notes(3);
    let before = run(&mut sim, 0, ROWS).rows;
    let (notes, version) = table(&mut sim, "notes");
    let realm = notes.realm().expect("it has an owner");
    let (namespace, bits) = (&notes.namespace[..], notes.locality_bits);
    let alices = record(&mut sim, namespace, &row(1));
    let of = |namespace: &str, key: &[u8], action| KeyOp {
        namespace: namespace.to_owned(),
        locality_bits: bits,
        key: key.to_vec(),
        action,
        proof: None,
    };
    let tree = notes.details().unwrap().indexes[0].namespace.clone();
    let set = pht::Change { key: b"k".to_vec(), what: pht::What::Set(b"v".to_vec(), 1), expect: pht::Held::Any };
    let edit = pht::Edit::Entries { changes: vec![set], low: false }.encode();
    let mallorys = Rights::new(user(MALLORY.1), 1, false, "notes");
    let mut raised = Rights::decode(&record(&mut sim, trust::RIGHTS, &realm.0).value.unwrap()).unwrap();
    assert_eq!(raised.owner, user(ALICE.1));
    assert!(raised.change(Grantee::User(user(MALLORY.1)), Privileges::ALL, true, 0));
    let rights = record(&mut sim, trust::RIGHTS, &realm.0).version;
    let entry = |action| catalog::entry("notes", bits, action);
    let (mut stolen, mut later) = (notes.clone(), mallorys.clone());
    stolen.name = "stolen".to_owned();
    later.version = 7;
    let forbidden = [
        of(namespace, &row(1), put(b"mine", Expect::Any)),
        of(namespace, &row(1), put(b"mine", Expect::Version(alices.version))),
        of(namespace, &row(9), put(b"mine", Expect::Absent)),
        of(namespace, &row(1), Action::Remove { expect: Expect::Any }),
        of(&tree, &pht::Label::default().to_key(), Action::Edit { edit }),
        of(&tree, &pht::Label::default().to_key(), Action::Remove { expect: Expect::Any }),
        entry(Action::Remove { expect: Expect::Version(version) }),
        entry(put(&notes.encode(), Expect::Version(version))),
        // The name of a table of one's own for rows of another's.
        catalog::entry("stolen", bits, put(&stolen.encode(), Expect::Absent)),
        catalog::index_entry("by_author", bits, Action::Remove { expect: Expect::Any }),
        rights_op(realm, put(&raised.encode(), Expect::Version(rights))),
        rights_op(realm, put(&mallorys.encode(), Expect::Version(rights))),
        rights_op(Realm([7; 16]), put(&mallorys.encode(), Expect::Absent)),
        rights_op(mallorys.realm(), put(&later.encode(), Expect::Absent)),
    ];
    for op in forbidden {
        assert_eq!(refused(&mut sim, MALLORY.0, op.clone()), Refusal::Forbidden, "{op:?}");
        assert_eq!(refused(&mut sim, NOBODY, op.clone()), Refusal::Unsigned, "{op:?}");
        // With a proof that is another operation's, or another peer's.
        let stolen = KeyOp { proof: alices.proof.clone(), ..op.clone() };
        assert_eq!(refused(&mut sim, NOBODY, stolen), Refusal::Forged, "{op:?}");
    }
    // What cannot be signed is not done here.
    let renew = of(namespace, &row(1), Action::Renew { ttl_us: 1 });
    assert_eq!(refused(&mut sim, MALLORY.0, renew.clone()), Refusal::Unsigned);
    assert_eq!(refused(&mut sim, ALICE.0, renew), Refusal::Unsigned);
    // The word that another peer acts for Alice is of no use.
    let session = sim.session(ALICE.0, ALICE.1);
    let answer = sim.call(MALLORY.0, Command::ActFor { session: session.clone() }, SECOND_US);
    assert_eq!(answer, Some(Err(Error::Refused(Refusal::Forged))));
    let forged = session
        .map(|session| trust::Session { peer: sim.identity(MALLORY.0).public_key().try_into().unwrap(), ..session });
    let answer = sim.call(MALLORY.0, Command::ActFor { session: forged }, SECOND_US);
    assert_eq!(answer, Some(Err(Error::Refused(Refusal::Forged))));
    assert_eq!(run(&mut sim, 0, ROWS).rows, before);
    run(&mut sim, ALICE.0, "DELETE FROM notes WHERE id = 1");
}

#[test]
fn a_copy_of_a_signed_write_has_no_second_effect() {
    let mut sim = settled(4);
    // Who owns a key since lately does only what names its epoch.
    sim.run_for(70 * SECOND_US);
    run(&mut sim, ALICE.0, "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)");
    let (t, _) = table(&mut sim, "t");
    let (namespace, key) = (t.namespace.clone(), row(1));
    let peer = sim.identity(ALICE.0);
    let session = sim.session(ALICE.0, ALICE.1).unwrap();
    let at_us = sim.clocks(ALICE.0).wall;
    // Signed by Alice's peer, as its own program would; whoever carries it may keep it.
    let message = |action, request, at_us| {
        let op = KeyOp {
            namespace: namespace.clone(),
            locality_bits: t.locality_bits,
            key: key.clone(),
            action,
            proof: None,
        };
        let mut ops = [(0, op)];
        trust::sign_as(&*peer, &session, ("sim", at_us), request, &mut ops);
        let [(_, op)] = ops;
        dht::Message::Request { request, op, epoch: 0 }
    };
    let id = Id::object(&namespace, &key, t.locality_bits);
    let owner = sim.owner_of(&id).unwrap();
    assert_ne!(owner, ALICE.0, "another seed, then: her requests must travel");
    let hears = |sim: &Sim| (0..6).find(|node| *node != owner && *node != ALICE.0 && sim.linked(*node, owner)).unwrap();
    let value = pontoon_core::data::codec::encode_row(&[Value::Integer(1), Value::Text("first".to_owned())]);
    let insert = message(put(&value, Expect::Absent), 11, at_us);
    let overwrite = message(put(&value, Expect::Any), 12, at_us);
    let old = message(put(&value, Expect::Any), 13, at_us - 3_600 * SECOND_US);
    let ahead = message(put(&value, Expect::Any), 14, at_us + 3_600 * SECOND_US);
    let said = |sim: &mut Sim, from: usize, message: &dht::Message| {
        assert!(sim.say(from, owner, message.clone().into()));
        sim.run_for(5 * SECOND_US);
    };
    let count = |sim: &mut Sim, text: &str| run(sim, 0, &format!("SELECT count(*) FROM t WHERE v = '{text}'")).rows;
    let from = ALICE.0;
    said(&mut sim, from, &insert);
    said(&mut sim, from, &overwrite);
    assert_eq!(count(&mut sim, "first"), [[Value::Integer(1)]]);
    run(&mut sim, ALICE.0, "UPDATE t SET v = 'second'");
    run(&mut sim, ALICE.0, "DELETE FROM t");
    for message in [&insert, &overwrite] {
        said(&mut sim, from, message);
        assert_eq!(count(&mut sim, "first"), [[Value::Integer(0)]], "it was removed since");
    }
    for message in [&old, &ahead] {
        let late = sim.counted_by_all("trust.late");
        said(&mut sim, from, message);
        assert!(sim.counted_by_all("trust.late") > late, "its signature is not good any more, or not yet");
    }
    // Who carries it is not who wrote it, whether it was done before or not.
    let mallory = hears(&sim);
    let fresh = message(put(&value, Expect::Absent), 15, sim.clocks(ALICE.0).wall);
    for message in [&insert, &fresh] {
        let forged = sim.counted_by_all("trust.forged");
        said(&mut sim, mallory, message);
        assert_eq!(sim.counted_by_all("trust.forged") > forged, core::ptr::eq(message, &fresh));
    }
    assert_eq!(count(&mut sim, "first"), [[Value::Integer(0)]]);
}

#[test]
fn a_hostile_owner_finds_no_member_for_what_nobody_signed() {
    let mut sim = notes(5);
    let (notes, _) = table(&mut sim, "notes");
    let genuine = record(&mut sim, &notes.namespace, &row(2));
    let id = genuine.id();
    let owner = sim.owner_of(&id).unwrap();
    let member = sim.holders(&id).into_iter().skip(1).find(|node| sim.linked(owner, *node)).unwrap();
    let fragment = sim.inspect(owner).unwrap().fragments;
    let name = sim.fragment_of(owner, &id).unwrap_or_else(|| panic!("{fragment:?}"));
    let next = Version { wall_us: genuine.version.wall_us + 1_000, ..genuine.version };
    let mallory = sim.identity(MALLORY.0);
    let signed_by_mallory = {
        let action = put(b"mine", Expect::Version(genuine.version));
        let op = KeyOp {
            namespace: notes.namespace.clone(),
            locality_bits: notes.locality_bits,
            key: row(2),
            action,
            proof: None,
        };
        let mut ops = [(0, op)];
        let session = sim.session(MALLORY.0, MALLORY.1).unwrap();
        trust::sign_as(&*mallory, &session, ("sim", genuine.version.wall_us), 5, &mut ops);
        let version = Version { wall_us: next.wall_us, counter: dht::tag(5, 0), author: mallory.id() };
        let [(_, op)] = ops;
        Record {
            value: Some(b"mine".to_vec()),
            version,
            parent: Some(genuine.version),
            proof: op.proof,
            ..genuine.clone()
        }
    };
    let rows = run(&mut sim, 0, ROWS).rows;
    let pass = |change: &dyn Fn(&mut trust::Pass)| {
        let mut proof = genuine.proof.clone().unwrap();
        let mut pass = (*proof.pass).clone();
        change(&mut pass);
        proof.pass = Arc::new(pass);
        Some(proof)
    };
    let forged = [
        // Another value, another version, no value, no proof, another author, another time.
        Record { value: Some(b"mine".to_vec()), version: next, ..genuine.clone() },
        Record { version: next, proof: None, ..genuine.clone() },
        Record { version: Version { counter: 1, ..next }, ..genuine.clone() },
        Record { value: None, version: next, ..genuine.clone() },
        Record { version: Version { author: mallory.id(), ..next }, ..genuine.clone() },
        Record { version: next, proof: pass(&|pass| pass.session.user = user(MALLORY.1)), ..genuine.clone() },
        Record { version: next, proof: pass(&|pass| pass.at_us += 1), ..genuine.clone() },
        Record { version: Version { wall_us: next.wall_us + 7_200 * SECOND_US, ..next }, ..genuine.clone() },
        Record { key: row(7), version: next, ..genuine.clone() },
        Record { expiry_us: Some(next.wall_us), version: next, ..genuine.clone() },
        Record { locality_bits: genuine.locality_bits + 1, version: next, ..genuine.clone() },
    ];
    for (number, record) in forged.into_iter().enumerate() {
        let held = sim.version_at(member, &genuine.namespace, &genuine.key);
        let records = vec![record.clone()];
        let message = dht::Message::Replicate { of: name, serial: 1 << 50, records };
        assert!(sim.say(owner, member, message.into()));
        let until = Some((record.namespace.clone(), record.key.clone()));
        let page = group::message::Page { after: None, until, records: vec![record] };
        assert!(sim.say(owner, member, group::Message::Push { of: name, as_of_us: 0, page: page.clone() }.into()));
        assert!(sim.say(owner, member, group::Message::Donate { of: name, to: name, page }.into()));
        sim.run_for(5 * SECOND_US);
        assert_eq!(sim.version_at(member, &genuine.namespace, &genuine.key), held, "number {number}");
    }
    assert!(sim.counted_by_all("trust.unproven") >= 20);
    // What its author signed, but had no right to, or what was undone since, is not taken as a write or as another history.
    let retimed = Record { version: next, ..genuine.clone() };
    let from = (0..6).find(|node| *node != owner && sim.linked(*node, owner)).unwrap();
    for record in [signed_by_mallory, retimed] {
        let held = sim.version_at(member, &genuine.namespace, &genuine.key);
        let message = dht::Message::Replicate { of: name, serial: 1 << 50, records: vec![record.clone()] };
        assert!(sim.say(owner, member, message.into()));
        let until = Some((record.namespace.clone(), record.key.clone()));
        let page = group::message::Page { after: None, until, records: vec![record] };
        let current = sim.fragment_of(owner, &id).unwrap();
        for _ in 0..3 {
            let donate = group::Message::Donate { of: name, to: current, page: page.clone() };
            assert!(sim.say(from, owner, donate.into()));
            sim.run_for(2 * SECOND_US);
        }
        for node in [member, owner] {
            assert_eq!(sim.version_at(node, &genuine.namespace, &genuine.key), held);
        }
    }
    assert!(sim.counted_by_all("trust.forbidden") >= 1 && sim.counted_by_all("trust.replayed") >= 1);
    assert_eq!(run(&mut sim, 0, ROWS).rows, rows);
    run(&mut sim, ALICE.0, "UPDATE notes SET note = 'still mine' WHERE id = 2");
}

#[test]
fn rows_keep_their_proofs_when_owners_change() {
    let mut sim = notes(6);
    let bits = sim.locality_bits();
    for id in 20..60 {
        run(&mut sim, ALICE.0, &format!("INSERT INTO notes VALUES ({id}, 'alice', 'n')"));
    }
    let before = run(&mut sim, 0, ROWS).rows;
    sim.call(OTHER, Command::Leave, 30 * SECOND_US);
    sim.run_for(30 * SECOND_US);
    assert_eq!(run(&mut sim, 0, ROWS).rows, before);
    let (notes, _) = table(&mut sim, "notes");
    for id in 20..60 {
        let record = record(&mut sim, &notes.namespace, &row(id));
        let proof = record.proof.as_ref().expect("a proof");
        let root = proof.root(proof.leaf_of(&record)).unwrap();
        assert!(
            proof.pass.holds(&*sim.identity(0), "sim", &root) && proof.pass.session.user == user(ALICE.1),
            "{bits}"
        );
    }
    assert_eq!(sim.counted_by_all("trust.unproven"), 0);
}

#[test]
fn sql_says_who_asks() {
    let mut sim = settled(7);
    let me = |sim: &mut Sim, node| run(sim, node, "SELECT current_user, current_peer(), current_user()").rows.remove(0);
    let text = |text: String| Value::Text(text);
    let (alice, peer) = (text(user(ALICE.1).to_string()), text(sim.id(ALICE.0).to_string()));
    assert_eq!(me(&mut sim, ALICE.0), [alice.clone(), peer, alice]);
    let peer = text(sim.id(NOBODY).to_string());
    assert_eq!(me(&mut sim, NOBODY), [Value::Null, peer, Value::Null]);
    // What nobody created everybody may change, and nobody may give away.
    run(&mut sim, NOBODY, "CREATE TABLE open (id INTEGER PRIMARY KEY)");
    run(&mut sim, MALLORY.0, "INSERT INTO open VALUES (1)");
    for (text, code) in [
        ("GRANT INSERT ON open TO PUBLIC", "wrong_object_type"),
        ("GRANT INSERT ON missing TO PUBLIC", "undefined_table"),
        ("GRANT INSERT ON open TO alice", "invalid_parameter_value"),
        ("GRANT USAGE ON open TO PUBLIC", "feature_not_supported"),
        ("GRANT admin TO PUBLIC", "feature_not_supported"),
        ("GRANT INSERT (id) ON open TO PUBLIC", "feature_not_supported"),
        ("REVOKE INSERT ON open TO PUBLIC", "syntax_error"),
    ] {
        assert_eq!(sim.sql(ALICE.0, text).unwrap_err().code(), code, "{text}");
    }
    let Some(Ok(Reply::Keys(outcomes, _))) = sim.call(NOBODY, keys(vec![get("pontoon.tables", b"open")]), SECOND_US)
    else {
        panic!("no answer")
    };
    assert!(matches!(outcomes[0], Outcome::Found { .. }));
}
