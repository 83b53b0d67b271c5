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
    namespace: String,
    locality_bits: u8,
    keys: Vec<Vec<u8>>,
}

impl Purge {
    /// Asks for the keys of a table's rows.
    pub fn begin(table: &TableDescriptor, host: &mut Host) -> Purge {
        let (namespace, locality_bits) = (table.namespace.clone(), table.locality_bits);
        host.gather(FragmentPlan {
            version: PLAN_VERSION,
            namespace: namespace.clone(),
            locality_bits,
            decode: Decode::Row,
            columns: Vec::new(),
            identity: true,
            filter: None,
            project: Some(vec![Scalar::Column(0)]),
            output: Output::Rows,
            missing: Vec::new(),
        });
        Purge { namespace, locality_bits, keys: Vec::new() }
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
            namespace: self.namespace.clone(),
            locality_bits: self.locality_bits,
            key,
            action: Action::Remove { expect: Expect::Any },
        };
        let ops: Vec<KeyOp> = keys.into_iter().map(remove).collect();
        !ops.is_empty() && host.ops(ops) > 0
    }
}
