//! A small database for statements to be planned against.

use std::cell::RefCell;

use pontoon_core::{
    data::Nested,
    exec::local::Local,
    sql::{ast::Statement, plan::Dialect},
};

/// One column of each type, an index, a reference, a view.
pub const SCHEMA: &str = "
    CREATE TABLE many (i INT PRIMARY KEY, r REAL, t TEXT DEFAULT 'x' CHECK (length(t) < 9), b BOOLEAN, ts TIMESTAMP,
        bl BLOB, n NUMERIC(10, 2), d DATE, iv INTERVAL, j JSON, u UUID);
    CREATE TABLE few (a TEXT, b INT, c INT REFERENCES many (i) ON DELETE CASCADE, PRIMARY KEY (a, b));
    CREATE UNIQUE INDEX by_c ON few (c DESC, a);
    CREATE VIEW seen AS SELECT a, count(*) AS n FROM few JOIN many ON c = i GROUP BY a;
    INSERT INTO many VALUES
        (1, 1.5, 'one', true, '2024-02-29 12:00:00', '\\x00ff', 12.34, '2024-02-29', '1 month 2 days', '{\"a\": [1, null]}',
            '123e4567-e89b-12d3-a456-426614174000'),
        (-9223372036854775807, -1e308, '', false, '0001-01-01', '', -99999999.99, '9999-12-31', '-1 us', '[]', NULL),
        (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
    INSERT INTO few VALUES ('x', 1, 1), ('y', 2, 3);
    ANALYZE";

thread_local! {
    /// Made again where a statement may have changed it.
    static DATABASE: RefCell<Option<Local>> = const { RefCell::new(None) };
}

/// The database anew.
pub(crate) fn fresh() -> Local {
    let mut local = Local::new();
    local.wall_us = 1_700_000_000_000_000;
    for statement in pontoon_parser::parse(SCHEMA).expect("the schema") {
        local.execute(statement, Vec::new()).expect("the schema");
    }
    local
}

/// Explains a statement. Definitions cannot be explained and are carried out; they are not much work.
pub(crate) fn plan(statement: Statement) {
    let defines = matches!(
        statement,
        Statement::CreateTable(_)
            | Statement::AlterTable(_)
            | Statement::CreateView(_)
            | Statement::CreateIndex(_)
            | Statement::DropTable { .. }
            | Statement::DropView { .. }
            | Statement::DropIndex { .. }
            | Statement::Set { .. }
            | Statement::Show(_)
    );
    let statement = if defines { statement } else { Statement::Explain(Nested::new(statement)) };
    DATABASE.with_borrow_mut(|database| {
        let _ = database.get_or_insert_with(fresh).execute(statement, Vec::new());
        if defines {
            *database = None;
        }
    });
}

/// Carries a query out, which changes nothing.
pub(crate) fn query(dialect: Dialect, query: Statement) {
    DATABASE.with_borrow_mut(|database| {
        let database = database.get_or_insert_with(fresh);
        database.speak(dialect);
        let _ = database.execute(query, Vec::new());
        database.speak(Dialect::Postgres);
    });
}
