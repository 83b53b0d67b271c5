//! Random queries over random tables, answered by Pontoon and by SQLite: a differential fuzzer that shrinks what it finds.
//!
//! | file | does |
//! |---|---|
//! | `choices` | the choices that a generator makes, from a seed or replayed |
//! | `tables` | tables, rows and indexes |
//! | `generate` | queries and changes |

mod choices;
mod generate;
mod tables;

use choices::Choices;
use generate::Generated;
use pontoon_core::{data::Value, exec::local::Local};
use rusqlite::types::ValueRef;
use tables::Tables;

use crate::sim::mix;

/// Statements over the tables of one seed.
pub const STATEMENTS_OF_A_SEED: u64 = 20;
/// Attempts to make a failure smaller.
const SHRINKS_MAX: usize = 3_000;

/// What came of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Statements that both answer alike.
    pub agreed: u64,
    /// Of these, with at least one row.
    pub with_rows: u64,
    /// Of the statements that agree, those of which an index had the first rows, or some conditions.
    pub by_index: [u64; 2],
    /// Statements that Pontoon refuses as not supported or too complex.
    pub refused: u64,
    /// Statements whose integers overflow, which SQLite takes for reals.
    pub overflowed: u64,
}

impl Tally {
    /// Both together.
    pub fn and(self, other: Tally) -> Tally {
        Tally {
            agreed: self.agreed + other.agreed,
            with_rows: self.with_rows + other.with_rows,
            by_index: [0, 1].map(|at| self.by_index[at] + other.by_index[at]),
            refused: self.refused + other.refused,
            overflowed: self.overflowed + other.overflowed,
        }
    }
}

/// How two answers compare.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Agree {
        rows: bool,
    },
    Refused,
    Overflow,
    /// SQLite does not understand it: the generator's fault.
    Invalid(String),
    Differ(String),
}

/// A row as both print it.
type Row = Vec<String>;

fn real(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 { (number as i64).to_string() } else { format!("{number:.9}") }
}

/// Both engines, with the same tables.
pub struct Pair {
    ours: Local,
    sqlite: rusqlite::Connection,
}

impl Pair {
    /// Without tables; ours is spread over so many owners.
    pub fn new(owners: usize, salt: u64) -> Result<Pair, String> {
        let sqlite = rusqlite::Connection::open_in_memory().map_err(|error| error.to_string())?;
        sqlite.pragma_update(None, "case_sensitive_like", true).map_err(|error| error.to_string())?;
        let mut ours = Local::new();
        ours.split(owners, salt);
        Ok(Pair { ours, sqlite })
    }

    /// What SQLite says.
    fn expected(&self, sql: &str) -> Result<Vec<Row>, rusqlite::Error> {
        let mut statement = self.sqlite.prepare(sql)?;
        let width = statement.column_count();
        let mut rows = statement.query(())?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            let text = |index| {
                Ok(match row.get_ref(index)? {
                    ValueRef::Null => "NULL".to_owned(),
                    ValueRef::Integer(number) => number.to_string(),
                    ValueRef::Real(number) => real(number),
                    ValueRef::Text(text) => format!("'{}'", String::from_utf8_lossy(text)),
                    ValueRef::Blob(bytes) => format!("{bytes:?}"),
                })
            };
            all.push((0..width).map(text).collect::<Result<Row, rusqlite::Error>>()?);
        }
        Ok(all)
    }

    fn found(&mut self, sql: &str) -> Result<Vec<Row>, pontoon_core::Error> {
        let result = self.ours.execute(pontoon_parser::parse_one(sql)?, Vec::new())?;
        let text = |value: &Value| match value {
            Value::Null => "NULL".to_owned(),
            Value::Real(number) => real(*number),
            Value::Boolean(truth) => i64::from(*truth).to_string(),
            Value::Text(text) => format!("'{text}'"),
            other => other.to_string(),
        };
        Ok(result.rows.iter().map(|row| row.iter().map(text).collect()).collect())
    }

    /// Runs a statement in both; what differs, if anything.
    pub fn compare(&mut self, sql: &str, ordered: bool) -> Option<String> {
        match self.verdict(sql, ordered) {
            Verdict::Agree { .. } => None,
            other => Some(format!("{sql}\n  {other:?}")),
        }
    }

    fn verdict(&mut self, sql: &str, ordered: bool) -> Verdict {
        let mut ours = match self.found(sql) {
            Ok(rows) => rows,
            Err(error) => match error.code() {
                "feature_not_supported" | "statement_too_complex" => return Verdict::Refused,
                "numeric_value_out_of_range" => return Verdict::Overflow,
                _ => {
                    return match self.expected(sql) {
                        Ok(rows) => Verdict::Differ(format!("ours   {}: {error}\n  SQLite {rows:?}", error.code())),
                        Err(error) => Verdict::Invalid(error.to_string()),
                    };
                }
            },
        };
        let mut expected = match self.expected(sql) {
            Ok(rows) => rows,
            Err(error) => return Verdict::Invalid(error.to_string()),
        };
        if !ordered {
            ours.sort();
            expected.sort();
        }
        if ours == expected {
            Verdict::Agree { rows: !ours.is_empty() }
        } else {
            Verdict::Differ(format!("ours   {ours:?}\n  SQLite {expected:?}"))
        }
    }

    fn of(tables: &Tables, salt: u64) -> Result<Pair, String> {
        let mut pair = Pair::new(1 + (salt % 5) as usize, salt)?;
        for sql in &tables.statements {
            pair.compare(sql, true).map_or(Ok(()), Err)?;
        }
        Ok(pair)
    }

    /// Whether an index has the first rows of a statement in it, or some conditions.
    fn by_index(&mut self, sql: &str) -> [bool; 2] {
        let lines: Vec<String> = self.found(&format!("EXPLAIN {sql}")).unwrap_or_default().concat();
        let scans =
            |first: bool| lines.iter().any(|line| line.contains("IndexScan") && line.contains(", first ") == first);
        [scans(true), scans(false)]
    }

    fn judge(&mut self, statement: &Generated) -> Verdict {
        let verdict = self.verdict(&statement.sql, statement.ordered);
        match (&statement.changes, &verdict) {
            (Some(table), Verdict::Agree { .. }) => self.verdict(&format!("SELECT * FROM {table}"), false),
            _ => verdict,
        }
    }
}

/// Runs the statements of a seed; the first that the two engines answer differently, as small as it could be made.
pub fn run(seed: u64) -> Result<Tally, String> {
    let mut choices = Choices::random(mix(seed, 0));
    let tables = tables::tables(&mut choices);
    let of_tables = choices.made();
    let mut pair = Pair::of(&tables, seed)?;
    let mut tally = Tally::default();
    for number in 1..=STATEMENTS_OF_A_SEED {
        let mut choices = Choices::random(mix(seed, number));
        let statement = generate::statement(&tables, &mut choices);
        match pair.judge(&statement) {
            Verdict::Agree { rows } => {
                tally.agreed += 1;
                tally.with_rows += u64::from(rows);
                let by_index = pair.by_index(&statement.sql);
                [0, 1].into_iter().for_each(|at| tally.by_index[at] += u64::from(by_index[at]));
            }
            Verdict::Refused => tally.refused += 1,
            Verdict::Overflow => tally.overflowed += 1,
            Verdict::Invalid(_) | Verdict::Differ(_) => {
                return Err(format!("seed {seed}, statement {number}:\n{}", shrunk(seed, of_tables, choices.made())));
            }
        }
        if statement.changes.is_some() {
            pair = Pair::of(&tables, seed)?;
        }
    }
    Ok(tally)
}

/// The tables and the statement of these choices, with the verdict.
fn replay(seed: u64, of_tables: &[u32], of_statement: &[u32]) -> Result<(Vec<String>, Verdict), String> {
    let tables = tables::tables(&mut Choices::replay(of_tables.to_vec()));
    let statement = generate::statement(&tables, &mut Choices::replay(of_statement.to_vec()));
    let verdict = Pair::of(&tables, seed)?.judge(&statement);
    Ok(([tables.statements, vec![statement.sql]].concat(), verdict))
}

/// Takes choices away, or makes them smaller, while what comes of them still fails in the same way.
fn shrunk(seed: u64, of_tables: Vec<u32>, of_statement: Vec<u32>) -> String {
    let mut best = [of_tables, of_statement];
    let kind = |verdict: &Verdict| core::mem::discriminant(verdict);
    let Ok((mut statements, mut verdict)) = replay(seed, &best[0], &best[1]) else { return "not replayed".to_owned() };
    let mut attempts = 0;
    let mut size = best.iter().map(Vec::len).max().unwrap_or(0);
    while size > 0 {
        let mut better = false;
        for part in [1, 0] {
            let mut at = 0;
            while at < best[part].len() && attempts < SHRINKS_MAX {
                let end = (at + size).min(best[part].len());
                let mut without = best[part].clone();
                without.drain(at..end);
                let mut smaller = best[part].clone();
                smaller[at..end].iter_mut().for_each(|choice| *choice = if size == 1 { *choice / 2 } else { 0 });
                let candidates = [without, smaller].into_iter().filter(|other| *other != best[part]);
                let candidates: Vec<Vec<u32>> = candidates.collect();
                let found = candidates.into_iter().find_map(|candidate| {
                    attempts += 1;
                    let mut all = best.clone();
                    all[part] = candidate;
                    let (sql, found) = replay(seed, &all[0], &all[1]).ok()?;
                    (kind(&found) == kind(&verdict)).then_some((all, sql, found))
                });
                if let Some((all, sql, found)) = found {
                    (best, statements, verdict, better) = (all, sql, found, true);
                    if size > 1 {
                        continue;
                    }
                }
                at += size;
            }
        }
        if !better || attempts >= SHRINKS_MAX {
            size /= 2;
        }
    }
    let text = match verdict {
        Verdict::Differ(text) => text,
        other => format!("{other:?}"),
    };
    format!("{};\n  {text}", statements.join(";\n"))
}
