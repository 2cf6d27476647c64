//! Every SQL statement of the hub, for SQLite and PostgreSQL, and the one writer.
//!
//! One file per noun, functions on `&mut Tx`, rows become domain types here. Reads take a [`Tx`] from
//! [`Store::read`]; every change is a job of the [`Writer`], which appends its audit entries in the same
//! transaction. What differs between the two databases is in `engine.rs`, and in `bulk.rs` for many rows.

pub mod access;
pub mod audit;
mod bulk;
pub mod consent;
pub mod cosignature;
pub mod dataset;
mod engine;
pub mod erasure;
mod fsck;
pub mod limit;
mod lock;
mod log;
pub mod member;
mod outside;
pub mod participant;
pub mod policy;
pub mod privacy;
pub mod request;
pub mod retention;
mod row;
mod sequencer;
pub mod shard;
#[cfg(test)]
mod tests;
mod tile;
mod writer;

use std::{fs::File, path::PathBuf, sync::Arc, time::Duration};

use sqlx::{AnyPool, any::AnyPoolOptions, pool::PoolConnection};

pub use self::{
    engine::Engine,
    fsck::{Fsck, fsck},
    log::LogHead,
    writer::{Job, Writer, WriterConfig, WriterMetrics},
};
use crate::{
    audit::CheckpointSigner,
    domain::Clock,
    error::{Error, Reason, Result},
};

/// Where and how to store.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// `sqlite://PATH` or `postgres://...`.
    pub url: String,
    /// Connections for reading.
    pub max_connections: u32,
    /// A file outside the database that keeps the last checkpoint, so that a roll-back is noticed.
    pub checkpoint_file: PathBuf,
    /// How the writer batches and waits.
    pub writer: WriterConfig,
}

/// The database with its one writer.
#[derive(Debug, Clone)]
pub struct Store {
    pool: AnyPool,
    engine: Engine,
    writer: Writer,
    /// Of a SQLite file; see [`lock`].
    lock: Option<Arc<File>>,
}

/// A connection, inside a transaction when the writer hands it out.
#[derive(Debug)]
pub struct Tx {
    conn: PoolConnection<sqlx::Any>,
    engine: Engine,
    /// Set by every use of the connection; a job that leaves it unset has changed nothing.
    used: bool,
}

impl Store {
    /// Connects, checks durability settings, migrates, checks the log against the last known checkpoint and
    /// starts the writer.
    pub async fn open(
        config: StoreConfig,
        signer: Arc<dyn CheckpointSigner>,
        clock: Arc<dyn Clock>,
        metrics: WriterMetrics,
    ) -> Result<Self> {
        let engine = Engine::of_url(&config.url)?;
        let lock = lock::lock(engine, &config.url)?.map(Arc::new);
        let pool =
            engine.connect(AnyPoolOptions::new().max_connections(config.max_connections.max(2)), &config.url).await?;
        engine.migrate(&pool).await?;
        let mut tx = Tx { conn: pool.acquire().await.map_err(unavailable)?, engine, used: false };
        log::catch_up(&mut tx, signer.origin()).await?;
        log::check_against_file(&mut tx, signer.as_ref(), &config.checkpoint_file).await?;
        drop(tx);
        let writer = Writer::start(pool.clone(), engine, &config, signer, clock, metrics);
        Ok(Self { pool, engine, writer, lock })
    }

    /// A connection for reading. Each statement sees what is committed when it runs.
    pub async fn read(&self) -> Result<Tx> {
        Ok(Tx { conn: self.pool.acquire().await.map_err(unavailable)?, engine: self.engine, used: false })
    }

    /// Which database it is.
    pub const fn engine(&self) -> Engine {
        self.engine
    }

    /// Through which every change goes.
    pub const fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Ends the writer after what is queued, then closes every connection.
    pub async fn close(&self) {
        self.writer.drain().await;
        self.pool.close().await;
        if let Some(Err(error)) = self.lock.as_ref().map(|lock| lock.unlock()) {
            tracing::warn!(%error, "the lock of the database could not be given back");
        }
    }

    /// True if the database answers within `timeout`.
    pub async fn is_ready(&self, timeout: Duration) -> bool {
        let probe = async {
            let mut tx = self.read().await?;
            sqlx::query("SELECT 1").execute(&mut *tx.conn).await.map_err(unavailable)?;
            Ok::<(), Error>(())
        };
        matches!(tokio::time::timeout(timeout, probe).await, Ok(Ok(())))
    }
}

impl Tx {
    pub(in crate::store) fn conn(&mut self) -> &mut sqlx::AnyConnection {
        self.used = true;
        &mut self.conn
    }

    /// Bumps the revision of a topic; caches and open streams that depend on it notice.
    pub async fn bump(&mut self, topic: &Topic<'_>) -> Result<()> {
        let sql = "INSERT INTO revision (topic, value) VALUES ($1, 1)
                   ON CONFLICT (topic) DO UPDATE SET value = revision.value + 1";
        sqlx::query(sql).bind(topic.key()).execute(self.conn()).await.map_err(failed)?;
        Ok(())
    }

    /// The revisions of `topics`, in their order; 0 for one that never changed.
    pub async fn revisions(&mut self, topics: &[String]) -> Result<Vec<i64>> {
        let mut values = Vec::with_capacity(topics.len());
        for topic in topics {
            let value: Option<i64> = sqlx::query_scalar("SELECT value FROM revision WHERE topic = $1")
                .bind(topic)
                .fetch_optional(self.conn())
                .await
                .map_err(failed)?;
            values.push(value.unwrap_or(0));
        }
        Ok(values)
    }
}

/// What a revision counts the changes of.
#[derive(Debug, Clone, Copy)]
pub enum Topic<'a> {
    /// Members, certificates and standing of a participant.
    Participant(&'a crate::domain::ParticipantId),
    /// Every membership of the hub: what the hub's role decisions are built from.
    Memberships,
    /// Policies, state and snapshots of a dataset.
    Dataset(&'a crate::domain::DatasetId),
    /// Consents on a dataset.
    Consents(&'a crate::domain::DatasetId),
    /// Grants of a participant.
    Grants(&'a crate::domain::ParticipantId),
}

impl Topic<'_> {
    /// The key in the store.
    pub fn key(&self) -> String {
        match self {
            Self::Participant(id) => format!("participant/{id}"),
            Self::Memberships => "memberships".to_owned(),
            Self::Dataset(id) => format!("dataset/{id}"),
            Self::Consents(id) => format!("consents/{id}"),
            Self::Grants(id) => format!("grants/{id}"),
        }
    }
}

/// A statement failed for a reason that is not the caller's.
fn failed(error: sqlx::Error) -> Error {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) => unavailable(error),
        sqlx::Error::Database(database) => Error::internal(format_args!("database: {}", database.message())),
        other => Error::internal(format_args!("store: {other}")),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "so that it fits `map_err`")]
fn unavailable(error: sqlx::Error) -> Error {
    tracing::warn!(%error, "the database does not answer");
    Error::new(Reason::Unavailable)
}

/// As [`failed`], but a violated unique key means that `object` exists already.
fn exists(object: impl std::fmt::Display) -> impl FnOnce(sqlx::Error) -> Error {
    move |error| match error.as_database_error() {
        Some(database) if database.is_unique_violation() => Error::new(Reason::AlreadyExists).with("object", object),
        _ => failed(error),
    }
}

/// Refuses a change that reached no row: the object has another revision than the one that was read.
fn require_one(done: &sqlx::any::AnyQueryResult, object: impl std::fmt::Display) -> Result<()> {
    if done.rows_affected() == 1 { Ok(()) } else { Err(Error::new(Reason::EtagMismatch).with("object", object)) }
}
