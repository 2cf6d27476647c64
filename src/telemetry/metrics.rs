//! The hub's metrics, in `OpenMetrics` text. Names and labels are an interface: dashboards and alerts rely on them.
//!
//! No label is ever taken from data or from a caller: a label's values are the methods, codes and outcomes that the
//! hub itself knows, so their number is bounded and none of them is personal.

use std::{collections::BTreeMap, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// The content type of [`Metrics::render`].
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The label of a method that the hub does not have.
const OTHER: &str = "other";

/// The hub's metrics. One per process or test; share it by `Arc`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    methods: BTreeMap<String, Method>,
    rpc: Family<RpcLabels, Counter>,
    rpc_seconds: Family<Method, Histogram, fn() -> Histogram>,
    policy_faults: Family<FaultLabels, Counter>,
    queries: Family<QueryLabels, Counter>,
    query_seconds: Histogram,
    audit_entries: Counter,
    audit_commit_seconds: Histogram,
    audit_queue: Gauge,
    connections: Gauge,
    handshake_failures: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    service: String,
    method: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcLabels {
    service: String,
    method: String,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueryLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FaultLabels {
    fault: &'static str,
}

impl Metrics {
    /// Metrics of a server with these methods, each as its gRPC path (`/package.Service/Method`).
    pub fn new<P: AsRef<str>>(paths: impl IntoIterator<Item = P>) -> Self {
        let metrics = Self {
            registry: Registry::with_prefix("odh"),
            methods: paths.into_iter().filter_map(|path| method(path.as_ref())).collect(),
            rpc: Family::default(),
            rpc_seconds: Family::new_with_constructor(call_seconds as fn() -> Histogram),
            policy_faults: Family::default(),
            queries: Family::default(),
            query_seconds: call_seconds(),
            audit_entries: Counter::default(),
            // 0.1 ms to 6.5 s: one fsync on a good disk up to beyond the bound of P7.
            audit_commit_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 17)),
            audit_queue: Gauge::default(),
            connections: Gauge::default(),
            handshake_failures: Counter::default(),
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let r = &mut self.registry;
        r.register("rpc", "Calls answered, by gRPC status code", self.rpc.clone());
        r.register_with_unit("rpc", "Time to answer a call", Unit::Seconds, self.rpc_seconds.clone());
        let help = "Decisions denied, or memberships not loaded, for a fault of the hub";
        r.register("policy_faults", help, self.policy_faults.clone());
        r.register("queries", "Queries ended, by outcome", self.queries.clone());
        r.register_with_unit(
            "query",
            "Time from admission to the last byte",
            Unit::Seconds,
            self.query_seconds.clone(),
        );
        r.register("audit_entries", "Entries appended to the log", self.audit_entries.clone());
        let help = "Time to commit one group of audit entries";
        r.register_with_unit("audit_commit", help, Unit::Seconds, self.audit_commit_seconds.clone());
        r.register("audit_queue", "Writes that wait for the writer", self.audit_queue.clone());
        r.register("connections", "Open connections", self.connections.clone());
        r.register("handshake_failures", "TLS handshakes that failed", self.handshake_failures.clone());
        self
    }

    /// A call to `path` was answered with `code` (the name of a gRPC status code) after `took`.
    pub fn rpc(&self, path: &str, code: &'static str, took: Duration) {
        let other = || Method { service: OTHER.to_owned(), method: OTHER.to_owned() };
        let labels = self.methods.get(path).cloned().unwrap_or_else(other);
        self.rpc_seconds.get_or_create(&labels).observe(took.as_secs_f64());
        let Method { service, method } = labels;
        self.rpc.get_or_create(&RpcLabels { service, method, code }).inc();
    }

    /// A decision was denied for `fault`, the name of a fault of the policy engines.
    pub fn policy_fault(&self, fault: &'static str) {
        self.policy_faults.get_or_create(&FaultLabels { fault }).inc();
    }

    /// A query ended with `outcome` (`ok`, or the name of the reason it was refused or failed for) after `took`.
    pub fn query(&self, outcome: &'static str, took: Duration) {
        self.queries.get_or_create(&QueryLabels { outcome }).inc();
        self.query_seconds.observe(took.as_secs_f64());
    }

    /// A group of `entries` audit entries was committed in `took`.
    pub fn audit_committed(&self, entries: u64, took: Duration) {
        self.audit_entries.inc_by(entries);
        self.audit_commit_seconds.observe(took.as_secs_f64());
    }

    /// So many writes wait for the writer now.
    pub fn audit_queue(&self, waiting: usize) {
        self.audit_queue.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// A connection was opened; it counts until the returned value is dropped.
    pub fn connection(&self) -> OpenConnection {
        self.connections.inc();
        OpenConnection(self.connections.clone())
    }

    /// A TLS handshake failed or took too long.
    pub fn handshake_failed(&self) {
        self.handshake_failures.inc();
    }

    /// Everything as `OpenMetrics` text, for content type [`OPENMETRICS`].
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// One open connection in the gauge.
#[derive(Debug)]
pub struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// 1 ms to 65 s.
fn call_seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 17))
}

fn method(path: &str) -> Option<(String, Method)> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    Some((path.to_owned(), Method { service: service.to_owned(), method: method.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_rendered_under_its_published_name() {
        let metrics = Metrics::new(["/odh.v1.QueryService/Execute"]);
        metrics.rpc("/odh.v1.QueryService/Execute", "OK", Duration::from_millis(3));
        metrics.policy_fault("engine_panic");
        metrics.query("ok", Duration::from_millis(3));
        metrics.audit_committed(2, Duration::from_millis(1));
        metrics.audit_queue(5);
        metrics.handshake_failed();
        let open = metrics.connection();
        let text = metrics.render();
        for line in [
            "odh_rpc_total{service=\"odh.v1.QueryService\",method=\"Execute\",code=\"OK\"} 1",
            "odh_rpc_seconds_count{service=\"odh.v1.QueryService\",method=\"Execute\"} 1",
            "odh_policy_faults_total{fault=\"engine_panic\"} 1",
            "odh_queries_total{outcome=\"ok\"} 1",
            "odh_query_seconds_count 1",
            "odh_audit_entries_total 2",
            "odh_audit_commit_seconds_count 1",
            "odh_audit_queue 5",
            "odh_connections 1",
            "odh_handshake_failures_total 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in:\n{text}");
        }
        drop(open);
        assert!(metrics.render().lines().any(|l| l == "odh_connections 0"));
    }

    #[test]
    fn a_caller_cannot_make_new_series() {
        let metrics = Metrics::new(["/odh.v1.QueryService/Execute"]);
        for i in 0..1000 {
            metrics.rpc(&format!("/x{i}/y"), "UNIMPLEMENTED", Duration::ZERO);
        }
        let text = metrics.render();
        let series: Vec<_> = text.lines().filter(|l| l.starts_with("odh_rpc_total")).collect();
        assert_eq!(series, ["odh_rpc_total{service=\"other\",method=\"other\",code=\"UNIMPLEMENTED\"} 1000"]);
    }
}
