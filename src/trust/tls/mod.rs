//! TLS 1.3 and nothing else: server configurations that reload, an acceptor with limits, and the client's connector.
//!
//! tonic's own TLS resumes a session without running the client verifier again, has no handshake timeout and cannot
//! reload. Here sessions are never resumed, so that each connection proves its certificate.

mod accept;
mod config;
mod connect;

pub use accept::{AcceptLimits, ConnectInfo, ConnectionMeter, TlsConnection, TlsIncoming, serve_tls};
pub use config::{Alpn, ClientIdentity, ServerTls, ServerTlsSettings, client_config};
pub use connect::{ClientStream, Connector};

#[cfg(test)]
mod tests;
