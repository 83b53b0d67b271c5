//! Random queries over random tables: Pontoon and SQLite agree ([`pontoon_tests::fuzz`]).
//!
//! `FUZZ_STATEMENTS` says how many statements, `FUZZ_SEED` the first seed. A failure is printed with its seed, made
//! small; once mended it is kept in `found.sql`.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use pontoon_tests::fuzz::{self, Pair, STATEMENTS_OF_A_SEED, Tally};

/// Statements in `make test`.
const STATEMENTS: u64 = 6_000;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn random_statements_are_answered_as_sqlite_does() {
    let (first, count) = (number("FUZZ_SEED", 1), number("FUZZ_STATEMENTS", STATEMENTS));
    let (next, end) = (AtomicU64::new(first), first + count.div_ceil(STATEMENTS_OF_A_SEED));
    let came = Mutex::new((Tally::default(), Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            let result = fuzz::run(seed);
            let mut came = came.lock().unwrap();
            match result {
                Ok(tally) => {
                    came.0 = came.0.and(tally);
                    if seed % 500 == 0 {
                        println!("seed {seed}: {:?}", came.0);
                    }
                }
                Err(failure) => {
                    println!("{failure}\n");
                    came.1.push(seed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    let (tally, failed) = came.into_inner().unwrap();
    println!("{tally:?}");
    assert!(failed.is_empty(), "{} seeds fail: {failed:?}", failed.len());
    // The comparison is worth something only if queries are answered, and find something.
    assert!(tally.refused + tally.overflowed < tally.agreed / 20, "{tally:?}");
    assert!(tally.with_rows > tally.agreed / 3, "{tally:?}");
    assert!(tally.by_index.iter().all(|count| *count > tally.agreed / 50), "{tally:?}");
}

#[test]
fn what_was_found_stays_mended() {
    for (case, owners) in include_str!("found.sql").split("\n\n").zip([1, 3].into_iter().cycle()) {
        let plain = case.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
        let mut pair = Pair::new(owners, 7).unwrap();
        for sql in plain.split(';').map(str::trim).filter(|sql| !sql.is_empty()) {
            assert_eq!(pair.compare(sql, false), None, "{case}");
        }
    }
}
