//! Policies and grants as ODRL documents, for whoever may read them.

use serde_json::Value as Json;

use super::Services;
use crate::{
    domain::{Caller, DatasetId, GrantId},
    error::{Error, Result},
    policy::{
        Act, Family,
        odrl::{Offers, to_agreement, to_odrl, to_offers},
    },
    store::policy,
};

impl Services {
    /// A version of a policy as a document of the profile, which names its digest; refused where the caller does not
    /// see the whole. `POLICY_INVALID` if ODRL has no words for it.
    pub async fn policy_as_odrl(&self, caller: &Caller, id: &DatasetId, version: i64) -> Result<Json> {
        let found = self.shown_policy(caller, id, Some(version)).await?;
        if found.policy.digest() != found.digest {
            return Err(Error::invalid(
                "format",
                "rules about other participants are left out for you: ask for offers",
            ));
        }
        to_odrl(&found.policy, &self.inner.vocabulary)
    }

    /// A version of a policy as Offers for the connectors of peers, with what they will not hold.
    pub async fn policy_as_offers(&self, caller: &Caller, id: &DatasetId, version: i64) -> Result<Offers> {
        let found = self.shown_policy(caller, id, Some(version)).await?;
        to_offers(&found.policy, found.digest, &self.inner.vocabulary)
    }

    /// A grant of which the caller's participant is a party, as an ODRL Agreement.
    pub async fn grant_as_odrl(&self, caller: &Caller, id: GrantId) -> Result<Json> {
        let permit = self.authorise(caller, &caller.participant, Family::Grant, Act::Read).await?;
        let grant = self.grant(caller, id).await?;
        let mut tx = self.read_as(&permit).await?;
        let version = policy::by_digest(&mut tx, &grant.dataset, &grant.policy).await?;
        let version = version.ok_or_else(|| Error::internal(format_args!("the policy of grant {id} is not there")))?;
        to_agreement(&grant, &version.policy, &self.inner.vocabulary)
    }
}
