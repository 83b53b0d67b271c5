//! Plans UPDATE and DELETE: how the rows are found, which other tables they meet, what they become.

use super::{
    ast::{Delete, Expr, SelectItem, TableRef, Update},
    catalog::TableDescriptor,
    fault::{INTERNAL, UNSUPPORTED, fail},
    from::beside,
    logical::{ColumnId, Logical},
    physical,
    reduce::reduce,
    references::{Event, note, updating},
    rules,
    scalar::Scalar,
    scope::Binder,
    select::lost_column,
    target::{Planned, note_checks, over_rows},
};
use crate::{
    Error,
    data::Type,
    exec::{
        change::{Modify, Others},
        plan::{JoinKind, Op},
    },
    map::Set,
};

/// What UPDATE and DELETE have in common.
struct Changes<'a> {
    label: &'a str,
    /// `None` deletes.
    assignments: Option<&'a [(String, Expr)]>,
    filter: &'a Option<Expr>,
    others: &'a [TableRef],
    returning: &'a [SelectItem],
}

impl Binder<'_> {
    /// Plans an UPDATE.
    pub fn update(&mut self, update: &Update, table: &TableDescriptor) -> Result<Planned<Modify>, Error> {
        let changes = Changes {
            label: update.alias.as_deref().unwrap_or(&update.table),
            assignments: Some(&update.assignments),
            filter: &update.filter,
            others: &update.from,
            returning: &update.returning,
        };
        self.modify(&changes, table)
    }

    /// Plans a DELETE.
    pub fn delete(&mut self, delete: &Delete, table: &TableDescriptor) -> Result<Planned<Modify>, Error> {
        let changes = Changes {
            label: delete.alias.as_deref().unwrap_or(&delete.table),
            assignments: None,
            filter: &delete.filter,
            others: &delete.using,
            returning: &delete.returning,
        };
        self.modify(&changes, table)
    }

    fn modify(&mut self, changes: &Changes<'_>, table: &TableDescriptor) -> Result<Planned<Modify>, Error> {
        let (mut notes, mut set) = (Vec::new(), Vec::new());
        let target = self.target(table)?;
        let (mut scan, mut scope, mut schema) = self.stored(table, changes.label)?;
        scan.identity = ["key", "version", "rest"].map(|name| self.column(name.to_owned(), Some(Type::Blob))).into();
        schema.extend(&scan.identity);
        scan.output.clone_from(&schema);
        let mut others = None;
        if !changes.others.is_empty() {
            let (plan, in_sight) = self.from(changes.others, 0)?;
            scope = beside(scope, in_sight)?;
            others = Some(plan);
        }
        let all = [&schema[..], &others.as_ref().map(Logical::schema).unwrap_or_default()].concat();
        let condition = |binder: &mut Self| changes.filter.as_ref().map(|it| binder.condition(it, &scope)).transpose();
        let (filter, in_filter) = self.finding(condition)?;
        let (assignments, in_set) = match changes.assignments {
            Some(assignments) => {
                note_checks(&target, &mut notes);
                let (bound, found) = self.finding(|binder| binder.assignments(table, assignments, &scope, &mut set))?;
                (Some(bound), found)
            }
            None => (None, Vec::new()),
        };
        let event = |all: &[(String, Expr)]| updating(&table.name, all, self.tables);
        let event = changes.assignments.map_or(Event::Delete, event);
        let references = self.references(table, vec![event])?;
        note(&references, &mut notes);
        let subqueries = !in_filter.is_empty() || !in_set.is_empty();
        if let (Some(set), true) = (set.pop(), others.is_some() || subqueries) {
            notes.push(format!("Set [asker] {set}"));
        }
        let returning = self.returning(changes.returning, &scope, &all, &mut notes)?;
        if subqueries {
            if others.is_some() {
                return fail(UNSUPPORTED, "subqueries beside FROM or USING");
            }
            // The rows for which WHERE is true, with what subqueries give beyond.
            let beyond: Vec<ColumnId> = in_set.iter().map(|subquery| subquery.id).collect();
            let conjuncts = filter.map(Scalar::conjuncts).unwrap_or_default();
            let plan = self.filtered(Logical::Scan(scan), conjuncts, in_filter)?;
            let plan = self.attached(plan, in_set)?;
            let schema = [&schema[..], &beyond].concat();
            let exprs = schema.iter().map(|id| (*id, Scalar::Column(*id))).collect();
            let plan = rules::optimise(Logical::Project { input: Box::new(plan), exprs }, self.statistics);
            let mut node = physical::lower(plan, self.settings.join_strategy, self.statistics)?;
            reduce(&mut node);
            let assignments = assignments.map(|all| over_rows(all, &schema)).transpose()?;
            let (found, whole) = (node.clone().into_flow(), Some(beyond.len() as u32));
            let plan = Modify { target, found, filter: None, assignments, others: None, returning, whole, references };
            return Ok(Planned { plan, node: Some(node), notes });
        }
        let assignments = assignments.map(|bound| over_rows(bound, &all)).transpose()?;

        let mut conjuncts = filter.clone().map(Scalar::conjuncts).unwrap_or_default();
        scan.filter = conjuncts.extract_if(.., |conjunct| conjunct.within(&schema)).collect();
        let mut found = physical::source(scan)?;
        reduce(&mut found);
        let flow = found.clone().into_flow();
        let Some(plan) = others else {
            let over = |scalar: Scalar| scalar.remap(&schema).ok_or_else(lost_column);
            let filter = filter.map(over).transpose()?;
            let (others, whole) = (None, None);
            let plan = Modify { target, found: flow, filter, assignments, others, returning, whole, references };
            return Ok(Planned { plan, node: Some(found), notes });
        };

        // Of the others only what is read.
        let mut read: Set<u32> = filter.iter().flat_map(Scalar::columns).collect();
        let shown = returning.iter().flat_map(|returning| &returning.exprs);
        for scalar in assignments.iter().flatten().map(|(_, scalar)| scalar).chain(shown) {
            read.extend(scalar.columns().iter().filter_map(|position| all.get(*position as usize)).copied());
        }
        let beyond = plan.schema();
        let alone = conjuncts.extract_if(.., |conjunct| conjunct.within(&beyond)).collect();
        let plan = Logical::Filter { input: Box::new(plan), conjuncts: alone };
        let exprs = beyond.into_iter().filter(|id| read.contains(id)).map(|id| (id, Scalar::Column(id))).collect();
        let plan = rules::optimise(Logical::Project { input: Box::new(plan), exprs }, self.statistics);
        let mut beside = physical::lower(plan, self.settings.join_strategy, self.statistics)?;
        reduce(&mut beside);
        let (flow_beside, pair) = (beside.clone().into_flow(), [&schema[..], &beside.schema].concat());
        let node = physical::join(found, beside, JoinKind::Inner, conjuncts)?;
        let Op::HashJoin(join) = &node.op else { return fail(INTERNAL, "not a join") };
        let over = |scalar: Scalar| scalar.remap(&pair).ok_or_else(lost_column);
        // From positions among all columns to positions among those that are read.
        let moved = |scalar: &Scalar| {
            let id = |at: u32| all.get(at as usize).map(|id| Scalar::Column(*id));
            scalar.replace(&mut { id }).ok_or_else(lost_column).and_then(over)
        };
        let assignments = assignments
            .map(|all| all.iter().map(|(slot, scalar)| Ok((*slot, moved(scalar)?))).collect::<Result<_, Error>>())
            .transpose()?;
        let returning = match returning {
            Some(mut returning) => {
                returning.exprs = returning.exprs.iter().map(moved).collect::<Result<_, Error>>()?;
                Some(returning)
            }
            None => None,
        };
        let others = Some(Others { flow: flow_beside, join: join.clone() });
        let filter = filter.map(over).transpose()?;
        let plan = Modify { target, found: flow, filter, assignments, others, returning, whole: None, references };
        Ok(Planned { plan, node: Some(node), notes })
    }
}
