//! Statements.

use pontoon_core::{
    data::{Nested, Type, numeric::DIGITS_MAX},
    sql::{ast::Statement, fault::INVALID_ARGUMENT},
};
use sqlparser::ast as parsed;

use crate::{
    ParseError, Result,
    change::{delete, insert, update},
    define::{alter_table, create_index, create_table, create_view, truncate},
    expr::{name, object_name},
    query::select,
    unsupported,
};

pub(crate) fn statement(statement: parsed::Statement) -> Result<Statement> {
    Ok(match statement {
        parsed::Statement::Query(query) => Statement::Select(Nested::new(select(*query, 0)?)),
        parsed::Statement::CreateTable(create) => create_table(create)?,
        parsed::Statement::Insert(inserted) => insert(inserted)?,
        parsed::Statement::Update(updated) => update(updated)?,
        parsed::Statement::Delete(deleted) => delete(deleted)?,
        parsed::Statement::Drop { object_type: parsed::ObjectType::Table, if_exists, mut names, cascade, .. } => {
            match (names.pop(), names.is_empty()) {
                (Some(table), true) => Statement::DropTable { name: object_name(table)?, if_exists, cascade },
                _ => return unsupported("DROP TABLE of several tables"),
            }
        }
        parsed::Statement::AlterTable(altered) => alter_table(altered)?,
        parsed::Statement::CreateView(view) => create_view(view)?,
        parsed::Statement::CreateIndex(index) => create_index(index)?,
        parsed::Statement::Drop { object_type: parsed::ObjectType::Index, if_exists, mut names, .. } => {
            match (names.pop(), names.is_empty()) {
                (Some(index), true) => Statement::DropIndex { name: object_name(index)?, if_exists },
                _ => return unsupported("DROP INDEX of several indexes"),
            }
        }
        parsed::Statement::Truncate(truncated) => truncate(truncated)?,
        parsed::Statement::Drop { object_type: parsed::ObjectType::View, if_exists, mut names, .. } => {
            match (names.pop(), names.is_empty()) {
                (Some(view), true) => Statement::DropView { name: object_name(view)?, if_exists },
                _ => return unsupported("DROP VIEW of several views"),
            }
        }
        parsed::Statement::Set(parsed::Set::SingleAssignment { variable, values, .. }) => {
            Statement::Set { name: setting(variable), value: setting_value(values)? }
        }
        parsed::Statement::Reset(parsed::ResetStatement { reset: parsed::Reset::ConfigurationParameter(variable) }) => {
            Statement::Set { name: setting(variable), value: None }
        }
        parsed::Statement::ShowVariable { variable } => {
            Statement::Show(variable.into_iter().map(name).collect::<Vec<_>>().join("."))
        }
        parsed::Statement::Explain { statement: inner, analyze, format, options, .. } => {
            let statement = match self::statement(*inner)? {
                Statement::Explain(_) | Statement::ExplainWith { .. } => return unsupported("EXPLAIN of EXPLAIN"),
                inner => Nested::new(inner),
            };
            match how(analyze, format, options.unwrap_or_default())? {
                (false, false) => Statement::Explain(statement),
                (analyze, json) => Statement::ExplainWith { statement, analyze, json },
            }
        }
        parsed::Statement::Analyze(parsed::Analyze {
            table_name, columns, partitions, for_columns, noscan, ..
        }) if columns.is_empty() && partitions.is_none() && !for_columns && !noscan => {
            Statement::Analyze(table_name.map(object_name).transpose()?)
        }
        other => return unsupported(other),
    })
}

/// Whether EXPLAIN carries the statement out, and whether it shows JSON.
fn how(
    mut analyze: bool,
    format: Option<parsed::AnalyzeFormatKind>,
    options: Vec<parsed::UtilityOption>,
) -> Result<(bool, bool)> {
    use parsed::{AnalyzeFormat, AnalyzeFormatKind};
    let mut json = match format {
        None => false,
        Some(AnalyzeFormatKind::Keyword(format) | AnalyzeFormatKind::Assignment(format)) => match format {
            AnalyzeFormat::TEXT => false,
            AnalyzeFormat::JSON => true,
            other => return unsupported(format!("EXPLAIN FORMAT {other}")),
        },
    };
    for parsed::UtilityOption { name, arg } in options {
        let value = arg.map_or_else(|| "true".to_owned(), |arg| arg.to_string().to_lowercase());
        match (name.value.to_lowercase().as_str(), value.trim_matches('\'')) {
            ("analyze", "true" | "on" | "1") => analyze = true,
            ("analyze", "false" | "off" | "0") => analyze = false,
            ("format", "json") => json = true,
            ("format", "text") => json = false,
            // What is always shown.
            ("verbose" | "costs" | "buffers" | "timing" | "summary", _) => {}
            (option, value) => return unsupported(format!("EXPLAIN ({option} {value})")),
        }
    }
    Ok((analyze, json))
}

/// The name of a setting, which may have points in it.
fn setting(variable: parsed::ObjectName) -> String {
    variable.to_string().to_lowercase()
}

/// The value of a setting: a word or a text; `None` is DEFAULT.
fn setting_value(mut values: Vec<parsed::Expr>) -> Result<Option<String>> {
    match (values.pop(), values.is_empty()) {
        (Some(parsed::Expr::Identifier(word)), true) => Ok(Some(name(word)).filter(|word| word != "default")),
        (Some(parsed::Expr::Value(value)), true) => match value.value {
            parsed::Value::SingleQuotedString(text) => Ok(Some(text)),
            other => Ok(Some(other.to_string())),
        },
        _ => unsupported("SET to several values"),
    }
}

pub(crate) fn data_type(data_type: &parsed::DataType) -> Result<Type> {
    use parsed::DataType as T;
    Ok(match data_type {
        T::TinyInt(_)
        | T::SmallInt(_)
        | T::Int2(_)
        | T::MediumInt(_)
        | T::Int(_)
        | T::Int4(_)
        | T::Int8(_)
        | T::Int64
        | T::Integer(_)
        | T::BigInt(_) => Type::Integer,
        T::Real | T::Float(_) | T::Float4 | T::Float8 | T::Float64 | T::Double(_) | T::DoublePrecision => Type::Real,
        T::Numeric(digits) | T::Decimal(digits) | T::Dec(digits) => Type::Numeric(precision(digits)?),
        T::Text
        | T::String(_)
        | T::Varchar(_)
        | T::CharacterVarying(_)
        | T::CharVarying(_)
        | T::Char(_)
        | T::Character(_)
        | T::Clob(_) => Type::Text,
        T::Bool | T::Boolean => Type::Boolean,
        T::Timestamp(..) | T::Datetime(_) => Type::Timestamp,
        T::Date => Type::Date,
        T::Interval { .. } => Type::Interval,
        T::JSON | T::JSONB => Type::Json,
        T::Uuid => Type::Uuid,
        T::Blob(_) | T::Bytea | T::Binary(_) | T::Varbinary(_) => Type::Blob,
        other => return unsupported(format!("type {other}")),
    })
}

/// Precision and scale of a decimal type, where it says them.
fn precision(digits: &parsed::ExactNumberInfo) -> Result<Option<(u8, u8)>> {
    let (precision, scale) = match *digits {
        parsed::ExactNumberInfo::None => return Ok(None),
        parsed::ExactNumberInfo::Precision(precision) => (precision, 0),
        parsed::ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    match (u8::try_from(precision), u8::try_from(scale)) {
        (Ok(precision), Ok(scale)) if (1..=DIGITS_MAX).contains(&precision) && scale <= precision => {
            Ok(Some((precision, scale)))
        }
        _ => Err(ParseError::new(
            INVALID_ARGUMENT,
            format!("NUMERIC has 1 to {DIGITS_MAX} digits, and its scale is among them"),
        )),
    }
}
