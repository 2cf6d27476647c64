//! Policies before they are in force: who takes part, by which a draft is judged, and how two policies differ.

use std::collections::{BTreeMap, BTreeSet};

use super::Services;
use crate::{
    domain::{Caller, DatasetId, Digest, ParticipantId, Policy, Role},
    error::{Error, Result},
    policy::{Act, Attributes, Difference, Family, diff},
    store::{member, participant},
};

/// Which policy is meant.
#[derive(Debug, Clone)]
pub enum PolicyChoice {
    /// This version of a dataset's policy, or the one in force.
    Version(DatasetId, Option<i64>),
    /// This document, stored or not.
    Document(Box<Policy>),
}

/// How two policies differ.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// Digest of the older one.
    pub old: Digest,
    /// Digest of the newer one.
    pub new: Digest,
    /// What differs; nothing if the digests are the same.
    pub differences: Vec<Difference>,
}

impl Services {
    /// Tells the difference of two policies of one dataset that the caller may see.
    pub async fn compare_policies(&self, caller: &Caller, old: PolicyChoice, new: PolicyChoice) -> Result<Comparison> {
        let _permit = self.authorise(caller, &caller.participant, Family::Policy, Act::Read).await?;
        let ((old, old_digest), (new, new_digest)) = (self.chosen(caller, old).await?, self.chosen(caller, new).await?);
        if old.dataset != new.dataset {
            return Err(Error::invalid("new", "the two policies are not about the same dataset"));
        }
        let dataset = self.policed(caller, &new.dataset).await?;
        self.aside(move |services| {
            let columns = dataset.snapshot.as_ref().map(|snapshot| snapshot.columns.as_slice());
            let differences = diff(&old, &new, columns, services.vocabulary());
            Ok(Comparison { old: old_digest, new: new_digest, differences })
        })
        .await
    }

    /// The policy that is meant, as it is shown to the caller, and the digest of the whole.
    pub(super) async fn chosen(&self, caller: &Caller, choice: PolicyChoice) -> Result<(Policy, Digest)> {
        match choice {
            PolicyChoice::Version(id, version) => {
                let shown = self.shown_policy(caller, &id, version).await?;
                Ok((shown.policy, shown.digest))
            }
            PolicyChoice::Document(policy) => {
                let digest = policy.digest();
                Ok((*policy, digest))
            }
        }
    }

    /// Everybody who takes part as a policy sees them; the roles are those that some member holds.
    pub(super) async fn participants_as_asked(&self) -> Result<Vec<Attributes>> {
        let mut tx = self.read().await?;
        let mut roles: BTreeMap<ParticipantId, BTreeSet<Role>> = BTreeMap::new();
        for (_, participant, held) in member::memberships(&mut tx).await? {
            roles.entry(participant).or_default().extend(held);
        }
        let registered = participant::registered(&mut tx).await?;
        let known = registered
            .iter()
            .map(|one| Attributes { roles: Some(roles.remove(&one.id).unwrap_or_default()), ..Attributes::from(one) });
        Ok(known.collect())
    }
}
