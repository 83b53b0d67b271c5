//! Statements: which there are, and by which of sqlparser's functions each is read.
//!
//! sqlparser would choose by itself, among the statements of all databases; what it does not choose here is not linked.

use pontoon_core::{
    data::{Nested, Type, numeric::DIGITS_MAX},
    sql::{
        ast::Statement,
        fault::{INVALID_ARGUMENT, SYNTAX},
    },
    trust::{Grantee, Privilege, Privileges},
};
use sqlparser::{
    ast as parsed,
    keywords::Keyword as K,
    parser::Parser,
    tokenizer::{Token, TokenWithSpan},
};

use crate::{
    ParseError, Result,
    change::{delete, insert, update},
    define::{alter_table, create_index, create_table, create_view, truncate},
    expr::{name, object_name},
    policy::create_policy,
    query::select,
    unsupported,
};

/// Words that begin what other databases do.
const ELSEWHERE: [K; 30] = [
    K::ABORT,
    K::ATTACH,
    K::BEGIN,
    K::CALL,
    K::CLOSE,
    K::COMMENT,
    K::COMMIT,
    K::COPY,
    K::DEALLOCATE,
    K::DECLARE,
    K::DESC,
    K::DESCRIBE,
    K::DETACH,
    K::DISCARD,
    K::END,
    K::EXECUTE,
    K::FETCH,
    K::LISTEN,
    K::LOAD,
    K::LOCK,
    K::MERGE,
    K::NOTIFY,
    K::PRAGMA,
    K::PREPARE,
    K::RELEASE,
    K::ROLLBACK,
    K::SAVEPOINT,
    K::START,
    K::USE,
    K::VACUUM,
];

/// Reads a statement.
pub(crate) fn statement(parser: &mut Parser<'_>) -> Result<Statement> {
    use parsed::Statement as S;
    let first = parser.next_token();
    let keyword = match &first.token {
        Token::Word(word) => word.keyword,
        Token::LParen => K::SELECT,
        _ => K::NoKeyword,
    };
    match keyword {
        K::SELECT | K::WITH | K::VALUES => {
            parser.prev_token();
            Ok(Statement::Select(Nested::new(select(*parser.parse_query()?, 0)?)))
        }
        K::INSERT => match parser.parse_insert(first)? {
            S::Insert(inserted) => insert(inserted),
            _ => unsupported("INSERT of files"),
        },
        K::UPDATE => match parser.parse_update(first)? {
            S::Update(updated) => update(updated),
            _ => unsupported("UPDATE"),
        },
        K::DELETE => match parser.parse_delete(first)? {
            S::Delete(deleted) => delete(deleted),
            _ => unsupported("DELETE"),
        },
        K::CREATE => create(parser),
        K::ALTER if parser.parse_keyword(K::TABLE) => match parser.parse_alter_table(false)? {
            S::AlterTable(altered) => alter_table(altered),
            _ => unsupported("ALTER TABLE"),
        },
        K::ALTER => other(parser, "ALTER"),
        K::DROP => drop(parser),
        K::GRANT => grant(parser, true),
        K::REVOKE => grant(parser, false),
        K::TRUNCATE => truncate(parser.parse_truncate()?),
        K::EXPLAIN => explain(parser),
        K::ANALYZE => analyze(parser.parse_analyze()?),
        K::SET => set(parser),
        K::RESET => Ok(Statement::Set { name: setting(parser)?, value: None }),
        K::SHOW => Ok(Statement::Show(setting(parser)?)),
        word if ELSEWHERE.contains(&word) => unsupported(first),
        _ => Ok(parser.expected("an SQL statement", first)?),
    }
}

fn create(parser: &mut Parser<'_>) -> Result<Statement> {
    let or_replace = parser.parse_keywords(&[K::OR, K::REPLACE]);
    let temporary = parser.parse_one_of_keywords(&[K::TEMP, K::TEMPORARY]).is_some();
    if parser.parse_keyword(K::TABLE) {
        return create_table(parser.parse_create_table(or_replace, temporary, false, None, false, false, None)?);
    }
    if parser.peek_keyword(K::VIEW) {
        return create_view(parser.parse_create_view(false, or_replace, temporary, None)?);
    }
    if or_replace || temporary {
        return unsupported("OR REPLACE and TEMPORARY of what is no table or view");
    }
    let unique = parser.parse_keywords(&[K::UNIQUE, K::INDEX]);
    if unique || parser.parse_keyword(K::INDEX) {
        return create_index(parser.parse_create_index(unique)?);
    }
    if parser.parse_keyword(K::POLICY) {
        return create_policy(parser.parse_create_policy()?);
    }
    other(parser, "CREATE")
}

fn drop(parser: &mut Parser<'_>) -> Result<Statement> {
    if parser.parse_keyword(K::POLICY) {
        let if_exists = parser.parse_keywords(&[K::IF, K::EXISTS]);
        let policy = name(parser.parse_identifier()?);
        parser.expect_keyword(K::ON)?;
        return Ok(Statement::DropPolicy {
            name: policy,
            table: object_name(parser.parse_object_name(false)?)?,
            if_exists,
        });
    }
    let Some(kind) = parser.parse_one_of_keywords(&[K::TABLE, K::VIEW, K::INDEX]) else {
        return other(parser, "DROP");
    };
    let if_exists = parser.parse_keywords(&[K::IF, K::EXISTS]);
    let name = object_name(parser.parse_object_name(false)?)?;
    if parser.peek_token_ref().token == Token::Comma {
        return unsupported("DROP of several tables, views or indexes");
    }
    let cascade = parser.parse_one_of_keywords(&[K::CASCADE, K::RESTRICT]) == Some(K::CASCADE);
    Ok(match kind {
        K::TABLE => Statement::DropTable { name, if_exists, cascade },
        K::VIEW => Statement::DropView { name, if_exists },
        _ => Statement::DropIndex { name, if_exists },
    })
}

/// To whom something is granted.
pub(crate) fn grantee(name: &str) -> Result<Grantee> {
    match name.parse() {
        _ if name.eq_ignore_ascii_case("public") => Ok(Grantee::Public),
        Ok(user) => Ok(Grantee::User(user)),
        Err(error) => Err(ParseError::new(INVALID_ARGUMENT, format!("\"{name}\": {error}"))),
    }
}

/// `GRANT .. ON .. TO ..`, `REVOKE .. ON .. FROM ..`.
fn grant(parser: &mut Parser<'_>, give: bool) -> Result<Statement> {
    let mut privileges = Privileges::default();
    loop {
        let privilege = word(parser)?.to_uppercase();
        let these = match Privilege::ALL.into_iter().find(|one| one.name() == privilege) {
            Some(one) => Privileges::these(&[one]),
            None if privilege == "ALL" => {
                let _ = parser.parse_keyword(K::PRIVILEGES);
                Privileges::ALL
            }
            None => return unsupported(format!("the privilege {privilege}")),
        };
        privileges = privileges.and(these);
        if parser.peek_token_ref().token == Token::LParen {
            return unsupported("privileges on single columns");
        }
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    if !parser.parse_keyword(K::ON) {
        return unsupported("roles");
    }
    let _ = parser.parse_keyword(K::TABLE);
    let table = object_name(parser.parse_object_name(false)?)?;
    if parser.peek_token_ref().token == Token::Comma {
        return unsupported("privileges on several tables at once");
    }
    parser.expect_keyword(if give { K::TO } else { K::FROM })?;
    let mut to = Vec::new();
    loop {
        let _ = parser.parse_keyword(K::USER);
        to.push(grantee(&word(parser)?)?);
        if !parser.consume_token(&Token::Comma) {
            break;
        }
    }
    if parser.parse_keyword(K::WITH) {
        return unsupported("WITH GRANT OPTION");
    }
    let _ = parser.parse_one_of_keywords(&[K::CASCADE, K::RESTRICT]);
    Ok(Statement::Grant { table, privileges, to, give })
}

/// A kind of thing that is only in other databases, or nowhere.
fn other(parser: &mut Parser<'_>, verb: &str) -> Result<Statement> {
    let next = parser.next_token();
    match &next.token {
        Token::Word(word) if word.keyword != K::NoKeyword => unsupported(format!("{verb} {word}")),
        _ => Ok(parser.expected(&format!("a kind of object after {verb}"), next)?),
    }
}

/// `EXPLAIN [ANALYZE] ..`, `EXPLAIN (ANALYZE, FORMAT JSON) ..`, SQLite's `EXPLAIN QUERY PLAN ..`.
fn explain(parser: &mut Parser<'_>) -> Result<Statement> {
    let (mut analyze, mut json) = (false, false);
    if parser.peek_token_ref().token == Token::LParen {
        parser.next_token();
        loop {
            let option = word(parser)?.to_lowercase();
            let ends = matches!(parser.peek_token_ref().token, Token::Comma | Token::RParen);
            let value = if ends { "true".to_owned() } else { word(parser)?.to_lowercase() };
            match (&*option, &*value) {
                ("analyze", "true" | "on" | "1") => analyze = true,
                ("analyze", "false" | "off" | "0") => analyze = false,
                ("format", "json") => json = true,
                ("format", "text") => json = false,
                // What is always shown.
                ("verbose" | "costs" | "buffers" | "timing" | "summary", _) => {}
                _ => return unsupported(format!("EXPLAIN ({option} {value})")),
            }
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        parser.expect_token(&Token::RParen)?;
    } else if !parser.parse_keywords(&[K::QUERY, K::PLAN]) {
        analyze = parser.parse_keyword(K::ANALYZE);
        // What is always shown.
        let _ = parser.parse_keyword(K::VERBOSE);
        if parser.parse_keyword(K::FORMAT) {
            let _ = parser.consume_token(&Token::Eq);
            json = match &*word(parser)?.to_lowercase() {
                "json" => true,
                "text" => false,
                format => return unsupported(format!("EXPLAIN FORMAT {format}")),
            };
        }
    }
    if parser.peek_keyword(K::EXPLAIN) {
        return Err(ParseError::new(SYNTAX, "EXPLAIN of EXPLAIN"));
    }
    let statement = Nested::new(statement(parser)?);
    Ok(match (analyze, json) {
        (false, false) => Statement::Explain(statement),
        (analyze, json) => Statement::ExplainWith { statement, analyze, json },
    })
}

fn analyze(analyze: parsed::Analyze) -> Result<Statement> {
    if !analyze.columns.is_empty() || analyze.partitions.is_some() || analyze.for_columns || analyze.noscan {
        return unsupported("ANALYZE of a part of a table");
    }
    Ok(Statement::Analyze(analyze.table_name.map(object_name).transpose()?))
}

/// `SET name = value`, `SET name TO value`.
fn set(parser: &mut Parser<'_>) -> Result<Statement> {
    let name = setting(parser)?;
    if !parser.consume_token(&Token::Eq) && !parser.parse_keyword(K::TO) {
        return unsupported("SET without = or TO");
    }
    let value = if parser.parse_keyword(K::DEFAULT) { None } else { Some(word(parser)?) };
    if parser.peek_token_ref().token == Token::Comma {
        return unsupported("SET to several values");
    }
    Ok(Statement::Set { name, value })
}

/// The name of a setting, which may have points in it.
fn setting(parser: &mut Parser<'_>) -> Result<String> {
    let parts = parser.parse_object_name(false)?.0;
    let parts: Vec<_> = parts.iter().filter_map(|part| Some(part.as_ident()?.value.to_lowercase())).collect();
    Ok(parts.join("."))
}

/// A word, a text or a number.
fn word(parser: &mut Parser<'_>) -> Result<String> {
    let TokenWithSpan { token, span } = parser.next_token();
    match token {
        Token::Word(word) => Ok(name(word.into_ident(span))),
        Token::SingleQuotedString(text) | Token::Number(text, _) => Ok(text),
        token => Ok(parser.expected("a value", TokenWithSpan { token, span })?),
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
