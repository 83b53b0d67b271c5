//! Sources that wait for what others give; see [`reduce`](crate::sql::reduce).

use crate::{
    data::{Value, codec},
    exec::{ops::Batch, plan::Source},
    map::Map,
    sql::reduce::reduced,
};

/// Values that are worth asking for one by one.
pub const VALUES_MAX: usize = 1_000;

/// The same, of all iterations of a recursion.
const WALK_MAX: usize = 10_000;

/// A source that waits.
struct Waiting {
    index: usize,
    source: Source,
    /// Which column of what the other source gives.
    column: usize,
    /// Different values that are not NULL, by their encoding; `None`: too many.
    values: Option<Map<Vec<u8>, Value>>,
    /// How many values were asked for, iteration by iteration.
    asked: usize,
}

/// The sources of a query that wait, by whom they wait for.
#[derive(Default)]
pub(super) struct Waits(Vec<(usize, Waiting)>);

impl Waits {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A source that waits; it is given back if it need not.
    pub fn push(&mut self, index: usize, source: Source) -> Option<Source> {
        let Some(after) = &source.after else { return Some(source) };
        let (by, column) = (after.source, after.column);
        self.0.push((by, Waiting { index, source, column, values: Some(Map::new()), asked: 0 }));
        None
    }

    /// The sources that wait for a recursion: as it were for themselves.
    pub fn walks(&self) -> Vec<usize> {
        self.0.iter().filter(|(by, waiting)| *by == waiting.index).map(|(by, _)| *by).collect()
    }

    /// Such a source with these values; not reduced, where these are too many, or with those of before.
    pub fn walk(&mut self, index: usize, values: Vec<Value>) -> Option<Source> {
        let (_, waiting) = self.0.iter_mut().find(|(by, waiting)| *by == index && waiting.index == index)?;
        waiting.asked += values.len();
        let many = values.len() > VALUES_MAX || waiting.asked > WALK_MAX;
        let source = waiting.source.clone();
        Some(if many { source } else { reduced(source, values) })
    }

    /// Nobody waits for what such a source gives.
    pub fn walked(&mut self, index: usize) {
        self.0.retain(|(by, waiting)| *by != index || waiting.index != index);
    }

    /// What a source gives.
    pub fn see(&mut self, source: usize, batch: &Batch) {
        for (_, waiting) in self.0.iter_mut().filter(|(by, waiting)| *by == source && waiting.index != source) {
            let column = waiting.column;
            for value in batch.values(column) {
                let Some(values) = &mut waiting.values else { break };
                if !value.is_null() {
                    values.insert(codec::encode_key(core::slice::from_ref(&value)), value);
                }
                if values.len() > VALUES_MAX {
                    waiting.values = None;
                }
            }
        }
    }

    /// A source has given everything: who waited for it need not wait any more.
    pub fn end(&mut self, source: usize) -> Vec<(usize, Source)> {
        let ready = self.0.extract_if(.., |(by, _)| *by == source);
        ready
            .map(|(_, Waiting { index, source, values, .. })| match values {
                Some(values) => (index, reduced(source, values.into_values().collect())),
                None => (index, source),
            })
            .collect()
    }
}
