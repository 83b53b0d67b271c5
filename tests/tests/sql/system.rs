//! System tables: what they show, on one node and on a network, and after a partition.

use std::collections::BTreeMap;

use pontoon_core::{
    Command, Id,
    data::{Value, codec},
    dht::conflict::CONFLICTS,
    exec::local::Local,
    id::{Coverage, Region},
    sql::fault::UNSUPPORTED,
    store::{Outcome, Record, Version},
};
use pontoon_tests::{
    ops::{outcomes, put},
    sim::{Sim, SimConfig},
};

const SECOND_US: u64 = 1_000_000;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn real(value: &Value) -> f64 {
    match value {
        Value::Real(number) => *number,
        other => panic!("{other:?}"),
    }
}

fn shown(rows: &[Vec<Value>]) -> Vec<String> {
    rows.iter().map(|row| row.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ")).collect()
}

/// A statement whose result covers everything.
fn rows(sim: &mut Sim, node: usize, sql: &str) -> Vec<Vec<Value>> {
    let result = sim.sql(node, sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert_eq!(result.coverage, 1.0, "{sql}");
    result.rows
}

#[test]
fn losers_are_shown_as_rows_of_their_tables() {
    let mut local = Local::new();
    let run = |local: &mut Local, sql: &str| {
        let statement = pontoon_parser::parse_one(sql).unwrap();
        local.execute(statement, Vec::new()).unwrap_or_else(|error| panic!("{sql}: {error}")).rows
    };
    run(&mut local, "CREATE TABLE t (id INTEGER, day DATE, what TEXT, gone TEXT, PRIMARY KEY (day, id))");
    run(&mut local, "ALTER TABLE t DROP COLUMN gone");
    run(&mut local, "ALTER TABLE t ADD COLUMN price NUMERIC(10, 2) DEFAULT 1.50");
    let namespace = run(&mut local, "SELECT namespace FROM pontoon_tables").remove(0).remove(0).to_string();
    let version = |wall_us| Version { wall_us, counter: 1, author: Id::hash(b"author") };
    let key = codec::encode_key(&[Value::Date(19_782), Value::Integer(7)]);
    let stored = [Value::Integer(7), Value::Date(19_782), text("lost"), text("x")];
    let record = |namespace: &str, value: Option<Vec<u8>>, wall_us| Record {
        namespace: namespace.to_owned(),
        key: key.clone(),
        locality_bits: 0,
        value,
        version: version(wall_us),
        parent: None,
        expiry_us: None,
        earlier: Vec::new(),
        proof: None,
    };
    let losers = [
        postcard::to_allocvec(&(
            record(&namespace, Some(codec::encode_row(&stored)), 5_000_000),
            Some(version(7_000_000)),
        )),
        // A removal, and from a peer that does not say what won.
        postcard::to_allocvec(&record(&namespace, None, 4_000_000)),
        // Of no table.
        postcard::to_allocvec(&(record("things", Some(vec![1, 2]), 3_000_000), None::<Version>)),
    ];
    for (number, loser) in losers.into_iter().enumerate() {
        let outcome = local.apply(&put(CONFLICTS, &[number as u8], &loser.unwrap()));
        assert!(matches!(outcome, Outcome::Stored { .. }));
    }
    // Neither is what is none.
    local.apply(&put(CONFLICTS, b"junk", b"junk"));
    let columns = "table_name, key, lost, written_at, won_at, won_by = written_by, namespace = 'things', raw_value";
    let found = run(&mut local, &format!("SELECT {columns} FROM pontoon_conflicts ORDER BY written_at DESC"));
    assert_eq!(
        shown(&found),
        [
            format!(
                "t | {{\"id\": 7, \"day\": \"2024-02-29\"}} | {{\"id\": 7, \"day\": \"2024-02-29\", \"what\": \"lost\", \"price\": 1.50}} | \
                 1970-01-01 00:00:05 | 1970-01-01 00:00:07 | true | false | {}",
                Value::Blob(codec::encode_row(&stored))
            ),
            "t | {\"id\": 7, \"day\": \"2024-02-29\"} | NULL | 1970-01-01 00:00:04 | NULL | NULL | false | NULL"
                .to_owned(),
            "NULL | NULL | NULL | 1970-01-01 00:00:03 | NULL | NULL | true | \\x0102".to_owned(),
        ]
    );
    // It is a table like others.
    let sql = "SELECT c.lost ->> 'what', count(*) FROM pontoon_conflicts AS c JOIN pontoon_tables AS t ON t.name = c.table_name
        GROUP BY 1 ORDER BY 1";
    assert_eq!(shown(&run(&mut local, sql)), ["lost | 1", "NULL | 1"]);
    assert_eq!(shown(&run(&mut local, "SELECT count(*) FROM pontoon_peers")), ["0"], "there is no network");
}

#[test]
fn system_tables_are_read_only() {
    let mut local = Local::new();
    for table in ["pontoon_tables", "pontoon_columns", "pontoon_indexes", "pontoon_peers", "pontoon_conflicts"] {
        for sql in [
            format!("INSERT INTO {table} VALUES (1)"),
            format!("UPDATE {table} SET namespace = 'x'"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table}"),
            format!("DROP TABLE {table}"),
            format!("DROP TABLE IF EXISTS {table}"),
            format!("ALTER TABLE {table} ADD COLUMN a INTEGER"),
            format!("CREATE INDEX i ON {table} (namespace)"),
        ] {
            let error = local.execute(pontoon_parser::parse_one(&sql).unwrap(), Vec::new()).unwrap_err();
            assert_eq!(error.code(), UNSUPPORTED, "{sql}: {error}");
            assert!(error.to_string().contains("read-only"), "{sql}: {error}");
        }
        let error =
            local.execute(pontoon_parser::parse_one(&format!("CREATE TABLE {table} (a INTEGER)")).unwrap(), Vec::new());
        assert_eq!(error.unwrap_err().code(), "invalid_table_definition");
    }
}

#[test]
fn a_node_tells_what_it_knows_of_peers() {
    const NODES: usize = 8;
    let mut sim = Sim::new(SimConfig::new(5, NODES));
    sim.settle(120 * SECOND_US).unwrap();
    sim.run_for(30 * SECOND_US);
    let share = |sim: &Sim, node| Coverage::of(&sim.standing(node).unwrap().owned).share_of(Region::ALL.size());
    let shares: Vec<f64> = (0..NODES).map(|node| share(&sim, node)).collect();
    let (mut total, mut known) = (0.0, 0);
    for (node, own) in shares.iter().enumerate() {
        let all = rows(&mut sim, node, "SELECT id, link, rtt_ms, sibling, owns FROM pontoon_peers ORDER BY id");
        let mut expected: Vec<String> = (0..NODES).map(|node| sim.id(node).to_string()).collect();
        expected.sort();
        assert_eq!(all.iter().map(|row| row[0].to_string()).collect::<Vec<_>>(), expected);
        let me = sim.id(node).to_string();
        let mut owned = 0.0;
        for row in &all {
            let myself = row[0] == text(&me);
            assert_eq!(row[1] == text("self"), myself, "{row:?}");
            // Eight are all siblings of one another, and linked.
            assert_eq!(row[3], Value::Boolean(!myself), "{row:?}");
            let measured = matches!(row[2], Value::Real(rtt) if rtt > 0.0);
            assert!(myself || measured, "{row:?}");
            // Nothing is counted twice.
            let share = real(&row[4]);
            known += usize::from(!myself && share > 0.0);
            owned += share;
        }
        assert!(owned <= 1.0, "node {node} knows owners of {owned}");
        total += all.iter().filter(|row| row[1] == text("self")).map(|row| real(&row[4])).sum::<f64>();
        let sql = "SELECT owns FROM pontoon_peers WHERE link = 'self'";
        assert_eq!(rows(&mut sim, node, sql), [[Value::Real(*own)]]);
        // Conditions, groups and joins as with any table.
        let links = sim.inspect(node).unwrap().links;
        let direct = links.iter().filter(|link| link.kind == "direct").count() as i64;
        let sql = "SELECT count(*), count(DISTINCT a.id) FROM pontoon_peers AS a JOIN pontoon_peers AS b ON a.id = b.id
            WHERE a.link = 'direct'";
        assert_eq!(rows(&mut sim, node, sql), [[Value::Integer(direct), Value::Integer(direct)]]);
        let sql = "SELECT role, string_agg(id, ' ') FROM pontoon_peers GROUP BY role";
        let roles: BTreeMap<String, usize> = rows(&mut sim, node, sql)
            .iter()
            .map(|row| (row[0].to_string(), row[1].to_string().split(' ').count()))
            .collect();
        assert_eq!(roles.values().sum::<usize>(), NODES, "{roles:?}");
    }
    assert_eq!(total, 1.0, "each knows what it owns");
    assert!(known >= NODES, "{known} times somebody knows what another one owns");
}

/// Both sides of a partition write the same rows, and both go on in groups that gave the others up for lost. What loses
/// when they meet is there for SQL, at any node.
#[test]
fn what_loses_when_two_histories_meet_is_shown() {
    const NODES: usize = 16;
    const KEYS: i64 = 12;
    let mut sim = Sim::new(SimConfig::new(3, NODES));
    sim.settle(120 * SECOND_US).unwrap();
    rows(&mut sim, 0, "CREATE TABLE t (id INTEGER PRIMARY KEY, what TEXT)");
    let values: Vec<String> = (0..KEYS).map(|id| format!("({id}, 'both')")).collect();
    rows(&mut sim, 1, &format!("INSERT INTO t VALUES {}", values.join(", ")));
    assert_eq!(rows(&mut sim, 2, "SELECT count(*) FROM pontoon_conflicts"), [[Value::Integer(0)]]);
    let namespace = rows(&mut sim, 2, "SELECT namespace FROM pontoon_tables")[0][0].to_string();
    sim.partition(|node| node % 2 == 1);
    sim.run_for(60 * SECOND_US);
    // One acknowledged write of each key on each side, as far as the side may vouch for it.
    let mut written: BTreeMap<(i64, usize), Version> = BTreeMap::new();
    for id in 0..KEYS {
        for side in 0..2 {
            let row = [Value::Integer(id), text(&format!("side {side}"))];
            let key = codec::encode_key(&row[..1]);
            let ops = vec![put(&namespace, &key, &codec::encode_row(&row))];
            let command = Command::Keys { ops, deadline_us: Some(3 * SECOND_US) };
            let node = (2 * id as usize + side) % NODES;
            if let [Outcome::Stored { version }] = outcomes(sim.call(node, command, 10 * SECOND_US), 1)[..] {
                written.insert((id, side), version);
            }
        }
    }
    sim.run_for(10 * SECOND_US);
    sim.heal();
    let lost: BTreeMap<i64, (usize, Version, Version)> = (0..KEYS)
        .filter_map(|id| {
            let (a, b) = (*written.get(&(id, 0))?, *written.get(&(id, 1))?);
            Some((id, if a < b { (0, a, b) } else { (1, b, a) }))
        })
        .collect();
    assert!(lost.len() as i64 >= KEYS / 4, "{} keys were written on both sides", lost.len());
    sim.settle(300 * SECOND_US).unwrap();
    let sql = "SELECT (key ->> 'id')::integer, lost ->> 'what', written_at, won_at, won_by FROM pontoon_conflicts
        WHERE table_name = 't' ORDER BY 1";
    let at = |version: &Version| Value::Timestamp(version.wall_us as i64);
    let expected: Vec<Vec<Value>> = lost
        .iter()
        .map(|(id, (side, loser, winner))| {
            let by = text(&winner.author.to_string());
            vec![Value::Integer(*id), text(&format!("side {side}")), at(loser), at(winner), by]
        })
        .collect();
    let until = sim.now_us() + 120 * SECOND_US;
    let mut found = Vec::new();
    while sim.now_us() < until && found != expected {
        sim.run_for(2 * SECOND_US);
        found = sim.sql(5, sql).map(|result| result.rows).unwrap_or_default();
    }
    assert_eq!(shown(&found), shown(&expected));
    for node in 0..NODES {
        assert_eq!(rows(&mut sim, node, sql), expected, "node {node}");
    }
    // What won is in the table; with the other one a person may mend it.
    let sql = "SELECT t.id, t.what FROM t JOIN pontoon_conflicts AS c ON c.table_name = 't' AND (c.key ->> 'id')::integer = t.id
        ORDER BY 1";
    let won: Vec<Vec<Value>> =
        lost.iter().map(|(id, (side, ..))| vec![Value::Integer(*id), text(&format!("side {}", 1 - side))]).collect();
    assert_eq!(rows(&mut sim, 4, sql), won);
}
