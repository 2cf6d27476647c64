//! The sequencer: gives entries their place in the log, many in a commit.
//!
//! It takes whatever waits, runs each job under a savepoint of one transaction, appends the job's entries, advances the
//! log's head with a signed checkpoint, commits, and then answers all of them. The commit in progress is the batching
//! window; there is no timer. A job that fails rolls back alone; one that has not touched the database needs no savepoint
//! of its own. Between commits it remembers the head and the next number of each party. After a commit that failed or
//! whose fate is unknown nobody is told "done", nothing is remembered, and the next one reads the head anew.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use sqlx::{AnyPool, Executor as _, pool::PoolConnection};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Engine, LogHead, StoreConfig, Tx, failed, log,
    outside::Outside,
    shard,
    writer::{Boxed, Queued, Reply, Run, WriterMetrics},
};
use crate::{
    audit::{Checkpoint, CheckpointSigner, Shard},
    domain::{Clock, EntryDraft, HalfYear, Receipt},
    error::{Error, Reason, Result},
};

/// Entries after which a commit takes no further job.
const ENTRIES: usize = 2048;
/// Parties whose next number is remembered from one commit to the next.
const PARTIES: usize = 16_384;

/// What the writer's task owns.
pub(super) struct Sequencer {
    committed: watch::Sender<u64>,
    pool: AnyPool,
    engine: Engine,
    signer: Arc<dyn CheckpointSigner>,
    clock: Arc<dyn Clock>,
    metrics: WriterMetrics,
    batch: usize,
    timeout: Duration,
    outside: Outside,
    known: Option<Known>,
}

/// What the last commit has left, as long as nobody else has written since.
struct Known {
    head: LogHead,
    counters: log::Counters,
    /// The half-year that the log is in.
    shard: Option<shard::Current>,
}

/// Index and leaf hash of each entry of a job.
type Appended = Vec<(u64, [u8; 32])>;

/// A job that ran, waiting for the commit.
struct Ran {
    reply: Reply,
    outcome: Result<(Boxed, Appended)>,
}

/// What a commit has gathered so far.
struct Gathered {
    head: LogHead,
    counters: log::Counters,
    entries: Vec<log::Placed>,
}

impl Sequencer {
    pub(super) fn new(
        pool: AnyPool,
        engine: Engine,
        config: &StoreConfig,
        signer: Arc<dyn CheckpointSigner>,
        clock: Arc<dyn Clock>,
        metrics: WriterMetrics,
        committed: watch::Sender<u64>,
    ) -> Self {
        let (batch, timeout) = (config.writer.batch, config.writer.timeout);
        let outside = Outside::new(config.checkpoint_file.clone());
        Self { committed, pool, engine, signer, clock, metrics, batch, timeout, outside, known: None }
    }

    /// Works until `stop`, then on what is still queued.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Queued>, stop: CancellationToken) {
        loop {
            let next = tokio::select! {
                biased;
                next = queue.recv() => next,
                () = stop.cancelled(), if !queue.is_closed() => {
                    queue.close();
                    continue;
                }
                () = self.outside.due() => {
                    self.outside.keep().await;
                    continue;
                }
            };
            let Some(first) = next else {
                self.outside.keep().await;
                return;
            };
            self.commit(first, &mut queue).await;
            // Whoever has just been answered gets the word first, so that what it asks next is in the next commit.
            tokio::task::yield_now().await;
        }
    }

    async fn commit(&mut self, first: Queued, queue: &mut mpsc::Receiver<Queued>) {
        let started = Instant::now();
        let mut ran = Vec::new();
        match self.transact(first, queue, &mut ran).await {
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

    /// One transaction. Dropping the reply of a job that did not come to its end answers it `AUDIT_UNAVAILABLE`.
    async fn transact(
        &mut self,
        first: Queued,
        queue: &mut mpsc::Receiver<Queued>,
        ran: &mut Vec<Ran>,
    ) -> Result<LogHead> {
        let known = self.known.take();
        let conn = self.pool.acquire().await.map_err(failed)?;
        let mut tx = Tx { conn, engine: self.engine, used: false };
        let work = self.gather_and_commit(&mut tx, known, first, queue, ran);
        let done = match self.engine {
            // A disk that hangs cannot be left: its next sync would only tell less.
            Engine::Sqlite => work.await,
            // A peer that has gone silent can: whoever waits has been answered by now, and whatever became of the
            // transaction, reading the head waits for its end.
            Engine::Postgres => tokio::time::timeout(self.timeout, work)
                .await
                .unwrap_or_else(|_| Err(End::Unknown(Error::new(Reason::AuditUnavailable)))),
        };
        let (known, changed) = match done {
            Ok(done) => done,
            Err(End::Failed(error)) => {
                let rolled_back = tokio::time::timeout(self.timeout, tx.conn().execute("ROLLBACK")).await;
                if !matches!(rolled_back, Ok(Ok(_))) {
                    abandon(tx.conn, self.engine).await;
                }
                return Err(error);
            }
            Err(End::Unknown(error)) => {
                abandon(tx.conn, self.engine).await;
                return Err(error);
            }
        };
        drop(tx);
        let head = known.head.clone();
        self.known = Some(known);
        if changed {
            self.outside.remember(&head.checkpoint).await;
            self.committed.send_replace(head.frontier.size());
        }
        Ok(head)
    }

    async fn gather_and_commit(
        &self,
        tx: &mut Tx,
        known: Option<Known>,
        first: Queued,
        queue: &mut mpsc::Receiver<Queued>,
        ran: &mut Vec<Ran>,
    ) -> std::result::Result<(Known, bool), End> {
        tx.conn().execute(self.engine.begin_with_savepoint()).await.map_err(failed)?;
        let Known { head, counters, mut shard } = self.current(tx, known).await?;
        let (origin, old_size) = (self.signer.origin(), head.frontier.size());
        let mut gathered = Gathered { head, counters, entries: Vec::new() };
        let ended = self.cross_border(tx, &mut shard, &mut gathered).await?;
        self.run_all(tx, first, queue, &mut gathered, ran).await?;
        if let (Some(ended), Some(current)) = (ended, shard) {
            shard::end(tx, origin, &ended, current.name).await?;
        }
        let Gathered { mut head, mut counters, entries } = gathered;
        let changed = !entries.is_empty();
        if changed {
            head.checkpoint = Checkpoint::of(origin, &head.frontier).sign(self.signer.as_ref())?;
            log::write(tx, origin, old_size, &head, entries).await?;
        }
        tx.conn().execute("COMMIT").await.map_err(|error| End::Unknown(failed(error)))?;
        if counters.len() > PARTIES {
            counters.clear();
        }
        Ok((Known { head, counters, shard }, changed))
    }

    /// When the first commit of a new half-year begins, places the entry that says so before all others.
    ///
    /// A clock that goes back crosses no border; entries on both sides of one may be out of step with it by a commit.
    async fn cross_border(
        &self,
        tx: &mut Tx,
        current: &mut Option<shard::Current>,
        gathered: &mut Gathered,
    ) -> Result<Option<Shard>> {
        let (Some(now), false) = (HalfYear::of(self.clock.now()), gathered.head.frontier.size() == 0) else {
            return Ok(None);
        };
        if current.is_none_or(|current| current.name < now) {
            // Another replica may have been here.
            *current = shard::current(tx, self.signer.origin()).await?;
        }
        let Some(ending) = current.filter(|current| current.name < now) else { return Ok(None) };
        let (size, checkpoint) = (gathered.head.frontier.size(), gathered.head.checkpoint.clone());
        let ended = Shard { name: ending.name, first: ending.first, size, checkpoint };
        gathered.place(self.signer.origin(), self.clock.as_ref(), vec![ended.border(now)])?;
        *current = Some(shard::Current { name: now, first: size });
        Ok(Some(ended))
    }

    /// The head of the log and what is known of its counters.
    ///
    /// On SQLite nobody else writes while this process holds the file (`lock.rs`), and advancing the head fails if
    /// somebody did. On PostgreSQL reading the head is what keeps other replicas from advancing it.
    async fn current(&self, tx: &mut Tx, known: Option<Known>) -> Result<Known> {
        match (self.engine, known) {
            (Engine::Sqlite, Some(known)) => Ok(known),
            (_, known) => {
                let head = log::head(tx, self.signer.origin()).await?;
                let shard = known.as_ref().and_then(|known| known.shard);
                let counters = known.filter(|known| known.head.checkpoint == head.checkpoint).map(|k| k.counters);
                Ok(Known { head, counters: counters.unwrap_or_default(), shard })
            }
        }
    }

    /// Runs the first job and whatever else waits by then.
    async fn run_all(
        &self,
        tx: &mut Tx,
        first: Queued,
        queue: &mut mpsc::Receiver<Queued>,
        gathered: &mut Gathered,
        ran: &mut Vec<Ran>,
    ) -> Result<()> {
        let mut next = Some(first);
        // Whether the savepoint stands where the transaction does.
        let mut fresh = true;
        while let Some(Queued { run, reply }) = next.take() {
            // Whoever gave up waiting has been told that nothing was done: keep it true.
            if !reply.is_closed() {
                if !fresh {
                    tx.conn().execute("RELEASE SAVEPOINT job; SAVEPOINT job").await.map_err(failed)?;
                }
                tx.used = false;
                let outcome = self.run_one(tx, run, gathered).await;
                fresh = !tx.used;
                if outcome.is_err() && tx.used {
                    tx.conn().execute("ROLLBACK TO SAVEPOINT job").await.map_err(failed)?;
                    fresh = true;
                }
                ran.push(Ran { reply, outcome });
            }
            if ran.len() < self.batch && gathered.entries.len() < ENTRIES {
                next = queue.try_recv().ok();
            }
        }
        Ok(())
    }

    async fn run_one(&self, tx: &mut Tx, run: Run, gathered: &mut Gathered) -> Result<(Boxed, Appended)> {
        // A panic in a job is that job's failure, not the writer's end (P5).
        let yielded = AssertUnwindSafe(run(tx))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Err(Error::internal("a job of the writer panicked")));
        let (value, drafts) = yielded?;
        log::learn(tx, &drafts, &mut gathered.counters).await?;
        let appended = gathered.place(self.signer.origin(), self.clock.as_ref(), drafts)?;
        Ok((value, appended))
    }
}

impl Gathered {
    /// Gives all these entries their place, or none of them.
    fn place(&mut self, origin: &str, clock: &dyn Clock, drafts: Vec<EntryDraft>) -> Result<Appended> {
        let first = self.head.frontier.size();
        let mut placed = Vec::with_capacity(drafts.len());
        let mut taken = log::Counters::new();
        for (index, draft) in (first..).zip(drafts) {
            placed.push(log::place(origin, index, clock.now(), draft, &self.counters, &mut taken)?);
        }
        self.counters.append(&mut taken);
        for one in &placed {
            self.head.frontier.append(&one.leaf.hash);
        }
        let appended = placed.iter().map(|one| (one.index, one.leaf.hash)).collect();
        self.entries.append(&mut placed);
        Ok(appended)
    }
}

/// Why a transaction was not committed.
enum End {
    /// It can be rolled back.
    Failed(Error),
    /// It may have been committed: its connection must not be used again, and the head is to be read anew.
    Unknown(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Ends a connection in whatever state it is.
async fn abandon(conn: PoolConnection<sqlx::Any>, engine: Engine) {
    match engine {
        // Its thread still has the file: the next transaction begins after it has let go of it.
        Engine::Sqlite => drop(conn.close().await),
        // A peer that does not answer is not told: the socket is closed.
        Engine::Postgres => drop(conn.detach()),
    }
}

fn receipts(hashes: Appended, checkpoint: &str) -> Vec<Receipt> {
    hashes
        .into_iter()
        .map(|(index, leaf_hash)| Receipt { index, leaf_hash, checkpoint: checkpoint.to_owned() })
        .collect()
}
