//! How many rows of the current snapshot each side of a flip lets pass: the owner's own data, counted by the engine
//! under the policy's floor, each count in the log before it is made.

use std::collections::BTreeMap;

use super::{
    Trial,
    replay::{Candidate, Rows},
};
use crate::{
    domain::{Caller, Columns, Digest, EntryDraft, EntryKind, Filter, How},
    error::Result,
    policy::Permit,
    query::{GovernedDataset, number},
    service::Services,
};

/// Most filters that are counted for one simulation.
const MOST_FILTERS: usize = 16;

impl Services {
    /// Counts the rows of flips whose two sides differ in them.
    pub(super) async fn count_rows(
        &self,
        permit: &Permit,
        caller: &Caller,
        trial: &Trial,
        flips: &mut [Candidate],
    ) -> Result<()> {
        let floor = trial.floor();
        // What asks of everybody, the owner included, for noise, consents, approved queries or a number of queries is no
        // matter of counting rows: it would be the way around.
        let counts = floor.privacy.is_none()
            && !floor.consent_required
            && floor.templates.is_none()
            && floor.max_queries.is_none()
            && floor.rate.is_empty()
            && !floor.difference_check;
        if trial.dataset.snapshot.is_none() || !counts {
            return Ok(());
        }
        let mut counted: BTreeMap<String, Option<u64>> = BTreeMap::new();
        for candidate in flips.iter_mut().filter(|one| one.before != one.after) {
            let (before, after) = (candidate.before.clone(), candidate.after.clone());
            for (filter, rows) in [(before, &mut candidate.flip.rows_before), (after, &mut candidate.flip.rows_after)] {
                let filter = match filter {
                    Rows::None => continue,
                    Rows::All => None,
                    Rows::Passing(filter) => Some(filter),
                };
                let key = filter.as_ref().map(ToString::to_string).unwrap_or_default();
                if !counted.contains_key(&key) && counted.len() < MOST_FILTERS {
                    let count = self.count(permit, caller, trial, filter).await?;
                    counted.insert(key.clone(), count);
                }
                *rows = counted.get(&key).copied().flatten();
            }
        }
        Ok(())
    }

    /// The rows that a filter lets pass; none if they are fewer than the floor's smallest group.
    async fn count(
        &self,
        permit: &Permit,
        caller: &Caller,
        trial: &Trial,
        filter: Option<Filter>,
    ) -> Result<Option<u64>> {
        let dataset = &trial.dataset;
        let Some(snapshot) = &dataset.snapshot else { return Ok(None) };
        let floor = trial.floor().aggregate_only;
        let counted = Digest::of(filter.as_ref().map(ToString::to_string).unwrap_or_default().as_bytes());
        let governed = GovernedDataset {
            id: dataset.id.clone(),
            object: self.object_path(snapshot.id),
            stored: snapshot.columns.clone(),
            columns: Columns::All,
            how: How { row_filter: filter, aggregate_only: floor, ..How::default() },
            subject_key: dataset.subject_key.clone(),
            consent: None,
            mask_key: [0; 32],
            rows: snapshot.rows,
            own: false,
        };
        let admitted = self.inner.engine.admit(&format!("select count(*) from {}", dataset.id)).await?;
        let planned = self.inner.engine.plan(admitted, vec![governed]).await?;
        let entry = EntryDraft::by(EntryKind::PolicySimulated, caller)
            .about(&dataset.id)
            .fact("policy", trial.draft.digest().to_string())
            .fact("snapshot", snapshot.id.to_string())
            .fact("counts", "rows of a filter")
            .fact("filter", counted.to_string());
        let ((), committed) = self.change(permit, move |_| Box::pin(async move { Ok(((), vec![entry])) })).await?;
        number(self.inner.engine.execute(planned, committed)?).await
    }
}
