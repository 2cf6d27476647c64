//! The demo's hub: the real server in this process, and the ways to reach it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::{client::legacy, rt::TokioExecutor};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Args, stage::surprise};
use crate::{
    app::App,
    cli::{
        client::{Client, Target},
        failure::Failure,
        files,
    },
    config::{Config, SecretUrl},
    domain::SystemClock,
    error::Result as HubResult,
    server::Listeners,
    service::OperatorIdentity,
    telemetry::Metrics,
    trust::tls::{Connector, client_config},
};

/// The demo's trust domain.
const HUB_ID: &str = "demo.occitanie.localhost";
/// The participant that runs the hub.
pub(super) const OPERATOR: &str = "hub_occitanie";
/// Its legal name.
pub(super) const OPERATOR_NAME: &str = "Hub Occitanie (fictional)";
/// Its SIREN, of a block that is given to nobody.
pub(super) const OPERATOR_SIREN: &str = "999000011";
/// Everything that the demo issues is valid for a day at least.
const DAY: Duration = Duration::from_hours(24);
/// Largest document that is fetched over HTTPS.
const DOCUMENT: usize = 1 << 20;

/// A running hub.
pub(super) struct Hub {
    /// Its trust domain.
    pub(super) id: String,
    /// The demo's directory; the hub's own is `hub` in it.
    pub(super) dir: PathBuf,
    /// Where it listens.
    pub(super) urls: Urls,
    /// Its authority's certificate, and the file that holds it.
    pub(super) ca_pem: String,
    pub(super) ca: PathBuf,
    /// The one-time token of the first operator.
    pub(super) operator_token: String,
    stop: CancellationToken,
    server: JoinHandle<HubResult<()>>,
}

/// Addresses as URLs.
#[derive(Debug, Clone)]
pub(super) struct Urls {
    pub(super) grpc: String,
    pub(super) https: String,
    pub(super) ops: String,
}

impl Hub {
    /// Makes a hub in `dir` and starts to serve it.
    pub(super) async fn start(args: &Args, dir: &Path) -> Result<Self, Failure> {
        let config = configuration(args, dir);
        let listeners = Listeners::bind(&config.listen).await?;
        let addresses = listeners.addresses()?;
        let urls = Urls {
            grpc: url("https", addresses.grpc),
            https: url("https", addresses.https),
            ops: url("http", addresses.ops),
        };
        let operator = OperatorIdentity {
            id: OPERATOR.parse()?,
            siren: OPERATOR_SIREN.parse()?,
            legal_name: OPERATOR_NAME.to_owned(),
        };
        let metrics = Arc::new(Metrics::new(crate::grpc::paths()));
        let app = Box::pin(App::open(config, addresses.https, operator, Arc::new(SystemClock), metrics)).await?;
        let operator_token = app.operator_token.clone().ok_or_else(|| {
            Failure::usage(
                "the database holds a hub already: the demo needs an empty one",
                "la base de données contient déjà un hub : la démonstration en veut une vide",
            )
        })?;
        let ca_pem = app.services.keys().authority().certificate_pem().to_owned();
        let ca = dir.join("ca.pem");
        files::write_public(&ca, ca_pem.as_bytes())?;
        let stop = CancellationToken::new();
        let server = tokio::spawn(Box::pin(app.serve(listeners, stop.clone())));
        Ok(Self { id: HUB_ID.to_owned(), dir: dir.to_owned(), urls, ca_pem, ca, operator_token, stop, server })
    }

    /// A target without identity.
    pub(super) fn target(&self) -> Target {
        Target::new(&self.urls.grpc, &self.ca_pem)
    }

    /// A client without identity.
    pub(super) async fn stranger(&self) -> Result<Client, Failure> {
        Client::connect(self.target()).await
    }

    /// A document of the public HTTPS listener.
    pub(super) async fn fetch(&self, path: &str) -> Result<Bytes, Failure> {
        let failed = |cause: &dyn std::fmt::Display| surprise(format_args!("{path} cannot be fetched: {cause}"));
        let connector = Connector::new(Arc::new(client_config(&self.ca_pem, None)?));
        let client: legacy::Client<_, Empty<Bytes>> =
            legacy::Client::builder(TokioExecutor::new()).http2_only(true).build(connector);
        let uri = format!("{}{path}", self.urls.https).parse().map_err(|e| failed(&e))?;
        let response = client.get(uri).await.map_err(|e| failed(&e))?;
        if !response.status().is_success() {
            return Err(failed(&response.status()));
        }
        let body = Limited::new(response.into_body(), DOCUMENT).collect().await.map_err(|e| failed(&e))?;
        Ok(body.to_bytes())
    }

    /// Waits until the server ends by itself, which it does not unless it fails.
    pub(super) async fn ended(&mut self) -> Failure {
        let ended = (&mut self.server).await;
        surprise(format_args!("the hub ended: {ended:?}"))
    }

    /// Lets what runs end, and ends the hub.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        self.stop.cancel();
        if self.server.is_finished() {
            // It has ended by itself, and that was told.
            return Ok(());
        }
        self.server.await.map_err(|e| surprise(format_args!("the hub did not end: {e}")))?.map_err(Failure::from)
    }
}

fn configuration(args: &Args, dir: &Path) -> Config {
    let mut config = Config { data_dir: dir.join("hub"), ..Config::default() };
    HUB_ID.clone_into(&mut config.hub.id);
    "Occitanie Data hub (demo)".clone_into(&mut config.hub.public_name);
    if let Some(url) = &args.database {
        config.database.url = SecretUrl::new(url.as_str());
    }
    let any_port = |ip: IpAddr| SocketAddr::new(ip, 0);
    config.listen.grpc = args.listen;
    config.listen.https = any_port(args.listen.ip());
    config.listen.ops = any_port(Ipv4Addr::LOCALHOST.into());
    if !args.listen.ip().is_unspecified() {
        let name = args.listen.ip().to_string();
        if !config.tls.names.contains(&name) {
            config.tls.names.push(name);
        }
    }
    config.certificate.lifetime = config.certificate.lifetime.max(DAY);
    config.token.max_lifetime = DAY;
    config
}

/// A hub that listens everywhere is reached on this machine.
fn url(scheme: &str, address: SocketAddr) -> String {
    let ip = if address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address.ip() };
    format!("{scheme}://{}", SocketAddr::new(ip, address.port()))
}
