//! CREATE TABLE and what belongs to it.

use pontoon_core::{
    data::Nested,
    sql::{
        ast::{
            AlterTable, Alteration, CheckDef, ColumnDef, CreateIndex, CreateTable, CreateView, ReferenceDef,
            ReferentialAction, Statement, UniqueDef,
        },
        fault::INVALID_DEFINITION,
    },
};
use sqlparser::ast as parsed;

use crate::{
    ParseError, Result,
    expr::{expr, name, object_name},
    options::options,
    query::select,
    statement::data_type,
    unsupported,
};

/// What a column's definition says beside the column.
#[derive(Default)]
struct Beside {
    keys: Vec<Vec<String>>,
    checks: Vec<CheckDef>,
    uniques: Vec<UniqueDef>,
    references: Vec<ReferenceDef>,
}

pub(crate) fn create_table(create: parsed::CreateTable) -> Result<Statement> {
    if create.like.is_some() || create.clone.is_some() {
        return unsupported("CREATE TABLE LIKE another table");
    }
    if create.temporary {
        return unsupported("CREATE TEMPORARY TABLE: all tables are shared by all peers");
    }
    if create.or_replace {
        return unsupported("CREATE OR REPLACE TABLE");
    }
    let options = options(create.table_options)?;
    if let Some(query) = create.query {
        if options.private || options.encryption.is_some() {
            return unsupported(
                "CREATE TABLE AS of a private or encrypted table; INSERT from the query into one that is there",
            );
        }
        if !create.constraints.is_empty() || !create.columns.is_empty() {
            return unsupported("columns and constraints in CREATE TABLE AS; name columns in the SELECT");
        }
        return Ok(Statement::CreateTableAs {
            name: object_name(create.name)?,
            if_not_exists: create.if_not_exists,
            query: Nested::new(select(*query, 0)?),
        });
    }
    let mut beside = Beside::default();
    let columns = create.columns.into_iter().map(|one| column(one, &mut beside)).collect::<Result<_>>()?;
    let Beside { mut keys, mut checks, mut uniques, mut references } = beside;
    for constraint in create.constraints {
        match constraint {
            parsed::TableConstraint::PrimaryKey(key) => {
                keys.push(key.columns.into_iter().map(key_column).collect::<Result<_>>()?);
            }
            parsed::TableConstraint::Unique(unique) => uniques.push(UniqueDef {
                name: unique.name.or(unique.index_name).map(name),
                columns: unique.columns.into_iter().map(key_column).collect::<Result<_>>()?,
            }),
            parsed::TableConstraint::ForeignKey(key) => references.push(reference(key, None, None)?),
            other => checks.push(table_check(other)?),
        }
    }
    if keys.len() > 1 {
        return Err(ParseError::new(INVALID_DEFINITION, "multiple primary keys are not allowed"));
    }
    Ok(Statement::CreateTable(CreateTable {
        name: object_name(create.name)?,
        if_not_exists: create.if_not_exists,
        columns,
        primary_key: keys.pop().unwrap_or_default(),
        checks,
        uniques,
        references,
        private: options.private,
        encryption: options.encryption,
    }))
}

/// A foreign key: of the column that it stands with, or as it says.
fn reference(
    key: parsed::ForeignKeyConstraint,
    column: Option<&str>,
    own: Option<parsed::Ident>,
) -> Result<ReferenceDef> {
    match key.match_kind {
        None | Some(parsed::ConstraintReferenceMatchKind::Simple) => {}
        Some(other) => return unsupported(format!("{other}: references are MATCH SIMPLE")),
    }
    if let Some(characteristics) = key.characteristics
        && (characteristics.deferrable == Some(true)
            || characteristics.initially == Some(parsed::DeferrableInitial::Deferred)
            || characteristics.enforced == Some(false))
    {
        return unsupported(format!("{characteristics} references: they are checked by the statement that writes"));
    }
    let action = |action: Option<parsed::ReferentialAction>| match action {
        None | Some(parsed::ReferentialAction::NoAction) => ReferentialAction::NoAction,
        Some(parsed::ReferentialAction::Restrict) => ReferentialAction::Restrict,
        Some(parsed::ReferentialAction::Cascade) => ReferentialAction::Cascade,
        Some(parsed::ReferentialAction::SetNull) => ReferentialAction::SetNull,
        Some(parsed::ReferentialAction::SetDefault) => ReferentialAction::SetDefault,
    };
    Ok(ReferenceDef {
        name: key.name.or(own).map(name),
        columns: match column {
            Some(column) => vec![column.to_owned()],
            None => key.columns.into_iter().map(name).collect(),
        },
        table: object_name(key.foreign_table)?,
        to: key.referred_columns.into_iter().map(name).collect(),
        on_delete: action(key.on_delete),
        on_update: action(key.on_update),
    })
}

/// A column of a key.
fn key_column(index: parsed::IndexColumn) -> Result<String> {
    match index.column.expr {
        parsed::Expr::Identifier(ident) => Ok(name(ident)),
        other => unsupported(format!("a key of an expression, ({other})")),
    }
}

pub(crate) fn create_index(create: parsed::CreateIndex) -> Result<Statement> {
    if create.predicate.is_some() || !create.include.is_empty() || create.nulls_distinct == Some(false) {
        return unsupported("CREATE INDEX with WHERE, INCLUDE or NULLS NOT DISTINCT");
    }
    match create.using {
        None | Some(parsed::IndexType::BTree) => {}
        Some(other) => {
            return unsupported(format!("USING {other}: indexes are prefix hash trees, ordered as B-trees are"));
        }
    }
    let column = |index: parsed::IndexColumn| {
        let options = index.column.options;
        let descending = match options.sort {
            None | Some(parsed::OrderBySort::Asc) => false,
            Some(parsed::OrderBySort::Desc) => true,
            Some(parsed::OrderBySort::Using(_)) => return unsupported("USING of a column of an index"),
        };
        if options.nulls_first.is_some_and(|first| first != descending) {
            return unsupported("NULLS FIRST of an ascending, NULLS LAST of a descending column of an index");
        }
        match index.column.expr {
            parsed::Expr::Identifier(ident) => Ok((name(ident), descending)),
            other => unsupported(format!("an index of an expression, ({other})")),
        }
    };
    Ok(Statement::CreateIndex(CreateIndex {
        name: create.name.map(object_name).transpose()?,
        table: object_name(create.table_name)?,
        columns: create.columns.into_iter().map(column).collect::<Result<_>>()?,
        unique: create.unique,
        if_not_exists: create.if_not_exists,
    }))
}

fn column(column: parsed::ColumnDef, beside: &mut Beside) -> Result<ColumnDef> {
    let mut defined =
        ColumnDef { name: name(column.name), data_type: data_type(&column.data_type)?, not_null: false, default: None };
    for option in column.options {
        match option.option {
            parsed::ColumnOption::Null => {}
            parsed::ColumnOption::NotNull => defined.not_null = true,
            parsed::ColumnOption::Default(default) => defined.default = Some(expr(default, 0)?),
            parsed::ColumnOption::PrimaryKey(_) => beside.keys.push(vec![defined.name.clone()]),
            parsed::ColumnOption::Check(constraint) => {
                let own = constraint.name.or(option.name).map(name);
                beside.checks.push(CheckDef {
                    name: own,
                    column: Some(defined.name.clone()),
                    expr: expr(*constraint.expr, 0)?,
                });
            }
            parsed::ColumnOption::Unique(unique) => beside
                .uniques
                .push(UniqueDef { name: unique.name.or(option.name).map(name), columns: vec![defined.name.clone()] }),
            parsed::ColumnOption::ForeignKey(key) => {
                let reference = reference(key, Some(&defined.name), option.name)?;
                beside.references.push(reference);
            }
            other => return unsupported(format!("column option {other}")),
        }
    }
    Ok(defined)
}

/// Why there is no UNIQUE here.
const UNIQUE: &str = "UNIQUE in ALTER TABLE; CREATE UNIQUE INDEX does the same";

/// A constraint that is no key.
fn table_check(constraint: parsed::TableConstraint) -> Result<CheckDef> {
    match constraint {
        parsed::TableConstraint::Check(constraint) if constraint.enforced != Some(false) => {
            Ok(CheckDef { name: constraint.name.map(name), column: None, expr: expr(*constraint.expr, 0)? })
        }
        parsed::TableConstraint::Unique(_) => unsupported(UNIQUE),
        other => unsupported(format!("constraint {other}")),
    }
}

pub(crate) fn create_view(create: parsed::CreateView) -> Result<Statement> {
    if create.temporary {
        return unsupported("CREATE TEMPORARY VIEW");
    }
    let column = |column: parsed::ViewColumnDef| match column {
        parsed::ViewColumnDef { name: column, data_type: None, options: None } => Ok(name(column)),
        other => unsupported(format!("column {other} of a view")),
    };
    Ok(Statement::CreateView(CreateView {
        name: object_name(create.name)?,
        or_replace: create.or_replace,
        if_not_exists: create.if_not_exists,
        columns: create.columns.into_iter().map(column).collect::<Result<_>>()?,
        query: Nested::new(select(*create.query, 0)?),
    }))
}

pub(crate) fn truncate(mut truncate: parsed::Truncate) -> Result<Statement> {
    if truncate.if_exists || truncate.partitions.is_some() || truncate.cascade == Some(parsed::CascadeOption::Cascade) {
        return unsupported("TRUNCATE IF EXISTS, PARTITION and CASCADE");
    }
    match (truncate.table_names.pop(), truncate.table_names.is_empty()) {
        (Some(table), true) => Ok(Statement::Truncate(object_name(table.name)?)),
        _ => unsupported("TRUNCATE of several tables"),
    }
}

pub(crate) fn alter_table(alter: parsed::AlterTable) -> Result<Statement> {
    Ok(Statement::AlterTable(AlterTable {
        table: object_name(alter.name)?,
        if_exists: alter.if_exists,
        changes: alter.operations.into_iter().map(alteration).collect::<Result<Vec<_>>>()?.concat(),
    }))
}

fn alteration(operation: parsed::AlterTableOperation) -> Result<Vec<Alteration>> {
    use parsed::{AlterColumnOperation as C, AlterTableOperation as A};
    let cascades = |behavior: &Option<parsed::DropBehavior>| *behavior == Some(parsed::DropBehavior::Cascade);
    Ok(vec![match operation {
        A::AddColumn { if_not_exists, column_def, column_position: None, .. } => {
            let mut beside = Beside::default();
            let column = column(column_def, &mut beside)?;
            if !beside.keys.is_empty() {
                return unsupported("PRIMARY KEY of an added column");
            }
            if !beside.uniques.is_empty() {
                return unsupported(UNIQUE);
            }
            if !beside.references.is_empty() && if_not_exists {
                return unsupported("REFERENCES of a column that is added IF NOT EXISTS");
            }
            let added = Alteration::AddColumn { column, checks: beside.checks, if_not_exists };
            return Ok(core::iter::once(added)
                .chain(beside.references.into_iter().map(Alteration::AddReference))
                .collect());
        }
        A::DropColumn { column_names, if_exists, drop_behavior, .. } if !cascades(&drop_behavior) => {
            let drop = |column| Alteration::DropColumn { name: name(column), if_exists };
            return Ok(column_names.into_iter().map(drop).collect());
        }
        A::RenameColumn { old_column_name, new_column_name } => {
            Alteration::RenameColumn { name: name(old_column_name), to: name(new_column_name) }
        }
        A::RenameTable { table_name: parsed::RenameTableNameKind::To(to) } => Alteration::Rename(object_name(to)?),
        A::AlterColumn { column_name, op } => {
            let name = name(column_name);
            match op {
                C::SetNotNull => Alteration::NotNull { name, refused: true },
                C::DropNotNull => Alteration::NotNull { name, refused: false },
                C::SetDefault { value } => Alteration::Default { name, default: Some(expr(value, 0)?) },
                C::DropDefault => Alteration::Default { name, default: None },
                C::SetDataType { .. } => return unsupported("ALTER COLUMN TYPE; add a column and copy"),
                other => return unsupported(other),
            }
        }
        A::AddConstraint { constraint: parsed::TableConstraint::ForeignKey(key), not_valid: false } => {
            Alteration::AddReference(reference(key, None, None)?)
        }
        A::AddConstraint { constraint, not_valid: false } => Alteration::AddCheck(table_check(constraint)?),
        A::DropConstraint { if_exists, name: constraint, drop_behavior } if !cascades(&drop_behavior) => {
            Alteration::DropConstraint { name: name(constraint), if_exists }
        }
        other => return unsupported(format!("ALTER TABLE .. {other}")),
    }])
}
