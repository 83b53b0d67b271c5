//! Tests over many seeds: all run, on as many threads as there are cores, and those that failed are named.

use std::{
    fmt::Debug,
    panic::{RefUnwindSafe, catch_unwind},
    sync::Mutex,
    time::Instant,
};

/// A number that an environment variable holds.
///
/// # Panics
///
/// When it holds something else.
#[allow(clippy::panic)] // how a test fails
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| match value.parse() {
        Ok(number) => number,
        Err(error) => panic!("{name} is {value:?}: {error}"),
    })
}

/// Runs `one` for the seeds from 1 to `count`, or for the one that the environment variable `SEED` names; what came of them, by
/// seed. `test` is how cargo names the test: it is said how to replay a seed that failed.
///
/// # Panics
///
/// When a seed fails or panics, after all have run.
pub fn each<T: Debug + Send>(
    test: &str,
    count: u64,
    one: impl Fn(u64) -> Result<T, String> + Sync + RefUnwindSafe,
) -> Vec<(u64, T)> {
    let seeds = match number("SEED") {
        Some(seed) => seed..=seed,
        None => 1..=count,
    };
    let (next, failed, reports) = (Mutex::new(seeds), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let Some(seed) = held(&next).next() else { break };
            let begun = begun();
            match catch_unwind(|| one(seed)).unwrap_or_else(|_| Err("a panic".to_owned())) {
                Ok(report) => {
                    println!("seed {seed} in {:.1} s: {report:?}", begun.elapsed().as_secs_f64());
                    held(&reports).push((seed, report));
                }
                Err(why) => {
                    println!(
                        "seed {seed} failed: {why}\nreplay: SEED={seed} cargo test -p pontoon-tests --test {test} -- --nocapture"
                    );
                    held(&failed).push(seed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
    let failed = held(&failed);
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
    let mut reports = core::mem::take(&mut *held(&reports));
    reports.sort_by_key(|(seed, _)| *seed);
    reports
}

fn held<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[allow(clippy::disallowed_methods)] // how long a seed takes is told to people
fn begun() -> Instant {
    Instant::now()
}
