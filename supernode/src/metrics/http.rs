//! HTTP requests: how many, by route and status, and how long they took until their answer began.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::Count;

/// Where a request went: one of the paths that this program answers, or `other`, files of the page among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Route(u8);

const ROUTES: [&str; 11] = [
    "/pontoon",
    "/healthz",
    "/readyz",
    "/v1/inspect",
    "/v1/kv/{namespace}/{key}",
    "/v1/sql",
    "/v1/live",
    "/v1/openapi.json",
    "/v1/ring",
    "/v1/peers",
    "other",
];

impl Route {
    /// By the path as the router has it.
    pub(crate) fn of(matched: Option<&str>) -> Route {
        let at = matched.and_then(|path| ROUTES.iter().position(|route| *route == path));
        Route(at.unwrap_or(ROUTES.len() - 1) as u8)
    }

    pub(crate) fn name(self) -> &'static str {
        ROUTES.get(usize::from(self.0)).copied().unwrap_or("other")
    }
}

/// Bounds of the histogram, in milliseconds.
const BOUNDS_MS: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000];

#[derive(Debug, Default)]
struct Took {
    /// Those within each bound that are within no lesser one.
    within: [u64; BOUNDS_MS.len()],
    count: u64,
    sum: Duration,
}

/// A histogram as it is shown: bounds in seconds with how many took no longer, the sum in seconds, and how many in all.
pub(crate) struct Histogram {
    pub(crate) route: &'static str,
    pub(crate) within: Vec<(f64, u64)>,
    pub(crate) sum_s: f64,
    pub(crate) count: u64,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    begun: Count,
    ended: Count,
    by_status: Mutex<BTreeMap<(Route, u16), u64>>,
    took: Mutex<BTreeMap<Route, Took>>,
}

/// A request that has no answer yet.
pub(crate) struct InFlight<'a>(&'a Requests);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.ended.add(1);
    }
}

impl Requests {
    pub(crate) fn begin(&self) -> InFlight<'_> {
        self.begun.add(1);
        InFlight(self)
    }

    pub(crate) fn answered(&self, route: Route, status: u16, took: Duration) {
        let mut statuses = self.by_status.lock().unwrap_or_else(PoisonError::into_inner);
        *statuses.entry((route, status)).or_default() += 1;
        drop(statuses);
        let mut routes = self.took.lock().unwrap_or_else(PoisonError::into_inner);
        let of = routes.entry(route).or_default();
        let within = BOUNDS_MS.iter().position(|bound| took <= Duration::from_millis(*bound));
        if let Some(count) = within.and_then(|at| of.within.get_mut(at)) {
            *count += 1;
        }
        of.count += 1;
        of.sum += took;
    }

    /// Requests that have no answer yet.
    pub(crate) fn in_flight(&self) -> u64 {
        let ended = self.ended.get();
        self.begun.get().saturating_sub(ended)
    }

    /// How many, by route and status.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u16, u64)> {
        let statuses = self.by_status.lock().unwrap_or_else(PoisonError::into_inner);
        statuses.iter().map(|((route, status), count)| (route.name(), *status, *count)).collect()
    }

    /// How long they took, by route.
    pub(crate) fn histograms(&self) -> Vec<Histogram> {
        let routes = self.took.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = routes.iter().map(|(route, took)| {
            let mut sum = 0;
            let within = BOUNDS_MS.iter().zip(took.within).map(|(bound, count)| {
                sum += count;
                (*bound as f64 / 1_000.0, sum)
            });
            let within = within.collect();
            Histogram { route: route.name(), within, sum_s: took.sum.as_secs_f64(), count: took.count }
        });
        shown.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_how_long() {
        let requests = Requests::default();
        let route = Route::of(Some("/v1/sql"));
        for took_ms in [1, 3, 40, 60_000] {
            let _turn = requests.begin();
            assert_eq!(requests.in_flight(), 1);
            requests.answered(route, 200, Duration::from_millis(took_ms));
        }
        assert_eq!(requests.in_flight(), 0);
        assert_eq!(requests.counts(), [("/v1/sql", 200, 4)]);
        let [of] = &requests.histograms()[..] else { panic!() };
        assert_eq!((of.within[0], of.within[2], of.within[11]), ((0.001, 1), (0.005, 2), (10.0, 3)));
        assert_eq!((of.count, of.sum_s), (4, 60.044));
    }

    #[test]
    fn what_a_client_sends_names_no_route() {
        for path in [None, Some("/v1/secrets"), Some("")] {
            assert_eq!(Route::of(path).name(), "other");
        }
    }
}
