//! Every target over its seeds, and over mutations of them that are the same each time. libFuzzer looks further:
//! `make fuzz`; without a C++ compiler so does `FUZZ_MUTATIONS=1000000`. What it finds becomes a seed, `found-*`, and is run
//! here from then on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // how a test fails

use std::{
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

use pontoon_fuzz::{TARGETS, run};
use pontoon_tests::seeds::number;

/// Mutations of all the seeds of a target.
const MUTATIONS: u64 = 10_000;
/// Of a target of which one execution takes milliseconds.
const FEW: u64 = 500;
const BYTES_MAX: usize = 64 << 10;

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../seeds").join(target)
}

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(folder(target)).unwrap().map(|entry| entry.unwrap().path());
    let mut seeds: Vec<_> = files.map(|path| (path.display().to_string(), fs::read(&path).unwrap())).collect();
    seeds.sort();
    seeds
}

/// The words of `fuzz/sql.dict`.
fn words() -> Vec<Vec<u8>> {
    let text = fs::read_to_string(folder("../sql.dict")).unwrap();
    let quoted = text.lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
    quoted.map(|word| word.as_bytes().to_vec()).collect()
}

/// Steele et al., *Fast splittable pseudorandom number generators*, OOPSLA 2014.
struct Draws(u64);

impl Draws {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % end.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Some bytes flipped, removed, doubled, put in or taken from another seed.
fn mutated(draws: &mut Draws, seeds: &[(String, Vec<u8>)], words: &[Vec<u8>]) -> Vec<u8> {
    let mut input = draws.pick(seeds).1.clone();
    for _ in 0..=draws.below(4) {
        let (at, scale) = (draws.below(input.len() + 1), 3 * (1 + draws.below(3)));
        let end = (at + draws.below(1 << scale)).min(input.len());
        match draws.below(7) {
            0 => input[at..end].iter_mut().for_each(|byte| *byte ^= 1 << draws.below(8)),
            1 => input[at..end].fill(*draws.pick(&[0, 1, 0x7f, 0x80, 0xff, b'\'', b'('])),
            2 => drop(input.drain(at..end)),
            3 => input.truncate(at),
            4 => {
                let piece = input[at..end].to_vec();
                drop(input.splice(at..at, piece));
            }
            5 => drop(input.splice(at..end, draws.pick(words).iter().copied())),
            _ => {
                let other = &draws.pick(seeds).1;
                let from = draws.below(other.len() + 1);
                drop(input.splice(at.., other[from..].iter().copied()));
            }
        }
    }
    input.truncate(BYTES_MAX);
    input
}

fn check(target: &str, mutations: u64) {
    let (seeds, words, mut draws) = (seeds(target), words(), Draws(1));
    assert!(!seeds.is_empty(), "{target} has no seeds");
    let one = |name: &str, input: &[u8]| {
        if catch_unwind(|| run(target, input)).is_err() {
            panic!("{target} fails on {name}: {}", input.escape_ascii());
        }
    };
    seeds.iter().for_each(|(name, input)| one(name, input));
    let mutations = number("FUZZ_MUTATIONS").unwrap_or(mutations);
    for number in 0..mutations {
        one(&format!("mutation {number}"), &mutated(&mut draws, &seeds, &words));
    }
}

macro_rules! targets {
    ($($name:ident: $mutations:expr),+) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name), $mutations);
            }
        )+

        #[test]
        fn none_is_left_out() {
            assert_eq!([$(stringify!($name)),+], TARGETS.map(|(name, _)| name));
            for (name, _) in TARGETS {
                let target = folder("../fuzz_targets").join(name).with_extension("rs");
                assert!(target.is_file(), "{}", target.display());
            }
        }
    };
}
targets!(
    wire: MUTATIONS,
    node: FEW,
    ast: MUTATIONS,
    plan: MUTATIONS,
    catalog: FEW,
    row: MUTATIONS,
    record: MUTATIONS,
    tree: MUTATIONS,
    store: FEW,
    backup: MUTATIONS,
    sql: MUTATIONS,
    eval: MUTATIONS,
    signal: MUTATIONS,
    http: FEW,
    import: FEW
);
