//! A store's file that was altered or cut is told from what was written: whatever is served is right.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on ends")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use common::{Program, command, run_to_end, upkeep};
use pontoon_core::store::Batch;
use pontoon_supernode::{Offline, Opened, Store, StoreError};

const FILES: [&str; 2] = ["pontoon.redb", "pontoon.witness"];

/// What was written, and the files as they are then.
struct Written {
    seed: [u8; 32],
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// After an orderly end, and as a killed process leaves them.
    files: [BTreeMap<&'static str, Vec<u8>>; 2],
}

/// In memory where the system has such a place: these tests wait for no disk.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn file(directory: &Path) -> PathBuf {
    directory.join(FILES[0])
}

fn read(directory: &Path) -> BTreeMap<&'static str, Vec<u8>> {
    FILES.map(|name| (name, fs::read(directory.join(name)).unwrap())).into()
}

/// Some transactions that write, overwrite and delete, values short and long.
fn write() -> Written {
    let directory = scratch();
    let Opened { mut store, seed, .. } = Store::open(directory.path()).unwrap();
    let mut records = BTreeMap::new();
    let mut random = Random(1);
    for _ in 0..30 {
        let batch: Batch = (0..20)
            .map(|_| {
                let key = format!("key {}", random.below(300)).into_bytes();
                let length = if random.below(20) == 0 { 9_000 } else { random.below(200) };
                let value = (random.below(4) > 0).then(|| (0..length).map(|_| random.below(256) as u8).collect());
                (key, value)
            })
            .collect();
        store.write(std::slice::from_ref(&batch)).unwrap();
        for (key, value) in batch {
            match value {
                Some(value) => drop(records.insert(key, value)),
                None => drop(records.remove(&key)),
            }
        }
    }
    let killed = read(directory.path());
    drop(store);
    Written { seed, records, files: [read(directory.path()), killed] }
}

/// Numerical Recipes' generator: the same places in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// Whether opening said that something is wrong. What it does not refuse must be what was written.
fn is_noticed(written: &Written, files: &BTreeMap<&'static str, Vec<u8>>, what: &str) -> bool {
    let directory = scratch();
    for (name, bytes) in files {
        fs::write(directory.path().join(name), bytes).unwrap();
    }
    match Store::open(directory.path()) {
        Ok(opened) => {
            assert_eq!(opened.seed, written.seed, "{what}: another identity");
            assert!(opened.saved.into_iter().eq(written.records.clone()), "{what}: served something else");
            false
        }
        Err(StoreError::Damaged { .. } | StoreError::Later { .. }) => true,
        Err(other) => panic!("{what}: {other}"),
    }
}

#[test]
fn a_flipped_bit_is_noticed_or_does_not_matter() {
    let written = write();
    let rounds = std::env::var("PONTOON_FLIPS").map_or(60, |text| text.parse().unwrap());
    let mut random = Random(2);
    for (how, files) in ["closed", "killed"].into_iter().zip(&written.files) {
        assert!(!is_noticed(&written, files, how));
        let mut noticed = 0;
        for round in 0..rounds {
            let mut flipped = files.clone();
            let bytes = flipped.get_mut(FILES[0]).unwrap();
            // The header is where most depends on a bit.
            let at = random.below(if round % 4 == 0 { 320 } else { bytes.len() });
            let bit = random.below(8);
            bytes[at] ^= 1 << bit;
            noticed += u32::from(is_noticed(&written, &flipped, &format!("{how}: bit {bit} of byte {at}")));
        }
        println!("{how}: {noticed} of {rounds} flips refused, of {} bytes", files[FILES[0]].len());
        assert!(noticed > 0);
    }
}

#[test]
fn a_cut_file_is_noticed() {
    let written = write();
    let mut random = Random(3);
    for (how, files) in ["closed", "killed"].into_iter().zip(&written.files) {
        let whole = files[FILES[0]].len();
        let lengths = (0..12).map(|_| random.below(whole)).chain([0, 1, 512, 4_096, whole - 4_096, whole - 1]);
        for length in lengths {
            let mut cut = files.clone();
            cut.get_mut(FILES[0]).unwrap().truncate(length);
            let what = format!("{how}: {length} of {whole} bytes");
            assert!(is_noticed(&written, &cut, &what) || length >= whole / 2, "{what}: not noticed");
        }
        let mut none = files.clone();
        none.remove(FILES[0]);
        assert!(is_noticed(&written, &none, "the file is gone"));
        let mut zero = files.clone();
        zero.get_mut(FILES[0]).unwrap().truncate(0);
        assert!(is_noticed(&written, &zero, "cut to nothing"));
    }
}

#[tokio::test]
async fn the_program_says_what_is_damaged_and_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    Program::start(path).terminated().await;
    assert_eq!(upkeep(path, "verify", &[]).code, Some(0));

    // Under a page whose checksum is right.
    let database = redb::Database::open(file(path)).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let table = redb::TableDefinition::<&[u8], &[u8]>::new("records");
        transaction.open_table(table).unwrap().insert(&b"a key"[..], &b"not its checksum"[..]).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);
    let verified = upkeep(path, "verify", &[]);
    assert_eq!(verified.code, Some(1), "{verified:?}");
    assert!(verified.said.contains("table records, key 0x61206b6579: the value fails its checksum"), "{verified:?}");
    assert!(verified.said.lines().last().unwrap().starts_with("damaged: "), "{verified:?}");
    let (code, text) = run_to_end(command(path, "127.0.0.1:0"));
    assert_eq!(code, Some(1));
    assert!(text.contains("is damaged") && text.contains("verify") && text.contains("restore"), "{text}");
    assert!(matches!(Store::open(path), Err(StoreError::Damaged { .. })));

    // In the pages.
    let mut bytes = fs::read(file(path)).unwrap();
    let at = bytes.windows(16).position(|window| window == b"not its checksum").unwrap();
    bytes[at] ^= 1;
    fs::write(file(path), bytes).unwrap();
    assert!(matches!(Offline::open(path), Err(StoreError::Damaged { .. })));
    let verified = upkeep(path, "verify", &[]);
    assert_eq!(verified.code, Some(1), "{verified:?}");
    assert!(verified.error.contains("is damaged"), "{verified:?}");
    let missing = upkeep(&path.join("elsewhere"), "verify", &[]);
    assert!(missing.error.contains("there is no store at"), "{missing:?}");
}
