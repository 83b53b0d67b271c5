//! The supernode's store and its backups: what is read of a damaged file is what was written, or an error.

use std::{
    cell::{Cell, OnceCell},
    fs, panic,
    path::Path,
    sync::Once,
};

use pontoon_core::store::Batch;
use pontoon_supernode::{Opened, Store, check_backup, write_backup};
use tempfile::TempDir;

use crate::pieces::edits;

const FILE: &str = "pontoon.redb";

/// What a store that is not damaged has.
struct Sound {
    directory: TempDir,
    file: Vec<u8>,
    seed: [u8; 32],
    saved: Vec<(Vec<u8>, Vec<u8>)>,
    backup: Vec<u8>,
}

thread_local! {
    static SOUND: OnceCell<Sound> = const { OnceCell::new() };
    /// Panics are expected and caught.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

fn make() -> Sound {
    let directory = directory();
    let Opened { mut store, seed, .. } = Store::open(directory.path()).expect("a new store");
    let batch = |from: u8| -> Batch { (from..from + 20).map(|at| (vec![at], Some(vec![at; 40]))).collect() };
    store.write(&[batch(0), batch(10)]).expect("a write");
    store.write(&[vec![(vec![3], None)]]).expect("a write");
    let mut backup = Vec::new();
    write_backup(&store.snapshot().expect("a snapshot"), &mut backup).expect("a backup");
    drop(store);
    let file = fs::read(directory.path().join(FILE)).expect("a file");
    let Opened { saved, .. } = Store::open(directory.path()).expect("the store");
    Sound { directory, file, seed, saved, backup }
}

/// In memory, where there is such a place: executions by the million would wear a disk out.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.expect("a directory")
}

pub(crate) fn store(input: &[u8]) {
    SOUND.with(|sound| {
        let sound = sound.get_or_init(make);
        let mut file = sound.file.clone();
        edits(&mut file, input);
        fs::write(sound.directory.path().join(FILE), &file).expect("a file");
        let opened = quietly(|| Store::open(sound.directory.path()));
        if let Ok(Opened { seed, saved, .. }) = opened {
            assert_eq!((seed, &saved), (sound.seed, &sound.saved));
        } else {
            assert!(file != sound.file, "a sound store opens");
        }
    });
}

pub(crate) fn backup(input: &[u8]) {
    let _ = check_backup(input);
    SOUND.with(|sound| {
        let sound = sound.get_or_init(make);
        let mut backup = sound.backup.clone();
        edits(&mut backup, input);
        assert_eq!(check_backup(&backup[..]).is_ok(), backup == sound.backup);
    });
}

/// redb panics over some damage, which the store makes an error of. libFuzzer ends the process at any panic that is told.
fn quietly<T>(work: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    QUIET.set(true);
    let done = panic::catch_unwind(panic::AssertUnwindSafe(work));
    QUIET.set(false);
    done.expect("a panic that the store catches")
}
