//! ANALYZE, and aggregates that are sketches: what they say, however rows are spread.

use pontoon_core::{
    Error,
    data::{QueryResult, Row, Value},
    exec::local::Local,
};
use pontoon_tests::database::Database;

fn run(local: &mut Local, sql: &str) -> Result<QueryResult, Error> {
    local.execute(pontoon_parser::parse_one(sql)?, Vec::new())
}

fn rows(local: &mut Local, sql: &str) -> Vec<Row> {
    run(local, sql).unwrap_or_else(|error| panic!("{sql}: {error}")).rows
}

fn code(local: &mut Local, sql: &str) -> &'static str {
    run(local, sql).map_or_else(|error| error.code(), |_| panic!("{sql} is no error"))
}

fn integer(local: &mut Local, sql: &str) -> i64 {
    match rows(local, sql)[..] {
        [ref row] => match row[..] {
            [Value::Integer(number)] => number,
            ref other => panic!("{sql}: {other:?}"),
        },
        ref other => panic!("{sql}: {other:?}"),
    }
}

fn real(local: &mut Local, sql: &str) -> f64 {
    match rows(local, sql)[..] {
        [ref row] => match row[..] {
            [Value::Real(number)] => number,
            ref other => panic!("{sql}: {other:?}"),
        },
        ref other => panic!("{sql}: {other:?}"),
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// `id` is unique, `city` one of 20 and `Oslo` half of the time, `note` NULL in a quarter of the rows.
fn people(count: i64) -> Local {
    let mut local = Local::new();
    run(&mut local, "CREATE TABLE people (id INTEGER PRIMARY KEY, city TEXT, height REAL, note TEXT)").unwrap();
    for part in (0..count).collect::<Vec<_>>().chunks(500) {
        let row = |id: &i64| {
            let city = if id % 2 == 0 { "Oslo".to_owned() } else { format!("City {:02}", id / 2 % 19) };
            let note = if id % 4 == 0 { "NULL".to_owned() } else { format!("'note {}'", id % 100) };
            format!("({id}, '{city}', {}.5, {note})", id * 7 % 1_000)
        };
        let values = part.iter().map(row).collect::<Vec<_>>().join(", ");
        run(&mut local, &format!("INSERT INTO people VALUES {values}")).unwrap();
    }
    local
}

#[test]
fn analyze_says_what_there_is_however_it_is_spread() {
    let mut local = people(4_000);
    let shown = "SELECT column_name, row_count, null_fraction, distinct_values, min_value, max_value, \
                 json_array_length(common_values) FROM pontoon_statistics WHERE table_name = 'people' ORDER BY column_name";
    assert!(rows(&mut local, shown).is_empty());
    for parts in [1, 7, 64] {
        local.split(parts, 5);
        run(&mut local, "ANALYZE people").unwrap();
        let found = rows(&mut local, shown);
        let column =
            |at: usize, name: &str, nulls: f64, distinct: core::ops::RangeInclusive<i64>, min: &str, max: &str| {
                let row = &found[at];
                assert_eq!((&row[0], &row[1], &row[2]), (&text(name), &Value::Integer(4_000), &Value::Real(nulls)));
                let Value::Integer(number) = row[3] else { panic!("{row:?}") };
                assert!(distinct.contains(&number), "{name}: {number} different values");
                assert_eq!((&row[4], &row[5]), (&text(min), &text(max)));
            };
        column(0, "city", 0.0, 20..=20, "City 00", "Oslo");
        column(1, "height", 0.0, 900..=1_000, "0.5", "999.5");
        column(2, "id", 0.0, 3_600..=4_000, "0", "3999");
        column(3, "note", 0.25, 70..=80, "note 1", "note 99");
        let common = "SELECT common_values -> 0 ->> 0, common_values -> 0 ->> 1 FROM pontoon_statistics WHERE column_name = 'city'";
        let found = rows(&mut local, common);
        assert_eq!(found[0][0], text("Oslo"), "the most frequent one stands first");
        let Value::Text(share) = &found[0][1] else { panic!("{found:?}") };
        let share: f64 = share.parse().unwrap();
        assert!((0.5 - 1.0 / 17.0..=0.5).contains(&share), "Oslo is {share} of all");
    }
    assert_eq!(integer(&mut local, "SELECT count(*) FROM pontoon_statistics WHERE average_bytes BETWEEN 8 AND 20"), 4);
}

#[test]
fn analyze_is_of_tables() {
    let mut local = people(10);
    run(&mut local, "CREATE TABLE boats (name TEXT, built DATE, price NUMERIC, spec JSON, raw BYTEA)").unwrap();
    run(&mut local, "INSERT INTO boats VALUES (repeat('x', 500), '2020-02-29', 1.50, '{\"a\": 1}', '\\xff')").unwrap();
    run(&mut local, "CREATE VIEW tall AS SELECT id FROM people WHERE height > 5").unwrap();
    assert_eq!(code(&mut local, "ANALYZE nobody"), "undefined_table");
    assert_eq!(code(&mut local, "ANALYZE tall"), "wrong_object_type");
    assert_eq!(code(&mut local, "ANALYZE pontoon_tables"), "feature_not_supported");
    assert_eq!(code(&mut local, "ANALYZE people (id)"), "feature_not_supported");
    run(&mut local, "ANALYZE").unwrap();
    let tables = "SELECT DISTINCT table_name, row_count FROM pontoon_statistics ORDER BY 1";
    let of = |name: &str, rows| vec![text(name), Value::Integer(rows)];
    assert_eq!(rows(&mut local, tables), [of("boats", 1), of("people", 10)]);
    let bounds = "SELECT min_value, max_value FROM pontoon_statistics WHERE column_name = ";
    let beginning = text(&"x".repeat(64));
    assert_eq!(rows(&mut local, &format!("{bounds}'name'")), [[beginning.clone(), beginning]]);
    assert_eq!(rows(&mut local, &format!("{bounds}'built'")), [[text("2020-02-29"), text("2020-02-29")]]);
    assert_eq!(rows(&mut local, &format!("{bounds}'price'")), [[text("1.50"), text("1.50")]]);
    // What is known of a table goes with it, and with its name.
    run(&mut local, "ALTER TABLE boats RENAME TO ships").unwrap();
    run(&mut local, "DROP TABLE people CASCADE").unwrap();
    assert!(rows(&mut local, tables).is_empty());
    run(&mut local, "CREATE TABLE bare (a INTEGER)").unwrap();
    run(&mut local, "ANALYZE bare").unwrap();
    let empty = rows(
        &mut local,
        "SELECT row_count, null_fraction, distinct_values, min_value, common_values FROM pontoon_statistics",
    );
    assert_eq!(
        empty,
        [[Value::Integer(0), Value::Real(0.0), Value::Integer(0), Value::Null, Value::Json("[]".to_owned())]]
    );
}

#[test]
fn approximate_aggregates_are_near_however_rows_are_spread() {
    let mut local = people(8_000);
    for parts in [1, 9] {
        local.split(parts, 3);
        let distinct = integer(&mut local, "SELECT approx_count_distinct(id) FROM people");
        assert!((7_000..=9_000).contains(&distinct), "{distinct} of 8000");
        for (share, exact) in [(0.0, 0.5), (0.5, 499.5), (0.9, 899.5), (1.0, 999.5)] {
            let near = real(&mut local, &format!("SELECT approx_percentile(height, {share}) FROM people"));
            assert!((near - exact).abs() <= 8.0, "{share}: {near}, exactly {exact}");
        }
        let groups = "SELECT city, approx_count_distinct(note), approx_count_distinct(note) FILTER (WHERE id < 0), \
                      approx_percentile(id, 1) FROM people GROUP BY city ORDER BY city DESC LIMIT 1";
        let expected = vec![text("Oslo"), Value::Integer(25), Value::Integer(0), Value::Real(7_998.0)];
        assert_eq!(rows(&mut local, groups), [expected]);
        let nothing =
            "SELECT approx_count_distinct(id), approx_percentile(id, 0.5), median(id) FROM people WHERE id < 0";
        assert_eq!(rows(&mut local, nothing), [[Value::Integer(0), Value::Null, Value::Null]]);
        // Also where the group is a subquery's, and there is none; and around a row.
        let correlated = "SELECT (SELECT approx_count_distinct(o.city) FROM people o WHERE o.id = p.id - 1), \
                          (SELECT approx_percentile(o.id, 0.5) FROM people o WHERE o.id < p.id) FROM people p WHERE id < 3 ORDER BY id";
        let of = |count, half| vec![Value::Integer(count), half];
        let expected = [of(0, Value::Null), of(1, Value::Real(0.0)), of(1, Value::Real(0.5))];
        assert_eq!(rows(&mut local, correlated), expected);
        let around = "SELECT approx_count_distinct(city) OVER (ORDER BY id), approx_percentile(id, 0.5) OVER (ORDER BY id) \
                      FROM people ORDER BY id LIMIT 3";
        let expected = [of(1, Value::Real(0.0)), of(2, Value::Real(0.5)), of(2, Value::Real(1.0))];
        assert_eq!(rows(&mut local, around), expected);
    }
    let exact = "SELECT median(height), percentile_cont(0.5) WITHIN GROUP (ORDER BY height), approx_count_distinct(DISTINCT city) FROM people";
    let row = &rows(&mut local, exact)[0];
    assert_eq!((&row[0], &row[2]), (&row[1], &Value::Integer(20)));
    assert_eq!(code(&mut local, "SELECT approx_percentile(city, 0.5) FROM people"), "datatype_mismatch");
    assert_eq!(code(&mut local, "SELECT approx_percentile(id, 2) FROM people"), "numeric_value_out_of_range");
    assert_eq!(code(&mut local, "SELECT approx_percentile(id) FROM people"), "undefined_function");
    assert_eq!(code(&mut local, "SELECT approx_percentile(id, height) FROM people"), "feature_not_supported");
    assert_eq!(
        rows(&mut local, "SELECT approx_percentile(x, 0.5), median(x) FROM (VALUES (1.50), (2.50)) AS v (x)"),
        [[Value::Real(2.0), Value::Real(2.0)]]
    );
}

/// The tables in the order in which a plan joins them, the first two on the same level.
fn joined(local: &mut Local, sql: &str) -> String {
    let lines = rows(local, &format!("EXPLAIN {sql}"));
    let leaf = |row: &Row| {
        let line = row[0].to_string();
        let (_, rest) = line.split_once("[exchange] ")?;
        Some(rest.split(':').next()?.to_owned())
    };
    lines.iter().filter_map(leaf).collect::<Vec<_>>().join(" ")
}

#[test]
fn joins_go_where_few_rows_are_in_between() {
    let mut local = Local::new();
    for table in [
        "tags (doc INTEGER, tag INTEGER)",
        "likes (doc INTEGER, who INTEGER)",
        "docs (doc INTEGER PRIMARY KEY, kind INTEGER)",
    ] {
        run(&mut local, &format!("CREATE TABLE {table}")).unwrap();
    }
    let many = |count: i64, row: &dyn Fn(i64) -> String| (0..count).map(row).collect::<Vec<_>>().join(", ");
    let pairs = |n: i64| format!("({}, {})", n % 20, n);
    run(&mut local, &format!("INSERT INTO tags VALUES {}", many(400, &pairs))).unwrap();
    run(&mut local, &format!("INSERT INTO likes VALUES {}", many(400, &pairs))).unwrap();
    run(&mut local, &format!("INSERT INTO docs VALUES {}", many(200, &|n| format!("({n}, {})", n / 2)))).unwrap();
    // Two tables of which each document has 20, and one of which the condition leaves two rows.
    let sql = "SELECT t.tag, l.who, d.kind FROM tags t JOIN likes l ON l.doc = t.doc JOIN docs d ON d.doc = t.doc \
               WHERE d.kind < 1 ORDER BY 1, 2, 3";
    assert_eq!(joined(&mut local, sql), "t l d", "nothing is known");
    let before = rows(&mut local, sql);
    assert_eq!(before.len(), 800);
    run(&mut local, "ANALYZE").unwrap();
    assert_eq!(joined(&mut local, sql), "t d l");
    assert_eq!(rows(&mut local, sql), before);
    // No gain, no change; and outer joins stay.
    let same = "SELECT count(*) FROM docs d JOIN tags t ON t.doc = d.doc JOIN likes l ON l.doc = t.doc";
    assert_eq!(joined(&mut local, same), "d t l");
    let outer =
        "SELECT count(*) FROM tags t JOIN likes l ON l.doc = t.doc LEFT JOIN docs d ON d.doc = t.doc AND d.kind < 1";
    assert_eq!(joined(&mut local, outer), "t l d");
    // Of another table of that name nothing is known.
    run(&mut local, "DROP TABLE docs").unwrap();
    run(&mut local, "CREATE TABLE docs (doc INTEGER PRIMARY KEY, kind INTEGER)").unwrap();
    assert_eq!(joined(&mut local, sql), "t l d");
}

#[test]
fn more_joins_than_can_all_be_looked_at_are_ordered_too() {
    let mut local = Local::new();
    let names: Vec<String> = (0..10).map(|at| format!("r{at}")).collect();
    for (at, name) in names.iter().enumerate() {
        run(&mut local, &format!("CREATE TABLE {name} (a INTEGER, b INTEGER)")).unwrap();
        // The last one is small, and each is joined with the next.
        let count = if at == 9 { 1 } else { 30 };
        let values = (0..count).map(|n| format!("({n}, {n})")).collect::<Vec<_>>().join(", ");
        run(&mut local, &format!("INSERT INTO {name} VALUES {values}")).unwrap();
    }
    let on = (1..10).map(|at| format!("r{}.b = r{at}.a", at - 1)).collect::<Vec<_>>().join(" AND ");
    let sql = format!("SELECT count(*), sum(r0.a) FROM {} WHERE {on}", names.join(", "));
    let before = rows(&mut local, &sql);
    run(&mut local, "ANALYZE").unwrap();
    assert_eq!(rows(&mut local, &sql), before);
    let order = joined(&mut local, &sql);
    assert_ne!(order, names.join(" "));
    assert!(order.starts_with("r8 r9") || order.starts_with("r9 r8"), "{order}");
}

#[test]
fn on_a_network_sketches_cost_the_same_of_few_rows_and_of_many() {
    let mut network = Database::new(12);
    let ok = |network: &mut Database, sql: &str| network.sql(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    ok(&mut network, "CREATE TABLE t (id INTEGER PRIMARY KEY, kind INTEGER, note TEXT)");
    let fill = |network: &mut Database, ids: core::ops::Range<i64>| {
        for part in ids.collect::<Vec<_>>().chunks(500) {
            let row = |id: &i64| format!("({id}, {}, 'note {}')", id % 7, id * 31 % 900);
            let values = part.iter().map(row).collect::<Vec<_>>().join(", ");
            ok(network, &format!("INSERT INTO t VALUES {values}"));
        }
    };
    let approximate = "SELECT approx_count_distinct(id), approx_percentile(id, 0.5) FROM t";
    let costs = |network: &mut Database| {
        [("ANALYZE t", 0), (approximate, 1)].map(|(sql, rows)| {
            let result = ok(network, sql);
            assert_eq!((result.rows.len(), result.coverage), (rows, 1.0));
            result.cost.bytes as f64
        })
    };
    // Enough that each of the owners has a full sketch.
    fill(&mut network, 0..12_000);
    let few = costs(&mut network);
    fill(&mut network, 12_000..36_000);
    let many = costs(&mut network);
    let all = ok(&mut network, "SELECT * FROM t").cost.bytes as f64;
    for (few, many) in few.iter().zip(&many) {
        assert!(
            *many < 1.2 * few && *many < all / 10.0,
            "{few} bytes of 12,000 rows, {many} of 36,000, all of which are {all}"
        );
    }
    let shown =
        ok(&mut network, "SELECT column_name, row_count, distinct_values FROM pontoon_statistics ORDER BY 1").rows;
    let of = |at: usize| {
        (shown[at][0].to_string(), shown[at][1].to_string(), shown[at][2].to_string().parse::<f64>().unwrap())
    };
    assert_eq!((of(1).0, of(1).1, of(1).2), ("kind".to_owned(), "36000".to_owned(), 7.0));
    assert!((of(0).2 / 36_000.0 - 1.0).abs() < 0.12 && (of(2).2 / 900.0 - 1.0).abs() < 0.12, "{shown:?}");
    // A node that has not read the table knows of it, too.
    for _ in 0..3 {
        let plan = ok(&mut network, "EXPLAIN SELECT * FROM t WHERE kind = 3").rows;
        assert!(plan[0][0].to_string().contains("rows≈5143"), "{plan:?}");
    }
}
