//! Bound expressions: what a peer evaluates over a row.
//!
//! A [`Scalar`] is an [`Expr`](super::ast::Expr) whose names are resolved, parameters are filled in and implicit
//! casts are explicit. Column numbers mean column *identities* in logical plans and *positions* of the input row in
//! physical plans and fragments; [`Scalar::remap`] goes from one to the other. It travels in fragments: append only.

use serde::{Deserialize, Serialize};

use crate::data::{Nested, Type, Value};

/// An expression over the columns of one row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Scalar {
    /// A column of the row.
    Column(u32),
    /// A constant.
    Literal(Value),
    /// Three-valued NOT.
    Not(Nested<Scalar>),
    /// `-e`.
    Neg(Nested<Scalar>),
    /// Arithmetic, comparison, AND, OR, `||`.
    Binary(super::ast::BinaryOp, Nested<Scalar>, Nested<Scalar>),
    /// Whether the operand is NULL.
    IsNull(Nested<Scalar>),
    /// Whether the operand equals one of the list.
    In(Nested<Scalar>, Vec<Nested<Scalar>>),
    /// Whether the operand matches a pattern; the flag folds case.
    Like(Nested<Scalar>, Nested<Scalar>, bool),
    /// The first WHEN that is true gives its THEN.
    Case(Vec<(Nested<Scalar>, Nested<Scalar>)>, Nested<Scalar>),
    /// To another type.
    Cast(Nested<Scalar>, Type),
    /// A function of the arguments.
    Call(Function, Vec<Nested<Scalar>>),
    /// Whether the operand is exactly this truth value (NULL is neither).
    IsBool(Nested<Scalar>, bool),
}

/// A scalar function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Function {
    /// `lower(text)`.
    Lower,
    /// `upper(text)`.
    Upper,
    /// `length(text)` in characters, `length(blob)` in bytes.
    Length,
    /// `abs(number)`.
    Abs,
    /// `round(number [, digits])`, half away from zero.
    Round,
    /// `floor(number)`.
    Floor,
    /// `ceil(number)`.
    Ceil,
    /// `sqrt(number)`.
    Sqrt,
    /// `power(number, number)`.
    Power,
    /// `coalesce(..)`.
    Coalesce,
    /// `nullif(a, b)`.
    NullIf,
    /// `substr(text, from [, count])`, from 1.
    Substr,
    /// `trim(text [, characters])`.
    Trim,
    /// `ltrim(text [, characters])`.
    LTrim,
    /// `rtrim(text [, characters])`.
    RTrim,
    /// `replace(text, from, to)`.
    Replace,
    /// `concat(..)`, NULLs left out.
    Concat,
    /// `greatest(..)`, NULLs left out.
    Greatest,
    /// `least(..)`, NULLs left out.
    Least,
    /// `extract(field from timestamp)` and `date_part(field, timestamp)`.
    DatePart,
    /// `date_trunc(field, timestamp)`.
    DateTrunc,
    /// `strpos(text, part)`.
    StrPos,
    /// `mod(a, b)`.
    Mod,
    /// `sign(number)`.
    Sign,
    /// A function that only askers compute, by its number ([`functions::listed`](crate::exec::functions::listed)). Numbers
    /// are those of one program: none travels.
    Listed(u16),
    /// The number that a text begins with, as SQLite reads it, as a real.
    LeadingNumber,
    /// The start of the window in which a time lies, of so many microseconds, counted from an origin: `tumble`, `date_bin`.
    Bin,
}

impl Scalar {
    /// Whether owners can evaluate it. What they cannot is evaluated at the asker, above what they give.
    pub fn is_portable(&self) -> bool {
        if matches!(self, Scalar::Call(Function::Listed(_), _)) || matches!(self, Scalar::Cast(_, to) if to.is_wide()) {
            return false;
        }
        let children = self.map_children(&mut |child| match child.is_portable() {
            true => Ok(Scalar::Literal(Value::Null)),
            false => Err(()),
        });
        children.is_ok()
    }
}
