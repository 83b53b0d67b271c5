//! The command line against a supernode that runs.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod common;

use std::time::Duration;

use common::{Program, bare_command, command, get, until};

const TOKEN: &str = "0123456789abcdef";

/// What a command printed to standard output and standard error, and its exit code.
fn run(server: &str, token: &str, arguments: &[&str]) -> (String, String, i32) {
    let mut program = bare_command();
    program.args(arguments).env("PONTOON_SERVER", server).env("PONTOON_TOKEN", token);
    let done = program.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(done.stdout), text(done.stderr), done.status.code().unwrap())
}

#[tokio::test]
async fn commands_for_a_supernode_that_runs() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = command(directory.path(), "127.0.0.1:0");
    program.env("PONTOON_TOKEN", TOKEN);
    let program = Program::run(program);
    until("joined", Duration::from_secs(20), || async {
        (get(program.address, "/healthz").await.json()["joined"] == true).then_some(())
    })
    .await;
    let server = format!("http://{}", program.address);
    let good = |arguments: &[&str]| {
        let (out, told, code) = run(&server, TOKEN, arguments);
        assert_eq!((code, &told[..]), (0, ""), "{arguments:?}");
        out
    };

    assert!(good(&["put", "shop", "a/b", "{\"amount\": 12.5}"]).contains('.'));
    assert_eq!(good(&["get", "shop", "a/b"]), "{\"amount\": 12.5}");
    good(&["put", "shop", "plain", "rød"]);
    assert_eq!(good(&["get", "shop", "plain"]), "rød");

    good(&["sql", "CREATE TABLE bids (id INTEGER PRIMARY KEY, item TEXT, day DATE, sold BOOLEAN)"]);
    let csv = directory.path().join("bids.csv");
    std::fs::write(&csv, "id,item,day,sold\n1,\"boat, red\",2026-11-20,true\n2,oar,,false\n").unwrap();
    assert_eq!(good(&["import", "csv", "bids", csv.to_str().unwrap()]), "2 rows\n");
    let json = directory.path().join("bids.json");
    let rows: Vec<String> = (3..=500).map(|id| format!("{{\"id\": {id}, \"item\": \"x\", \"sold\": null}}")).collect();
    std::fs::write(&json, rows.join("\n")).unwrap();
    assert_eq!(good(&["import", "json", "bids", json.to_str().unwrap()]), "498 rows\n");
    let table = good(&["sql", "SELECT id, item, day FROM bids WHERE id <= $1 ORDER BY id", "2"]);
    let lines = "id  item       day\n--  ---------  ----------\n1   boat, red  2026-11-20\n2   oar\n(2 rows)\n";
    assert_eq!(table, lines);
    let csv = good(&["sql", "--format", "csv", "SELECT count(*) AS n, max(id) AS last FROM bids"]);
    assert_eq!(csv, "n,last\r\n500,500\r\n");
    assert!(good(&["ring"]).contains("this one") && good(&["ring", "--dot"]).starts_with("digraph"));

    for (token, arguments, said, code) in [
        ("", &["put", "shop", "k", "1"][..], "unauthorized", 1),
        (TOKEN, &["get", "shop", "nothing"], "not_found", 1),
        (TOKEN, &["sql", "SELEC"], "syntax_error", 1),
        (TOKEN, &["import", "json", "bids", json.to_str().unwrap()], "rows 1 to 200: unique_violation", 1),
        (TOKEN, &["import", "csv", "nowhere", json.to_str().unwrap()], "undefined_table", 1),
        (TOKEN, &["get", "shop"], "--help", 2),
        (TOKEN, &["ring", "--server", "ftp://a"], "is not the address", 1),
        (TOKEN, &["ring", "--server", "http://127.0.0.1:9"], "127.0.0.1:9", 1),
    ] {
        let (_, told, ended) = run(&server, token, arguments);
        assert!(told.contains(said) && told.lines().count() == 1 && ended == code, "{arguments:?}: {ended} {told}");
    }
}
