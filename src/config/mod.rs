//! The hub's configuration: defaults that run, then one TOML file, then `ODH_*` environment variables.
//!
//! Every key is declared here, once; `load.rs` reads, `check.rs` finds what is legal but wrong, `example.toml` is the
//! commented default that `odh config example` prints. `docs/configuration.md` is the reader's version. This module
//! only describes: it opens no database, socket or log, and knows nothing of what uses it.

mod check;
mod load;
mod secret_url;
pub mod units;

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

pub use check::{Finding, Severity};
pub use secret_url::SecretUrl;

use secret_url::optional;
use units::{bytes, duration};

const MIB: usize = 1 << 20;
const GIB: u64 = 1 << 30;

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the hub keeps what is not in the database: keys, snapshots, spill files, the last checkpoint.
    pub data_dir: PathBuf,
    /// Who this hub is.
    pub hub: Hub,
    /// Where its rows are.
    pub database: Database,
    /// Where it listens.
    pub listen: Listen,
    /// Its transport security.
    pub tls: Tls,
    /// What one call or upload may take.
    pub limits: Limits,
    /// The client certificates that it issues.
    pub certificate: Certificate,
    /// The access tokens that it issues.
    pub token: Token,
    /// What one query may take.
    pub query: Query,
    /// The log: how long anything waits for it, who witnesses it, how long it is kept.
    pub audit: Audit,
    /// Logs and traces.
    pub telemetry: Telemetry,
}

impl Config {
    /// The default configuration as a commented TOML file; it reads back as [`Config::default`].
    pub fn example() -> String {
        include_str!("example.toml").to_owned()
    }

    /// The effective configuration as TOML, with secrets replaced by `***`.
    pub fn redacted_toml(&self) -> String {
        let mut shown = self.clone();
        shown.database.url = SecretUrl::new(self.database.url.redacted());
        shown.telemetry.otlp_endpoint = self.telemetry.otlp_endpoint.as_ref().map(|url| SecretUrl::new(url.redacted()));
        // A struct of tables of scalars always has a TOML form.
        toml::to_string_pretty(&shown).unwrap_or_default()
    }

    /// The URL of the HTTPS listener as callers are told it, without a slash at its end. `bound` is where it listens.
    pub fn public_url(&self, bound: SocketAddr) -> String {
        if !self.hub.public_url.is_empty() {
            return self.hub.public_url.trim_end_matches('/').to_owned();
        }
        let host = self.tls.names.first().map_or("localhost", String::as_str);
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        format!("https://{host}:{}", bound.port())
    }

    /// The database's URL with `{data_dir}` filled in, ready to connect to.
    pub fn database_url(&self) -> SecretUrl {
        let bytes = self.data_dir.as_os_str().as_encoded_bytes();
        let dir = bytes.iter().fold(String::new(), |mut dir, byte| {
            if byte.is_ascii_alphanumeric() || b"/.-_~".contains(byte) {
                dir.push(char::from(*byte));
            } else {
                // Writing to a string cannot fail.
                let _ = write!(dir, "%{byte:02X}");
            }
            dir
        });
        SecretUrl::new(self.database.url.expose().replace("{data_dir}", &dir))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("odh-data"),
            hub: Hub::default(),
            database: Database::default(),
            listen: Listen::default(),
            tls: Tls::default(),
            limits: Limits::default(),
            certificate: Certificate::default(),
            token: Token::default(),
            query: Query::default(),
            audit: Audit::default(),
            telemetry: Telemetry::default(),
        }
    }
}

/// Who this hub is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hub {
    /// The trust domain: issuer of every token, origin of the log, authority of every SPIFFE id. Fixed at `init`.
    pub id: String,
    /// The name that people see.
    pub public_name: String,
    /// Where others reach the HTTPS listener; empty: derived from its address. See [`Config::public_url`].
    pub public_url: String,
}

impl Default for Hub {
    fn default() -> Self {
        Self { id: "hub.localhost".to_owned(), public_name: "Occitanie Data hub".to_owned(), public_url: String::new() }
    }
}

/// Where the rows are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `sqlite://PATH` or `postgres://…`; `{data_dir}` stands for the data directory. See [`Config::database_url`].
    pub url: SecretUrl,
    /// Most connections at once. SQLite keeps one of them for writing.
    pub max_connections: u32,
}

impl Default for Database {
    fn default() -> Self {
        Self { url: SecretUrl::new("sqlite://{data_dir}/hub.db"), max_connections: 16 }
    }
}

/// The three listeners. Port 0 takes a free one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// gRPC and Flight SQL, mutual TLS.
    pub grpc: SocketAddr,
    /// What anyone may read: JWKS, checkpoints, tiles.
    pub https: SocketAddr,
    /// Health and metrics, in clear: keep it on the loopback interface or a closed network.
    pub ops: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self { grpc: local(7443), https: local(7444), ops: local(7445) }
    }
}

/// Transport security of the gRPC and HTTPS listeners: TLS 1.3, nothing older.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The DNS names and IP addresses in the server's certificate.
    pub names: Vec<String>,
    /// Refuses every gRPC connection without a client certificate, enrolment included.
    pub require_client_certificate: bool,
    /// How long a handshake may take.
    #[serde(with = "duration")]
    pub handshake_timeout: Duration,
    /// Most connections from one IP address.
    pub connections_per_peer: usize,
    /// Most connections of all.
    pub max_connections: usize,
    /// A connection is asked to close after this time, so that clients spread over replicas again.
    #[serde(with = "duration")]
    pub connection_age: Duration,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            names: vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()],
            require_client_certificate: false,
            handshake_timeout: Duration::from_secs(5),
            connections_per_peer: 64,
            max_connections: 1024,
            connection_age: Duration::from_hours(1),
        }
    }
}

/// What one call, connection or upload may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Largest message in either direction, in bytes.
    #[serde(with = "bytes")]
    pub message_bytes: usize,
    /// Most HTTP/2 streams open on one connection.
    pub concurrent_streams: u32,
    /// Most calls at work on one connection; more are refused with `OVERLOADED`.
    pub concurrent_per_connection: usize,
    /// Longest unary call; a client may ask for less.
    #[serde(with = "duration")]
    pub call_timeout: Duration,
    /// How long running calls may still take once the hub is told to stop.
    #[serde(with = "duration")]
    pub drain_timeout: Duration,
    /// Largest file of one upload, in bytes.
    #[serde(with = "bytes")]
    pub upload_bytes: u64,
    /// Most rows of one upload.
    pub upload_rows: u64,
    /// Longest upload.
    #[serde(with = "duration")]
    pub upload_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 4 * MIB,
            concurrent_streams: 128,
            concurrent_per_connection: 32,
            call_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(30),
            upload_bytes: 2 * GIB,
            upload_rows: 50_000_000,
            upload_timeout: Duration::from_mins(30),
        }
    }
}

/// The client certificates that the hub issues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Certificate {
    /// How long one is valid.
    #[serde(with = "duration")]
    pub lifetime: Duration,
    /// How long a one-time token for enrolment can be used.
    #[serde(with = "duration")]
    pub enrolment_lifetime: Duration,
}

impl Default for Certificate {
    fn default() -> Self {
        let days = |days: u64| Duration::from_hours(days * 24);
        Self { lifetime: days(30), enrolment_lifetime: days(3) }
    }
}

/// The access tokens that the hub issues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Token {
    /// How long one is valid when its caller asks for nothing else.
    #[serde(with = "duration")]
    pub lifetime: Duration,
    /// The longest that a caller may ask for; 24 hours at most.
    #[serde(with = "duration")]
    pub max_lifetime: Duration,
}

impl Default for Token {
    fn default() -> Self {
        Self { lifetime: Duration::from_mins(15), max_lifetime: Duration::from_hours(24) }
    }
}

/// What one query, one caller and all queries may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    /// Memory of one query, in bytes; more goes to disk.
    #[serde(with = "bytes")]
    pub memory_bytes: usize,
    /// Disk of one query, in bytes.
    #[serde(with = "bytes")]
    pub spill_bytes: u64,
    /// Longest query, from admission to its last byte.
    #[serde(with = "duration")]
    pub deadline: Duration,
    /// Most rows of one answer.
    pub max_rows: u64,
    /// Most queries at once of one member.
    pub concurrent_per_caller: usize,
    /// Most queries at once.
    pub concurrent: usize,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            memory_bytes: 512 * MIB,
            spill_bytes: 4 * GIB,
            deadline: Duration::from_mins(1),
            max_rows: 1_000_000,
            concurrent_per_caller: 2,
            concurrent: 8,
        }
    }
}

/// The log: how long anything waits for it, who witnesses it, how long it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// Longest wait for a commit before `AUDIT_UNAVAILABLE`; 2 seconds at most (P7).
    #[serde(with = "duration")]
    pub commit_timeout: Duration,
    /// Most writes that wait for the writer; more are refused at once.
    pub queue: usize,
    /// The keys of the witnesses whose cosignatures the log takes (C2SP `vkey`, as `odh witness init` prints it).
    pub witnesses: Vec<String>,
    /// How many of them must have seen an entry before what it records is acknowledged or released; 0 asks for none.
    pub require_witness: usize,
    /// How long entries are kept, in months; what is older is pruned, and its proofs stay valid.
    pub retention_months: u32,
    /// Why entries are kept for longer than 12 months, in words; without a reason they are not.
    pub retention_reason: String,
}

impl Audit {
    /// How long entries are kept: 365 days for every 12 months.
    pub fn retention(&self) -> Duration {
        Duration::from_hours(u64::from(self.retention_months) * 365 * 24 / 12)
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            commit_timeout: Duration::from_secs(2),
            queue: 4096,
            witnesses: Vec::new(),
            require_witness: 0,
            retention_months: 12,
            retention_reason: String::new(),
        }
    }
}

/// Logs and traces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// What is logged: a level, or directives such as `info,odh::query=debug` (the syntax of `RUST_LOG`).
    pub log: String,
    /// How a log line is written.
    pub format: LogFormat,
    /// The OTLP/gRPC collector (`http://host:4317`); nothing is exported without one.
    #[serde(with = "optional")]
    pub otlp_endpoint: Option<SecretUrl>,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { log: "info".to_owned(), format: LogFormat::Text, otlp_endpoint: None }
    }
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
