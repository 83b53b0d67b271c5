//! Makes `fuzz/seeds` anew of what the engine, the parser and the supernode write: `cargo test -p pontoon-fuzz --test seeds
//! -- --ignored`. What was found by fuzzing (`found-*`) stays.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // how a test fails

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use pontoon_core::{
    Command, Id,
    crypto::Ed25519,
    data::codec::{encode_key, encode_row},
    exec::{Env, Need, local::Local},
    pht::{Edit, Entry, node},
    sql::{
        asking::{Asking, Definitions},
        ast::Statement,
        catalog::{entry, index_entry},
        statistics::STATISTICS,
    },
    store::{Action, Expect, KeyOp, Outcome, Record, Version},
    trust::{self, Session},
    wire::{Chunks, decode},
};
use pontoon_fuzz::join;
use pontoon_tests::{
    ops::{get, put},
    sim::{Recorded, Sim, SimConfig},
};

const SECOND_US: u64 = 1_000_000;
const NODES: usize = 6;
/// A seed is no longer: what is long is slow to mutate.
const SEED_BYTES_MAX: usize = 2_000;
const SEEDS_MAX: usize = 40;

/// Statements of every kind over the tables that targets have, one a line.
const STATEMENTS: &str = include_str!("statements.sql");

/// Seeds of one target.
type Seeds = Vec<Vec<u8>>;

#[test]
#[ignore = "it writes files"]
fn remake() {
    let chunks = recorded();
    let mut all: BTreeMap<&str, Seeds> = BTreeMap::new();
    all.insert("wire", different(chunks.iter().map(|chunk| chunk.bytes.clone()).collect()));
    all.insert("node", nodes(&chunks));
    all.insert("record", records(&chunks));
    all.insert("plan", plans());
    all.insert("catalog", catalogs());
    all.insert("tree", trees());
    all.insert("row", rows());
    all.insert("ast", statements().iter().map(|one| postcard::to_allocvec(&vec![one]).unwrap()).collect());
    all.insert("sql", texts());
    all.insert("eval", EXPRESSIONS.iter().flat_map(|text| [text.as_bytes().to_vec(), sqlite(text)]).collect());
    all.insert("store", damages());
    all.insert("backup", damages());
    all.insert("signal", SIGNALS.iter().map(|text| text.as_bytes().to_vec()).collect());
    all.insert("http", REQUESTS.iter().map(|text| text.as_bytes().to_vec()).collect());
    all.insert("import", FILES.iter().map(|text| text.as_bytes().to_vec()).collect());
    for (target, seeds) in all {
        write(target, seeds);
    }
}

fn write(target: &str, seeds: Seeds) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../seeds").join(target);
    fs::create_dir_all(&folder).unwrap();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.file_name().unwrap().to_string_lossy().starts_with("found-") {
            fs::remove_file(path).unwrap();
        }
    }
    assert!(!seeds.is_empty(), "{target}");
    for (number, seed) in seeds.iter().take(SEEDS_MAX).enumerate() {
        fs::write(folder.join(format!("{number:02}")), seed).unwrap();
    }
}

/// What nodes say while they join, store, read, ask and leave.
fn recorded() -> Vec<Recorded> {
    let mut sim = Sim::new(SimConfig { join_every_us: 100_000, ..SimConfig::new(1, NODES) });
    sim.record(true);
    sim.settle(60 * SECOND_US).unwrap();
    sim.keys(1, vec![put("n", b"k", b"value"), get("n", b"k")]);
    for (at, statement) in pontoon_parser::parse(pontoon_fuzz::SCHEMA).unwrap().into_iter().enumerate() {
        let mut definitions = Definitions::default();
        let ask = sim.ask_statement(at % NODES, &mut definitions, statement, None);
        sim.answers(vec![ask], &mut definitions, 60 * SECOND_US).remove(0).unwrap();
    }
    sim.sql(4, "SELECT t, count(*), max(i) FROM many JOIN few ON i = c GROUP BY t").unwrap();
    for command in [
        Command::SendAll { payload: b"all".to_vec() },
        Command::SetGlobal { name: "g".to_owned(), value: Some(b"v".to_vec()) },
        Command::Leave,
    ] {
        sim.call(5, command, 30 * SECOND_US);
    }
    sim.record(false)
}

/// Chunks that are unlike one another: what the bytes at their front say is mostly what they are.
fn different(chunks: Seeds) -> Seeds {
    let mut seen = BTreeSet::new();
    let short = chunks.into_iter().filter(|chunk| chunk.len() <= SEED_BYTES_MAX);
    let mut kinds: Seeds =
        short.filter(|chunk| seen.insert((chunk.get(4..7).map(<[u8]>::to_vec), chunk.len() / 64))).collect();
    kinds.sort_by_key(|chunk| (chunk.get(4..7).map(<[u8]>::to_vec), chunk.len()));
    // As many of them as may be, from all over.
    let step = kinds.len().div_ceil(SEEDS_MAX).max(1);
    kinds.into_iter().step_by(step).collect()
}

/// What one node hears of another one, some of it at once.
fn nodes(chunks: &[Recorded]) -> Seeds {
    let mut told: BTreeMap<(usize, usize), Seeds> = BTreeMap::new();
    for chunk in chunks.iter().filter(|chunk| chunk.bytes.len() < 400) {
        told.entry((chunk.from, chunk.to)).or_default().push(chunk.bytes.clone());
    }
    let mut seeds = Seeds::new();
    for told in told.values() {
        let some = told.len().div_ceil(5).max(1);
        seeds.push(join(told.iter().step_by(some).map(|chunk| (pontoon_fuzz::CHUNK, &chunk[..]))));
    }
    seeds.truncate(20);
    let frames = different(chunks.iter().map(|chunk| chunk.bytes.clone()).collect());
    seeds.extend(frames.iter().step_by(2).map(|chunk| join([(pontoon_fuzz::FRAME, chunk.get(4..).unwrap_or(&[]))])));
    seeds
}

/// Records that are sent among members of groups: found in the frames that carry them.
fn records(chunks: &[Recorded]) -> Seeds {
    let version = |counter| Version { wall_us: 1_700_000_000_000_000, counter, author: Id::hash(b"author") };
    let record = |value: Option<&[u8]>, expiry_us, earlier: usize| Record {
        namespace: "bids".to_owned(),
        key: b"key".to_vec(),
        locality_bits: 4,
        value: value.map(<[u8]>::to_vec),
        version: version(9),
        parent: (earlier > 0).then(|| version(8)),
        expiry_us,
        earlier: (0..earlier as u64).map(|at| (at, at)).collect(),
        proof: None,
    };
    let signed = Record { namespace: "pontoon.grants".to_owned(), ..record(Some(b"value"), None, 1) };
    let (peer, at_us) = (Ed25519::from_seed(&[2; 32]), signed.version.wall_us);
    let session = Session::begin(&Ed25519::from_seed(&[1; 32]), "seeds", &peer, at_us, at_us + 1).unwrap();
    let action = Action::Put { value: b"value".to_vec(), expect: Expect::Any, ttl_us: None };
    let Record { namespace, key, .. } = signed.clone();
    let op = KeyOp { namespace, locality_bits: 4, key, action, proof: None };
    let mut ops = [(0, op.clone()), (1, op)];
    trust::sign_as(&peer, &session, ("seeds", at_us), 7, &mut ops);
    let [(_, op), _] = ops;
    let signed = Record { proof: op.proof, ..signed };
    let frames = chunks.iter().flat_map(|chunk| {
        Chunks::default().push(&chunk.bytes, 1 << 20).flatten().map(|frame| frame.into_owned()).collect::<Vec<_>>()
    });
    // A frame that is none of a record's is a seed all the same, but there are enough.
    let others =
        frames.filter(|frame| decode(frame).is_ok()).map(|frame| frame[1..].to_vec()).filter(|frame| frame.len() < 300);
    let plain =
        [record(Some(b"value"), None, 0), record(None, Some(5), 1), record(Some(&[0; 100]), Some(u64::MAX), 16)];
    let own = plain.into_iter().chain([signed]).collect::<Vec<_>>();
    let own = own.iter().map(|record| postcard::to_allocvec(record).unwrap());
    own.chain(others.step_by(97).take(3)).collect()
}

fn statements() -> Vec<Statement> {
    let wrong: Vec<_> =
        STATEMENTS.lines().filter_map(|line| Some((line, pontoon_parser::parse_one(line).err()?))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    STATEMENTS.lines().flat_map(pontoon_parser::parse_one).collect()
}

fn sqlite(text: &str) -> Vec<u8> {
    [&[pontoon_fuzz::SQLITE], text.as_bytes()].concat()
}

fn texts() -> Seeds {
    let lines = STATEMENTS.lines().take(SEEDS_MAX - 2).map(|line| line.as_bytes().to_vec());
    let lite =
        ["SELECT ifnull(t, 1), i FROM many WHERE t GLOB 'o*' LIMIT 1, 2", "REPLACE INTO few VALUES (\"x\", 1, [c])"];
    lines.chain(lite.map(sqlite)).collect()
}

/// The database of the targets.
fn database() -> Local {
    let mut local = Local::new();
    for statement in pontoon_parser::parse(pontoon_fuzz::SCHEMA).unwrap() {
        local.execute(statement, Vec::new()).unwrap();
    }
    local
}

/// The plans that owners are sent for the statements, each with what an owner answers.
fn plans() -> Seeds {
    let mut local = database();
    let mut seeds = Seeds::new();
    for statement in statements() {
        let mut definitions = Definitions::default();
        let env = Env { now_us: 1_700_000_000_000_000, random: 7, me: Id::ZERO, user: None, locality_bits: 0 };
        let mut asking = Asking::new(statement, Vec::new(), env, &mut definitions);
        while let Some(need) = asking.poll() {
            match need {
                Need::Ops { need, ops } => {
                    let reads = ops.iter().all(|op| op.action.reads());
                    let outcomes =
                        ops.iter().map(|op| if reads { local.apply(op) } else { Outcome::Unreachable }).collect();
                    asking.on_ops(&mut definitions, need, outcomes, Default::default());
                }
                Need::Gather { fragment, .. } => {
                    let partial = postcard::to_allocvec(&local.gather(&fragment).unwrap()).unwrap();
                    let seed = join([(0, &fragment.encode()[..]), (1, &partial)]);
                    if seed.len() <= SEED_BYTES_MAX && !seeds.contains(&seed) {
                        seeds.push(seed);
                    }
                }
                Need::Join { .. } | Need::Agree { .. } => {}
            }
        }
    }
    seeds
}

/// The entries of tables and views with statistics and a row.
fn catalogs() -> Seeds {
    let mut local = database();
    let mut value = |op: &KeyOp| match local.apply(op) {
        Outcome::Found { value, .. } => value,
        _ => Vec::new(),
    };
    let index = value(&index_entry("by_c", 0, Action::Get));
    let row = encode_row(&[pontoon_core::data::Value::Integer(7), pontoon_core::data::Value::Null]);
    let mut seeds = Seeds::new();
    for name in ["many", "few", "seen"] {
        let table = value(&entry(name, 0, Action::Get));
        let key = name.as_bytes().to_vec();
        let counted =
            value(&KeyOp { namespace: STATISTICS.to_owned(), locality_bits: 0, key, action: Action::Get, proof: None });
        seeds.push(join([(pontoon_fuzz::TABLE, &table[..])]));
        let all = [
            (pontoon_fuzz::TABLE, &table[..]),
            (pontoon_fuzz::INDEX, &index),
            (pontoon_fuzz::COUNTED, &counted),
            (9, &row),
        ];
        seeds.push(join(all));
    }
    seeds
}

/// The root of a tree, and one of its labels, with edits.
fn trees() -> Seeds {
    let change = |key: &[u8], what| node::Change { key: key.to_vec(), what, expect: node::Held::Any };
    let set = |key: &[u8]| change(key, node::What::Set(b"value".to_vec(), 7));
    let edits = [
        Edit::Entries { changes: vec![set(b"ab"), set(b"c")], low: false },
        Edit::Entries { changes: vec![change(b"ab", node::What::Remove(0))], low: true },
        Edit::Cut { old: Vec::new(), new: vec![pontoon_core::pht::Label::of(b"a")] },
        Edit::Fold,
    ];
    let edits: Vec<_> = edits.iter().map(Edit::encode).collect();
    let label = pontoon_core::pht::Label::of(b"a").to_key();
    let entries = vec![Entry { key: b"ab".to_vec(), value: b"v".to_vec(), stamp: 1, at_us: 0 }];
    let leaf = node::Node { body: node::Body::Leaf(entries), ..node::Node::leaf(None, vec![0]) }.encode();
    let made = Version { wall_us: 1, counter: 2, author: Id::ZERO };
    let extent = pontoon_core::pht::Label::of(b"a");
    let inner =
        node::Body::Inner { extent: extent.clone(), made, cut: vec![extent.clone()], page: false, rest: Vec::new() };
    let inner = node::Node { body: inner, ..node::Node::leaf(Some(made), Vec::new()) }.encode();
    let root = pontoon_core::pht::Label::default().to_key();
    [(&root, &Vec::new()), (&root, &inner), (&label, &leaf)]
        .map(|(key, value)| {
            let parts = [key, value].into_iter().chain(&edits);
            join(parts.map(|part| (0, &part[..])))
        })
        .to_vec()
}

fn rows() -> Seeds {
    let rows = database().execute(pontoon_parser::parse_one("SELECT * FROM many").unwrap(), Vec::new()).unwrap().rows;
    let twice = rows.iter().flat_map(|row| row.iter().map(|value| encode_row(&[value.clone(), value.clone()])));
    let all = rows.iter().flat_map(|row| [encode_row(row), encode_key(row)]);
    twice.chain(all).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Bits flipped here and there, and an end cut off.
fn damages() -> Seeds {
    let at = |at: u32, flips: &[u8]| [&at.to_be_bytes()[..], flips].concat();
    let parts = [
        (0, at(0, &[1])),
        (0, at(100, &[0, 0, 0x80])),
        (0, at(5_000, &[0xff; 8])),
        (255, at(700, &[])),
        (255, at(0, &[])),
    ];
    let one = parts.iter().map(|(kind, part)| join([(*kind, &part[..])]));
    one.chain([Vec::new(), join(parts.iter().take(3).map(|(kind, part)| (*kind, &part[..])))]).collect()
}

const EXPRESSIONS: &[&str] = &[
    "i + 1, -i, i * i, i / 2, i % 3, i - 9223372036854775807, abs(i), sign(r), i & 3 | 4 # 1, ~i, i << 70",
    "r * 1e308, round(r), trunc(n, 1), floor(r), power(r, 2), sqrt(abs(r)), ln(r), exp(r), mod(n, 7), r::int",
    "t || 'x', length(t), upper(t), lower(t), substr(t, -1, 3), left(t, -2), repeat(t, 3), lpad(t, 5, 'ab'), reverse(t), split_part(t, 'n', 1)",
    "n / 3, n * n, n::text, round(n, -1), CAST(t AS NUMERIC), 1.10::numeric = 1.1, width_bucket(n, 0, 10, 5), div(n, 2)",
    "ts + iv, d - d, age(ts), date_part('epoch', ts), to_char(ts, 'YYYY-MM-DD HH24:MI:SS'), to_date('2024', 'YYYY'), make_date(2024, 2, 30), iv * 2.5",
    "j -> 'a', j #> '{a}', j ? 'a', jsonb_set(j, '{a}', '1'), to_jsonb(t), jsonb_typeof(j), '{\"a\": 1e400}'::json",
    "t LIKE '_n%' ESCAPE '!', t ~ '(a|o)+n', t ILIKE 'ONE', regexp_matches(t, 'x'), t = 'one' AND b OR NOT b",
    "u::text, bl = '\\x00ff', encode(bl, 'base64'), decode('zz', 'hex'), md5(t), octet_length(bl), gen_random_uuid()",
    "CASE WHEN i > 1 THEN 'a' WHEN b IS NULL THEN t END, coalesce(r, 0), greatest(i, 2), least(n, 1.0), i IN (1, NULL)",
    "sum(i), avg(r), count(DISTINCT t), stddev(r), string_agg(t, ','), bool_and(b), percentile_cont(0.5) WITHIN GROUP (ORDER BY r)",
    "rank() OVER (ORDER BY i), ntile(2) OVER (ORDER BY r), sum(i) OVER (PARTITION BY b), first_value(t) OVER (ORDER BY i)",
    "printf('%d', i), instr(t, 'n'), typeof(r), hex(bl), unixepoch(ts), strftime('%Y', ts), julianday(ts), i IS t",
];

const SIGNALS: &[&str] = &[
    r#"{"candidate": {"candidate": "candidate:842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx raddr 10.0.0.17 rport 42100 generation 0 ufrag x", "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "x"}}"#,
    r#"{"candidate": {"candidate": "candidate:1 1 tcp 2105458943 e2494022-4d9a-4c1e-a750-cc48d4f8d6ee.local 9 typ host tcptype active", "sdpMid": "0"}}"#,
    r#"{"candidate": {"candidate": "", "sdpMid": "0", "sdpMLineIndex": 0}}"#,
    r#"{"candidate": {"candidate": "candidate:1 1 udp 1 ::ffff:192.168.1.2 9 typ host"}}"#,
    r#"{"type": "offer", "sdp": "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=extmap-allow-mixed\r\na=msid-semantic: WMS\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=candidate:1 1 udp 2113937151 10.0.0.1 57431 typ host\r\na=candidate:2 1 udp 1677729535 203.0.113.7 57431 typ srflx raddr 0.0.0.0 rport 0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef01234567\r\na=ice-options:trickle\r\na=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\na=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n"}"#,
    r#"{"type": "answer", "sdp": "v=0\no=mozilla...THIS_IS_SDPARTA-99.0 1 0 IN IP6 ::1\ns=-\nt=0 0\na=sendrecv\nm=application 40000 UDP/DTLS/SCTP webrtc-datachannel\nc=IN IP6 ::\nb=AS:30\nk=clear:x\na=candidate:0 1 UDP 2122252543 fd00::1 1 typ host\na=end-of-candidates\na=setup:active\na=mid:0\n"}"#,
    r#"{"type": "rollback", "sdp": ""}"#,
];

const REQUESTS: &[&str] = &[
    "GET /v1/kv/bids/b%C3%B8t?stale=true\naccept: */*\n\n",
    "PUT /v1/kv/bids/b1?ttl=60000\ncontent-type: application/json\nif-match: \"1.2.0123456789012345678901234567890123456789\", W/\"x\"\n\n{\"amount\": [12.5, \"\\ud83d\\ude80\", null]}",
    "POST /v1/kv/a%2Fb/c\ncontent-type: text/plain; charset=\"utf-8\"\nif-none-match: *\n\ntext",
    "DELETE /v1/kv/bids/b1\nif-match: *\nauthorization: Bearer correct-horse-battery\n\n",
    "POST /v1/sql\ncontent-type: application/json\naccept: text/csv;q=0.5, application/*;q=1\n\n{\"sql\": \"SELECT $1 FROM many\", \"params\": [1, 1.5, \"a\", null, {\"b\": [1e400]}], \"dialect\": \"sqlite\", \"timeout\": 5}",
    "POST /v1/sql\ncontent-type: application/json\n\n{\"sql\": \"SELECT 1; SELECT )\", \"params\": [18446744073709551615]}",
    "GET /v1/live?sql=SELECT+1&params=%5B1%2C%22a%22%5D&dialect=postgres\norigin: https://shop.example.org\nsec-fetch-site: cross-site\n\n",
    "OPTIONS /v1/sql\norigin: http://localhost\naccess-control-request-method: POST\n\n",
    "GET /v1/ring\nhost: localhost\n\n",
    "GET /v1/openapi.json\n\n",
    "HEAD /v1/kv/n/k?stale=maybe&stale=true\nif-none-match: \"open\n\n",
];

const FILES: &[&str] = &[
    "\0i,t,r,b,d\n1,\"a,b\",2.5,t,2026-11-20\n2,,,,\n",
    "\0\"quoted \"\"name\"\"\",i\r\nx,9223372036854775808\r\n",
    "\x01[{\"i\": 1, \"t\": \"x\"}, {\"i\": null}]",
    "\x01{\"i\": 1e999}\n{\"nested\": {\"a\": [1, {}]}}\n",
];
