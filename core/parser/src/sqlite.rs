//! What SQLite's syntax has and sqlparser does not read: operators on bits, and rewritten token by token `x IN table`,
//! `NOT INDEXED`.

use core::any::TypeId;

use sqlparser::{
    ast::Expr,
    dialect::{Dialect, Precedence, SQLiteDialect},
    keywords::Keyword,
    parser::{Parser, ParserError},
    tokenizer::{Token, TokenWithSpan, Word},
};

/// sqlparser's dialect with operators on bits, which are all of one precedence.
#[derive(Debug)]
pub(crate) struct Sqlite;

const BASE: SQLiteDialect = SQLiteDialect {};

impl Dialect for Sqlite {
    fn dialect(&self) -> TypeId {
        BASE.dialect()
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        match parser.peek_token_ref().token {
            Token::Ampersand | Token::Pipe | Token::ShiftLeft | Token::ShiftRight => {
                Some(Ok(self.prec_value(Precedence::Ampersand)))
            }
            _ => BASE.get_next_precedence(parser),
        }
    }

    fn is_delimited_identifier_start(&self, char: char) -> bool {
        BASE.is_delimited_identifier_start(char)
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        BASE.identifier_quote_style(identifier)
    }

    fn is_identifier_start(&self, char: char) -> bool {
        BASE.is_identifier_start(char)
    }

    fn is_identifier_part(&self, char: char) -> bool {
        BASE.is_identifier_part(char)
    }

    fn parse_infix(&self, parser: &mut Parser<'_>, expr: &Expr, precedence: u8) -> Option<Result<Expr, ParserError>> {
        BASE.parse_infix(parser, expr, precedence)
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        BASE.supports_filter_during_aggregation()
    }

    fn supports_start_transaction_modifier(&self) -> bool {
        BASE.supports_start_transaction_modifier()
    }

    fn supports_in_empty_list(&self) -> bool {
        BASE.supports_in_empty_list()
    }

    fn supports_limit_comma(&self) -> bool {
        BASE.supports_limit_comma()
    }

    fn supports_asc_desc_in_column_definition(&self) -> bool {
        BASE.supports_asc_desc_in_column_definition()
    }

    fn supports_dollar_placeholder(&self) -> bool {
        BASE.supports_dollar_placeholder()
    }

    fn supports_notnull_operator(&self) -> bool {
        BASE.supports_notnull_operator()
    }

    fn supports_comma_separated_trim(&self) -> bool {
        BASE.supports_comma_separated_trim()
    }

    fn supports_numeric_literal_underscores(&self) -> bool {
        BASE.supports_numeric_literal_underscores()
    }
}

/// The tokens in a syntax that sqlparser reads.
pub(crate) fn rewrite(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut tokens = tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).peekable();
    let mut rewritten: Vec<TokenWithSpan> = Vec::new();
    while let Some(token) = tokens.next() {
        let next = tokens.peek().map(|next| &next.token);
        match &token.token {
            Token::Word(word) if word.keyword == Keyword::NOT && next.is_some_and(|next| is_word(next, "indexed")) => {
                tokens.next();
            }
            // SQLite has no exact decimals.
            Token::Word(word) if matches!(word.keyword, Keyword::NUMERIC | Keyword::DECIMAL | Keyword::DEC) => {
                let real = Word { value: "REAL".to_owned(), quote_style: None, keyword: Keyword::REAL };
                // Precision and scale go.
                if next.is_some_and(|next| *next == Token::LParen) {
                    while tokens.next_if(|next| next.token != Token::RParen).is_some() {}
                    tokens.next();
                }
                rewritten.push(TokenWithSpan { token: Token::Word(real), span: token.span });
            }
            Token::Word(word) if word.keyword == Keyword::IN && next.is_some_and(is_name) => {
                let keyword =
                    |keyword, value: &str| Token::Word(Word { value: value.to_owned(), quote_style: None, keyword });
                let span = token.span;
                let at = |token| TokenWithSpan { token, span };
                rewritten.push(token);
                let query = [keyword(Keyword::SELECT, "SELECT"), Token::Mul, keyword(Keyword::FROM, "FROM")];
                rewritten.extend([Token::LParen].into_iter().chain(query).map(at));
                rewritten.extend(tokens.next());
                rewritten.push(at(Token::RParen));
            }
            _ => rewritten.push(token),
        }
    }
    rewritten
}

fn is_word(token: &Token, text: &str) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(text))
}

/// Whether it is the name of a table.
fn is_name(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_some() || word.keyword == Keyword::NoKeyword)
}

#[cfg(test)]
mod tests {
    use crate::{parse, parse_sqlite};

    #[test]
    fn operators_on_bits_are_of_one_precedence() {
        let ours = parse("SELECT ((1 | 2) << (3 + 4)) & ~5, 1 < 2").unwrap();
        assert_eq!(parse_sqlite("SELECT 1 | 2 << 3 + 4 & ~5, 1 < 2").unwrap(), ours);
        assert!(parse_sqlite("SELECT 1 # 2").is_err());
    }

    #[test]
    fn a_table_may_stand_behind_in() {
        let ours = parse("SELECT a NOT IN (SELECT * FROM t), b IN (1, 2) FROM u").unwrap();
        assert_eq!(parse_sqlite("SELECT a NOT IN t, b IN (1, 2) FROM u NOT INDEXED").unwrap(), ours);
        assert!(parse_sqlite("SELECT a IN () FROM u").is_ok());
        assert!(parse("SELECT a NOT IN t FROM u").is_err());
    }
}
