//! Random tables with rows and indexes.

use super::choices::Choices;

/// The type of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whole numbers.
    Int,
    /// Text.
    Text,
    /// Quarters, so that sums are exact.
    Real,
}

use Kind::{Int, Real, Text};

/// What FROM can name.
#[derive(Clone, Debug)]
pub struct Relation {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<(String, Kind)>,
}

/// Tables, as statements that make them.
#[derive(Clone, Debug)]
pub struct Tables {
    /// `CREATE TABLE`, `INSERT` and `CREATE INDEX`.
    pub statements: Vec<String>,
    /// The same to be named in FROM.
    pub relations: Vec<Relation>,
}

/// Texts that rows have and queries compare with.
pub const TEXTS: &[&str] = &["'a'", "'b'", "'ab'", "''", "'B'", "'ba'", "'a b'"];

/// Random tables.
pub fn tables(choices: &mut Choices) -> Tables {
    let mut tables = Tables { statements: Vec::new(), relations: Vec::new() };
    for number in 0..1 + choices.below(3) {
        let name = format!("t{number}");
        let mut columns = Vec::new();
        let mut definitions = Vec::new();
        let key = choices.below(3);
        if key != 1 {
            columns.push(("k".to_owned(), Int));
            definitions.push(if key == 0 { "k INTEGER PRIMARY KEY" } else { "k INTEGER" }.to_owned());
        }
        for (kind, most) in [(Int, 2), (Text, 2), (Real, 1)] {
            let least = usize::from(kind == Int);
            for at in 0..least + choices.below(most + 1 - least) {
                let (letter, sql) = match kind {
                    Int => ("i", "INTEGER"),
                    Text => ("s", "TEXT"),
                    Real => ("r", "REAL"),
                };
                definitions.push(format!("{letter}{at} {sql}"));
                columns.push((format!("{letter}{at}"), kind));
            }
        }
        tables.statements.push(format!("CREATE TABLE {name} ({})", definitions.join(", ")));
        let mut rows = Vec::new();
        for row in 0..choices.below(7) {
            let mut values = Vec::new();
            for (column, kind) in &columns {
                let value = if column == "k" {
                    (row + choices.below(2) * 3 * key).to_string()
                } else if choices.once_in(4) {
                    "NULL".to_owned()
                } else {
                    match kind {
                        Int => (choices.below(9) as i64 - 3).to_string(),
                        Text => (*choices.pick(TEXTS)).to_owned(),
                        Real => format!("{:?}", choices.below(17) as f64 / 4.0 - 1.5),
                    }
                };
                values.push(value);
            }
            rows.push(format!("({})", values.join(", ")));
        }
        if !rows.is_empty() {
            tables.statements.push(format!("INSERT INTO {name} VALUES {}", rows.join(", ")));
        }
        for number in 0..choices.below(3) {
            let mut parts: Vec<String> = Vec::new();
            for _ in 0..1 + choices.below(2) {
                let (column, _) = choices.pick(&columns);
                if !parts.iter().any(|part| part.starts_with(column)) {
                    parts.push(format!("{column}{}", choices.pick(&["", " DESC"])));
                }
            }
            tables.statements.push(format!("CREATE INDEX {name}_{number} ON {name} ({})", parts.join(", ")));
        }
        tables.relations.push(Relation { name, columns });
    }
    tables
}
