//! Governed queries: admit, resolve, decide, record the decision, release, record the outcome.
//!
//! The order is the promise: nothing is planned before the text is admitted, nothing runs before the DECISION
//! entry is durable (P1), and a change of what the decision rests on cuts the stream (P2).

pub(super) mod limits;
mod prepare;
mod record;
mod resolve;
mod run;
mod slots;
mod tables;
mod template;

use std::collections::BTreeSet;

use self::resolve::Resolved;
pub use self::{
    prepare::{PreparedQuery, PurposeChoice},
    resolve::DatasetUse,
    run::{QueryRun, QuerySummary},
    slots::Slots,
    tables::VisibleTable,
    template::ApprovedQuery,
};
use super::Services;
use crate::{
    audit::{Charged, Committed},
    domain::{Action, Caller, DatasetId, EntryDraft, EntryKind, GrantId, PurposeSlug, QueryId},
    error::{Error, Reason, Result},
    policy::{Act, Family, Permit},
    query::Planned,
    store::{privacy, request},
};

/// How often a decision is taken anew when what it rests on changed meanwhile.
const ATTEMPTS: usize = 3;

/// What a requester asks.
#[derive(Debug, Clone)]
pub struct QueryRequest {
    /// One SQL query.
    pub sql: String,
    /// What for; one query has one purpose.
    pub purpose: PurposeSlug,
    /// Which grants to use; empty lets the hub choose among those that fit.
    pub grants: BTreeSet<GrantId>,
    /// Whether the rows of a dataset are fetched as a whole, which is an action of its own.
    pub download: bool,
}

impl QueryRequest {
    /// The question that fetches a dataset as a whole: these columns, or all that exist for the caller.
    pub fn download(dataset: &DatasetId, columns: &[String], purpose: PurposeSlug, grant: Option<GrantId>) -> Self {
        let names: Vec<String> = columns.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect();
        let selection = if names.is_empty() { "*".to_owned() } else { names.join(", ") };
        let sql = format!("SELECT {selection} FROM {dataset}");
        Self { sql, purpose, grants: grant.into_iter().collect(), download: true }
    }

    /// The actions by which a rule may permit it, what reveals most first.
    fn actions(&self) -> &'static [Action] {
        if self.download { &[Action::Download] } else { &[Action::Read, Action::Aggregate] }
    }
}

/// What would apply to a query.
#[derive(Debug, Clone)]
pub struct QueryExplanation {
    /// Each dataset with what governs its use.
    pub datasets: Vec<resolve::DatasetUse>,
    /// Smallest group that would be shown; none if rows may be read.
    pub k: Option<u32>,
    /// Most rows of the answer.
    pub max_rows: u64,
    /// How long the answer may take.
    pub max_duration: std::time::Duration,
}

impl Services {
    /// Decides on a query and, if it is permitted, records the decision and starts it.
    pub async fn run_query(&self, caller: &Caller, ask: QueryRequest) -> Result<QueryRun> {
        let id = QueryId::generate(self.now());
        match self.try_query(caller, &ask, id).await {
            Ok(run) => Ok(run),
            // Nobody waits a second time for a log that is away (P7).
            Err(error) if error.reason() == Reason::AuditUnavailable => Err(error),
            Err(error) => {
                let error = with_id(error, id);
                self.record_refusal(caller, &ask.sql, Some(&ask.purpose), id, &error).await?;
                Err(error)
            }
        }
    }

    async fn try_query(&self, caller: &Caller, ask: &QueryRequest, id: QueryId) -> Result<QueryRun> {
        let permit = self.authorise(caller, &caller.participant, Family::Query, Act::Run).await?;
        let slot = self.inner.running.take(caller.member)?;
        for _ in 0..ATTEMPTS {
            let (resolved, planned) = self.prepare(caller, ask).await?;
            match self.record_decision(&permit, caller, ask, id, &resolved, &planned).await {
                Ok(release) => {
                    return QueryRun::start(self.clone(), caller.clone(), ask, id, resolved, planned, release, slot)
                        .await;
                }
                Err(error) if error.reason() == Reason::QueryCut => {}
                Err(error) => {
                    if error.reason() == Reason::AuditUnavailable {
                        run::close_unreleased(self, caller, &resolved.uses, id);
                    }
                    return Err(error);
                }
            }
        }
        Err(Error::new(Reason::QueryCut))
    }

    /// What would apply to a query, without touching data or recording a decision.
    pub async fn explain_query(&self, caller: &Caller, ask: &QueryRequest) -> Result<QueryExplanation> {
        let _permit = self.authorise(caller, &caller.participant, Family::Query, Act::Explain).await?;
        let (resolved, planned) = self.prepare(caller, ask).await?;
        let max_duration = self.inner.engine.deadline();
        Ok(QueryExplanation { k: resolved.k(), max_rows: planned.max_rows(), max_duration, datasets: resolved.uses })
    }

    /// What would govern a query on these datasets, whatever its text; `ask.sql` is not looked at.
    pub async fn explain_uses(
        &self,
        caller: &Caller,
        datasets: &BTreeSet<DatasetId>,
        ask: &QueryRequest,
    ) -> Result<Vec<DatasetUse>> {
        let _permit = self.authorise(caller, &caller.participant, Family::Query, Act::Explain).await?;
        self.inner.vocabulary.require(&ask.purpose)?;
        Ok(self.resolve(caller, datasets, ask).await?.uses)
    }

    async fn prepare(&self, caller: &Caller, ask: &QueryRequest) -> Result<(Resolved, Planned)> {
        self.inner.vocabulary.require(&ask.purpose)?;
        let admitted = self.inner.engine.admit(&ask.sql).await?;
        // The catalog of a three-part name is the purpose; a query has one.
        if let Some(other) = admitted.catalogs.iter().find(|catalog| *catalog != ask.purpose.as_str()) {
            return Err(Error::new(Reason::QueryRejected).with("rule", "one_purpose").with_words(
                "detail",
                format_args!("catalog `{}` is not the purpose of this query", other.escape_debug()),
                format_args!("le catalogue `{}` n'est pas la finalité de cette requête", other.escape_debug()),
            ));
        }
        let mut resolved = self.resolve(caller, &admitted.tables, ask).await?;
        resolved.canonical = admitted.canonical()?;
        resolved.approved = self.approved(&admitted, &resolved).await?;
        let planned = self.inner.engine.plan(admitted, resolved.governed.clone()).await?;
        let planned = if ask.download { self.inner.engine.whole(planned) } else { planned };
        Ok((resolved, planned))
    }

    /// The DECISION entries; refused if anything it rests on has changed since it was taken.
    async fn record_decision(
        &self,
        permit: &Permit,
        caller: &Caller,
        ask: &QueryRequest,
        id: QueryId,
        resolved: &Resolved,
        planned: &Planned,
    ) -> Result<Release> {
        let loss = planned.privacy_loss().cloned();
        let question = loss.as_ref().map(|_| resolved.question(caller, ask).to_string());
        let kept = match &question {
            Some(question) => privacy::kept_answer(&mut self.read().await?, question).await?,
            None => None,
        };
        let entries = record::decision(caller, ask, id, resolved, planned, kept.as_ref().map(|kept| kept.query));
        let charged = loss.clone().filter(|_| kept.is_none());
        let (limits, purpose) = (resolved.limits.clone(), ask.purpose.clone());
        let fence = resolved.fence.clone();
        let now = self.now();
        let ((), committed) = self
            .change(permit, move |tx| {
                Box::pin(async move {
                    if tx.revisions(&fence.topics).await? != fence.values {
                        return Err(Error::new(Reason::QueryCut));
                    }
                    for limits in &limits {
                        limits.reserve(tx, now).await?;
                        if let Some(loss) = &charged {
                            limits.charge(tx, loss, &purpose).await?;
                        }
                    }
                    request::start_query(tx, id, now).await?;
                    Ok(((), entries))
                })
            })
            .await?;
        Ok(match (kept, loss, question) {
            (Some(kept), ..) => Release::Again(committed, kept.answer),
            (None, Some(loss), Some(question)) => {
                Release::Charged(Charged::with(committed, loss.dataset, loss.epsilon, loss.delta), question)
            }
            _ => Release::Plain(committed),
        })
    }

    /// A refused query is a decision, too: the entry says which reason, the text stays a commitment.
    async fn record_refusal(
        &self,
        caller: &Caller,
        sql: &str,
        purpose: Option<&PurposeSlug>,
        id: QueryId,
        error: &Error,
    ) -> Result<()> {
        let mut entry = EntryDraft::by(EntryKind::QueryDecision, caller)
            .fact("query", id.to_string())
            .fact("decision", "deny")
            .fact("reason", error.reason().name())
            .secret("sql", sql.chars().take(8_192).collect::<String>());
        if let Some(purpose) = purpose.filter(|purpose| self.inner.vocabulary.require(purpose).is_ok()) {
            entry = entry.purpose(purpose);
        }
        if let Some(dataset) = error.params().get("dataset").and_then(|dataset| dataset.parse().ok()) {
            entry = entry.about(&dataset);
        }
        self.change_by_hub(move |_| Box::pin(async move { Ok(((), vec![entry])) })).await.map(|_| ())
    }
}

/// What a recorded decision lets out.
#[derive(Debug)]
pub(super) enum Release {
    /// What the plan yields.
    Plain(Committed),
    /// What the plan yields with noise, to be kept under this question.
    Charged(Charged, String),
    /// An answer that was bought before.
    Again(Committed, Vec<u8>),
}

/// A failure names the query by which the operator finds its log lines.
fn with_id(error: Error, id: QueryId) -> Error {
    if error.reason() == Reason::QueryFailed { error.with("query_id", id) } else { error }
}
