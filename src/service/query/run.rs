//! A released query: its stream, the watch over what it rests on, and its OUTCOME entry.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::StreamExt as _;

use super::{
    QueryRequest, Release, Services,
    record::{self, End},
    resolve::{DatasetUse, Fence, Resolved},
    slots::Slot,
};
use crate::{
    domain::{Caller, DatasetId, EntryDraft, QueryId, Receipt, Timestamp},
    error::{Error, Reason, Result},
    policy::{Act, Domain, Family},
    query::{Answer, IpcEncoder, Planned, RecordBatch, SchemaRef},
    store::{
        privacy::{self, KeptAnswer},
        request,
    },
};

/// How often an open stream looks whether what it rests on still holds (P2 allows one second).
const WATCH: Duration = Duration::from_millis(250);

/// How often, and after which pause, an outcome is recorded again when the log did not take it.
const OUTCOME_ATTEMPTS: usize = 60;
const OUTCOME_PAUSE: Duration = Duration::from_secs(1);

/// How a query ended.
#[derive(Debug, Clone)]
pub struct QuerySummary {
    /// Rows that left.
    pub rows: u64,
    /// Bytes that left.
    pub bytes: u64,
    /// Receipt of the OUTCOME entry.
    pub outcome: Receipt,
    /// From the start to the last byte.
    pub duration: Duration,
}

/// A query whose decision is durable. Dropping it before the end cancels it and records that.
#[derive(Debug)]
pub struct QueryRun {
    /// Its id.
    pub id: QueryId,
    /// What governs each dataset.
    pub uses: Vec<DatasetUse>,
    /// Receipt of the DECISION entry.
    pub decision: Receipt,
    services: Services,
    caller: Caller,
    ask: QueryRequest,
    fence: Fence,
    answer: Answer,
    /// Under which question, about which dataset, an answer with noise is kept.
    question: Option<(String, DatasetId)>,
    encoder: Option<IpcEncoder>,
    started: Instant,
    checked: Instant,
    rows: u64,
    bytes: Arc<AtomicU64>,
    ended: bool,
    closed: bool,
    _slot: Slot,
}

impl QueryRun {
    #[expect(clippy::too_many_arguments, reason = "called once, with what the decision has gathered")]
    pub(super) async fn start(
        services: Services,
        caller: Caller,
        ask: &QueryRequest,
        id: QueryId,
        resolved: Resolved,
        planned: Planned,
        release: Release,
        slot: Slot,
    ) -> Result<Self> {
        let engine = &services.inner.engine;
        let (receipt, question, answer) = match release {
            Release::Plain(decision) => (decision.receipt().clone(), None, engine.execute(planned, decision)),
            Release::Again(decision, kept) => (decision.receipt().clone(), None, engine.again(&kept, decision)),
            Release::Charged(charged, question) => {
                let dataset = planned.privacy_loss().map(|loss| loss.dataset.clone());
                let question = dataset.map(|dataset| (question, dataset));
                (charged.receipt().clone(), question, engine.execute_charged(planned, charged))
            }
        };
        let started = Instant::now();
        match answer {
            Ok(answer) => Ok(Self {
                id,
                uses: resolved.uses,
                decision: receipt,
                encoder: Some(IpcEncoder::new(answer.schema())?),
                services,
                caller,
                ask: ask.clone(),
                fence: resolved.fence,
                answer,
                question,
                started,
                checked: started,
                rows: 0,
                bytes: Arc::default(),
                ended: false,
                closed: false,
                _slot: slot,
            }),
            Err(error) => {
                let end = End { how: error.reason().name(), rows: 0, bytes: 0 };
                close(&services, id, record::outcome(&caller, &resolved.uses, id, end, None), None).await?;
                Err(error)
            }
        }
    }

    /// The next bytes of the Arrow IPC stream; none when it has ended, after which [`Self::finish`] is called.
    pub async fn next(&mut self) -> Option<Result<Vec<u8>>> {
        self.encoder.as_ref()?;
        let encoded = match self.next_batch().await {
            Some(Ok(batch)) => self.encoder.as_mut()?.batch(&batch),
            Some(Err(error)) => {
                self.encoder = None;
                return Some(Err(error));
            }
            None => self.encoder.take()?.end(),
        };
        Some(match encoded {
            Ok(bytes) => {
                self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                Ok(bytes)
            }
            Err(error) => {
                self.encoder = None;
                Err(self.fail(super::with_id(error, self.id)).await)
            }
        })
    }

    /// The next rows, for a transport that encodes them itself and counts what it sends in [`Self::sent`]; none when
    /// the answer has ended, after which [`Self::finish`] is called.
    ///
    /// While it waits for rows it watches what the decision rests on, and cuts the stream when that has changed.
    pub async fn next_batch(&mut self) -> Option<Result<RecordBatch>> {
        while !self.ended {
            if self.checked.elapsed() >= WATCH {
                self.checked = Instant::now();
                if let Err(error) = self.still_holds().await {
                    return Some(Err(self.fail(error).await));
                }
                continue;
            }
            match tokio::time::timeout(WATCH, self.answer.next()).await {
                Err(_) => {}
                Ok(Some(Ok(batch))) => {
                    self.rows += batch.num_rows() as u64;
                    return Some(Ok(batch));
                }
                Ok(Some(Err(error))) => return Some(Err(self.fail(super::with_id(error, self.id)).await)),
                Ok(None) => self.ended = true,
            }
        }
        None
    }

    /// The columns of the answer.
    pub const fn schema(&self) -> &SchemaRef {
        self.answer.schema()
    }

    /// The bytes that have left, for the OUTCOME entry.
    pub fn sent(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.bytes)
    }

    /// Records how it ended.
    pub async fn finish(mut self) -> Result<QuerySummary> {
        let duration = self.started.elapsed();
        let outcome = self.close("complete").await?;
        Ok(QuerySummary { rows: self.rows, bytes: self.sent_bytes(), outcome, duration })
    }

    /// Whether grants, policies, consents and the caller's standing are still what the decision was taken on.
    async fn still_holds(&mut self) -> Result<()> {
        let cut = || Error::new(Reason::QueryCut);
        let mut tx = self.services.read().await?;
        let values = tx.revisions(&self.fence.topics).await?;
        if values == self.fence.values {
            return Ok(());
        }
        let changed = |prefix: &str| {
            let pairs = self.fence.values.iter().zip(&values);
            self.fence.topics.iter().zip(pairs).any(|(topic, (old, new))| topic.starts_with(prefix) && old != new)
        };
        if changed("consents/") {
            return Err(cut());
        }
        // Something near it changed: take the decision again and see whether it would be the same.
        let (member, participant) = (self.caller.member, self.caller.participant.clone());
        let credential = self.caller.credential.clone();
        let now = self.services.now();
        let caller = crate::store::member::identify(&mut tx, member, &participant, credential, now).await;
        drop(tx);
        let caller = caller.map_err(|_| cut())?;
        let allowed = self.services.authorise(&caller, &participant, Family::Query, Act::Run).await;
        allowed.map_err(|_| cut())?.require(Domain::Participant(&participant), Family::Query, Act::Run)?;
        let tables = self.uses.iter().map(|one| one.dataset.clone()).collect();
        let again = self.services.resolve(&caller, &tables, &self.ask).await.map_err(|_| cut())?;
        let same = again.uses.iter().zip(&self.uses).all(|(new, old)| {
            new.policy == old.policy
                && new.rule == old.rule
                && new.grant == old.grant
                && new.row_filter == old.row_filter
        });
        if !same {
            return Err(cut());
        }
        self.fence = again.fence;
        Ok(())
    }

    async fn fail(&mut self, error: Error) -> Error {
        self.ended = true;
        match self.close(error.reason().name()).await {
            Ok(_) => error,
            Err(unrecorded) => unrecorded,
        }
    }

    fn sent_bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    async fn close(&mut self, end: &str) -> Result<Receipt> {
        self.closed = true;
        let entries = self.entries(end);
        let kept = self.kept();
        let closed = close(&self.services, self.id, entries.clone(), kept.clone()).await;
        if closed.is_err() {
            tokio::spawn(close_in_the_end(self.services.clone(), self.id, entries, kept));
        }
        closed
    }

    /// What is kept of an answer with noise: all of it or nothing.
    fn kept(&self) -> Option<Kept> {
        let (question, dataset) = self.question.clone()?;
        let answer = KeptAnswer { query: self.id, answer: self.answer.to_be_kept()?.to_vec() };
        Some(Kept { question, dataset, answer, at: self.services.now() })
    }

    fn entries(&self, end: &str) -> Vec<EntryDraft> {
        let end = End { how: end, rows: self.rows, bytes: self.sent_bytes() };
        record::outcome(&self.caller, &self.uses, self.id, end, Some(self.answer.counters()))
    }
}

impl Drop for QueryRun {
    fn drop(&mut self) {
        if !self.closed {
            let (services, id, entries) = (self.services.clone(), self.id, self.entries("cancelled"));
            tokio::spawn(close_in_the_end(services, id, entries, self.kept()));
        }
    }
}

/// Closes a query whose decision nobody could wait for: if it is recorded all the same, then so is that nothing left.
pub(super) fn close_unreleased(services: &Services, caller: &Caller, uses: &[DatasetUse], id: QueryId) {
    let end = End { how: Reason::AuditUnavailable.name(), rows: 0, bytes: 0 };
    let outcome = record::outcome(caller, uses, id, end, None);
    tokio::spawn(close_in_the_end(services.clone(), id, outcome, None));
}

/// Records an outcome although the log may be away for a while. What stays open gets `unknown` at the next start.
async fn close_in_the_end(services: Services, id: QueryId, entries: Vec<EntryDraft>, kept: Option<Kept>) {
    for attempt in 0..OUTCOME_ATTEMPTS {
        match close(&services, id, entries.clone(), kept.clone()).await {
            Ok(_) => return,
            Err(error) if error.reason() == Reason::StateConflict => return,
            Err(error) => tracing::warn!(query = %id, attempt, %error, "the outcome of a query is not recorded yet"),
        }
        tokio::time::sleep(OUTCOME_PAUSE).await;
    }
}

/// An answer with noise, for the next time that its question is asked.
#[derive(Debug, Clone)]
struct Kept {
    question: String,
    dataset: DatasetId,
    answer: KeptAnswer,
    at: Timestamp,
}

async fn close(services: &Services, id: QueryId, entries: Vec<EntryDraft>, kept: Option<Kept>) -> Result<Receipt> {
    let ((), committed) = services
        .change_by_hub(move |tx| {
            Box::pin(async move {
                // A commit that was thought lost may have done it: an outcome is recorded once.
                let first = request::end_query(tx, id).await?;
                if !first {
                    return Err(Error::new(Reason::StateConflict)
                        .with("object", format_args!("query {id}"))
                        .with("state", "ended")
                        .with("wanted", "running"));
                }
                if let Some(Kept { question, dataset, answer, at }) = &kept {
                    privacy::keep_answer(tx, question, dataset, answer, *at).await?;
                }
                Ok(((), entries))
            })
        })
        .await?;
    Ok(committed.receipt().clone())
}
