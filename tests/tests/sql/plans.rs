//! How queries are carried out: of a table that is joined with few rows only what matches is read, and EXPLAIN tells.

use pontoon_core::{
    Error, Id,
    data::{Cost, Row, Value},
    exec::{Env, GatherEnd, Need, local::Local},
    sql::asking::{Asking, Definitions},
};

/// What a statement asked for beside the catalog.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    /// Records that were got one by one.
    gets: usize,
    /// What each gather read: records, and rows that were sent.
    gathers: Vec<(u64, usize)>,
    /// Joins that peers made.
    joins: usize,
}

fn ask(local: &mut Local, sql: &str) -> Result<(Vec<String>, Asked), Error> {
    ask_by(local, &mut Definitions::default(), 1, sql)
}

/// The same by somebody who remembers, and whom so many peers answer.
fn ask_by(
    local: &mut Local,
    definitions: &mut Definitions,
    peers: u64,
    sql: &str,
) -> Result<(Vec<String>, Asked), Error> {
    let env = Env { now_us: 0, random: 7, me: Id::ZERO, user: None, locality_bits: 0 };
    let mut asking = Asking::new(pontoon_parser::parse_one(sql)?, Vec::new(), env, definitions);
    let end = GatherEnd { peers, ..GatherEnd::default() };
    let mut asked = Asked::default();
    loop {
        if let Some(result) = asking.finished() {
            let text = |row: Row| row.iter().map(Value::to_string).collect::<Vec<_>>().join(" ");
            return result.map(|result| (result.rows.into_iter().map(text).collect(), asked));
        }
        match asking.poll().unwrap() {
            Need::Ops { need, ops } => {
                asked.gets += ops.iter().filter(|op| op.namespace.starts_with("pontoon.rows.")).count();
                let outcomes = ops.iter().map(|op| local.apply(op)).collect();
                asking.on_ops(definitions, need, outcomes, Cost::default());
            }
            Need::Join { need, plan } => {
                let partial = local.join(&plan).unwrap();
                asked.joins += 1;
                asking.on_gathered(definitions, need, partial, end.clone());
            }
            Need::Agree { .. } => unreachable!("nothing is encrypted"),
            Need::Gather { need, fragment } => {
                let partial = local.gather(&fragment).unwrap();
                asked.gathers.push((partial.scanned, partial.batch.len()));
                asking.on_gathered(definitions, need, partial, end.clone());
            }
        }
    }
}

fn ok(local: &mut Local, sql: &str) -> (Vec<String>, Asked) {
    ask(local, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// 50 customers, 5,000 orders of theirs, three items for each of the first hundred orders.
fn shop() -> Local {
    let mut local = Local::new();
    ok(&mut local, "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT, town TEXT)");
    ok(&mut local, "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, day INTEGER)");
    ok(&mut local, "CREATE TABLE items (ord INTEGER, line INTEGER, amount INTEGER, PRIMARY KEY (ord, line))");
    ok(&mut local, "CREATE INDEX by_customer ON orders (customer)");
    let many = |count: i64, row: &dyn Fn(i64) -> String| (0..count).map(row).collect::<Vec<_>>().join(", ");
    let rows = many(50, &|n| format!("({n}, 'c{n}', 't{}')", n % 5));
    ok(&mut local, &format!("INSERT INTO customers VALUES {rows}"));
    let rows = many(5_000, &|n| {
        format!("({n}, {}, {})", if n % 100 == 99 { "NULL".to_owned() } else { (n % 60).to_string() }, n % 7)
    });
    ok(&mut local, &format!("INSERT INTO orders VALUES {rows}"));
    let rows = many(300, &|n| format!("({}, {}, {n})", n / 3, n % 3));
    ok(&mut local, &format!("INSERT INTO items VALUES {rows}"));
    local
}

#[test]
fn what_few_rows_are_joined_with_is_got_by_key() {
    let mut local = shop();
    let sql = "SELECT o.id, c.name FROM orders o JOIN customers c ON c.id = o.customer WHERE o.id = 7";
    let (rows, asked) = ok(&mut local, sql);
    assert_eq!(rows, ["7 c7"]);
    assert_eq!(asked, Asked { gets: 2, gathers: vec![], joins: 0 });
    // A chain: the order, its customer, all orders of that customer by the index.
    let sql =
        "SELECT count(*) FROM orders o JOIN customers c ON c.id = o.customer JOIN orders more ON more.customer = c.id
               WHERE o.id = 7";
    let (rows, asked) = ok(&mut local, sql);
    assert_eq!(rows, ["84"]);
    assert_eq!(asked, Asked { gets: 86, gathers: vec![], joins: 0 });
    // The right side says more: it comes first, and nothing is read of the other one for no value.
    let sql = "SELECT c.name FROM customers c, orders o WHERE c.id = o.customer AND o.id IN (1, 2, 7000)";
    assert_eq!(
        ok(&mut local, sql),
        (vec!["c1".to_owned(), "c2".to_owned()], Asked { gets: 5, gathers: vec![], joins: 0 })
    );
    let sql = "SELECT c.name FROM customers c, orders o WHERE c.id = o.customer AND o.id = 99";
    assert_eq!(ok(&mut local, sql), (vec![], Asked { gets: 1, gathers: vec![], joins: 0 }));
}

#[test]
fn what_waits_for_nothing_begins_at_once() {
    let mut local = shop();
    let sql = "SELECT c.name FROM customers c, orders o WHERE c.id = o.customer AND o.id = NULL";
    assert_eq!(ok(&mut local, sql), (vec![], Asked::default()));
    let sql = "SELECT c.name FROM customers c WHERE c.id IN (SELECT customer FROM orders WHERE id IN (NULL))";
    assert_eq!(ok(&mut local, sql), (vec![], Asked::default()));
}

#[test]
fn views_and_tables_of_queries_wait_like_tables() {
    let mut local = shop();
    ok(&mut local, "CREATE VIEW people AS SELECT name AS called, id AS number FROM customers");
    let sql = "SELECT called FROM orders o JOIN people p ON p.number = o.customer WHERE o.id = 7";
    assert_eq!(ok(&mut local, sql), (vec!["c7".to_owned()], Asked { gets: 2, gathers: vec![], joins: 0 }));
    // What is computed is no column of the table: all rows at once.
    let sql = "SELECT called FROM orders o JOIN (SELECT name AS called, id + 0 AS number FROM customers) p
               ON p.number = o.customer WHERE o.id = 7";
    assert_eq!(ok(&mut local, sql), (vec!["c7".to_owned()], Asked { gets: 1, gathers: vec![(50, 50)], joins: 0 }));
    let plan = ok(&mut local, &format!("EXPLAIN {sql}")).0.join("\n");
    assert!(!plan.contains("SemiJoin"), "{plan}");
}

#[test]
fn what_is_grouped_gives_other_columns_than_its_rows_have() {
    let mut local = shop();
    ok(&mut local, "CREATE TABLE t (k INTEGER, g INTEGER, b INTEGER, kind INTEGER)");
    ok(&mut local, "CREATE TABLE u (a INTEGER)");
    ok(&mut local, "INSERT INTO t VALUES (1, 1, 70, 5), (1, 2, 80, 5), (2, 1, 90, 6)");
    ok(&mut local, "INSERT INTO u VALUES (1), (2), (3)");
    let sql = "SELECT o.id, (SELECT sum(s.c) FROM u, LATERAL (SELECT count(DISTINCT t.b) AS c FROM t
               WHERE t.k = o.id AND t.kind = 5 GROUP BY t.g) s WHERE u.a = o.id) FROM orders o WHERE o.id IN (1, 2)";
    assert_eq!(ok(&mut local, sql).0, ["1 2", "2 NULL"]);
}

#[test]
fn changes_by_a_subquery_read_what_matters() {
    let mut local = shop();
    let (rows, asked) =
        ok(&mut local, "DELETE FROM orders WHERE id IN (SELECT ord FROM items WHERE amount IN (30, 40)) RETURNING id");
    assert_eq!((rows.len(), asked.gathers), (2, vec![(300, 2)]));
    assert_eq!(ok(&mut local, "SELECT count(*) FROM orders").0, ["4998"]);
}

#[test]
fn what_a_join_keeps_is_read_whole() {
    let mut local = shop();
    // The rows of the left side all count.
    let sql = "SELECT count(*), count(o.id) FROM customers c LEFT JOIN orders o ON o.customer = c.id AND o.id = 7";
    let (rows, asked) = ok(&mut local, sql);
    assert_eq!(rows, ["50 1"]);
    assert_eq!(asked, Asked { gets: 1, gathers: vec![(50, 50)], joins: 0 });
    let sql = "SELECT count(*) FROM customers c FULL JOIN orders o ON o.customer = c.id AND o.id < 0 WHERE c.id = 3";
    assert_eq!(ok(&mut local, sql).0, ["1"]);
    let sql = "SELECT count(*) FROM (SELECT * FROM customers WHERE id = 3) c FULL JOIN orders o ON o.customer = c.id";
    assert_eq!(ok(&mut local, sql).0, ["5000"]);
    // NULL is among the values of the subquery: NOT IN is true for nobody.
    let sql = "SELECT count(*) FROM customers WHERE id = 3 AND id NOT IN (SELECT customer FROM orders)";
    assert_eq!(ok(&mut local, sql).0, ["0"]);
    let sql = "SELECT count(*) FROM (SELECT * FROM customers ORDER BY id LIMIT 5) c JOIN orders o ON o.customer = c.id
               WHERE o.id = 3";
    assert_eq!(ok(&mut local, sql).0, ["1"]);
    let sql = "SELECT count(*) FROM (SELECT customer, day FROM orders ORDER BY id LIMIT 5) o JOIN customers c
               ON o.customer = c.id WHERE c.id = 7";
    assert_eq!(ok(&mut local, sql).0, ["0"]);
}

#[test]
fn owners_filter_by_few_values_where_there_is_no_index() {
    let mut local = shop();
    ok(&mut local, "DROP INDEX by_customer");
    let sql = "SELECT count(*) FROM customers c JOIN orders o ON o.customer = c.id WHERE c.id IN (3, 4)";
    let (rows, asked) = ok(&mut local, sql);
    assert_eq!(rows, ["168"]);
    assert_eq!(asked, Asked { gets: 2, gathers: vec![(5_000, 168)], joins: 0 });
    // A part of the primary key is no key.
    let sql =
        "SELECT sum(i.amount) FROM orders o JOIN items i ON i.ord = o.id WHERE o.id BETWEEN 1 AND 2 AND o.day = 1";
    let (rows, asked) = ok(&mut local, sql);
    assert_eq!(rows, ["12"]);
    assert_eq!(asked, Asked { gets: 0, gathers: vec![(5_000, 1), (300, 3)], joins: 0 });
    // Too many values.
    let sql = "SELECT count(*) FROM orders o JOIN items i ON i.ord = o.id WHERE o.day = 1";
    let (rows, asked) = ok(&mut local, sql);
    assert_eq!(rows, ["45"]);
    assert_eq!(asked, Asked { gets: 0, gathers: vec![(5_000, 715), (300, 300)], joins: 0 });
}

#[test]
fn subqueries_read_what_matters() {
    let mut local = shop();
    let sql = "SELECT name FROM customers WHERE id IN (SELECT customer FROM orders WHERE id = 7)";
    assert_eq!(ok(&mut local, sql), (vec!["c7".to_owned()], Asked { gets: 2, gathers: vec![], joins: 0 }));
    let sql = "SELECT (SELECT count(*) FROM items i WHERE i.ord = o.id) FROM orders o WHERE o.id = 7";
    assert_eq!(ok(&mut local, sql).0, ["3"]);
    let sql =
        "SELECT id FROM orders o WHERE id IN (7, 8, 4000) AND NOT EXISTS (SELECT 1 FROM items i WHERE i.ord = o.id)";
    let (rows, asked) = ok(&mut local, sql);
    assert_eq!(rows, ["4000"]);
    assert_eq!(asked, Asked { gets: 3, gathers: vec![(300, 6)], joins: 0 });
}

#[test]
fn owners_give_each_side_of_a_union_what_is_above_it() {
    let mut local = shop();
    let of = |local: &mut Local, sql: &str| {
        let (rows, mut asked) = ok(local, sql);
        asked.gathers.sort_unstable();
        (rows, asked.gathers)
    };
    let (rows, gathers) = of(&mut local, "SELECT day FROM orders UNION SELECT line FROM items ORDER BY day");
    assert_eq!(rows, ["0", "1", "2", "3", "4", "5", "6"]);
    assert_eq!(gathers, [(300, 3), (5_000, 7)], "different rows");
    let all = "SELECT id FROM orders UNION ALL SELECT amount + 4990 FROM items UNION ALL SELECT id FROM customers";
    let (rows, gathers) = of(&mut local, &format!("{all} ORDER BY id DESC LIMIT 3 OFFSET 1"));
    assert_eq!(rows, ["5288", "5287", "5286"]);
    assert_eq!(gathers, [(50, 4), (300, 4), (5_000, 4)], "the first rows of an order");
    let (rows, gathers) = of(&mut local, &format!("{all} LIMIT 5"));
    assert_eq!((rows.len(), gathers.iter().map(|(_, rows)| rows).sum::<usize>()), (5, 15), "any rows");
    // Where something else is between them all rows are needed.
    let (rows, gathers) =
        of(&mut local, "SELECT DISTINCT n FROM (SELECT day + 1 AS n FROM orders EXCEPT ALL SELECT line FROM items)");
    assert_eq!(rows.len(), 7);
    assert_eq!(gathers, [(300, 300), (5_000, 5_000)]);
    let plan = ok(&mut local, "EXPLAIN SELECT day FROM orders UNION SELECT line FROM items").0.join("\n");
    println!("{plan}");
    assert_eq!(plan.matches("distinct rows, combined up the region tree").count(), 2, "{plan}");
}

#[test]
fn explain_says_which_comes_first() {
    let mut local = shop();
    let sql = "EXPLAIN SELECT o.id, c.name FROM orders o JOIN customers c ON c.id = o.customer WHERE o.id = 7";
    let plan = ok(&mut local, sql).0.join("\n");
    println!("{plan}");
    assert!(plan.contains("SemiJoin [asker] c.id among the values of o.customer: gets by key"), "{plan}");
    let sql = "EXPLAIN SELECT count(*) FROM customers c JOIN orders o ON o.customer = c.id WHERE c.id = 7";
    let plan = ok(&mut local, sql).0.join("\n");
    assert!(plan.contains("o.customer among the values of c.id: entries of by_customer, then gets"), "{plan}");
}

#[test]
fn explain_analyze_tells_what_was_done() {
    let mut local = shop();
    let query =
        "SELECT c.town, count(*) FROM orders o JOIN customers c ON c.id = o.customer WHERE o.day = 1 AND o.id < 70
                 GROUP BY c.town ORDER BY 1";
    let expected = ok(&mut local, query).0.len();
    let lines = ok(&mut local, &format!("EXPLAIN ANALYZE {query}")).0;
    println!("{}", lines.join("\n"));
    let plain = ok(&mut local, &format!("EXPLAIN {query}")).0;
    assert_eq!(lines.len(), plain.len() + 1);
    for (line, plain) in lines.iter().zip(&plain) {
        assert!(line.starts_with(plain), "{line}");
    }
    let measured = |operator: &str| {
        let line = lines.iter().find(|line| line.trim_start().starts_with(operator)).unwrap();
        line[line.rfind('(').unwrap()..].to_owned()
    };
    // Days repeat every seven orders: ten of the first seventy, two of which are of customers that are not there.
    assert_eq!(measured("Gather [exchange] o"), "(rows 10, records 5000, peers 1)");
    assert_eq!(measured("SemiJoin"), "(rows 8, gets 10)");
    assert_eq!(measured("HashJoin"), "(rows 8)");
    assert_eq!(measured("Total"), format!("(rows {expected}, coverage 1, messages 0, bytes 0, peers 1)"));
    let json = ok(&mut local, &format!("EXPLAIN (ANALYZE, FORMAT JSON) {query}")).0.remove(0);
    let rows = ok(&mut local, &format!("SELECT '{}'::JSON -> 0 ->> 'rows'", json.replace('\'', "''"))).0;
    assert_eq!(rows, [expected.to_string()], "{json}");
    let json = ok(&mut local, &format!("EXPLAIN (FORMAT JSON) {query}")).0.remove(0);
    assert!(json.starts_with("[{") && !json.contains("\"rows\""), "{json}");
    for (sql, code) in [
        ("EXPLAIN ANALYZE DELETE FROM orders", "feature_not_supported"),
        ("EXPLAIN (FORMAT YAML) SELECT 1", "feature_not_supported"),
        ("EXPLAIN (COLOUR red) SELECT 1", "feature_not_supported"),
        ("EXPLAIN ANALYZE EXPLAIN SELECT 1", "syntax_error"),
    ] {
        assert_eq!(ask(&mut local, sql).unwrap_err().code(), code, "{sql}");
    }
    assert_eq!(ok(&mut local, "SELECT count(*) FROM orders").0, ["5000"]);
}

#[test]
fn every_operator_of_a_plan_is_measured_at_its_line() {
    let mut local = shop();
    let sql = "EXPLAIN ANALYZE WITH RECURSIVE big AS (SELECT customer, count(*) AS n FROM orders GROUP BY customer),
               steps(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM steps WHERE n < 4)
               SELECT a.customer FROM big a JOIN big b ON a.n = b.n + 1
               UNION ALL SELECT n FROM steps WHERE n NOT IN (SELECT day FROM orders WHERE day > 5)";
    let lines = ok(&mut local, sql).0;
    println!("{}", lines.join("\n"));
    let rows = |operator: &str| -> Vec<u64> {
        let lines = lines.iter().filter(|line| line.trim_start().starts_with(operator));
        let number = |line: &String| line.split("(rows ").nth(1)?.split([',', ')']).next()?.parse().ok();
        lines.filter_map(number).collect()
    };
    assert_eq!(rows("Recursion"), [4]);
    assert_eq!(rows("Total").len(), 1);
    assert_eq!((rows("With"), rows("Recall"), rows("OneRow")), (vec![61], vec![61, 61], vec![1]));
    assert_eq!(rows("Gather"), [61, 714]);
}

#[test]
fn a_walk_reads_what_it_reaches() {
    let mut local = Local::default();
    ok(&mut local, "CREATE TABLE edges (id INTEGER PRIMARY KEY, a INTEGER NOT NULL, b INTEGER NOT NULL)");
    // Rings of ten nodes, each node with two edges.
    for ring in 0..200 {
        let edge = |at: i64| {
            let (from, to, over) = (ring * 10 + at, ring * 10 + (at + 1) % 10, ring * 10 + (at + 2) % 10);
            format!("({}, {from}, {to}), ({}, {from}, {over})", 2 * from, 2 * from + 1)
        };
        let edges: Vec<String> = (0..10).map(edge).collect();
        ok(&mut local, &format!("INSERT INTO edges VALUES {}", edges.join(", ")));
    }
    let walk = "WITH RECURSIVE reached (node) AS
                  (SELECT 77 UNION SELECT edges.b FROM reached JOIN edges ON edges.a = reached.node)
                SELECT node FROM reached ORDER BY node";
    let reached: Vec<String> = (70..80).map(|node| node.to_string()).collect();
    // Nothing leads to the edges of a node: all are read once.
    let plan = ok(&mut local, &format!("EXPLAIN {walk}")).0.join("\n");
    assert!(!plan.contains("SemiJoin"), "{plan}");
    assert_eq!(ok(&mut local, walk).0, reached);
    ok(&mut local, "CREATE INDEX edges_a ON edges (a)");
    let lines = ok(&mut local, &format!("EXPLAIN ANALYZE {walk}")).0;
    println!("{}", lines.join("\n"));
    let line = |operator: &str| lines.iter().find(|line| line.trim_start().starts_with(operator)).unwrap();
    assert!(line("SemiJoin").contains("edges.a among the values of"), "{lines:?}");
    assert!(line("SemiJoin").contains("in each iteration: entries of edges_a, then gets"), "{lines:?}");
    assert!(line("SemiJoin").contains("(rows 20, "), "the edges of ten nodes: {lines:?}");
    assert!(line("Recursion").contains("(rows 10)"), "{lines:?}");
    assert_eq!(ok(&mut local, walk).0, reached);
    // A node with more neighbours than are worth asking for one by one.
    let star: Vec<String> = (0..1_500).map(|node| format!("({}, 9000, {node})", 10_000 + node)).collect();
    ok(&mut local, &format!("INSERT INTO edges VALUES {}", star.join(", ")));
    let all = ok(&mut local, &format!("EXPLAIN ANALYZE {}", walk.replace("77", "9000"))).0;
    println!("{}", all.join("\n"));
    assert!(all.last().unwrap().contains("(rows 1501, "), "{all:?}");
    // Nodes that are nowhere, and a base without rows.
    for (from, nodes) in [("SELECT 5000", "1"), ("SELECT id FROM edges WHERE id = -1", "0")] {
        let sql = format!(
            "WITH RECURSIVE reached (node) AS ({from} UNION ALL SELECT edges.b FROM reached JOIN edges ON edges.a = reached.node)
             SELECT count(*) FROM reached"
        );
        assert_eq!(ok(&mut local, &sql).0, [nodes], "{from}");
    }
}

#[test]
fn plans_say_how_many_rows_are_expected() {
    let mut local = shop();
    let query =
        "SELECT c.town, count(*) FROM orders o JOIN customers c ON c.id = o.customer WHERE o.day = 3 GROUP BY c.town";
    let lines = ok(&mut local, &format!("EXPLAIN {query}")).0;
    assert!(!lines.join("\n").contains('≈'), "nothing is known: {lines:?}");
    ok(&mut local, "ANALYZE");
    let lines = ok(&mut local, &format!("EXPLAIN {query}")).0;
    let expected = "\
Project [asker] c.town, count(*) (rows≈5)
  Aggregate [asker] count(*) by c.town (rows≈5)
    HashJoin [asker] inner on o.customer = c.id (rows≈570)
      Gather [exchange] o: rows, combined up the region tree (rows≈714)
        Project [owners] o.customer
          Filter [owners] o.day = 3
            Scan [owners] o (o.customer, o.day)
      SemiJoin [asker] c.id among the values of o.customer: gets by key; where these are too many: (rows≈50)
        Gather [exchange] c: rows, combined up the region tree
          Scan [owners] c (c.id, c.town)";
    assert_eq!(lines.join("\n"), expected);
    let json = ok(&mut local, &format!("EXPLAIN (FORMAT JSON) {query}")).0.remove(0);
    assert!(json.contains("\"expected\": 570") && !json.contains("\"rows\""), "{json}");
    // Beside what there was.
    let lines = ok(&mut local, &format!("EXPLAIN ANALYZE {query}")).0;
    assert!(lines[3].ends_with("(rows≈714, rows 714, records 5000, peers 1)"), "{}", lines.join("\n"));
    let json = ok(&mut local, &format!("EXPLAIN (ANALYZE, FORMAT JSON) {query}")).0.remove(0);
    assert!(json.contains("\"expected\": 714") && json.contains("\"rows\": 714"), "{json}");
}

#[test]
fn what_is_expected_is_near_what_there_is() {
    let mut local = shop();
    ok(&mut local, "ANALYZE");
    for sql in [
        "SELECT * FROM orders WHERE day < 3",
        "SELECT * FROM orders WHERE day = 2 OR customer IS NULL",
        "SELECT * FROM orders WHERE id BETWEEN 1000 AND 1999 AND day <> 4",
        "SELECT * FROM customers WHERE town IN ('t1', 't4') OR id = 7",
        "SELECT count(*) FROM orders o, items i WHERE i.ord = o.id",
        "SELECT count(*) FROM orders o LEFT JOIN items i ON i.ord = o.id",
        "SELECT count(*) FROM customers c JOIN orders o ON o.customer = c.id JOIN items i ON i.ord = o.id",
        "SELECT customer, day, count(*) FROM orders GROUP BY customer, day",
        "SELECT DISTINCT town FROM customers",
        "SELECT * FROM orders WHERE id IN (SELECT ord FROM items)",
        "SELECT * FROM orders WHERE NOT EXISTS (SELECT 1 FROM items WHERE ord = orders.id)",
        "SELECT * FROM orders ORDER BY day, id LIMIT 7",
        "SELECT id FROM customers UNION ALL SELECT ord FROM items WHERE line = 1",
    ] {
        let lines = ok(&mut local, &format!("EXPLAIN ANALYZE {sql}")).0;
        let mut compared = 0;
        for line in &lines {
            // Of what waits only what matches is read.
            if line.contains("SemiJoin") {
                continue;
            }
            let number = |after: &str| line.split(after).nth(1)?.split([',', ')']).next()?.parse::<f64>().ok();
            if let (Some(expected), Some(rows)) = (number("rows≈"), number(", rows ")) {
                assert!((rows.max(1.0) / expected).max(expected / rows.max(1.0)) <= 2.0, "{sql}\n{}", lines.join("\n"));
                compared += 1;
            }
        }
        assert!(compared > 0, "{sql}\n{}", lines.join("\n"));
    }
}

/// Wide rows: 400 films of 4 KB, 3,000 roles in them, 600 people who play these.
fn films() -> (Local, Definitions) {
    let (mut local, mut definitions) = (Local::new(), Definitions::default());
    let many = |count: i64, row: &dyn Fn(i64) -> String| (0..count).map(row).collect::<Vec<_>>().join(", ");
    let films = many(400, &|n| format!("({n}, 'film {n}', repeat('x', 4000))"));
    let roles = many(3_000, &|n| format!("({n}, {}, {}, repeat('y', 2000))", n * 7 % 500, n * 11 % 700));
    let people = many(600, &|n| format!("({n}, 'person {n}', repeat('z', 3000))"));
    for sql in [
        "CREATE TABLE films (id INTEGER PRIMARY KEY, title TEXT, plot TEXT)".to_owned(),
        "CREATE TABLE roles (id INTEGER PRIMARY KEY, film INTEGER, person INTEGER, text TEXT)".to_owned(),
        "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, life TEXT)".to_owned(),
        "CREATE TABLE cast_out (person INTEGER PRIMARY KEY, why TEXT)".to_owned(),
        format!("INSERT INTO films VALUES {films}"),
        format!("INSERT INTO roles VALUES {roles}"),
        format!("INSERT INTO people VALUES {people}"),
        "INSERT INTO cast_out VALUES (1, 'late'), (2, 'loud')".to_owned(),
        "ANALYZE".to_owned(),
    ] {
        ask_by(&mut local, &mut definitions, 64, &sql).unwrap();
    }
    (local, definitions)
}

/// A plan with the numbers of what it costs left out, for these are those of the cost model.
fn masked(lines: &[String]) -> String {
    let mut masked = Vec::new();
    for line in lines {
        let line = match line.trim_start().split_once(' ') {
            Some(("Considered", _)) => continue,
            Some(("Chosen", _)) => {
                line.replace(|c: char| c.is_ascii_digit(), "").replace(":  ", ": ").replace(",  ", ", ")
            }
            _ => line.clone(),
        };
        masked.push(line);
    }
    masked.join("\n")
}

#[test]
fn joins_at_peers_say_where_rows_go_and_what_that_costs() {
    let (mut local, mut definitions) = films();
    let mut ask = |sql: &str| {
        let (mut rows, asked) = ask_by(&mut local, &mut definitions, 64, sql).unwrap();
        if sql.starts_with("SELECT") {
            rows.sort();
        }
        (rows, asked)
    };
    let grouped = "SELECT p.name, count(*), max(length(f.plot || r.text)) FROM films f JOIN roles r ON r.film = f.id
                   JOIN people p ON p.id = r.person GROUP BY p.name";
    let anti = "SELECT count(*) FROM films f JOIN roles r ON r.film = f.id
                WHERE r.person NOT IN (SELECT person FROM cast_out) AND r.person IS NOT NULL";
    let semi = "SELECT f.id, f.plot FROM films f WHERE EXISTS (SELECT 1 FROM roles r WHERE r.film = f.id)";
    ask("SET pontoon.join_strategy = 'gather'");
    let expected = [grouped, anti, semi].map(|sql| ask(sql).0);
    // The wide rows stay at peers, each join where it is cheapest.
    ask("SET pontoon.join_strategy = 'auto'");
    let plan = ask(&format!("EXPLAIN {grouped}")).0;
    println!("{}", plan.join("\n"));
    assert!(!plan.join("\n").contains("Join [asker]"), "{plan:#?}");
    let costs = |line: &String| -> Option<Vec<u64>> {
        let ways = line.split_once("[asker] ")?.1.split("; ");
        Some(ways.filter_map(|way| way.split_once(": ")?.1.split(' ').next()?.parse().ok()).collect())
    };
    let of = |verb: &str| -> Vec<usize> {
        let lines = plan.iter().filter(|line| line.trim_start().starts_with(verb));
        lines.map(|line| costs(line).unwrap().len()).collect()
    };
    assert_eq!(of("Chosen"), [1, 1]);
    assert!(of("Considered").iter().all(|others| *others >= 5), "{plan:#?}");
    assert!(plan.join("\n").contains("; gather: "), "{plan:#?}");
    let (rows, asked) = ask(grouped);
    assert!(rows == expected[0]);
    assert_eq!(asked, Asked { gets: 0, gathers: vec![], joins: 1 });
    ask("SET pontoon.join_strategy = 'broadcast'");
    assert_eq!(ask(anti).0, expected[1]);
    let plan = masked(&ask(&format!("EXPLAIN {anti}")).0);
    println!("{plan}");
    assert_eq!(plan, ANTI);
    ask("SET pontoon.join_strategy = 'symmetric-hash'");
    assert!(ask(grouped).0 == expected[0] && ask(semi).0 == expected[2]);
    let plans = [grouped, semi].map(|sql| masked(&ask(&format!("EXPLAIN {sql}")).0));
    println!("{}\n{}", plans[0], plans[1]);
    assert_eq!(plans, [GROUPED, SEMI]);
    let json = ask(&format!("EXPLAIN (FORMAT JSON) {semi}")).0.remove(0);
    assert!(json.contains("\"operator\": \"Chosen\"") && json.contains("\"operator\": \"Considered\""), "{json}");
}

const ANTI: &str = "\
Project [asker] count(*) (rows≈1)
  Aggregate [asker] final count(*) (rows≈1)
    Gather [exchange] f with r: found at the owners, sent to the asker (rows≈1)
      Aggregate [owners] partial count(*)
        HashJoin [owners] anti on r.person = cast_out.person
          Chosen [asker] broadcast of cast_out: messages, bytes, trips, ms
          Exchange [exchange] f with r: stays where it is
            HashJoin [owners] inner on f.id = r.film
              Chosen [asker] broadcast of f: messages, bytes, trips, ms
              Exchange [exchange] f: all rows, to the owners of the other side
                Scan [owners] f (f.id)
              Exchange [exchange] r: stays where it is
                Filter [owners] NOT (r.person IS NULL)
                  Scan [owners] r (r.film, r.person)
          Exchange [exchange] cast_out: all rows, to the other side
            Scan [owners] cast_out (cast_out.person)";
const GROUPED: &str = "\
Project [asker] p.name, count(*), max(length(f.plot || r.text)) (rows≈600)
  Aggregate [asker] final count(*), max(length(f.plot || r.text)) by p.name (rows≈600)
    Gather [exchange] f with r with p: found at the buckets, sent to the asker (rows≈600)
      Aggregate [buckets] partial count(*), max(length(f.plot || r.text)) by p.name
        HashJoin [buckets] inner on r.person = p.id
          Chosen [asker] symmetric-hash: messages, bytes, trips, ms
          Exchange [exchange] f with r: by the hash of what must be equal, to up to 189 buckets
            HashJoin [buckets] inner on f.id = r.film
              Chosen [asker] symmetric-hash: messages, bytes, trips, ms
              Exchange [exchange] f: by the hash of what must be equal, to up to 212 buckets
                Scan [owners] f (f.id, f.plot)
              Exchange [exchange] r: by the hash of what must be equal, to up to 212 buckets
                Scan [owners] r (r.film, r.person, r.text)
          Exchange [exchange] p: by the hash of what must be equal, to up to 189 buckets
            Scan [owners] p (p.id, p.name)";
const SEMI: &str = "\
Gather [exchange] f: found at the buckets, sent to the asker (rows≈400)
  Project [buckets] f.id, f.plot
    HashJoin [buckets] semi on f.id = r.film
      Chosen [asker] symmetric-hash: messages, bytes, trips, ms
      Exchange [exchange] f: by the hash of what must be equal, to up to 212 buckets
        Scan [owners] f (f.id, f.plot)
      Exchange [exchange] r: by the hash of what must be equal, to up to 212 buckets
        Scan [owners] r (r.film)";
