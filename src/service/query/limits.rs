//! What a query uses up of the limits of its datasets' policies: counts of queries, and budgets of privacy.
//!
//! All of it is reserved in the transaction of the DECISION entry, so that as many parallel queries as are left get
//! through and not one more, on however many replicas; and nothing is given back afterwards.

use std::collections::BTreeMap;

use crate::{
    domain::{Caller, DatasetId, Digest, Epsilon, GrantId, Interval, ParticipantId, PurposeSlug, Timestamp},
    error::{Error, Reason, Result},
    query::{GovernedDataset, PrivacyLoss},
    service::DatasetUse,
    store::{Tx, limit, privacy},
};

/// The limits of one dataset that a query uses up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limits {
    dataset: DatasetId,
    /// What `max_queries` and a budget of privacy are of: the grant, or the participant where none is needed.
    holder: String,
    /// What a rate is of.
    grantee: ParticipantId,
    max_queries: Option<u64>,
    rate: BTreeMap<Interval, u32>,
    privacy: Option<Budgets>,
}

/// Budgets of privacy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Budgets {
    of_grant: Epsilon,
    of_all: Epsilon,
}

impl Limits {
    pub(super) fn new(caller: &Caller, used: &DatasetUse, governed: &GovernedDataset) -> Self {
        let how = &governed.how;
        Self {
            dataset: used.dataset.clone(),
            holder: holder(used.grant, &caller.participant),
            grantee: caller.participant.clone(),
            max_queries: how.max_queries,
            rate: how.rate.clone(),
            privacy: how.privacy.as_ref().map(|it| Budgets { of_grant: it.budget, of_all: it.total }),
        }
    }

    /// Counts the query, or says which limit is reached.
    pub(super) async fn reserve(&self, tx: &mut Tx, now: Timestamp) -> Result<()> {
        if let Some(most) = self.max_queries
            && !limit::count(tx, &count_scope(&self.holder, &self.dataset), most).await?
        {
            return Err(Error::new(Reason::QueryBudgetSpent).with("dataset", &self.dataset).with("limit", most));
        }
        for (interval, most) in &self.rate {
            let scope = rate_scope(&self.grantee, &self.dataset);
            if let Some(after) = limit::count_in(tx, &scope, *interval, *most, now).await? {
                return Err(Error::new(Reason::QueryRateExceeded)
                    .with("dataset", &self.dataset)
                    .with("limit", most)
                    .with("seconds", interval.seconds())
                    .with("after", after));
            }
        }
        Ok(())
    }

    /// Charges a loss of privacy, if it is this dataset's, to every scope, or says which one does not cover it.
    pub(super) async fn charge(&self, tx: &mut Tx, loss: &PrivacyLoss, purpose: &PurposeSlug) -> Result<()> {
        if loss.dataset != self.dataset {
            return Ok(());
        }
        let spent = |scope| Error::new(Reason::PrivacyBudgetSpent).with("dataset", &self.dataset).with("scope", scope);
        let budgets = self.privacy.ok_or_else(|| Error::internal("a loss without a budget"))?;
        let both = (loss.epsilon, loss.delta);
        if !privacy::charge(tx, &self.dataset, &self.holder, both, Some(budgets.of_grant)).await? {
            return Err(spent("grant"));
        }
        if !privacy::charge(tx, &self.dataset, ALL, both, Some(budgets.of_all)).await? {
            return Err(spent("dataset"));
        }
        // For the owner to see; the sum over the purposes is bounded by the two above.
        privacy::charge(tx, &self.dataset, &format!("purpose/{purpose}"), both, None).await.map(|_| ())
    }
}

/// The scope of what everybody has spent together.
pub(in crate::service) const ALL: &str = "all";

/// Of whom a budget is.
pub(in crate::service) fn holder(grant: Option<GrantId>, participant: &ParticipantId) -> String {
    grant.map_or_else(|| format!("participant/{participant}"), |grant| format!("grant/{grant}"))
}

/// Where the queries of a holder on a dataset are counted.
pub(in crate::service) fn count_scope(holder: &str, dataset: &DatasetId) -> String {
    format!("{holder}/{dataset}")
}

/// Where the queries of a participant on a dataset are counted over time.
pub(in crate::service) fn rate_scope(grantee: &ParticipantId, dataset: &DatasetId) -> String {
    format!("{grantee}/{dataset}")
}

/// Names a question: the same text for the same purpose by the same participant, over the same snapshots and consents
/// under the same terms. Whoever asks it again learns nothing new from the answer that it got.
pub(super) fn question(
    caller: &Caller,
    purpose: &PurposeSlug,
    canonical: &str,
    uses: &[DatasetUse],
    governed: &[GovernedDataset],
) -> Digest {
    let datasets = uses.iter().zip(governed).map(|(used, governed)| {
        let consents = governed.consent.as_ref().map(|bitmap| {
            let mut bytes = Vec::new();
            // Writing to memory does not fail; if it did, the question would be one of its own.
            let _ = bitmap.serialize_into(&mut bytes);
            Digest::of(&bytes).to_string()
        });
        serde_json::json!([
            used.dataset.to_string(),
            used.snapshot.to_string(),
            used.policy.to_string(),
            used.rule.as_ref().map(ToString::to_string),
            used.columns,
            consents,
        ])
    });
    let parts = serde_json::json!([
        "odh/question/v1",
        caller.participant.as_str(),
        purpose.as_str(),
        canonical,
        datasets.collect::<Vec<_>>(),
    ]);
    Digest::of(parts.to_string().as_bytes())
}
