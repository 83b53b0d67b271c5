//! Types and functions, checked against what PostgreSQL answered.
//!
//! `fixtures/postgres_types.txt` has a query a line and PostgreSQL's answer; `fixtures/postgres_types.sh` asks it again.

use pontoon_core::{
    Error,
    data::{QueryResult, Value},
    exec::local::Local,
    sql::sqlstate::sqlstate,
};

const FIXTURES: &str = include_str!("fixtures/postgres_types.txt");

/// What is another way here, and why.
const OTHERWISE: &[(&str, &str)] = &[
    // A truth value has one text.
    ("concat('a', NULL, 1, true)", "a1true"),
    // Correctly rounded.
    ("cbrt(27.0::float8)", "3"),
    // Of equal values any: which of them stands for all depends on where the rows are.
    (
        "SELECT sum(n), avg(n), min(n), max(n), count(DISTINCT n) FROM \
         (VALUES (1.50::numeric), (2.25::numeric), (1.5::numeric), (NULL)) AS t (n)",
        "5.25|1.7500000000000000|1.50|2.25|2",
    ),
];

fn run(local: &mut Local, sql: &str) -> Result<QueryResult, Error> {
    local.execute(pontoon_parser::parse_one(sql)?, Vec::new())
}

fn shown(result: Result<QueryResult, Error>) -> String {
    let text = |value: &Value| match value {
        Value::Null => "\\N".to_owned(),
        Value::Boolean(truth) => if *truth { "t" } else { "f" }.to_owned(),
        value => value.to_string(),
    };
    match result {
        Ok(result) => {
            let row = |row: &Vec<Value>| row.iter().map(text).collect::<Vec<_>>().join("|");
            result.rows.iter().map(row).collect::<Vec<_>>().join(";").replace('\n', "\\n")
        }
        Err(error) => format!("!{}", sqlstate(error.code())),
    }
}

#[test]
fn answers_are_those_of_postgresql() {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for parts in [1, 3] {
        let mut local = Local::new();
        local.wall_us = 1_700_000_000_000_000;
        local.split(parts, 7);
        for line in FIXTURES.lines() {
            let (query, expected) = line.split_once(" => ").unwrap_or_else(|| panic!("{line}"));
            let statement = match query.starts_with("SELECT") {
                true => query.to_owned(),
                false => format!("SELECT ({query})::text"),
            };
            let ours = shown(run(&mut local, &statement));
            let other = OTHERWISE.iter().find(|(other, _)| *other == query).map(|(_, ours)| *ours);
            if ours != other.unwrap_or(expected) {
                wrong.push(format!("{query}\n  ours       {ours}\n  PostgreSQL {expected}"));
            }
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 500);
}

fn rows(local: &mut Local, sql: &str) -> String {
    let result = run(local, sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    shown(Ok(result))
}

/// A table of all types, its rows spread over some owners.
fn orders(parts: usize) -> Local {
    let mut local = Local::new();
    local.wall_us = 1_700_000_000_000_000;
    local.split(parts, 3);
    for sql in [
        "CREATE TABLE orders (id UUID PRIMARY KEY DEFAULT gen_random_uuid(), price NUMERIC(10, 2), day DATE,
         took INTERVAL, details JSON)",
        "INSERT INTO orders VALUES
         ('00000000-0000-0000-0000-000000000001', 12.345, '2024-01-31', '1 day', '{\"who\": \"ann\", \"n\": 3}'),
         ('00000000-0000-0000-0000-000000000002', 100, date '2024-02-29', interval '26 hours', '{\"who\":\"bob\"}'),
         ('00000000-0000-0000-0000-000000000003', 0.1::float8, timestamp '2024-02-29 12:00', NULL, NULL),
         ('00000000-0000-0000-0000-000000000004', NULL, NULL, '1 mon', '[1, 2]')",
    ] {
        run(&mut local, sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    local
}

#[test]
fn tables_keep_every_type() {
    for parts in [1, 4] {
        let mut local = orders(parts);
        let mut is = |sql: &str, expected: &str| assert_eq!(rows(&mut local, sql), expected, "{sql}");
        is(
            "SELECT price, day, took FROM orders ORDER BY id",
            "12.35|2024-01-31|1 day;100.00|2024-02-29|26:00:00;0.10|2024-02-29|\\N;\\N|\\N|1 mon",
        );
        is(
            "SELECT sum(price), avg(price), min(price), max(price), count(price) FROM orders",
            "112.45|37.4833333333333333|0.10|100.00|3",
        );
        is("SELECT sum(took), avg(took), max(took) FROM orders", "1 mon 1 day 26:00:00|10 days 16:40:00|1 mon");
        is("SELECT price FROM orders WHERE price > 0.1 ORDER BY price", "12.35;100.00");
        is("SELECT price FROM orders WHERE price * 2 > 20 ORDER BY price", "12.35;100.00");
        is("SELECT price FROM orders WHERE details ->> 'who' = 'bob'", "100.00");
        is("SELECT count(*) FROM orders WHERE day + 1 = '2024-03-01'", "2");
        is(
            "SELECT day, count(*), sum(price * 2) FROM orders WHERE day IS NOT NULL GROUP BY day ORDER BY day",
            "2024-01-31|1|24.70;2024-02-29|2|200.20",
        );
        is("SELECT extract(month FROM day), count(*) FROM orders GROUP BY 1 ORDER BY 1", "1|1;2|2;\\N|1");
        is("SELECT a.price FROM orders a JOIN orders b ON a.price = b.price + 87.65", "100.00");
        is("SELECT price FROM orders WHERE id = '00000000-0000-0000-0000-000000000001'", "12.35");
        is("SELECT count(DISTINCT day) FROM orders", "2");
        is(
            "UPDATE orders SET price = price * 1.1, day = day + 1 WHERE details ->> 'who' = 'ann' RETURNING price, day",
            "13.59|2024-02-01",
        );
        is(
            "DELETE FROM orders WHERE took > interval '25 hours' AND took * 2 < interval '4 days' RETURNING took::text",
            "26:00:00",
        );
        is("SELECT string_agg(price::text, ',' ORDER BY price DESC) FROM orders", "13.59,0.10");
        is("SELECT json_agg(details ORDER BY id) FROM orders", "[{\"n\": 3, \"who\": \"ann\"}, null, [1, 2]]");
    }
}

#[test]
fn owners_judge_what_they_compare_and_the_asker_what_it_computes() {
    let mut local = orders(2);
    let plan = |local: &mut Local, sql: &str| rows(local, &format!("EXPLAIN {sql}"));
    let compared = plan(&mut local, "SELECT price FROM orders WHERE price > 1.5 AND day >= date '2024-02-01'");
    assert!(!compared.contains("Filter [asker]"), "owners compare: {compared}");
    let computed = plan(&mut local, "SELECT price FROM orders WHERE price > 1.5 AND price + 1 > 3");
    assert!(computed.contains("Filter [asker]"), "the asker computes: {computed}");
    let grouped = plan(&mut local, "SELECT day, sum(price) FROM orders GROUP BY day");
    assert!(grouped.contains("owners"), "owners add up: {grouped}");
}

#[test]
fn every_row_draws_its_own() {
    let mut local = orders(2);
    run(&mut local, "INSERT INTO orders (price) VALUES (1), (2), (3)").unwrap();
    assert_eq!(rows(&mut local, "SELECT count(DISTINCT id) FROM orders"), "7");
    assert_eq!(rows(&mut local, "SELECT count(DISTINCT r) FROM (SELECT random() AS r FROM orders) AS t"), "7");
}

#[test]
fn what_does_not_fit_has_a_code() {
    let mut local = orders(2);
    for (sql, state) in [
        ("INSERT INTO orders (price) VALUES (123456789.5)", "22003"),
        ("INSERT INTO orders (price) VALUES ('x')", "22P02"),
        ("INSERT INTO orders (day) VALUES ('2024-02-30')", "22008"),
        ("INSERT INTO orders (took) VALUES ('soon')", "22007"),
        ("INSERT INTO orders (details) VALUES ('{')", "22P02"),
        ("INSERT INTO orders (day) VALUES (5)", "42804"),
        ("SELECT price + day FROM orders", "42883"),
        ("SELECT price || details FROM orders", "42883"),
        ("CREATE TABLE t (a NUMERIC(40))", "22023"),
        ("SELECT 99999999999999999999999999999999999::numeric + 1", "22003"),
        ("SELECT date '2024-01-01' + 9223372036854775807", "22008"),
        ("SELECT interval '2000000000 days' * 1e300", "22008"),
        ("SELECT lpad('a', 999999999)", "22023"),
    ] {
        let found = shown(run(&mut local, sql));
        assert_eq!(found, format!("!{state}"), "{sql}");
    }
}

#[test]
fn parameters_become_what_stands_beside_them() {
    let mut local = orders(2);
    let statement = pontoon_parser::parse_one("SELECT price FROM orders WHERE price < $1 AND day = $2").unwrap();
    let params = vec![Value::Real(12.36), Value::Text("2024-01-31".to_owned())];
    assert_eq!(shown(local.execute(statement, params)), "12.35");
}
