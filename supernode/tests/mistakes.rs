//! Settings that cannot be meant, each given to the program: exit code 2, and one line that names what is wrong.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod common;

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use common::{bare_command, certificates::Authority, run_to_end};

/// A directory with the files that the mistakes are about.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let authority = Authority::new();
    authority.issue().save(path);
    authority.save(path);
    fs::write(path.join("other.pem"), authority.issue().key).unwrap();
    fs::write(path.join("empty"), "").unwrap();
    fs::write(path.join("short"), "# a comment\nshort\n").unwrap();
    fs::write(path.join("bytes"), [0xff, 0xfe]).unwrap();
    fs::write(path.join("large"), vec![b'#'; (1 << 20) + 1]).unwrap();
    fs::write(path.join("token"), "0123456789abcdef").unwrap();
    fs::write(path.join("file"), "no directory").unwrap();
    symlink("loop", path.join("loop")).unwrap();
    directory
}

fn program(directory: &Path) -> Command {
    let mut program = bare_command();
    program.current_dir(directory).args(["--data", "data"]);
    program
}

/// Runs it, which must end with this code and one line that holds all of these words.
fn expect(program: Command, code: i32, words: &[&str]) {
    let told = format!("{program:?}");
    let (ended, text) = run_to_end(program);
    assert_eq!(ended, Some(code), "{told}: {text}");
    assert!(text.lines().count() == 1 && text.ends_with('\n'), "{told}: {text:?}");
    for word in words {
        assert!(text.contains(word), "{told}: no {word:?} in {text:?}");
    }
}

#[test]
fn mistakes_of_flags() {
    let directory = directory();
    let pair = ["--tls-cert", "cert.pem", "--tls-key"];
    let mistakes: &[(&[&str], &[&str])] = &[
        (&["--listen", "nowhere"], &["--listen", "nowhere"]),
        (&["--listen", "127.0.0.1:70000"], &["--listen"]),
        (&["--listne", "127.0.0.1:1"], &["--listne"]),
        (&["--network", ""], &["--network", "1 to 64"]),
        (&["--peer", "http://example.org"], &["--peer", "http://example.org"]),
        (&["--peer", "wss:///pontoon"], &["--peer"]),
        (&["--listen", "127.0.0.1:9", "--peer", "ws://127.0.0.1:9/pontoon"], &["--peer", "itself", "--listen"]),
        (&["--clients-max", "0"], &["--clients-max"]),
        (&["--clients-max=-5"], &["--clients-max"]),
        (&["--clients-max", "many"], &["--clients-max", "many"]),
        (&["--log", "a=b=c"], &["--log", "a=b=c"]),
        (&["--origin", "shop.example.org"], &["--origin", "shop.example.org"]),
        (&["--origin", "https://shop.example.org/path"], &["--origin"]),
        (&["--token-file", "missing"], &["--token-file", "missing"]),
        (&["--token-file", "short"], &["--token-file", "16 to 256"]),
        (&["--token-file", "token", "--open"], &["--open"]),
        (&["--tls-cert", "cert.pem"], &["--tls-cert", "--tls-key"]),
        (&["--tls-key", "key.pem"], &["--tls-key", "--tls-cert"]),
        (&["--tls-cert", "missing", "--tls-key", "key.pem"], &["--tls-cert", "missing"]),
        (&["--tls-cert", "loop", "--tls-key", "key.pem"], &["--tls-cert", "loop"]),
        (&["--tls-cert", ".", "--tls-key", "key.pem"], &["--tls-cert", "directory"]),
        (&["--tls-cert", "empty", "--tls-key", "key.pem"], &["--tls-cert", "no certificate"]),
        (&["--tls-cert", "key.pem", "--tls-key", "key.pem"], &["--tls-cert", "key.pem"]),
        (&[&pair[..], &["cert.pem"]].concat(), &["--tls-key", "no private key"]),
        (&[&pair[..], &["other.pem"]].concat(), &["--tls-key", "not the key of the certificate"]),
        (&["--ca", "missing"], &["--ca", "missing"]),
        (&["--ca", "empty"], &["--ca", "no certificate"]),
        (&["--join-token-file", "missing"], &["--join-token-file", "missing"]),
        (&["--join-token-file", "empty"], &["--join-token-file", "no token"]),
        (&["--join-token-file", "short"], &["--join-token-file", "short:2"]),
        (&["--join-token-file", "bytes"], &["--join-token-file", "UTF-8"]),
        (&["--join-token-file", "large"], &["--join-token-file", "more than"]),
        (&["--config", "missing"], &["--config", "missing"]),
        (&["--config", "bytes"], &["--config", "UTF-8"]),
    ];
    for (arguments, words) in mistakes {
        let mut program = program(directory.path());
        program.args(*arguments);
        expect(program, 2, words);
    }
}

#[test]
fn mistakes_of_the_environment() {
    let directory = directory();
    for (name, value, words) in [
        ("PONTOON_LISTEN", "nowhere", &["--listen"][..]),
        ("PONTOON_NETWORK", "", &["PONTOON_NETWORK"]),
        ("PONTOON_SUPERNODES", "ws://a/pontoon,ftp://b", &["PONTOON_SUPERNODES", "ftp://b"]),
        ("PONTOON_CLIENTS_MAX", "-1", &["--clients-max"]),
        ("PONTOON_TOKEN", "short", &["PONTOON_TOKEN", "16 to 256"]),
        ("PONTOON_TLS_CERT", "cert.pem", &["PONTOON_TLS_CERT", "--tls-key"]),
        ("PONTOON_ORIGINS", "null", &["PONTOON_ORIGINS"]),
        ("PONTOON_LOG", "a=b=c", &["PONTOON_LOG"]),
        ("PONTOON_CONFIG", "missing", &["missing"]),
    ] {
        let mut program = program(directory.path());
        program.env(name, value);
        expect(program, 2, words);
    }
}

#[test]
fn mistakes_of_the_file_name_file_line_and_key() {
    let directory = directory();
    for (content, words) in [
        ("network = \"shop\"\nlisten = \"nowhere\"\n", &["c.toml:2: listen", "nowhere"][..]),
        ("\nlisten = 8080\n", &["c.toml:2: listen", "a string, not an integer"]),
        ("listne = \"127.0.0.1:0\"\n", &["c.toml:1: listne", "no such setting", "clients_max"]),
        ("tls-cert = \"cert.pem\"\n", &["c.toml:1: tls-cert", "no such setting", "tls_cert"]),
        ("[limits]\nclients = 3\n", &["c.toml:1: limits"]),
        ("config = \"c.toml\"\n", &["c.toml:1: config", "no other"]),
        ("no_found = true\n", &["c.toml:1: no_found"]),
        ("# nobody\nnetwork = \"\"\n", &["c.toml:2: network", "1 to 64"]),
        ("peer = \"ws://a/pontoon\"\n", &["c.toml:1: peer", "a list of strings, not a string"]),
        ("peer = [1]\n", &["c.toml:1: peer", "a list of strings"]),
        ("peer = [\n  \"ws://a/pontoon\",\n  \"ftp://b\",\n]\n", &["c.toml:1: peer", "ftp://b"]),
        ("clients_max = \"many\"\n", &["c.toml:1: clients_max", "a number, not a string"]),
        ("clients_max = 0\n", &["c.toml:1: clients_max"]),
        ("clients_max = -1\n", &["c.toml:1: clients_max"]),
        ("clients_max = 1.5\n", &["c.toml:1: clients_max"]),
        ("clients_max = 99999999999\n", &["c.toml:1: clients_max"]),
        ("found = \"yes\"\n", &["c.toml:1: found", "true or false"]),
        ("open = 1\n", &["c.toml:1: open", "true or false"]),
        ("open = true\ntoken_file = \"token\"\n", &["c.toml:1: open", "contradict"]),
        ("tls_cert = \"cert.pem\"\n", &["c.toml:1: tls_cert", "--tls-key"]),
        ("tls_cert = \"cert.pem\"\ntls_key = \"other.pem\"\n", &["c.toml:2: tls_key", "not the key"]),
        ("token_file = \"missing\"\n", &["c.toml:1: token_file", "missing"]),
        ("join_token_file = \"short\"\n", &["c.toml:1: join_token_file", "short:2"]),
        ("origin = [\"null\"]\n", &["c.toml:1: origin", "null"]),
        ("log = \"a=b=c\"\n", &["c.toml:1: log", "a=b=c"]),
        ("network = \"a\"\nnetwork = \"b\"\n", &["c.toml:2", "duplicate"]),
        ("network = shop\n", &["c.toml:1"]),
        ("network = \"shop\n", &["c.toml:1"]),
        ("network\n", &["c.toml:1"]),
    ] {
        fs::write(directory.path().join("c.toml"), content).unwrap();
        let mut program = program(directory.path());
        program.args(["--config", "c.toml"]);
        expect(program, 2, words);
    }
}

#[test]
fn what_the_system_refuses_is_code_1() {
    let directory = directory();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut listening = program(directory.path());
    listening.args(["--listen", &address]);
    expect(listening, 1, &["cannot listen", &address]);
    let mut storing = bare_command();
    storing.current_dir(directory.path()).args(["--data", "file/data"]);
    expect(storing, 1, &["file/data"]);
}
