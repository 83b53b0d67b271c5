//! What the catalog says: entries that are anything, and the statements that read them.

use std::cell::OnceCell;

use pontoon_core::{
    exec::local::Local,
    sql::{
        ast::Statement,
        catalog::{self, TableDescriptor},
        statistics::STATISTICS,
    },
    store::{Action, Expect, KeyOp},
};

use crate::pieces::pieces;

/// What reads them.
pub const STATEMENTS: &str = "
    SELECT * FROM t; SELECT * FROM t WHERE a = 1 ORDER BY b LIMIT 3; INSERT INTO t VALUES (1, 2); INSERT INTO t (a) VALUES (3);
    UPDATE t SET b = 1 WHERE a = 1; DELETE FROM t WHERE b > 0; ALTER TABLE t ADD COLUMN more INT DEFAULT 7;
    SELECT * FROM pontoon_tables; SELECT * FROM pontoon_columns; SELECT * FROM pontoon_indexes;
    SELECT * FROM pontoon_statistics; DROP INDEX i; DROP TABLE t";

/// Kind of a part: the value of the table's entry; of others than these the value of a row.
pub const TABLE: u8 = 0;
/// Of an index' entry.
pub const INDEX: u8 = 1;
/// Of the statistics.
pub const COUNTED: u8 = 2;

thread_local! {
    static PARSED: OnceCell<Vec<Statement>> = const { OnceCell::new() };
}

pub(crate) fn catalog(input: &[u8]) {
    let mut local = Local::new();
    let (mut namespace, mut rows) = (None, 0_u8);
    for (kind, value) in pieces(input) {
        let put = Action::Put { value: value.to_vec(), expect: Expect::Any, ttl_us: None };
        local.apply(&match kind {
            TABLE => {
                if let Ok(table) = TableDescriptor::decode(value) {
                    let encoded = table.encode();
                    assert_eq!(TableDescriptor::decode(&encoded).expect("what was encoded").encode(), encoded);
                    namespace = Some(table.namespace);
                }
                catalog::entry("t", 0, put)
            }
            INDEX => catalog::index_entry("i", 0, put),
            COUNTED => KeyOp {
                namespace: STATISTICS.to_owned(),
                locality_bits: 0,
                key: b"t".to_vec(),
                action: put,
                proof: None,
            },
            _ => {
                rows = rows.wrapping_add(1);
                let namespace = namespace.clone().unwrap_or_default();
                KeyOp { namespace, locality_bits: 0, key: vec![rows], action: put, proof: None }
            }
        });
    }
    let parse = || pontoon_parser::parse(STATEMENTS).expect("the statements");
    for statement in PARSED.with(|parsed| parsed.get_or_init(parse).clone()) {
        let _ = local.execute(statement, Vec::new());
    }
}
