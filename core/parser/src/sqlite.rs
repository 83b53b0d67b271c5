//! What SQLite's syntax has and sqlparser does not read, rewritten token by token: `x IN table`, `NOT INDEXED`.

use sqlparser::{
    keywords::Keyword,
    tokenizer::{Token, TokenWithSpan, Word},
};

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
    fn a_table_may_stand_behind_in() {
        let ours = parse("SELECT a NOT IN (SELECT * FROM t), b IN (1, 2) FROM u").unwrap();
        assert_eq!(parse_sqlite("SELECT a NOT IN t, b IN (1, 2) FROM u NOT INDEXED").unwrap(), ours);
        assert!(parse_sqlite("SELECT a IN () FROM u").is_ok());
        assert!(parse("SELECT a NOT IN t FROM u").is_err());
    }
}
