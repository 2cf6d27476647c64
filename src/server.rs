//! Serving: three listeners over the use cases, limits set by hand, and an end that loses nothing.
//!
//! gRPC over mutual TLS; public HTTPS; operations on loopback. tonic's defaults allow any number of streams and
//! unbounded answers, and its TLS resumes a session without asking for the certificate again: both are replaced.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::StreamExt as _;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    error::{Error, Result},
    grpc,
    http::{OpsState, Phase, ops_router, public_router, serve_plain},
    service::Services,
    telemetry::Metrics,
    trust::tls::{AcceptLimits, Alpn, ConnectionMeter, ServerTls, ServerTlsSettings, TlsIncoming, serve_tls},
};

/// Denials of strangers are logged together this often.
const STRANGERS_EVERY: Duration = Duration::from_secs(1);
/// Entries past their time are pruned this often, and at the start.
const PRUNE_EVERY: Duration = Duration::from_hours(24);
/// The server's certificate is renewed this often, long before it ends.
const RENEW_EVERY: Duration = Duration::from_hours(24);

/// Bound sockets, so that a test can ask for port 0 and learn what it got.
#[derive(Debug)]
pub struct Listeners {
    grpc: TcpListener,
    https: TcpListener,
    ops: TcpListener,
}

/// Where a server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// gRPC over TLS.
    pub grpc: SocketAddr,
    /// Public HTTPS.
    pub https: SocketAddr,
    /// Health and metrics.
    pub ops: SocketAddr,
}

impl Listeners {
    /// Binds what the configuration says.
    pub async fn bind(listen: &crate::config::Listen) -> Result<Self> {
        Ok(Self {
            grpc: bind("listen.grpc", listen.grpc).await?,
            https: bind("listen.https", listen.https).await?,
            ops: bind("listen.ops", listen.ops).await?,
        })
    }

    /// What was bound.
    pub fn addresses(&self) -> Result<Addresses> {
        let address = |listener: &TcpListener| listener.local_addr().map_err(Error::internal);
        Ok(Addresses { grpc: address(&self.grpc)?, https: address(&self.https)?, ops: address(&self.ops)? })
    }
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| Error::invalid(key, format_args!("{address}: {e}")))
}

/// Serves until `shutdown` is cancelled, then lets what runs end, for the configured time at most.
pub async fn run(
    config: &Config,
    services: &Services,
    metrics: &Arc<Metrics>,
    listeners: Listeners,
    shutdown: CancellationToken,
) -> Result<()> {
    let names = &config.tls.names;
    let tls = Tls::new(services, names, config.tls.require_client_certificate)?;
    let limits = AcceptLimits {
        handshake_timeout: config.tls.handshake_timeout,
        connections: config.tls.max_connections,
        connections_per_peer: config.tls.connections_per_peer,
    };
    let ops = OpsState::new(services.clone(), Arc::clone(metrics));

    let mut tasks = JoinSet::new();
    tasks.spawn(serve_ops(listeners.ops, ops.clone(), shutdown.clone()));
    tasks.spawn(serve_https(
        serve_tls(listeners.https, tls.https.clone(), limits, Some(meter(metrics))),
        services.clone(),
        shutdown.clone(),
    ));
    tasks.spawn(serve_grpc(
        serve_tls(listeners.grpc, tls.grpc.clone(), limits, Some(meter(metrics))),
        services.clone(),
        Arc::clone(metrics),
        config.limits.clone(),
        config.tls.connection_age,
        shutdown.clone(),
    ));
    let chores = tokio::spawn(chores(services.clone(), tls, names.clone(), config.tls.require_client_certificate));
    ops.enter(Phase::Serving);

    let failed = tokio::select! {
        () = shutdown.cancelled() => None,
        Some(ended) = tasks.join_next() => Some(flatten(ended)),
    };
    ops.enter(Phase::Draining);
    shutdown.cancel();
    let drained = tokio::time::timeout(config.limits.drain_timeout, async {
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = flatten(ended) {
                tracing::warn!(%error, "a listener ended badly");
            }
        }
    });
    if drained.await.is_err() {
        tracing::warn!("calls were still running at the end of the drain and were cut");
        tasks.shutdown().await;
    }
    chores.abort();
    if let Err(error) = services.log_strangers().await {
        tracing::warn!(%error, "the last denials of strangers were not logged");
    }
    services.close().await;
    failed.unwrap_or(Ok(()))
}

fn flatten(ended: std::result::Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    ended.map_err(Error::internal)?
}

/// Counts the connections of both TLS listeners.
#[derive(Debug)]
struct Meter(Arc<Metrics>);

impl ConnectionMeter for Meter {
    fn open(&self) -> Box<dyn std::any::Any + Send + Sync> {
        Box::new(self.0.connection())
    }

    fn handshake_failed(&self) {
        self.0.handshake_failed();
    }
}

fn meter(metrics: &Arc<Metrics>) -> Arc<dyn ConnectionMeter> {
    Arc::new(Meter(Arc::clone(metrics)))
}

/// The TLS configuration of both listeners, renewed together.
struct Tls {
    grpc: ServerTls,
    https: ServerTls,
}

impl Tls {
    fn new(services: &Services, names: &[String], require: bool) -> Result<Self> {
        let issued = Issued::now(services, names)?;
        Ok(Self { grpc: ServerTls::new(&issued.grpc(require))?, https: ServerTls::new(&issued.https())? })
    }

    fn renew(&self, services: &Services, names: &[String], require: bool) -> Result<()> {
        let issued = Issued::now(services, names)?;
        self.grpc.reload(&issued.grpc(require))?;
        self.https.reload(&issued.https())
    }
}

/// A fresh server certificate with what goes with it.
struct Issued {
    chain: String,
    key: zeroize::Zeroizing<String>,
    ca: String,
}

impl Issued {
    fn now(services: &Services, names: &[String]) -> Result<Self> {
        let keys = services.keys();
        Ok(Self {
            chain: keys.server_certificate(names, services.now())?.chain_pem,
            key: keys.server_key_pem(),
            ca: keys.authority().certificate_pem().to_owned(),
        })
    }

    fn grpc(&self, require_client_certificate: bool) -> ServerTlsSettings<'_> {
        ServerTlsSettings {
            chain_pem: &self.chain,
            key_pem: &self.key,
            client_ca_pem: Some(&self.ca),
            require_client_certificate,
            alpn: Alpn::Grpc,
        }
    }

    fn https(&self) -> ServerTlsSettings<'_> {
        ServerTlsSettings {
            chain_pem: &self.chain,
            key_pem: &self.key,
            client_ca_pem: None,
            require_client_certificate: false,
            alpn: Alpn::Web,
        }
    }
}

/// What has to be done from time to time.
async fn chores(services: Services, tls: Tls, names: Vec<String>, require: bool) {
    let mut strangers = tokio::time::interval(STRANGERS_EVERY);
    let mut renewal = tokio::time::interval(RENEW_EVERY);
    let mut pruning = tokio::time::interval(PRUNE_EVERY);
    renewal.tick().await;
    loop {
        tokio::select! {
            _ = strangers.tick() => {
                if let Err(error) = services.log_strangers().await {
                    tracing::warn!(%error, "denials of strangers could not be logged and wait");
                }
            }
            _ = pruning.tick() => match services.prune().await {
                Ok(Some(below)) => tracing::info!(below, "entries of the log that are past their time were pruned"),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "the log could not be pruned"),
            },
            _ = renewal.tick() => {
                if let Err(error) = tls.renew(&services, &names, require) {
                    tracing::error!(%error, "the server's certificate could not be renewed");
                }
            }
        }
    }
}

async fn serve_grpc(
    incoming: TlsIncoming,
    services: Services,
    metrics: Arc<Metrics>,
    limits: crate::config::Limits,
    connection_age: Duration,
    shutdown: CancellationToken,
) -> Result<()> {
    let (routes, health) = grpc::routes(services, &limits, metrics).await?;
    tonic::transport::Server::builder()
        .max_concurrent_streams(limits.concurrent_streams)
        .concurrency_limit_per_connection(limits.concurrent_per_connection)
        .load_shed(true)
        .http2_max_local_error_reset_streams(Some(1_024))
        .http2_max_pending_accept_reset_streams(Some(20))
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .http2_max_header_list_size(16 * 1_024)
        .max_connection_age(connection_age)
        .max_connection_age_grace(Duration::from_secs(30))
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, async move {
            shutdown.cancelled().await;
            health.drain().await;
        })
        .await
        .map_err(Error::internal)
}

async fn serve_https(mut incoming: TlsIncoming, services: Services, shutdown: CancellationToken) -> Result<()> {
    let router = public_router(services);
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(hyper_util::rt::TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .max_buf_size(16 * 1_024);
    server.http2().max_concurrent_streams(32).max_header_list_size(16 * 1_024).max_local_error_reset_streams(1_024);
    let graceful = GracefulShutdown::new();
    loop {
        let connection = tokio::select! {
            next = incoming.next() => match next {
                Some(Ok(connection)) => connection,
                Some(Err(_)) => continue,
                None => break,
            },
            () = shutdown.cancelled() => break,
        };
        let service = TowerToHyperService::new(router.clone());
        let serving = server.serve_connection(TokioIo::new(connection), service).into_owned();
        let serving = graceful.watch(serving);
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::debug!(%error, "an HTTPS connection ended");
            }
        });
    }
    graceful.shutdown().await;
    Ok(())
}

async fn serve_ops(listener: TcpListener, state: OpsState, shutdown: CancellationToken) -> Result<()> {
    serve_plain(listener, ops_router(state), shutdown.cancelled_owned()).await.map_err(Error::internal)
}
