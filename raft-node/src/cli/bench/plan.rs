//! What is to be measured, checked.

use std::time::Duration;

use axum::http::uri::Authority;

use super::{Bench, Consistency, Kind, Operation, Target};

/// The connections that are opened for each endpoint, unless told otherwise.
const CONNECTIONS_PER_ENDPOINT: usize = 4;

/// A benchmark that makes sense.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) operation: Operation,
    pub(super) target: Target,
    pub(super) endpoints: Vec<Authority>,
    pub(super) clients: Vec<usize>,
    /// Where `None`, it depends on how many clients there are.
    pub(super) connections: Option<usize>,
    pub(super) http1: bool,
    pub(super) value_bytes: usize,
    pub(super) keys: u32,
    pub(super) measurement: Duration,
    pub(super) warm_up: Duration,
    pub(super) timeout: Duration,
    pub(super) stale: bool,
    pub(super) reads_percent: u8,
    pub(super) seed: u64,
    pub(super) prefill: bool,
    pub(super) back_off: bool,
}

impl Plan {
    /// The plan that the arguments ask for, or which of them do not go together.
    pub(super) fn of(bench: &Bench) -> Result<Self, String> {
        let reads_percent = match (bench.operation, bench.reads_percent) {
            (Operation::Put, None) => 0,
            (Operation::Get, None) => 100,
            (Operation::Mixed, percent) => percent.unwrap_or(50),
            (_, Some(_)) => return Err("--reads-percent goes with mixed only".to_owned()),
        };
        let stale = bench.consistency == Consistency::Stale;
        if stale && reads_percent == 0 {
            return Err("--consistency stale goes with gets only".to_owned());
        }
        if bench.http1 && bench.target == Target::Etcd {
            return Err("--http1 does not go with --target etcd, which speaks gRPC".to_owned());
        }
        let endpoints: Result<Vec<_>, _> = bench.endpoints.iter().map(|e| authority(e)).collect();
        Ok(Self {
            operation: bench.operation,
            target: bench.target,
            endpoints: endpoints?,
            clients: bench.clients.iter().map(|clients| *clients as usize).collect(),
            connections: bench.connections.map(|connections| connections as usize),
            http1: bench.http1,
            value_bytes: bench.value_size as usize,
            keys: bench.keys,
            measurement: Duration::from_secs(bench.seconds),
            warm_up: Duration::from_secs(bench.warm_up_seconds),
            timeout: Duration::from_millis(bench.timeout_ms),
            stale,
            reads_percent,
            seed: bench.seed,
            prefill: bench.prefill,
            back_off: !bench.no_back_off,
        })
    }

    /// How many connections `clients` use.
    pub(super) fn connections(&self, clients: usize) -> usize {
        let default = CONNECTIONS_PER_ENDPOINT * self.endpoints.len();
        match self.connections {
            _ if self.http1 => clients,
            connections => connections.unwrap_or(default).min(clients),
        }
    }

    /// The kinds of requests that are measured.
    pub(super) fn kinds(&self) -> &'static [Kind] {
        match self.operation {
            Operation::Put => &[Kind::Put],
            Operation::Get => &[Kind::Get],
            Operation::Mixed => &[Kind::Put, Kind::Get],
        }
    }
}

fn authority(endpoint: &str) -> Result<Authority, String> {
    let authority: Option<Authority> = endpoint.parse().ok();
    let whole =
        |a: &Authority| !a.host().is_empty() && a.port_u16().is_some() && !a.as_str().contains('@');
    authority
        .filter(whole)
        .ok_or_else(|| format!("--endpoints: {endpoint:?} is no address; it must be host:port"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        bench: Bench,
    }

    fn plan(line: &str) -> Result<Plan, String> {
        let words = std::iter::once("bench").chain(line.split(' '));
        let line = Line::try_parse_from(words).map_err(|why| why.to_string())?;
        Plan::of(&line.bench)
    }

    #[test]
    fn without_options_it_is_what_etcd_is_measured_with() {
        let plan = plan("put").unwrap();
        assert_eq!(plan.clients, [1, 64, 256, 1000]);
        assert_eq!((plan.value_bytes, plan.keys, plan.reads_percent), (256, 100_000, 0));
        assert_eq!(plan.kinds(), [Kind::Put]);
        assert!(plan.back_off && !plan.prefill && !plan.stale);
    }

    #[test]
    fn there_are_four_connections_for_an_endpoint_and_no_more_than_clients() {
        let three = plan("put --endpoints a:1,b:1,c:1").unwrap();
        assert_eq!([1, 5, 12, 1000].map(|n| three.connections(n)), [1, 5, 12, 12]);
        let told = plan("put --connections 40").unwrap();
        assert_eq!([1, 1000].map(|n| told.connections(n)), [1, 40]);
        let http1 = plan("get --http1").unwrap();
        assert_eq!(http1.connections(300), 300);
    }

    #[test]
    fn mixed_is_half_and_half_unless_told() {
        assert_eq!(plan("mixed").unwrap().reads_percent, 50);
        let mostly_reads = plan("mixed --reads-percent 90").unwrap();
        assert_eq!(mostly_reads.reads_percent, 90);
        assert_eq!(mostly_reads.kinds(), [Kind::Put, Kind::Get]);
        assert_eq!(plan("get").unwrap().reads_percent, 100);
    }

    #[test]
    fn arguments_that_make_no_sense_are_named() {
        for (line, named) in [
            ("put --reads-percent 5", "--reads-percent"),
            ("put --consistency stale", "--consistency"),
            ("put --http1 --target etcd", "--http1"),
            ("put --http1 --connections 4", "--connections"),
            ("put --clients 1,0", "--clients"),
            ("put --clients many", "--clients"),
            ("put --seconds 0", "--seconds"),
            ("put --json --csv", "--csv"),
            ("put --endpoints localhost", "\"localhost\""),
            ("put --endpoints a:1,http://b:2", "\"http://b:2\""),
            ("put --target redis", "--target"),
            ("delete", "'delete'"),
        ] {
            let why = plan(line).unwrap_err();
            assert!(why.contains(named), "{line}: {why}");
        }
    }
}
