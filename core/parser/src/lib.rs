//! SQL text to Pontoon's AST, by way of sqlparser.
