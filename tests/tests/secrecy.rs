//! Encrypted tables: their members read and write them as any table, and nobody else finds anything of them, on disks, on
//! links or in what a peer says of itself. What was changed on its way is noticed, and who is gone gets nothing new.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // how a test fails, helpers included

use pontoon_core::{
    data::{QueryResult, Row, Value, codec},
    sql::{
        asking::Definitions,
        catalog::{self, TableDescriptor},
        sqlstate::sqlstate,
    },
    store::{Action, Expect, KeyOp, Outcome, Version},
};
use pontoon_tests::{
    ops::get,
    sim::{Sim, SimConfig, user},
};

const SECOND_US: u64 = 1_000_000;
/// At which node somebody asks, and as which user; their keys are at hand there.
const ALICE: (usize, u8) = (1, 1);
const BOB: (usize, u8) = (2, 2);
const CAROL: (usize, u8) = (3, 3);
/// A peer that acts for nobody, and one that has only a user's session.
const NOBODY: usize = 4;
const SESSION: (usize, u8) = (5, 2);
const CANARY: &str = "canary-7f3a";

fn settled(seed: u64) -> Sim {
    let mut sim = Sim::new(SimConfig::new(seed, 6));
    sim.settle(120 * SECOND_US).unwrap();
    for (node, user) in [ALICE, BOB, CAROL] {
        sim.act_with(node, user);
    }
    sim
}

fn run(sim: &mut Sim, node: usize, text: &str) -> QueryResult {
    sim.sql(node, text).unwrap_or_else(|error| panic!("{text}: {error} ({})", error.code()))
}

fn code(sim: &mut Sim, node: usize, text: &str) -> &'static str {
    match sim.sql(node, text) {
        Ok(result) => panic!("{text} gave {:?}", result.rows),
        Err(error) => error.code(),
    }
}

fn rows(sim: &mut Sim, node: usize, text: &str) -> Vec<String> {
    let shown = |row: Row| row.iter().map(Value::to_string).collect::<Vec<_>>().join("|");
    run(sim, node, text).rows.into_iter().map(shown).collect()
}

/// Alice's notes, every column but the key sealed, and people, of whom names are.
fn notes(seed: u64) -> Sim {
    let mut sim = settled(seed);
    for text in [
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, author TEXT, body TEXT, stars INTEGER) WITH (encryption = 'team')",
        "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT UNIQUE, town TEXT) \
         WITH (encryption = 'team', encrypted_columns = 'name')",
        "CREATE INDEX by_author ON notes (author)",
        "INSERT INTO notes VALUES (1, 'alice', 'one', 5), (2, 'bob', 'two', NULL), (3, 'alice', 'three', 5)",
        "INSERT INTO people VALUES (1, 'alice', 'Oslo'), (2, 'carol', 'Rome')",
    ] {
        run(&mut sim, ALICE.0, text);
    }
    sim
}

fn grant(sim: &mut Sim, verb: &str, to: u8) {
    let preposition = if verb == "GRANT" { "TO" } else { "FROM" };
    run(sim, ALICE.0, &format!("{verb} SELECT ON notes {preposition} \"{}\"", user(to)));
}

fn table(sim: &mut Sim, name: &str) -> TableDescriptor {
    let op = catalog::entry(name, sim.locality_bits(), Action::Get);
    match sim.keys(0, vec![op]).remove(0) {
        Outcome::Found { value, .. } => TableDescriptor::decode(&value).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// The operation on a row of a table whose key is an integer.
fn row_op(table: &TableDescriptor, id: i64, action: Action) -> KeyOp {
    let key = codec::encode_key(&[Value::Integer(id)]);
    KeyOp { locality_bits: table.locality_bits, action, ..get(&table.namespace, &key) }
}

/// A row as it is stored.
fn stored(sim: &mut Sim, table: &TableDescriptor, id: i64) -> (Row, Version) {
    match sim.keys(0, vec![row_op(table, id, Action::Get)]).remove(0) {
        Outcome::Found { value, version, .. } => (codec::decode_row(&value).unwrap(), version),
        other => panic!("{other:?}"),
    }
}

fn store(sim: &mut Sim, table: &TableDescriptor, id: i64, (row, version): (Row, Version)) {
    let action = Action::Put { value: codec::encode_row(&row), expect: Expect::Version(version), ttl_us: None };
    let outcome = sim.keys(ALICE.0, vec![row_op(table, id, action)]).remove(0);
    assert!(matches!(outcome, Outcome::Stored { .. }), "{outcome:?}");
}

#[test]
fn members_read_and_write_as_in_any_table() {
    let mut sim = notes(1);
    let all = ["1|alice|one|5", "2|bob|two|NULL", "3|alice|three|5"];
    assert_eq!(rows(&mut sim, ALICE.0, "SELECT * FROM notes ORDER BY id"), all);
    // Who is none reads what is not sealed.
    for node in [BOB.0, NOBODY] {
        assert_eq!(rows(&mut sim, node, "SELECT id FROM notes ORDER BY id"), ["1", "2", "3"]);
        assert_eq!(rows(&mut sim, node, "SELECT town FROM people ORDER BY id"), ["Oslo", "Rome"]);
        for text in [
            "SELECT * FROM notes",
            "SELECT body FROM notes WHERE id = 1",
            "SELECT id FROM notes WHERE author = 'alice'",
            "SELECT count(*) FROM notes GROUP BY author",
            "INSERT INTO notes VALUES (9, 'x', 'y', 1)",
            "UPDATE notes SET body = 'z'",
        ] {
            assert_eq!(code(&mut sim, node, text), "insufficient_privilege", "{text}");
        }
    }
    grant(&mut sim, "GRANT", BOB.1);
    run(&mut sim, ALICE.0, &format!("GRANT INSERT, UPDATE, DELETE ON notes TO \"{}\"", user(BOB.1)));
    assert_eq!(rows(&mut sim, BOB.0, "SELECT * FROM notes ORDER BY id"), all);
    // Only the user's key opens it, not a session of the user.
    assert!(sim.act_for(SESSION.0, SESSION.1));
    assert_eq!(rows(&mut sim, SESSION.0, "SELECT id FROM notes WHERE id = 1"), ["1"]);
    assert_eq!(code(&mut sim, SESSION.0, "SELECT body FROM notes"), "insufficient_privilege");
    let found = [
        ("SELECT id FROM notes WHERE author = 'alice' ORDER BY id", &["1", "3"][..]),
        ("SELECT id FROM notes WHERE 'alice' <> author", &["2"]),
        ("SELECT id FROM notes WHERE author IN ('bob', 'eve') OR body = 'one' ORDER BY id", &["1", "2"]),
        ("SELECT id FROM notes WHERE stars = 5 AND author NOT IN ('bob') ORDER BY id", &["1", "3"]),
        ("SELECT id FROM notes WHERE stars IS NULL", &["2"]),
        ("SELECT id FROM notes WHERE stars = NULL", &[]),
        ("SELECT author, count(*), count(stars) FROM notes GROUP BY author HAVING count(*) > 1", &["alice|2|2"]),
        ("SELECT count(DISTINCT author), count(body) FROM notes", &["2|3"]),
        (
            "SELECT n.body, p.town FROM notes n JOIN people p ON p.name = n.author ORDER BY n.id",
            &["one|Oslo", "three|Oslo"],
        ),
        ("SELECT id FROM notes n WHERE NOT EXISTS (SELECT 1 FROM people p WHERE p.name = n.author)", &["2"]),
        ("SELECT n.body, p.name FROM notes n LEFT JOIN people p ON p.name = n.author WHERE n.id = 2", &["two|NULL"]),
        ("SELECT t.body FROM (SELECT id, body FROM notes WHERE author = 'bob') AS t WHERE t.id < 10", &["two"]),
        ("WITH w AS (SELECT id, body FROM notes) SELECT body FROM w WHERE id = 3", &["three"]),
        ("SELECT body FROM notes ORDER BY id DESC LIMIT 1", &["three"]),
    ];
    for node in [ALICE.0, BOB.0] {
        for (text, expected) in found {
            assert_eq!(rows(&mut sim, node, text), expected, "{text}");
        }
    }
    run(&mut sim, ALICE.0, "CREATE VIEW bodies AS SELECT id, body AS text FROM notes WHERE author = 'alice'");
    assert_eq!(rows(&mut sim, BOB.0, "SELECT text FROM bodies ORDER BY id"), ["one", "three"]);
    assert_eq!(code(&mut sim, CAROL.0, "SELECT text FROM bodies"), "insufficient_privilege");
    let changes = [
        ("INSERT INTO notes (id, author, body) VALUES (4, 'bob', 'four') RETURNING id, body", &["4|four"][..]),
        (
            "INSERT INTO notes VALUES (4, 'eve', 'vier', 1) ON CONFLICT (id) DO UPDATE SET body = excluded.body \
          RETURNING author, body",
            &["bob|vier"],
        ),
        (
            "UPDATE notes SET stars = 3, body = 'quatre' WHERE author = 'bob' AND id > 2 RETURNING body, stars",
            &["quatre|3"],
        ),
        ("DELETE FROM notes WHERE body = 'quatre' RETURNING author", &["bob"]),
    ];
    for (text, expected) in changes {
        assert_eq!(rows(&mut sim, BOB.0, text), expected, "{text}");
    }
    assert_eq!(rows(&mut sim, ALICE.0, "SELECT * FROM notes ORDER BY id"), all);
    let twice = "INSERT INTO people VALUES (3, 'alice', 'Bern')";
    assert_eq!(code(&mut sim, ALICE.0, twice), "unique_violation");
    assert_eq!(run(&mut sim, ALICE.0, &format!("{twice} ON CONFLICT (name) DO NOTHING")).affected, 0);
    run(&mut sim, ALICE.0, "ALTER TABLE notes ADD COLUMN tag TEXT");
    run(&mut sim, ALICE.0, "UPDATE notes SET tag = 'new' WHERE id = 1");
    assert_eq!(rows(&mut sim, BOB.0, "SELECT id FROM notes WHERE tag = 'new'"), ["1"]);
    assert_eq!(code(&mut sim, CAROL.0, "SELECT tag FROM notes"), "insufficient_privilege", "what is added is sealed");
}

#[test]
fn what_ciphertext_cannot_do_says_so() {
    let mut sim = notes(2);
    for text in [
        "SELECT id FROM notes WHERE body > 'o'",
        "SELECT id FROM notes WHERE body LIKE 'o%'",
        "SELECT id FROM notes WHERE stars BETWEEN 1 AND 5",
        "SELECT id FROM notes ORDER BY body",
        "SELECT body FROM notes ORDER BY 1",
        "SELECT DISTINCT author FROM notes",
        "SELECT sum(stars) FROM notes",
        "SELECT min(body) FROM notes",
        "SELECT upper(body) FROM notes",
        "SELECT body || '!' FROM notes",
        "SELECT CASE author WHEN 'bob' THEN 1 END FROM notes",
        "SELECT row_number() OVER (ORDER BY body) FROM notes",
        "SELECT n.id FROM notes n JOIN people p ON p.town = n.author",
        "SELECT body FROM notes UNION SELECT 'x'",
        "SELECT (SELECT body FROM notes WHERE id = 1)",
        "SELECT id FROM people WHERE name IN (SELECT author FROM notes)",
        "SELECT t.id FROM (SELECT id, body FROM notes) AS t WHERE t.body = 'one'",
        "INSERT INTO people SELECT id + 10, author, 'x' FROM notes",
        "UPDATE notes SET body = body || '!'",
        "UPDATE notes SET id = 10 WHERE id = 1",
        "ALTER TABLE notes ADD CHECK (length(body) > 1)",
        "ALTER TABLE notes ADD COLUMN state TEXT DEFAULT 'new'",
        "CREATE TABLE t (a TEXT PRIMARY KEY, b TEXT) WITH (encryption = 'team', encrypted_columns = 'a')",
        "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT REFERENCES people (name)) WITH (encryption = 'team')",
        "GRANT SELECT ON notes TO PUBLIC",
    ] {
        let error = sim.sql(ALICE.0, text).expect_err(text);
        assert_eq!(error.code(), "feature_not_supported", "{text}: {error}");
        assert_eq!(sqlstate(error.code()), "0A000");
    }
    let why = sim.sql(ALICE.0, "SELECT id FROM notes WHERE body > 'o'").unwrap_err();
    assert!(why.to_string().starts_with("column \"body\" is encrypted, and peers cannot read it"), "{why}");
    // Tags can be done without; then nothing is compared.
    run(
        &mut sim,
        ALICE.0,
        "CREATE TABLE diary (id INTEGER PRIMARY KEY, body TEXT) WITH (encryption = 'mine', encryption_equality = false)",
    );
    run(&mut sim, ALICE.0, "INSERT INTO diary VALUES (1, 'same'), (2, 'same')");
    assert_eq!(rows(&mut sim, ALICE.0, "SELECT body FROM diary ORDER BY id"), ["same", "same"]);
    assert_eq!(code(&mut sim, ALICE.0, "SELECT id FROM diary WHERE body = 'same'"), "feature_not_supported");
    assert_eq!(code(&mut sim, ALICE.0, "CREATE INDEX ON diary (body)"), "feature_not_supported");
    // Of another keyring tags do not meet.
    run(&mut sim, ALICE.0, "CREATE TABLE own (id INTEGER PRIMARY KEY, body TEXT) WITH (encryption = 'own')");
    let apart = "SELECT 1 FROM own JOIN notes ON own.body = notes.body";
    assert_eq!(code(&mut sim, ALICE.0, apart), "feature_not_supported");
    // Without a user there is no keyring, and only its owner names it: Bob's of that name is another one.
    let create = "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT) WITH (encryption = 'team')";
    assert_eq!(code(&mut sim, NOBODY, create), "insufficient_privilege");
    assert!(sim.act_for(SESSION.0, SESSION.1));
    assert_eq!(code(&mut sim, SESSION.0, create), "insufficient_privilege");
    run(&mut sim, BOB.0, create);
    run(&mut sim, BOB.0, "INSERT INTO t VALUES (1, 'his')");
    assert_eq!(code(&mut sim, ALICE.0, "SELECT b FROM t"), "insufficient_privilege");
    assert_eq!(code(&mut sim, ALICE.0, "CREATE TABLE u (a INTEGER) WITH (encrption = 'x')"), "feature_not_supported");
}

#[test]
fn nobody_else_finds_anything_of_it() {
    let mut sim = notes(3);
    grant(&mut sim, "GRANT", BOB.1);
    sim.trace_all(true);
    sim.record(true);
    for text in [
        format!("INSERT INTO notes VALUES (7, '{CANARY}', 'body of {CANARY}', 1)"),
        format!("UPDATE notes SET body = 'more of {CANARY}' WHERE author = '{CANARY}'"),
        format!("INSERT INTO people VALUES (7, '{CANARY}', 'Bern')"),
    ] {
        run(&mut sim, ALICE.0, &text);
    }
    for (text, expected) in [
        (format!("SELECT body FROM notes WHERE author = '{CANARY}'"), format!("more of {CANARY}")),
        (format!("SELECT author FROM notes WHERE body IN ('more of {CANARY}')"), CANARY.to_owned()),
        (
            "SELECT n.author FROM notes n JOIN people p ON p.name = n.author AND p.town = 'Bern'".to_owned(),
            CANARY.to_owned(),
        ),
        ("SELECT author FROM notes WHERE id = 7 GROUP BY author".to_owned(), CANARY.to_owned()),
    ] {
        assert_eq!(rows(&mut sim, BOB.0, &text), [expected], "{text}");
    }
    run(&mut sim, ALICE.0, "ANALYZE notes");
    let explained =
        rows(&mut sim, BOB.0, &format!("EXPLAIN SELECT body FROM notes WHERE author = '{CANARY}'")).join("\n");
    assert!(explained.contains("notes.author#") && explained.contains("by_author"), "{explained}");
    let update = format!("EXPLAIN UPDATE notes SET body = '{CANARY}' WHERE author = '{CANARY}'");
    let explained = [explained, rows(&mut sim, ALICE.0, &update).join("\n")].join("\n");
    assert!(!explained.contains(CANARY), "{explained}");
    sim.run_for(60 * SECOND_US);
    // That it would be found: of a table in clear it is.
    let frames = sim.record(false);
    let on_links = |frames: &[pontoon_tests::sim::Recorded], part: &[u8]| {
        frames.iter().filter(|it| it.bytes.windows(part.len()).any(|window| window == part)).count()
    };
    assert!(frames.len() > 100);
    assert_eq!((on_links(&frames, CANARY.as_bytes()), sim.disks_with(CANARY.as_bytes())), (0, 0));
    let said = format!("{:?}", sim.take_traces());
    let seen: Vec<String> = (0..sim.len()).map(|node| format!("{:?}", sim.inspect(node))).collect();
    assert!(!said.contains(CANARY) && !seen.join("").contains(CANARY));
    sim.record(true);
    run(&mut sim, ALICE.0, "CREATE TABLE plain (id INTEGER PRIMARY KEY, body TEXT)");
    run(&mut sim, ALICE.0, &format!("INSERT INTO plain VALUES (1, '{CANARY}')"));
    sim.run_for(60 * SECOND_US);
    let frames = sim.record(false);
    assert!(on_links(&frames, CANARY.as_bytes()) > 0 && sim.disks_with(CANARY.as_bytes()) >= 3);
}

#[test]
fn what_was_changed_on_its_way_is_noticed() {
    let mut sim = notes(4);
    let notes = table(&mut sim, "notes");
    let (one, two) = (stored(&mut sim, &notes, 1), stored(&mut sim, &notes, 2));
    let body = 2;
    let Value::Blob(cell) = &one.0[body] else { panic!("not sealed: {:?}", one.0) };
    for at in [0, 5, 30, cell.len() - 1] {
        let (mut row, version) = stored(&mut sim, &notes, 1);
        let mut flipped = cell.clone();
        flipped[at] ^= 4;
        row[body] = Value::Blob(flipped);
        store(&mut sim, &notes, 1, (row, version));
        let error = sim.sql(ALICE.0, "SELECT body FROM notes WHERE id = 1").unwrap_err();
        assert_eq!((error.code(), sqlstate(error.code())), ("tampered", "XX001"), "byte {at}: {error}");
        assert!(!error.to_string().contains("one"), "{error}");
        assert_eq!(code(&mut sim, ALICE.0, "SELECT body FROM notes ORDER BY id"), "tampered");
        assert_eq!(rows(&mut sim, ALICE.0, "SELECT author FROM notes WHERE id = 1"), ["alice"]);
        assert_eq!(rows(&mut sim, ALICE.0, "SELECT body FROM notes WHERE id = 2"), ["two"]);
    }
    // Another row's cell, and another column's.
    for wrong in [two.0[body].clone(), one.0[body - 1].clone(), Value::Text("one".to_owned())] {
        let (mut row, version) = stored(&mut sim, &notes, 1);
        row[body] = wrong;
        store(&mut sim, &notes, 1, (row, version));
        assert_eq!(code(&mut sim, ALICE.0, "SELECT body FROM notes WHERE id = 1"), "tampered");
    }
    let (mut row, version) = stored(&mut sim, &notes, 1);
    row[body] = one.0[body].clone();
    store(&mut sim, &notes, 1, (row, version));
    assert_eq!(rows(&mut sim, ALICE.0, "SELECT body FROM notes WHERE id = 1"), ["one"]);
}

#[test]
fn who_is_revoked_reads_nothing_new() {
    let mut sim = notes(5);
    grant(&mut sim, "GRANT", BOB.1);
    grant(&mut sim, "GRANT", CAROL.1);
    run(&mut sim, ALICE.0, &format!("GRANT INSERT ON notes TO \"{}\"", user(CAROL.1)));
    // Both remember the table and its keys.
    let (mut bob, mut carol) = (Definitions::default(), Definitions::default());
    let asked = |sim: &mut Sim, node: usize, definitions: &mut Definitions, text: &str| {
        let ask = sim.ask(node, definitions, text, None).unwrap();
        sim.answers(vec![ask], definitions, 60 * SECOND_US).remove(0)
    };
    assert_eq!(asked(&mut sim, BOB.0, &mut bob, "SELECT body FROM notes").unwrap().rows.len(), 3);
    assert_eq!(asked(&mut sim, CAROL.0, &mut carol, "SELECT body FROM notes").unwrap().rows.len(), 3);
    grant(&mut sim, "REVOKE", BOB.1);
    asked(&mut sim, CAROL.0, &mut carol, "INSERT INTO notes VALUES (8, 'carol', 'after', 1)").unwrap();
    run(&mut sim, ALICE.0, "UPDATE notes SET body = 'changed' WHERE id = 1");
    let notes = table(&mut sim, "notes");
    let epoch = |sim: &mut Sim, id: i64| match &stored(sim, &notes, id).0[2] {
        Value::Blob(cell) => cell[..4].to_vec(),
        other => panic!("{other:?}"),
    };
    // Who remembered old keys has sealed with the new one, and what nobody wrote since is as it was.
    assert_eq!(
        (epoch(&mut sim, 8), epoch(&mut sim, 1), epoch(&mut sim, 2)),
        (vec![0, 0, 0, 2], vec![0, 0, 0, 2], vec![0, 0, 0, 1])
    );
    for text in
        ["SELECT body FROM notes", "SELECT body FROM notes WHERE id = 8", "SELECT id FROM notes WHERE author = 'carol'"]
    {
        assert_eq!(asked(&mut sim, BOB.0, &mut bob, text).unwrap_err().code(), "insufficient_privilege", "{text}");
        assert_eq!(code(&mut sim, BOB.0, text), "insufficient_privilege", "{text}");
    }
    assert_eq!(
        code(&mut sim, BOB.0, "SELECT name FROM people"),
        "insufficient_privilege",
        "the keyring's other tables, too"
    );
    for node in [ALICE.0, CAROL.0] {
        assert_eq!(rows(&mut sim, node, "SELECT body FROM notes ORDER BY id"), ["changed", "two", "three", "after"]);
        assert_eq!(
            rows(&mut sim, node, "SELECT id FROM notes WHERE author IN ('alice', 'carol') ORDER BY id"),
            ["1", "3", "8"]
        );
    }
    // Nobody but its owner says who reads.
    for text in [
        format!("GRANT SELECT ON notes TO \"{}\"", user(BOB.1)),
        format!("REVOKE SELECT ON notes FROM \"{}\"", user(ALICE.1)),
    ] {
        assert_eq!(code(&mut sim, CAROL.0, &text), "insufficient_privilege", "{text}");
        assert_eq!(code(&mut sim, BOB.0, &text), "insufficient_privilege", "{text}");
    }
    // Again, and he reads everything.
    grant(&mut sim, "GRANT", BOB.1);
    assert_eq!(asked(&mut sim, BOB.0, &mut bob, "SELECT body FROM notes").unwrap().rows.len(), 4);
    let nonsense = format!("GRANT SELECT ON notes TO \"{}\"", "02".repeat(32));
    assert_eq!(code(&mut sim, ALICE.0, &nonsense), "insufficient_privilege");
}

#[test]
fn a_cell_is_sealed_under_the_key_where_its_row_comes_to_lie() {
    let mut sim = notes(7);
    // Another row has the unique name: it gives way, and the new one lies under a key of its own.
    run(&mut sim, ALICE.0, "INSERT OR REPLACE INTO people VALUES (9, 'alice', 'Bergen')");
    assert_eq!(
        rows(&mut sim, ALICE.0, "SELECT id, name, town FROM people ORDER BY id"),
        ["2|carol|Rome", "9|alice|Bergen"]
    );
    // What would move a row away from its key, or show what is compared with, is refused.
    for text in [
        "CREATE TABLE towns (person INTEGER DEFAULT 2 PRIMARY KEY REFERENCES people ON DELETE SET DEFAULT, name TEXT) \
         WITH (encryption = 'team')",
        "CREATE POLICY eves ON notes USING (author = 'eve')",
    ] {
        assert_eq!(code(&mut sim, ALICE.0, text), "feature_not_supported", "{text}");
    }
}
