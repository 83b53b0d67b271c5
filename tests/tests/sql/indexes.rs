//! Indexes: what they answer, what they refuse, what is left of them, and what becomes of them while others write.

use std::collections::VecDeque;

use pontoon_core::{
    Error, Id,
    data::{Cost, QueryResult, Row, Value},
    exec::{Env, GatherEnd, Need, local::Local},
    pht::{Entry, Range, Request, Shape, Task},
    sql::{
        asking::{Asking, Definitions},
        catalog::{TableDescriptor, entry},
    },
    store::{Action, Expect, KeyOp, Outcome},
};
use proptest::{prelude::*, test_runner::RngSeed};

fn run(local: &mut Local, sql: &str) -> Result<QueryResult, Error> {
    local.execute(pontoon_parser::parse_one(sql)?, Vec::new())
}

fn ok(local: &mut Local, sql: &str) -> QueryResult {
    run(local, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Rows as text, columns parted by spaces.
fn shown(local: &mut Local, sql: &str) -> Vec<String> {
    let text = |row: Row| row.iter().map(Value::to_string).collect::<Vec<_>>().join(" ");
    ok(local, sql).rows.into_iter().map(text).collect()
}

fn code(local: &mut Local, sql: &str) -> &'static str {
    match run(local, sql) {
        Ok(result) => panic!("{sql}: no error, {result:?}"),
        Err(error) => error.code(),
    }
}

/// The entries of an index.
fn entries(local: &mut Local, index: &str) -> Vec<Entry> {
    let table = shown(local, &format!("SELECT table_name FROM pontoon_indexes WHERE name = '{index}'")).remove(0);
    let Outcome::Found { value, .. } = local.apply(&entry(&table, 0, Action::Get)) else { panic!("no {table}") };
    let indexes = TableDescriptor::decode(&value).unwrap().details().unwrap().indexes;
    let namespace = indexes.into_iter().find(|other| other.name == index).unwrap().namespace;
    let mut shape = Shape::default();
    let mut task = Task::new(namespace, 0, Request::Range(Range::default()), &shape);
    loop {
        let ops = task.poll();
        if ops.is_empty() {
            let answer = task.into_answer();
            assert_eq!(answer.missing, 0);
            return answer.entries;
        }
        let outcomes = ops.iter().map(|op| local.apply(op)).collect();
        task.on_outcomes(&mut shape, outcomes);
    }
}

fn plan(local: &mut Local, sql: &str) -> String {
    shown(local, &format!("EXPLAIN {sql}")).join("\n")
}

fn people() -> Local {
    let mut local = Local::new();
    ok(&mut local, "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, age INTEGER, town TEXT)");
    ok(
        &mut local,
        "INSERT INTO people VALUES (1, 'ann', 30, 'rome'), (2, 'bob', 25, 'oslo'), (3, 'annika', 30, 'oslo'),
         (4, NULL, 61, 'rome'), (5, 'zoe', NULL, NULL), (6, 'Ann', 18, 'rome')",
    );
    local
}

#[test]
fn conditions_on_indexed_columns_read_entries() {
    let mut local = people();
    ok(&mut local, "CREATE INDEX by_age ON people (age)");
    ok(&mut local, "CREATE INDEX ON people (town, age DESC)");
    ok(&mut local, "CREATE INDEX by_name ON people (name)");
    assert_eq!(
        shown(&mut local, "SELECT name, table_name, columns, is_unique, is_ready FROM pontoon_indexes ORDER BY name"),
        [
            "by_age people age false true",
            "by_name people name false true",
            "people_town_age_idx people town, age DESC false true"
        ]
    );
    for (condition, index, ids) in [
        ("age = 30", "by_age", "1,3"),
        ("age > 25", "by_age", "1,3,4"),
        ("age >= 25 AND age < 61", "by_age", "1,2,3"),
        ("age BETWEEN 18 AND 25", "by_age", "2,6"),
        ("61 <= age", "by_age", "4"),
        ("age IN (18, 61, 7)", "by_age", "4,6"),
        ("town = 'rome' AND age > 18", "people_town_age_idx", "1,4"),
        ("town = 'rome' AND age <= 30", "people_town_age_idx", "1,6"),
        ("town IN ('rome', 'oslo') AND age = 30", "people_town_age_idx", "1,3"),
        ("town = 'oslo'", "people_town_age_idx", "2,3"),
        ("name LIKE 'ann%'", "by_name", "1,3"),
        ("name LIKE 'ann_ka'", "by_name", "3"),
        ("name > 'b'", "by_name", "2,5"),
        ("age = NULL", "by_age", "NULL"),
    ] {
        let sql = format!("SELECT string_agg(CAST(id AS TEXT), ',' ORDER BY id) FROM people WHERE {condition}");
        assert_eq!(shown(&mut local, &sql), [ids], "{condition}");
        let plan = plan(&mut local, &sql);
        assert!(plan.contains("IndexScan [exchange] people: ") && plan.contains(index), "{condition}: {plan}");
    }
    for condition in ["age + 0 = 30", "name ILIKE 'ann%'", "name LIKE '%n'", "age = 30 OR name = 'bob'", "age > 2.5"] {
        let plan = plan(&mut local, &format!("SELECT id FROM people WHERE {condition}"));
        assert!(plan.contains("Gather [exchange] people"), "{condition}: {plan}");
    }
    // The key itself is the shortest way.
    assert!(plan(&mut local, "SELECT name FROM people WHERE id = 3 AND age = 30").contains("KeyLookup"));
    ok(&mut local, "UPDATE people SET age = age + 1 WHERE age = 30");
    ok(&mut local, "DELETE FROM people WHERE town = 'rome' AND age = 61");
    assert_eq!(shown(&mut local, "SELECT id, age FROM people WHERE age >= 31 ORDER BY id"), ["1 31", "3 31"]);
    assert_eq!(entries(&mut local, "by_age").len(), 5);
    ok(&mut local, "DROP INDEX by_age");
    assert!(plan(&mut local, "SELECT id FROM people WHERE age = 31").contains("Gather"));
    assert_eq!(shown(&mut local, "SELECT id FROM people WHERE age = 31 ORDER BY id"), ["1", "3"]);
    assert_eq!(code(&mut local, "DROP INDEX by_age"), "undefined_object");
    ok(&mut local, "DROP INDEX IF EXISTS by_age");
}

#[test]
fn definitions_that_cannot_be_are_refused() {
    let mut local = people();
    ok(&mut local, "CREATE INDEX i ON people (age)");
    for (sql, expected) in [
        ("CREATE INDEX i ON people (name)", "duplicate_object"),
        ("CREATE INDEX j ON people (nothing)", "undefined_column"),
        ("CREATE INDEX j ON nobody (name)", "undefined_table"),
        ("CREATE INDEX j ON people (name, name)", "duplicate_column"),
        ("CREATE UNIQUE INDEX j ON people (age)", "unique_violation"),
        ("ALTER TABLE people DROP age", "dependent_objects"),
        ("ALTER TABLE people RENAME TO folk", "feature_not_supported"),
        ("CREATE INDEX j ON people (lower(name))", "feature_not_supported"),
        ("CREATE INDEX j ON people (name) WHERE age > 1", "feature_not_supported"),
        ("INSERT INTO people VALUES (1, 'x', 1, 'y') ON CONFLICT (age) DO NOTHING", "invalid_column_reference"),
    ] {
        assert_eq!(code(&mut local, sql), expected, "{sql}");
    }
    ok(&mut local, "CREATE INDEX IF NOT EXISTS i ON people (name)");
    ok(&mut local, "CREATE TABLE other (x INTEGER)");
    assert_eq!(code(&mut local, "CREATE INDEX i ON other (x)"), "duplicate_table");
    // What failed left nothing.
    assert_eq!(shown(&mut local, "SELECT name FROM pontoon_indexes"), ["i"]);
    ok(&mut local, "CREATE UNIQUE INDEX j ON people (name)");
    // Names of columns may change, and others come and go.
    ok(&mut local, "ALTER TABLE people RENAME age TO years");
    ok(&mut local, "ALTER TABLE people DROP town");
    ok(&mut local, "ALTER TABLE people ADD hat TEXT DEFAULT 'none'");
    ok(&mut local, "CREATE INDEX hats ON people (hat, years)");
    assert_eq!(shown(&mut local, "SELECT id FROM people WHERE hat = 'none' AND years < 30 ORDER BY id"), ["2", "6"]);
    ok(&mut local, "UPDATE people SET hat = 'red' WHERE years = 30");
    assert_eq!(shown(&mut local, "SELECT id FROM people WHERE hat = 'red' ORDER BY id"), ["1", "3"]);
}

#[test]
fn an_index_that_cannot_be_filled_is_not_there() {
    let mut local = people();
    let Outcome::Found { value, .. } = local.apply(&entry("people", 0, Action::Get)) else { panic!("no table") };
    let namespace = TableDescriptor::decode(&value).unwrap().namespace;
    let broken = |action| KeyOp { namespace: namespace.clone(), locality_bits: 0, key: vec![255], action, proof: None };
    local.apply(&broken(Action::Put { value: vec![200, 1], expect: Expect::Any, ttl_us: None }));
    let before = local.total();
    assert_eq!(code(&mut local, "CREATE INDEX i ON people (age)"), "data_corrupted");
    assert!(shown(&mut local, "SELECT name FROM pontoon_indexes").is_empty());
    assert_eq!(local.total(), before);
    local.apply(&broken(Action::Remove { expect: Expect::Any }));
    ok(&mut local, "CREATE INDEX i ON people (age)");
    assert_eq!(entries(&mut local, "i").len(), 6);
}

#[test]
fn with_the_table_go_its_indexes() {
    let mut local = Local::new();
    ok(&mut local, "CREATE TABLE t (k INTEGER PRIMARY KEY, v INTEGER UNIQUE, w INTEGER)");
    ok(&mut local, "CREATE INDEX i ON t (w)");
    let rows: Vec<String> = (0..300).map(|n| format!("({n}, {n}, {})", n % 7)).collect();
    ok(&mut local, &format!("INSERT INTO t VALUES {}", rows.join(", ")));
    assert_eq!((entries(&mut local, "i").len(), entries(&mut local, "t_v_key").len()), (300, 300));
    ok(&mut local, "TRUNCATE t");
    ok(&mut local, "INSERT INTO t VALUES (1, 1, 1)");
    assert_eq!(shown(&mut local, "SELECT k FROM t WHERE w = 1"), ["1"]);
    assert_eq!(code(&mut local, "INSERT INTO t VALUES (2, 1, 1)"), "unique_violation");
    ok(&mut local, "DROP TABLE t");
    assert_eq!(local.total(), 0);
    // The same definition again, by everybody who comes.
    for _ in 0..2 {
        ok(&mut local, "CREATE TABLE t (k INTEGER PRIMARY KEY, v INTEGER UNIQUE)");
    }
    assert_eq!(code(&mut local, "CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT UNIQUE)"), "duplicate_table");
}

#[test]
fn an_index_has_another_place_after_truncate_and_goes_from_there() {
    let mut local = Local::new();
    ok(&mut local, "CREATE TABLE t (k INTEGER PRIMARY KEY, v INTEGER UNIQUE)");
    ok(&mut local, "INSERT INTO t VALUES (1, 1)");
    ok(&mut local, "TRUNCATE t");
    ok(&mut local, "INSERT INTO t VALUES (2, 1)");
    assert_eq!(entries(&mut local, "t_v_key").len(), 1);
    ok(&mut local, "DROP INDEX t_v_key");
    ok(&mut local, "INSERT INTO t VALUES (3, 1)");
    ok(&mut local, "ALTER TABLE t DROP v");
    // The script that everybody runs, whoever was first.
    for _ in 0..2 {
        ok(&mut local, "CREATE TABLE u (k INTEGER PRIMARY KEY, v INTEGER)");
        ok(&mut local, "CREATE INDEX IF NOT EXISTS by_v ON u (v)");
    }
    assert_eq!(code(&mut local, "CREATE TABLE u (k INTEGER PRIMARY KEY, v INTEGER UNIQUE)"), "duplicate_table");
}

#[test]
fn where_entries_are_many_all_rows_are_looked_through() {
    let mut local = Local::new();
    ok(&mut local, "CREATE TABLE t (k INTEGER PRIMARY KEY, v INTEGER)");
    ok(&mut local, "CREATE INDEX by_v ON t (v)");
    for part in 0..5 {
        let rows: Vec<String> = (part * 600..part * 600 + 600).map(|n| format!("({n}, {n})")).collect();
        ok(&mut local, &format!("INSERT INTO t VALUES {}", rows.join(", ")));
    }
    // While rows are changed old and new entries stand for them: more entries than rows.
    let mut client = Client::new("UPDATE t SET v = v + 1".to_owned(), 1_000, Definitions::default());
    let mut most = 0;
    while client.step(&mut local, false).is_none() && client.step(&mut local, true).is_none() {
        let count = shown(&mut local, "SELECT count(*) FROM t WHERE v >= 0");
        assert_eq!(count, ["3000"]);
        most = most.max(entries(&mut local, "by_v").len());
    }
    assert!(most > 4_001, "{most}");
    assert_eq!(entries(&mut local, "by_v").len(), 3_000);
}

#[test]
fn what_is_taken_back_has_its_values_still() {
    let mut local = Local::new();
    local.wall_us = 1_000_000_000;
    ok(&mut local, "CREATE TABLE t (k INTEGER PRIMARY KEY, u INTEGER UNIQUE, n INTEGER CHECK (n < 9))");
    ok(&mut local, "INSERT INTO t VALUES (1, 1, 1), (2, 2, 1), (3, 3, 1)");
    local.wall_us += 60_000_000;
    // It writes the first row, and meets a value of somebody else's in the last one.
    let mut client = Client::new("UPDATE t SET u = u + 10".to_owned(), 1_000, Definitions::default());
    ok(&mut local, "INSERT INTO t VALUES (4, 13, 1)");
    let mut late = None;
    for _ in 0..200 {
        if let Some(result) = client.step(&mut local, false).or_else(|| client.step(&mut local, true)) {
            late = Some(result);
            break;
        }
        // Whatever moment: who wants a value that is about to be free may get it, and then it is not given back.
        let _ = run(&mut local, "INSERT INTO t VALUES (5, 1, 1)");
    }
    assert_eq!(late.unwrap().unwrap_err().code(), "unique_violation");
    let values = shown(&mut local, "SELECT u FROM t ORDER BY u");
    let mut different = values.clone();
    different.dedup();
    assert_eq!(values, different);
    for u in values {
        assert_eq!(shown(&mut local, &format!("SELECT u FROM t WHERE u = {u}")), [u]);
    }
}

#[test]
fn who_slept_before_it_wrote_its_row_finds_that_its_value_is_taken() {
    let (mut first, mut second) = (0, 0);
    for steps in 0..24 {
        let mut local = Local::new();
        local.wall_us = 1_000_000_000;
        ok(&mut local, "CREATE TABLE t (k INTEGER PRIMARY KEY, u INTEGER UNIQUE)");
        let mut client = Client::new("INSERT INTO t VALUES (1, 7)".to_owned(), 1_000, Definitions::default());
        let early = (0..steps).find_map(|step| client.step(&mut local, step % 2 == 1));
        local.wall_us += 31_000_000;
        let other = run(&mut local, "INSERT INTO t VALUES (2, 7)");
        let late = early.unwrap_or_else(|| (0..).find_map(|step| client.step(&mut local, step % 2 == 1)).unwrap());
        assert_eq!((late.is_ok(), other.is_ok()), (other.is_err(), late.is_err()), "after {steps} steps");
        first += usize::from(late.is_ok());
        second += usize::from(other.is_ok());
        for condition in ["u = 7", "u + 0 = 7"] {
            let rows = shown(&mut local, &format!("SELECT k FROM t WHERE {condition}"));
            assert_eq!(rows, [if late.is_ok() { "1" } else { "2" }], "{condition} after {steps} steps");
        }
    }
    assert!(first > 2 && second > 2, "{first} {second}");
}

#[test]
fn what_somebody_claimed_who_vanished_is_not_given_to_two_rows() {
    let mut refused = 0;
    for steps in 0..16 {
        for sql in ["INSERT INTO t VALUES (1, 5), (2, 5)", "UPDATE t SET u = 5 WHERE k > 6"] {
            let mut local = Local::new();
            local.wall_us = 1_000_000_000;
            ok(&mut local, "CREATE TABLE t (k INTEGER PRIMARY KEY, u INTEGER UNIQUE)");
            ok(&mut local, "INSERT INTO t VALUES (7, 7), (8, 8)");
            let claimed = if sql.starts_with("INSERT") {
                "INSERT INTO t VALUES (1, 5)"
            } else {
                "UPDATE t SET u = 5 WHERE k = 7"
            };
            let mut client = Client::new(claimed.to_owned(), 1_000, Definitions::default());
            (0..steps).for_each(|step| drop(client.step(&mut local, step % 2 == 1)));
            drop(client);
            local.wall_us += 31_000_000;
            refused += usize::from(run(&mut local, sql).is_err());
            let rows = shown(&mut local, "SELECT k FROM t WHERE u + 0 = 5");
            assert!(rows.len() <= 1, "{sql} after {steps} steps: {rows:?}");
        }
    }
    assert_eq!(refused, 32);
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    let mut local = Local::new();
    ok(
        &mut local,
        "CREATE TABLE t (k INTEGER PRIMARY KEY, mail TEXT UNIQUE, age INTEGER CHECK (age > 0), UNIQUE (age, mail))",
    );
    ok(&mut local, "CREATE INDEX by_age ON t (age)");
    ok(&mut local, "INSERT INTO t VALUES (1, 'a', 10), (2, 'b', 20), (3, NULL, 30), (4, NULL, 40)");
    let (before, rows) = (local.total(), shown(&mut local, "SELECT * FROM t ORDER BY k"));
    let all = |local: &mut Local| -> Vec<Vec<(Vec<u8>, Vec<u8>)>> {
        let pairs = |entries: Vec<Entry>| entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
        ["by_age", "t_mail_key", "t_age_mail_key"].map(|index| pairs(entries(local, index))).into()
    };
    let indexed = all(&mut local);
    for sql in [
        "INSERT INTO t VALUES (5, 'a', 50)",
        "INSERT INTO t VALUES (5, 'c', 50), (6, 'd', 60), (7, 'b', 70)",
        "INSERT INTO t VALUES (5, 'c', 50), (6, 'c', 60)",
        "INSERT INTO t VALUES (1, 'c', 50)",
        "INSERT INTO t VALUES (8, 'c', 50), (2, 'd', 50)",
        "UPDATE t SET mail = 'a' WHERE k = 2",
        "UPDATE t SET mail = 'same'",
        "UPDATE t SET k = 9, mail = 'b' WHERE k = 1",
        "UPDATE t SET k = 2 WHERE k = 1",
        "INSERT INTO t VALUES (5, 'a', 50) ON CONFLICT (k) DO NOTHING",
        "INSERT INTO t VALUES (1, 'b', 50) ON CONFLICT (k) DO UPDATE SET mail = excluded.mail",
    ] {
        assert_eq!(code(&mut local, sql), "unique_violation", "{sql}");
        assert_eq!(shown(&mut local, "SELECT * FROM t ORDER BY k"), rows, "{sql}");
        assert_eq!(all(&mut local), indexed, "{sql}");
    }
    assert_eq!(code(&mut local, "INSERT INTO t VALUES (5, 'e', 50), (6, 'f', -1)"), "check_violation");
    assert_eq!((all(&mut local), local.total()), (indexed, before));
    let message = run(&mut local, "INSERT INTO t VALUES (5, 'a', 50)").unwrap_err().to_string();
    assert!(message.contains("(mail)") && message.contains("t_mail_key"), "{message}");
    // What is the row's own is no conflict.
    ok(&mut local, "UPDATE t SET mail = mail, age = age + 1");
    ok(&mut local, "UPDATE t SET k = k + 100");
    ok(&mut local, "DELETE FROM t WHERE mail = 'a'");
    ok(&mut local, "INSERT INTO t VALUES (7, 'a', 11)");
    assert_eq!(entries(&mut local, "t_mail_key").len(), 4);
    assert_eq!(entries(&mut local, "by_age").len(), 4);
}

#[test]
fn a_conflict_is_dealt_with_as_the_statement_says() {
    let mut local = Local::new();
    ok(&mut local, "CREATE TABLE t (k INTEGER PRIMARY KEY, mail TEXT UNIQUE, n INTEGER)");
    ok(&mut local, "INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 1)");
    ok(&mut local, "INSERT INTO t VALUES (3, 'a', 7), (4, 'c', 7) ON CONFLICT DO NOTHING");
    ok(&mut local, "INSERT INTO t VALUES (5, 'b', 7) ON CONFLICT (mail) DO UPDATE SET n = t.n + excluded.n");
    ok(&mut local, "INSERT INTO t VALUES (6, 'd', 7) ON CONFLICT (mail) DO UPDATE SET n = 99");
    assert_eq!(shown(&mut local, "SELECT * FROM t ORDER BY k"), ["1 a 1", "2 b 8", "4 c 7", "6 d 7"]);
    // The key that it names comes first, whatever else the row would violate.
    ok(&mut local, "INSERT INTO t VALUES (1, 'b', 7), (9, 'e', 9) ON CONFLICT (k) DO NOTHING");
    ok(&mut local, "INSERT INTO t VALUES (1, 'b', 7) ON CONFLICT (k) DO UPDATE SET n = excluded.n");
    assert_eq!(code(&mut local, "INSERT INTO t VALUES (10, 'b', 7) ON CONFLICT (k) DO NOTHING"), "unique_violation");
    assert_eq!(shown(&mut local, "SELECT * FROM t ORDER BY k"), ["1 a 7", "2 b 8", "4 c 7", "6 d 7", "9 e 9"]);
    ok(&mut local, "CREATE TABLE keyless (mail TEXT UNIQUE, n INTEGER)");
    ok(&mut local, "INSERT INTO keyless VALUES ('a', 1)");
    let upsert = "INSERT INTO keyless VALUES ('a', 5) ON CONFLICT (mail) DO UPDATE SET n = excluded.n RETURNING n";
    assert_eq!(shown(&mut local, upsert), ["5"]);
    assert_eq!(shown(&mut local, "SELECT * FROM keyless"), ["a 5"]);
    assert_eq!(entries(&mut local, "keyless_mail_key").len(), 1);
}

/// A client in the middle of a statement.
struct Client {
    asking: Asking,
    definitions: Definitions,
    /// What was carried out, and not told yet.
    held: VecDeque<Held>,
    sql: String,
}

enum Held {
    Ops(u32, Vec<Outcome>),
    Gathered(u32, Box<pontoon_core::exec::Partial>, GatherEnd),
}

impl Client {
    fn new(sql: String, random: u128, definitions: Definitions) -> Client {
        let mut definitions = definitions;
        let env = Env { now_us: 0, random, me: Id::ZERO, user: None, locality_bits: 0 };
        let asking = Asking::new(pontoon_parser::parse_one(&sql).unwrap(), Vec::new(), env, &mut definitions);
        Client { asking, definitions, held: VecDeque::new(), sql }
    }

    /// One step: something is carried out, or the client is told of something.
    fn step(&mut self, local: &mut Local, tell: bool) -> Option<Result<QueryResult, Error>> {
        if tell && let Some(held) = self.held.pop_front() {
            match held {
                Held::Ops(need, outcomes) => {
                    self.asking.on_ops(&mut self.definitions, need, outcomes, Cost::default());
                }
                Held::Gathered(need, partial, end) => {
                    self.asking.on_gathered(&mut self.definitions, need, *partial, end);
                }
            }
        } else if let Some(need) = self.asking.poll() {
            self.held.push_back(match need {
                Need::Ops { need, ops } => Held::Ops(need, ops.iter().map(|op| local.apply(op)).collect()),
                Need::Join { .. } | Need::Agree { .. } => {
                    unreachable!("peers are asked for joins only where that is chosen")
                }
                Need::Gather { need, fragment } => {
                    let end = GatherEnd { peers: 1, ..GatherEnd::default() };
                    Held::Gathered(need, Box::new(local.gather(&fragment).unwrap()), end)
                }
            });
        }
        self.asking.finished()
    }
}

/// Whether there is a unique index that holds.
fn unique(local: &mut Local) -> bool {
    !shown(local, "SELECT name FROM pontoon_indexes WHERE name = 'by_u' AND is_ready").is_empty()
}

/// Whether indexes say what the table says.
/// Of who vanishes while a row moves to another key unique indexes promise less (`docs/consistency.md`): then the other
/// one counts.
fn agree(local: &mut Local, less: bool) {
    let unique = unique(local);
    let columns: &[&str] = if less { &["a"] } else { &["a", "u"] };
    for column in columns {
        for value in 0..8 {
            let by = |condition: &str| format!("SELECT k, a, u FROM t WHERE {condition} ORDER BY k");
            let indexed = shown(local, &by(&format!("{column} = {value}")));
            let scanned = shown(local, &by(&format!("{column} + 0 = {value}")));
            assert_eq!(indexed, scanned, "{column} = {value}");
            assert!(*column == "a" || !unique || scanned.len() <= 1, "not unique: {scanned:?}");
        }
    }
}

#[derive(Clone, Debug)]
enum Move {
    Begin(usize, String),
    Step(usize, bool),
    Crash(usize),
    /// What is reserved and not used becomes free.
    Wait,
}

/// With `rekey` rows move to other keys.
fn statement(rekey: bool) -> impl Strategy<Value = String> {
    let (k, v) = (0..8i64, 0..5i64);
    prop_oneof![
        4 => (k.clone(), v.clone(), v.clone()).prop_map(|(k, a, u)| format!("INSERT INTO t VALUES ({k}, {a}, {u})")),
        3 => (k.clone(), v.clone()).prop_map(|(k, a)| format!("UPDATE t SET a = {a} WHERE k = {k}")),
        3 => (k.clone(), v.clone()).prop_map(|(k, u)| format!("UPDATE t SET u = {u} WHERE k = {k}")),
        2 => (k.clone(), k.clone()).prop_map(move |(k, to)| match rekey {
            true => format!("UPDATE t SET k = {to}, a = a + 1 WHERE k = {k}"),
            false => format!("UPDATE t SET a = a + {to} WHERE k = {k}"),
        }),
        2 => k.clone().prop_map(|k| format!("DELETE FROM t WHERE k = {k}")),
        1 => v.clone().prop_map(|u| format!("DELETE FROM t WHERE u = {u}")),
        2 => (k.clone(), v.clone(), v.clone()).prop_map(|(k, a, u)| format!(
            "INSERT INTO t VALUES ({k}, {a}, {u}) ON CONFLICT (u) DO UPDATE SET a = excluded.a"
        )),
        1 => (k.clone(), v.clone(), v.clone()).prop_map(|(k, a, u)| format!(
            "INSERT INTO t VALUES ({k}, {a}, {u}), ({}, {a}, {}) ON CONFLICT DO NOTHING", k + 1, u + 1
        )),
        2 => (v.clone(), v.clone()).prop_map(|(u, k)| format!("UPDATE t SET u = u + {u}, a = a + 1 WHERE k < {k}")),
        1 => Just("UPDATE t SET a = a + 1".to_owned()),
        1 => Just("TRUNCATE t".to_owned()),
    ]
}

/// What defines indexes.
fn definition() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => Just("DROP INDEX IF EXISTS by_a".to_owned()),
        2 => Just("CREATE INDEX IF NOT EXISTS by_a ON t (a)".to_owned()),
        1 => Just("DROP INDEX IF EXISTS by_u".to_owned()),
        2 => Just("CREATE UNIQUE INDEX IF NOT EXISTS by_u ON t (u)".to_owned()),
    ]
}

/// Either somebody vanishes, or indexes come and go: a row that was written meanwhile by one who vanished may lack an entry.
fn moves(crashes: bool, rekey: bool) -> impl Strategy<Value = Vec<Move>> {
    let begin = |client: usize, sql: String| Move::Begin(client, sql);
    let one = prop_oneof![
        4 => (0..3usize, statement(rekey)).prop_map(move |(client, sql)| begin(client, sql)),
        u32::from(!crashes) => (0..3usize, definition()).prop_map(move |(client, sql)| begin(client, sql)),
        40 => (0..3usize, any::<bool>()).prop_map(|(client, tell)| Move::Step(client, tell)),
        u32::from(crashes) => (0..3usize).prop_map(Move::Crash),
        1 => Just(Move::Wait),
    ];
    prop::collection::vec(one, 1..250)
}

fn interleaved(moves: Vec<Move>, less: bool) {
    let mut local = Local::new();
    local.wall_us = 1_000_000_000;
    ok(&mut local, "CREATE TABLE t (k INTEGER PRIMARY KEY, a INTEGER, u INTEGER)");
    ok(&mut local, "INSERT INTO t VALUES (0, 0, 0), (1, 1, 1), (2, 0, 2)");
    ok(&mut local, "CREATE INDEX by_a ON t (a)");
    ok(&mut local, "CREATE UNIQUE INDEX by_u ON t (u)");
    let mut clients: [Option<Client>; 3] = [None, None, None];
    let mut random = 1_000;
    for step in moves {
        match step {
            Move::Begin(index, sql) if clients[index].is_none() => {
                random += 1;
                clients[index] = Some(Client::new(sql, random, Definitions::default()));
            }
            Move::Crash(index) => clients[index] = None,
            Move::Step(index, tell) => {
                if let Some(client) = &mut clients[index]
                    && client.step(&mut local, tell).is_some()
                {
                    clients[index] = None;
                }
            }
            // Who is about to write a row has time for that.
            Move::Wait if clients.iter().all(Option::is_none) => local.wall_us += 31_000_000,
            Move::Begin(..) | Move::Wait => {}
        }
    }
    for mut client in clients.into_iter().flatten() {
        (0..10_000)
            .find_map(|_| {
                let done = client.step(&mut local, false);
                done.or_else(|| client.step(&mut local, true))
            })
            .unwrap_or_else(|| panic!("{} does not end", client.sql))
            .ok();
    }
    agree(&mut local, less);
    // What a statement reserved that never ended is free again after a while.
    local.wall_us += 60_000_000;
    for u in 0..5 {
        let taken = !shown(&mut local, &format!("SELECT k FROM t WHERE u + 0 = {u}")).is_empty();
        let unique = unique(&mut local);
        match run(&mut local, &format!("INSERT INTO t VALUES ({}, 0, {u})", 100 + u)) {
            Ok(_) => assert!(!taken || !unique || less),
            Err(error) => assert!(taken || less, "{error}"),
        }
    }
    agree(&mut local, less);
}

fn seed() -> RngSeed {
    let seed = std::env::var("PROPTEST_RNG_SEED").ok().and_then(|seed| seed.parse().ok());
    RngSeed::Fixed(seed.unwrap_or(10))
}

proptest! {
    // The same cases each time; PROPTEST_RNG_SEED has others.
    #![proptest_config(ProptestConfig { cases: 200, rng_seed: seed(), ..ProptestConfig::default() })]

    #[test]
    fn while_several_write_the_index_agrees_with_the_table(moves in moves(false, false)) {
        interleaved(moves, false);
    }

    #[test]
    fn who_vanishes_leaves_an_index_that_agrees(moves in moves(true, false)) {
        interleaved(moves, false);
    }

    #[test]
    fn rows_that_move_to_other_keys_keep_their_values_to_themselves(moves in moves(false, true)) {
        interleaved(moves, false);
    }

    #[test]
    fn rows_that_move_to_other_keys_are_found(moves in moves(true, true)) {
        interleaved(moves, true);
    }
}
