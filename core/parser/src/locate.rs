//! Where a name stands in a text: for errors that are found when the text is a tree already.
//!
//! Trees do not remember positions, for they are what peers keep and send. When a name turns out to be wrong, the text is
//! looked through again.

use sqlparser::{
    dialect::PostgreSqlDialect,
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Word},
};

/// The first place of a name (`column`, `table.column`) in the statement of that index: a character of the text, from 1.
pub fn locate(sql: &str, statement: usize, name: &str) -> Option<u32> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location().ok()?;
    let tokens = tokens.split(|token| token.token == Token::SemiColon).filter(|tokens| !tokens.iter().all(is_blank));
    let tokens: Vec<&TokenWithSpan> =
        tokens.into_iter().nth(statement)?.iter().filter(|token| !is_blank(token)).collect();
    let parts: Vec<&str> = name.split('.').collect();
    // A name that has a point in it was quoted.
    let whole = |index: usize| matches!(&tokens[index].token, Token::Word(word) if folded(word) == name);
    let in_parts = |index: usize| {
        parts.iter().enumerate().all(|(part, wanted)| {
            let is_part = |token: &&TokenWithSpan| matches!(&token.token, Token::Word(word) if folded(word) == *wanted);
            let point = part == 0 || tokens.get(index + part * 2 - 1).is_some_and(|token| token.token == Token::Period);
            point && tokens.get(index + part * 2).is_some_and(is_part)
        })
    };
    let index = (0..tokens.len()).find(|index| whole(*index) || in_parts(*index))?;
    character(sql, tokens[index].span.start)
}

fn is_blank(token: &TokenWithSpan) -> bool {
    matches!(token.token, Token::Whitespace(_) | Token::EOF)
}

/// As PostgreSQL folds names.
fn folded(word: &Word) -> String {
    if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() }
}

/// The number of the character at a place, from 1.
pub(crate) fn character(sql: &str, at: Location) -> Option<u32> {
    let line = usize::try_from(at.line).ok()?.checked_sub(1)?;
    let before: usize = sql.split_inclusive('\n').take(line).map(|line| line.chars().count()).sum();
    u32::try_from(before + usize::try_from(at.column).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_where_they_stand() {
        let sql = "SELECT 1; SELECT é, T.\"Ab\", 'ab', t . x\n  FROM t WHERE ab = t.y";
        let at =
            |name: &str| locate(sql, 1, name).map(|at| sql.chars().skip(at as usize - 1).take(3).collect::<String>());
        assert_eq!(at("t.x").as_deref(), Some("t ."));
        assert_eq!(at("Ab").as_deref(), Some("\"Ab"));
        assert_eq!(at("ab").as_deref(), Some("ab "));
        assert_eq!(at("t.y").as_deref(), Some("t.y"));
        assert_eq!((at("nothing"), locate(sql, 0, "t.x"), locate(sql, 2, "t.x")), (None, None, None));
        assert_eq!(locate("'", 0, "x"), None);
    }
}
