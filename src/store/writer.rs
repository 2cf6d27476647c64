//! The one writer, as everyone else sees it: jobs with their audit entries, answered only once they are durable.
//!
//! The queue in front of it is bounded and so is every wait (P7). What happens behind it is in `sequencer.rs`.

use std::{any::Any, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use sqlx::AnyPool;
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use super::{Engine, StoreConfig, Tx, sequencer::Sequencer};
use crate::{
    audit::{CheckpointSigner, Committed},
    domain::{Clock, EntryDraft, Receipt},
    error::{Error, Reason, Result},
};

/// How the writer batches and waits.
#[derive(Debug, Clone, Copy)]
pub struct WriterConfig {
    /// Jobs that may wait; more are answered `OVERLOADED`.
    pub queue: usize,
    /// Most jobs in one commit.
    pub batch: usize,
    /// How long a caller waits for durability before `AUDIT_UNAVAILABLE` (P7).
    pub timeout: Duration,
}

impl Default for WriterConfig {
    fn default() -> Self {
        Self { queue: 4096, batch: 512, timeout: Duration::from_secs(2) }
    }
}

/// What the writer reports; `app` connects it to the metrics registry.
#[derive(Clone)]
pub struct WriterMetrics {
    /// Called after each commit with its duration and the number of entries in it.
    pub committed: Arc<dyn Fn(Duration, u64) + Send + Sync>,
}

impl std::fmt::Debug for WriterMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WriterMetrics")
    }
}

impl Default for WriterMetrics {
    fn default() -> Self {
        Self { committed: Arc::new(|_, _| {}) }
    }
}

/// What a job yields: its value and the entries that record it.
pub type Job<T> = Result<(T, Vec<EntryDraft>)>;

pub(super) type Boxed = Box<dyn Any + Send>;
pub(super) type Run = Box<dyn for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Job<Boxed>> + Send>;
pub(super) type Reply = oneshot::Sender<Result<(Boxed, Vec<Receipt>)>>;

/// A job on its way to the sequencer.
pub(super) struct Queued {
    pub(super) run: Run,
    pub(super) reply: Reply,
}

/// The handle through which every change goes.
#[derive(Debug, Clone)]
pub struct Writer {
    jobs: mpsc::Sender<Queued>,
    timeout: Duration,
    head: watch::Receiver<u64>,
    task: Arc<Mutex<Option<tokio::task::JoinHandle<()>>>>,
    stop: tokio_util::sync::CancellationToken,
}

impl std::fmt::Debug for Queued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Queued")
    }
}

impl Writer {
    pub(super) fn start(
        pool: AnyPool,
        engine: Engine,
        config: &StoreConfig,
        signer: Arc<dyn CheckpointSigner>,
        clock: Arc<dyn Clock>,
        metrics: WriterMetrics,
    ) -> Self {
        let (jobs, queue) = mpsc::channel(config.writer.queue);
        let stop = tokio_util::sync::CancellationToken::new();
        let (committed, head) = watch::channel(0);
        let sequencer = Sequencer::new(pool, engine, config, signer, clock, metrics, committed);
        let task = tokio::spawn(sequencer.run(queue, stop.clone()));
        Self { jobs, timeout: config.writer.timeout, head, task: Arc::new(Mutex::new(Some(task))), stop }
    }

    /// Runs a job in the next commit and returns its value with the receipt of its first entry.
    ///
    /// The job must yield at least one entry: a change that is not audited is refused as a defect.
    pub async fn submit<T, F>(&self, run: F) -> Result<(T, Committed)>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Job<T>> + Send + 'static,
    {
        let (value, receipts) = self.enqueue(run).await?;
        let first =
            receipts.into_iter().next().ok_or_else(|| Error::internal("a job changed data without an entry"))?;
        Ok((value, Committed::after_commit(first)))
    }

    /// Runs a job that only prepares what a later [`Writer::submit`] makes visible; it appends no entry.
    pub async fn stage<F>(&self, run: F) -> Result<()>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<()>> + Send + 'static,
    {
        self.enqueue(move |tx| {
            let running = run(tx);
            Box::pin(async move {
                running.await?;
                Ok(((), Vec::new()))
            })
        })
        .await
        .map(|_| ())
    }

    /// Changes whenever this process commits entries from now on, to the size of the log then.
    pub fn head(&self) -> watch::Receiver<u64> {
        let mut head = self.head.clone();
        head.mark_unchanged();
        head
    }

    /// Lets the queued jobs end and takes no more.
    pub async fn drain(&self) {
        self.stop.cancel();
        if let Some(task) = self.task.lock().await.take() {
            let _ = task.await;
        }
    }

    async fn enqueue<T, F>(&self, run: F) -> Result<(T, Vec<Receipt>)>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Job<T>> + Send + 'static,
    {
        let run: Run = Box::new(move |tx| {
            let running = run(tx);
            Box::pin(async move {
                let (value, drafts) = running.await?;
                Ok((Box::new(value) as Boxed, drafts))
            })
        });
        let (reply, answer) = oneshot::channel();
        self.jobs.try_send(Queued { run, reply }).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => Error::new(Reason::Overloaded),
            mpsc::error::TrySendError::Closed(_) => Error::new(Reason::AuditUnavailable),
        })?;
        let answer = tokio::time::timeout(self.timeout, answer)
            .await
            .map_err(|_| Error::new(Reason::AuditUnavailable))?
            .map_err(|_| Error::new(Reason::AuditUnavailable))?;
        let (value, receipts) = answer?;
        let value = value.downcast::<T>().map_err(|_| Error::internal("a job answered with another type"))?;
        Ok((*value, receipts))
    }
}
