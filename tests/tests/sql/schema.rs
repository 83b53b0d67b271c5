//! Definitions that change: constraints, ALTER TABLE, views, TRUNCATE, CREATE TABLE AS.

use pontoon_core::{
    Error, Id,
    data::{Cost, Nested, QueryResult, Row, Value},
    exec::{Env, GatherEnd, Need, local::Local},
    sql::{
        asking::{Asking, Definitions},
        ast::Statement,
    },
    store::{Action, Expect, KeyOp, Outcome},
};
use proptest::prelude::*;

fn run(local: &mut Local, sql: &str) -> Result<QueryResult, Error> {
    local.execute(pontoon_parser::parse_one(sql)?, Vec::new())
}

fn ok(local: &mut Local, sql: &str) -> QueryResult {
    run(local, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn rows(local: &mut Local, sql: &str) -> Vec<Row> {
    ok(local, sql).rows
}

/// Rows as text, columns parted by spaces.
fn shown(local: &mut Local, sql: &str) -> Vec<String> {
    let text = |row: Row| row.iter().map(Value::to_string).collect::<Vec<_>>().join(" ");
    rows(local, sql).into_iter().map(text).collect()
}

fn error(local: &mut Local, sql: &str) -> Error {
    match run(local, sql) {
        Ok(result) => panic!("{sql}: no error, {result:?}"),
        Err(error) => error,
    }
}

fn code(local: &mut Local, sql: &str) -> &'static str {
    error(local, sql).code()
}

/// A table of two rows, over some owners.
fn table(parts: usize) -> Local {
    let mut local = Local::new();
    local.split(parts, 7);
    ok(&mut local, "CREATE TABLE t (k INTEGER PRIMARY KEY, v INTEGER, w TEXT)");
    ok(&mut local, "INSERT INTO t VALUES (1, 10, 'a'), (2, NULL, 'b')");
    local
}

#[test]
fn a_row_that_breaks_a_constraint_is_not_written() {
    let mut local = Local::new();
    ok(
        &mut local,
        "CREATE TABLE t (k INTEGER PRIMARY KEY, v INTEGER CHECK (v > 0), w INTEGER CONSTRAINT small CHECK (w < 100),
         CONSTRAINT ordered CHECK (v <= w), CHECK (k <> 13))",
    );
    ok(&mut local, "INSERT INTO t VALUES (1, 5, 6), (2, NULL, NULL)");
    for (sql, constraint) in [
        ("INSERT INTO t VALUES (3, 1, 1), (4, 0, 1)", "t_v_check"),
        ("INSERT INTO t VALUES (3, 1, 100)", "small"),
        ("UPDATE t SET w = 4 WHERE k = 1", "ordered"),
        ("UPDATE t SET k = 13 WHERE k = 1", "t_check"),
        ("INSERT INTO t VALUES (1, 1, 1) ON CONFLICT (k) DO UPDATE SET v = t.v - 5", "t_v_check"),
        ("INSERT INTO t SELECT k + 10, 7, 6 FROM t", "ordered"),
    ] {
        let error = error(&mut local, sql);
        assert_eq!(error.code(), "check_violation", "{sql}");
        assert!(error.to_string().contains(&format!("\"{constraint}\"")), "{sql}: {error}");
        assert_eq!(shown(&mut local, "SELECT * FROM t ORDER BY k"), ["1 5 6", "2 NULL NULL"], "{sql}");
    }
    assert_eq!(ok(&mut local, "INSERT OR IGNORE INTO t VALUES (3, 0, 1), (4, 1, 1)").affected, 1);
    assert_eq!(code(&mut local, "CREATE TABLE u (a INT CHECK (b > 0))"), "undefined_column");
    assert_eq!(code(&mut local, "CREATE TABLE u (a INT CHECK (a + 1))"), "datatype_mismatch");
    assert_eq!(code(&mut local, "CREATE TABLE u (a INT CHECK (count(*) > 1))"), "grouping_error");
    let twice = "CREATE TABLE u (a INT, CONSTRAINT c CHECK (a > 0), CONSTRAINT c CHECK (a < 9))";
    assert_eq!(code(&mut local, twice), "duplicate_object");
}

#[test]
fn an_added_column_has_in_old_rows_what_the_default_was_then() {
    for parts in [1, 5] {
        let mut local = table(parts);
        local.wall_us = 5;
        ok(
            &mut local,
            "ALTER TABLE t ADD COLUMN n INTEGER NOT NULL DEFAULT 7, ADD at TIMESTAMP DEFAULT now(), ADD x TEXT",
        );
        local.wall_us = 9;
        ok(&mut local, "ALTER TABLE t ALTER COLUMN n SET DEFAULT 8");
        ok(&mut local, "INSERT INTO t (k) VALUES (3)");
        let at = |us: &str| format!("1970-01-01 00:00:00.00000{us}");
        let expected =
            [format!("1 7 {} NULL", at("5")), format!("2 7 {} NULL", at("5")), format!("3 8 {} NULL", at("9"))];
        assert_eq!(shown(&mut local, "SELECT k, n, at, x FROM t ORDER BY k"), expected);
        // Owners know it, too: as a condition, in groups, and when rows change.
        assert_eq!(shown(&mut local, "SELECT count(*), sum(n) FROM t WHERE n = 7"), ["2 14"]);
        assert_eq!(ok(&mut local, "UPDATE t SET v = n WHERE n = 7").affected, 2);
        assert_eq!(shown(&mut local, "SELECT v, w, n FROM t WHERE k = 1"), ["7 a 7"]);
        ok(&mut local, "ALTER TABLE t ADD COLUMN IF NOT EXISTS n TEXT");
        assert_eq!(code(&mut local, "ALTER TABLE t ADD COLUMN n TEXT"), "duplicate_column");
        // Without a default there is no value for the rows that are there.
        assert_eq!(code(&mut local, "ALTER TABLE t ADD COLUMN m INT NOT NULL"), "not_null_violation");
        assert_eq!(code(&mut local, "ALTER TABLE t ADD COLUMN m INT DEFAULT -1 CHECK (m > 0)"), "check_violation");
        ok(&mut local, "ALTER TABLE t ADD COLUMN m INT DEFAULT 1 CHECK (m > 0)");
        assert_eq!(code(&mut local, "UPDATE t SET m = 0"), "check_violation");
    }
}

#[test]
fn a_dropped_column_leaves_the_others_where_they_are() {
    for parts in [1, 5] {
        let mut local = table(parts);
        ok(&mut local, "ALTER TABLE t DROP COLUMN v");
        assert_eq!(shown(&mut local, "SELECT * FROM t ORDER BY k"), ["1 a", "2 b"]);
        ok(&mut local, "INSERT INTO t VALUES (3, 'c')");
        // A column of the same name is another one.
        ok(&mut local, "ALTER TABLE t ADD COLUMN v TEXT DEFAULT 'new'");
        assert_eq!(shown(&mut local, "SELECT * FROM t ORDER BY k"), ["1 a new", "2 b new", "3 c new"]);
        ok(&mut local, "UPDATE t SET w = w || v, k = k + 10 WHERE v = 'new'");
        assert_eq!(shown(&mut local, "SELECT w, k FROM t ORDER BY k"), ["anew 11", "bnew 12", "cnew 13"]);
        assert_eq!(shown(&mut local, "DELETE FROM t WHERE k = 11 RETURNING *"), ["11 anew new"]);
        assert_eq!(code(&mut local, "ALTER TABLE t DROP COLUMN nope"), "undefined_column");
        ok(&mut local, "ALTER TABLE t DROP COLUMN IF EXISTS nope");
        assert_eq!(code(&mut local, "ALTER TABLE t DROP COLUMN k"), "feature_not_supported");
        let columns = "SELECT name, position, type FROM pontoon_columns WHERE table_name = 't' ORDER BY position";
        assert_eq!(shown(&mut local, columns), ["k 1 integer", "w 2 text", "v 3 text"]);
        assert_eq!(shown(&mut local, "SELECT name, columns FROM pontoon_tables"), ["t 3"]);
    }
}

#[test]
fn names_change_and_what_is_stored_does_not() {
    let mut local = table(1);
    ok(&mut local, "ALTER TABLE t ADD CONSTRAINT positive CHECK (t.v > 0)");
    ok(&mut local, "ALTER TABLE t RENAME COLUMN v TO value");
    ok(&mut local, "ALTER TABLE t RENAME TO u");
    assert_eq!(shown(&mut local, "SELECT k, value FROM u ORDER BY k"), ["1 10", "2 NULL"]);
    assert_eq!(code(&mut local, "SELECT * FROM t"), "undefined_table");
    assert_eq!(code(&mut local, "UPDATE u SET value = 0"), "check_violation");
    ok(&mut local, "ALTER TABLE u DROP CONSTRAINT positive");
    ok(&mut local, "UPDATE u SET value = 0");
    assert_eq!(code(&mut local, "ALTER TABLE u RENAME COLUMN value TO k"), "duplicate_column");
    ok(&mut local, "CREATE TABLE t (z INT)");
    assert_eq!(code(&mut local, "ALTER TABLE u RENAME TO t"), "duplicate_table");
    assert_eq!(code(&mut local, "ALTER TABLE u RENAME TO pontoon_u"), "invalid_table_definition");
    assert_eq!(code(&mut local, "ALTER TABLE nowhere RENAME TO x"), "undefined_table");
    ok(&mut local, "ALTER TABLE IF EXISTS nowhere RENAME TO x");
    assert_eq!(shown(&mut local, "SELECT count(*) FROM t"), ["0"]);
    // A constraint goes with its column.
    ok(&mut local, "ALTER TABLE u ADD CHECK (value < 5)");
    assert_eq!(code(&mut local, "INSERT INTO u VALUES (9, 9, 'x')"), "check_violation");
    ok(&mut local, "ALTER TABLE u DROP value");
    ok(&mut local, "INSERT INTO u VALUES (9, 'x')");
}

#[test]
fn rows_are_looked_at_before_null_is_refused() {
    let mut local = table(3);
    assert_eq!(code(&mut local, "ALTER TABLE t ALTER v SET NOT NULL"), "not_null_violation");
    ok(&mut local, "INSERT INTO t (k) VALUES (3)");
    ok(&mut local, "UPDATE t SET v = 0 WHERE v IS NULL");
    ok(&mut local, "ALTER TABLE t ALTER v SET NOT NULL");
    assert_eq!(code(&mut local, "INSERT INTO t (k) VALUES (4)"), "not_null_violation");
    ok(&mut local, "ALTER TABLE t ALTER v DROP NOT NULL");
    ok(&mut local, "INSERT INTO t (k) VALUES (4)");
    assert_eq!(code(&mut local, "ALTER TABLE t ALTER k DROP NOT NULL"), "invalid_table_definition");
    assert_eq!(code(&mut local, "ALTER TABLE t ADD CHECK (k < 4)"), "check_violation");
    ok(&mut local, "ALTER TABLE t ALTER w SET DEFAULT 'z'");
    ok(&mut local, "INSERT INTO t (k) VALUES (5)");
    ok(&mut local, "ALTER TABLE t ALTER w DROP DEFAULT");
    ok(&mut local, "INSERT INTO t (k) VALUES (6)");
    assert_eq!(shown(&mut local, "SELECT w FROM t WHERE k > 4 ORDER BY k"), ["z", "NULL"]);
    assert_eq!(code(&mut local, "ALTER TABLE t ALTER v SET DEFAULT 'x'"), "invalid_text_representation");
}

/// A statement whose operations the test carries out one need at a time.
struct Slow {
    asking: Asking,
    definitions: Definitions,
}

impl Slow {
    fn new(sql: &str) -> Slow {
        let (env, mut definitions) =
            (Env { now_us: 0, random: 99, me: Id::ZERO, user: None, locality_bits: 0 }, Definitions::default());
        let asking = Asking::new(pontoon_parser::parse_one(sql).unwrap(), Vec::new(), env, &mut definitions);
        Slow { asking, definitions }
    }

    /// Goes on until `stop` wants it to stop before a need.
    fn run(&mut self, local: &mut Local, stop: impl Fn(&Need) -> bool, held: &mut Option<Need>) {
        while let Some(need) = held.take().or_else(|| self.asking.poll()) {
            if stop(&need) {
                *held = Some(need);
                return;
            }
            match need {
                Need::Ops { need, ops } => {
                    let outcomes = ops.iter().map(|op| local.apply(op)).collect();
                    self.asking.on_ops(&mut self.definitions, need, outcomes, Cost::default());
                }
                Need::Join { .. } | Need::Agree { .. } => {
                    unreachable!("peers are asked for joins only where that is chosen")
                }
                Need::Gather { need, fragment } => {
                    let partial = local.gather(&fragment).unwrap();
                    let end = GatherEnd { peers: 1, ..GatherEnd::default() };
                    self.asking.on_gathered(&mut self.definitions, need, partial, end);
                }
            }
        }
    }
}

fn writes_rows(need: &Need) -> bool {
    let writes = |op: &KeyOp| op.namespace != "pontoon.tables" && !matches!(op.action, Action::Get);
    matches!(need, Need::Ops { ops, .. } if ops.iter().any(writes))
}

fn writes_catalog(need: &Need) -> bool {
    let writes = |op: &KeyOp| op.namespace == "pontoon.tables" && !matches!(op.action, Action::Get);
    matches!(need, Need::Ops { ops, .. } if ops.iter().any(writes))
}

/// A statement whose plan was checked against the catalog, and which writes only after `meanwhile`.
fn late(local: &mut Local, sql: &str, meanwhile: &[&str]) -> Result<QueryResult, Error> {
    let (mut slow, mut held) = (Slow::new(sql), None);
    slow.run(local, writes_rows, &mut held);
    assert!(held.is_some(), "{sql} writes nothing");
    meanwhile.iter().for_each(|sql| drop(ok(local, sql)));
    slow.run(local, |_| false, &mut held);
    slow.asking.finished().unwrap()
}

#[test]
fn what_was_planned_before_an_alter_and_writes_after_is_still_right() {
    let add = "ALTER TABLE t ADD COLUMN n INTEGER DEFAULT 7";
    // An older row: it has the default.
    let mut local = table(1);
    late(&mut local, "INSERT INTO t VALUES (3, 30, 'c')", &[add]).unwrap();
    assert_eq!(shown(&mut local, "SELECT v, w, n FROM t WHERE k = 3"), ["30 c 7"]);
    // A row that has the new column already keeps it, whether it was read before or after.
    for sql in [
        "UPDATE t SET w = 'late' WHERE k = 1",
        "UPDATE t SET w = 'late' WHERE v > 0",
        "INSERT INTO t VALUES (1, 0, 'late') ON CONFLICT (k) DO UPDATE SET w = excluded.w",
        "UPDATE t SET w = 'late', k = 1 + 0 WHERE k = 1",
    ] {
        let mut local = table(1);
        late(&mut local, sql, &[add, "UPDATE t SET n = 99, v = 11 WHERE k = 1"]).unwrap();
        assert_eq!(shown(&mut local, "SELECT v, w, n FROM t WHERE k = 1"), ["11 late 99"], "{sql}");
    }
    let mut local = table(1);
    late(&mut local, "UPDATE t SET k = 50 WHERE k = 1", &[add, "UPDATE t SET n = 99 WHERE k = 1"]).unwrap();
    assert_eq!(shown(&mut local, "SELECT k, v, w, n FROM t ORDER BY k"), ["2 NULL b 7", "50 10 a 99"]);
    // A column that is gone is written where nobody reads it.
    let mut local = table(1);
    late(&mut local, "INSERT INTO t VALUES (3, 30, 'c')", &["ALTER TABLE t DROP v", "ALTER TABLE t ADD v TEXT"])
        .unwrap();
    assert_eq!(shown(&mut local, "SELECT w, v FROM t WHERE k = 3"), ["c NULL"]);
    // A name that changed: the same rows.
    let mut local = table(1);
    late(&mut local, "UPDATE t SET v = 77 WHERE k = 2", &["ALTER TABLE t RENAME TO u", "ALTER TABLE u RENAME v TO x"])
        .unwrap();
    assert_eq!(shown(&mut local, "SELECT x FROM u WHERE k = 2"), ["77"]);
}

#[test]
fn a_row_with_more_columns_than_known_keeps_them() {
    // The definition that the statement remembers is older than the row, and the catalog is altered just after it was
    // asked: the row is found with a column that the plan does not know.
    let mut local = table(1);
    let (mut slow, mut held) = (Slow::new("UPDATE t SET w = 'late' WHERE v = 10"), None);
    slow.run(&mut local, |need| matches!(need, Need::Gather { .. }), &mut held);
    ok(&mut local, "ALTER TABLE t ADD COLUMN n INTEGER DEFAULT 7");
    ok(&mut local, "UPDATE t SET n = 99");
    slow.run(&mut local, |_| false, &mut held);
    assert_eq!(slow.asking.finished().unwrap().unwrap().affected, 1);
    assert_eq!(shown(&mut local, "SELECT w, n FROM t ORDER BY k"), ["late 99", "b 99"]);
}

#[test]
fn of_two_that_alter_at_once_both_take_effect() {
    let mut local = table(1);
    let (mut slow, mut held) = (Slow::new("ALTER TABLE t ADD COLUMN x INTEGER DEFAULT 1"), None);
    slow.run(&mut local, writes_catalog, &mut held);
    ok(&mut local, "ALTER TABLE t ADD COLUMN y INTEGER DEFAULT 2");
    slow.run(&mut local, |_| false, &mut held);
    slow.asking.finished().unwrap().unwrap();
    assert_eq!(shown(&mut local, "SELECT x, y FROM t WHERE k = 1"), ["1 2"]);
    // A rename that meets another change is planned again; nothing stands twice.
    let (mut slow, mut held) = (Slow::new("ALTER TABLE t RENAME TO u"), None);
    slow.run(&mut local, writes_catalog, &mut held);
    ok(&mut local, "ALTER TABLE t DROP y");
    slow.run(&mut local, |_| false, &mut held);
    slow.asking.finished().unwrap().unwrap();
    assert_eq!(shown(&mut local, "SELECT name, columns FROM pontoon_tables"), ["u 4"]);
    assert_eq!(shown(&mut local, "SELECT x FROM u WHERE k = 1"), ["1"]);
}

#[test]
fn a_null_written_while_null_becomes_refused_is_found() {
    let mut local = table(1);
    ok(&mut local, "UPDATE t SET v = 1");
    let (mut slow, mut held) = (Slow::new("ALTER TABLE t ALTER v SET NOT NULL"), None);
    slow.run(&mut local, writes_catalog, &mut held);
    ok(&mut local, "INSERT INTO t (k) VALUES (3)");
    slow.run(&mut local, |_| false, &mut held);
    assert_eq!(slow.asking.finished().unwrap().unwrap_err().code(), "not_null_violation");
    // The definition is as it was.
    ok(&mut local, "INSERT INTO t (k) VALUES (4)");
}

#[test]
fn views_show_what_their_query_gives() {
    let mut local = table(3);
    ok(&mut local, "CREATE VIEW big (id, label) AS SELECT k, w, v FROM t WHERE v > 5");
    assert_eq!(shown(&mut local, "SELECT * FROM big"), ["1 a 10"]);
    ok(&mut local, "INSERT INTO t VALUES (3, 30, 'c')");
    assert_eq!(
        shown(&mut local, "SELECT b.label, t.k FROM big b JOIN t ON t.k = b.id ORDER BY 2 DESC"),
        ["c 3", "a 1"]
    );
    // Views of views; what is below is only read.
    ok(&mut local, "CREATE VIEW labels AS SELECT count(*) AS n, max(label) AS last FROM big");
    assert_eq!(shown(&mut local, "SELECT n, last FROM labels WHERE n > 1"), ["2 c"]);
    ok(&mut local, "UPDATE t SET w = last FROM labels WHERE k = 1");
    assert_eq!(shown(&mut local, "SELECT w FROM t WHERE k = 1"), ["c"]);
    ok(&mut local, "INSERT INTO t SELECT id + 100, 0, label FROM big");
    let columns = "SELECT name, type FROM pontoon_columns WHERE table_name = 'big' ORDER BY position";
    assert_eq!(shown(&mut local, columns), ["id integer", "label text", "v integer"]);
    // The same again has no effect, another is an error unless it replaces.
    ok(&mut local, "CREATE VIEW big (id, label) AS SELECT k, w, v FROM t WHERE v > 5");
    assert_eq!(code(&mut local, "CREATE VIEW big AS SELECT k FROM t"), "duplicate_table");
    ok(&mut local, "CREATE VIEW IF NOT EXISTS big AS SELECT k FROM t");
    ok(&mut local, "CREATE OR REPLACE VIEW big AS SELECT k AS id, 'x' AS label FROM t WHERE k = 2");
    assert_eq!(shown(&mut local, "SELECT * FROM labels"), ["1 x"]);
    ok(&mut local, "DROP VIEW big");
    assert_eq!(code(&mut local, "SELECT * FROM labels"), "undefined_table");
    assert_eq!(code(&mut local, "DROP VIEW big"), "undefined_table");
    ok(&mut local, "DROP VIEW IF EXISTS big");
}

#[test]
fn views_are_no_tables() {
    let mut local = table(1);
    ok(&mut local, "CREATE VIEW s AS SELECT * FROM t");
    for sql in [
        "INSERT INTO s VALUES (1, 2, 'x')",
        "UPDATE s SET v = 1",
        "DELETE FROM s",
        "TRUNCATE s",
        "ALTER TABLE s ADD COLUMN x INT",
        "DROP TABLE s",
        "DROP VIEW t",
        "CREATE OR REPLACE VIEW t AS SELECT 1 AS one",
    ] {
        assert_eq!(code(&mut local, sql), "wrong_object_type", "{sql}");
    }
    assert_eq!(code(&mut local, "CREATE TABLE s (a INT)"), "duplicate_table");
    assert_eq!(code(&mut local, "CREATE VIEW x AS SELECT $1"), "undefined_parameter");
    assert_eq!(code(&mut local, "CREATE VIEW x AS SELECT k, v AS k FROM t"), "duplicate_column");
    assert_eq!(code(&mut local, "CREATE VIEW x (a, b) AS SELECT k FROM t"), "column_count_mismatch");
    assert_eq!(code(&mut local, "CREATE VIEW x AS SELECT * FROM nowhere"), "undefined_table");
    assert_eq!(code(&mut local, "CREATE TEMP VIEW x AS SELECT * FROM t"), "feature_not_supported");
    // What the table gains is not shown; what it loses is missed.
    ok(&mut local, "ALTER TABLE t ADD COLUMN x INT DEFAULT 1");
    assert_eq!(shown(&mut local, "SELECT * FROM s WHERE k = 1"), ["1 10 a"]);
    ok(&mut local, "ALTER TABLE t DROP COLUMN v");
    assert_eq!(code(&mut local, "SELECT * FROM s"), "undefined_column");
}

#[test]
fn views_do_not_go_round() {
    let mut local = table(1);
    ok(&mut local, "CREATE VIEW a AS SELECT k FROM t");
    ok(&mut local, "CREATE VIEW b AS SELECT k FROM a");
    assert_eq!(code(&mut local, "CREATE OR REPLACE VIEW a AS SELECT k FROM b"), "invalid_table_definition");
    // Two at once may make a circle all the same; then asking is an error.
    let (mut slow, mut held) = (Slow::new("CREATE OR REPLACE VIEW b AS SELECT k FROM a"), None);
    slow.run(&mut local, writes_catalog, &mut held);
    ok(&mut local, "CREATE OR REPLACE VIEW b AS SELECT k FROM t");
    ok(&mut local, "CREATE OR REPLACE VIEW a AS SELECT k FROM b");
    slow.run(&mut local, |_| false, &mut held);
    slow.asking.finished().unwrap().unwrap();
    assert_eq!(code(&mut local, "SELECT * FROM a"), "statement_too_complex");
    ok(&mut local, "DROP VIEW b");
    // Deep, but not too deep.
    ok(&mut local, "CREATE OR REPLACE VIEW v0 AS SELECT k FROM t");
    for level in 1..8 {
        ok(&mut local, &format!("CREATE VIEW v{level} AS SELECT k FROM v{}", level - 1));
    }
    assert_eq!(shown(&mut local, "SELECT count(*) FROM v7"), ["2"]);
    assert_eq!(code(&mut local, "CREATE VIEW v8 AS SELECT k FROM v7"), "statement_too_complex");
}

#[test]
fn truncate_leaves_the_table_and_none_of_its_rows() {
    let mut local = table(3);
    let definitions = local.total() - 2;
    ok(&mut local, "TRUNCATE TABLE t");
    assert_eq!((rows(&mut local, "SELECT * FROM t").len(), local.total()), (0, definitions));
    ok(&mut local, "INSERT INTO t (k) VALUES (1)");
    assert_eq!(code(&mut local, "TRUNCATE nowhere"), "undefined_table");
    // What was planned before and writes after is gone with the rows that were there.
    late(&mut local, "INSERT INTO t VALUES (9, 9, 'x')", &["TRUNCATE t"]).unwrap();
    assert!(rows(&mut local, "SELECT * FROM t").is_empty());
}

#[test]
fn a_table_is_made_of_a_query() {
    for parts in [1, 4] {
        let mut local = table(parts);
        let result = ok(&mut local, "CREATE TABLE u AS SELECT k AS key, v * 2 AS twice, NULL AS none FROM t");
        assert_eq!(result.affected, 2);
        assert_eq!(shown(&mut local, "SELECT key, twice, none FROM u ORDER BY key"), ["1 20 NULL", "2 NULL NULL"]);
        assert_eq!(code(&mut local, "CREATE TABLE u AS SELECT k FROM t"), "duplicate_table");
        assert_eq!(ok(&mut local, "CREATE TABLE IF NOT EXISTS u AS SELECT k FROM t").affected, 0);
        // Without its rows there is no table.
        assert_eq!(code(&mut local, "CREATE TABLE z AS SELECT 1 / (v - 10) AS x FROM t"), "division_by_zero");
        assert_eq!(code(&mut local, "CREATE TABLE z AS SELECT k, v AS k FROM t"), "duplicate_column");
        assert_eq!(code(&mut local, "SELECT * FROM z"), "undefined_table");
    }
}

const SEEDS: &[&str] = &[
    "CREATE TABLE u (a INT PRIMARY KEY CHECK (a > 0), b TEXT DEFAULT upper('x'), CONSTRAINT c CHECK (b <> 'y' OR a < 9))",
    "ALTER TABLE t ADD COLUMN n INT NOT NULL DEFAULT 1 + 2 CHECK (n < 9), DROP COLUMN w, ALTER v SET DEFAULT 3",
    "ALTER TABLE t RENAME COLUMN v TO x",
    "CREATE OR REPLACE VIEW s (a, b) AS SELECT k, v FROM t WHERE v > 1",
    "INSERT INTO t AS x (k, v) VALUES (1, 2), (5, NULL) ON CONFLICT (k) DO UPDATE SET v = x.v + excluded.v RETURNING *",
    "UPDATE t SET v = s.b, k = k + 1 FROM s WHERE s.a = t.k RETURNING t.k, s.*",
    "DELETE FROM t USING s WHERE s.a = t.k OR t.v IS NULL",
    "CREATE TABLE z AS SELECT a, b FROM s",
];

/// A network with a table of an altered definition and a view.
fn altered() -> Local {
    let mut local = table(3);
    for sql in [
        "ALTER TABLE t ADD COLUMN n INTEGER DEFAULT 7 CHECK (n > 0)",
        "ALTER TABLE t DROP COLUMN w",
        "CREATE VIEW s AS SELECT k AS a, v AS b FROM t",
    ] {
        ok(&mut local, sql);
    }
    local
}

proptest! {
    #[test]
    fn hostile_trees_run_without_a_panic(
        seed in prop::sample::select(SEEDS),
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut local = altered();
        let mut bytes = postcard::to_allocvec(&pontoon_parser::parse_one(seed).unwrap()).unwrap();
        noise.iter().for_each(|(at, byte)| *at.get_mut(&mut bytes) = *byte);
        if let Ok(statement) = postcard::from_bytes::<Statement>(&bytes) {
            let _ = local.execute(statement.clone(), vec![Value::Integer(1)]);
            let _ = local.execute(Statement::Explain(Nested::new(statement)), vec![Value::Integer(1)]);
        }
    }

    #[test]
    fn hostile_catalog_entries_are_errors(
        name in prop::sample::select(&["t", "s"][..]),
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut local = altered();
        let entry = |action| {
            let (namespace, key) = ("pontoon.tables".to_owned(), name.as_bytes().to_vec());
            KeyOp { namespace, locality_bits: 0, key, action, proof: None }
        };
        let Outcome::Found { mut value, .. } = local.apply(&entry(Action::Get)) else { panic!("no entry") };
        noise.iter().for_each(|(at, byte)| *at.get_mut(&mut value) = *byte);
        local.apply(&entry(Action::Put { value, expect: Expect::Any, ttl_us: None }));
        for sql in SEEDS.iter().copied().chain(["SELECT * FROM s", "SELECT * FROM t WHERE n > 1", "DROP VIEW s", "DROP TABLE t"]) {
            let _ = run(&mut local, sql);
        }
    }
}
