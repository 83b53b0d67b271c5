//! The plan of a live query: its sources stand at their owners as plain rows, the rest of it at the asker.
//!
//! An owner tells what one record gives. So of what is pushed down only filter and projection stay at the owners; groups,
//! top-k, DISTINCT and LIMIT begin at the asker, which has all rows of its sources. A query by primary key stands where
//! that key lives. What depends on the time or on chance is refused: what it gives would change by itself.

use super::{
    ast::Statement,
    catalog::CATALOG,
    fault::{INTERNAL, UNSUPPORTED, advise, fail},
    physical,
    plan::{Settings, Tables, tables_of},
    rules,
    scalar::Scalar,
    scope::Binder,
    statistics::Statistics,
    strategy::JoinStrategy,
    system::PEERS,
};
use crate::{
    Error, Id, Region,
    data::{Column, Value},
    exec::{
        fragment::{Decode, FragmentPlan, Output},
        ops::aggregate::Mode,
        plan::{Flow, Op, Source},
    },
    id::ID_BITS,
    store::Version,
    wire::PLAN_VERSION,
};

/// The time of a proof is so much later: 403 days, 5 hours, 7 minutes, 11 seconds and some.
const PROOF_US: i64 = (((403 * 24 + 5) * 60 + 7) * 60 + 11) * 1_000_000 + 130_017;

/// See the module's documentation.
#[derive(Debug, PartialEq)]
pub struct Standing {
    /// The operators of the asker.
    pub flow: Flow,
    /// What its rows are.
    pub columns: Vec<Column>,
    /// What stands at owners, in the order of the flow's sources.
    pub sources: Vec<Stand>,
    /// The tables that it was planned with, and the version of each one's catalog entry.
    pub tables: Vec<(String, Version)>,
}

/// A fragment that stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Stand {
    /// It gives what the source gives, and then the record's key.
    pub fragment: FragmentPlan,
    /// Where; `None`: the whole namespace.
    pub region: Option<Region>,
}

/// The plan of a live query; `$1` is `params[0]`.
pub fn standing(
    statement: &Statement,
    params: &[Value],
    known: (&Tables, &Statistics),
    settings: Settings,
) -> Result<Standing, Error> {
    // Every source stands by itself, and its rows come to the asker.
    let settings = Settings { join_strategy: JoinStrategy::Gather, ..settings };
    let made = make(statement, params, known, settings)?;
    let later = Settings { now_us: settings.now_us.wrapping_add(PROOF_US), random: !settings.random, ..settings };
    // A query that is refused at another time depends on the time.
    if make(statement, params, known, later).ok().as_ref() != Some(&made) {
        let message = "a live query that depends on the time or on chance: now(), current_date, random()";
        return advise(UNSUPPORTED, message, "Ask for what you need of them first, and give it as a parameter.");
    }
    Ok(made)
}

fn make(
    statement: &Statement,
    params: &[Value],
    (tables, statistics): (&Tables, &Statistics),
    settings: Settings,
) -> Result<Standing, Error> {
    let Statement::Select(select) = statement else {
        return fail(UNSUPPORTED, "a live query that is not a SELECT");
    };
    for (table, _) in tables_of(statement, tables).iter().filter_map(|name| tables.get(name)) {
        if table.details()?.sealing.is_some() {
            return fail(UNSUPPORTED, format!("a live query of table \"{}\", which is encrypted", table.name));
        }
    }
    let query = Binder::new(tables, statistics, params, settings).select(select)?;
    let plan = rules::optimise(query.plan, statistics);
    let mut flow = physical::lower(plan, settings.join_strategy, statistics)?.into_flow();
    let mut sources = Vec::new();
    // Groups that owners would have begun, by the operator before.
    let mut begun = None;
    for op in &mut flow.0 {
        let groups = begun.take();
        match op {
            Op::Source(source) => {
                if let Output::Groups(keys, calls) = &source.fragment.output {
                    begun = Some((keys.clone(), calls.clone()));
                }
                sources.push(stand(source)?);
            }
            Op::Aggregate { keys, calls, mode } if *mode == Mode::Final => {
                let Some(groups) = groups else { return fail(INTERNAL, "groups that nobody begins") };
                (*keys, *calls, *mode) = (groups.0, groups.1, Mode::Complete);
            }
            _ => {}
        }
    }
    let used = tables_of(statement, tables).into_iter().filter_map(|name| Some((tables.get(&name)?.1, name)));
    let tables = used.map(|(version, name)| (name, version)).collect();
    Ok(Standing { flow, columns: query.columns, sources, tables })
}

/// What stands for a source, which gives all rows from now on.
fn stand(source: &mut Source) -> Result<Stand, Error> {
    let fragment = &mut source.fragment;
    if fragment.decode != Decode::Row || fragment.namespace == PEERS {
        return fail(UNSUPPORTED, format!("a live query of the system table \"{}\"", source.name));
    }
    let region = match source.keys.as_deref() {
        Some([key]) => Some(at(&fragment.namespace, key, fragment.locality_bits)),
        _ => None,
    };
    let given = fragment.columns.len() as u32;
    let read = || (0..given + if fragment.identity { 3 } else { 0 }).map(Scalar::Column).collect();
    let mut project = fragment.project.clone().unwrap_or_else(read);
    project.push(Scalar::Column(given));
    fragment.output = Output::Rows;
    let fragment = FragmentPlan { identity: true, project: Some(project), ..fragment.clone() };
    (source.keys, source.index, source.after, source.scan) = (None, None, None, None);
    Ok(Stand { fragment, region })
}

/// What stands for a table's entry in the catalog: its version, if there is one.
pub fn stand_entry(table: &str, locality_bits: u8) -> Stand {
    let fragment = FragmentPlan {
        version: PLAN_VERSION,
        namespace: CATALOG.to_owned(),
        locality_bits,
        decode: Decode::Key,
        columns: Vec::new(),
        identity: true,
        filter: None,
        project: Some(vec![Scalar::Column(1), Scalar::Column(0)]),
        output: Output::Rows,
        missing: Vec::new(),
    };
    Stand { fragment, region: Some(at(CATALOG, table.as_bytes(), locality_bits)) }
}

/// The region of one key.
fn at(namespace: &str, key: &[u8], locality_bits: u8) -> Region {
    Region::prefix(&Id::object(namespace, key, locality_bits), ID_BITS)
}
