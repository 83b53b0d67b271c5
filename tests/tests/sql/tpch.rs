//! TPC-H's tables and 22 queries as it defines them, with dates and exact decimals, over its own data at scale 0.01:
//! SQLite's answers, which has neither and is asked in its own terms (`tpch/sqlite.sql`).
//!
//! `make test` runs them in one map, `make conformance` (`CONFORMANCE=1`) on a simulated network of sixteen nodes.
//! `TPCH_SCALE` and `TPCH_NODES` say otherwise.

use std::{fmt::Display, time::Instant};

use pontoon_core::{data::Value, sql::strategy::JoinStrategy};
use pontoon_tests::database::Database;
use rusqlite::types::ValueRef;
use tpchgen::generators as tpch;

/// Rows of one INSERT.
const ROWS: usize = 400;

/// The statements of a file, remarks left out.
fn statements(text: &str) -> Vec<String> {
    let plain = text.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
    plain.split(';').map(|sql| sql.trim().to_owned()).filter(|sql| !sql.is_empty()).collect()
}

/// The rows of a table, as TPC-H's generator prints them: values between bars.
fn rows(table: &str, scale: f64) -> Vec<String> {
    fn all<T: Display>(rows: impl Iterator<Item = T>) -> Vec<String> {
        rows.map(|row| row.to_string()).collect()
    }
    match table {
        "region" => all(tpch::RegionGenerator::new(scale, 1, 1).iter()),
        "nation" => all(tpch::NationGenerator::new(scale, 1, 1).iter()),
        "part" => all(tpch::PartGenerator::new(scale, 1, 1).iter()),
        "supplier" => all(tpch::SupplierGenerator::new(scale, 1, 1).iter()),
        "partsupp" => all(tpch::PartSuppGenerator::new(scale, 1, 1).iter()),
        "customer" => all(tpch::CustomerGenerator::new(scale, 1, 1).iter()),
        "orders" => all(tpch::OrderGenerator::new(scale, 1, 1).iter()),
        "lineitem" => all(tpch::LineItemGenerator::new(scale, 1, 1).iter()),
        other => panic!("no table of TPC-H: {other}"),
    }
}

/// Which columns of a table are numbers.
fn numbers(sqlite: &rusqlite::Connection, table: &str) -> Vec<bool> {
    let types = expected(sqlite, &format!("SELECT type IN ('INTEGER', 'REAL') FROM pragma_table_info('{table}')"));
    types.iter().map(|row| row[0] == Value::Integer(1)).collect()
}

fn insert(table: &str, numbers: &[bool], rows: &[String]) -> String {
    let row = |row: &String| {
        let values = row.trim_end_matches('|').split('|').zip(numbers);
        let values = values
            .map(|(value, number)| if *number { value.to_owned() } else { format!("'{}'", value.replace('\'', "''")) });
        format!("({})", values.collect::<Vec<_>>().join(", "))
    };
    format!("INSERT INTO {table} VALUES {}", rows.iter().map(row).collect::<Vec<_>>().join(", "))
}

fn expected(sqlite: &rusqlite::Connection, sql: &str) -> Vec<Vec<Value>> {
    let mut statement = sqlite.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let width = statement.column_count();
    let value = |row: &rusqlite::Row<'_>, index| match row.get_ref(index).unwrap() {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) => Value::Text(String::from_utf8(text.to_vec()).unwrap()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    };
    let rows = statement.query_map((), |row| Ok((0..width).map(|index| value(row, index)).collect())).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// Where SQLite has reals these are sums of products, each of which it rounds: as near as 60,000 roundings leave them.
/// What is no real is the same.
fn alike(ours: &Value, sqlite: &Value) -> bool {
    match (ours, sqlite) {
        (Value::Real(a), Value::Integer(b)) => *a == *b as f64,
        (Value::Date(_), Value::Text(b)) => ours.to_string() == *b,
        (Value::Numeric(a), Value::Real(b)) => (a.to_real() - b).abs() <= 1e-11 * b.abs().max(1.0),
        _ => ours == sqlite,
    }
}

#[test]
fn queries_give_sqlites_answers() {
    let conformance = std::env::var_os("CONFORMANCE").is_some();
    let set = |variable: &str, default: f64| std::env::var(variable).map_or(default, |text| text.parse().unwrap());
    let (scale, nodes) = (set("TPCH_SCALE", 0.01), set("TPCH_NODES", if conformance { 16.0 } else { 1.0 }) as usize);
    let mut ours = Database::new(nodes);
    let sqlite = rusqlite::Connection::open_in_memory().unwrap();
    sqlite.pragma_update(None, "case_sensitive_like", true).unwrap();
    let began = Instant::now();
    let mut count = 0;
    for sql in statements(include_str!("tpch/schema.sql")) {
        ours.sql(&sql).unwrap();
        sqlite.execute(&sql.replace("NUMERIC(15,2)", "REAL").replace("DATE", "TEXT"), ()).unwrap();
        let table = sql.split_whitespace().nth(2).unwrap();
        let numbers = numbers(&sqlite, table);
        let rows = rows(table, scale);
        count += rows.len();
        for rows in rows.chunks(ROWS) {
            let sql = insert(table, &numbers, rows);
            assert_eq!(ours.sql(&sql).unwrap().affected, rows.len() as u64, "{table}");
            sqlite.execute(&sql, ()).unwrap();
        }
    }
    println!("scale {scale}, {nodes} nodes: {count} rows in {:.1} s", began.elapsed().as_secs_f64());
    let queries = statements(include_str!("tpch/queries.sql"));
    let theirs = statements(include_str!("tpch/sqlite.sql"));
    assert_eq!((queries.len(), theirs.len()), (22, 22));
    let mut wrong = Vec::new();
    let all = || (1..).zip(&queries).zip(&theirs);
    // With nothing known of the tables, with statistics, and with strategies forced: each query with another one, or, of
    // the whole conformance, with each.
    let with =
        all().map(|all| (false, JoinStrategy::Auto, all)).chain(all().map(|all| (true, JoinStrategy::Auto, all)));
    let each = |(all, turn): (_, usize)| {
        let strategies = if conformance { JoinStrategy::ALL.to_vec() } else { vec![JoinStrategy::ALL[turn % 7]] };
        strategies.into_iter().map(move |strategy| (true, strategy, all))
    };
    let with = with.chain(all().zip(0..).flat_map(each));
    let mut analyzed = false;
    for (analyze, strategy, ((number, sql), theirs)) in with {
        ours.join_by(strategy);
        if analyze && !analyzed {
            let began = Instant::now();
            ours.sql("ANALYZE").unwrap();
            println!("analyzed in {:.1} s", began.elapsed().as_secs_f64());
            analyzed = true;
        }
        let began = Instant::now();
        let result = ours.sql(sql);
        let took = began.elapsed().as_secs_f64();
        let expected = expected(&sqlite, theirs);
        let rows = match result {
            Ok(result) => result.rows,
            Err(error) => {
                println!("query {number}: {error}");
                wrong.push(number);
                continue;
            }
        };
        let row = |(ours, theirs): (&Vec<Value>, &Vec<Value>)| ours.iter().zip(theirs).all(|(a, b)| alike(a, b));
        let right = rows.len() == expected.len() && rows.iter().zip(&expected).all(row);
        println!(
            "query {number}, {}: {} rows, {took:.1} s{}",
            strategy.name(),
            rows.len(),
            if right { "" } else { ", WRONG" }
        );
        if !right {
            println!("  ours   {:?}\n  SQLite {:?}", &rows[..rows.len().min(5)], &expected[..expected.len().min(5)]);
            wrong.push(number);
        }
    }
    println!("TPC-H: {} answers are not SQLite's", wrong.len());
    assert_eq!(wrong, Vec::<i32>::new());
}
