//! What the log says of a query: the decision before anything runs, the outcome after.
//!
//! Whoever a leaf concerns may read all of it. So in a query across owners each owner has a leaf of its own: its own
//! datasets with policy, rule and grant, how many of others they were crossed with but not which, and its own hidden
//! figures. The caller's leaf has all datasets and no hidden figure. Where there is one owner, the caller's leaf is
//! shared with it, figures aside.

use std::collections::BTreeSet;

use super::{
    QueryRequest,
    resolve::{DatasetUse, Resolved},
};
use crate::{
    domain::{Caller, DatasetId, EntryDraft, EntryKind, ParticipantId, QueryId},
    query::{Counters, Planned},
};

/// The entries of a permitted query; the first is the caller's, whose receipt is the query's. `again`: the query whose
/// answer is given once more.
pub(super) fn decision(
    caller: &Caller,
    ask: &QueryRequest,
    id: QueryId,
    resolved: &Resolved,
    planned: &Planned,
    again: Option<QueryId>,
) -> Vec<EntryDraft> {
    let of = |uses: &[&DatasetUse]| {
        let facts: Vec<serde_json::Value> = uses.iter().map(|one| one.to_fact()).collect();
        // The terms of those datasets alone whose leaf it is; what others ask for is theirs to know.
        let whole = uses.len() == resolved.uses.len();
        let max_rows = uses.iter().filter_map(|one| one.max_rows).min();
        let max_rows = if whole { Some(planned.max_rows()) } else { max_rows };
        let mut entry = EntryDraft::by(EntryKind::QueryDecision, caller)
            .purpose(&ask.purpose)
            .fact("query", id.to_string())
            .fact("decision", "permit")
            .fact("download", ask.download)
            .fact("datasets", facts)
            .secret("sql", ask.sql.as_str())
            .secret("normalised_sql", planned.normalised());
        if let Some(rows) = max_rows {
            entry = entry.fact("max_rows", rows.to_string());
        }
        if let Some(k) = uses.iter().filter_map(|one| one.k).max() {
            entry = entry.fact("k", k.to_string());
        }
        let own = |dataset: &DatasetId| uses.iter().any(|one| one.dataset == *dataset);
        let approved: Vec<String> = resolved
            .approved
            .iter()
            .filter(|(dataset, _)| own(dataset))
            .map(|(dataset, name)| format!("{dataset}/{name}"))
            .collect();
        if !approved.is_empty() {
            entry = entry.fact("templates", approved);
        }
        if let Some(loss) = planned.privacy_loss().filter(|loss| own(&loss.dataset)) {
            entry = match again {
                // The same question as before: its answer is given again, and reveals nothing new.
                Some(first) => entry.fact("epsilon", "0").fact("answer_of", first.to_string()),
                None => entry.fact("epsilon", loss.epsilon.to_string()).fact("delta", loss.delta.to_string()),
            };
            entry = entry.fact("private_dataset", loss.dataset.to_string());
        }
        match uses {
            [one] => entry.about(&one.dataset),
            [one, rest @ ..] if rest.iter().all(|other| other.dataset.owner == one.dataset.owner) => {
                uses.iter().fold(entry, |entry, one| entry.about_also(&one.dataset))
            }
            _ => entry,
        }
    };
    let uses: Vec<&DatasetUse> = resolved.uses.iter().collect();
    let owners = owners(&resolved.uses);
    if owners.len() <= 1 {
        let entry = of(&uses);
        return vec![owners.into_iter().fold(entry, EntryDraft::concerning)];
    }
    let mut entries = vec![of(&uses)];
    for owner in owners.into_iter().filter(|owner| **owner != caller.participant) {
        let own: Vec<&DatasetUse> = uses.iter().copied().filter(|one| one.dataset.owner == *owner).collect();
        let others = uses.len() - own.len();
        entries.push(of(&own).concerning(owner).fact("crossed_with", others.to_string()));
    }
    entries
}

/// How a query ended, and with what.
#[derive(Debug, Clone, Copy)]
pub(super) struct End<'a> {
    /// `complete`, `cancelled`, or the reason of the error.
    pub(super) how: &'a str,
    /// Rows that left.
    pub(super) rows: u64,
    /// Bytes that left.
    pub(super) bytes: u64,
}

/// The entries that close a query; the first is the caller's, whose receipt is the outcome's.
pub(super) fn outcome(
    caller: &Caller,
    uses: &[DatasetUse],
    id: QueryId,
    end: End<'_>,
    counters: Option<&Counters>,
) -> Vec<EntryDraft> {
    let facts = |entry: EntryDraft| {
        entry
            .fact("query", id.to_string())
            .fact("end", end.how)
            .fact("rows", end.rows.to_string())
            .fact("bytes", end.bytes.to_string())
    };
    let owners = owners(uses);
    let shared = facts(EntryDraft::by(EntryKind::QueryOutcome, caller));
    let mut entries = vec![match owners.iter().next() {
        Some(owner) if owners.len() == 1 => shared.concerning(owner),
        _ => shared,
    }];
    for one in uses.iter().filter(|one| one.dataset.owner != caller.participant) {
        let entry = facts(EntryDraft::new(EntryKind::QueryOutcome).about(&one.dataset));
        // What was read and withheld tells about hidden rows: never for the caller.
        entries.push(match counters.and_then(|counters| counters.datasets().get(&one.dataset)) {
            Some(read) => entry
                .fact("rows_scanned", read.scanned().to_string())
                .fact("rows_passed", read.passed().to_string())
                .fact("suppressed_groups", read.suppressed_groups().to_string()),
            None => entry,
        });
    }
    entries
}

fn owners(uses: &[DatasetUse]) -> BTreeSet<&ParticipantId> {
    uses.iter().map(|one| &one.dataset.owner).collect()
}
