//! Counting requests of clients, by route, method and status.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::http::{Method, Request, StatusCode};

use super::histogram::{Histogram, Values};

/// The routes that are told apart. A path stands under the first that it equals, or
/// whose part before `{` it begins with; what is none of them stands under the last.
const ROUTES: [&str; 12] = [
    "/v1/data/{key}",
    "/v1/data",
    "/v1/sessions/{session}",
    "/v1/sessions",
    "/health",
    "/status",
    "/status/cluster",
    "/status/history",
    "/metrics",
    "/",
    "/favicon.ico",
    OTHER,
];

const METHODS: [&str; 6] = ["GET", "POST", "DELETE", "PUT", "HEAD", OTHER];

/// The statuses that are told apart; 0 stands for all others.
const STATUSES: [u16; 13] = [200, 400, 404, 405, 408, 413, 415, 429, 431, 500, 503, 504, 0];

const OTHER: &str = "other";

/// The requests of clients. A request costs no lock and no allocation.
#[derive(Debug)]
pub struct HttpRequests {
    counts: Vec<AtomicU64>,
    durations: [Histogram; ROUTES.len()],
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    route: usize,
    method: usize,
    at: Instant,
}

impl Default for HttpRequests {
    fn default() -> Self {
        let all = ROUTES.len() * METHODS.len() * STATUSES.len();
        Self {
            counts: (0..all).map(|_| AtomicU64::new(0)).collect(),
            durations: std::array::from_fn(|_| Histogram::durations()),
        }
    }
}

impl HttpRequests {
    /// A request has come.
    #[must_use]
    pub fn begin<B>(&self, request: &Request<B>) -> Begun {
        let (route, method) = (route(request.uri().path()), method(request.method()));
        Begun { route, method, at: Instant::now() }
    }

    /// It was answered, or broke off.
    pub fn end<E>(&self, request: Begun, status: Result<StatusCode, E>) {
        let status = status.map_or(0, |status| status.as_u16());
        let last = STATUSES.len() - 1;
        let status = STATUSES.iter().position(|known| *known == status).unwrap_or(last);
        let place = (request.route * METHODS.len() + request.method) * STATUSES.len() + status;
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        self.durations[request.route].add_duration(request.at.elapsed(), 1);
    }

    /// How many were answered in all.
    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// The counts that are not zero, with route, method and status.
    pub(crate) fn counts(&self) -> impl Iterator<Item = ([String; 3], u64)> {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).enumerate();
        counts.filter(|(_, count)| *count > 0).map(|(place, count)| {
            let (rest, status) = (place / STATUSES.len(), STATUSES[place % STATUSES.len()]);
            let (route, method) = (ROUTES[rest / METHODS.len()], METHODS[rest % METHODS.len()]);
            let status = if status == 0 { OTHER.to_owned() } else { status.to_string() };
            ([route.to_owned(), method.to_owned(), status], count)
        })
    }

    /// How long requests took, by route; routes that nobody asked for are left out.
    pub(crate) fn durations(&self) -> impl Iterator<Item = (&'static str, Values)> {
        let all = ROUTES.iter().zip(&self.durations).map(|(route, took)| (*route, took.values()));
        all.filter(|(_, values)| values.count() > 0)
    }
}

fn route(path: &str) -> usize {
    let matches = |route: &&str| match route.split_once('{') {
        Some((before, _)) => path.starts_with(before),
        None => path == *route,
    };
    ROUTES.iter().position(matches).unwrap_or(ROUTES.len() - 1)
}

fn method(method: &Method) -> usize {
    METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_stands_under_its_route_its_method_and_its_status() {
        let requests = HttpRequests::default();
        for (method, path, status) in [
            ("GET", "/v1/data/a/b", 200),
            ("GET", "/v1/data/c", 200),
            ("POST", "/v1/data", 503),
            ("BREW", "/tea", 418),
        ] {
            let request = Request::builder().method(method).uri(path).body(()).unwrap();
            let begun = requests.begin(&request);
            requests.end(begun, Ok::<_, ()>(StatusCode::from_u16(status).unwrap()));
        }
        let counts: Vec<_> = requests.counts().collect();
        let of =
            |route: &str, method: &str, status: &str| [route, method, status].map(str::to_owned);
        assert_eq!(
            counts,
            [
                (of("/v1/data/{key}", "GET", "200"), 2),
                (of("/v1/data", "POST", "503"), 1),
                (of("other", "other", "other"), 1),
            ]
        );
        let routes: Vec<_> = requests.durations().map(|(r, v)| (r, v.count())).collect();
        assert_eq!(routes, [("/v1/data/{key}", 2), ("/v1/data", 1), ("other", 1)]);
    }
}
