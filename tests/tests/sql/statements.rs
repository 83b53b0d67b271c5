//! Statements as a user meets them: definitions, violations, errors with stable codes, parameters, EXPLAIN.

use pontoon_core::{
    Error,
    data::{QueryResult, Row, Value},
    exec::local::Local,
    sql::sqlstate::sqlstate,
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
fn on_conflict_leaves_or_changes_what_is_there() {
    let mut local = bids();
    let nothing = "INSERT INTO bids (id, item) VALUES ('a', 'x'), ('d', 'x'), ('d', 'y') ON CONFLICT DO NOTHING RETURNING id, item";
    let result = run(&mut local, nothing).unwrap();
    assert_eq!((result.affected, result.rows), (1, vec![vec![text("d"), text("x")]]));
    let upsert = "INSERT INTO bids AS b (id, item, amount) VALUES ('a', 'ink', 10), ('b', 'ink', 0), ('e', 'ink', 5)
        ON CONFLICT (id) DO UPDATE SET amount = b.amount + excluded.amount, item = excluded.item WHERE excluded.amount > 0
        RETURNING id, amount AS now, b.item";
    let result = run(&mut local, upsert).unwrap();
    let names: Vec<&str> = result.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!((names, result.affected), (vec!["id", "now", "item"], 2));
    let ink = |id: &str, amount| vec![text(id), Value::Real(amount), text("ink")];
    assert_eq!(result.rows, [ink("a", 11.5), ink("e", 5.0)]);
    assert_eq!(rows(&mut local, "SELECT item FROM bids WHERE id = 'b'"), [vec![text("pen")]]);
    // A row may move when it is changed, and may not break what holds of all rows.
    run(&mut local, "INSERT INTO bids (id, item) VALUES ('a', 'x') ON CONFLICT (id) DO UPDATE SET id = 'z'").unwrap();
    assert_eq!(rows(&mut local, "SELECT id FROM bids WHERE amount = 11.5"), [vec![text("z")]]);
    let null = "INSERT INTO bids (id, item) VALUES ('b', 'x') ON CONFLICT (id) DO UPDATE SET item = NULL";
    assert_eq!(code(&mut local, null), "not_null_violation");
    let taken = "INSERT INTO bids (id, item) VALUES ('b', 'x') ON CONFLICT (id) DO UPDATE SET id = 'z'";
    assert_eq!(code(&mut local, taken), "unique_violation");
}

#[test]
fn sqlite_ways_to_insert() {
    let mut local = bids();
    let ignore = "INSERT OR IGNORE INTO bids (id, item) VALUES ('a', 'x'), ('n', NULL), ('d', 'x')";
    assert_eq!(run(&mut local, ignore).unwrap().affected, 1);
    assert_eq!(run(&mut local, "REPLACE INTO bids (id, item) VALUES ('a', 'x'), ('a', 'y')").unwrap().affected, 1);
    run(&mut local, "INSERT OR REPLACE INTO bids (id, item) SELECT id, item || '!' FROM bids WHERE id = 'b'").unwrap();
    assert_eq!(
        rows(&mut local, "SELECT id, item, amount FROM bids WHERE id < 'c' ORDER BY id"),
        [vec![text("a"), text("y"), Value::Null], vec![text("b"), text("pen!"), Value::Null]]
    );
}

#[test]
fn returning_shows_rows_as_they_are_now_and_removed_ones_as_they_were() {
    let mut local = bids();
    let inserted = run(&mut local, "INSERT INTO bids (id, item) VALUES ('z', 'x'), ('y', 'x') RETURNING *").unwrap();
    assert_eq!(inserted.columns.len(), 4);
    let ids: Vec<&Value> = inserted.rows.iter().map(|row| &row[0]).collect();
    assert_eq!(ids, [&text("z"), &text("y")]);
    let updated =
        run(&mut local, "UPDATE bids b SET amount = 7 WHERE item = 'x' RETURNING b.id, upper(b.id), amount * 2");
    let updated = updated.unwrap();
    assert_eq!(updated.columns[1].name, "upper");
    let row = |id: &str| vec![text(id), text(&id.to_uppercase()), Value::Real(14.0)];
    assert_eq!(updated.rows, [row("y"), row("z")]);
    let moved = run(&mut local, "UPDATE bids SET id = id || id WHERE id >= 'y' RETURNING id").unwrap();
    assert_eq!((moved.affected, moved.rows), (2, vec![vec![text("yy")], vec![text("zz")]]));
    let deleted = run(&mut local, "DELETE FROM bids WHERE item = 'x' RETURNING id, amount").unwrap();
    let row = |id: &str| vec![text(id), Value::Real(7.0)];
    assert_eq!((deleted.affected, deleted.rows), (2, vec![row("yy"), row("zz")]));
    assert_eq!(rows(&mut local, "SELECT count(*) FROM bids"), [vec![Value::Integer(3)]]);
}

#[test]
fn other_tables_say_which_rows_change_and_how() {
    for parts in [1, 4] {
        let mut local = bids();
        local.split(parts, 3);
        run(&mut local, "CREATE TABLE prices (item TEXT, price REAL, label TEXT)").unwrap();
        run(&mut local, "INSERT INTO prices VALUES ('pen', 4, 'b'), ('pen', 3, 'a'), ('ink', 9, 'c'), ('cap', 1, 'd')")
            .unwrap();
        // Of two rows that fit one, the first in the order of their values counts.
        let update = "UPDATE bids b SET amount = coalesce(amount, 0) + p.price, item = label FROM prices AS p
            WHERE p.item = b.item AND p.price < 9.5 AND b.id <> 'b' RETURNING b.id, b.amount, p.*";
        let result = run(&mut local, update).unwrap();
        let row = |id: &str, amount, item: &str, price, label: &str| {
            vec![text(id), Value::Real(amount), text(item), Value::Real(price), text(label)]
        };
        assert_eq!(result.rows, [row("a", 4.5, "pen", 3.0, "a"), row("c", 9.0, "ink", 9.0, "c")]);
        assert_eq!(rows(&mut local, "SELECT item FROM bids ORDER BY id"), [[text("a")], [text("pen")], [text("c")]]);
        let delete = "DELETE FROM bids USING prices p, prices q WHERE bids.item = p.item AND p.label = q.label";
        assert_eq!(run(&mut local, delete).unwrap().affected, 1);
        assert_eq!(rows(&mut local, "SELECT id FROM bids ORDER BY id"), [[text("a")], [text("c")]]);
        // Without a condition between them every row meets one of the others.
        assert_eq!(run(&mut local, "UPDATE bids SET item = 'x' FROM prices").unwrap().affected, 2);
        assert_eq!(run(&mut local, "DELETE FROM bids USING prices WHERE price > 100").unwrap().affected, 0);
    }
}

#[test]
fn several_columns_are_assigned_at_once() {
    let mut local = bids();
    run(&mut local, "UPDATE bids SET (item, amount) = (id, amount + 1), at = DEFAULT WHERE id = 'a'").unwrap();
    assert_eq!(
        rows(&mut local, "SELECT item, amount, at FROM bids WHERE id = 'a'"),
        [[text("a"), Value::Real(2.5), Value::Null]]
    );
}

#[test]
fn a_row_may_be_all_defaults() {
    let mut local = Local::new();
    run(&mut local, "CREATE TABLE t (a INT DEFAULT 1 + 2 * 3, b TEXT DEFAULT upper('x') || 'y', c INT DEFAULT length(lower('abc')))").unwrap();
    run(&mut local, "INSERT INTO t DEFAULT VALUES").unwrap();
    assert_eq!(rows(&mut local, "SELECT * FROM t"), [[Value::Integer(7), text("Xy"), Value::Integer(3)]]);
    assert_eq!(code(&mut local, "CREATE TABLE u (a INT DEFAULT b)"), "undefined_column");
    assert_eq!(code(&mut local, "CREATE TABLE u (a INT DEFAULT 'x')"), "invalid_text_representation");
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
        ("SELECT id FROM bids WHERE at = 'yesterday'", "invalid_datetime_format"),
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
        ("DELETE FROM bids USING bids b WHERE bids.id IN (SELECT id FROM bids)", "feature_not_supported"),
        ("SELECT 'a' IN ('b', 2)", "invalid_text_representation"),
        ("ALTER TABLE t ADD b INT UNIQUE", "feature_not_supported"),
        ("CREATE TABLE t (a INT REFERENCES bids (id))", "datatype_mismatch"),
        ("CREATE TEMP TABLE t (a INT)", "feature_not_supported"),
        ("INSERT INTO bids (id, item) VALUES ('x', 'y') ON CONFLICT (item) DO NOTHING", "invalid_column_reference"),
        ("INSERT INTO bids (id, item) VALUES ('x', 'y') ON CONFLICT (nope) DO NOTHING", "undefined_column"),
        (
            "INSERT INTO bids (id, item) VALUES ('a', 'y') ON CONFLICT (id) DO UPDATE SET item = item",
            "ambiguous_column",
        ),
        (
            "INSERT INTO bids (id, item) VALUES ('a', 'y'), ('a', 'z') ON CONFLICT (id) DO UPDATE SET item = excluded.item",
            "cardinality_violation",
        ),
        ("INSERT INTO bids (id, item) VALUES ('d', 'y') RETURNING count(*)", "grouping_error"),
        ("INSERT INTO bids (id, item) VALUES ('d', 'y') RETURNING nope", "undefined_column"),
        ("UPDATE bids SET (item, amount) = (1, 2, 3)", "syntax_error"),
        ("UPDATE bids SET (item, item) = ('x', 'y')", "duplicate_column"),
        ("UPDATE bids SET item = 'x' FROM bids", "duplicate_alias"),
        ("DELETE FROM bids USING nowhere WHERE nowhere.id = bids.id", "undefined_table"),
    ];
    for (sql, expected) in cases {
        assert_eq!(code(&mut local, sql), expected, "{sql}");
    }
    assert_eq!(rows(&mut local, "SELECT count(*) FROM bids"), [vec![Value::Integer(3)]]);
}

#[test]
fn errors_say_what_may_have_been_meant_and_where() {
    let mut local = bids();
    for (sql, state, hint, at) in [
        ("SELECT id, amuont FROM bids", "42703", Some("the column \"amount\""), "amuont"),
        ("SELECT b.itm FROM bids b", "42703", Some("the column \"item\""), "b.itm"),
        ("UPDATE bids SET amonut = 1", "42703", Some("the column \"amount\""), "amonut"),
        ("SELECT * FROM bidz", "42P01", Some("the table \"bids\""), "bidz"),
        ("SELECT id FROM bids WHERE uper(id) = 'A'", "42883", Some("the function \"upper\""), "uper"),
        ("SELECT id FROM bids WHERE nothing > 1", "42703", None, "nothing"),
    ] {
        let error = run(&mut local, sql).unwrap_err();
        assert_eq!(sqlstate(error.code()), state, "{sql}");
        let help = error.help().unwrap();
        let hint = hint.map(|hint| format!("Perhaps you meant {hint}."));
        assert_eq!(help.hint, hint, "{sql}");
        let position = pontoon_parser::locate(sql, 0, help.subject.as_deref().unwrap()).unwrap();
        assert!(sql[position as usize - 1..].starts_with(at), "{sql}: {position}");
    }
    let error = Error::from(pontoon_parser::parse_one("SELECT 'é',\n  id FROM bids WHERE )").unwrap_err());
    assert_eq!((error.code(), error.help().unwrap().position), ("syntax_error", Some(34)));
    assert_eq!(run(&mut local, "SELECT 1 / 0").unwrap_err().help(), None);
}

#[test]
fn settings_belong_to_the_connection() {
    let (mut local, mut other) = (Local::new(), Local::new());
    let show = "SHOW pontoon.dialect";
    assert_eq!(rows(&mut local, show), [[text("postgres")]]);
    run(&mut local, "SET pontoon.dialect = 'SQLite'").unwrap();
    assert_eq!(run(&mut local, show).unwrap().columns[0].name, "pontoon.dialect");
    assert_eq!(
        (rows(&mut local, show), rows(&mut other, show)),
        (vec![vec![text("sqlite")]], vec![vec![text("postgres")]])
    );
    run(&mut local, "CREATE TABLE t (k INTEGER PRIMARY KEY, v INTEGER)").unwrap();
    // In SQLite a name alone means the row that is there.
    for _ in 0..3 {
        run(&mut local, "INSERT INTO t VALUES (1, 1) ON CONFLICT (k) DO UPDATE SET v = v + excluded.v").unwrap();
    }
    assert_eq!(rows(&mut local, "SELECT v FROM t"), [[Value::Integer(3)]]);
    assert_eq!(code(&mut local, "SET pontoon.dialect = 'oracle'"), "invalid_parameter_value");
    assert_eq!(code(&mut local, "SET work_mem = 1"), "undefined_object");
    assert_eq!(code(&mut local, "EXPLAIN SHOW pontoon.dialect"), "feature_not_supported");
    run(&mut local, "SET pontoon.dialect TO postgres").unwrap();
    assert_eq!(rows(&mut local, show), [[text("postgres")]]);
    run(&mut local, "SET pontoon.dialect TO sqlite").unwrap();
    run(&mut local, "RESET pontoon.dialect").unwrap();
    assert_eq!(rows(&mut local, show), [[text("postgres")]]);
    let strategy = "SHOW pontoon.join_strategy";
    assert_eq!(rows(&mut local, strategy), [[text("auto")]]);
    for name in ["gather", "symmetric-hash", "fetch-matches", "semi-join", "bloom", "broadcast", "auto", "bloom"] {
        run(&mut local, &format!("SET pontoon.join_strategy = '{}'", name.to_uppercase())).unwrap();
        assert_eq!(
            (rows(&mut local, strategy), rows(&mut local, show)),
            (vec![vec![text(name)]], vec![vec![text("postgres")]])
        );
        assert_eq!(rows(&mut other, strategy), [[text("auto")]]);
    }
    let wrong = run(&mut local, "SET pontoon.join_strategy = 'nested-loop'").unwrap_err();
    assert_eq!(wrong.code(), "invalid_parameter_value");
    let valid = "'auto', 'gather', 'symmetric-hash', 'fetch-matches', 'semi-join', 'bloom', 'broadcast'";
    assert!(wrong.to_string().contains(valid), "{wrong}");
    assert_eq!(rows(&mut local, strategy), [[text("bloom")]]);
    run(&mut local, "RESET pontoon.join_strategy").unwrap();
    assert_eq!(rows(&mut local, strategy), [[text("auto")]]);
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
        SemiJoin [asker] b.item among the values of i.id: a filter at the owners, for up to 100 values; where these are too many:
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
        (
            "INSERT INTO bids (id, item) VALUES ('a', 'x') ON CONFLICT (id) DO UPDATE SET item = excluded.item WHERE bids.amount > 1 RETURNING id",
            "\
Insert [exchange] bids: puts where the key is absent, 1 row(s)
  OnConflict [asker] update item = excluded.item where bids.amount > 1, conditional on the version read
  Returning [asker] bids.id
",
        ),
        (
            "UPDATE bids SET amount = 0 FROM items i WHERE i.id = item AND i.city = 'Oslo' AND amount > 1",
            "\
Update [exchange] bids: puts conditional on the version read
  Set [asker] amount = 0
  HashJoin [asker] inner on bids.item = i.id
    Gather [exchange] bids: rows, combined up the region tree
      Filter [owners] bids.amount > 1
        Scan [owners] bids (bids.id, bids.item, bids.amount, bids.at)
    Gather [exchange] i: rows, combined up the region tree
      Project [owners] i.id, i.city
        Filter [owners] i.city = 'Oslo'
          Scan [owners] i (i.id, i.city)
",
        ),
        (
            "ALTER TABLE bids ADD CONSTRAINT positive CHECK (amount > 0)",
            "\
AlterTable [exchange] bids: put conditional on the version read
  Validate [owners] no row: check constraint \"positive\" of relation \"bids\" is violated by some row
",
        ),
        ("TRUNCATE bids", "Truncate [exchange] bids: a new namespace for its rows, then the old ones go\n"),
        (
            "CREATE VIEW pens AS SELECT id FROM bids WHERE item = 'pen'",
            "\
CreateView [exchange] pens: put where the name is absent
  Gather [exchange] bids: rows, combined up the region tree
    Project [owners] bids.id
      Filter [owners] bids.item = 'pen'
        Scan [owners] bids (bids.id, bids.item)
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
