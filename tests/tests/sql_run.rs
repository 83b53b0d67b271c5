//! A statement whose swarm is not ideal: parts missing, owners out of reach, rows changed by somebody else meanwhile.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

use pontoon_core::{
    Error, Id, Now,
    data::{Cost, QueryResult, Value},
    exec::{Env, GatherEnd, Need, Run, local::Local},
    store::{Action, KeyOp, Outcome},
};

fn execute(local: &mut Local, sql: &str) -> QueryResult {
    local.execute(pontoon_parser::parse_one(sql).unwrap(), Vec::new()).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn numbers(local: &mut Local, sql: &str) -> Vec<i64> {
    let number = |row: &Vec<Value>| if let Value::Integer(number) = row[0] { number } else { panic!("{row:?}") };
    execute(local, sql).rows.iter().map(number).collect()
}

/// Runs a statement; `before` sees the records before each operation and may fail it.
fn run(
    local: &mut Local,
    sql: &str,
    coverage: f64,
    before: &mut dyn FnMut(&mut Local, &KeyOp) -> Option<Outcome>,
) -> Result<QueryResult, Error> {
    let env = Env { now: Now { mono: 0, wall: 0 }, random: 77, me: Id::ZERO, locality_bits: 0 };
    let mut run = Run::new(pontoon_parser::parse_one(sql)?, Vec::new(), env);
    for _ in 0..1_000 {
        while let Some(need) = run.poll() {
            match need {
                Need::Ops { need, ops } => {
                    let one = |op| before(local, op).unwrap_or_else(|| local.apply(op));
                    let outcomes = ops.iter().map(one).collect();
                    // Answers to what was never asked are of no effect.
                    run.on_ops(need + 1_000, vec![Outcome::Unreachable], Cost::default());
                    run.on_ops(need, outcomes, Cost { messages: 2, bytes: 30, peers: 3, elapsed_us: 0 });
                }
                Need::Gather { need, fragment } => {
                    run.on_batch(need, local.gather(&fragment).unwrap());
                    let end =
                        GatherEnd { coverage, assumed_lost: true, peers: 5, messages: 9, bytes: 100, error: None };
                    run.on_gathered(need, end.clone());
                    run.on_gathered(need, end);
                }
            }
        }
        if let Some(result) = run.finished() {
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
        assert_eq!(result.unwrap_err(), Error::Unreachable, "{sql}");
        assert_eq!(numbers(&mut local, "SELECT k * 1000 + v FROM t ORDER BY 1"), before, "{sql}");
    }
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
