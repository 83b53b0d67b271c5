//! `sql-local`: one peer without a network beside SQLite in memory, in the same process and run.
//!
//! | | Pontoon | SQLite |
//! |---|---|---|
//! | kept | a node's store, its disk answers from memory | `:memory:` |
//! | asked | text and parameters, by the node's commands, as a host may do | prepared statements |
//! | insert | statements of 1,000 rows, all parameters | one transaction, one prepared statement a row |
//! | a row counts | once it is acknowledged, with its version and the catalog looked at | once it is inserted |
//!
//! Both answer the same questions and their rows are compared. `ratio` is SQLite's time over ours: above 1 we are faster.

use std::time::{Duration, Instant};

use chacha20::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};
use pontoon_core::{
    Command, Config, Reply,
    crypto::Ed25519,
    data::{QueryResult, Row, Value, order::compare_rows},
    exec::{Need, run::Env},
    sql::{
        asking::{Asking, Definitions},
        prepared::Statements,
    },
    trust::User,
};
use rusqlite::{Connection, params_from_iter, types::Value as Sql};
use serde_json::json;

use crate::{local::Local, report::Report};

/// Rows of the large table, unless `--ops` says otherwise.
pub const ROWS: usize = 100_000;
/// Rows of the small one.
const SMALL: usize = 1_000;
/// Rows of one INSERT.
pub const BATCH: usize = 1_000;
/// Rows that are selected by key.
const POINTS: usize = 20_000;
/// How often a query runs; the median counts.
const TIMES: usize = 9;
const PATIENCE: Duration = Duration::from_secs(60);

/// Both tables.
pub const TABLES: [&str; 2] = [
    "CREATE TABLE sales (id INTEGER PRIMARY KEY, item INTEGER, amount REAL, note TEXT, day INTEGER)",
    "CREATE TABLE items (item INTEGER PRIMARY KEY, name TEXT, kind INTEGER)",
];
const WIDTHS: [usize; 2] = [5, 3];

/// The queries that are timed: name and text. Half of the days pass the filter.
pub const QUERIES: [(&str, &str); 3] = [
    ("range", "SELECT id, amount FROM sales WHERE day >= 500 AND day < 510"),
    (
        "group",
        "SELECT item, count(*) AS n, sum(day) AS days, min(amount) AS least, max(amount) AS most FROM sales \
         WHERE day < 500 GROUP BY item ORDER BY n DESC, item",
    ),
    (
        "join",
        "SELECT i.kind, count(*) AS n, sum(s.day) AS days, max(s.amount) AS most FROM sales s \
         JOIN items i ON s.item = i.item GROUP BY i.kind ORDER BY n DESC, i.kind LIMIT 10",
    ),
];
/// What the range is read by in the end.
pub const INDEX: &str = "CREATE INDEX by_day ON sales (day)";
/// A row by its key.
pub const POINT: &str = "SELECT item, amount, note FROM sales WHERE id = $1";

/// SQL over one node: parses, plans, runs, as a host may do.
struct Host {
    local: Local,
    user: Option<User>,
    definitions: Definitions,
    texts: Statements,
    statements: u128,
}

impl Host {
    /// With `signed` it acts for a user: the tables belong to that user, and every row is signed, verified and judged.
    fn new(seed: u64, signed: bool) -> Result<Host, String> {
        let config = Config { network: "sql-local".to_owned(), ..Config::default() };
        let mut local = Local::new(1, &config, seed);
        local.settle(1, PATIENCE)?;
        let user = if signed { local.act_with(0, Ed25519::from_seed(&[1; 32])) } else { None };
        Ok(Host { local, user, definitions: Definitions::default(), texts: Statements::default(), statements: 0 })
    }

    fn text(&mut self, sql: &str, params: Vec<Value>) -> Result<QueryResult, String> {
        let statement = self.texts.get(sql, |sql| pontoon_parser::parse_one(sql).map_err(text))?;
        self.statements += 1;
        let env = Env {
            now_us: self.local.wall_us(),
            random: self.statements,
            me: self.local.id(0),
            user: self.user,
            locality_bits: 0,
        };
        let mut asking = Asking::new(statement, params, env, &mut self.definitions);
        loop {
            while let Some(need) = asking.poll() {
                let (need, command) = match need {
                    Need::Ops { need, ops } => (need, Command::Keys { ops, deadline_us: None }),
                    Need::Gather { need, fragment } => {
                        (need, Command::Gather { fragment, except: Box::default(), deadline_us: None })
                    }
                    Need::Join { need, plan } => (need, Command::Join { plan, deadline_us: None }),
                    Need::Agree { need, with } => (need, Command::Agree { with }),
                };
                match self.local.ask(0, command, Instant::now() + PATIENCE) {
                    Some(Ok(Reply::Keys(outcomes, cost))) => {
                        asking.on_ops(&mut self.definitions, need, outcomes, cost);
                    }
                    Some(Ok(Reply::Gathered(partial, end))) => {
                        asking.on_gathered(&mut self.definitions, need, *partial, end);
                    }
                    Some(Ok(Reply::Agreed(agreed))) => asking.on_agreed(&mut self.definitions, need, agreed),
                    other => return Err(format!("a command ended with {other:?}")),
                }
            }
            if let Some(result) = asking.finished() {
                let result = result.map_err(|error| error.to_string())?;
                if result.coverage < 1.0 {
                    return Err(format!("coverage {}", result.coverage));
                }
                return Ok(result);
            }
        }
    }
}

/// The rows of both tables.
pub fn data(seed: u64, rows: usize) -> [Vec<Row>; 2] {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = |below: u64| (rng.next_u64() % below) as i64;
    let sales = (0..rows as i64).map(|id| {
        let note = if draw(10) == 0 { Value::Null } else { Value::Text(format!("note {} of {id}", draw(1_000))) };
        let (item, amount, day) = (draw(SMALL as u64), draw(100_000) as f64 / 64.0, draw(1_000));
        vec![Value::Integer(id), Value::Integer(item), Value::Real(amount), note, Value::Integer(day)]
    });
    let sales = sales.collect();
    let items = (0..SMALL as i64)
        .map(|item| vec![Value::Integer(item), Value::Text(format!("item {item}")), Value::Integer(draw(50))]);
    [sales, items.collect()]
}

/// `sql-local`: see the module.
pub fn sql_local(report: &Report) -> Result<(), String> {
    let (seed, rows) = (report.options.seed(), report.options.ops.unwrap_or(ROWS));
    let data = data(seed, rows);
    let mut host = Host::new(seed, false)?;
    let mut rival = Connection::open_in_memory().map_err(text)?;
    let print = |op: &str, ours: Duration, theirs: Duration, rows: usize| {
        let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
        let ms = |took: Duration| json!(took.as_secs_f64() * 1e3);
        let more = [
            ("op", json!(op)),
            ("rows", json!(rows)),
            ("pontoon_ms", ms(ours)),
            ("sqlite_ms", ms(theirs)),
            ("seed", json!(seed)),
        ];
        report.measured("sql-local", "ratio", ratio, "", &more);
    };

    for table in TABLES {
        host.text(table, Vec::new())?;
        rival.execute_batch(table).map_err(text)?;
    }
    for ((name, width), rows) in ["sales", "items"].into_iter().zip(WIDTHS).zip(&data) {
        let (ours, theirs) = (insert(&mut host, name, width, rows)?, insert_rival(&mut rival, name, width, rows)?);
        if name == "sales" {
            print("insert", ours, theirs, rows.len());
            if report.options.signed {
                let mut signing = Host::new(seed, true)?;
                signing.text(TABLES[0], Vec::new())?;
                let signed = insert(&mut signing, name, width, rows)?;
                print("insert-signed", signed, theirs, rows.len());
                let ratio = ours.as_secs_f64() / signed.as_secs_f64();
                report.measured("sql-local", "signed_over_plain", ratio, "", &[("rows", json!(rows.len()))]);
            }
        }
    }

    let (ours, theirs) = points(&mut host, &rival, seed, rows)?;
    print("point", ours, theirs, POINTS);

    let compare = |host: &mut Host, rival: &Connection, name: &str, query: &str| -> Result<(), String> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let mut prepared = rival.prepare(query).map_err(text)?;
        let mut count = 0;
        for _ in 0..report.options.times.unwrap_or(TIMES).max(1) {
            let begun = Instant::now();
            let mine = host.text(query, Vec::new())?.rows;
            ours.push(begun.elapsed());
            let begun = Instant::now();
            let other = select(&mut prepared, &[])?;
            theirs.push(begun.elapsed());
            count = mine.len();
            same(name, mine, other, query.contains("ORDER BY"))?;
        }
        print(name, median(ours), median(theirs), count);
        Ok(())
    };
    for (name, query) in QUERIES {
        compare(&mut host, &rival, name, query)?;
    }
    let begun = Instant::now();
    host.text(INDEX, Vec::new())?;
    let ours = begun.elapsed();
    let begun = Instant::now();
    rival.execute_batch(INDEX).map_err(text)?;
    print("create-index", ours, begun.elapsed(), rows);
    compare(&mut host, &rival, "range-index", QUERIES[0].1)
}

fn median(mut took: Vec<Duration>) -> Duration {
    took.sort_unstable();
    took[took.len() / 2]
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn insert(host: &mut Host, table: &str, width: usize, rows: &[Row]) -> Result<Duration, String> {
    let marks = |row: usize| {
        let marks: Vec<String> = (1..=width).map(|column| format!("${}", row * width + column)).collect();
        format!("({})", marks.join(", "))
    };
    let sql = |count: usize| {
        format!("INSERT INTO {table} VALUES {}", (0..count).map(marks).collect::<Vec<String>>().join(", "))
    };
    let full = sql(BATCH);
    let parameters: Vec<Vec<Value>> = rows.chunks(BATCH).map(|rows| rows.concat()).collect();
    let begun = Instant::now();
    for params in parameters {
        let count = params.len() / width;
        let result = match count {
            BATCH => host.text(&full, params)?,
            fewer => host.text(&sql(fewer), params)?,
        };
        if result.affected != count as u64 {
            return Err(format!("{} of {count} rows were inserted", result.affected));
        }
    }
    Ok(begun.elapsed())
}

fn insert_rival(rival: &mut Connection, table: &str, width: usize, rows: &[Row]) -> Result<Duration, String> {
    let rows: Vec<Vec<Sql>> = rows.iter().map(|row| row.iter().map(sql).collect()).collect();
    let begun = Instant::now();
    let transaction = rival.transaction().map_err(text)?;
    let mut prepared =
        transaction.prepare(&format!("INSERT INTO {table} VALUES ({})", vec!["?"; width].join(", "))).map_err(text)?;
    for row in rows {
        prepared.execute(params_from_iter(row)).map_err(text)?;
    }
    drop(prepared);
    transaction.commit().map_err(text)?;
    Ok(begun.elapsed())
}

/// Keys of rows that are there.
pub fn keys(seed: u64, rows: usize, count: usize) -> Vec<i64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed + 1);
    (0..count).map(|_| (rng.next_u64() % rows as u64) as i64).collect()
}

/// Rows by their keys, one after the other.
fn points(host: &mut Host, rival: &Connection, seed: u64, rows: usize) -> Result<(Duration, Duration), String> {
    let keys = keys(seed, rows, POINTS);
    let begun = Instant::now();
    let mut mine = Vec::with_capacity(POINTS);
    for key in &keys {
        mine.extend(host.text(POINT, vec![Value::Integer(*key)])?.rows);
    }
    let ours = begun.elapsed();
    let begun = Instant::now();
    let mut prepared = rival.prepare(POINT).map_err(text)?;
    let mut other = Vec::with_capacity(POINTS);
    for key in &keys {
        other.extend(select(&mut prepared, &[Sql::Integer(*key)])?);
    }
    let theirs = begun.elapsed();
    same("point", mine, other, true)?;
    Ok((ours, theirs))
}

fn select(prepared: &mut rusqlite::Statement<'_>, params: &[Sql]) -> Result<Vec<Row>, String> {
    let width = prepared.column_count();
    let mut found = prepared.query(params_from_iter(params)).map_err(text)?;
    let mut rows = Vec::new();
    while let Some(row) = found.next().map_err(text)? {
        let mut values = Row::with_capacity(width);
        for column in 0..width {
            values.push(match row.get::<_, Sql>(column).map_err(text)? {
                Sql::Null => Value::Null,
                Sql::Integer(number) => Value::Integer(number),
                Sql::Real(number) => Value::Real(number),
                Sql::Text(text) => Value::Text(text),
                Sql::Blob(bytes) => Value::Blob(bytes),
            });
        }
        rows.push(values);
    }
    Ok(rows)
}

fn sql(value: &Value) -> Sql {
    match value {
        Value::Null => Sql::Null,
        Value::Integer(number) => Sql::Integer(*number),
        Value::Real(number) => Sql::Real(*number),
        other => Sql::Text(other.to_string()),
    }
}

/// Whether both gave the same rows, in the same order where there is one.
fn same(what: &str, mut ours: Vec<Row>, mut theirs: Vec<Row>, ordered: bool) -> Result<(), String> {
    if !ordered {
        ours.sort_by(|a, b| compare_rows(a, b));
        theirs.sort_by(|a, b| compare_rows(a, b));
    }
    if ours == theirs && !ours.is_empty() {
        return Ok(());
    }
    let differ = ours.iter().zip(&theirs).find(|(a, b)| a != b);
    Err(format!("{what}: {} rows, SQLite has {}; the first that differ: {differ:?}", ours.len(), theirs.len()))
}
