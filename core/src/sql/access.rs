//! Which way leads to the rows of a table: scans whose conditions say which entries of an index are read.
//!
//! An index serves as far as conditions give its columns, from the first on: one value, or some (`=`, `IN`), for each, and
//! a range (`<`, `BETWEEN`, `LIKE 'abc%'`) for the next. Of several indexes the one is taken whose columns are given most,
//! values before ranges.

use super::{
    ast::BinaryOp,
    index::{Index, KeyRange, beginning, encode, next, range},
    logical::{ColumnId, Scan},
    lookup::{constant, pinned},
    scalar::Scalar,
};
use crate::{
    data::{Type, Value, codec},
    exec::plan::IndexScan,
};

/// Ranges that are read of an index at once; more of them are a scan.
const RANGES_MAX: usize = 1_000;

/// The entries of the index that serves the conditions of a scan best.
pub fn index_scan(scan: &Scan) -> Option<IndexScan> {
    let (.., index, ranges) = best(scan)?;
    entries(scan, index, ranges)
}

/// How many columns have values in the index that serves the conditions of a scan best.
pub fn columns_given(scan: &Scan) -> usize {
    best(scan).map_or(0, |(columns, ..)| columns)
}

/// Entries of an index of the scan's table.
pub fn entries(scan: &Scan, index: &Index, ranges: Vec<KeyRange>) -> Option<IndexScan> {
    Some(IndexScan {
        name: index.name.clone(),
        namespace: index.namespace.clone(),
        locality_bits: scan.locality_bits,
        table: scan.table.clone()?,
        ranges,
        order: None,
    })
}

fn best(scan: &Scan) -> Option<(usize, bool, &Index, Vec<KeyRange>)> {
    let found = scan.indexes.iter().filter(|index| index.ready).filter_map(|index| ranges(scan, index));
    found.max_by_key(|(columns, bounded, ..)| (*columns, *bounded))
}

/// How many columns of an index have values, whether the next one has a range, and the entries.
fn ranges<'a>(scan: &Scan, index: &'a Index) -> Option<(usize, bool, &'a Index, Vec<KeyRange>)> {
    let mut begins: Vec<Vec<u8>> = vec![Vec::new()];
    for (position, (slot, descending)) in index.columns.iter().enumerate() {
        // A column that nobody reads has no conditions.
        let column = scan.columns.iter().find(|(_, other, _)| other == slot);
        let values = column
            .and_then(|(id, _, data_type)| scan.filter.iter().find_map(|conjunct| pinned(conjunct, *id, *data_type)));
        if let Some(values) = values.filter(|values| begins.len() * values.len() <= RANGES_MAX) {
            let mut parts: Vec<Vec<u8>> = values.iter().map(|value| encode(value, *descending)).collect();
            parts.sort_unstable();
            parts.dedup();
            let with = |begin: &Vec<u8>| parts.iter().map(|part| [&begin[..], part].concat()).collect::<Vec<_>>();
            begins = begins.iter().flat_map(with).collect();
            continue;
        }
        if let Some((low, high)) = column.and_then(|(id, _, data_type)| bounds(&scan.filter, *id, *data_type)) {
            let ranges = begins.iter().map(|begin| range(begin, low.clone(), high.clone(), *descending)).collect();
            return Some((position, true, index, ranges));
        }
        let all = |begins: Vec<Vec<u8>>| begins.into_iter().map(beginning).collect();
        return (position > 0).then(|| (position, false, index, all(begins)));
    }
    Some((index.columns.len(), false, index, begins.into_iter().map(beginning).collect()))
}

/// What the conditions say of a column: its encoding is from the first on, before the second.
pub fn bounds(filter: &[Scalar], id: ColumnId, data_type: Type) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut low, mut high): (Option<Vec<u8>>, Option<Vec<u8>>) = (None, None);
    let raise = |low: &mut Option<Vec<u8>>, to: Vec<u8>| *low = low.take().max(Some(to));
    let lower =
        |high: &mut Option<Vec<u8>>, to: Vec<u8>| *high = Some(high.take().map_or(to.clone(), |old| old.min(to)));
    for conjunct in filter {
        match conjunct {
            Scalar::Binary(op, a, b) => {
                let (op, other) = match (&**a, &**b) {
                    (Scalar::Column(column), other) if *column == id => (*op, other),
                    (other, Scalar::Column(column)) if *column == id => (mirrored(*op), other),
                    _ => continue,
                };
                let Some(value) = constant(other, data_type).filter(|value| !value.is_null()) else { continue };
                let from = encode(&value, false);
                let behind = next(from.clone()).unwrap_or_default();
                match op {
                    BinaryOp::Lt => lower(&mut high, from),
                    BinaryOp::Le => lower(&mut high, behind),
                    BinaryOp::Gt => raise(&mut low, behind),
                    BinaryOp::Ge => raise(&mut low, from),
                    _ => {}
                }
            }
            Scalar::Like(operand, pattern, false) if **operand == Scalar::Column(id) && data_type == Type::Text => {
                let Scalar::Literal(Value::Text(pattern)) = &**pattern else { continue };
                let fixed: String = pattern.chars().take_while(|char| !['%', '_', '\\'].contains(char)).collect();
                let mut begin = codec::encode_key(&[Value::Text(fixed.clone())]);
                if fixed.is_empty() {
                    continue;
                }
                // What ends a text is not there yet.
                begin.truncate(begin.len() - 2);
                lower(&mut high, next(begin.clone()).unwrap_or_default());
                raise(&mut low, begin);
            }
            _ => {}
        }
    }
    if low.is_none() && high.is_none() {
        return None;
    }
    // NULL is above everything, and in no range.
    Some((low.unwrap_or_default(), high.unwrap_or_else(|| encode(&Value::Null, false))))
}

fn mirrored(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Lt => BinaryOp::Gt,
        BinaryOp::Le => BinaryOp::Ge,
        BinaryOp::Gt => BinaryOp::Lt,
        BinaryOp::Ge => BinaryOp::Le,
        other => other,
    }
}
