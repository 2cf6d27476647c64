//! Use cases: authorise, load, decide, then write and audit in one transaction.
//!
//! Each function takes the identified [`Caller`](crate::domain::Caller), obtains a permit before it loads anything, and
//! hands one job to the store's writer. A permit is a value made by `policy` alone: code that needs one cannot run without it.

mod access;
mod aside;
mod audit;
mod catalog;
mod compare;
mod consent;
mod decide;
mod denial;
mod erasure;
mod explain;
mod grant;
mod idempotency;
mod identity;
mod member;
mod odrl;
mod participant;
mod policy;
mod privacy;
mod query;
mod retention;
mod roles;
mod setup;
mod sight;
mod simulate;
mod witness;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

pub use self::{
    access::{Approval, GrantedAccess, NewAccessRequest},
    aside::Aside,
    audit::{EntryFilter, ExportHead, Inclusion},
    catalog::{DatasetChange, NewDataset, Upload},
    compare::{Comparison, PolicyChoice},
    consent::ConsentImport,
    denial::{Denied, Strangers},
    erasure::Erased,
    explain::{Explanation, UseQuestion},
    idempotency::RequestKey,
    member::Enrolled,
    participant::{HubInfo, Registration},
    policy::PolicyCheck,
    privacy::{GrantUse, PrivacyBudget, PrivacyUse, RateUse},
    query::{
        ApprovedQuery, DatasetUse, PreparedQuery, PurposeChoice, QueryExplanation, QueryRequest, QueryRun,
        QuerySummary, Slots, VisibleTable,
    },
    roles::Reloads,
    setup::OperatorIdentity,
    simulate::{Evidence, Flip, FlipKind, Simulation, SimulationRequest},
    witness::Witnesses,
};
use futures::future::BoxFuture;

use crate::{
    audit::Committed,
    domain::{Clock, Timestamp, Vocabulary},
    error::{Error, Result},
    policy::{ClockGuard, HubPolicy, Permit, UsagePolicies},
    query::Engine,
    store::{Job, Store, Tx},
    telemetry::Metrics,
    trust::KeyStore,
};

/// What the use cases need to know of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The hub's trust domain: issuer of tokens, origin of the log.
    pub hub_id: String,
    /// Addresses to tell callers: public HTTPS.
    pub public_url: String,
    /// Where snapshots and uploads lie.
    pub data_dir: PathBuf,
    /// How long a client certificate is valid.
    pub certificate_lifetime: Duration,
    /// How long an access token is valid if the caller does not say.
    pub token_lifetime: Duration,
    /// Longest validity of an access token.
    pub token_lifetime_max: Duration,
    /// How long a one-time token can be used.
    pub enrolment_lifetime: Duration,
    /// Largest upload in bytes.
    pub upload_bytes: u64,
    /// Most rows of an upload.
    pub upload_rows: u64,
    /// How long entries of the log are kept.
    pub retention: Duration,
}

/// Every use case of the hub; cheap to clone.
#[derive(Debug, Clone)]
pub struct Services {
    inner: Arc<Inner>,
}

/// What the use cases work with; wired in `app`.
#[derive(Debug)]
pub struct Inner {
    /// Settings.
    pub settings: Settings,
    /// The database.
    pub store: Store,
    /// The hub's keys.
    pub keys: Arc<KeyStore>,
    /// Role decisions.
    pub hub_policy: HubPolicy,
    /// Compiled usage policies by digest.
    pub policies: UsagePolicies,
    /// Purposes.
    pub vocabulary: Arc<Vocabulary>,
    /// The query engine.
    pub engine: Engine,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whether the time can be decided by.
    pub clock_guard: ClockGuard,
    /// One reload of memberships at a time.
    pub reloads: Reloads,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Which queries run now.
    pub running: Slots,
    /// Denials of callers without identity, waiting to be logged together.
    pub strangers: Strangers,
    /// Places for work that computes for long.
    pub aside: Aside,
    /// Who cosigns the log.
    pub witnesses: Witnesses,
}

impl Services {
    /// Wraps what `app` has wired.
    pub fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The hub's keys, for the public documents of the transports.
    pub fn keys(&self) -> &KeyStore {
        &self.inner.keys
    }

    /// The purposes that the hub knows.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.inner.vocabulary
    }

    /// The database answers.
    pub async fn is_ready(&self) -> bool {
        self.inner.store.is_ready(Duration::from_millis(500)).await
    }

    /// Ends the writer and closes the database.
    pub async fn close(&self) {
        self.inner.store.close().await;
    }

    /// The hub's time.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    async fn read(&self) -> Result<Tx> {
        self.inner.store.read().await
    }

    /// Runs a change that `permit` allows, with its audit entries; gives its value and the proof that it is durable, and
    /// seen by as many witnesses as are required.
    async fn change<T, F>(&self, permit: &Permit, run: F) -> Result<(T, Committed)>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Job<T>> + Send + 'static,
    {
        tracing::debug!(family = %permit.family(), act = %permit.act(), "change");
        let started = Instant::now();
        let (value, committed) = self.submit(run).await?;
        self.await_witnesses(&committed, started).await?;
        Ok((value, committed))
    }

    /// Runs a change that no member asks for: the hub's own records, or what a one-time token allows.
    async fn change_by_hub<T, F>(&self, run: F) -> Result<(T, Committed)>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Job<T>> + Send + 'static,
    {
        self.submit(run).await
    }

    /// A connection for reading what `permit` allows.
    async fn read_as(&self, permit: &Permit) -> Result<Tx> {
        tracing::trace!(family = %permit.family(), act = %permit.act(), "read");
        self.read().await
    }
}

/// The etag of an object with this revision (RFC 9110 section 8.8.3, strong).
pub fn etag(revision: i64) -> String {
    format!("\"{revision}\"")
}

/// Refuses a change that was made for another revision. An empty etag means "whatever it is now".
fn require_etag(given: &str, revision: i64, object: impl std::fmt::Display) -> Result<()> {
    if given.is_empty() || given == etag(revision) {
        Ok(())
    } else {
        Err(Error::new(crate::error::Reason::EtagMismatch).with("object", object))
    }
}
