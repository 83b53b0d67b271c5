//! The syntax tree of a statement: what a parser makes of SQL text, and what peers keep and send instead of text.
//!
//! Encoded with `postcard`, which numbers variants by position: **append only**, never reorder or remove. Recursion
//! goes through [`Nested`], so decoding hostile bytes gives an error and never overflows the stack.
//! Names are already folded as PostgreSQL does it (lower case unless quoted).

use serde::{Deserialize, Serialize};

pub use super::schema::{
    AlterTable, Alteration, CheckDef, ColumnDef, CreateIndex, CreateTable, CreateView, EncryptionDef, ReferenceDef,
    ReferentialAction, UniqueDef,
};
use crate::{
    data::{Nested, Type, Value},
    trust::{Grantee, Privileges},
};

/// One statement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Statement {
    /// `CREATE TABLE`.
    CreateTable(CreateTable),
    /// `DROP TABLE`.
    DropTable {
        /// The table.
        name: String,
        /// No error when it does not exist.
        if_exists: bool,
        /// `CASCADE`: references to it go, too.
        cascade: bool,
    },
    /// `INSERT`.
    Insert(Insert),
    /// `UPDATE`.
    Update(Update),
    /// `DELETE`.
    Delete(Delete),
    /// `SELECT`.
    Select(Nested<Select>),
    /// `EXPLAIN` of a statement.
    Explain(Nested<Statement>),
    /// `ALTER TABLE`.
    AlterTable(AlterTable),
    /// `CREATE VIEW`.
    CreateView(CreateView),
    /// `DROP VIEW`.
    DropView {
        /// The view.
        name: String,
        /// No error when it does not exist.
        if_exists: bool,
    },
    /// `TRUNCATE`.
    Truncate(String),
    /// `CREATE TABLE .. AS SELECT ..`.
    CreateTableAs {
        /// The table.
        name: String,
        /// Nothing is done when there is one of that name.
        if_not_exists: bool,
        /// Its rows.
        query: Nested<Select>,
    },
    /// `SET name = value`; no value: `SET name TO DEFAULT`, `RESET name`.
    Set {
        /// A setting of the session.
        name: String,
        /// Its value.
        value: Option<String>,
    },
    /// `SHOW name`.
    Show(String),
    /// `CREATE INDEX`.
    CreateIndex(CreateIndex),
    /// `DROP INDEX`.
    DropIndex {
        /// The index.
        name: String,
        /// No error when it does not exist.
        if_exists: bool,
    },
    /// `EXPLAIN (ANALYZE, FORMAT JSON)` of a statement.
    ExplainWith {
        /// The statement.
        statement: Nested<Statement>,
        /// It is carried out, and what each step gave is shown.
        analyze: bool,
        /// As JSON; else as text.
        json: bool,
    },
    /// `ANALYZE` of a table, or of all.
    Analyze(Option<String>),
    /// `GRANT`, `REVOKE`.
    Grant {
        /// The table or view.
        table: String,
        /// What is granted or revoked.
        privileges: Privileges,
        /// To whom or from whom.
        to: Vec<Grantee>,
        /// Whether it is granted.
        give: bool,
    },
    /// `CREATE POLICY`.
    CreatePolicy(CreatePolicy),
    /// `DROP POLICY [IF EXISTS] name ON table`.
    DropPolicy {
        /// Its name.
        name: String,
        /// The table.
        table: String,
        /// No error when there is none.
        if_exists: bool,
    },
}

/// `CREATE POLICY name ON table FOR .. TO .. USING (..) WITH CHECK (..)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CreatePolicy {
    /// Its name.
    pub name: String,
    /// The table.
    pub table: String,
    /// Which kinds of writes it is about.
    pub on: Privileges,
    /// Whose.
    pub to: Vec<Grantee>,
    /// Which rows may be changed or removed, and how that was written.
    pub using: Option<(Expr, String)>,
    /// Which rows may come of it.
    pub check: Option<(Expr, String)>,
}

/// `INSERT INTO table (columns) VALUES ..`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Insert {
    /// The table.
    pub table: String,
    /// The columns given; empty: all, in order.
    pub columns: Vec<String>,
    /// Where the rows come from.
    pub source: InsertSource,
    /// What expressions call the table.
    pub alias: Option<String>,
    /// `ON CONFLICT`, `OR REPLACE`, `OR IGNORE`.
    pub conflict: Option<OnConflict>,
    /// `RETURNING`.
    pub returning: Vec<SelectItem>,
}

/// What an INSERT does where the key is there already.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OnConflict {
    /// The columns of the key; empty: whichever.
    pub target: Vec<String>,
    /// What to do.
    pub action: ConflictAction,
}

/// See [`OnConflict`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ConflictAction {
    /// `DO NOTHING`.
    Nothing,
    /// `DO UPDATE SET .. WHERE ..`.
    Update {
        /// Column and new value.
        assignments: Vec<(String, Expr)>,
        /// Which rows.
        filter: Option<Expr>,
    },
    /// `INSERT OR REPLACE`: the new row takes the place of the other.
    Replace,
    /// `INSERT OR IGNORE`: a row that breaks any constraint is left out.
    Ignore,
}

/// Where the rows of an INSERT come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum InsertSource {
    /// `VALUES (..), (..)`.
    Values(Vec<Vec<Expr>>),
    /// `SELECT ..`.
    Query(Nested<Select>),
    /// `DEFAULT VALUES`.
    Defaults,
}

/// `UPDATE table SET .. WHERE ..`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// The table.
    pub table: String,
    /// What expressions call it.
    pub alias: Option<String>,
    /// Column and new value.
    pub assignments: Vec<(String, Expr)>,
    /// Which rows.
    pub filter: Option<Expr>,
    /// `FROM`.
    pub from: Vec<TableRef>,
    /// `RETURNING`.
    pub returning: Vec<SelectItem>,
}

/// `DELETE FROM table WHERE ..`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delete {
    /// The table.
    pub table: String,
    /// What expressions call it.
    pub alias: Option<String>,
    /// Which rows.
    pub filter: Option<Expr>,
    /// `USING`.
    pub using: Vec<TableRef>,
    /// `RETURNING`.
    pub returning: Vec<SelectItem>,
}

/// `SELECT .. FROM .. WHERE .. GROUP BY .. HAVING .. ORDER BY .. LIMIT .. OFFSET ..`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Select {
    /// `DISTINCT`.
    pub distinct: bool,
    /// What is selected.
    pub items: Vec<SelectItem>,
    /// The comma-separated items of `FROM`; empty: one row without columns.
    pub from: Vec<TableRef>,
    /// `WHERE`.
    pub filter: Option<Expr>,
    /// `GROUP BY`: expressions, ordinals, aliases.
    pub group_by: Vec<Expr>,
    /// `HAVING`.
    pub having: Option<Expr>,
    /// `ORDER BY`.
    pub order_by: Vec<OrderBy>,
    /// `LIMIT`.
    pub limit: Option<Expr>,
    /// `OFFSET`.
    pub offset: Option<Expr>,
    /// What stands in the place of `SELECT .. HAVING`, if it is something else.
    pub body: Body,
    /// `WITH`.
    pub with: Vec<Cte>,
    /// `WITH RECURSIVE`.
    pub recursive: bool,
    /// `DISTINCT ON (..)`.
    pub distinct_on: Vec<Expr>,
    /// `WINDOW name AS (..)`.
    pub windows: Vec<(String, Window)>,
}

/// What a query is made of. `ORDER BY`, `LIMIT`, `OFFSET` and `WITH` of its [`Select`] go with each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// `SELECT .. FROM ..`, as the fields of [`Select`] say.
    #[default]
    Select,
    /// `VALUES (..), (..)`.
    Values(Vec<Vec<Expr>>),
    /// Two queries as sets.
    Set {
        /// Which operation.
        op: SetOp,
        /// `ALL`: rows keep their multiplicity.
        all: bool,
        /// The left query.
        left: Nested<Select>,
        /// The right query.
        right: Nested<Select>,
    },
}

/// An operation on sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetOp {
    /// `UNION`.
    Union,
    /// `INTERSECT`.
    Intersect,
    /// `EXCEPT`.
    Except,
}

/// `name (columns) AS (query)` in `WITH`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cte {
    /// What FROM calls it.
    pub name: String,
    /// The names of its columns; empty: those of the query.
    pub columns: Vec<String>,
    /// The query.
    pub query: Nested<Select>,
}

/// What stands in the parentheses of `OVER (..)` or `WINDOW name AS (..)`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// A named window that this one adds to.
    pub base: Option<String>,
    /// `PARTITION BY`.
    pub partition_by: Vec<Nested<Expr>>,
    /// `ORDER BY`.
    pub order_by: Vec<Nested<OrderBy>>,
    /// Which rows of the partition; `None`: up to the last peer of the row.
    pub frame: Option<Frame>,
}

/// `ROWS BETWEEN .. AND ..`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    /// What bounds count.
    pub unit: FrameUnit,
    /// Where it begins.
    pub start: FrameBound,
    /// Where it ends.
    pub end: FrameBound,
}

/// What the bounds of a frame count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrameUnit {
    /// Rows.
    Rows,
    /// Values of the one ordering expression.
    Range,
    /// Groups of peers.
    Groups,
}

/// A bound of a frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FrameBound {
    /// `UNBOUNDED PRECEDING`.
    First,
    /// `n PRECEDING`.
    Before(Nested<Expr>),
    /// `CURRENT ROW`.
    Current,
    /// `n FOLLOWING`.
    After(Nested<Expr>),
    /// `UNBOUNDED FOLLOWING`.
    Last,
}

/// One item of a select list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SelectItem {
    /// `*`, or `table.*`.
    Star(Option<String>),
    /// An expression and the name after `AS`.
    Expr(Expr, Option<String>),
}

/// An item of `FROM`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TableRef {
    /// A table.
    Table {
        /// Its name.
        name: String,
        /// What expressions call it.
        alias: Option<String>,
    },
    /// Two items joined.
    Join {
        /// The left side.
        left: Nested<TableRef>,
        /// The right side.
        right: Nested<TableRef>,
        /// Which join.
        kind: JoinKind,
        /// What must hold.
        on: JoinOn,
    },
    /// `(SELECT ..) AS alias`.
    Derived {
        /// The query.
        query: Nested<Select>,
        /// What expressions call it.
        alias: String,
    },
    /// An item whose columns the alias names: `AS alias (a, b)`.
    Renamed {
        /// The item.
        item: Nested<TableRef>,
        /// The names of its first columns.
        columns: Vec<String>,
    },
    /// `LATERAL (SELECT ..) AS alias`: a query that sees the items before it.
    Lateral {
        /// The query.
        query: Nested<Select>,
        /// What expressions call it.
        alias: String,
    },
    /// `function(..) AS alias`: rows that a function gives, which sees the items before it.
    Function {
        /// The function.
        name: String,
        /// Its arguments.
        args: Vec<Nested<Expr>>,
        /// What expressions call it.
        alias: String,
    },
}

/// Which join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinKind {
    /// Pairs that match.
    Inner,
    /// Pairs that match, and rows of the left side without a match.
    Left,
    /// Pairs that match, and rows of the right side without a match.
    Right,
    /// Pairs that match, and rows of both sides without a match.
    Full,
}

/// The condition of a join.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum JoinOn {
    /// `CROSS JOIN`.
    Nothing,
    /// `ON`.
    Expr(Expr),
    /// `USING (..)`.
    Using(Vec<String>),
    /// `NATURAL`: on all columns of the same names.
    Natural,
}

/// One item of `ORDER BY`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderBy {
    /// An expression, ordinal or alias.
    pub expr: Expr,
    /// `DESC`.
    pub descending: bool,
    /// `NULLS FIRST` (true) or `NULLS LAST` (false); by default NULLs count as larger than everything else.
    pub nulls_first: Option<bool>,
}

/// An expression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Expr {
    /// A constant.
    Literal(Value),
    /// `$1` is 1.
    Param(u16),
    /// A column, perhaps of a named table.
    Column {
        /// The table's name or alias.
        table: Option<String>,
        /// The column.
        name: String,
    },
    /// `-e`, `NOT e`.
    Unary(UnaryOp, Nested<Expr>),
    /// `l op r`.
    Binary(BinaryOp, Nested<Expr>, Nested<Expr>),
    /// `e IS [NOT] NULL`.
    IsNull {
        /// The operand.
        expr: Nested<Expr>,
        /// `NOT`.
        negated: bool,
    },
    /// `e [NOT] IN (..)`.
    InList {
        /// The operand.
        expr: Nested<Expr>,
        /// The list.
        list: Vec<Nested<Expr>>,
        /// `NOT`.
        negated: bool,
    },
    /// `e [NOT] BETWEEN low AND high`.
    Between {
        /// The operand.
        expr: Nested<Expr>,
        /// Lower bound, included.
        low: Nested<Expr>,
        /// Upper bound, included.
        high: Nested<Expr>,
        /// `NOT`.
        negated: bool,
    },
    /// `e [NOT] LIKE pattern`, `ILIKE`.
    Like {
        /// The operand.
        expr: Nested<Expr>,
        /// The pattern: `%` any text, `_` any character, `\` takes the next literally.
        pattern: Nested<Expr>,
        /// `NOT`.
        negated: bool,
        /// `ILIKE`.
        fold_case: bool,
    },
    /// `CASE [operand] WHEN .. THEN .. ELSE .. END`.
    Case {
        /// Compared with each WHEN, if given.
        operand: Option<Nested<Expr>>,
        /// WHEN and THEN.
        whens: Vec<(Nested<Expr>, Nested<Expr>)>,
        /// ELSE.
        otherwise: Option<Nested<Expr>>,
    },
    /// `CAST(e AS type)`, `e::type`.
    Cast(Nested<Expr>, Type),
    /// A function or aggregate.
    Call {
        /// Its name, lower case.
        name: String,
        /// Its arguments.
        args: Vec<Nested<Expr>>,
        /// `DISTINCT` before the arguments.
        distinct: bool,
        /// `(*)`.
        star: bool,
    },
    /// `DEFAULT`, in a row of VALUES or an assignment.
    Default,
    /// `e IS [NOT] TRUE`, `e IS [NOT] FALSE`.
    IsBool {
        /// The operand.
        expr: Nested<Expr>,
        /// TRUE or FALSE.
        value: bool,
        /// `NOT`.
        negated: bool,
    },
    /// `(SELECT ..)`: the one value of the one row.
    Subquery(Nested<Select>),
    /// `EXISTS (SELECT ..)`.
    Exists(Nested<Select>),
    /// `e [NOT] IN (SELECT ..)`.
    InSubquery {
        /// The operand.
        expr: Nested<Expr>,
        /// The query, of one column.
        query: Nested<Select>,
        /// `NOT`.
        negated: bool,
    },
    /// `e op ANY (SELECT ..)`, `e op ALL (SELECT ..)`.
    Quantified {
        /// The operand.
        expr: Nested<Expr>,
        /// The comparison.
        op: BinaryOp,
        /// `ALL`.
        all: bool,
        /// The query, of one column.
        query: Nested<Select>,
    },
    /// An aggregate of some of the rows, or of rows in an order.
    Aggregate {
        /// The call.
        call: Nested<Expr>,
        /// `FILTER (WHERE ..)`.
        filter: Option<Nested<Expr>>,
        /// `ORDER BY` among the arguments.
        order_by: Vec<Nested<OrderBy>>,
    },
    /// `call OVER (..)`.
    Over {
        /// The call, perhaps with a filter.
        call: Nested<Expr>,
        /// The window.
        window: Nested<Window>,
    },
}

/// An operator with one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnaryOp {
    /// `-`.
    Neg,
    /// `NOT`.
    Not,
}

/// An operator with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BinaryOp {
    /// `+`.
    Add,
    /// `-`.
    Sub,
    /// `*`.
    Mul,
    /// `/`.
    Div,
    /// `%`.
    Rem,
    /// `||`.
    Concat,
    /// `=`.
    Eq,
    /// `<>`.
    Ne,
    /// `<`.
    Lt,
    /// `<=`.
    Le,
    /// `>`.
    Gt,
    /// `>=`.
    Ge,
    /// `AND`.
    And,
    /// `OR`.
    Or,
    /// `IS DISTINCT FROM`.
    IsDistinct,
    /// `IS NOT DISTINCT FROM`.
    IsNotDistinct,
}
