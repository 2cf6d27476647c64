//! Grants: who may read them, and the owner's right to end one at once.

use super::{Services, participant::check_text, require_etag};
use crate::{
    audit::Committed,
    domain::{Caller, Digest, EntryDraft, EntryKind, Grant, GrantId, Page, PageRequest, Policy},
    error::{Error, Result},
    policy::{Act, Family},
    store::{access, policy},
};

impl Services {
    /// A grant that the caller's participant is a party of.
    pub async fn grant(&self, caller: &Caller, id: GrantId) -> Result<Grant> {
        let permit = self.authorise(caller, &caller.participant, Family::Grant, Act::Read).await?;
        let not_found = || Error::not_found(format_args!("grant {id}"));
        let found = access::lookup_grant(&mut self.read_as(&permit).await?, id).await?.ok_or_else(not_found)?;
        let is_party = found.grantee == caller.participant || found.dataset.owner == caller.participant;
        if is_party { Ok(found) } else { Err(not_found()) }
    }

    /// The terms that a grant cites: the one rule of its policy, and the policy's floor.
    pub async fn grant_terms(&self, caller: &Caller, grant: &Grant) -> Result<Policy> {
        let permit = self.authorise(caller, &caller.participant, Family::Grant, Act::Read).await?;
        let version = policy::by_digest(&mut self.read_as(&permit).await?, &grant.dataset, &grant.policy).await?;
        let mut cited =
            version.ok_or_else(|| Error::not_found(format_args!("the policy of grant {}", grant.id)))?.policy;
        cited.rules.retain(|rule| rule.id == grant.rule);
        Ok(cited)
    }

    /// Grants that the caller's participant is a party of, newest first.
    pub async fn grants(&self, caller: &Caller, page: &PageRequest) -> Result<Page<Grant>> {
        let permit = self.authorise(caller, &caller.participant, Family::Grant, Act::Read).await?;
        access::list_grants(&mut self.read_as(&permit).await?, &caller.participant, page).await
    }

    /// Ends a grant on a dataset of the caller's participant, at once: the next call is refused and streams are cut.
    pub async fn revoke_grant(
        &self,
        caller: &Caller,
        certificate: &[u8],
        id: GrantId,
        reason: &str,
        etag: &str,
        signature: String,
    ) -> Result<(Grant, Committed)> {
        let grant = self.grant(caller, id).await?;
        let permit = self.authorise(caller, &grant.dataset.owner, Family::Grant, Act::Revoke).await?;
        check_text("reason", reason, 500)?;
        self.verify_act(caller, certificate, "grant.revoke", &format!("grants/{id}"), &signature)?;
        let entry = EntryDraft::by(EntryKind::GrantRevoked, caller)
            .about(&grant.dataset)
            .concerning(&grant.grantee)
            .fact("grant", id.to_string())
            .fact("signature", Digest::of(signature.as_bytes()).to_string())
            .secret("reason", reason);
        let etag = etag.to_owned();
        self.change(&permit, move |tx| {
            Box::pin(async move {
                let object = format!("grant {id}");
                let current = access::lookup_grant(tx, id).await?.ok_or_else(|| Error::not_found(&object))?;
                require_etag(&etag, current.revision, &object)?;
                let mut revoked = current.revoke()?;
                access::update_grant(tx, &revoked, Some(&signature)).await?;
                revoked.revision += 1;
                Ok((revoked, vec![entry]))
            })
        })
        .await
    }
}
