//! SQL text to Pontoon's AST, by way of sqlparser.
//!
//! A crate of its own: sqlparser is several times the size of the engine, so a page fetches this only when it first
//! runs SQL text, and a peer that only serves never does. The dialect is PostgreSQL's.
//!
//! Text may be hostile. It is bounded three ways, each with a typed error: its length ([`TEXT_BYTES_MAX`]), how deep
//! it nests (sqlparser's own limit), and how long it goes on between two commas or semicolons
//! ([`RUN_TOKENS_MAX`]: `1+1+1+...` makes a tree as deep as it is long, which would overflow the stack when dropped).
//!
//! ```
//! use pontoon_core::sql::ast::Statement;
//!
//! let statements = pontoon_parser::parse("CREATE TABLE t (a INT PRIMARY KEY); SELECT a FROM t WHERE a > $1")?;
//! assert!(matches!(statements[1], Statement::Select(_)));
//! let error = pontoon_parser::parse_one("SELECT a\n  FROM t WHERE )").unwrap_err();
//! assert_eq!((error.code, error.line), ("syntax_error", Some(2)));
//! # Ok::<(), pontoon_parser::ParseError>(())
//! ```
#![forbid(unsafe_code)]

mod change;
mod define;
mod expr;
mod locate;
mod options;
mod query;
mod sqlite;
mod statement;

use pontoon_core::{
    error::Help,
    sql::{
        ast::Statement,
        fault::{SYNTAX, TOO_COMPLEX, UNSUPPORTED},
    },
};

pub use crate::locate::locate;
use sqlparser::{
    dialect::{Dialect, PostgreSqlDialect},
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer},
};

/// Bytes that a text may have.
pub const TEXT_BYTES_MAX: usize = 8 << 20;
/// Tokens between two commas or semicolons.
pub const RUN_TOKENS_MAX: usize = 3_000;
/// Parentheses, queries and operators within one another that are parsed.
const RECURSION_MAX: usize = 70;
/// Kilobytes of stack that parsing parentheses, calls and queries within one another may take; a page has a megabyte.
const STACK_KB_MAX: u32 = 640;
const PARENTHESES_KB: u32 = 6;
const CALL_KB: u32 = 16;
const QUERY_KB: u32 = 40;

/// Text that is not a statement, or not one that is supported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    /// `syntax_error`, `feature_not_supported`, `statement_too_complex` or another stable code.
    pub code: &'static str,
    /// For people; says the position where it is known.
    pub message: String,
    /// From 1.
    pub line: Option<u64>,
    /// From 1.
    pub column: Option<u64>,
    /// Characters of the text up to there, from 1.
    pub position: Option<u32>,
}

impl ParseError {
    fn new(code: &'static str, message: impl Into<String>) -> ParseError {
        ParseError { code, message: message.into(), line: None, column: None, position: None }
    }
}

impl From<ParseError> for pontoon_core::Error {
    fn from(error: ParseError) -> pontoon_core::Error {
        let help = error.position.map(|at| Box::new(Help { position: Some(at), ..Help::default() }));
        pontoon_core::Error::Sql { code: error.code, message: error.message, help }
    }
}

type Result<T> = core::result::Result<T, ParseError>;

/// A statement or clause that is not supported.
fn unsupported<T>(what: impl core::fmt::Display) -> Result<T> {
    let mut what = what.to_string();
    if what.len() > 200 {
        let end = (0..=200).rev().find(|end| what.is_char_boundary(*end)).unwrap_or(0);
        what.truncate(end);
        what.push_str(" ..");
    }
    Err(ParseError::new(UNSUPPORTED, format!("not supported: {what}")))
}

/// The statements of a text, separated by semicolons.
pub fn parse(sql: &str) -> Result<Vec<Statement>> {
    parse_as(sql, &PostgreSqlDialect {}, |tokens| tokens)
}

/// The same in SQLite's syntax.
pub fn parse_sqlite(sql: &str) -> Result<Vec<Statement>> {
    parse_as(sql, &sqlite::Sqlite, sqlite::rewrite)
}

fn parse_as(
    sql: &str,
    dialect: &dyn Dialect,
    rewrite: fn(Vec<TokenWithSpan>) -> Vec<TokenWithSpan>,
) -> Result<Vec<Statement>> {
    statements(sql, dialect, rewrite).map_err(|mut error| {
        let at = error.line.zip(error.column).map(|(line, column)| Location { line, column });
        error.position = at.and_then(|at| locate::character(sql, at));
        error
    })
}

fn statements(
    sql: &str,
    dialect: &dyn Dialect,
    rewrite: fn(Vec<TokenWithSpan>) -> Vec<TokenWithSpan>,
) -> Result<Vec<Statement>> {
    if sql.len() > TEXT_BYTES_MAX {
        return Err(ParseError::new(TOO_COMPLEX, format!("a text of more than {TEXT_BYTES_MAX} bytes")));
    }
    let tokens = Tokenizer::new(dialect, sql).tokenize_with_location().map_err(ParserError::from)?;
    let tokens = without_calls(replace_into(tokens));
    let mut run = 0;
    for token in &tokens {
        match token.token {
            Token::Comma | Token::SemiColon => run = 0,
            Token::Whitespace(_) => {}
            _ => run += 1,
        }
        if run > RUN_TOKENS_MAX {
            return Err(ParseError::new(TOO_COMPLEX, format!("more than {RUN_TOKENS_MAX} words without a comma")));
        }
    }
    shallow(&tokens)?;
    let mut parser =
        Parser::new(dialect).with_recursion_limit(RECURSION_MAX).with_tokens_with_locations(rewrite(tokens));
    let mut statements = Vec::new();
    loop {
        while parser.consume_token(&Token::SemiColon) {}
        if parser.peek_token_ref().token == Token::EOF {
            return Ok(statements);
        }
        statements.push(statement::statement(&mut parser)?);
        let next = parser.peek_token_ref();
        if !matches!(next.token, Token::SemiColon | Token::EOF) {
            parser.expected_ref("end of statement", next)?;
        }
    }
}

/// What parentheses within one another take of the stack when they are parsed, before it is too late.
fn shallow(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut tokens =
        tokens.iter().map(|token| &token.token).filter(|token| !matches!(token, Token::Whitespace(_))).peekable();
    let (mut open, mut total, mut before) = (Vec::new(), 0, None);
    while let Some(token) = tokens.next() {
        let keyword = |token: Option<&Token>| match token {
            Some(Token::Word(word)) => Some(word.keyword),
            _ => None,
        };
        match token {
            Token::LParen => {
                let within = keyword(tokens.peek().copied());
                let cost = if matches!(within, Some(Keyword::SELECT | Keyword::WITH | Keyword::VALUES)) {
                    QUERY_KB
                } else if matches!(
                    keyword(before),
                    None | Some(Keyword::AND | Keyword::OR | Keyword::NOT | Keyword::WHERE)
                ) {
                    PARENTHESES_KB
                } else {
                    CALL_KB
                };
                open.push(cost);
                total += cost;
                if total > STACK_KB_MAX {
                    return Err(ParseError::new(TOO_COMPLEX, "a statement that nests too deep"));
                }
            }
            Token::RParen => total -= open.pop().unwrap_or_default(),
            _ => {}
        }
        before = Some(token);
    }
    Ok(())
}

/// SQLite's `REPLACE INTO` is short for `INSERT OR REPLACE INTO`.
fn replace_into(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let is = |token: &Token, keyword| matches!(token, Token::Word(word) if word.keyword == keyword);
    let (mut all, mut first) = (Vec::with_capacity(tokens.len()), true);
    for token in tokens {
        if first && is(&token.token, Keyword::REPLACE) {
            let word = |text| TokenWithSpan { token: Token::make_keyword(text), span: token.span };
            all.extend([word("INSERT"), word("OR")]);
        }
        first = match &token.token {
            Token::SemiColon => true,
            Token::Whitespace(_) => first,
            other => is(other, Keyword::EXPLAIN),
        };
        all.push(token);
    }
    all
}

/// `current_user()` is `CURRENT_USER`, which SQL has without parentheses.
fn without_calls(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let user = |token: &Token| matches!(token, Token::Word(word) if word.keyword == Keyword::CURRENT_USER);
    let mut all: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    for token in tokens {
        let call = match &all[..] {
            [.., name, open] => user(&name.token) && open.token == Token::LParen,
            _ => false,
        };
        if call && token.token == Token::RParen {
            all.pop();
        } else {
            all.push(token);
        }
    }
    all
}

/// The one statement of a text.
pub fn parse_one(sql: &str) -> Result<Statement> {
    let mut statements = parse(sql)?;
    match (statements.pop(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        (None, _) => Err(ParseError::new(SYNTAX, "no statement")),
        (Some(_), false) => Err(ParseError::new(SYNTAX, "more than one statement")),
    }
}

impl From<ParserError> for ParseError {
    /// sqlparser writes the position at the end of its messages.
    fn from(error: ParserError) -> ParseError {
        let message = match error {
            ParserError::RecursionLimitExceeded => {
                return ParseError::new(TOO_COMPLEX, "a statement that nests too deep");
            }
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
        };
        let position = message.rsplit_once(" at Line: ").and_then(|(_, rest)| {
            let (line, column) = rest.split_once(", Column: ")?;
            Some((line.trim().parse().ok()?, column.trim().parse().ok()?))
        });
        let (line, column) = position.unzip();
        ParseError { code: SYNTAX, message, line, column, position: None }
    }
}
