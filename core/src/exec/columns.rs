//! Rows by column: what batches of many rows are made of.
//!
//! ```text
//!   rows      (1, 'a') × 1    (2, NULL) × 1    (3, 'c') × 2
//!   columns   integers 1 2 3  ·  texts "ac", ends 1 1 2, NULL at 1  ·  weights 1 1 2
//! ```
//!
//! A column of integers, reals or texts is a vector of them; any other type is a vector of values, and a column that
//! turns out to hold different types becomes one. Weights are there only where one of them is not 1.

use std::{borrow::Cow, sync::Arc};

use crate::{
    Error,
    data::{Row, SignedRow, Value, cell::Cell, codec},
    sql::fault::{INTERNAL, fail},
};

/// Whether batches of rows are kept and worked at by column. A module that has to be small does without: there a join
/// alone has columns, within.
pub const COLUMNS: bool = cfg!(feature = "columns");

/// The values of one column.
#[derive(Clone, Debug, Default)]
pub struct Column {
    data: Data,
    /// Where NULLs are; empty without any. Values and NULLs that are no values have something of their type there.
    nulls: Vec<bool>,
}

#[derive(Clone, Debug)]
enum Data {
    /// Nothing but so many NULLs: any type may follow.
    Nulls(usize),
    Integers(Vec<i64>),
    Reals(Vec<f64>),
    /// The texts one after the other, and where each of them ends.
    Texts(String, Vec<usize>),
    Values(Vec<Value>),
}

impl Default for Data {
    fn default() -> Data {
        Data::Nulls(0)
    }
}

impl Column {
    /// How many values it has.
    pub fn len(&self) -> usize {
        match &self.data {
            Data::Nulls(count) => *count,
            Data::Integers(numbers) => numbers.len(),
            Data::Reals(numbers) => numbers.len(),
            Data::Texts(_, ends) => ends.len(),
            Data::Values(values) => values.len(),
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One value over and over.
    pub fn constant(value: &Value, count: usize) -> Column {
        let mut column = Column::default();
        (0..count).for_each(|_| column.push(Cell::from(value)));
        column
    }

    /// A column of reals.
    pub fn of_reals(numbers: Vec<f64>) -> Column {
        Column { data: Data::Reals(numbers), nulls: Vec::new() }
    }

    /// Whether one of its values may be NULL.
    pub fn nullable(&self) -> bool {
        !self.nulls.is_empty() || matches!(self.data, Data::Nulls(_) | Data::Values(_))
    }

    /// Its integers, where it has nothing but.
    pub fn integers(&self) -> Option<&[i64]> {
        match &self.data {
            Data::Integers(numbers) if self.nulls.is_empty() => Some(numbers),
            _ => None,
        }
    }

    /// Its reals, where it has nothing but.
    pub fn reals(&self) -> Option<&[f64]> {
        match &self.data {
            Data::Reals(numbers) if self.nulls.is_empty() => Some(numbers),
            _ => None,
        }
    }

    /// The value at a place; NULL beyond the end.
    #[inline]
    pub fn cell(&self, at: usize) -> Cell<'_> {
        if self.nulls.get(at) == Some(&true) {
            return Cell::Null;
        }
        match &self.data {
            Data::Nulls(_) => Cell::Null,
            Data::Integers(numbers) => numbers.get(at).map_or(Cell::Null, |number| Cell::Integer(*number)),
            Data::Reals(numbers) => numbers.get(at).map_or(Cell::Null, |number| Cell::Real(*number)),
            Data::Texts(all, ends) => {
                let from = if at == 0 { Some(&0) } else { ends.get(at - 1) };
                let text = from.zip(ends.get(at)).and_then(|(from, to)| all.get(*from..*to));
                text.map_or(Cell::Null, Cell::Text)
            }
            Data::Values(values) => values.get(at).map_or(Cell::Null, Cell::from),
        }
    }

    /// Appends a value.
    #[inline]
    pub fn push(&mut self, cell: Cell<'_>) {
        match (&mut self.data, &cell) {
            (Data::Integers(numbers), Cell::Integer(number)) => numbers.push(*number),
            (Data::Reals(numbers), Cell::Real(number)) => numbers.push(*number),
            (Data::Texts(all, ends), Cell::Text(text)) => {
                all.push_str(text);
                ends.push(all.len());
            }
            _ => return self.push_unlike(cell),
        }
        if !self.nulls.is_empty() {
            self.nulls.push(false);
        }
    }

    /// Appends a value that is NULL, or not of the type so far.
    fn push_unlike(&mut self, cell: Cell<'_>) {
        let len = self.len();
        if let (Cell::Null, false) = (&cell, matches!(self.data, Data::Nulls(_) | Data::Values(_))) {
            self.nulls.resize(len, false);
            self.nulls.push(true);
        }
        match (&mut self.data, cell) {
            (Data::Nulls(count), Cell::Null) => *count += 1,
            (Data::Integers(numbers), Cell::Null) => numbers.push(0),
            (Data::Reals(numbers), Cell::Null) => numbers.push(0.0),
            (Data::Texts(all, ends), Cell::Null) => ends.push(all.len()),
            (Data::Values(values), cell) => values.push(cell.into()),
            (Data::Nulls(count), cell) => {
                let count = *count;
                self.nulls = vec![true; count];
                match cell {
                    Cell::Integer(_) => self.data = Data::Integers(vec![0; count]),
                    Cell::Real(_) => self.data = Data::Reals(vec![0.0; count]),
                    Cell::Text(_) => self.data = Data::Texts(String::new(), vec![0; count]),
                    _ => {
                        self.nulls.clear();
                        self.data = Data::Values(vec![Value::Null; count]);
                    }
                }
                self.push(cell);
            }
            (_, cell) => {
                let mut values: Vec<Value> = (0..len).map(|at| self.cell(at).into()).collect();
                values.push(cell.into());
                self.data = Data::Values(values);
                self.nulls.clear();
            }
        }
    }

    /// Appends another column's values.
    fn append(&mut self, other: &Column) {
        match (&mut self.data, &other.data) {
            (Data::Integers(numbers), Data::Integers(more)) if self.nulls.is_empty() && other.nulls.is_empty() => {
                numbers.extend_from_slice(more);
            }
            (Data::Reals(numbers), Data::Reals(more)) if self.nulls.is_empty() && other.nulls.is_empty() => {
                numbers.extend_from_slice(more);
            }
            _ => (0..other.len()).for_each(|at| self.push(other.cell(at))),
        }
    }

    /// The values at some places, in that order.
    pub fn take(&self, places: &[u32]) -> Column {
        let places = places.iter().map(|at| *at as usize);
        match &self.data {
            Data::Integers(numbers) if self.nulls.is_empty() => {
                Column { data: Data::Integers(places.map(|at| numbers[at]).collect()), nulls: Vec::new() }
            }
            Data::Reals(numbers) if self.nulls.is_empty() => {
                Column { data: Data::Reals(places.map(|at| numbers[at]).collect()), nulls: Vec::new() }
            }
            _ => {
                let mut column = Column::default();
                places.for_each(|at| column.push(self.cell(at)));
                column
            }
        }
    }

    /// Mixes its values into the hashes of their rows.
    pub fn hash_all(&self, hashes: &mut [u64]) {
        match self.integers() {
            Some(numbers) => {
                hashes.iter_mut().zip(numbers).for_each(|(hash, number)| *hash = Cell::Integer(*number).hash(*hash));
            }
            None => hashes.iter_mut().enumerate().for_each(|(at, hash)| *hash = self.cell(at).hash(*hash)),
        }
    }

    /// Whether a value equals one of another column; NULL equals NULL here.
    #[inline]
    pub fn same(&self, at: usize, other: &Column, other_at: usize) -> bool {
        match (self.integers(), other.integers()) {
            (Some(a), Some(b)) => a.get(at) == b.get(other_at),
            _ => self.cell(at).compare(&other.cell(other_at)).is_eq(),
        }
    }

    /// Bytes that its values take, about, as [`Value::bytes`] counts them.
    fn bytes(&self) -> usize {
        match &self.data {
            Data::Texts(all, ends) => 8 * ends.len() + all.len(),
            Data::Values(values) => values.iter().map(Value::bytes).sum(),
            _ => 8 * self.len(),
        }
    }
}

/// Rows with their weights, by column.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    len: usize,
    columns: Vec<Arc<Column>>,
    /// Empty where every row has the weight 1.
    weights: Vec<i64>,
}

impl Columns {
    /// Columns of one length, at least one of them.
    pub fn of_columns(columns: Vec<Arc<Column>>) -> Columns {
        Columns { len: columns.first().map_or(0, |column| column.len()), columns, weights: Vec::new() }
    }

    /// The columns without the weights.
    pub fn into_columns(self) -> Vec<Arc<Column>> {
        self.columns
    }

    /// Columns of one length, with the weights of other rows: one for each.
    pub fn with(columns: Vec<Arc<Column>>, like: &Columns) -> Columns {
        Columns { len: like.len, columns, weights: like.weights.clone() }
    }

    /// So many rows of NULLs.
    pub fn nulls(width: usize, len: usize) -> Columns {
        let column = Arc::new(Column { data: Data::Nulls(len), nulls: Vec::new() });
        Columns { len, columns: vec![column; width], weights: Vec::new() }
    }

    /// Rows as columns. Rows of different widths, which only hostile peers make, are an error.
    pub fn of(rows: Vec<SignedRow>) -> Result<Columns, Error> {
        let mut columns = Builder::new(rows.first().map_or(0, |signed| signed.row.len()));
        let mut weights = Vec::new();
        for signed in &rows {
            if signed.row.len() != columns.columns.len() {
                return fail(INTERNAL, "rows of different widths");
            }
            for (column, value) in columns.columns.iter_mut().zip(&signed.row) {
                column.push(Cell::from(value));
            }
            columns.len += 1;
            weights.push(signed.weight);
        }
        if weights.iter().all(|weight| *weight == 1) {
            weights.clear();
        }
        Ok(Columns { weights, ..columns.end() })
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many columns there are.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// A column; an error where a plan does not fit its rows.
    pub fn column(&self, position: u32) -> Result<&Column, Error> {
        match self.columns.get(position as usize) {
            Some(column) => Ok(column),
            None => fail(INTERNAL, format!("no column {position} in a row of {}", self.width())),
        }
    }

    /// The same, kept by several.
    pub fn shared(&self, position: u32) -> Result<Arc<Column>, Error> {
        self.column(position)?;
        Ok(self.columns[position as usize].clone())
    }

    /// The weight of a row.
    #[inline]
    pub fn weight(&self, at: usize) -> i64 {
        self.weights.get(at).copied().unwrap_or(1)
    }

    /// The rows at some places, in that order.
    pub fn take(&self, places: &[u32]) -> Columns {
        // Often it is all of them: then columns are shared.
        if places.len() == self.len && places.iter().zip(0..).all(|(place, at)| *place == at) {
            return self.clone();
        }
        let weights = if self.weights.is_empty() { &[][..] } else { places };
        Columns {
            len: places.len(),
            columns: self.columns.iter().map(|column| Arc::new(column.take(places))).collect(),
            weights: weights.iter().map(|at| self.weight(*at as usize)).collect(),
        }
    }

    /// Rows of two tables side by side; weights multiply.
    pub fn beside(self, mut right: Columns) -> Columns {
        let weights = if self.weights.is_empty() && right.weights.is_empty() { 0 } else { self.len };
        let weights = (0..weights).map(|at| self.weight(at).saturating_mul(right.weight(at))).collect();
        let mut columns = self.columns;
        columns.append(&mut right.columns);
        Columns { len: self.len, columns, weights }
    }

    /// Appends rows of the same width.
    pub fn append(&mut self, other: Columns) -> Result<(), Error> {
        if self.is_empty() {
            *self = other;
            return Ok(());
        }
        if self.width() != other.width() {
            return fail(INTERNAL, "rows of different widths");
        }
        if !self.weights.is_empty() || !other.weights.is_empty() {
            self.weights.resize(self.len, 1);
            self.weights.extend((0..other.len).map(|at| other.weight(at)));
        }
        self.len += other.len;
        for (column, more) in self.columns.iter_mut().zip(other.columns) {
            Arc::make_mut(column).append(&more);
        }
        Ok(())
    }

    /// A row, into one of before: texts go where texts were.
    pub fn fill(&self, at: usize, row: &mut Row) {
        row.resize(self.width(), Value::Null);
        for (value, column) in row.iter_mut().zip(&self.columns) {
            match (&mut *value, column.cell(at)) {
                (Value::Text(text), Cell::Text(other)) => {
                    text.clear();
                    text.push_str(other);
                }
                (value, cell) => *value = cell.into(),
            }
        }
    }

    /// A row.
    pub fn row(&self, at: usize) -> Row {
        self.columns.iter().map(|column| column.cell(at).into()).collect()
    }

    /// The values of a column.
    pub fn values(&self, column: usize) -> impl Iterator<Item = Value> + '_ {
        self.columns.get(column).into_iter().flat_map(|column| (0..self.len).map(|at| column.cell(at).into()))
    }

    /// All as rows.
    pub fn rows(&self) -> impl Iterator<Item = SignedRow> + '_ {
        (0..self.len).map(|at| SignedRow { row: self.row(at), weight: self.weight(at) })
    }

    /// Bytes of the rows, about.
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(|column| column.bytes()).fold(16 * self.len, usize::saturating_add)
    }
}

/// Makes columns of encoded rows.
#[derive(Debug)]
pub struct Builder {
    len: usize,
    columns: Vec<Column>,
}

impl Builder {
    /// No rows yet, of so many columns.
    pub fn new(width: usize) -> Builder {
        Builder { len: 0, columns: vec![Column::default(); width] }
    }

    /// Appends the columns named by `wanted` of an encoded row.
    pub fn decode(&mut self, record: &[u8], wanted: &[u32], missing: &[Value]) -> Result<(), codec::Malformed> {
        let columns = &mut self.columns;
        codec::visit_columns(record, wanted, missing, |at, cell| {
            if let Some(column) = columns.get_mut(at) {
                column.push(cell);
            }
        })?;
        self.len += 1;
        Ok(())
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What was made; goes on with no rows.
    pub fn take(&mut self) -> Columns {
        let width = self.columns.len();
        core::mem::replace(self, Builder::new(width)).end()
    }

    fn end(self) -> Columns {
        let columns = self.columns.into_iter().map(Arc::new).collect();
        Columns { len: self.len, columns, weights: Vec::new() }
    }
}

/// Columns that are borrowed, or made.
pub type Made<'a> = Cow<'a, Column>;
