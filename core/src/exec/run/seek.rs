//! Looks for the rows of a table that have given values in some columns: by key, by an index, or through all of it.

use super::{host::Host, query::QueryJob};
use crate::{
    Error,
    data::{Nested, Row, Value, codec},
    exec::{
        plan::{Flow, IndexScan, Op, Source},
        references::{Related, Way},
    },
    sql::{
        ast::BinaryOp,
        index::{beginning, encode},
        scalar::Scalar,
    },
};

/// Values that are looked for at once.
const KEYS_AT_ONCE: usize = 500;
/// Of more values than this owners are not told: all rows are looked at.
const KEYS_TOLD_MAX: usize = 4 * KEYS_AT_ONCE;

/// Begins to look for rows with some of these values; who asks judges what is found, for it may be more.
pub(super) fn seek(
    host: &mut Host,
    related: &Related,
    way: &Way,
    slots: &[u32],
    values: &[Row],
) -> Result<Vec<QueryJob>, Error> {
    let sources = if matches!(way, Way::Scan) && values.len() > KEYS_TOLD_MAX {
        vec![related.source.clone()]
    } else {
        values.chunks(KEYS_AT_ONCE).map(|values| source(related, way, slots, values)).collect()
    };
    let mut jobs = Vec::with_capacity(sources.len());
    for source in sources {
        let mut job = QueryJob::new(Flow(vec![Op::Source(source)]), Vec::new())?;
        job.open(host)?;
        jobs.push(job);
    }
    Ok(jobs)
}

/// Gives the rows that have some values.
fn source(related: &Related, way: &Way, slots: &[u32], values: &[Row]) -> Source {
    let mut source = related.source.clone();
    match way {
        Way::Key(order) => {
            let key = |row: &Row| codec::encode_key(&order.iter().map(|at| row[*at].clone()).collect::<Row>());
            source.keys = Some(values.iter().map(key).collect());
        }
        Way::Index(scan, order) => {
            let begin = |row: &Row| order.iter().flat_map(|(at, turn)| encode(&row[*at], *turn)).collect::<Vec<u8>>();
            let ranges = values.iter().map(|row| beginning(begin(row))).collect();
            source.index = Some(Box::new(IndexScan { ranges, ..(**scan).clone() }));
            source.fragment.filter = filter(slots, values);
        }
        Way::Scan => source.fragment.filter = filter(slots, values),
    }
    source
}

/// Whether a row has some of these values.
fn filter(slots: &[u32], values: &[Row]) -> Option<Scalar> {
    let literal = |value: &Value| Nested::new(Scalar::Literal(value.clone()));
    if let [slot] = slots {
        let list = values.iter().flatten().map(literal).collect();
        return Some(Scalar::In(Nested::new(Scalar::Column(*slot)), list));
    }
    // As flat as it can be: what is too deep is not decoded.
    if values.len() > 1 {
        let (left, right) = values.split_at(values.len() / 2);
        return Some(Scalar::Binary(
            BinaryOp::Or,
            Nested::new(filter(slots, left)?),
            Nested::new(filter(slots, right)?),
        ));
    }
    let equal = |(slot, value): (&u32, &Value)| {
        Scalar::Binary(BinaryOp::Eq, Nested::new(Scalar::Column(*slot)), literal(value))
    };
    Scalar::all(slots.iter().zip(values.first()?).map(equal).collect())
}
