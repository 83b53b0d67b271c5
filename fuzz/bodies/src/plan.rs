//! Plans that other peers send, and partial answers: run over the records of a small table, combined, sent on.

use std::cell::OnceCell;

use pontoon_core::{
    Id,
    data::codec::encode_row,
    exec::{Budget, FragmentPlan, Partial},
    store::Version,
};

use crate::pieces::pieces;

const BUDGET: Budget = Budget { rows_max: 1_000, bytes_max: 1 << 20 };

type Records = Vec<(Vec<u8>, Vec<u8>)>;

thread_local! {
    static RECORDS: OnceCell<Records> = const { OnceCell::new() };
}

/// Rows of the table `many`, often enough that they are run by column.
fn many() -> Records {
    let mut local = crate::database::fresh();
    let statement = pontoon_parser::parse_one("SELECT * FROM many").expect("a statement");
    let rows = local.execute(statement, Vec::new()).expect("rows").rows;
    let records = rows.iter().cycle().take(12).enumerate();
    records.map(|(at, row)| (vec![at as u8], encode_row(row))).collect()
}

pub(crate) fn plan(input: &[u8]) {
    let mut pieces = pieces(input).map(|(_, piece)| piece);
    let Some(Ok(plan)) = pieces.next().map(FragmentPlan::decode) else { return };
    let encoded = plan.encode();
    assert_eq!(FragmentPlan::decode(&encoded).expect("what was encoded").encode(), encoded);
    let version = Version { wall_us: 1, counter: 2, author: Id::ZERO };
    let run = || {
        RECORDS.with(|records| {
            let records = records.get_or_init(many);
            plan.run(records.iter().map(|(key, value)| (&key[..], &value[..], &version)), &BUDGET)
        })
    };
    let Ok(mut own) = run() else { return };
    let told = postcard::to_allocvec(&own).expect("plain data");
    let theirs = std::iter::once(&told[..]).chain(pieces);
    for partial in theirs.filter_map(|bytes| postcard::from_bytes::<Partial>(bytes).ok()) {
        if plan.combine(&mut own, partial, &BUDGET).is_err() {
            return;
        }
    }
}
