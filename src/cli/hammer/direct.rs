//! The sequencer alone: durable appends, many in a commit, beside one commit for each.
//!
//! Knows the store and nothing above it, so that `benches/audit` can build it, optimised, without the rest of the hub.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Map, Value as Json, json};

use super::stats::{Latencies, rounded, times};
use crate::{
    audit::CheckpointSigner,
    domain::{Clock as _, EntryDraft, EntryKind, MemberId, SystemClock},
    error::{Error, Result},
    store::{Store, StoreConfig, WriterConfig, WriterMetrics, audit},
};

/// Entries in a job of the preload: fewer round trips, the same rows.
const PRELOADED: u64 = 64;
/// Jobs of the preload at a time.
const PRELOADING: usize = 16;

/// What to measure, and where.
#[derive(Debug)]
pub(super) struct Plan {
    /// The database; empty, or of an earlier run with the same key.
    pub(super) url: String,
    /// Where the last checkpoint is kept.
    pub(super) checkpoint_file: PathBuf,
    /// Signs the log.
    pub(super) signer: Arc<dyn CheckpointSigner>,
    /// Who appends one entry after the other, at a time.
    pub(super) writers: u32,
    /// How long each part runs.
    pub(super) duration: Duration,
    /// Entries that the log gets before it is measured.
    pub(super) preload: u64,
}

/// A log that is open.
pub(super) struct Log {
    pub(super) store: Store,
    commits: Arc<AtomicU64>,
}

/// What appending gave.
pub(super) struct Figures {
    pub(super) per_second: u64,
    pub(super) json: Json,
}

impl Plan {
    /// Measures; tells in English and French what it is about to do.
    pub(super) async fn run(&self, say: &mut (dyn FnMut(&str, &str) + Send)) -> Result<Map<String, Json>> {
        let mut measured = Map::new();
        let batch = WriterConfig::default().batch;
        if self.preload > 0 {
            say(&format!("preloading {} entries", self.preload), &format!("préparation de {} entrées", self.preload));
            let log = self.open(batch).await?;
            let started = Instant::now();
            preload(&log.store, self.preload).await?;
            let per_second = rounded(self.preload, started.elapsed());
            measured.insert("preload".to_owned(), json!({"entries": self.preload, "per_second": per_second}));
            log.store.close().await;
        }
        let started = Instant::now();
        self.open(1).await?.store.close().await;
        measured.insert("start_ms".to_owned(), json!(started.elapsed().as_secs_f64() * 1_000.0));
        say("one commit for each entry", "une transaction par entrée");
        let each = self.append(1, 1).await?;
        say("as many in a commit as wait", "autant par transaction qu'il en attend");
        let grouped = self.append(batch, 1).await?;
        measured.insert("times_one_commit_each".to_owned(), json!(times(grouped.per_second, each.per_second)));
        measured.insert("one_commit_each".to_owned(), each.json);
        measured.insert("group_commit".to_owned(), grouped.json);
        Ok(measured)
    }

    /// Opens the log, with so many jobs in a commit at most.
    pub(super) async fn open(&self, batch: usize) -> Result<Log> {
        let commits = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&commits);
        let config = StoreConfig {
            url: self.url.clone(),
            max_connections: 4,
            checkpoint_file: self.checkpoint_file.clone(),
            writer: WriterConfig { batch, ..WriterConfig::default() },
        };
        let committed = Arc::new(move |_, _| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let store =
            Store::open(config, Arc::clone(&self.signer), Arc::new(SystemClock), WriterMetrics { committed }).await?;
        Ok(Log { store, commits })
    }

    /// All writers append, spread over so many stores on one database.
    pub(super) async fn append(&self, batch: usize, replicas: usize) -> Result<Figures> {
        let mut logs = Vec::new();
        for _ in 0..replicas.max(1) {
            logs.push(self.open(batch).await?);
        }
        let bytes_before = audit::size_bytes(&mut logs[0].store.read().await?).await?;
        let started = Instant::now();
        let mut writers = tokio::task::JoinSet::new();
        for (writer, log) in (0..self.writers).zip(logs.iter().cycle()) {
            writers.spawn(write(log.store.clone(), writer, started, self.duration));
        }
        let mut took = Latencies::default();
        for one in writers.join_all().await {
            took.merge(one?);
        }
        let elapsed = started.elapsed();
        let bytes = audit::size_bytes(&mut logs[0].store.read().await?).await?.saturating_sub(bytes_before);
        let commits = logs.iter().map(|log| log.commits.load(Ordering::Relaxed)).sum();
        for log in logs {
            log.store.close().await;
        }
        let entries = took.count();
        let per_second = rounded(entries, elapsed);
        let json = json!({
            "entries": entries, "appends_per_second": per_second, "time_to_durable_ms": took.summary(),
            "commits": commits, "entries_per_commit": times(entries, commits),
            "bytes_per_entry": bytes / entries.max(1),
        });
        Ok(Figures { per_second, json })
    }
}

/// Appends one entry after the other, each as soon as the one before is durable.
async fn write(store: Store, writer: u32, started: Instant, until: Duration) -> Result<Latencies> {
    let mut took = Latencies::default();
    while started.elapsed() < until {
        let draft = decision(writer)?;
        let begun = Instant::now();
        store.writer().submit(move |_| Box::pin(async move { Ok(((), vec![draft])) })).await?;
        took.add(begun.elapsed());
    }
    Ok(took)
}

/// Appends so many entries as fast as it goes.
pub(super) async fn preload(store: &Store, entries: u64) -> Result<()> {
    let mut jobs = tokio::task::JoinSet::new();
    let mut left = entries;
    let mut number = 0;
    while left > 0 {
        if jobs.len() >= PRELOADING
            && let Some(done) = jobs.join_next().await
        {
            done.map_err(Error::internal)??;
        }
        let size = left.min(PRELOADED);
        let drafts = (0..size).map(|_| decision(number)).collect::<Result<Vec<_>>>()?;
        let store = store.clone();
        jobs.spawn(async move {
            store.writer().submit(move |_| Box::pin(async move { Ok(((), drafts)) })).await.map(|_| ())
        });
        left -= size;
        number = (number + 1) % 64;
    }
    jobs.join_all().await.into_iter().collect()
}

/// What a query's decision looks like in the log: two parties, a member, the text as a commitment.
fn decision(writer: u32) -> Result<EntryDraft> {
    let lab = format!("lab_{}", writer % 8).parse()?;
    let mut draft = EntryDraft::new(EntryKind::QueryDecision)
        .about(&"chu.stays".parse()?)
        .concerning(&lab)
        .purpose(&"scientific_research".parse()?)
        .fence(1)
        .fact("query", "0190b8a0-0000-7000-8000-000000000001")
        .fact("decision", "permit")
        .fact("max_rows", "10000")
        .secret("sql", "SELECT commune, count(*) FROM chu.stays GROUP BY commune");
    draft.actor = Some(lab);
    draft.member = Some(MemberId::generate(SystemClock.now()));
    Ok(draft)
}
