//! The one writer: jobs with their audit entries, many per commit, answered only once they are durable.
//!
//! It takes whatever waits, runs each job under a savepoint of one transaction, appends the job's entries,
//! advances the log's head with a signed checkpoint, commits, and then answers all of them. The commit in
//! progress is the batching window; there is no timer. A job that fails rolls back alone. After a commit that
//! fails or whose fate is unknown, nobody is told "done": each batch reads the head anew.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt as _, future::BoxFuture};
use sqlx::{AnyPool, Executor as _};
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use super::{Engine, LogHead, StoreConfig, Tx, failed, log, outside::Outside};
use crate::{
    audit::{Checkpoint, CheckpointSigner, Committed},
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

type Boxed = Box<dyn Any + Send>;
type Run = Box<dyn for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Job<Boxed>> + Send>;

struct Queued {
    run: Run,
    reply: oneshot::Sender<Result<(Boxed, Vec<Receipt>)>>,
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
        let sequencer = Sequencer {
            committed,
            pool,
            engine,
            signer,
            clock,
            metrics,
            batch: config.writer.batch,
            outside: Outside::new(config.checkpoint_file.clone()),
        };
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

/// What the writer's task owns.
struct Sequencer {
    committed: watch::Sender<u64>,
    pool: AnyPool,
    engine: Engine,
    signer: Arc<dyn CheckpointSigner>,
    clock: Arc<dyn Clock>,
    metrics: WriterMetrics,
    batch: usize,
    outside: Outside,
}

/// Index and leaf hash of each entry of a job.
type Appended = Vec<(u64, [u8; 32])>;

/// A job that ran, waiting for the commit.
struct Ran {
    reply: oneshot::Sender<Result<(Boxed, Vec<Receipt>)>>,
    outcome: Result<(Boxed, Appended)>,
}

/// What a commit has gathered so far.
struct Gathered {
    head: LogHead,
    counters: log::Counters,
    entries: Vec<log::Placed>,
}

impl Sequencer {
    async fn run(mut self, mut queue: mpsc::Receiver<Queued>, stop: tokio_util::sync::CancellationToken) {
        let mut batch = Vec::with_capacity(self.batch);
        loop {
            let taken = tokio::select! {
                biased;
                taken = queue.recv_many(&mut batch, self.batch) => taken,
                () = stop.cancelled() => {
                    queue.close();
                    queue.recv_many(&mut batch, self.batch).await
                }
                () = self.outside.due() => {
                    self.outside.keep().await;
                    continue;
                }
            };
            if taken == 0 {
                self.outside.keep().await;
                return;
            }
            // Whoever gave up waiting has been told that nothing was done: keep it true.
            batch.retain(|job| !job.reply.is_closed());
            if !batch.is_empty() {
                self.commit(batch.drain(..)).await;
            }
        }
    }

    async fn commit(&mut self, batch: impl Iterator<Item = Queued> + Send) {
        let started = Instant::now();
        let mut ran = Vec::new();
        match self.transact(batch, &mut ran).await {
            Ok(head) => {
                let entries =
                    ran.iter().filter_map(|r| r.outcome.as_ref().ok()).map(|(_, hashes)| hashes.len()).sum::<usize>();
                (self.metrics.committed)(started.elapsed(), entries as u64);
                for Ran { reply, outcome } in ran {
                    let _ = reply.send(outcome.map(|(value, hashes)| (value, receipts(hashes, &head.checkpoint))));
                }
            }
            Err(error) => {
                tracing::error!(%error, "a commit failed: nothing of the batch is acknowledged");
                for Ran { reply, .. } in ran {
                    let _ = reply.send(Err(Error::new(Reason::AuditUnavailable)));
                }
            }
        }
    }

    /// One transaction. Dropping the replies of jobs that were not reached answers them `AUDIT_UNAVAILABLE`.
    async fn transact(&mut self, batch: impl Iterator<Item = Queued> + Send, ran: &mut Vec<Ran>) -> Result<LogHead> {
        let conn = self.pool.acquire().await.map_err(failed)?;
        let mut tx = Tx { conn, engine: self.engine };
        tx.conn().execute(self.engine.begin()).await.map_err(failed)?;
        let done = self.run_all(&mut tx, batch, ran).await;
        match done {
            Ok((head, changed)) => {
                if let Err(error) = tx.conn().execute("COMMIT").await {
                    // Its fate is unknown: this connection must not be used again.
                    tx.conn.close().await.ok();
                    return Err(failed(error));
                }
                if changed {
                    self.outside.remember(&head.checkpoint).await;
                    self.committed.send_replace(head.frontier.size());
                }
                Ok(head)
            }
            Err(error) => {
                if tx.conn().execute("ROLLBACK").await.is_err() {
                    tx.conn.close().await.ok();
                }
                Err(error)
            }
        }
    }

    async fn run_all(
        &self,
        tx: &mut Tx,
        batch: impl Iterator<Item = Queued> + Send,
        ran: &mut Vec<Ran>,
    ) -> Result<(LogHead, bool)> {
        let origin = self.signer.origin();
        let head = log::head(tx, origin).await?;
        let old_size = head.frontier.size();
        let mut gathered = Gathered { head, counters: log::Counters::new(), entries: Vec::new() };
        for Queued { run, reply } in batch {
            let mark = (gathered.head.frontier.clone(), gathered.counters.clone(), gathered.entries.len());
            tx.conn().execute("SAVEPOINT job").await.map_err(failed)?;
            let outcome = self.run_one(tx, run, &mut gathered).await;
            if outcome.is_err() {
                gathered.head.frontier = mark.0;
                gathered.counters = mark.1;
                gathered.entries.truncate(mark.2);
                tx.conn().execute("ROLLBACK TO SAVEPOINT job").await.map_err(failed)?;
            }
            tx.conn().execute("RELEASE SAVEPOINT job").await.map_err(failed)?;
            ran.push(Ran { reply, outcome });
        }
        let Gathered { mut head, entries, .. } = gathered;
        let changed = !entries.is_empty();
        if changed {
            log::write(tx, origin, old_size, &entries).await?;
            head.checkpoint = Checkpoint::of(origin, &head.frontier).sign(self.signer.as_ref())?;
            log::advance(tx, origin, old_size, &head).await?;
        }
        Ok((head, changed))
    }

    async fn run_one(&self, tx: &mut Tx, run: Run, gathered: &mut Gathered) -> Result<(Boxed, Appended)> {
        // A panic in a job is that job's failure, not the writer's end (P5).
        let (value, drafts) = AssertUnwindSafe(run(tx))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Err(Error::internal("a job of the writer panicked")))?;
        let mut appended = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let index = gathered.head.frontier.size();
            let (origin, now) = (self.signer.origin(), self.clock.now());
            let placed = log::place(tx, origin, index, now, draft, &mut gathered.counters).await?;
            gathered.head.frontier.append(&placed.leaf.hash);
            appended.push((index, placed.leaf.hash));
            gathered.entries.push(placed);
        }
        Ok((value, appended))
    }
}

fn receipts(hashes: Appended, checkpoint: &str) -> Vec<Receipt> {
    hashes
        .into_iter()
        .map(|(index, leaf_hash)| Receipt { index, leaf_hash, checkpoint: checkpoint.to_owned() })
        .collect()
}
