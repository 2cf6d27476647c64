//! Usage policies: drafts, checks, publication, revocation, and decisions on use.

use super::{Services, participant::check_text, require_etag};
use crate::{
    audit::Committed,
    domain::{
        Action, Ask, Caller, Columns, Dataset, DatasetId, Decision, EntryDraft, EntryKind, Name, Page, PageRequest,
        Policy, PolicyState, PolicyVersion, Purpose, PurposeSlug,
    },
    error::{Error, Reason, Result},
    policy::{self as engine, Act, Attributes, Covered, Family, Finding, Surroundings, explain},
    query::check_how,
    store::{access, dataset, policy},
};

/// A question as the decision function takes it.
pub(super) struct Question<'a> {
    pub(super) action: Action,
    pub(super) purpose: Option<&'a PurposeSlug>,
    pub(super) columns: &'a Columns,
    /// The rule that a grant cites.
    pub(super) rule: Option<&'a Name>,
}

/// What a check of a policy found.
#[derive(Debug, Clone)]
pub struct PolicyCheck {
    /// Errors, which prevent publication, and warnings.
    pub findings: Vec<Finding>,
    /// How each term is honoured (P8).
    pub coverage: Vec<Covered>,
}

impl Services {
    /// Every purpose the hub knows.
    pub async fn purposes(&self, caller: &Caller) -> Result<Vec<Purpose>> {
        let _permit = self.authorise(caller, &caller.participant, Family::Policy, Act::Read).await?;
        Ok(self.inner.vocabulary.purposes().cloned().collect())
    }

    /// Checks a policy against its dataset and the vocabulary without keeping it.
    pub async fn check_policy(&self, caller: &Caller, policy: &Policy) -> Result<PolicyCheck> {
        let id = &policy.dataset;
        let _permit = self
            .authorise(caller, &id.owner, Family::Policy, Act::Check)
            .await
            .map_err(|e| Self::hide(e, caller, id))?;
        let dataset = self.dataset(caller, id).await?;
        self.check(policy, &dataset).await
    }

    async fn check(&self, policy: &Policy, dataset: &Dataset) -> Result<PolicyCheck> {
        let participants = self.participants_as_asked().await?;
        let (policy, dataset) = (policy.clone(), dataset.clone());
        self.aside(move |services| {
            let around = Surroundings { participants: Some(&participants), now: Some(services.now()) };
            Ok(PolicyCheck {
                findings: engine::check_among(&policy, &dataset, services.vocabulary(), &around),
                coverage: engine::coverage(&policy),
            })
        })
        .await
    }

    /// Keeps a draft. It may still have errors: publication refuses them.
    pub async fn create_policy(
        &self,
        caller: &Caller,
        policy: Policy,
    ) -> Result<(PolicyVersion, PolicyCheck, Committed)> {
        let id = policy.dataset.clone();
        let permit = self
            .authorise(caller, &id.owner, Family::Policy, Act::Create)
            .await
            .map_err(|e| Self::hide(e, caller, &id))?;
        let dataset = self.dataset(caller, &id).await?;
        let check = self.check(&policy, &dataset).await?;
        let now = self.now();
        let digest = policy.digest();
        let entry = EntryDraft::by(EntryKind::PolicyCreated, caller).about(&id).fact("policy", digest.to_string());
        let (version, committed) = self
            .change(&permit, move |tx| {
                Box::pin(async move {
                    let version = PolicyVersion {
                        version: policy::next_version(tx, &policy.dataset).await?,
                        policy,
                        digest,
                        state: PolicyState::Draft,
                        created_at: now,
                        published_at: None,
                        revision: 1,
                    };
                    policy::add(tx, &version).await?;
                    let entry = entry.fact("version", version.version.to_string());
                    Ok((version, vec![entry]))
                })
            })
            .await?;
        Ok((version, check, committed))
    }

    /// A version. Drafts are seen by their owner only.
    pub async fn policy(&self, caller: &Caller, id: &DatasetId, version: Option<i64>) -> Result<PolicyVersion> {
        let permit = self.authorise(caller, &caller.participant, Family::Policy, Act::Read).await?;
        self.policed(caller, id).await?;
        let mut tx = self.read_as(&permit).await?;
        let found = match version {
            Some(version) => policy::lookup(&mut tx, id, version).await?,
            None => policy::in_force(&mut tx, id).await?,
        };
        found
            .filter(|version| version.state != PolicyState::Draft || id.owner == caller.participant)
            .ok_or_else(|| Error::not_found(format_args!("the policy of `{id}`")))
    }

    /// A version as it is shown to the caller: without the rules that name others, unless it is the owner's member or
    /// audits the hub (P9). Then the digest, which is that of the whole, is not that of what is shown.
    pub async fn shown_policy(&self, caller: &Caller, id: &DatasetId, version: Option<i64>) -> Result<PolicyVersion> {
        let mut found = self.policy(caller, id, version).await?;
        self.leave_out_others(caller, id, std::slice::from_mut(&mut found)).await;
        Ok(found)
    }

    async fn leave_out_others(&self, caller: &Caller, id: &DatasetId, versions: &mut [PolicyVersion]) {
        if id.owner != caller.participant && !self.audits_all(caller).await {
            for version in versions {
                let whole = std::mem::take(&mut version.policy.rules);
                version.policy.rules =
                    whole.into_iter().filter_map(|rule| explain::as_read_by(&caller.participant, rule)).collect();
            }
        }
    }

    /// Versions as they are shown to the caller (see [`Self::shown_policy`]), newest first.
    pub async fn policies(&self, caller: &Caller, id: &DatasetId, page: &PageRequest) -> Result<Page<PolicyVersion>> {
        let permit = self.authorise(caller, &caller.participant, Family::Policy, Act::Read).await?;
        self.policed(caller, id).await?;
        let mut found = policy::list(&mut self.read_as(&permit).await?, id, page).await?;
        if id.owner != caller.participant {
            found.items.retain(|version| version.state != PolicyState::Draft);
        }
        self.leave_out_others(caller, id, &mut found.items).await;
        Ok(found)
    }

    /// Puts a version in force, in place of the one before, and the dataset into the catalog.
    pub async fn publish_policy(
        &self,
        caller: &Caller,
        certificate: &[u8],
        id: &DatasetId,
        version: i64,
        etag: &str,
        signature: String,
    ) -> Result<(PolicyVersion, Committed)> {
        let permit = self
            .authorise(caller, &id.owner, Family::Policy, Act::Publish)
            .await
            .map_err(|e| Self::hide(e, caller, id))?;
        let draft = self.policy(caller, id, Some(version)).await?;
        let dataset = self.dataset(caller, id).await?;
        let check = self.check(&draft.policy, &dataset).await?;
        engine::require_no_error(&check.findings)?;
        // What the engine cannot enforce is refused here, not ignored there (P8).
        for how in draft.policy.rules.iter().map(|rule| &rule.how).chain([&draft.policy.floor]) {
            check_how(how, dataset.columns())?;
            if let Some(templates) = &how.templates {
                self.inner.engine.check_templates(id, templates).await?;
            }
        }
        self.verify_act(caller, certificate, "policy.publish", &draft.digest.to_string(), &signature)?;
        let entry = signed_entry(EntryKind::PolicyPublished, caller, id, &signature)
            .fact("policy", draft.digest.to_string())
            .fact("version", version.to_string());
        let now = self.now();
        let (id, etag) = (id.clone(), etag.to_owned());
        self.change(&permit, move |tx| {
            Box::pin(async move {
                let mut entries = vec![entry];
                let draft = load(tx, &id, version, &etag).await?;
                if let Some(before) = policy::in_force(tx, &id).await? {
                    let retired = before.retire()?;
                    policy::update(tx, &retired, None).await?;
                    entries.push(
                        EntryDraft::new(EntryKind::PolicyRetired)
                            .about(&id)
                            .fact("policy", retired.digest.to_string())
                            .fact("version", retired.version.to_string()),
                    );
                }
                let published = draft.publish(now)?;
                policy::update(tx, &published, Some(&signature)).await?;
                let current =
                    dataset::lookup(tx, &id).await?.ok_or_else(|| Error::not_found(format!("dataset `{id}`")))?;
                dataset::update(tx, &current.publish()?).await?;
                Ok((bumped(published), entries))
            })
        })
        .await
    }

    /// Ends new grants under a version; the old ones go on.
    pub async fn retire_policy(
        &self,
        caller: &Caller,
        id: &DatasetId,
        version: i64,
        etag: &str,
    ) -> Result<(PolicyVersion, Committed)> {
        let permit = self
            .authorise(caller, &id.owner, Family::Policy, Act::Retire)
            .await
            .map_err(|e| Self::hide(e, caller, id))?;
        let entry = EntryDraft::by(EntryKind::PolicyRetired, caller).about(id).fact("version", version.to_string());
        let (id, etag) = (id.clone(), etag.to_owned());
        self.change(&permit, move |tx| {
            Box::pin(async move {
                let retired = load(tx, &id, version, &etag).await?.retire()?;
                policy::update(tx, &retired, None).await?;
                let entry = entry.fact("policy", retired.digest.to_string());
                Ok((bumped(retired), vec![entry]))
            })
        })
        .await
    }

    /// Ends a version and every grant that cites it, at once.
    pub async fn revoke_policy(
        &self,
        caller: &Caller,
        certificate: &[u8],
        (id, version): (&DatasetId, i64),
        reason: &str,
        etag: &str,
        signature: String,
    ) -> Result<(PolicyVersion, Committed)> {
        let permit = self
            .authorise(caller, &id.owner, Family::Policy, Act::Revoke)
            .await
            .map_err(|e| Self::hide(e, caller, id))?;
        check_text("reason", reason, 500)?;
        let current = self.policy(caller, id, Some(version)).await?;
        let object = format!("participants/{}/datasets/{}/policies/{version}", id.owner, id.name);
        self.verify_act(caller, certificate, "policy.revoke", &object, &signature)?;
        let entry = signed_entry(EntryKind::PolicyRevoked, caller, id, &signature)
            .fact("policy", current.digest.to_string())
            .fact("version", version.to_string())
            .secret("reason", reason);
        let (id, etag) = (id.clone(), etag.to_owned());
        self.change(&permit, move |tx| {
            Box::pin(async move {
                let current = load(tx, &id, version, &etag).await?;
                // A grant cites the text: those made under the version in force must not end with an older one.
                if let Some(other) = policy::in_force(tx, &id).await?
                    && other.version != version
                    && other.digest == current.digest
                {
                    return Err(Error::new(Reason::StateConflict)
                        .with_words(
                            "object",
                            format_args!("policy {} of `{id}`, which says the same,", other.version),
                            format_args!("la politique {} de `{id}`, qui dit la même chose,", other.version),
                        )
                        .with("state", other.state.as_str())
                        .with("wanted", "retired"));
                }
                let revoked = current.revoke()?;
                policy::update(tx, &revoked, Some(&signature)).await?;
                let mut entries = vec![entry];
                for grant in access::revoke_grants_of(tx, &id, &revoked.digest).await? {
                    entries.push(
                        EntryDraft::new(EntryKind::GrantRevoked)
                            .about(&id)
                            .concerning(&grant.grantee)
                            .fact("grant", grant.id.to_string())
                            .fact("because", "policy revoked"),
                    );
                }
                Ok((bumped(revoked), entries))
            })
        })
        .await
    }

    /// What the rules of a version say about an ask; see [`super::decide::Judge::ask`].
    pub(super) fn decide_ask(
        &self,
        caller: &Caller,
        dataset: &Dataset,
        version: &PolicyVersion,
        ask: &Ask,
        named: Option<&Name>,
    ) -> Result<Vec<Decision>> {
        let compiled = self.compiled(version)?;
        let who = Attributes::from(caller);
        self.judge(&compiled, &who, dataset)?.ask(ask.action, &ask.purpose, &ask.columns, named)
    }

    /// Asks a version's compiled rules.
    pub(super) fn decide_use(
        &self,
        caller: &Caller,
        dataset: &Dataset,
        version: &PolicyVersion,
        question: &Question<'_>,
    ) -> Result<Decision> {
        let compiled = self.compiled(version)?;
        let who = Attributes::from(caller);
        self.judge(&compiled, &who, dataset)?.decide(question)
    }
}

fn signed_entry(kind: EntryKind, caller: &Caller, id: &DatasetId, signature: &str) -> EntryDraft {
    let digest = crate::domain::Digest::of(signature.as_bytes());
    EntryDraft::by(kind, caller).about(id).fact("signature", digest.to_string())
}

async fn load(tx: &mut crate::store::Tx, id: &DatasetId, version: i64, etag: &str) -> Result<PolicyVersion> {
    let object = format!("policy {version} of `{id}`");
    let current = policy::lookup(tx, id, version).await?.ok_or_else(|| Error::not_found(&object))?;
    require_etag(etag, current.revision, &object)?;
    Ok(current)
}

fn bumped(version: PolicyVersion) -> PolicyVersion {
    PolicyVersion { revision: version.revision + 1, ..version }
}
