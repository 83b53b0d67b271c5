//! Statements that are asked again: their texts are parsed once.
//!
//! A host keeps [`Statements`] beside [`Definitions`](super::asking::Definitions). A tree depends on its text alone, so
//! nothing makes it wrong; it is planned with what the catalog says each time.

use std::sync::Arc;

use super::ast::Statement;
use crate::map::Map;

/// Statements that are remembered.
const STATEMENTS_MAX: usize = 256;
/// Bytes of their texts.
const TEXTS_MAX: usize = 1 << 20;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Statements {
    /// By text: the statement, and when it was asked for last.
    known: Map<String, (Arc<Statement>, u64)>,
    asked: u64,
    bytes: usize,
}

impl Statements {
    /// The statement of a text; `parse` makes it where it is not known.
    pub fn get<E>(
        &mut self,
        text: &str,
        parse: impl FnOnce(&str) -> Result<Statement, E>,
    ) -> Result<Arc<Statement>, E> {
        self.asked += 1;
        if let Some((statement, asked)) = self.known.get_mut(text) {
            *asked = self.asked;
            return Ok(statement.clone());
        }
        let statement = Arc::new(parse(text)?);
        if text.len() <= TEXTS_MAX / 2 {
            self.bytes += text.len();
            self.known.insert(text.to_owned(), (statement.clone(), self.asked));
        }
        while self.known.len() > STATEMENTS_MAX || self.bytes > TEXTS_MAX {
            let oldest = self.known.iter().min_by_key(|(_, (_, asked))| *asked).map(|(text, _)| text.clone());
            let Some(oldest) = oldest else { break };
            self.bytes -= oldest.len();
            self.known.remove(&oldest);
        }
        Ok(statement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_parsed_once_and_only_so_many_are_remembered() {
        let mut statements = Statements::default();
        let parsed = core::cell::Cell::new(0);
        let parse = |text: &str| {
            parsed.set(parsed.get() + 1);
            if text == "no" { Err(()) } else { Ok(Statement::Show(text.to_owned())) }
        };
        for _ in 0..3 {
            assert_eq!(*statements.get("a", parse).unwrap(), Statement::Show("a".to_owned()));
        }
        assert_eq!(parsed.get(), 1);
        assert_eq!((statements.get("no", parse), statements.get("no", parse)), (Err(()), Err(())));
        for number in 0..2 * STATEMENTS_MAX {
            statements.get(&number.to_string(), parse).unwrap();
            statements.get("a", parse).unwrap();
        }
        assert_eq!(parsed.get(), 3 + 2 * STATEMENTS_MAX, "what is asked for is not forgotten");
        assert_eq!(statements.known.len(), STATEMENTS_MAX);
        for number in 0..8 {
            statements.get(&"x".repeat(TEXTS_MAX / 2 - number), parse).unwrap();
            statements.get(&"x".repeat(TEXTS_MAX), parse).unwrap();
        }
        assert!(statements.bytes <= TEXTS_MAX);
        assert_eq!(statements.bytes, statements.known.keys().map(String::len).sum::<usize>());
    }
}
