use std::{collections::BTreeMap, path::PathBuf};

use redb::{ReadableTable as _, TableDefinition};

use super::*;

fn put(key: &[u8], value: &[u8]) -> Batch {
    vec![(key.to_vec(), Some(value.to_vec()))]
}

fn file_of(directory: &Path) -> PathBuf {
    directory.join(file::FILE)
}

/// A closed store with one record.
fn with_one_record(value: &[u8]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = Store::open(directory.path()).unwrap();
    opened.store.write(&[put(b"key", value)]).unwrap();
    directory
}

#[test]
fn batches_and_the_identity_are_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let Opened { mut store, seed, saved } = Store::open(directory.path()).unwrap();
    assert!(saved.is_empty());
    store.write(&[put(b"a", b"1"), put(b"b", b"2"), put(b"a", b"3"), vec![(b"b".to_vec(), None)]]).unwrap();
    store.write(&[put(b"c", b"")]).unwrap();
    drop(store);

    let again = Store::open(directory.path()).unwrap();
    assert_eq!(again.seed, seed);
    assert_eq!(again.saved, [(b"a".to_vec(), b"3".to_vec()), (b"c".to_vec(), b"".to_vec())]);
}

#[test]
fn two_stores_have_two_identities() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_ne!(Store::open(one.path()).unwrap().seed, Store::open(two.path()).unwrap().seed);
}

#[test]
fn one_opener_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let first = Store::open(directory.path()).unwrap();
    assert!(matches!(Store::open(directory.path()), Err(StoreError::InUse(_))));
    assert!(matches!(Offline::open(directory.path()), Err(StoreError::InUse(_))));
    drop(first);
    Store::open(directory.path()).unwrap();
}

#[test]
fn a_witness_that_is_not_written_is_a_lock_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = Store::open(directory.path()).unwrap().store;
    first.witness.stop_writing();
    first.write(&[put(b"a", b"1")]).unwrap();
    assert!(matches!(restore(directory.path(), &b""[..], true), Err(BackupError::Store(StoreError::InUse(_)))));
    assert!(matches!(Store::open(directory.path()), Err(StoreError::InUse(_))));
    drop(first);
    assert_eq!(Store::open(directory.path()).unwrap().saved.len(), 1, "the number is behind, which is no fault");
}

#[cfg(unix)]
#[test]
fn a_backup_follows_no_link() {
    let directory = tempfile::tempdir().unwrap();
    let [target, file] = ["target", "backup"].map(|name| directory.path().join(name));
    fs::write(&target, b"somebody's").unwrap();
    let partial = directory.path().join(format!("backup.partial-{}", std::process::id()));
    std::os::unix::fs::symlink(&target, &partial).unwrap();
    save(&file, |out| {
        io::Write::write_all(out, b"a backup").map_err(BackupError::Io)?;
        Ok(Backup::default())
    })
    .unwrap();
    assert_eq!((fs::read(&target).unwrap(), fs::read(&file).unwrap()), (b"somebody's".to_vec(), b"a backup".to_vec()));
    assert!(!partial.exists());
}

#[test]
fn a_file_of_something_else_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(file_of(directory.path()), vec![7; 10_000]).unwrap();
    assert!(matches!(Store::open(directory.path()), Err(StoreError::Damaged { .. })));
}

/// A flipped value under a page whose checksum is right: what redb makes of one that it read and wrote again.
#[test]
fn a_value_that_redb_vouches_for_is_checked_all_the_same() {
    type Damage = fn(&redb::Database);
    let cases: [(&str, Damage); 4] = [
        ("key 0x6b6579: the value fails", |database| {
            set(database, |records| {
                let mut sealed = records.get(&b"key"[..]).unwrap().unwrap().value().to_vec();
                *sealed.last_mut().unwrap() ^= 1;
                records.insert(&b"key"[..], &sealed[..]).unwrap();
            });
        }),
        ("key 0x6f74686572: the value fails", |database| {
            set(database, |records| {
                let sealed = records.remove(&b"key"[..]).unwrap().unwrap().value().to_vec();
                records.insert(&b"other"[..], &sealed[..]).unwrap();
            });
        }),
        ("0 records where 1 were written", |database| {
            set(database, |records| drop(records.remove(&b"key"[..]).unwrap()));
        }),
        ("the 1 records do not add up", |database| {
            let older = seal::seal("records", b"key", b"older");
            set(database, |records| drop(records.insert(&b"key"[..], &older[..]).unwrap()));
        }),
    ];
    for (said, damage) in cases {
        let directory = with_one_record(b"value");
        damage(&redb::Database::open(file_of(directory.path())).unwrap());
        let error = Store::open(directory.path()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains(said), "{error}");
        let mut faults = Vec::new();
        let offline = Offline::open(directory.path()).unwrap();
        let verified = offline.verify(|fault| faults.push(fault.to_string())).unwrap();
        assert_eq!(verified.faults, 1);
        assert!(faults[0].contains(said), "{faults:?}");
        let backup = write_backup(&offline.snapshot().unwrap(), io::sink());
        assert!(matches!(backup, Err(BackupError::Fault(_))), "{backup:?}");
    }
}

fn set(database: &redb::Database, change: impl FnOnce(&mut redb::Table<'_, &[u8], &[u8]>)) {
    let transaction = database.begin_write().unwrap();
    change(&mut transaction.open_table(TableDefinition::new("records")).unwrap());
    transaction.commit().unwrap();
}

#[test]
fn a_store_that_went_back_in_time_is_refused() {
    let directory = with_one_record(b"1");
    let old = fs::read(file_of(directory.path())).unwrap();
    let mut opened = Store::open(directory.path()).unwrap();
    opened.store.write(&[put(b"key", b"2")]).unwrap();
    drop(opened);
    for (file, said) in [(&old[..], "2 were acknowledged"), (&[], "2 transactions were acknowledged")] {
        fs::write(file_of(directory.path()), file).unwrap();
        let error = Store::open(directory.path()).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
}

/// As after an fsync that failed: the commit is in the file, and the store was told that it is not.
#[test]
fn a_refused_transaction_that_is_there_all_the_same_is_taken_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path()).unwrap().store;
    store.write(&[put(b"a", b"1"), put(b"b", b"1")]).unwrap();
    let refused = [put(b"a", b"2"), put(b"a", b"3"), put(b"c", b"2"), vec![(b"b".to_vec(), None)]];
    let database = store.database.take().unwrap();
    format::write(&database, &refused, store.total, &mut store.undo).unwrap();
    drop(database);
    store.write(&[put(b"d", b"4")]).unwrap();
    drop(store);
    let pair = |key: &[u8], value: &[u8]| (key.to_vec(), value.to_vec());
    let opened = Store::open(directory.path()).unwrap();
    assert_eq!(opened.saved, [pair(b"a", b"1"), pair(b"b", b"1"), pair(b"d", b"4")]);
}

#[test]
fn a_store_of_format_1_is_brought_up() {
    const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
    const PAIRS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("pairs");
    let seal_1 = |key: &[u8], value: &[u8]| {
        let id = pontoon_core::Id::hash(&[&(key.len() as u64).to_be_bytes()[..], key, value].concat());
        [&id.0[..8], value].concat()
    };
    for damaged in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let database = redb::Database::create(file_of(directory.path())).unwrap();
        let transaction = database.begin_write().unwrap();
        {
            let mut meta = transaction.open_table(META).unwrap();
            meta.insert("format", &[1][..]).unwrap();
            meta.insert("seed", &seal_1(b"seed", &[9; 32])[..]).unwrap();
            let mut pairs = transaction.open_table(PAIRS).unwrap();
            pairs.insert(&b"a"[..], &seal_1(b"a", b"1")[..]).unwrap();
            let key = if damaged { &b"a"[..] } else { &b"b"[..] };
            pairs.insert(&b"b"[..], &seal_1(key, b"2")[..]).unwrap();
        }
        transaction.commit().unwrap();
        drop(database);
        if damaged {
            assert!(matches!(Store::open(directory.path()), Err(StoreError::Damaged { .. })));
            continue;
        }
        for _ in 0..2 {
            let mut opened = Store::open(directory.path()).unwrap();
            assert_eq!(opened.seed, [9; 32]);
            assert_eq!(opened.saved, [(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"2".to_vec())]);
            opened.store.write(&[put(b"a", b"1")]).unwrap();
        }
    }
}

#[test]
fn a_backup_is_one_moment_and_restores_elsewhere() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Opened { mut store, seed, .. } = Store::open(directory.path()).unwrap();
    let batch = |from: u32, value: &[u8]| -> Batch {
        (from..from + 500).map(|key| (key.to_be_bytes().to_vec(), Some(value.to_vec()))).collect()
    };
    store.write(&[batch(0, b"old")]).unwrap();
    let snapshot = store.snapshot().unwrap();
    store.write(&[batch(250, b"new")]).unwrap();
    let mut file = Vec::new();
    let backup = write_backup(&snapshot, &mut file).unwrap();
    assert_eq!((backup.records, backup.bytes), (500, file.len() as u64));
    assert_eq!(check_backup(&file[..]).unwrap(), backup);

    assert_eq!(restore(elsewhere.path(), &file[..], false).unwrap(), backup);
    let restored = Store::open(elsewhere.path()).unwrap();
    assert_eq!(restored.seed, seed);
    let expected: BTreeMap<_, _> = batch(0, b"old").into_iter().map(|(key, value)| (key, value.unwrap())).collect();
    assert_eq!(restored.saved, expected.into_iter().collect::<Vec<_>>());

    // What is there is replaced on request only, and not while it is used.
    assert!(matches!(restore(elsewhere.path(), &file[..], true), Err(BackupError::Store(StoreError::InUse(_)))));
    drop(restored);
    assert!(matches!(restore(elsewhere.path(), &file[..], false), Err(BackupError::Exists(_))));
    restore(elsewhere.path(), &file[..], true).unwrap();
}

#[test]
fn upkeep_makes_no_new_store() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(file_of(directory.path()), b"").unwrap();
    assert!(matches!(Offline::open(directory.path()), Err(StoreError::New(_))));
    assert_eq!(fs::read(file_of(directory.path())).unwrap(), b"");
    drop(redb::Database::create(file_of(directory.path())).unwrap());
    assert!(matches!(Offline::open(directory.path()), Err(StoreError::New(_))));
}

/// As after a crash, or on a disk that was full at once.
#[test]
fn a_store_that_was_never_made_is_no_damage() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("pontoon.making"), vec![0; 1 << 20]).unwrap();
    fs::write(file_of(directory.path()), b"").unwrap();
    assert!(Store::open(directory.path()).unwrap().saved.is_empty());
    assert!(!directory.path().join("pontoon.making").exists());
}

#[test]
fn of_a_backup_that_is_not_whole_nothing_is_restored() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = Store::open(directory.path()).unwrap();
    opened.store.write(&[put(b"a", &[1; 40]), put(b"b", b"")]).unwrap();
    let mut file = Vec::new();
    write_backup(&opened.store.snapshot().unwrap(), &mut file).unwrap();

    let mut wrong: Vec<Vec<u8>> = (0..file.len()).map(|bytes| file[..bytes].to_vec()).collect();
    wrong.extend((0..file.len() * 8).map(|bit| {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    }));
    wrong.push([&file[..], b"!"].concat());
    for wrong in &wrong {
        assert!(check_backup(&wrong[..]).is_err());
    }
    let elsewhere = tempfile::tempdir().unwrap();
    for wrong in [&wrong[0], &wrong[file.len() - 1], &wrong[wrong.len() / 2], &wrong[wrong.len() - 1]] {
        restore(elsewhere.path(), &wrong[..], false).unwrap_err();
        let left: Vec<_> = fs::read_dir(elsewhere.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["pontoon.witness"]);
    }
}

#[test]
fn compaction_gives_room_back_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = Store::open(directory.path()).unwrap();
    for from in (0..600_u32).step_by(100) {
        let batches: Vec<Batch> =
            (from..from + 100).map(|key| put(&key.to_be_bytes(), &[key as u8; 100_000])).collect();
        opened.store.write(&batches).unwrap();
    }
    let gone: Batch = (0..590_u32).map(|key| (key.to_be_bytes().to_vec(), None)).collect();
    opened.store.write(&[gone]).unwrap();
    drop(opened);
    let size = || fs::metadata(file_of(directory.path())).unwrap().len();
    let before = size();
    assert_eq!(Store::open(directory.path()).unwrap().saved.len(), 10);
    assert!(size() < before / 4, "{before} bytes before, {} after", size());
    let opened = Store::open(directory.path()).unwrap();
    assert_eq!(opened.saved.last().unwrap().1, [599_u32 as u8; 100_000]);
}

#[cfg(unix)]
#[test]
fn others_cannot_read_the_secret() {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("data");
    let _opened = Store::open(&directory).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&directory), mode(&file_of(&directory))), (0o700, 0o600));
}

/// Figures for docs/operations.md: `cargo test -p pontoon-supernode --lib what_it_costs -- --ignored --nocapture`.
#[test]
#[ignore = "measures"]
fn what_it_costs() {
    use std::time::Instant;
    const RECORDS: u32 = 200_000;
    let directory = tempfile::tempdir().unwrap();
    let value = vec![7_u8; 250];
    let start = Instant::now();
    let sum =
        (0..RECORDS).fold(0_u64, |sum, key| sum + u64::from(seal::seal("records", &key.to_be_bytes(), &value)[0]));
    println!("a checksum of 250 bytes: {:.0} ns ({sum})", start.elapsed().as_nanos() as f64 / f64::from(RECORDS));
    let mut store = Store::open(directory.path()).unwrap().store;
    let start = Instant::now();
    for from in (0..RECORDS).step_by(1_000) {
        let batches: Vec<Batch> = (from..from + 1_000).map(|key| put(&key.to_be_bytes(), &value)).collect();
        store.write(&batches).unwrap();
    }
    println!("a write, 1,000 in a transaction: {:.1} us", start.elapsed().as_micros() as f64 / f64::from(RECORDS));
    let start = Instant::now();
    for key in 0..500_u32 {
        store.write(&[put(&key.to_be_bytes(), &value)]).unwrap();
    }
    println!("a write, alone in its transaction: {:.0} us", start.elapsed().as_micros() as f64 / 500.0);
    let start = Instant::now();
    let mut file = Vec::new();
    let backup = write_backup(&store.snapshot().unwrap(), &mut file).unwrap();
    println!("a backup: {:?} for {} bytes", start.elapsed(), backup.bytes);
    drop(store);
    let bytes = fs::metadata(file_of(directory.path())).unwrap().len();
    let start = Instant::now();
    file::open(&file_of(directory.path()), file::Missing::Refuse).unwrap();
    println!("redb's pages verified: {:?} of {bytes} bytes", start.elapsed());
    let start = Instant::now();
    let opened = Store::open(directory.path()).unwrap();
    println!("opened: {:?} for {} records", start.elapsed(), opened.saved.len());
    let mut store = opened.store;
    let gone: Vec<Batch> =
        (0..RECORDS).filter(|key| key % 10 > 0).map(|key| vec![(key.to_be_bytes().to_vec(), None)]).collect();
    store.write(&gone).unwrap();
    drop(store);
    let before = fs::metadata(file_of(directory.path())).unwrap().len();
    let offline = Offline::open(directory.path()).unwrap();
    let start = Instant::now();
    println!("compacted: {:?} in {:?}, {before} bytes at rest before", offline.compact().unwrap(), start.elapsed());
    let elsewhere = tempfile::tempdir().unwrap();
    let start = Instant::now();
    restore(elsewhere.path(), &file[..], false).unwrap();
    println!("restored: {:?}", start.elapsed());
}
