//! Who sees a dataset: one reading for the catalog, policies and queries, and what is said to whoever does not (P9).

use super::Services;
use crate::{
    domain::{Caller, Dataset, DatasetId, DatasetState, PolicyVersion},
    error::{Error, Result},
    policy::{Attributes, Fault},
    store::{Tx, access, dataset, policy},
};

impl Services {
    /// Owners see their own, and who holds a grant in force what it is for: grants go on when their policy is retired or
    /// another follows it. Of others one sees what its policy in force shows.
    pub(super) async fn may_see(&self, tx: &mut Tx, caller: &Caller, dataset: &Dataset) -> Result<bool> {
        if self.is_shown(tx, caller, dataset).await? {
            return Ok(true);
        }
        let now = self.now();
        let grants = access::grants_on(tx, &caller.participant, &dataset.id).await?;
        Ok(dataset.state == DatasetState::Published && grants.iter().any(|grant| grant.require_in_force(now).is_ok()))
    }

    /// Whether the caller sees a dataset without any grant: it is its own, or published, and the policy in force does not
    /// rule discovery otherwise and is not at fault.
    pub(super) async fn is_shown(&self, tx: &mut Tx, caller: &Caller, dataset: &Dataset) -> Result<bool> {
        if dataset.id.owner == caller.participant {
            return Ok(true);
        }
        if dataset.state != DatasetState::Published {
            return Ok(false);
        }
        match policy::in_force(tx, &dataset.id).await? {
            Some(version) => self.shows(caller, dataset, &version),
            None => Ok(false),
        }
    }

    fn shows(&self, caller: &Caller, dataset: &Dataset, version: &PolicyVersion) -> Result<bool> {
        let who = Attributes::from(caller);
        let sees = || self.judge(&*self.compiled(version)?, &who, dataset)?.sees();
        // What could not be decided of this dataset is not seen: the fault has raised its alert. A clock that is not to be
        // trusted is no matter of a dataset, and saying so tells nothing of one.
        match sees() {
            Err(error) if Fault::of(&error) == Some(Fault::ClockSkew) => Err(error),
            other => Ok(other.unwrap_or(false)),
        }
    }

    /// The dataset whose policies the caller may read: one that it sees, and of who audits the hub any.
    pub(super) async fn policed(&self, caller: &Caller, id: &DatasetId) -> Result<Dataset> {
        if !self.audits_all(caller).await {
            return self.dataset(caller, id).await;
        }
        let found = dataset::lookup(&mut self.read().await?, id).await?;
        found.ok_or_else(|| Error::not_found(format_args!("dataset `{id}`")))
    }

    /// A refusal about another owner's dataset says no more than that it may not exist (P9).
    pub(super) fn hide(error: Error, caller: &Caller, id: &DatasetId) -> Error {
        if id.owner == caller.participant {
            return error;
        }
        Error::not_found(format_args!("dataset `{id}`")).in_place_of(error.reason())
    }
}
