//! A statement whose swarm is not ideal: parts missing, owners out of reach, rows changed by somebody else meanwhile.

use pontoon_core::{
    Error, Id,
    data::{Cost, QueryResult, Value},
    exec::{Env, GatherEnd, Need, local::Local},
    sql::asking::{Asking, Definitions},
    store::{Action, KeyOp, Outcome},
};

fn execute(local: &mut Local, sql: &str) -> QueryResult {
    local.execute(pontoon_parser::parse_one(sql).unwrap(), Vec::new()).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn numbers(local: &mut Local, sql: &str) -> Vec<i64> {
    let number = |row: &Vec<Value>| if let Value::Integer(number) = row[0] { number } else { panic!("{row:?}") };
    execute(local, sql).rows.iter().map(number).collect()
}

/// Sees the records before each operation and may fail it.
type Before<'a> = &'a mut dyn FnMut(&mut Local, &KeyOp) -> Option<Outcome>;

/// Runs a statement.
fn run(local: &mut Local, sql: &str, coverage: f64, before: Before<'_>) -> Result<QueryResult, Error> {
    run_with(local, &mut Definitions::default(), sql, coverage, before)
}

/// Runs a statement of an asker that remembers definitions.
fn run_with(
    local: &mut Local,
    definitions: &mut Definitions,
    sql: &str,
    coverage: f64,
    before: Before<'_>,
) -> Result<QueryResult, Error> {
    let env = Env { now_us: 0, random: 77, me: Id::ZERO, user: None, locality_bits: 0 };
    let mut asking = Asking::new(pontoon_parser::parse_one(sql)?, Vec::new(), env, definitions);
    for _ in 0..1_000 {
        while let Some(need) = asking.poll() {
            match need {
                Need::Ops { need, ops } => {
                    let one = |op| before(local, op).unwrap_or_else(|| local.apply(op));
                    let outcomes = ops.iter().map(one).collect();
                    // Answers to what was never asked are of no effect.
                    asking.on_ops(definitions, need + 1_000, vec![Outcome::Unreachable], Cost::default());
                    asking.on_ops(
                        definitions,
                        need,
                        outcomes,
                        Cost { messages: 2, bytes: 30, peers: 3, elapsed_us: 0 },
                    );
                }
                Need::Join { .. } | Need::Agree { .. } => {
                    unreachable!("peers are asked for joins only where that is chosen")
                }
                Need::Gather { need, fragment } => {
                    let partial = local.gather(&fragment).unwrap();
                    let end = GatherEnd {
                        coverage,
                        assumed_lost: true,
                        peers: 5,
                        messages: 9,
                        bytes: 100,
                        ..GatherEnd::default()
                    };
                    asking.on_gathered(definitions, need, partial.clone(), end.clone());
                    asking.on_gathered(definitions, need, partial, end);
                }
            }
        }
        if let Some(result) = asking.finished() {
            return result;
        }
    }
    panic!("{sql} does not end");
}

fn table(rows: usize) -> Local {
    let mut local = Local::new();
    execute(&mut local, "CREATE TABLE t (k INTEGER PRIMARY KEY, v INTEGER)");
    let values: Vec<String> = (0..rows).map(|key| format!("({key}, {})", key * 10)).collect();
    if rows > 0 {
        execute(&mut local, &format!("INSERT INTO t VALUES {}", values.join(", ")));
    }
    local
}

#[test]
fn a_result_says_what_it_covers_and_what_it_cost() {
    let mut local = table(3);
    let result = run(&mut local, "SELECT k FROM t", 0.75, &mut |_, _| None).unwrap();
    assert_eq!((result.rows.len(), result.coverage, result.assumed_lost), (3, 0.75, true));
    assert_eq!(result.cost, Cost { messages: 11, bytes: 130, peers: 5, elapsed_us: 0 });
}

#[test]
fn what_is_not_there_is_not_claimed_of_a_part_out_of_sight() {
    let mut local = table(3);
    for sql in [
        "SELECT k FROM t WHERE NOT EXISTS (SELECT 1 FROM t AS s WHERE s.v = t.k)",
        "SELECT k FROM t WHERE k NOT IN (SELECT v FROM t)",
        "SELECT 7 EXCEPT SELECT v FROM t",
        "SELECT count(*) FROM (VALUES (7)) AS x (k) FULL JOIN t ON x.k = t.v",
        "WITH RECURSIVE r AS (SELECT 0 AS n UNION SELECT t.k FROM r JOIN t ON t.v = r.n) SELECT * FROM r",
    ] {
        assert_eq!(run(&mut local, sql, 0.5, &mut |_, _| None).unwrap().coverage, 0.5, "{sql}");
    }
}

#[test]
fn a_source_that_is_read_twice_is_gathered_once() {
    let mut local = table(3);
    let result = run(
        &mut local,
        "WITH a AS (SELECT v FROM t) SELECT * FROM a AS x JOIN a AS y ON x.v < y.v",
        1.0,
        &mut |_, _| None,
    );
    // Nine messages for a gather, two for the catalog.
    assert_eq!(result.unwrap().cost.messages, 9 + 2);
    let sql = "SELECT k, (SELECT count(*) FROM (VALUES (1), (15)) AS x (n) WHERE x.n < t.v) FROM t";
    let result = run(&mut local, sql, 1.0, &mut |_, _| None).unwrap();
    assert_eq!((result.rows.len(), result.cost.messages), (3, 9 + 2));
}

#[test]
fn nothing_is_changed_where_a_part_is_out_of_sight() {
    let mut local = table(3);
    for sql in ["UPDATE t SET v = 0", "DELETE FROM t", "INSERT INTO t SELECT k + 9, v FROM t"] {
        assert_eq!(run(&mut local, sql, 0.999, &mut |_, _| None).unwrap_err().code(), "incomplete_coverage", "{sql}");
    }
    assert_eq!(numbers(&mut local, "SELECT sum(v) FROM t"), [30]);
    assert_eq!(numbers(&mut local, "SELECT count(*) FROM t"), [3]);
}

/// What `before` does once, at the first write.
fn at_first_write(meanwhile: &'static str) -> impl FnMut(&mut Local, &KeyOp) -> Option<Outcome> {
    let mut done = false;
    move |local, op| {
        if !done && !matches!(op.action, Action::Get) {
            done = true;
            execute(local, meanwhile);
        }
        None
    }
}

#[test]
fn a_row_changed_meanwhile_is_computed_again() {
    for find in ["k = 1", "v = 10"] {
        let mut local = table(3);
        let update = format!("UPDATE t SET v = v + 1 WHERE {find} OR v = 15 AND k > 0");
        let result = run(&mut local, &update, 1.0, &mut at_first_write("UPDATE t SET v = v + 5 WHERE k = 1")).unwrap();
        assert_eq!((result.affected, numbers(&mut local, "SELECT v FROM t WHERE k = 1")), (1, vec![16]));
    }
}

#[test]
fn a_row_that_no_longer_matches_is_left_alone() {
    let mut local = table(3);
    let mut meanwhile = at_first_write("UPDATE t SET v = 99 WHERE k = 1");
    let result = run(&mut local, "DELETE FROM t WHERE v = 10", 1.0, &mut meanwhile).unwrap();
    assert_eq!((result.affected, numbers(&mut local, "SELECT v FROM t WHERE k = 1")), (0, vec![99]));
    let mut meanwhile = at_first_write("DELETE FROM t WHERE k = 2");
    assert_eq!(run(&mut local, "UPDATE t SET v = 1 WHERE k = 2", 1.0, &mut meanwhile).unwrap().affected, 0);
}

#[test]
fn what_was_written_is_taken_back_when_an_owner_is_out_of_reach() {
    for sql in [
        "INSERT INTO t VALUES (10, 1), (11, 2), (12, 3)",
        "UPDATE t SET v = v * 2",
        "UPDATE t SET k = k + 100",
        "DELETE FROM t",
    ] {
        let mut local = table(4);
        let before: Vec<i64> = numbers(&mut local, "SELECT k * 1000 + v FROM t ORDER BY 1");
        let mut writes = 0;
        let result = run(&mut local, sql, 1.0, &mut |_, op| {
            writes += usize::from(!matches!(op.action, Action::Get));
            (writes == 3).then_some(Outcome::Unreachable)
        });
        assert_eq!(result.unwrap_err().code(), "unreachable", "{sql}");
        assert_eq!(numbers(&mut local, "SELECT k * 1000 + v FROM t ORDER BY 1"), before, "{sql}");
    }
}

#[test]
fn on_conflict_never_loses_what_somebody_else_wrote() {
    let upsert = "INSERT INTO t VALUES (1, 7) ON CONFLICT (k) DO UPDATE SET v = t.v + excluded.v RETURNING v";
    // Inserted, changed and removed by somebody else just before the write.
    for (rows, meanwhile, expected) in [
        (0, "INSERT INTO t VALUES (1, 100)", 107),
        (2, "UPDATE t SET v = 100 WHERE k = 1", 107),
        (2, "DELETE FROM t WHERE k = 1", 7),
    ] {
        for nth in 1..=2 {
            let (mut local, mut writes) = (table(rows), 0);
            let result = run(&mut local, upsert, 1.0, &mut |local, op| {
                writes += usize::from(!matches!(op.action, Action::Get));
                if writes == nth && !matches!(op.action, Action::Get) {
                    execute(local, meanwhile);
                }
                None
            });
            let result = result.unwrap();
            let now = numbers(&mut local, "SELECT v FROM t WHERE k = 1");
            if nth == 1 || rows > 0 {
                assert_eq!(now, [expected], "{meanwhile} before write {nth}");
            }
            assert_eq!((result.affected, result.rows), (1, vec![vec![Value::Integer(now[0])]]), "{meanwhile}");
        }
    }
    let mut local = table(0);
    let nothing = "INSERT INTO t VALUES (1, 7) ON CONFLICT DO NOTHING";
    let result = run(&mut local, nothing, 1.0, &mut at_first_write("INSERT INTO t VALUES (1, 100)")).unwrap();
    assert_eq!((result.affected, numbers(&mut local, "SELECT v FROM t")), (0, vec![100]));
}

#[test]
fn two_that_count_at_once_both_count() {
    // Two statements under way at once, one need of each in turn, over the same records.
    let mut local = table(0);
    let mut definitions = Definitions::default();
    let count = "INSERT INTO t VALUES (1, 1) ON CONFLICT (k) DO UPDATE SET v = t.v + 1";
    let ask = |definitions: &mut Definitions, random| {
        let env = Env { now_us: 0, random, me: Id::ZERO, user: None, locality_bits: 0 };
        Asking::new(pontoon_parser::parse_one(count).unwrap(), Vec::new(), env, definitions)
    };
    let mut asks: Vec<Asking> = (0..5).map(|random| ask(&mut definitions, random)).collect();
    let mut over = 0;
    while over < 5 {
        for asking in &mut asks {
            if let Some(Need::Ops { need, ops }) = asking.poll() {
                let outcomes = ops.iter().map(|op| local.apply(op)).collect();
                asking.on_ops(&mut definitions, need, outcomes, Cost::default());
            }
            over += asking.finished().map_or(0, |result| result.unwrap().affected);
        }
    }
    assert_eq!(numbers(&mut local, "SELECT v FROM t"), [5]);
}

#[test]
fn with_a_subquery_a_row_that_was_changed_meanwhile_has_the_statement_begin_anew() {
    let (mut local, mut writes) = (table(4), 0);
    let update = "UPDATE t SET v = v + (SELECT max(v) FROM t) WHERE k IN (SELECT k FROM t WHERE v > 0)";
    let result = run(&mut local, update, 1.0, &mut |local, op| {
        writes += usize::from(!matches!(op.action, Action::Get));
        // One of its rows is written already, the next one is changed by somebody else.
        if writes == 2 {
            execute(local, "UPDATE t SET v = 100 WHERE k = 2");
        }
        None
    });
    assert_eq!(result.unwrap().affected, 3);
    // As if it had come after the other one, and once.
    assert_eq!(numbers(&mut local, "SELECT v FROM t ORDER BY k"), [0, 110, 200, 130]);
}

#[test]
fn a_row_that_is_changed_while_it_moves_moves_as_it_is_now() {
    let (mut local, mut writes) = (table(2), 0);
    let result = run(&mut local, "UPDATE t SET k = k + 10, v = v + 1 WHERE k = 1", 1.0, &mut |local, op| {
        writes += usize::from(!matches!(op.action, Action::Get));
        // The copy is there, the row itself not gone yet.
        if writes == 2 {
            execute(local, "UPDATE t SET v = 500 WHERE k = 1");
        }
        None
    });
    assert_eq!(result.unwrap().affected, 1);
    assert_eq!(numbers(&mut local, "SELECT k * 1000 + v FROM t ORDER BY k"), [0, 11_501]);
    let (mut local, mut writes) = (table(2), 0);
    let result = run(&mut local, "UPDATE t SET k = k + 10 WHERE v = 10", 1.0, &mut |local, op| {
        writes += usize::from(!matches!(op.action, Action::Get));
        if writes == 2 {
            execute(local, "UPDATE t SET v = 500 WHERE k = 1");
        }
        None
    });
    assert_eq!(result.unwrap().affected, 0);
    assert_eq!(numbers(&mut local, "SELECT k * 1000 + v FROM t ORDER BY k"), [0, 1_500]);
}

#[test]
fn a_changed_row_meets_the_other_tables_again() {
    let mut local = table(3);
    execute(&mut local, "CREATE TABLE u (v INTEGER, w INTEGER)");
    execute(&mut local, "INSERT INTO u VALUES (10, 1), (99, 2)");
    let update = "UPDATE t SET v = w FROM u WHERE u.v = t.v";
    let mut meanwhile = at_first_write("UPDATE t SET v = 99 WHERE k = 1");
    assert_eq!(run(&mut local, update, 1.0, &mut meanwhile).unwrap().affected, 1);
    assert_eq!(numbers(&mut local, "SELECT v FROM t ORDER BY k"), [0, 2, 20]);
    execute(&mut local, "UPDATE t SET v = 10 WHERE k = 1");
    let mut meanwhile = at_first_write("UPDATE t SET v = 11 WHERE k = 1");
    assert_eq!(run(&mut local, "DELETE FROM t USING u WHERE u.v = t.v", 1.0, &mut meanwhile).unwrap().affected, 0);
    for sql in ["UPDATE t SET v = w FROM u WHERE u.v = t.v", "DELETE FROM t USING u"] {
        assert_eq!(run(&mut local, sql, 0.5, &mut |_, _| None).unwrap_err().code(), "incomplete_coverage", "{sql}");
    }
}

#[test]
fn an_error_says_which_rows_stand() {
    let (mut local, mut writes) = (table(0), 0);
    let result = run(&mut local, "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)", 1.0, &mut |_, op| {
        writes += usize::from(!matches!(op.action, Action::Get));
        // The third write fails, and of the two that are taken back the row with key 2.
        let lost = writes == 3 || matches!(op.action, Action::Remove { .. }) && op.key.ends_with(&[2]);
        lost.then_some(Outcome::Unreachable)
    });
    let error = result.unwrap_err();
    assert_eq!(error.code(), "unreachable");
    let expected = "no peer that may answer was reached in time; 1 row(s) of \"t\" may be written: (3); \
        1 row(s) of \"t\" could not be taken back and stand: (2)";
    assert_eq!(error.to_string(), expected);
    assert_eq!(numbers(&mut local, "SELECT k FROM t"), [2]);
}

#[test]
fn a_catalog_or_key_out_of_reach_is_an_error_not_an_empty_result() {
    let mut local = table(3);
    let mut all = |_: &mut Local, _: &KeyOp| Some(Outcome::Unreachable);
    for sql in ["SELECT k FROM t", "CREATE TABLE u (a INTEGER)", "DROP TABLE IF EXISTS t"] {
        assert_eq!(run(&mut local, sql, 1.0, &mut all).unwrap_err(), Error::Unreachable, "{sql}");
    }
    let mut rows = |_: &mut Local, op: &KeyOp| (op.namespace != "pontoon.tables").then_some(Outcome::Unreachable);
    assert_eq!(run(&mut local, "SELECT v FROM t WHERE k = 1", 1.0, &mut rows).unwrap_err(), Error::Unreachable);
}

#[test]
fn of_two_that_define_a_table_at_once_one_wins_and_both_use_it() {
    let mut local = Local::new();
    let mut race = at_first_write("CREATE TABLE t (k INTEGER PRIMARY KEY, v INTEGER)");
    run(&mut local, "CREATE TABLE t (k INTEGER PRIMARY KEY, v INTEGER)", 1.0, &mut race).unwrap();
    execute(&mut local, "INSERT INTO t VALUES (1, 2)");
    let mut local = Local::new();
    let mut race = at_first_write("CREATE TABLE t (k TEXT)");
    let lost = run(&mut local, "CREATE TABLE t (k INTEGER)", 1.0, &mut race);
    assert_eq!(lost.unwrap_err().code(), "duplicate_table");
}

#[test]
fn a_table_that_is_another_by_now_is_planned_again() {
    let seven = "INSERT INTO t VALUES ('old', 7)";
    for (sql, then) in [
        ("SELECT k, v FROM t", vec!["1 5"]),
        ("SELECT * FROM t WHERE k = 1", vec!["1 5"]),
        ("INSERT INTO t (k, v) VALUES (9, 9)", vec!["1 5", "9 9"]),
        ("INSERT INTO t (k, v) SELECT k + 8, v FROM t", vec!["1 5", "9 5"]),
        ("UPDATE t SET v = 0", vec!["1 0"]),
        ("DELETE FROM t WHERE k = 1", vec![]),
        ("EXPLAIN SELECT v FROM t", vec!["1 5"]),
    ] {
        let mut local = Local::new();
        let mut definitions = Definitions::default();
        execute(&mut local, "CREATE TABLE t (v TEXT, k INTEGER)");
        run_with(&mut local, &mut definitions, seven, 1.0, &mut |_, _| None).unwrap();
        execute(&mut local, "DROP TABLE t");
        execute(&mut local, "CREATE TABLE t (k INTEGER PRIMARY KEY, v INTEGER)");
        execute(&mut local, "INSERT INTO t VALUES (1, 5)");
        let result = run_with(&mut local, &mut definitions, sql, 1.0, &mut |_, _| None).unwrap();
        let mut rows = execute(&mut local, "SELECT k || ' ' || v FROM t ORDER BY k").rows;
        if !result.columns.is_empty() && !sql.starts_with("EXPLAIN") {
            assert_eq!(result.rows, [[Value::Integer(1), Value::Integer(5)]], "{sql}");
        }
        let rows: Vec<String> = rows.iter_mut().map(|row| row.remove(0).to_string()).collect();
        assert_eq!(rows, then, "{sql}");
    }
}

#[test]
fn a_column_that_the_remembered_definition_lacks_is_found() {
    let (mut local, mut definitions) = (table(1), Definitions::default());
    run_with(&mut local, &mut definitions, "SELECT * FROM t", 1.0, &mut |_, _| None).unwrap();
    execute(&mut local, "DROP TABLE t");
    execute(&mut local, "CREATE TABLE t (w TEXT)");
    let result = run_with(&mut local, &mut definitions, "SELECT w FROM t", 1.0, &mut |_, _| None).unwrap();
    assert_eq!((result.columns[0].name.as_str(), result.rows.len()), ("w", 0));
    let missing = run_with(&mut local, &mut definitions, "SELECT k FROM t", 1.0, &mut |_, _| None);
    assert_eq!(missing.unwrap_err().code(), "undefined_column");
}

#[test]
fn a_table_that_never_stays_the_same_is_an_error() {
    let mut local = table(1);
    let mut writes = 0;
    let result = run(&mut local, "UPDATE t SET v = 1", 1.0, &mut |local, op| {
        writes += usize::from(!matches!(op.action, Action::Get));
        execute(local, "DROP TABLE t");
        execute(local, "CREATE TABLE t (k INTEGER PRIMARY KEY, v INTEGER)");
        None
    });
    assert_eq!((result.unwrap_err().code(), writes), ("serialization_failure", 0));
}

#[test]
fn a_remembered_definition_is_asked_for_once() {
    let (mut local, mut definitions) = (table(3), Definitions::default());
    let mut asked = Vec::new();
    for _ in 0..2 {
        let mut gets = 0;
        let mut count = |_: &mut Local, _: &KeyOp| {
            gets += 1;
            None
        };
        run_with(&mut local, &mut definitions, "SELECT v FROM t", 1.0, &mut count).unwrap();
        asked.push(gets);
    }
    // To plan and to see that it still holds; then only the latter.
    assert_eq!(asked, [2, 1]);
}

#[test]
fn statistics_are_asked_for_where_a_plan_depends_on_them() {
    let mut local = table(10);
    execute(&mut local, "CREATE TABLE u (k INTEGER PRIMARY KEY)");
    let mut definitions = Definitions::default();
    let mut asked = |sql: &str| {
        let mut tables = Vec::new();
        let mut see = |_: &mut Local, op: &KeyOp| {
            if op.namespace == "pontoon.statistics" {
                tables.push(String::from_utf8(op.key.clone()).unwrap());
            }
            // Nobody who has them can be reached.
            (op.namespace == "pontoon.statistics").then_some(Outcome::Unreachable)
        };
        run_with(&mut local, &mut definitions, sql, 1.0, &mut see).unwrap_or_else(|error| panic!("{sql}: {error}"));
        tables
    };
    let nobody = Vec::<String>::new();
    assert_eq!(asked("SELECT v FROM t WHERE k = 1"), nobody);
    assert_eq!(asked("INSERT INTO u VALUES (1)"), nobody);
    assert_eq!(asked("SELECT count(*) FROM t WHERE v < 20"), nobody);
    assert_eq!(asked("SELECT count(*) FROM t a JOIN t b ON a.k = b.v"), ["t"]);
    assert_eq!(asked("SELECT v FROM t JOIN u ON u.k = t.k"), ["u"], "what was said of t is remembered");
    assert_eq!(asked("EXPLAIN SELECT v FROM t JOIN u ON u.k = t.k"), nobody);
}

#[test]
fn a_table_that_is_not_seen_whole_is_not_analyzed() {
    let mut local = table(10);
    let written = |local: &mut Local| execute(local, "SELECT * FROM pontoon_statistics").rows.len();
    let error = run(&mut local, "ANALYZE t", 0.99, &mut |_, _| None).unwrap_err();
    assert_eq!((error.code(), written(&mut local)), ("incomplete_coverage", 0));
    let mut refuse = |_: &mut Local, op: &KeyOp| {
        (op.namespace == "pontoon.statistics" && op.action != Action::Get).then_some(Outcome::Unreachable)
    };
    assert_eq!(run(&mut local, "ANALYZE", 1.0, &mut refuse).unwrap_err().code(), "unreachable");
    run(&mut local, "ANALYZE", 1.0, &mut |_, _| None).unwrap();
    assert_eq!(written(&mut local), 2);
}

#[test]
fn who_reads_a_table_whole_knows_how_many_rows_it_has() {
    let mut local = table(30);
    let mut definitions = Definitions::default();
    let mut shown = |local: &mut Local, first: &str, coverage| {
        run_with(local, &mut definitions, first, coverage, &mut |_, _| None).unwrap();
        let explained = run_with(local, &mut definitions, "EXPLAIN SELECT * FROM t", 1.0, &mut |_, _| None).unwrap();
        explained.rows[0][0].to_string().split_once(" (").map(|(_, measured)| measured.to_owned())
    };
    assert_eq!(shown(&mut local, "SELECT v FROM t LIMIT 3", 1.0), None, "it may have stopped before the end");
    assert_eq!(shown(&mut local, "SELECT sum(v) FROM t", 0.5), None);
    assert_eq!(shown(&mut local, "SELECT sum(v) FROM t WHERE v < 50", 1.0).unwrap(), "rows≈30)");
    execute(&mut local, "INSERT INTO t VALUES (100, 1)");
    assert_eq!(shown(&mut local, "SELECT v FROM t", 1.0).unwrap(), "rows≈31)");
}
