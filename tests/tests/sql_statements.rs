//! Statements as a user meets them: definitions, violations, errors with stable codes, parameters, EXPLAIN.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

use pontoon_core::{
    Error,
    data::{QueryResult, Row, Value},
    exec::local::Local,
};

fn run(local: &mut Local, sql: &str) -> Result<QueryResult, Error> {
    with(local, sql, Vec::new())
}

fn with(local: &mut Local, sql: &str, params: Vec<Value>) -> Result<QueryResult, Error> {
    local.execute(pontoon_parser::parse_one(sql)?, params)
}

fn rows(local: &mut Local, sql: &str) -> Vec<Row> {
    run(local, sql).unwrap_or_else(|error| panic!("{sql}: {error}")).rows
}

fn code(local: &mut Local, sql: &str) -> &'static str {
    match run(local, sql) {
        Ok(result) => panic!("{sql}: no error, {result:?}"),
        Err(error) => error.code(),
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn bids() -> Local {
    let mut local = Local::new();
    local.wall_us = 1_700_000_000_000_000;
    run(&mut local, "CREATE TABLE bids (id TEXT PRIMARY KEY, item TEXT NOT NULL, amount REAL, at TIMESTAMP)").unwrap();
    run(
        &mut local,
        "INSERT INTO bids VALUES ('a', 'pen', 1.5, now()), ('b', 'pen', 2, NULL), ('c', 'ink', NULL, '2024-02-29')",
    )
    .unwrap();
    local
}

#[test]
fn the_same_definition_twice_has_no_effect_and_another_is_an_error() {
    let mut local = Local::new();
    let create = "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)";
    run(&mut local, create).unwrap();
    run(&mut local, "INSERT INTO t VALUES (1, 'x')").unwrap();
    run(&mut local, create).unwrap();
    assert_eq!(rows(&mut local, "SELECT * FROM t").len(), 1);
    assert_eq!(code(&mut local, "CREATE TABLE t (a INTEGER PRIMARY KEY)"), "duplicate_table");
    run(&mut local, "CREATE TABLE IF NOT EXISTS t (z BLOB)").unwrap();
    assert_eq!(rows(&mut local, "SELECT * FROM t").len(), 1);
}

#[test]
fn a_dropped_table_leaves_nothing_behind() {
    let mut local = bids();
    run(&mut local, "DROP TABLE bids").unwrap();
    assert_eq!(local.total(), 0);
    assert_eq!(code(&mut local, "SELECT * FROM bids"), "undefined_table");
    assert_eq!(code(&mut local, "DROP TABLE bids"), "undefined_table");
    run(&mut local, "DROP TABLE IF EXISTS bids").unwrap();
    run(&mut local, "CREATE TABLE bids (id TEXT PRIMARY KEY)").unwrap();
    assert!(rows(&mut local, "SELECT * FROM bids").is_empty());
}

#[test]
fn a_key_twice_takes_the_whole_statement_back() {
    let mut local = bids();
    assert_eq!(code(&mut local, "INSERT INTO bids (id, item) VALUES ('d', 'x'), ('a', 'x')"), "unique_violation");
    assert_eq!(code(&mut local, "INSERT INTO bids (id, item) VALUES ('d', 'x'), ('d', 'x')"), "unique_violation");
    assert_eq!(code(&mut local, "INSERT INTO bids (id, item) VALUES ('d', NULL)"), "not_null_violation");
    assert_eq!(rows(&mut local, "SELECT id FROM bids ORDER BY id").len(), 3);
    let many: Vec<String> = (0..2_500).map(|n| format!("('k{n}', 'x')")).collect();
    let insert = format!("INSERT INTO bids (id, item) VALUES {}, ('c', 'x')", many.join(", "));
    assert_eq!(code(&mut local, &insert), "unique_violation");
    assert_eq!(rows(&mut local, "SELECT count(*) FROM bids"), [vec![Value::Integer(3)]]);
}

#[test]
fn a_primary_key_moves_with_its_row() {
    let mut local = bids();
    assert_eq!(run(&mut local, "UPDATE bids SET id = id || '!' WHERE item = 'pen'").unwrap().affected, 2);
    let ids: Vec<Row> = rows(&mut local, "SELECT id FROM bids ORDER BY id");
    assert_eq!(ids, [vec![text("a!")], vec![text("b!")], vec![text("c")]]);
    assert_eq!(code(&mut local, "UPDATE bids SET id = 'c' WHERE id = 'a!'"), "unique_violation");
    assert_eq!(code(&mut local, "UPDATE bids SET item = NULL"), "not_null_violation");
    assert_eq!(rows(&mut local, "SELECT id FROM bids ORDER BY id"), ids);
}

#[test]
fn tables_without_a_key_take_equal_rows() {
    let mut local = Local::new();
    run(&mut local, "CREATE TABLE log (line TEXT)").unwrap();
    run(&mut local, "INSERT INTO log VALUES ('x'), ('x')").unwrap();
    run(&mut local, "INSERT INTO log VALUES ('x')").unwrap();
    assert_eq!(
        rows(&mut local, "SELECT count(*), count(DISTINCT line) FROM log"),
        [vec![Value::Integer(3), Value::Integer(1)]]
    );
    assert_eq!(run(&mut local, "DELETE FROM log WHERE line = 'x'").unwrap().affected, 3);
}

#[test]
fn parameters_take_the_type_that_their_surroundings_want() {
    let mut local = bids();
    let params = vec![text("pen"), Value::Integer(1)];
    let found = with(&mut local, "SELECT id FROM bids WHERE item = $1 AND amount > $2 ORDER BY id LIMIT $2", params);
    assert_eq!(found.unwrap().rows, [vec![text("a")]]);
    let at = with(&mut local, "SELECT id FROM bids WHERE at < $1", vec![text("2024-03-01")]).unwrap();
    assert_eq!(at.rows.len(), 2);
    with(
        &mut local,
        "INSERT INTO bids VALUES ($1, $2, $3, $4)",
        vec![text("p"), text("x"), Value::Integer(3), Value::Null],
    )
    .unwrap();
    assert_eq!(rows(&mut local, "SELECT amount FROM bids WHERE id = 'p'"), [vec![Value::Real(3.0)]]);
    assert_eq!(with(&mut local, "SELECT $2", vec![Value::Null]).unwrap_err().code(), "undefined_parameter");
}

#[test]
fn defaults_fill_what_is_left_out() {
    let mut local = Local::new();
    local.wall_us = 5;
    run(
        &mut local,
        "CREATE TABLE t (a INT PRIMARY KEY, b TEXT DEFAULT 'x', c TIMESTAMP DEFAULT now(), d INT DEFAULT -1)",
    )
    .unwrap();
    run(&mut local, "INSERT INTO t (a) VALUES (1)").unwrap();
    run(&mut local, "INSERT INTO t VALUES (2, DEFAULT, NULL)").unwrap();
    run(&mut local, "UPDATE t SET d = DEFAULT, b = 'y' WHERE a = 2").unwrap();
    let expected = [
        vec![Value::Integer(1), text("x"), Value::Timestamp(5), Value::Integer(-1)],
        vec![Value::Integer(2), text("y"), Value::Null, Value::Integer(-1)],
    ];
    assert_eq!(rows(&mut local, "SELECT * FROM t ORDER BY a"), expected);
}

#[test]
fn errors_have_stable_codes() {
    let mut local = bids();
    let cases = [
        ("SELEC 1", "syntax_error"),
        ("SELECT 1 +", "syntax_error"),
        ("SELECT * FROM nowhere", "undefined_table"),
        ("SELECT x.id FROM bids", "undefined_table"),
        ("SELECT nothing FROM bids", "undefined_column"),
        ("SELECT nofunction(id) FROM bids", "undefined_function"),
        ("SELECT id FROM bids a, bids b", "ambiguous_column"),
        ("SELECT 1 FROM bids, bids", "duplicate_alias"),
        ("SELECT id = 1 FROM bids WHERE id = amount", "datatype_mismatch"),
        ("SELECT -id FROM bids", "datatype_mismatch"),
        ("SELECT id FROM bids WHERE amount", "datatype_mismatch"),
        ("SELECT 1 / 0", "division_by_zero"),
        ("SELECT amount / 0 FROM bids", "division_by_zero"),
        ("SELECT 9223372036854775807 + 1", "numeric_value_out_of_range"),
        ("SELECT CAST('x' AS INTEGER)", "invalid_text_representation"),
        ("SELECT id FROM bids WHERE at = 'yesterday'", "invalid_text_representation"),
        ("SELECT item, amount FROM bids GROUP BY item", "grouping_error"),
        ("SELECT id FROM bids WHERE count(*) > 1", "grouping_error"),
        ("SELECT id FROM bids ORDER BY 2", "invalid_column_reference"),
        ("SELECT DISTINCT item FROM bids ORDER BY amount", "invalid_column_reference"),
        ("SELECT id FROM bids LIMIT -1", "invalid_parameter_value"),
        ("INSERT INTO bids VALUES ('x', 'y', 1, NULL, 5)", "column_count_mismatch"),
        ("INSERT INTO bids (id) VALUES ('x', 'y')", "column_count_mismatch"),
        ("INSERT INTO bids (id, nope) VALUES ('x', 'y')", "undefined_column"),
        ("INSERT INTO bids VALUES ('x', 'y', true)", "datatype_mismatch"),
        ("UPDATE bids SET amount = item", "datatype_mismatch"),
        ("CREATE TABLE t (a INT, a TEXT)", "duplicate_column"),
        ("CREATE TABLE t (a INT PRIMARY KEY, b INT PRIMARY KEY)", "invalid_table_definition"),
        ("CREATE TABLE t (a INT, PRIMARY KEY (b))", "undefined_column"),
        ("CREATE TABLE pontoon_x (a INT)", "invalid_table_definition"),
        ("DELETE FROM pontoon_tables", "feature_not_supported"),
        ("SELECT (SELECT id FROM bids)", "cardinality_violation"),
        ("SELECT (SELECT 1, 2)", "column_count_mismatch"),
        ("SELECT 1 UNION SELECT 2, 3", "column_count_mismatch"),
        ("SELECT 1 UNION SELECT 'x'", "datatype_mismatch"),
        ("SELECT item FROM bids GROUP BY item HAVING EXISTS (SELECT 1 WHERE amount > 1)", "grouping_error"),
        ("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT * FROM r", "program_limit_exceeded"),
        ("WITH RECURSIVE r AS (SELECT n FROM r UNION SELECT 1) SELECT * FROM r", "invalid_recursion"),
        ("WITH a AS (SELECT 1), a AS (SELECT 2) SELECT * FROM a", "duplicate_alias"),
        ("SELECT * FROM (VALUES (1, 2), (3)) AS v", "column_count_mismatch"),
        ("SELECT * FROM (SELECT 1) AS v (a, b)", "column_count_mismatch"),
        ("DELETE FROM bids WHERE id IN (SELECT id FROM bids)", "feature_not_supported"),
        ("SELECT 'a' IN ('b', 2)", "invalid_text_representation"),
        ("ALTER TABLE bids ADD COLUMN x INT", "feature_not_supported"),
    ];
    for (sql, expected) in cases {
        assert_eq!(code(&mut local, sql), expected, "{sql}");
    }
    assert_eq!(rows(&mut local, "SELECT count(*) FROM bids"), [vec![Value::Integer(3)]]);
}

#[test]
fn the_catalog_reads_as_tables() {
    let mut local = bids();
    run(&mut local, "CREATE TABLE pairs (a INT, b BOOLEAN, PRIMARY KEY (b, a))").unwrap();
    assert_eq!(
        rows(&mut local, "SELECT name, columns FROM pontoon_tables ORDER BY name"),
        [vec![text("bids"), Value::Integer(4)], vec![text("pairs"), Value::Integer(2)]]
    );
    assert_eq!(
        rows(
            &mut local,
            "SELECT name, type, not_null, key_position FROM pontoon_columns WHERE table_name = 'pairs' ORDER BY position"
        ),
        [
            vec![text("a"), text("integer"), Value::Boolean(true), Value::Integer(2)],
            vec![text("b"), text("boolean"), Value::Boolean(true), Value::Integer(1)],
        ]
    );
}

#[test]
fn timestamps_are_values_of_their_own() {
    let mut local = bids();
    assert_eq!(
        rows(
            &mut local,
            "SELECT extract(year FROM at), date_trunc('month', at), CAST(at AS TEXT) FROM bids WHERE id = 'c'"
        ),
        [vec![Value::Real(2024.0), Value::Timestamp(1_706_745_600_000_000), text("2024-02-29 00:00:00")]]
    );
    assert_eq!(rows(&mut local, "SELECT id FROM bids WHERE at = now()"), [vec![text("a")]]);
}

fn explain(local: &mut Local, sql: &str) -> String {
    let result = run(local, &format!("EXPLAIN {sql}")).unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert_eq!(result.columns[0].name, "QUERY PLAN");
    result.rows.iter().map(|row| format!("{}\n", row[0])).collect()
}

#[test]
fn explain_says_what_runs_where() {
    let mut local = bids();
    run(&mut local, "CREATE TABLE items (id TEXT PRIMARY KEY, city TEXT)").unwrap();
    let cases = [
        (
            "SELECT item, count(*) AS n FROM bids WHERE amount > 1 GROUP BY item ORDER BY n DESC LIMIT 3",
            "\
TopK [asker] 3 by n DESC
  Project [asker] bids.item, count(*)
    Aggregate [asker] final count(*) by bids.item
      Gather [exchange] bids: partial aggregates, combined up the region tree
        Aggregate [owners] partial count(*) by bids.item
          Project [owners] bids.item
            Filter [owners] bids.amount > 1
              Scan [owners] bids (bids.item, bids.amount)
",
        ),
        (
            "SELECT id FROM bids WHERE id = 'a' AND amount IS NOT NULL",
            "\
KeyLookup [exchange] bids: 1 get(s)
  Project [asker] bids.id
    Filter [asker] bids.id = 'a' AND (NOT (bids.amount IS NULL))
      Records [asker] bids (bids.id, bids.amount)
",
        ),
        (
            "SELECT b.id FROM bids b JOIN items i ON b.item = i.id WHERE i.city = 'Oslo' AND b.amount > 5 ORDER BY b.at",
            "\
Project [asker] id
  Sort [asker] b.at
    Project [asker] b.id, b.at
      HashJoin [asker] inner on b.item = i.id
        Gather [exchange] b: rows, combined up the region tree
          Project [owners] b.id, b.item, b.at
            Filter [owners] b.amount > 5
              Scan [owners] b (b.id, b.item, b.amount, b.at)
        Gather [exchange] i: rows, combined up the region tree
          Project [owners] i.id
            Filter [owners] i.city = 'Oslo'
              Scan [owners] i (i.id, i.city)
",
        ),
        (
            "SELECT * FROM bids ORDER BY amount DESC LIMIT 2",
            "\
TopK [asker] 2 by amount DESC
  Gather [exchange] bids: top-k, combined up the region tree
    TopK [owners] 2 by bids.amount DESC
      Project [owners] bids.id, bids.item, bids.amount, bids.at
        Scan [owners] bids (bids.id, bids.item, bids.amount, bids.at)
",
        ),
        (
            "SELECT DISTINCT item FROM bids LIMIT 4",
            "\
Limit [asker] 4 offset 0
  Distinct [asker]
    Gather [exchange] bids: distinct rows, combined up the region tree
      Distinct [owners]
        Project [owners] bids.item
          Scan [owners] bids (bids.item)
",
        ),
        (
            "SELECT count(DISTINCT item) FROM bids",
            "\
Project [asker] count(DISTINCT bids.item)
  Aggregate [asker] count(DISTINCT bids.item)
    Gather [exchange] bids: distinct rows, combined up the region tree
      Distinct [owners]
        Project [owners] bids.item
          Scan [owners] bids (bids.item)
",
        ),
        (
            "UPDATE bids SET amount = 0 WHERE id IN ('a', 'b')",
            "\
Update [exchange] bids: puts conditional on the version read
  KeyLookup [exchange] bids: 2 get(s)
    Filter [asker] bids.id IN ('a', 'b')
      Records [asker] bids (bids.id, bids.item, bids.amount, bids.at)
",
        ),
        (
            "DELETE FROM bids WHERE amount < 0",
            "\
Delete [exchange] bids: removes conditional on the version read
  Gather [exchange] bids: rows, combined up the region tree
    Filter [owners] bids.amount < 0
      Scan [owners] bids (bids.id, bids.item, bids.amount, bids.at)
",
        ),
    ];
    for (sql, expected) in cases {
        assert_eq!(explain(&mut local, sql), expected, "{sql}");
    }
}

#[test]
fn what_sqlite_does_not_have() {
    let mut local = Local::new();
    rows(&mut local, "CREATE TABLE s (g TEXT, n INTEGER, x REAL)");
    rows(
        &mut local,
        "INSERT INTO s VALUES ('a', 1, 2), ('a', 2, 4), ('a', 3, 4), ('b', 4, 4), ('b', 5, 5), (NULL, 6, 5)",
    );
    let text = |local: &mut Local, sql: &str| {
        let line = |row: &Vec<Value>| row.iter().map(Value::to_string).collect::<Vec<_>>().join(" ");
        rows(local, sql).iter().map(line).collect::<Vec<_>>().join(", ")
    };
    for (sql, expected) in [
        ("SELECT DISTINCT ON (g) g, n FROM s ORDER BY g, n DESC", "a 3, b 5, NULL 6"),
        ("SELECT g, bool_and(n > 1), bool_or(n > 2), every(x > 1) FROM s GROUP BY g ORDER BY g",
         "a false true true, b true true true, NULL true true true"),
        ("SELECT g, var_pop(x), stddev_samp(n) FROM s WHERE g IS NOT NULL GROUP BY g ORDER BY g",
         "a 0.8888888888888888 1, b 0.25 0.7071067811865476"),
        ("SELECT n, m FROM (VALUES (1), (2)) AS v (n), LATERAL (SELECT sum(s.n) AS m FROM s WHERE s.n <= v.n) AS l ORDER BY n",
         "1 1, 2 3"),
        ("SELECT v.n, l.n FROM (VALUES (1), (9)) AS v (n) LEFT JOIN LATERAL (SELECT s.n FROM s WHERE s.n > v.n ORDER BY s.n LIMIT 2)
          AS l ON true ORDER BY 1, 2", "1 2, 1 3, 9 NULL"),
        ("SELECT n FROM s WHERE n > ALL (SELECT x FROM s) ORDER BY n", "6"),
        ("SELECT n FROM s AS o WHERE n = ANY (SELECT x FROM s WHERE s.g = o.g)", "2, 4, 5"),
        ("SELECT 5 > ALL (SELECT n FROM s WHERE n > 100), 5 = ANY (SELECT NULL::INTEGER)", "true NULL"),
        ("SELECT x FROM s INTERSECT ALL SELECT n FROM s ORDER BY x", "2, 4, 5"),
        ("SELECT x FROM s EXCEPT ALL SELECT n FROM s ORDER BY x", "4, 4, 5"),
        ("VALUES (1, 'x'), (1 + 1, NULL) ORDER BY 1 DESC LIMIT 1", "2 NULL"),
        ("SELECT * FROM (SELECT 1 AS a, 2 AS b) AS p FULL JOIN (SELECT 3 AS b, 4 AS c) AS q USING (b) ORDER BY b",
         "2 1 NULL, 3 NULL 4"),
        ("SELECT sum(n) OVER w FROM s WINDOW v AS (PARTITION BY g), w AS (v ORDER BY n ROWS 1 PRECEDING) ORDER BY n",
         "1, 3, 5, 4, 9, 6"),
    ] {
        assert_eq!(text(&mut local, sql), expected, "{sql}");
    }
    for (sql, code) in [
        ("SELECT n FROM s WHERE rank() OVER (ORDER BY n) = 1", "windowing_error"),
        ("SELECT rank() FROM s", "windowing_error"),
        ("SELECT sum(n) OVER (ORDER BY g RANGE 1 PRECEDING) FROM s", "windowing_error"),
        ("SELECT sum(n) OVER nope FROM s", "windowing_error"),
        ("SELECT DISTINCT ON (g) n FROM s ORDER BY n", "invalid_column_reference"),
        ("SELECT sum(sum(n)) FROM s", "grouping_error"),
        ("SELECT string_agg(g) FROM s", "undefined_function"),
        ("SELECT 1 WHERE 1", "datatype_mismatch"),
    ] {
        assert_eq!(self::code(&mut local, sql), code, "{sql}");
    }
}

#[test]
fn explain_says_how_subqueries_are_answered() {
    let mut local = Local::new();
    rows(&mut local, "CREATE TABLE s (g TEXT, n INTEGER)");
    let plan = |local: &mut Local, sql: &str| {
        let line = |row: &Vec<Value>| row[0].to_string();
        rows(local, &format!("EXPLAIN {sql}")).iter().map(line).collect::<Vec<_>>().join("\n")
    };
    let semi = plan(&mut local, "SELECT g FROM s WHERE EXISTS (SELECT 1 FROM s AS o WHERE o.n = s.n)");
    assert!(semi.contains("SubqueryJoin [asker] semi on s.n = o.n"), "{semi}");
    let value = plan(&mut local, "SELECT (SELECT count(*) FROM s AS o WHERE o.n < s.n) FROM s");
    assert!(value.contains("With [asker]") && value.contains("SubqueryJoin [asker] value"), "{value}");
    let partial = plan(&mut local, "SELECT g, (SELECT max(n) FROM s AS o WHERE o.g = s.g) FROM s");
    assert!(partial.contains("Aggregate [owners] partial"), "owners group before anything is joined:\n{partial}");
    let window = plan(&mut local, "SELECT rank() OVER (PARTITION BY g ORDER BY n DESC) FROM s");
    assert!(window.contains("Window [asker] rank() OVER by s.g in order of s.n DESC"), "{window}");
    let recursion = plan(
        &mut local,
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT r.n + 1 FROM r JOIN s ON s.n = r.n) SELECT * FROM r",
    );
    assert!(recursion.contains("Recursion [asker] r") && recursion.contains("Step [asker]"), "{recursion}");
    assert_eq!(recursion.matches("Gather [exchange] s").count(), 1, "{recursion}");
}
