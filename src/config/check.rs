//! What is well-formed but wrong: values out of bounds, and settings that contradict each other.

use std::{fmt, time::Duration};

use tracing_subscriber::EnvFilter;

use super::{Config, units::format_duration};

const DAY: Duration = Duration::from_hours(24);

/// One thing that is wrong or doubtful in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether the hub starts with it.
    pub severity: Severity,
    /// The key it is about.
    pub key: &'static str,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.key, self.message)
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The hub refuses to start.
    Error,
    /// The hub starts, but its operator should know.
    Warning,
}

impl Config {
    /// Everything that is wrong or doubtful here, errors first. Looks at the values alone, never at the machine.
    pub fn check(&self) -> Vec<Finding> {
        let mut findings = Findings::default();
        self.check_identity(&mut findings);
        self.check_network(&mut findings);
        self.check_bounds(&mut findings);
        self.check_telemetry(&mut findings);
        findings.0.sort_by_key(|finding| finding.severity == Severity::Warning);
        findings.0
    }

    fn check_identity(&self, findings: &mut Findings) {
        let id = &self.hub.id;
        // The SPIFFE rules for a trust domain, and no dot at either end, since it is also an issuer's host name.
        let legal = id.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_'));
        findings.error_if(
            !legal || id.is_empty() || id.len() > 255 || id.starts_with('.') || id.ends_with('.'),
            "hub.id",
            "must be a trust domain: 1 to 255 lower-case letters, digits, dots, dashes or underscores",
        );
        findings.warn_if(
            *id == Self::default().hub.id && self.is_public(),
            "hub.id",
            "is the default, but the hub listens beyond this machine; it cannot be changed once the hub is initialised",
        );
        findings.error_if(self.hub.public_name.trim().is_empty(), "hub.public_name", "must not be empty");
        let url = &self.hub.public_url;
        findings.error_if(
            !url.is_empty() && !url.starts_with("https://"),
            "hub.public_url",
            "must begin with https://",
        );
        findings.error_if(self.data_dir.as_os_str().is_empty(), "data_dir", "must not be empty");
        findings.error_if(
            !matches!(self.database.url.scheme().as_str(), "sqlite" | "postgres" | "postgresql"),
            "database.url",
            "must begin with sqlite:// or postgres://",
        );
        findings.error_if(
            self.database.max_connections < 2,
            "database.max_connections",
            "must be at least 2: one writes, the others read",
        );
    }

    fn check_network(&self, findings: &mut Findings) {
        let listeners =
            [("listen.grpc", self.listen.grpc), ("listen.https", self.listen.https), ("listen.ops", self.listen.ops)];
        for (index, (key, address)) in listeners.iter().enumerate() {
            let twin = listeners[..index].iter().find(|(_, other)| address.port() != 0 && other == address);
            if let Some((other, _)) = twin {
                findings.error_if(true, key, &format!("is the same address as `{other}`"));
            }
        }
        findings.warn_if(
            !self.listen.ops.ip().is_loopback(),
            "listen.ops",
            "is reachable from other machines, in clear: make sure that the network is closed",
        );
        findings.error_if(self.tls.names.is_empty(), "tls.names", "must name at least one host or address");
        let only_local = self.tls.names.iter().all(|name| matches!(name.as_str(), "localhost" | "127.0.0.1" | "::1"));
        findings.warn_if(
            only_local && self.is_public(),
            "tls.names",
            "only names this machine, but the hub listens beyond it: clients elsewhere will refuse its certificate",
        );
        findings.error_if(
            self.tls.connections_per_peer > self.tls.max_connections,
            "tls.connections_per_peer",
            "is more than `tls.max_connections`",
        );
    }

    fn check_bounds(&self, findings: &mut Findings) {
        let second = Duration::from_secs(1);
        findings.within("tls.handshake_timeout", self.tls.handshake_timeout, second, Duration::from_mins(1));
        findings.within("tls.connection_age", self.tls.connection_age, Duration::from_mins(1), DAY);
        findings.within("limits.call_timeout", self.limits.call_timeout, second, Duration::from_hours(1));
        findings.within("limits.drain_timeout", self.limits.drain_timeout, Duration::ZERO, Duration::from_mins(10));
        findings.within("limits.upload_timeout", self.limits.upload_timeout, second, DAY);
        findings.within("certificate.lifetime", self.certificate.lifetime, Duration::from_mins(5), DAY * 90);
        let enrolment = self.certificate.enrolment_lifetime;
        findings.within("certificate.enrolment_lifetime", enrolment, Duration::from_mins(5), DAY * 30);
        findings.within("token.max_lifetime", self.token.max_lifetime, Duration::from_mins(1), DAY);
        findings.within("token.lifetime", self.token.lifetime, second, self.token.max_lifetime);
        findings.within("query.deadline", self.query.deadline, second, DAY);
        // P7: the wait for the log is bounded by 2 s, and this key cannot unpromise it.
        let shortest = Duration::from_millis(10);
        findings.within("audit.commit_timeout", self.audit.commit_timeout, shortest, Duration::from_secs(2));
        findings.error_if(
            self.audit.commit_timeout > self.limits.call_timeout,
            "limits.call_timeout",
            "is shorter than `audit.commit_timeout`",
        );
        findings.error_if(
            self.audit.require_witness > self.audit.witnesses.len(),
            "audit.require_witness",
            "is more than the number of `audit.witnesses`",
        );
        findings.error_if(
            !(1..=120).contains(&self.audit.retention_months),
            "audit.retention_months",
            "must lie between 1 and 120",
        );
        findings.error_if(
            self.audit.retention_months > 12 && self.audit.retention_reason.trim().chars().count() < 20,
            "audit.retention_reason",
            "must say, in at least 20 characters, why entries are kept for longer than 12 months",
        );
        findings.warn_if(
            self.audit.retention_months < 6,
            "audit.retention_months",
            "is less than the 6 months that the CNIL recommends for access logs",
        );
        findings.error_if(
            !(64 << 10..=256 << 20).contains(&self.limits.message_bytes),
            "limits.message_bytes",
            "must lie between 64KiB and 256MiB",
        );
        findings.error_if(self.query.memory_bytes < 16 << 20, "query.memory_bytes", "must be at least 16MiB");
        findings.error_if(
            self.query.concurrent_per_caller > self.query.concurrent,
            "query.concurrent_per_caller",
            "is more than `query.concurrent`",
        );
        for (key, none) in [
            ("tls.connections_per_peer", self.tls.connections_per_peer == 0),
            ("limits.concurrent_streams", self.limits.concurrent_streams == 0),
            ("limits.concurrent_per_connection", self.limits.concurrent_per_connection == 0),
            ("limits.upload_bytes", self.limits.upload_bytes == 0),
            ("limits.upload_rows", self.limits.upload_rows == 0),
            ("query.max_rows", self.query.max_rows == 0),
            ("query.concurrent_per_caller", self.query.concurrent_per_caller == 0),
            ("audit.queue", self.audit.queue == 0),
        ] {
            findings.error_if(none, key, "must not be 0");
        }
    }

    fn check_telemetry(&self, findings: &mut Findings) {
        if let Err(error) = EnvFilter::builder().parse(&self.telemetry.log) {
            findings.error_if(true, "telemetry.log", &format!("is not a log filter: {error}"));
        }
        if let Some(endpoint) = &self.telemetry.otlp_endpoint {
            findings.error_if(
                endpoint.scheme() != "http",
                "telemetry.otlp_endpoint",
                "must begin with http://: run a collector beside the hub and let that one speak TLS",
            );
        }
    }

    fn is_public(&self) -> bool {
        [self.listen.grpc, self.listen.https].iter().any(|address| !address.ip().is_loopback())
    }
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn error_if(&mut self, wrong: bool, key: &'static str, message: &str) {
        self.add_if(wrong, Severity::Error, key, message);
    }

    fn warn_if(&mut self, doubtful: bool, key: &'static str, message: &str) {
        self.add_if(doubtful, Severity::Warning, key, message);
    }

    fn within(&mut self, key: &'static str, value: Duration, least: Duration, most: Duration) {
        let message = format!("must lie between {} and {}", format_duration(least), format_duration(most));
        self.error_if(value < least || value > most, key, &message);
    }

    fn add_if(&mut self, holds: bool, severity: Severity, key: &'static str, message: &str) {
        if holds {
            self.0.push(Finding { severity, key, message: message.to_owned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::SecretUrl, *};

    fn keys(severity: Severity, change: impl FnOnce(&mut Config)) -> Vec<&'static str> {
        let mut config = Config::default();
        change(&mut config);
        config.check().into_iter().filter(|f| f.severity == severity).map(|f| f.key).collect()
    }

    #[test]
    fn the_defaults_have_no_finding() {
        assert_eq!(Config::default().check(), []);
    }

    #[test]
    fn values_that_break_a_promise_or_a_bound_are_errors() {
        let errors = |change: fn(&mut Config)| keys(Severity::Error, change);
        assert_eq!(errors(|c| c.audit.commit_timeout = Duration::from_secs(3)), ["audit.commit_timeout"]);
        assert_eq!(errors(|c| c.token.max_lifetime = DAY * 2), ["token.max_lifetime"]);
        assert_eq!(errors(|c| c.token.lifetime = DAY * 2), ["token.lifetime"]);
        assert_eq!(errors(|c| c.hub.id = "Hub/1".to_owned()), ["hub.id"]);
        assert_eq!(errors(|c| c.listen.ops = c.listen.grpc), ["listen.ops"]);
        assert_eq!(errors(|c| c.query.concurrent_per_caller = 9), ["query.concurrent_per_caller"]);
        assert_eq!(errors(|c| c.audit.queue = 0), ["audit.queue"]);
        assert_eq!(errors(|c| c.audit.require_witness = 1), ["audit.require_witness"]);
        assert_eq!(errors(|c| c.audit.retention_months = 0), ["audit.retention_months"]);
        assert_eq!(errors(|c| c.audit.retention_months = 13), ["audit.retention_reason"]);
        assert!(
            errors(|c| {
                c.audit.retention_months = 36;
                c.audit.retention_reason = "internal control of access to health data, record 2026-14".to_owned();
            })
            .is_empty()
        );
        assert_eq!(errors(|c| c.telemetry.log = "odh=loud".to_owned()), ["telemetry.log"]);
        assert_eq!(errors(|c| c.database.url = SecretUrl::new("mysql://x")), ["database.url"]);
        assert_eq!(
            errors(|c| c.telemetry.otlp_endpoint = Some(SecretUrl::new("https://x:4317"))),
            ["telemetry.otlp_endpoint"]
        );
    }

    #[test]
    fn listening_beyond_the_machine_with_local_settings_is_doubtful() {
        let warnings = keys(Severity::Warning, |c| {
            c.listen.grpc = "0.0.0.0:7443".parse().unwrap();
            c.listen.ops = "0.0.0.0:7445".parse().unwrap();
        });
        assert_eq!(warnings, ["hub.id", "listen.ops", "tls.names"]);
    }

    #[test]
    fn free_ports_may_repeat() {
        let errors = keys(Severity::Error, |c| {
            c.listen.grpc.set_port(0);
            c.listen.https.set_port(0);
        });
        assert!(errors.is_empty());
    }
}
