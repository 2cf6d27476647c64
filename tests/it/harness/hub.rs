//! A hub in this process: the real composition root and server over mutual TLS, on ports of its own.

use std::{path::Path, sync::Arc, time::Duration};

use odh::{
    app::App,
    config::{Config, SecretUrl},
    domain::{Clock, SystemClock},
    error::Result,
    grpc,
    server::Listeners,
    service::{OperatorIdentity, Services},
    telemetry::Metrics,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Engine, HUB_ID, OPERATING, Site, sane};

/// A hub with its directory and database. [`Hub::stop`] ends it and checks what it leaves.
pub(crate) struct Hub {
    /// On which database.
    pub(crate) engine: Engine,
    /// Its configuration, for the next start.
    pub(crate) config: Config,
    /// Its time, for the next start.
    pub(crate) clock: Arc<dyn Clock>,
    dir: TempDir,
    running: Option<Running>,
    operator_token: Option<String>,
}

struct Running {
    site: Site,
    services: Services,
    shutdown: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl Hub {
    /// A fresh hub; none, after a visible line, if the engine is not installed.
    pub(crate) async fn start(engine: Engine, name: &str) -> Option<Self> {
        Self::start_with(engine, name, |_| {}).await
    }

    /// A fresh hub with other settings than the suite's.
    pub(crate) async fn start_with(engine: Engine, name: &str, change: impl FnOnce(&mut Config)) -> Option<Self> {
        let url = engine.database(name).await?;
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path(), &url);
        change(&mut config);
        let mut hub = Self { engine, config, clock: Arc::new(SystemClock), dir, running: None, operator_token: None };
        hub.serve().await.unwrap();
        Some(hub)
    }

    /// Opens the hub in its directory and serves it. Fails where the hub refuses to start.
    pub(crate) async fn serve(&mut self) -> Result<()> {
        assert!(self.running.is_none(), "the hub is being served already");
        let listeners = Listeners::bind(&self.config.listen).await?;
        let addresses = listeners.addresses()?;
        let metrics = Arc::new(Metrics::new(grpc::paths()));
        let clock = Arc::clone(&self.clock);
        let app = App::open(self.config.clone(), addresses.https, operator(), clock, metrics).await?;
        self.operator_token = app.operator_token.clone().or_else(|| self.operator_token.take());
        let services = app.services.clone();
        let site = Site {
            grpc: format!("https://{}", addresses.grpc),
            https: format!("https://{}", addresses.https),
            ops: format!("http://{}", addresses.ops),
            ca_pem: services.keys().authority().certificate_pem().to_owned(),
        };
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(app.serve(listeners, shutdown.clone()));
        self.running = Some(Running { site, services, shutdown, task });
        Ok(())
    }

    /// Where clients meet it.
    pub(crate) fn site(&self) -> Site {
        self.running().site.clone()
    }

    /// Its use cases, for what no persona may do: the hub's own keys, for example.
    pub(crate) fn services(&self) -> &Services {
        &self.running().services
    }

    /// The one-time token of the first operator; taken once.
    pub(crate) fn operator_token(&mut self) -> String {
        self.operator_token.take().expect("the first operator enrols once")
    }

    /// Its data directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The URL of its database, complete.
    pub(crate) fn database_url(&self) -> String {
        self.config.database_url().expose().to_owned()
    }

    /// Begins the end: what runs may end, nothing new is taken.
    pub(crate) fn begin_shutdown(&self) {
        self.running().shutdown.cancel();
    }

    /// Ends serving, as SIGTERM does, and waits until it has ended.
    pub(crate) async fn end(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown.cancel();
            tokio::time::timeout(Duration::from_secs(30), running.task).await.expect("the hub ends").unwrap().unwrap();
        }
    }

    /// Ends serving and serves the same directory again, at another address.
    pub(crate) async fn restart(&mut self) {
        self.end().await;
        self.serve().await.unwrap();
    }

    /// Ends the hub and checks that the world it leaves is sane.
    pub(crate) async fn stop(mut self) {
        self.end().await;
        sane::check(&self.database_url(), self.dir.path()).await;
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the hub is being served")
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.shutdown.cancel();
            // Reached with a running hub only by a test that fails.
            running.task.abort();
            assert!(std::thread::panicking(), "a scenario ends with `Hub::stop`, which checks the world");
        }
    }
}

/// Who operates every hub of the suite.
pub(crate) fn operator() -> OperatorIdentity {
    OperatorIdentity {
        id: OPERATING.parse().unwrap(),
        siren: "999000011".parse().unwrap(),
        legal_name: "Operator of the suite".to_owned(),
    }
}

/// The configuration of a hub in `dir`: free ports, short waits.
pub(crate) fn config(dir: &Path, database_url: &str) -> Config {
    let mut config = Config { data_dir: dir.to_owned(), ..Config::default() };
    HUB_ID.clone_into(&mut config.hub.id);
    config.database.url = SecretUrl::new(database_url);
    for address in [&mut config.listen.grpc, &mut config.listen.https, &mut config.listen.ops] {
        address.set_port(0);
    }
    config.limits.drain_timeout = Duration::from_secs(10);
    config
}
