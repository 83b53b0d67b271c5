//! Removes the records of a namespace that nobody can name any more.
//!
//! The keys are gathered, then removed batch by batch. What could not be removed is out of sight all the same.

use super::host::Host;
use crate::{
    data::Value,
    exec::fragment::{Decode, FragmentPlan, Output, Partial},
    sql::{catalog::TableDescriptor, scalar::Scalar},
    store::{Action, Expect, KeyOp},
    wire::PLAN_VERSION,
};

/// Records that are removed at once.
const PURGE_OPS: usize = 1_000;

/// See the module's documentation.
pub(super) struct Purge {
    /// The namespaces; the last one is under way.
    namespaces: Vec<String>,
    locality_bits: u8,
    keys: Vec<Vec<u8>>,
}

impl Purge {
    /// Asks for the keys of the first of some namespaces.
    pub fn begin(namespaces: Vec<String>, locality_bits: u8, host: &mut Host) -> Purge {
        let mut purge = Purge { namespaces, locality_bits, keys: Vec::new() };
        purge.namespaces.reverse();
        purge.gather(host);
        purge
    }

    /// Where a table's rows are, and the nodes of its indexes.
    pub fn namespaces_of(table: &TableDescriptor) -> Vec<String> {
        let indexes = table.details().map(|details| details.indexes).unwrap_or_default();
        core::iter::once(table.namespace.clone()).chain(indexes.into_iter().map(|index| index.namespace)).collect()
    }

    fn gather(&mut self, host: &mut Host) -> bool {
        let Some(namespace) = self.namespaces.last().cloned() else { return false };
        host.gather(FragmentPlan {
            version: PLAN_VERSION,
            namespace,
            locality_bits: self.locality_bits,
            decode: Decode::Key,
            columns: Vec::new(),
            identity: true,
            filter: None,
            project: Some(vec![Scalar::Column(0)]),
            output: Output::Rows,
            missing: Vec::new(),
        });
        true
    }

    /// Takes in keys.
    pub fn found(&mut self, partial: Partial) {
        for mut signed in partial.batch.by_row().rows {
            if let Some(Value::Blob(key)) = signed.row.pop() {
                self.keys.push(key);
            }
        }
    }

    /// Removes the next ones; `false` when there are no more.
    pub fn advance(&mut self, host: &mut Host) -> bool {
        let keys = self.keys.split_off(self.keys.len().saturating_sub(PURGE_OPS));
        let remove = |key| KeyOp {
            namespace: self.namespaces.last().cloned().unwrap_or_default(),
            locality_bits: self.locality_bits,
            key,
            action: Action::Remove { expect: Expect::Any },
            proof: None,
        };
        let ops: Vec<KeyOp> = keys.into_iter().map(remove).collect();
        if !ops.is_empty() {
            return host.ops(ops) > 0;
        }
        self.namespaces.pop();
        self.gather(host)
    }
}
