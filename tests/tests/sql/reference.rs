//! SQL against SQLite: the same statements over the same rows give the same results.
//!
//! The engine runs in the naive host that keeps all records in one map, once whole and once as if they were spread
//! over several owners. SQLite types by value and orders NULLs first, so queries say `NULLS FIRST`/`LAST` where it
//! matters, and compare what both type alike.

use std::fmt::Write as _;

use pontoon_core::{
    Error,
    data::{QueryResult, Value},
    exec::local::Local,
};
use rusqlite::types::ValueRef;

const SCHEMA: &str = "
    CREATE TABLE airports (iata TEXT PRIMARY KEY, name TEXT NOT NULL, city TEXT, state TEXT, lat REAL, lon REAL);
    CREATE TABLE routes (origin TEXT, destination TEXT, flights INTEGER, PRIMARY KEY (origin, destination));
    CREATE TABLE delays (at INTEGER, origin TEXT, minutes INTEGER)";

const CITIES: &[(&str, &str)] = &[
    ("Springfield", "IL"),
    ("Springfield", "MO"),
    ("Portland", "OR"),
    ("Portland", "ME"),
    ("Aurora", "CO"),
    ("Salem", "OR"),
    ("Dover", "DE"),
    ("Fargo", "ND"),
    ("Juneau", "AK"),
    ("O'Fallon", "MO"),
    ("Zürich", ""),
];

/// A small generator, so that the rows are the same in every run (Marsaglia, *Xorshift RNGs*, 2003).
struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// INSERT statements for the three tables.
fn rows() -> Vec<String> {
    let mut random = Xorshift(0x5eed_cafe_f00d_1234);
    let code = |index: u64| {
        let letter = |by: u64| char::from(b'A' + (index / by % 26) as u8);
        format!("{}{}{}", letter(1), letter(7), letter(3))
    };
    let quote = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let codes: Vec<String> = (0..60).map(|index| code(index * 11 + 3)).collect();
    let mut airports = String::from("INSERT INTO airports (iata, name, city, state, lat, lon) VALUES ");
    for (index, iata) in codes.iter().enumerate() {
        let (city, state) = CITIES[random.below(CITIES.len() as u64) as usize];
        let state = if state.is_empty() { "NULL".to_owned() } else { quote(state) };
        let lat = if random.below(7) == 0 { "NULL".to_owned() } else { format!("{}.25", 25 + random.below(25)) };
        let separator = if index == 0 { "" } else { ", " };
        let name = quote(&format!("{city} Field {index}"));
        let lon = 60 + random.below(60);
        write!(airports, "{separator}({}, {name}, {}, {state}, {lat}, -{lon}.5)", quote(iata), quote(city)).unwrap();
    }
    let mut routes = String::from("INSERT INTO routes VALUES ");
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 200 {
        let (a, b) = (random.below(66) as usize, random.below(60) as usize);
        // Some origins are airports that nobody knows.
        let origin = codes.get(a).cloned().unwrap_or_else(|| format!("?{a}"));
        if !seen.insert((a, b)) {
            continue;
        }
        let separator = if seen.len() == 1 { "" } else { ", " };
        write!(routes, "{separator}({}, {}, {})", quote(&origin), quote(&codes[b]), random.below(500)).unwrap();
    }
    let mut delays = String::from("INSERT INTO delays (minutes, origin, at) VALUES ");
    for index in 0..150 {
        let minutes = if random.below(9) == 0 { "NULL".to_owned() } else { (random.below(90) as i64 - 20).to_string() };
        let separator = if index == 0 { "" } else { ", " };
        write!(delays, "{separator}({minutes}, {}, {})", quote(&codes[random.below(9) as usize]), index / 4).unwrap();
    }
    vec![airports, routes, delays]
}

/// Queries whose rows come in a given order.
const ORDERED: &[&str] = &[
    "SELECT iata, name FROM airports ORDER BY iata",
    "SELECT * FROM airports WHERE iata > 'M' ORDER BY iata DESC LIMIT 7",
    "SELECT a.state, count(*) AS routes, sum(r.flights) AS flights FROM routes r JOIN airports a ON r.origin = a.iata
     GROUP BY a.state ORDER BY flights DESC NULLS LAST, a.state NULLS LAST LIMIT 10",
    "SELECT city, lat FROM airports ORDER BY lat NULLS FIRST, iata LIMIT 12 OFFSET 3",
    "SELECT city, lat FROM airports ORDER BY lat DESC NULLS LAST, iata LIMIT 5",
    "SELECT DISTINCT city FROM airports ORDER BY city",
    "SELECT DISTINCT city, state FROM airports ORDER BY 1 DESC, 2 NULLS FIRST",
    "SELECT origin, flights * 2 + 1 AS twice FROM routes WHERE flights BETWEEN 100 AND 120 ORDER BY twice, origin",
    "SELECT origin, destination FROM routes ORDER BY flights % 10, origin, destination LIMIT 20",
    "SELECT state, count(*) n FROM airports GROUP BY state HAVING count(*) > 4 ORDER BY n DESC, state NULLS LAST",
    "SELECT state, avg(lat), min(lat), max(lat) FROM airports WHERE lat IS NOT NULL GROUP BY 1 ORDER BY 1 NULLS LAST",
    "SELECT length(city) AS letters, count(*) FROM airports GROUP BY letters ORDER BY letters",
    "SELECT a.iata, r.destination FROM airports a LEFT JOIN routes r ON a.iata = r.origin AND r.flights > 450
     ORDER BY a.iata, r.destination NULLS FIRST",
    "SELECT r.origin, a.city FROM routes r LEFT JOIN airports a ON r.origin = a.iata WHERE a.iata IS NULL
     ORDER BY r.origin, r.destination",
    "SELECT o.city, d.city, r.flights FROM routes r JOIN airports o ON r.origin = o.iata
     JOIN airports d ON r.destination = d.iata WHERE o.state = d.state ORDER BY r.flights DESC, o.iata, d.iata",
    "SELECT o.iata, d.iata FROM airports o, airports d, routes r
     WHERE r.origin = o.iata AND r.destination = d.iata AND o.lat > d.lat + 15 ORDER BY 1, 2",
    "SELECT a.iata, b.iata FROM airports a CROSS JOIN airports b WHERE a.lat < b.lat AND a.city = 'Salem'
     AND b.city = 'Fargo' ORDER BY 1, 2",
    "SELECT x.city, x.n FROM (SELECT city, count(*) AS n FROM airports GROUP BY city) AS x WHERE x.n > 5 ORDER BY x.n, 1",
    "SELECT at, sum(minutes) FROM delays GROUP BY at HAVING sum(minutes) > 60 ORDER BY at",
    "SELECT origin, count(minutes), count(*), count(DISTINCT minutes), sum(DISTINCT minutes) FROM delays
     GROUP BY origin ORDER BY origin",
    "SELECT iata FROM airports WHERE iata = 'DAB' ORDER BY 1",
    "SELECT CASE WHEN flights > 400 THEN 'many' WHEN flights > 200 THEN 'some' ELSE 'few' END AS how, count(*)
     FROM routes GROUP BY how ORDER BY how",
    "SELECT upper(city) || '/' || coalesce(lower(state), '?') FROM airports WHERE state IS NOT NULL OR lat > 40 AND city <> 'Zürich' ORDER BY iata",
    "SELECT city FROM airports GROUP BY city ORDER BY count(*) DESC, city LIMIT 3",
    "SELECT a.city, sum(d.minutes) FROM delays d JOIN airports a ON d.origin = a.iata GROUP BY a.city
     ORDER BY sum(d.minutes) DESC NULLS LAST, a.city",
    // Operations on sets, VALUES.
    "SELECT city FROM airports WHERE lat > 40 UNION SELECT name FROM airports WHERE lat < 27 ORDER BY city",
    "SELECT origin FROM routes UNION ALL SELECT origin FROM delays ORDER BY 1 LIMIT 30 OFFSET 4",
    "SELECT origin FROM delays INTERSECT SELECT destination FROM routes ORDER BY origin",
    "SELECT iata FROM airports EXCEPT SELECT origin FROM routes ORDER BY 1 DESC",
    "SELECT 1 AS a, 'x' AS b UNION ALL SELECT 2, 'y' UNION ALL SELECT 2, 'y' EXCEPT SELECT 3, 'z' ORDER BY a",
    "SELECT * FROM (VALUES (3, 'c'), (1, 'a'), (2, NULL)) AS v ORDER BY 1",
    "SELECT n, sum(flights) FROM (SELECT 1.5 AS n, flights * 1.0 AS flights FROM routes UNION ALL SELECT 2.5, lat FROM airports) AS t
     GROUP BY n ORDER BY n",
    // Subqueries.
    "SELECT iata, (SELECT count(*) FROM routes r WHERE r.origin = a.iata) AS n FROM airports a ORDER BY n DESC, iata",
    "SELECT iata, (SELECT max(flights) FROM routes r WHERE r.origin = a.iata AND r.flights < a.lat * 5) FROM airports a
     ORDER BY iata",
    "SELECT iata FROM airports a WHERE EXISTS (SELECT 1 FROM delays WHERE origin = a.iata AND minutes > a.lat) ORDER BY 1",
    "SELECT iata FROM airports a WHERE NOT EXISTS (SELECT 1 FROM routes WHERE origin = a.iata) ORDER BY 1",
    "SELECT origin, flights FROM routes r WHERE flights > (SELECT avg(flights) FROM routes s WHERE s.origin = r.origin)
     ORDER BY origin, flights",
    "SELECT state, count(*) FROM airports GROUP BY state HAVING count(*) > (SELECT count(*) FROM airports) / 12
     ORDER BY (SELECT count(*) FROM airports b WHERE b.state = airports.state), state NULLS LAST",
    "SELECT city FROM airports a WHERE lat = (SELECT max(lat) FROM airports b WHERE b.city = a.city) ORDER BY city, iata",
    // WITH.
    "WITH busy AS (SELECT origin, count(*) AS n FROM routes GROUP BY origin), top AS (SELECT max(n) AS n FROM busy)
     SELECT busy.origin, busy.n FROM busy JOIN top ON busy.n > top.n - 2 ORDER BY busy.n, busy.origin",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 20) SELECT n, n * n FROM t ORDER BY n",
    "WITH RECURSIVE reach(code, hops) AS (SELECT 'DAB', 0 UNION SELECT r.destination, hops + 1 FROM reach
     JOIN routes r ON r.origin = reach.code WHERE hops < 3)
     SELECT code, min(hops) FROM reach GROUP BY code ORDER BY code",
    // Aggregates.
    "SELECT origin, count(*) FILTER (WHERE minutes > 10), sum(minutes) FILTER (WHERE at < 20), total(minutes),
     group_concat(minutes, ';' ORDER BY minutes DESC, at), avg(DISTINCT minutes), total(DISTINCT minutes)
     FROM delays GROUP BY origin ORDER BY origin",
    "SELECT state, string_agg(city, ', ' ORDER BY city, iata) FROM airports GROUP BY state ORDER BY state NULLS LAST",
    "SELECT length(city) % 3, group_concat(DISTINCT city ORDER BY city) FROM airports GROUP BY length(city) % 3 ORDER BY 1",
    // Windows.
    "SELECT origin, destination, row_number() OVER (PARTITION BY origin ORDER BY destination) AS n FROM routes
     ORDER BY origin, destination",
    "SELECT origin, at, minutes, rank() OVER w, dense_rank() OVER w, percent_rank() OVER w, cume_dist() OVER w
     FROM delays WINDOW w AS (PARTITION BY origin ORDER BY minutes DESC NULLS LAST)
     ORDER BY origin, at, minutes NULLS LAST",
    "SELECT iata, lat, ntile(7) OVER (ORDER BY iata), lag(iata, 2, 'none') OVER (ORDER BY iata),
     lead(lat) OVER (PARTITION BY state ORDER BY iata), first_value(iata) OVER (PARTITION BY city ORDER BY iata),
     last_value(iata) OVER (PARTITION BY city ORDER BY iata), nth_value(iata, 2) OVER (PARTITION BY city ORDER BY iata)
     FROM airports ORDER BY iata",
    "SELECT iata, sum(lon) OVER (ORDER BY iata), avg(lon) OVER (ORDER BY iata ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING),
     count(*) OVER (), count(lat) OVER (ORDER BY iata ROWS BETWEEN 3 PRECEDING AND 2 PRECEDING),
     max(lon) OVER (ORDER BY iata ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) FROM airports ORDER BY iata",
    "SELECT at, count(*) OVER (ORDER BY at RANGE BETWEEN 3 PRECEDING AND 1 FOLLOWING), min(at) OVER (ORDER BY at DESC
     RANGE BETWEEN 2 PRECEDING AND CURRENT ROW), sum(at) OVER (ORDER BY at GROUPS BETWEEN 1 PRECEDING AND 2 FOLLOWING),
     count(*) FILTER (WHERE at % 2 = 0) OVER (ORDER BY at) FROM delays ORDER BY at",
    "SELECT state, count(*), rank() OVER (ORDER BY count(*) DESC), sum(count(*)) OVER (ORDER BY state NULLS LAST)
     FROM airports GROUP BY state ORDER BY state NULLS LAST",
    "SELECT origin, n FROM (SELECT origin, row_number() OVER (PARTITION BY origin ORDER BY at, minutes) AS n FROM delays) AS t
     WHERE n <= 3 AND origin > 'F' ORDER BY origin, n",
    "SELECT iata, (SELECT r.destination FROM routes r WHERE r.origin = a.iata ORDER BY r.flights DESC, r.destination LIMIT 1)
     FROM airports a ORDER BY iata",
];

/// Queries whose rows come in any order.
const UNORDERED: &[&str] = &[
    "SELECT 1 + 2 * 3, 7 / 2, -7 / 2, 7 % 3, 'a' || 'b', NULL IS NULL",
    "SELECT count(*) FROM airports",
    "SELECT count(*), sum(flights), min(flights), max(flights), avg(flights) FROM routes",
    "SELECT count(*), sum(flights), max(origin) FROM routes WHERE flights < 0",
    "SELECT count(lat), count(*), count(DISTINCT city), count(DISTINCT state) FROM airports",
    "SELECT * FROM airports WHERE city LIKE 'Spring%'",
    "SELECT * FROM airports WHERE name NOT LIKE '%Field 1%' AND city LIKE '_o%'",
    "SELECT iata FROM airports WHERE city IN ('Salem', 'Dover', 'O''Fallon')",
    "SELECT iata FROM airports WHERE state NOT IN ('OR', 'ME')",
    "SELECT iata FROM airports WHERE state IN ('OR', NULL)",
    "SELECT iata FROM airports WHERE NOT (lat > 30 OR state = 'MO')",
    "SELECT iata FROM airports WHERE lat > 30 AND NOT state = 'MO' OR city = 'Fargo'",
    "SELECT * FROM airports WHERE iata IN ('DAB', 'OCE', 'nope')",
    "SELECT * FROM routes WHERE origin = 'DAB' AND destination = 'OCE'",
    "SELECT origin, destination FROM routes WHERE origin IN ('DAB', 'OCE') AND destination IN ('OCE', 'DAB', 'ZDI')",
    "SELECT round(lat), round(lat, 1), abs(lon), CAST(lat AS INTEGER) FROM airports WHERE lat > 40",
    "SELECT substr(name, 1, 5), substr(name, 3), trim('  x '), replace(city, 'l', 'LL'), nullif(state, 'OR') FROM airports",
    "SELECT minutes, count(*) FROM delays WHERE minutes > 0 OR minutes IS NULL GROUP BY minutes",
    "SELECT at / 10, max(minutes) - min(minutes) FROM delays GROUP BY at / 10",
    "SELECT DISTINCT flights / 100 FROM routes WHERE flights > 250",
    "SELECT r.flights, d.minutes FROM routes r JOIN delays d ON r.origin = d.origin AND r.flights > d.minutes * 20",
    "SELECT count(*) FROM routes a JOIN routes b ON a.destination = b.origin",
    "SELECT a.origin, b.destination FROM routes a JOIN routes b ON a.destination = b.origin
     WHERE a.flights > 400 AND b.flights > 400",
    "SELECT sum(n), max(n) FROM (SELECT origin, count(*) AS n FROM routes GROUP BY origin) AS t",
    "SELECT state, sum(n) FROM (SELECT city, state, count(*) n FROM airports GROUP BY city, state) AS t GROUP BY state",
    "SELECT city, state FROM airports LEFT JOIN delays ON iata = origin WHERE minutes IS NULL",
    "SELECT max(lat) - min(lat) AS span, count(*) * 2 FROM airports WHERE state = 'OR'",
    "SELECT coalesce(state, 'none') AS s, count(*) FROM airports GROUP BY s HAVING coalesce(state, 'none') <> 'MO'",
    "SELECT CASE origin WHEN 'DAB' THEN 1 WHEN 'OCE' THEN 2 END AS k, count(*) FROM routes GROUP BY k",
    "SELECT origin FROM routes WHERE flights = (0 + 7) * 10 OR flights > 495",
    "SELECT minutes IS NULL, minutes > 10, at BETWEEN 3 AND 9 FROM delays",
    // Joins of every kind.
    "SELECT a.iata, r.flights FROM routes r RIGHT JOIN airports a ON r.origin = a.iata AND r.flights > 300",
    "SELECT a.iata, r.origin, r.flights FROM airports a FULL JOIN routes r ON a.iata = r.origin AND a.lat > 30",
    "SELECT a.iata, b.iata FROM airports a LEFT JOIN airports b ON a.lat + 18 < b.lat AND a.city <> b.city",
    "SELECT a.iata, b.iata FROM airports a FULL JOIN airports b ON a.lat + 20 < b.lat",
    "SELECT origin, count(*) FROM routes JOIN delays USING (origin) GROUP BY origin",
    "SELECT origin, r.origin, d.origin, minutes FROM routes r FULL JOIN delays d USING (origin) WHERE flights IS NULL OR
     minutes IS NULL",
    "SELECT origin, at, destination FROM delays NATURAL JOIN (SELECT origin, destination FROM routes WHERE flights > 400) AS r",
    "SELECT iata, origin FROM airports NATURAL JOIN routes WHERE flights > 490",
    "SELECT x.a, y.b FROM (SELECT 1 AS a UNION SELECT 2) AS x CROSS JOIN (SELECT 3 AS b UNION SELECT 4) AS y",
    // Subqueries.
    "SELECT iata FROM airports WHERE iata IN (SELECT origin FROM routes WHERE flights > 450)",
    "SELECT iata FROM airports WHERE iata NOT IN (SELECT origin FROM routes)",
    "SELECT iata, state IN (SELECT state FROM airports WHERE lat > 45) FROM airports",
    "SELECT iata, state NOT IN (SELECT state FROM airports WHERE lat > 45 AND state IS NOT NULL) FROM airports",
    "SELECT a.iata FROM airports a WHERE a.lat > 40 OR EXISTS (SELECT 1 FROM delays d WHERE d.origin = a.iata)",
    "SELECT r.origin FROM routes r WHERE r.flights IN (SELECT d.minutes FROM delays d WHERE d.at < r.flights)",
    "SELECT a.iata, (SELECT count(*) FROM routes r WHERE r.flights > a.lat * 10) FROM airports a",
    "SELECT a.iata FROM airports a JOIN routes r ON a.iata = r.origin AND r.flights = (SELECT max(flights) FROM routes s
     WHERE s.origin = a.iata)",
    "SELECT a.iata, r.flights FROM airports a LEFT JOIN routes r ON a.iata = r.origin AND r.flights >
     (SELECT avg(flights) FROM routes)",
    "SELECT sum((SELECT count(*) FROM delays d WHERE d.origin = r.origin)) FROM routes r",
    "SELECT a.iata, (SELECT count(*) FROM routes r WHERE r.origin = a.iata AND EXISTS (SELECT 1 FROM delays d
     WHERE d.origin = r.destination AND d.minutes < a.lat)) FROM airports a",
    "SELECT a.iata, (SELECT max(n) FROM (SELECT count(*) AS n FROM routes r WHERE r.origin = a.iata
     UNION ALL SELECT minutes FROM delays d WHERE d.origin = a.iata) AS u) FROM airports a",
    "SELECT (SELECT max(flights) FROM routes), (SELECT min(at) FROM delays WHERE at > 1000)",
    "SELECT state, (SELECT count(*) FROM airports b WHERE b.state = a.state) FROM airports a GROUP BY state",
    "SELECT CASE WHEN EXISTS (SELECT 1 FROM routes WHERE flights > 498) THEN 'much' ELSE 'little' END",
    "SELECT b.x FROM (SELECT state AS x FROM airports WHERE city IN (SELECT city FROM airports WHERE lat > 44)) AS b
     WHERE b.x > 'D'",
    "WITH a AS (SELECT iata FROM airports WHERE lat > 40) SELECT count(*) FROM a x JOIN a y ON x.iata < y.iata",
    "SELECT iata FROM airports WHERE lat > (WITH m AS (SELECT avg(lat) AS l FROM airports) SELECT l + 2 FROM m)",
];

/// Changes, compared by their count and by the tables afterwards.
const CHANGES: &[&str] = &[
    "UPDATE airports SET city = upper(city), lat = lat + 1 WHERE state = 'OR'",
    "UPDATE routes SET flights = flights * 2 WHERE origin = 'DAB'",
    "UPDATE delays SET minutes = CASE WHEN minutes IS NULL THEN 0 ELSE minutes - 1 END",
    "UPDATE airports SET iata = 'x' || iata WHERE lat IS NULL",
    "DELETE FROM routes WHERE flights < 50 OR origin = destination",
    "DELETE FROM delays WHERE at = 7",
    "INSERT INTO airports (iata, name) VALUES ('new', 'Nowhere'), ('nex', 'Elsewhere')",
    "INSERT INTO delays (origin, minutes) SELECT origin, sum(flights) FROM routes GROUP BY origin",
    "DELETE FROM airports WHERE iata = 'new'",
    "UPDATE airports SET state = NULL WHERE iata IN ('nex', 'DAB', 'none')",
    "INSERT INTO airports (iata, name, city) VALUES ('nex', 'Again', 'x'), ('ney', 'New', 'y') ON CONFLICT (iata) DO NOTHING",
    "INSERT INTO airports (iata, name, city) VALUES ('nex', 'Again', 'x'), ('nez', 'New', 'y') ON CONFLICT (iata)
     DO UPDATE SET name = excluded.name || '/' || airports.name, city = excluded.city WHERE airports.city IS NULL",
    "INSERT INTO routes SELECT origin, destination, 1 FROM routes WHERE flights > 300 ON CONFLICT (origin, destination)
     DO UPDATE SET flights = routes.flights + excluded.flights",
    "REPLACE INTO airports (iata, name) VALUES ('nex', 'Replaced'), ('nfa', 'Fresh')",
    "INSERT OR IGNORE INTO airports (iata, name) VALUES ('nex', 'Ignored'), ('nfb', NULL), ('nfc', 'Fresh')",
    "UPDATE routes SET flights = routes.flights + 1000 FROM airports a WHERE a.iata = routes.origin AND a.state = 'MO'",
    "UPDATE delays SET (minutes, origin) = (0, 'none') WHERE at < 4",
    "UPDATE airports SET iata = iata || '2' WHERE iata LIKE 'n%'",
    "DELETE FROM routes WHERE flights > 1200",
    "UPDATE airports SET city = (SELECT max(destination) FROM routes r WHERE r.origin = airports.iata), lat = lat + 1
     WHERE EXISTS (SELECT 1 FROM delays d WHERE d.origin = airports.iata)",
    "UPDATE routes SET flights = flights + (SELECT count(*) FROM delays d WHERE d.origin = routes.origin)
     WHERE flights < (SELECT avg(flights) FROM routes)",
    "DELETE FROM routes WHERE origin IN (SELECT iata FROM airports WHERE state = 'MO') AND flights > 100",
    "DELETE FROM delays WHERE NOT EXISTS (SELECT 1 FROM airports a WHERE a.iata = delays.origin AND a.lat > 20)",
    "DELETE FROM airports WHERE lat = (SELECT max(b.lat) FROM airports b WHERE b.state = airports.state)",
];

const TABLES: &[&str] = &["airports", "routes", "delays"];

struct Pair {
    ours: Local,
    sqlite: rusqlite::Connection,
}

fn run(local: &mut Local, sql: &str) -> Result<QueryResult, Error> {
    let statement = pontoon_parser::parse_one(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    local.execute(statement, Vec::new())
}

impl Pair {
    fn new(parts: usize) -> Pair {
        let mut pair = Pair { ours: Local::new(), sqlite: rusqlite::Connection::open_in_memory().unwrap() };
        pair.ours.split(parts, 99);
        pair.sqlite.pragma_update(None, "case_sensitive_like", true).unwrap();
        for statement in SCHEMA.split(';').map(str::to_owned).chain(rows()) {
            run(&mut pair.ours, &statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
            pair.sqlite.execute(&statement, ()).unwrap();
        }
        pair
    }

    fn expected(&self, sql: &str) -> Vec<Vec<String>> {
        let mut statement = self.sqlite.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let width = statement.column_count();
        let mut rows = statement.query(()).unwrap();
        let mut all = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let text = |index| match row.get_ref(index).unwrap() {
                ValueRef::Null => "NULL".to_owned(),
                ValueRef::Integer(number) => number.to_string(),
                ValueRef::Real(number) => format!("{number:.9}"),
                ValueRef::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
                ValueRef::Blob(bytes) => format!("{bytes:?}"),
            };
            all.push((0..width).map(text).collect());
        }
        all
    }

    /// What is wrong with the rows of a query, if anything.
    fn difference(&mut self, sql: &str, ordered: bool) -> Option<String> {
        let result = match run(&mut self.ours, sql) {
            Ok(result) => result,
            Err(error) => return Some(format!("{sql}\n  {error}")),
        };
        let text = |value: &Value| match value {
            Value::Real(number) => format!("{number:.9}"),
            // SQLite has no booleans.
            Value::Boolean(truth) => i64::from(*truth).to_string(),
            other => other.to_string(),
        };
        let mut ours: Vec<Vec<String>> = result.rows.iter().map(|row| row.iter().map(text).collect()).collect();
        let mut expected = self.expected(sql);
        if !ordered {
            ours.sort();
            expected.sort();
        }
        assert_eq!(result.coverage, 1.0);
        (ours != expected).then(|| format!("{sql}\n  ours   {ours:?}\n  SQLite {expected:?}"))
    }

    fn compare(&mut self, sql: &str, ordered: bool) {
        assert_eq!(self.difference(sql, ordered), None);
    }
}

#[test]
fn queries_answer_as_sqlite_does() {
    assert!(ORDERED.len() + UNORDERED.len() >= 80);
    for parts in [1, 7] {
        let mut pair = Pair::new(parts);
        let ordered = ORDERED.iter().filter_map(|sql| pair.difference(sql, true)).collect::<Vec<_>>();
        let unordered = UNORDERED.iter().filter_map(|sql| pair.difference(sql, false)).collect::<Vec<_>>();
        let wrong = [ordered, unordered].concat();
        assert!(wrong.is_empty(), "{} queries differ:\n{}", wrong.len(), wrong.join("\n"));
        // The comparison is worth something only if the queries find something.
        let all = ORDERED.iter().chain(UNORDERED);
        let empty: Vec<&&str> = all.filter(|sql| pair.expected(sql).is_empty()).collect();
        assert!(empty.len() <= 2, "queries without rows: {empty:#?}");
    }
}

/// Changes that show what they did.
const SHOWN: &[&str] = &[
    "UPDATE airports SET lat = 1 WHERE state = 'OR' RETURNING iata, lat * 2, city",
    "INSERT INTO routes VALUES ('x', 'y', 1), ('DAB', 'OCE', 2) ON CONFLICT (origin, destination) DO UPDATE
     SET flights = excluded.flights + 7 RETURNING *",
    "DELETE FROM delays WHERE minutes > 30 RETURNING at, origin, minutes",
];

#[test]
fn changes_show_what_sqlite_shows() {
    for parts in [1, 5] {
        let mut pair = Pair::new(parts);
        SHOWN.iter().for_each(|sql| pair.compare(sql, false));
        TABLES.iter().for_each(|table| pair.compare(&format!("SELECT * FROM {table}"), false));
    }
}

/// Definitions that change, each with a query that shows what became of it.
const DEFINITIONS: &[(&str, &str)] = &[
    ("ALTER TABLE airports ADD COLUMN runways INTEGER NOT NULL DEFAULT 2", "SELECT * FROM airports WHERE runways = 2"),
    ("INSERT INTO airports (iata, name) VALUES ('new', 'Nowhere')", "SELECT * FROM airports WHERE iata = 'new'"),
    ("UPDATE airports SET runways = 3 WHERE state = 'OR'", "SELECT state, sum(runways) FROM airports GROUP BY state"),
    ("ALTER TABLE airports DROP COLUMN city", "SELECT * FROM airports"),
    ("ALTER TABLE airports ADD COLUMN city TEXT DEFAULT 'none'", "SELECT * FROM airports"),
    (
        "ALTER TABLE airports RENAME COLUMN runways TO tracks",
        "SELECT iata, tracks, city FROM airports WHERE tracks > 2",
    ),
    ("UPDATE airports SET city = name, iata = iata || '!' WHERE tracks = 3", "SELECT * FROM airports"),
    ("ALTER TABLE airports RENAME TO fields", "SELECT iata, tracks, lon FROM fields WHERE city <> 'none'"),
    (
        "CREATE VIEW busy AS SELECT origin, sum(flights) AS n FROM routes GROUP BY origin",
        "SELECT * FROM busy WHERE n > 900",
    ),
    (
        "CREATE VIEW busy_fields (code, title, n) AS SELECT f.iata, f.name, b.n FROM fields f JOIN busy b ON b.origin = f.iata",
        "SELECT code, n FROM busy_fields WHERE title LIKE '%1%'",
    ),
    ("CREATE TABLE counts AS SELECT code AS c, n * 2 AS twice FROM busy_fields", "SELECT * FROM counts"),
    ("UPDATE counts SET twice = b.n FROM busy AS b WHERE b.origin = c AND b.n < 500", "SELECT * FROM counts"),
    ("DROP VIEW busy_fields", "SELECT count(*) FROM counts"),
];

#[test]
fn definitions_change_as_they_do_in_sqlite() {
    for parts in [1, 5] {
        let mut pair = Pair::new(parts);
        for (sql, then) in DEFINITIONS {
            run(&mut pair.ours, sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            pair.sqlite.execute(sql, ()).unwrap_or_else(|error| panic!("{sql}: {error}"));
            pair.compare(then, false);
            assert!(!pair.expected(then).is_empty(), "{then} shows nothing");
        }
    }
}

#[test]
fn changes_change_what_sqlite_changes() {
    for parts in [1, 5] {
        let mut pair = Pair::new(parts);
        for sql in CHANGES {
            let result = run(&mut pair.ours, sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert_eq!(result.affected as usize, pair.sqlite.execute(sql, ()).unwrap(), "{sql}");
            for table in TABLES {
                pair.compare(&format!("SELECT * FROM {table}"), false);
            }
        }
    }
}
