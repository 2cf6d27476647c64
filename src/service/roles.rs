//! Permits of the hub's roles, by memberships that follow the store, and the counting of decisions that failed.
//!
//! Each call reads the revision of memberships. When it has grown, the new memberships are built on another thread and
//! swapped in. A caller whose own membership, read in this very call, is the one in force need not wait for that, since
//! others' memberships decide nothing about it; one whose membership has changed does wait (P2).

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::Services;
use crate::{
    domain::{Caller, ParticipantId, Timestamp},
    error::{Error, Result},
    policy::{Act, Domain, Family, Fault, Membership, Permit},
    store::{Topic, member},
};

/// One reload of memberships at a time.
#[derive(Debug)]
pub struct Reloads {
    turn: Arc<Mutex<()>>,
    /// A revision whose memberships did not come into force: it is not tried again, the next one is.
    refused: AtomicI64,
}

impl Default for Reloads {
    fn default() -> Self {
        Self { turn: Arc::default(), refused: AtomicI64::new(i64::MIN) }
    }
}

impl Services {
    /// The permit to do `act` on what belongs to `owner`; the roles are those of now.
    pub(super) async fn authorise(
        &self,
        caller: &Caller,
        owner: &ParticipantId,
        family: Family,
        act: Act,
    ) -> Result<Permit> {
        self.authorise_in(caller, Domain::Participant(owner), family, act).await
    }

    /// The permit to do `act` in a domain; the roles are those of now.
    pub(super) async fn authorise_in(
        &self,
        caller: &Caller,
        domain: Domain<'_>,
        family: Family,
        act: Act,
    ) -> Result<Permit> {
        let revision = self.memberships_revision().await?;
        if self.inner.hub_policy.revision() != revision {
            if self.inner.hub_policy.knows(caller) {
                self.reload_aside(revision);
            } else {
                let turn = Arc::clone(&self.inner.reloads.turn).lock_owned().await;
                self.reload(revision, turn).await?;
            }
        }
        self.counted(self.inner.hub_policy.authorise(caller, domain, family, act))
    }

    /// Starts a reload unless one is running.
    fn reload_aside(&self, revision: i64) {
        let Ok(turn) = Arc::clone(&self.inner.reloads.turn).try_lock_owned() else { return };
        let services = self.clone();
        // A failure has raised its alert, and the next call tries again.
        tokio::spawn(async move { services.reload(revision, turn).await.ok() });
    }

    /// Brings the memberships into force unless that has happened meanwhile. If they do not pass, the old ones stay.
    async fn reload(&self, wanted: i64, turn: OwnedMutexGuard<()>) -> Result<()> {
        let reloads = &self.inner.reloads;
        if self.inner.hub_policy.revision() >= wanted || reloads.refused.load(Ordering::Relaxed) == wanted {
            return Ok(());
        }
        // The revision first: what changes after it makes the next call reload again.
        let revision = self.memberships_revision().await?;
        let memberships: Vec<_> = member::memberships(&mut self.read().await?)
            .await?
            .into_iter()
            .map(|(member, participant, roles)| Membership { member, participant, roles })
            .collect();
        let services = self.clone();
        let built = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            services.inner.hub_policy.reload(&memberships, revision)
        });
        match self.counted(built.await.map_err(Error::internal)?) {
            Err(_) => {
                reloads.refused.store(revision, Ordering::Relaxed);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn memberships_revision(&self) -> Result<i64> {
        Ok(self.read().await?.revisions(&[Topic::Memberships.key()]).await?.first().copied().unwrap_or(0))
    }

    /// The time to decide by; refused with an alert if the clock cannot be right.
    pub(super) fn time_to_decide(&self) -> Result<Timestamp> {
        self.counted(self.inner.clock_guard.check(self.now()))
    }

    /// Counts a refusal that is for a fault of the hub; the fault itself has raised the alert.
    pub(super) fn counted<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && let Some(fault) = Fault::of(error)
        {
            self.inner.metrics.policy_fault(fault.as_str());
        }
        result
    }
}
