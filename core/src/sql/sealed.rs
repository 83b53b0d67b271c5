//! Binds sealed columns: what can be done with values that only the asker can read.
//!
//! Beside its cell a sealed column has a tag in each row, a keyed hash ([`seal`](crate::seal)). What only asks whether
//! values are the same is bound to tags, and constants become theirs: `=`, `<>`, `IN`, joins, `GROUP BY`, indexes. What
//! shows a value carries the cell, with the key of its row, to the end of the query, where it is opened. Everything else
//! would need the values at peers, or would tell them more than they know, and is an error that says so: an expression
//! never gets hold of a sealed column (the default of [`Binder::nested`]).

use std::sync::Arc;

use super::{
    ast::{BinaryOp, Expr},
    bind::boxed,
    catalog::TableDescriptor,
    details::Details,
    fault::{UNSUPPORTED, advise, fail},
    logical::{ColumnId, Scan},
    scalar::{Function, Scalar},
    scope::{Binder, Scope, Typed},
    sealing::opened,
    select::Query,
};
use crate::{
    Error,
    data::{Nested, Type},
    exec::{cast::cast, functions::listed},
    map::Set,
    seal::{Keyring, Opening},
};

/// What a column is whose values peers cannot read.
#[derive(Clone, Debug)]
pub(super) enum Sealed {
    /// As rows have it.
    Stored(Arc<Stored>),
    /// A cell on its way to the end of the query.
    Shown(Arc<Opening>),
    /// A column of that name, of which nothing can be said here.
    Barred(String),
}

/// A sealed column of a scan.
#[derive(Debug)]
pub(super) struct Stored {
    opening: Arc<Opening>,
    cell: ColumnId,
    tag: Option<ColumnId>,
    /// The primary key.
    key: Vec<ColumnId>,
}

/// How the columns of a result are opened; nothing is to be opened where there is none.
pub type Openings = Vec<Option<Arc<Opening>>>;

impl Stored {
    fn keyring(&self) -> Result<&Arc<Keyring>, Error> {
        opened(&self.opening.keys, &self.opening.name)
    }

    /// The column to compare by.
    fn tag(&self) -> Result<Typed, Error> {
        match self.tag {
            Some(tag) => Ok(Typed::new(Scalar::Column(tag), Some(Type::Blob))),
            None => fail(
                UNSUPPORTED,
                format!(
                    "{} was sealed WITH (encryption_equality = false): its values cannot be compared",
                    self.opening.name
                ),
            ),
        }
    }
}

/// The error of what would need the values.
fn closed<T>(name: &str) -> Result<T, Error> {
    advise(
        UNSUPPORTED,
        format!(
            "column {name} is encrypted, and peers cannot read it: it can be shown, counted, grouped by, indexed, and \
             compared by =, <>, IN and IS NULL with constants and with encrypted columns of its keyring"
        ),
        "Ranges, patterns, functions, orders and other aggregates need the values: compute them of the rows that come."
            .to_owned(),
    )
}

impl Binder<'_> {
    /// The scan of a table that seals columns: it has their cells, and tags beside.
    pub(super) fn seal_scan(&mut self, table: &TableDescriptor, details: &Details, scan: &mut Scan) {
        for at in 0..table.columns.len() {
            let ((cell, slot, data_type), column) = (scan.columns[at], &table.columns[at]);
            let Some(sealed) = details.sealed(slot) else { continue };
            scan.columns[at].2 = Type::Blob;
            self.retype(cell, Type::Blob);
            let name = self.name(cell).to_owned();
            let tag = sealed.tag.map(|slot| {
                let tag = self.column(format!("{name}#"), Some(Type::Blob));
                scan.columns.push((tag, slot, Type::Blob));
                scan.output.push(tag);
                tag
            });
            let opening = Opening {
                keys: table.keys.clone(),
                namespace: table.namespace.clone(),
                slot,
                name: format!("\"{}\"", column.name),
                data_type,
            };
            let stored = Stored { opening: Arc::new(opening), cell, tag, key: scan.primary_key.clone() };
            self.sealed.insert(cell, Sealed::Stored(Arc::new(stored)));
        }
    }

    /// The columns of rows that are about to be sealed have their values still.
    pub(super) fn in_clear(&mut self, scope: &Scope) {
        for id in scope.columns.iter().map(|column| column.id) {
            if let Some(Sealed::Stored(stored)) = self.sealed.remove(&id) {
                self.retype(id, stored.opening.data_type);
            }
        }
    }

    /// The sealed column that an expression is, if it is one.
    pub(super) fn sealed_column(&self, expr: &Expr, scope: &Scope) -> Option<(ColumnId, Sealed)> {
        let Expr::Column { table, name } = expr else { return None };
        let id = self.resolve(scope, table.as_deref(), name).ok()?;
        Some((id, self.sealed.get(&id)?.clone()))
    }

    /// A column in an expression: not, if it is sealed.
    pub(super) fn plain_column(&self, id: ColumnId) -> Result<Typed, Error> {
        match self.sealed.get(&id) {
            None => Ok(self.column_ref(id)),
            Some(Sealed::Stored(stored)) => closed(&stored.opening.name),
            Some(Sealed::Shown(opening)) => {
                let why = "comes sealed out of a query within, from where it can only be shown";
                fail(UNSUPPORTED, format!("column {} {why}", opening.name))
            }
            Some(Sealed::Barred(name)) => closed(name),
        }
    }

    /// A column of a select list, and how it is opened where it is sealed.
    pub(super) fn shown(&self, id: ColumnId) -> Result<(Typed, Option<Arc<Opening>>), Error> {
        match self.sealed.get(&id) {
            Some(Sealed::Stored(stored)) => {
                stored.keyring()?;
                let number = listed::named("sealed value").next().map_or(u16::MAX, |(number, _)| number);
                let args = core::iter::once(&stored.cell).chain(&stored.key);
                let args = args.map(|id| Nested::new(Scalar::Column(*id))).collect();
                let packed = Scalar::Call(Function::Listed(number), args);
                Ok((Typed::new(packed, Some(Type::Blob)), Some(stored.opening.clone())))
            }
            Some(Sealed::Shown(opening)) => Ok((self.column_ref(id), Some(opening.clone()))),
            Some(Sealed::Barred(name)) => closed(name),
            None => Ok((self.column_ref(id), None)),
        }
    }

    /// A column of a result is sealed.
    pub(super) fn mark_shown(&mut self, id: ColumnId, opening: Option<Arc<Opening>>) {
        if let Some(opening) = opening {
            self.sealed.insert(id, Sealed::Shown(opening));
        }
    }

    /// A column stands for another one.
    pub(super) fn mark_like(&mut self, id: ColumnId, source: ColumnId) {
        if let Some(Sealed::Shown(opening)) = self.sealed.get(&source) {
            self.mark_shown(id, Some(opening.clone()));
        }
    }

    /// How the columns of a query's result are opened.
    pub(super) fn openings(&self, ids: &[ColumnId]) -> Openings {
        let opening = |id| match self.sealed.get(id) {
            Some(Sealed::Shown(opening)) => Some(opening.clone()),
            _ => None,
        };
        ids.iter().map(opening).collect()
    }

    /// A query whose result is used for something else than to be shown.
    pub(super) fn unsealed(&self, query: Query, what: &str) -> Result<Query, Error> {
        match self.openings(&query.plan.schema()).into_iter().flatten().next() {
            Some(opening) => {
                fail(UNSUPPORTED, format!("column {} is encrypted, and {what} needs its values", opening.name))
            }
            None => Ok(query),
        }
    }

    /// `left op right` of sealed columns, by their tags; `None`: neither is one.
    pub(super) fn sealed_comparison(
        &mut self,
        op: BinaryOp,
        (left, right): (&Expr, &Expr),
        scope: &Scope,
        depth: u32,
    ) -> Result<Option<Typed>, Error> {
        let same = matches!(op, BinaryOp::Eq | BinaryOp::Ne | BinaryOp::IsDistinct | BinaryOp::IsNotDistinct);
        let (left, right) = match (self.sealed_column(left, scope), self.sealed_column(right, scope)) {
            (Some((a, _)), Some((b, _))) if same => return self.sealed_pair(op, a, b).map(Some),
            (Some((_, Sealed::Stored(stored))), None) if same => (stored, right),
            (None, Some((_, Sealed::Stored(stored)))) if same => (stored, left),
            // What says so is met where the operands are bound.
            _ => return Ok(None),
        };
        let constant = self.nested(right, scope, depth)?;
        let (tag, constant) = (left.tag()?, self.tagged(&left, constant)?);
        Ok(Some(Typed::new(Scalar::Binary(op, boxed(tag), boxed(constant)), Some(Type::Boolean))))
    }

    /// Whether two columns have the same value, of which one or both may be sealed.
    pub(super) fn sealed_pair(&self, op: BinaryOp, a: ColumnId, b: ColumnId) -> Result<Typed, Error> {
        let (Some(Sealed::Stored(left)), Some(Sealed::Stored(right))) = (self.sealed.get(&a), self.sealed.get(&b))
        else {
            let (a, b) = (self.plain_column(a)?, self.plain_column(b)?);
            return self.comparison(op, a, b);
        };
        let (a, b) = (left.keyring()?, right.keyring()?);
        let (this, that) = (&left.opening, &right.opening);
        if a.realm() != b.realm() {
            let names = format!("{} and {}", this.name, that.name);
            let message = format!("columns {names} are encrypted with different keyrings, whose tags do not compare");
            return fail(UNSUPPORTED, message);
        }
        if this.data_type.base() != that.data_type.base() {
            let types = format!("{} and {}", this.data_type.name(), that.data_type.name());
            let message = format!("encrypted columns {} and {} are of different types: {types}", this.name, that.name);
            return fail(UNSUPPORTED, message);
        }
        Ok(Typed::new(Scalar::Binary(op, boxed(left.tag()?), boxed(right.tag()?)), Some(Type::Boolean)))
    }

    /// The tag of a constant, as a column has it that it is compared with.
    fn tagged(&self, column: &Stored, constant: Typed) -> Result<Typed, Error> {
        let (keyring, data_type) = (column.keyring()?, column.opening.data_type.base());
        let beside = Typed::new(Scalar::Column(column.cell), Some(data_type));
        let (same, constant) = self.pair(beside, constant)?;
        match (same.scalar, constant.scalar) {
            (Scalar::Column(_), Scalar::Literal(value)) => {
                Ok(Typed::new(Scalar::Literal(keyring.tag(&cast(value, data_type)?)), Some(Type::Blob)))
            }
            (Scalar::Column(_), _) => {
                let name = &column.opening.name;
                let why = "what is not constant and not encrypted is not: peers would have to know its values";
                fail(UNSUPPORTED, format!("encrypted column {name} is compared with constants, {why}"))
            }
            _ => {
                let name = &column.opening.name;
                fail(UNSUPPORTED, format!("encrypted column {name} is compared with values of its type alone"))
            }
        }
    }

    /// `column IN (list)`, by tags; `None`: it is not sealed.
    pub(super) fn sealed_in(
        &mut self,
        (expr, list): (&Expr, &[Nested<Expr>]),
        scope: &Scope,
        depth: u32,
    ) -> Result<Option<Scalar>, Error> {
        let Some((_, Sealed::Stored(stored))) = self.sealed_column(expr, scope) else { return Ok(None) };
        let mut tags = Vec::with_capacity(list.len());
        for item in list {
            let item = self.nested(item, scope, depth)?;
            tags.push(boxed(self.tagged(&stored, item)?));
        }
        Ok(Some(Scalar::In(boxed(stored.tag()?), tags)))
    }

    /// What `IS NULL` and `count` ask of a sealed column: whether there is something, and with the flag how much is different.
    pub(super) fn sealed_presence(&self, expr: &Expr, different: bool, scope: &Scope) -> Result<Option<Typed>, Error> {
        match self.sealed_column(expr, scope) {
            Some((_, Sealed::Stored(stored))) if different => stored.tag().map(Some),
            Some((id, Sealed::Stored(_))) => Ok(Some(self.column_ref(id))),
            _ => Ok(None),
        }
    }

    /// What a column is grouped by.
    pub(super) fn group_column(&self, id: ColumnId) -> Result<Typed, Error> {
        match self.sealed.get(&id) {
            Some(Sealed::Stored(stored)) => {
                stored.keyring()?;
                stored.tag()
            }
            _ => self.plain_column(id),
        }
    }

    /// Whether the column whose value a shown expression carries is grouped by.
    pub(super) fn is_grouped(&self, packed: &Scalar, keys: &Set<ColumnId>) -> bool {
        let Scalar::Call(_, args) = packed else { return false };
        let Some(Scalar::Column(cell)) = args.first().map(|arg| &**arg) else { return false };
        match self.sealed.get(cell) {
            Some(Sealed::Stored(stored)) => stored.tag.is_some_and(|tag| keys.contains(&tag)),
            _ => false,
        }
    }

    /// A constraint says nothing of what is sealed.
    pub(super) fn bar(&mut self, id: ColumnId, name: &str) {
        self.sealed.insert(id, Sealed::Barred(format!("\"{name}\"")));
    }
}
