//! Random queries over random rows: the whole, the same spread over owners, and SQLite agree; hostile text is refused.
//!
//! Queries are made of what PostgreSQL and SQLite type alike: small integers, text, NULL, conditions only where a
//! condition belongs. Without ORDER BY rows are compared as multisets.

use pontoon_core::{
    Id, Region,
    data::{Cost, Row, Value},
    exec::{Env, FragmentPlan, local::Local, view::Splice},
    live::Watched,
    sql::{
        asking::Definitions,
        live::{Live, LiveNeed},
    },
};
use proptest::prelude::*;
use rusqlite::types::ValueRef;

const COLUMNS: &[&str] = &["t.k", "t.a", "t.b"];

fn integer(depth: u32, columns: &'static [&'static str]) -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        4 => prop::sample::select(columns).prop_map(str::to_owned),
        2 => (-3_i64..8).prop_map(|number| number.to_string()),
        1 => Just("NULL".to_owned()),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let inner = || integer(depth - 1, columns);
    prop_oneof![
        4 => leaf,
        3 => (inner(), prop::sample::select(&["+", "-", "*"][..]), inner())
            .prop_map(|(a, op, b)| format!("({a} {op} {b})")),
        1 => (inner(), 2_i64..5).prop_map(|(a, by)| format!("({a} / {by})")),
        1 => (inner(), 2_i64..5).prop_map(|(a, by)| format!("({a} % {by})")),
        1 => (condition(depth - 1, columns), inner(), inner())
            .prop_map(|(when, a, b)| format!("CASE WHEN {when} THEN {a} ELSE {b} END")),
        1 => (inner(), inner()).prop_map(|(a, b)| format!("coalesce({a}, {b}, 0)")),
        1 => inner().prop_map(|a| format!("abs({a})")),
    ]
    .boxed()
}

fn condition(depth: u32, columns: &'static [&'static str]) -> BoxedStrategy<String> {
    let value = || integer(depth.min(1), columns);
    let leaf = prop_oneof![
        4 => (value(), prop::sample::select(&["=", "<>", "<", "<=", ">", ">="][..]), value())
            .prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        1 => (value(), any::<bool>()).prop_map(|(a, not)| format!("{a} IS {}NULL", if not { "NOT " } else { "" })),
        1 => (value(), prop::collection::vec(value(), 1..4), any::<bool>())
            .prop_map(|(a, list, not)| format!("{a} {}IN ({})", if not { "NOT " } else { "" }, list.join(", "))),
        1 => (value(), value(), value()).prop_map(|(a, low, high)| format!("{a} BETWEEN {low} AND {high}")),
        1 => Just("t.c LIKE 'x%'".to_owned()),
        1 => (0_i64..12).prop_map(|key| format!("t.k = {key}")),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    let inner = || condition(depth - 1, columns);
    prop_oneof![
        3 => leaf,
        2 => (inner(), prop::sample::select(&["AND", "OR"][..]), inner()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
        1 => inner().prop_map(|a| format!("NOT ({a})")),
    ]
    .boxed()
}

fn aggregate() -> BoxedStrategy<String> {
    prop_oneof![
        Just("count(*)".to_owned()),
        condition(1, COLUMNS).prop_map(|filter| format!("count(*) FILTER (WHERE {filter})")),
        (prop::sample::select(&["count", "sum", "min", "max"][..]), integer(1, COLUMNS), condition(1, COLUMNS))
            .prop_map(|(name, arg, filter)| format!("{name}({arg}) FILTER (WHERE {filter})")),
        (prop::sample::select(&["count", "sum", "min", "max"][..]), any::<bool>(), integer(1, COLUMNS))
            .prop_map(|(name, distinct, arg)| format!("{name}({}{arg})", if distinct { "DISTINCT " } else { "" })),
    ]
    .boxed()
}

/// Values that depend on the row `t`, each in a way of its own.
const NESTED: &[&str] = &[
    "(SELECT count(*) FROM u WHERE u.a = t.b)",
    "(SELECT s.b FROM t AS s WHERE s.a = t.a ORDER BY s.k DESC LIMIT 1)",
    "(SELECT s.k FROM t AS s WHERE s.k > t.a ORDER BY s.b ASC NULLS FIRST, s.k LIMIT 1 OFFSET 1)",
    "(SELECT max(r) FROM (SELECT rank() OVER (ORDER BY s.k) AS r FROM t AS s WHERE s.a = t.a) AS x)",
    "(WITH w AS (SELECT s.k FROM t AS s WHERE s.a = t.b) SELECT count(*) FROM w AS p JOIN w AS q ON p.k <= q.k)",
    "(SELECT count(*) FROM u WHERE u.v > t.a AND EXISTS (SELECT 1 FROM t AS s WHERE s.a = u.a AND s.b = t.b))",
    "(SELECT count(*) FROM u WHERE u.v IN (SELECT s.b + t.k FROM t AS s WHERE s.a = u.a))",
    "(SELECT count(*) FROM u WHERE u.v > (SELECT min(s.k) + t.a FROM t AS s WHERE s.b = u.a OR s.b = t.b))",
    "(SELECT count(DISTINCT s.a) + count(*) FILTER (WHERE s.b > t.b) FROM t AS s LEFT JOIN u ON u.a = s.b AND u.v > t.k)",
    "(SELECT count(*) FROM (SELECT s.a FROM t AS s WHERE s.b = t.b UNION SELECT u.a FROM u WHERE u.v > t.k) AS x)",
    "(SELECT count(*) FROM (SELECT DISTINCT s.a, t.b FROM t AS s WHERE s.k < t.k) AS x FULL JOIN u ON x.a = u.a)",
    "(SELECT sum(n) FROM (SELECT s.a, count(*) AS n FROM t AS s GROUP BY s.a HAVING count(*) > t.b) AS x WHERE x.a >= t.a)",
];

/// A condition that asks a subquery; `t` is in sight, and so is `t` of the subquery, as `s`.
fn asking() -> BoxedStrategy<String> {
    let inner: &[&str] = &["s.k", "s.a", "t.a", "t.b"];
    let bare: &[&str] = &["s.k", "s.a", "s.b"];
    let not = || any::<bool>().prop_map(|not| if not { "NOT " } else { "" });
    let correlation = prop_oneof![
        Just("s.a = t.a".to_owned()),
        Just("s.a = t.b AND s.k > t.a".to_owned()),
        Just("s.b < t.k".to_owned()),
        condition(1, inner),
        condition(1, bare),
    ];
    let value = || prop_oneof![integer(1, inner), integer(1, bare)];
    let aggregate = prop::sample::select(&["count(*)", "sum(s.a)", "max(s.b)", "min(s.k) + t.a"][..]);
    prop_oneof![
        (not(), correlation.clone(), value())
            .prop_map(|(not, on, value)| format!("{not}EXISTS (SELECT {value} FROM t AS s WHERE {on})")),
        (integer(1, COLUMNS), not(), value(), correlation.clone())
            .prop_map(|(x, not, value, on)| format!("{x} {not}IN (SELECT {value} FROM t AS s WHERE {on})")),
        (integer(1, COLUMNS), not(), value())
            .prop_map(|(x, not, value)| format!("{x} {not}IN (SELECT {value} FROM t AS s)")),
        (integer(1, COLUMNS), prop::sample::select(&["=", "<", ">="][..]), aggregate, correlation.clone())
            .prop_map(|(x, op, aggregate, on)| format!("{x} {op} (SELECT {aggregate} FROM t AS s WHERE {on})")),
        (
            not(),
            correlation,
            prop::sample::select(&["UNION", "UNION ALL", "EXCEPT", "INTERSECT"][..]),
            condition(1, inner)
        )
            .prop_map(|(not, on, op, other)| format!(
                "t.a {not}IN (SELECT s.a FROM t AS s WHERE {on} {op} SELECT s.b FROM t AS s WHERE {other})"
            )),
    ]
    .boxed()
}

/// A query, and whether its rows are in order.
fn query() -> BoxedStrategy<(String, bool)> {
    prop_oneof![4 => simple(), 1 => sets(), 1 => with(), 1 => windows()].boxed()
}

/// Window functions. `t.k` is different in each row, so that peers are what the rest of the order says.
fn windows() -> BoxedStrategy<(String, bool)> {
    let bound = |side: &'static str| {
        prop_oneof![
            2 => Just(format!("UNBOUNDED {side}")),
            2 => Just("CURRENT ROW".to_owned()),
            3 => (0_u8..4).prop_map(move |count| format!("{count} {side}")),
        ]
    };
    let frame = (prop::sample::select(&["ROWS", "RANGE", "GROUPS"][..]), bound("PRECEDING"), bound("FOLLOWING"))
        .prop_map(|(unit, start, end)| format!(" {unit} BETWEEN {start} AND {end}"));
    let frame = prop_oneof![Just(String::new()), frame];
    let partition = prop_oneof![Just(String::new()), integer(1, COLUMNS).prop_map(|by| format!("PARTITION BY {by}"))];
    let order = (prop::sample::select(&["t.k", "t.a"][..]), any::<bool>()).prop_map(|(by, descending)| {
        let direction = if descending { "DESC NULLS LAST" } else { "ASC NULLS FIRST" };
        format!(" ORDER BY {by} {direction}")
    });
    let aggregate = (prop::sample::select(&["count", "sum", "min", "max"][..]), integer(1, COLUMNS))
        .prop_map(|(name, arg)| format!("{name}({arg})"));
    let window = (partition, order, frame);
    let framed = (aggregate, window.clone()).prop_map(|(call, (partition, order, frame))| {
        // Which of several peers stands first is nobody's business, and ROWS counts them one by one.
        let order = if frame.starts_with(" ROWS") { order.replace("t.a", "t.k") } else { order };
        format!("{call} OVER ({partition}{order}{frame})")
    });
    let ranked = (prop::sample::select(&["rank()", "dense_rank()"][..]), window.clone())
        .prop_map(|(call, (partition, order, _))| format!("{call} OVER ({partition}{order})"));
    let calls: &[&str] = &[
        "row_number()",
        "ntile(3)",
        "lag(t.a)",
        "lead(t.b, 2, t.k)",
        "first_value(t.b)",
        "last_value(t.a)",
        "nth_value(t.b, 2)",
    ];
    let single = (prop::sample::select(calls), window)
        .prop_map(|(call, (partition, _, frame))| format!("{call} OVER ({partition} ORDER BY t.k{frame})"));
    let call = prop_oneof![2 => framed, 1 => ranked, 2 => single];
    (prop::collection::vec(call, 1..4), condition(1, COLUMNS))
        .prop_map(|(calls, filter)| (format!("SELECT t.k, {} FROM t WHERE {filter}", calls.join(", ")), false))
        .boxed()
}

/// Operations on sets of queries.
fn sets() -> BoxedStrategy<(String, bool)> {
    let side = (integer(1, COLUMNS), integer(1, COLUMNS), condition(1, COLUMNS))
        .prop_map(|(a, b, filter)| format!("SELECT {a} AS x, {b} AS y FROM t WHERE {filter}"));
    let op = || prop::sample::select(&["UNION", "UNION ALL", "EXCEPT", "INTERSECT"][..]);
    (side.clone(), op(), side.clone(), op(), side, any::<bool>())
        .prop_map(|(a, first, b, second, c, limit)| {
            // In SQLite all operations bind alike, so the first two are put together.
            let sets = format!("SELECT * FROM ({a} {first} {b}) AS p {second} {c}");
            let order = " ORDER BY x ASC NULLS LAST, y DESC NULLS LAST";
            if limit { (format!("{sets}{order} LIMIT 5 OFFSET 1"), true) } else { (sets, false) }
        })
        .boxed()
}

/// A query of WITH that is read twice, and one that reads itself.
fn with() -> BoxedStrategy<(String, bool)> {
    let twice = (integer(1, COLUMNS), condition(1, COLUMNS), condition(1, &["p.x", "q.y", "p.y"])).prop_map(
        |(value, filter, on)| {
            let on = on.replace("t.c LIKE 'x%'", "p.x = q.x").replace("t.k", "p.x");
            let with = format!("WITH w (x, y) AS (SELECT {value}, t.k FROM t WHERE {filter})");
            format!("{with} SELECT p.x, q.y FROM w AS p JOIN w AS q ON {on} WHERE p.y <= q.y")
        },
    );
    // By the key of the table its rows are asked for as they are needed.
    let joins = prop::sample::select(
        &["JOIN t ON t.a = r.x", "JOIN t ON t.k = r.x", "LEFT JOIN t ON t.k = r.x AND t.a > 1"][..],
    );
    let recursive = (0_i64..4, any::<bool>(), joins).prop_map(|(from, all, join)| {
        let all = if all { "UNION ALL" } else { "UNION" };
        format!(
            "WITH RECURSIVE r (x, d) AS (SELECT {from}, 0 {all} SELECT t.b, r.d + 1 FROM r {join}
             WHERE r.d < 2) SELECT x, d FROM r"
        )
    });
    prop_oneof![twice, recursive].prop_map(|sql| (sql, false)).boxed()
}

fn simple() -> BoxedStrategy<(String, bool)> {
    let from = prop_oneof![
        3 => Just("t".to_owned()),
        1 => Just("t JOIN u ON t.a = u.a".to_owned()),
        1 => Just("t LEFT JOIN u ON t.b = u.a AND u.v > t.a".to_owned()),
        1 => Just("t, u".to_owned()),
        1 => Just("u RIGHT JOIN t ON t.b = u.a AND u.v > t.a".to_owned()),
        1 => Just("t FULL JOIN u ON t.a = u.a AND u.v > t.b".to_owned()),
        1 => Just("t FULL JOIN u ON t.a > u.v".to_owned()),
        1 => Just("t LEFT JOIN u ON t.a < u.v AND t.b IS NOT NULL".to_owned()),
        1 => Just("t JOIN u USING (a)".to_owned()),
        1 => Just("t JOIN u ON t.a = u.a JOIN t AS s ON s.k = u.v".to_owned()),
        1 => Just("t JOIN t AS s ON s.b = t.b LEFT JOIN u ON u.a = s.a JOIN u AS w ON w.v = t.k".to_owned()),
        1 => Just("t LEFT JOIN u ON t.a = u.a AND u.v IN (SELECT b FROM t)".to_owned()),
        1 => Just("t JOIN u ON t.a = u.a AND EXISTS (SELECT 1 FROM t AS s WHERE s.b = u.v OR s.k < t.b)".to_owned()),
    ];
    let filter = prop_oneof![1 => Just(String::new()), 3 => condition(2, COLUMNS).prop_map(|all| format!(" WHERE {all}")),
        1 => asking().prop_map(|asks| format!(" WHERE {asks}")),
        1 => (condition(1, COLUMNS), asking()).prop_map(|(all, asks)| format!(" WHERE {all} AND {asks}")),
        1 => (condition(1, COLUMNS), asking()).prop_map(|(all, asks)| format!(" WHERE {all} OR {asks}"))];
    let value = prop_oneof![
        5 => integer(2, COLUMNS),
        1 => asking().prop_map(|asks| format!("CASE WHEN {asks} THEN 1 ELSE 0 END")),
        2 => prop::sample::select(NESTED).prop_map(str::to_owned),
    ];
    let items = move || prop::collection::vec(value.clone(), 1..4);
    let plain = (from.clone(), filter.clone(), items(), any::<bool>()).prop_map(|(from, filter, items, distinct)| {
        let distinct = if distinct { "DISTINCT " } else { "" };
        (format!("SELECT {distinct}{} FROM {from}{filter}", items.join(", ")), false)
    });
    let top = (from.clone(), filter.clone(), items(), any::<bool>(), 0_u8..6, 0_u8..4).prop_map(
        |(from, filter, items, descending, limit, offset)| {
            let direction = if descending { "DESC NULLS FIRST" } else { "ASC NULLS LAST" };
            let order: Vec<String> = (1..=items.len()).map(|item| format!("{item} {direction}")).collect();
            let sql = format!("SELECT {} FROM {from}{filter} ORDER BY {}", items.join(", "), order.join(", "));
            (format!("{sql} LIMIT {limit} OFFSET {offset}"), true)
        },
    );
    let grouped = (
        from,
        filter,
        prop::collection::vec(integer(2, COLUMNS), 1..4),
        prop::collection::vec(aggregate(), 1..4),
        any::<bool>(),
    )
        .prop_map(|(from, filter, keys, aggregates, having)| {
            let keys: Vec<String> = keys.into_iter().filter(|key| key.contains('t')).collect();
            let all = [&keys[..], &aggregates].concat().join(", ");
            let ordinals: Vec<String> = (1..=keys.len()).map(|key| key.to_string()).collect();
            let by = if keys.is_empty() { String::new() } else { format!(" GROUP BY {}", ordinals.join(", ")) };
            let having = match (having, keys.len()) {
                (true, 1) => " HAVING count(*) > (SELECT count(*) FROM u WHERE u.v < 2)",
                (true, _) => " HAVING count(*) > 1",
                _ => "",
            };
            (format!("SELECT {all} FROM {from}{filter}{by}{having}"), false)
        });
    prop_oneof![plain, top, grouped].boxed()
}

type Rows = Vec<(Option<i64>, Option<i64>, Option<String>)>;

fn rows() -> impl Strategy<Value = Rows> {
    let number = || prop::option::weighted(0.85, -2_i64..5);
    prop::collection::vec((number(), number(), prop::option::of("[xy]{0,2}")), 0..25)
}

fn fill(run: &mut dyn FnMut(String), rows: &Rows) {
    let number = |number: &Option<i64>| number.map_or("NULL".to_owned(), |number| number.to_string());
    run("CREATE TABLE t (k INTEGER PRIMARY KEY, a INTEGER, b INTEGER, c TEXT)".to_owned());
    run("CREATE TABLE u (a INTEGER, v INTEGER)".to_owned());
    for (key, (a, b, c)) in rows.iter().enumerate() {
        let c = c.as_ref().map_or("NULL".to_owned(), |text| format!("'{text}'"));
        run(format!("INSERT INTO t VALUES ({key}, {}, {}, {c})", number(a), number(b)));
        if key % 3 != 0 {
            run(format!("INSERT INTO u (v, a) VALUES ({key}, {})", number(b)));
        }
    }
}

fn ours(local: &mut Local, sql: &str, ordered: bool) -> Vec<String> {
    let statement = pontoon_parser::parse_one(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let result = local.execute(statement, Vec::new()).unwrap_or_else(|error| panic!("{sql}: {error}"));
    shown(&result.rows, ordered)
}

/// A statement that changes rows of `t` or `u`.
fn change() -> impl Strategy<Value = String> {
    let (key, number) = (0_i64..25, -2_i64..5);
    (0_u8..6, key, number.clone(), number).prop_map(|(kind, key, a, b)| match kind {
        0 | 1 => format!("INSERT INTO t VALUES ({key}, {a}, {b}, 'x') ON CONFLICT (k) DO UPDATE SET a = {a}, b = NULL"),
        2 => format!("UPDATE t SET a = {a}, b = b + 1 WHERE k <= {key} AND b < {b}"),
        3 => format!("DELETE FROM t WHERE a = {a} OR k = {key}"),
        4 => format!("INSERT INTO u (a, v) VALUES ({a}, {b}), ({b}, NULL)"),
        _ => format!("DELETE FROM u WHERE a = {a}"),
    })
}

/// A live query over one map, each of whose fragments is read again after each statement.
struct Living {
    live: Live,
    definitions: Definitions,
    watches: Vec<(u32, Box<FragmentPlan>, Option<Region>)>,
    told: Vec<Row>,
    /// What the splices make.
    spliced: Vec<Row>,
}

impl Living {
    fn begin(local: &mut Local, sql: &str) -> Living {
        let statement = pontoon_parser::parse_one(sql).unwrap();
        let env = Env { now_us: 0, random: 1, me: Id::ZERO, user: None, locality_bits: 0 };
        let mut definitions = Definitions::default();
        let live = Live::new(statement, Vec::new(), env, &mut definitions);
        let mut living = Living { live, definitions, watches: Vec::new(), told: Vec::new(), spliced: Vec::new() };
        living.serve(local);
        living
    }

    fn serve(&mut self, local: &mut Local) {
        while let Some(need) = self.live.poll() {
            match need {
                LiveNeed::Ops { need, ops } => {
                    let outcomes = ops.iter().map(|op| local.apply(op)).collect();
                    self.live.on_ops(&mut self.definitions, need, outcomes, Cost::default());
                }
                LiveNeed::Watch { watch, fragment, region } => self.watches.push((watch, fragment, region)),
                LiveNeed::Unwatch { watch } => self.watches.retain(|(other, ..)| *other != watch),
            }
        }
    }

    /// The rows of the view once everything is read again.
    fn follow(&mut self, local: &mut Local, ordered: bool) -> Vec<String> {
        for (watch, fragment, region) in &self.watches {
            let mut batch = local.gather(fragment).unwrap().batch;
            let region = region.unwrap_or(Region::ALL);
            batch.rows.retain(|signed| {
                let Some(Value::Blob(key)) = signed.row.last() else { panic!("{signed:?}") };
                region.contains(&Id::object(fragment.namespace(), key, fragment.locality_bits()))
            });
            let regions = vec![region];
            self.live.on_watched(&mut self.definitions, *watch, Watched::Read { regions, batch });
            let covered = Watched::Covered { coverage: 1.0, assumed_lost: false };
            self.live.on_watched(&mut self.definitions, *watch, covered);
        }
        while let Some(change) = self.live.change() {
            let change = change.unwrap();
            for row in &change.removed {
                let at = self.told.iter().position(|other| other == row);
                self.told.swap_remove(at.unwrap_or_else(|| panic!("{row:?} went and was not there")));
            }
            let mut window = change.window.as_ref().unwrap_or(&change.added).iter().cloned();
            for Splice { at, gone, came } in change.splices {
                drop(self.spliced.splice(at..at + gone, window.by_ref().take(came)));
            }
            self.told.extend(change.added);
        }
        let rows = self.live.rows().unwrap();
        assert_eq!(shown(&self.spliced, true), shown(&rows, true), "splices lead to the rows");
        shown(&rows, ordered)
    }

    /// What the changes that were told come to.
    fn replayed(&self, ordered: bool) -> Vec<String> {
        // In the order of the view.
        let mut rows = self.told.clone();
        if ordered {
            let view = self.live.rows().unwrap();
            rows.sort_by_key(|row| view.iter().position(|other| other == row));
        }
        shown(&rows, ordered)
    }
}

fn shown(rows: &[Row], ordered: bool) -> Vec<String> {
    let text = |row: &Row| row.iter().map(Value::to_string).collect::<Vec<_>>().join("|");
    let mut rows: Vec<String> = rows.iter().map(text).collect();
    if !ordered {
        rows.sort();
    }
    rows
}

fn sqlite(connection: &rusqlite::Connection, sql: &str, ordered: bool) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let width = statement.column_count();
    let text = |row: &rusqlite::Row<'_>, index: usize| match row.get_ref(index).unwrap() {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        other => panic!("{sql}: {other:?}"),
    };
    let mut rows: Vec<String> = statement
        .query_map((), |row| Ok((0..width).map(|index| text(row, index)).collect::<Vec<_>>().join("|")))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    if !ordered {
        rows.sort();
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whole_spread_and_sqlite_agree(
        rows in rows(),
        queries in prop::collection::vec(query(), 1..6),
        parts in 2_usize..9,
        salt in any::<u64>(),
    ) {
        let mut local = Local::new();
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "case_sensitive_like", true).unwrap();
        fill(&mut |sql| { connection.execute(&sql, ()).unwrap(); }, &rows);
        fill(&mut |sql| { ours(&mut local, &sql, true); }, &rows);
        for (sql, ordered) in queries {
            local.split(1, 0);
            let whole = ours(&mut local, &sql, ordered);
            local.split(parts, salt);
            prop_assert_eq!(&ours(&mut local, &sql, ordered), &whole, "spread over {} owners: {}", parts, sql);
            ours(&mut local, "ANALYZE", true);
            prop_assert_eq!(&ours(&mut local, &sql, ordered), &whole, "with statistics: {}", sql);
            prop_assert_eq!(&sqlite(&connection, &sql, ordered), &whole, "SQLite: {}", sql);
            let plan = ours(&mut local, &format!("EXPLAIN {sql}"), true);
            prop_assert!(!plan.is_empty());
        }
    }

    #[test]
    fn live_views_are_what_their_queries_give_anew(
        rows in rows(),
        queries in prop::collection::vec(query(), 1..6),
        changes in prop::collection::vec(change(), 1..8),
    ) {
        let mut local = Local::new();
        fill(&mut |sql| { ours(&mut local, &sql, true); }, &rows);
        let mut livings: Vec<Living> = queries.iter().map(|(sql, _)| Living::begin(&mut local, sql)).collect();
        for change in [&["SELECT 1".to_owned()][..], &changes].concat() {
            ours(&mut local, &change, true);
            for ((sql, ordered), living) in queries.iter().zip(&mut livings) {
                let shown = living.follow(&mut local, *ordered);
                prop_assert_eq!(&shown, &ours(&mut local, sql, *ordered), "after {}: {}", change, sql);
                prop_assert_eq!(living.replayed(*ordered), shown, "what was told after {}: {}", change, sql);
            }
        }
    }

    #[test]
    fn hostile_text_gives_an_error_or_a_statement(
        seed in prop::sample::select(&[
            "SELECT a, count(*) FROM t JOIN u ON t.x = u.y WHERE a > $1 GROUP BY a HAVING sum(b) > 2 ORDER BY 1 LIMIT 3",
            "CREATE TABLE IF NOT EXISTS t (a INT PRIMARY KEY, b TEXT NOT NULL DEFAULT 'x', c TIMESTAMP)",
            "INSERT INTO t (a, b) VALUES (1, 'x'), (-9223372036854775808, NULL)",
            "UPDATE t SET a = CASE WHEN b LIKE 'x%' THEN 1 ELSE a END WHERE b BETWEEN 1 AND 2 OR c IN (1, 2, 3)",
            "DELETE FROM t WHERE NOT EXISTS (SELECT 1) AND CAST(a AS TEXT) || 'x' = substr('é', 1)",
            "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r EXCEPT SELECT 3",
            "SELECT sum(a) FILTER (WHERE b > 1) OVER (PARTITION BY c ORDER BY a ROWS 2 PRECEDING), DISTINCT ON FROM t",
            "SELECT a, (SELECT max(b) FROM t AS s WHERE s.a = t.a AND t.b IN (SELECT 1 UNION SELECT s.b)) FROM t",
        ][..]),
        edits in prop::collection::vec((any::<prop::sample::Index>(), "[ -~\\n]|[()'\",;.$*é\u{0}]|SELECT |NOT |CASE "), 0..8),
        cut in any::<prop::sample::Index>(),
        noise in ".{0,40}",
    ) {
        let mut chars: Vec<String> = seed.chars().map(String::from).collect();
        edits.into_iter().for_each(|(at, edit)| *at.get_mut(&mut chars) = edit);
        let mut local = Local::new();
        for sql in [chars.concat(), chars[..cut.index(chars.len())].concat(), noise] {
            for statement in pontoon_parser::parse(&sql).unwrap_or_default() {
                // What the parser lets pass travels to peers: it must encode, decode and run without a panic.
                let bytes = postcard::to_allocvec(&statement).unwrap();
                prop_assert_eq!(&postcard::from_bytes::<pontoon_core::sql::ast::Statement>(&bytes).unwrap(), &statement);
                let _ = local.execute(statement, vec![Value::Null]);
            }
        }
    }

    #[test]
    fn hostile_syntax_trees_run_without_a_panic(
        seed in prop::sample::select(&[
            "SELECT a, count(*), sum(a + 1) FROM t WHERE a > 1 GROUP BY a ORDER BY 1 LIMIT 3",
            "SELECT DISTINCT x.a FROM t AS x LEFT JOIN t AS y ON x.a = y.a AND y.b LIKE 'x%'",
            "INSERT INTO t VALUES (3, 'x'), (4, NULL)",
            "UPDATE t SET a = CASE WHEN b = 'x' THEN 1 ELSE a END WHERE a BETWEEN 1 AND 2",
            "WITH RECURSIVE r(n) AS (SELECT 1 UNION SELECT n + 1 FROM r WHERE n < 5) SELECT n, a FROM r LEFT JOIN t ON n = a",
            "SELECT a, rank() OVER (ORDER BY b ROWS 1 PRECEDING), count(*) FILTER (WHERE a > 1) OVER w FROM t WINDOW w AS ()",
            "SELECT x.a FROM t AS x WHERE EXISTS (SELECT 1 FROM t AS y WHERE y.a = x.a AND x.b IN (SELECT y.b))",
        ][..]),
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut local = Local::new();
        for sql in ["CREATE TABLE t (a INT PRIMARY KEY, b TEXT)", "INSERT INTO t VALUES (1, 'x'), (2, NULL)"] {
            local.execute(pontoon_parser::parse_one(sql).unwrap(), Vec::new()).unwrap();
        }
        let mut bytes = postcard::to_allocvec(&pontoon_parser::parse_one(seed).unwrap()).unwrap();
        noise.into_iter().for_each(|(at, byte)| *at.get_mut(&mut bytes) = byte);
        if let Ok(statement) = postcard::from_bytes(&bytes) {
            let _ = local.execute(statement, vec![Value::Integer(1)]);
        }
    }
}

#[test]
fn deep_long_and_wide_text_is_a_typed_error() {
    let code = |sql: &str| pontoon_parser::parse(sql).err().map(|error| error.code);
    let deep = [
        format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000)),
        format!("SELECT {}1", "NOT ".repeat(50_000)),
        format!("SELECT {}1", "- ".repeat(50_000)),
        format!("SELECT 1{}", " + 1".repeat(200_000)),
        format!("SELECT 1 WHERE 1 = 1{}", " AND 1 = 1".repeat(200_000)),
        format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(500), " END".repeat(500)),
        format!("SELECT * FROM {}t{}", "(SELECT * FROM ".repeat(500), ") AS x".repeat(500)),
        format!("SELECT * FROM {}t{}", "(".repeat(2_000), ")".repeat(2_000)),
        format!("SELECT * FROM t{}", " JOIN t ON true".repeat(700)),
        format!("{}SELECT 1", "EXPLAIN ".repeat(1_000)),
        format!("CREATE TABLE t (a {}INT{})", "STRUCT<".repeat(500), ">".repeat(500)),
        "x".repeat(pontoon_parser::TEXT_BYTES_MAX + 1),
    ];
    for sql in deep {
        assert!(code(&sql).is_some(), "{}", &sql[..40]);
    }
    let wide = format!("SELECT 1 WHERE 1 IN (1{})", ", 1".repeat(10_000));
    assert_eq!(code(&wide), None);
    let long = format!("SELECT 1 WHERE 1 = 2{}", " OR 1 = 1".repeat(600));
    let statement = pontoon_parser::parse_one(&long).unwrap();
    assert_eq!(Local::new().execute(statement, Vec::new()).unwrap().rows.len(), 1);
}

/// A page's stack has a megabyte; whatever nests is answered or refused within three quarters of it.
#[test]
fn what_nests_needs_little_stack() {
    let wrap = |before: &str, core: &str, after: &str, levels: usize| {
        format!("SELECT {}{core}{} FROM t", before.repeat(levels), after.repeat(levels))
    };
    let shapes: &[(&str, &str, &str)] = &[
        ("(", "a", ")"),
        ("NOT ", "a = 1", ""),
        ("- ", "a", ""),
        ("", "a", " + 1"),
        ("", "b", " || 'x'"),
        ("abs(", "a", ")"),
        ("coalesce(NULL, ", "a", ")"),
        ("CASE WHEN a = 1 THEN ", "a", " END"),
        ("CAST(", "a", " AS INTEGER)"),
        ("(a = 1 AND (a = 2 OR ", "a = 3", "))"),
        ("CASE WHEN a IN (1, ", "a", ") THEN 1 END"),
        ("(SELECT max(a) FROM t WHERE a < ", "3", ")"),
        ("EXISTS (SELECT 1 FROM t WHERE ", "a = 1", ")"),
        ("(SELECT max(x) FROM (SELECT ", "a", " AS x FROM t) AS s)"),
    ];
    let run = move || {
        let mut local = Local::new();
        ours(&mut local, "CREATE TABLE t (a INTEGER, b TEXT)", true);
        ours(&mut local, "INSERT INTO t VALUES (1, 'x'), (2, NULL)", true);
        for (before, core, after) in shapes {
            let mut answered = 0;
            for levels in (1..120).chain([200, 500, 990]) {
                let sql = wrap(before, core, after, levels);
                let statement = pontoon_parser::parse_one(&sql).map_err(pontoon_core::Error::from);
                match statement.and_then(|statement| local.execute(statement, Vec::new())) {
                    Ok(_) => answered = levels,
                    // The parser takes what is too deep for it for an error of syntax where it tries two ways.
                    Err(error) => {
                        let refusals = ["statement_too_complex", "syntax_error", "feature_not_supported"];
                        assert!(refusals.contains(&error.code()), "{sql}: {error:?}");
                    }
                }
            }
            println!("{before}{core}{after}: {answered} levels");
            assert!(answered >= 8, "{before}{core}{after}: {answered} levels");
        }
    };
    std::thread::Builder::new().stack_size(768 << 10).spawn(run).unwrap().join().unwrap();
}

#[test]
fn queries_within_queries_are_answered_or_refused() {
    use pontoon_core::{
        data::Nested,
        sql::ast::{Body, Cte, Expr, Select, SelectItem, SetOp, Statement, TableRef},
    };
    let one = || vec![SelectItem::Expr(Expr::Literal(Value::Integer(1)), Some("a".to_owned()))];
    let star = || vec![SelectItem::Star(None)];
    let table = |name: &str| vec![TableRef::Table { name: name.to_owned(), alias: None }];
    let wrap = |kind: usize, inner: Select| {
        let query = Nested::new(inner);
        let (items, from) = (star(), table("t"));
        let column = || Nested::new(Expr::Column { table: Some("t".to_owned()), name: "a".to_owned() });
        match kind {
            0 => Select { items, from: vec![TableRef::Derived { query, alias: "d".to_owned() }], ..Select::default() },
            1 => Select { items: one(), from, filter: Some(Expr::Exists(query)), ..Select::default() },
            2 => Select { items: vec![SelectItem::Expr(Expr::Subquery(query), None)], ..Select::default() },
            3 => {
                let left = Nested::new(Select { items: one(), ..Select::default() });
                let body = Body::Set { op: SetOp::Except, all: false, left, right: query };
                Select { body, ..Select::default() }
            }
            4 => {
                let with = vec![Cte { name: "w".to_owned(), columns: Vec::new(), query }];
                Select { items, from: table("w"), with, ..Select::default() }
            }
            _ => {
                let filter = Some(Expr::InSubquery { expr: column(), query, negated: true });
                let items = vec![SelectItem::Expr(column().into_inner(), None)];
                Select { items, from, filter, ..Select::default() }
            }
        }
    };
    let mut local = Local::new();
    ours(&mut local, "CREATE TABLE t (a INTEGER)", true);
    ours(&mut local, "INSERT INTO t VALUES (1), (2)", true);
    for kind in 0..6 {
        let mut answered = 0;
        for levels in [3, 10, 20, 40, 60, 100] {
            let query = (0..levels).fold(Select { items: one(), ..Select::default() }, |inner, _| wrap(kind, inner));
            let statement = Statement::Select(Nested::new(query));
            match local.execute(statement, Vec::new()) {
                Ok(_) => answered = levels,
                Err(error) => assert_eq!(error.code(), "statement_too_complex"),
            }
        }
        assert!(answered >= 10, "kind {kind}: {answered} levels");
    }
}
