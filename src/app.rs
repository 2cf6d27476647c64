//! The one page that wires everything: from a configuration to use cases over a database, keys and engine.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_util::sync::CancellationToken;

use crate::{
    audit::WitnessKey,
    config::{self, Config},
    domain::{Clock, ParticipantId},
    error::{Error, Reason, Result},
    policy::{ClockGuard, HubPolicy, UsagePolicies, vocabulary},
    query::{Engine, EngineConfig},
    server::{self, Listeners},
    service::{Aside, Inner, OperatorIdentity, Reloads, Services, Settings, Slots, Strangers, Witnesses},
    store::{Store, StoreConfig, WriterConfig, WriterMetrics, member},
    telemetry::Metrics,
    trust::KeyStore,
};

/// Compiled policies kept at hand; 20 KiB each at most.
const POLICIES_CACHED: u64 = 10_000;

/// A hub that is ready to be served.
#[derive(Debug)]
pub struct App {
    /// The configuration it was made from.
    pub config: Config,
    /// Its use cases.
    pub services: Services,
    /// Its metrics.
    pub metrics: Arc<Metrics>,
    /// The one-time token of the first operator, if this start has made the hub.
    pub operator_token: Option<String>,
    /// Keeps a second server off the same directory.
    lock: File,
}

impl App {
    /// Opens the hub in the configured directory; makes it, for `operator`, if there is none. `https` is where its
    /// public listener is bound.
    pub async fn open(
        config: Config,
        https: SocketAddr,
        operator: OperatorIdentity,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        let dirs = Directories::prepare(&config.data_dir)?;
        let keys = Arc::new(open_keys(&dirs.keys, &config.hub.id, clock.as_ref())?);
        let committed = Arc::clone(&metrics);
        let store = Store::open(
            StoreConfig {
                url: config.database_url().expose().to_owned(),
                max_connections: config.database.max_connections,
                checkpoint_file: dirs.keys.with_extension("checkpoint"),
                writer: WriterConfig {
                    queue: config.audit.queue,
                    timeout: config.audit.commit_timeout,
                    ..WriterConfig::default()
                },
            },
            Arc::clone(keys.log_signer()) as _,
            Arc::clone(&clock),
            WriterMetrics { committed: Arc::new(move |took, entries| committed.audit_committed(entries, took)) },
        )
        .await?;
        let operating = operating_participant(&store).await?.unwrap_or_else(|| operator.id.clone());
        let services = Services::new(Inner {
            settings: settings(&config, https),
            store,
            keys,
            hub_policy: HubPolicy::new(operating, &[], -1)?,
            policies: UsagePolicies::new(POLICIES_CACHED),
            vocabulary: Arc::new(vocabulary::load()?),
            engine: Engine::new(EngineConfig {
                memory_bytes: config.query.memory_bytes,
                spill_bytes: config.query.spill_bytes,
                deadline: config.query.deadline,
                download_deadline: config.query.download_deadline,
                max_rows: config.query.max_rows,
                temp_dir: dirs.spill,
                ..EngineConfig::default()
            })?,
            clock,
            clock_guard: ClockGuard::default(),
            reloads: Reloads::default(),
            metrics: Arc::clone(&metrics),
            running: Slots::new(config.query.concurrent, config.query.concurrent_per_caller),
            strangers: Strangers::default(),
            aside: Aside::default(),
            witnesses: witnesses(&config.audit)?,
        });
        let operator_token = services.initialise(operator).await?;
        let unknown = services.close_open_queries().await?;
        if unknown > 0 {
            tracing::warn!(
                queries = unknown,
                "queries of an earlier run ended without an outcome: recorded as unknown"
            );
        }
        Ok(Self { config, services, metrics, operator_token, lock: dirs.lock })
    }

    /// Serves on `listeners` until `shutdown` is cancelled and what runs has ended.
    pub async fn serve(self, listeners: Listeners, shutdown: CancellationToken) -> Result<()> {
        server::run(&self.config, &self.services, &self.metrics, listeners, shutdown).await?;
        self.lock.unlock().map_err(Error::internal)
    }
}

/// Where things lie in the data directory.
struct Directories {
    keys: PathBuf,
    spill: PathBuf,
    lock: File,
}

impl Directories {
    fn prepare(root: &Path) -> Result<Self> {
        let make = |dir: &Path| {
            fs::create_dir_all(dir).map_err(|e| Error::invalid("data_dir", format_args!("`{}`: {e}", dir.display())))
        };
        make(root)?;
        restrict(root)?;
        let lock = lock(&root.join("lock"))?;
        for name in ["objects", "uploads", "spill"] {
            make(&root.join(name))?;
        }
        // What an upload left when the process ended.
        for dir in [root.join("uploads"), root.join("objects")] {
            sweep_parts(&dir)?;
        }
        Ok(Self { keys: root.join("keys"), spill: root.join("spill"), lock })
    }
}

/// Data and keys are the hub's alone.
fn restrict(root: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(root, fs::Permissions::from_mode(0o700)).map_err(|e| Error::invalid("data_dir", e))
}

/// One server per directory: two writers on one SQLite file would fork the log.
fn lock(path: &Path) -> Result<File> {
    let file = File::create(path).map_err(|e| Error::invalid("data_dir", format_args!("`{}`: {e}", path.display())))?;
    file.try_lock().map_err(|_| {
        Error::new(Reason::StateConflict)
            .with("object", "the data directory")
            .with("state", "in use by another server")
            .with("wanted", "free")
    })?;
    Ok(file)
}

fn sweep_parts(dir: &Path) -> Result<()> {
    let entries = fs::read_dir(dir).map_err(|e| Error::invalid("data_dir", e))?;
    for entry in entries.flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "part") {
            fs::remove_file(entry.path()).map_err(|e| Error::invalid("data_dir", e))?;
        }
    }
    Ok(())
}

fn open_keys(dir: &Path, hub_id: &str, clock: &dyn Clock) -> Result<KeyStore> {
    let keys = if dir.exists() { KeyStore::open(dir)? } else { KeyStore::init(dir, hub_id, clock)? };
    if keys.hub_id() != hub_id {
        let detail = format_args!("the hub in this directory is `{}`, and an id never changes", keys.hub_id());
        return Err(Error::invalid("hub.id", detail));
    }
    Ok(keys)
}

async fn operating_participant(store: &Store) -> Result<Option<ParticipantId>> {
    member::operating_participant(&mut store.read().await?).await
}

/// Whose cosignatures the log takes.
fn witnesses(audit: &config::Audit) -> Result<Witnesses> {
    let parse = |key: &String| key.parse::<WitnessKey>().map_err(|_| Error::invalid("audit.witnesses", key));
    let keys = audit.witnesses.iter().map(parse).collect::<Result<_>>()?;
    Ok(Witnesses::new(keys, audit.require_witness, audit.commit_timeout))
}

fn settings(config: &Config, https: SocketAddr) -> Settings {
    Settings {
        hub_id: config.hub.id.clone(),
        public_url: config.public_url(https),
        data_dir: config.data_dir.clone(),
        certificate_lifetime: config.certificate.lifetime,
        token_lifetime: config.token.lifetime,
        token_lifetime_max: config.token.max_lifetime,
        enrolment_lifetime: config.certificate.enrolment_lifetime,
        upload_bytes: config.limits.upload_bytes,
        upload_rows: config.limits.upload_rows,
        retention: config.audit.retention(),
    }
}
