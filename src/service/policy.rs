//! Usage policies: drafts, checks, publication, revocation, and decisions on use.

use super::{Services, participant::check_text, require_etag};
use crate::{
    audit::Committed,
    domain::{
        Action, Ask, Caller, Columns, Dataset, DatasetId, Decision, EntryDraft, EntryKind, Name, Page, PageRequest,
        Policy, PolicyState, PolicyVersion, Purpose, PurposeSlug, RuleOutcome,
    },
    error::{Error, Reason, Result},
    policy::{self as engine, Act, Attributes, Covered, Family, Fault, Finding, Severity},
    query::check_how,
    store::{access, dataset, policy},
};

/// What is asked of a policy.
#[derive(Debug, Clone)]
pub struct UseQuestion {
    /// The dataset.
    pub dataset: DatasetId,
    /// What would be done.
    pub action: Action,
    /// What for.
    pub purpose: PurposeSlug,
    /// On which columns.
    pub columns: Columns,
}

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
        Ok(self.check(policy, &dataset))
    }

    fn check(&self, policy: &Policy, dataset: &Dataset) -> PolicyCheck {
        PolicyCheck {
            findings: engine::check(policy, dataset, &self.inner.vocabulary),
            coverage: engine::coverage(policy),
        }
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
        let check = self.check(&policy, &dataset);
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
        self.dataset(caller, id).await?;
        let mut tx = self.read_as(&permit).await?;
        let found = match version {
            Some(version) => policy::lookup(&mut tx, id, version).await?,
            None => policy::in_force(&mut tx, id).await?,
        };
        found
            .filter(|version| version.state != PolicyState::Draft || id.owner == caller.participant)
            .ok_or_else(|| Error::not_found(format_args!("the policy of `{id}`")))
    }

    /// Versions, newest first.
    pub async fn policies(&self, caller: &Caller, id: &DatasetId, page: &PageRequest) -> Result<Page<PolicyVersion>> {
        let permit = self.authorise(caller, &caller.participant, Family::Policy, Act::Read).await?;
        self.dataset(caller, id).await?;
        let mut found = policy::list(&mut self.read_as(&permit).await?, id, page).await?;
        if id.owner != caller.participant {
            found.items.retain(|version| version.state != PolicyState::Draft);
        }
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
        if let Some(finding) =
            self.check(&draft.policy, &dataset).findings.iter().find(|f| f.severity == Severity::Error)
        {
            return Err(Error::new(Reason::PolicyInvalid)
                .with("path", &finding.path)
                .with("detail", &finding.message_en));
        }
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
        id: &DatasetId,
        version: i64,
        reason: &str,
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
        let id = id.clone();
        self.change(&permit, move |tx| {
            Box::pin(async move {
                let revoked = load(tx, &id, version, "").await?.revoke()?;
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

    /// What the policy in force says about a use by the caller, with the trace that it may see.
    pub async fn explain_use(&self, caller: &Caller, question: &UseQuestion) -> Result<(Decision, Policy)> {
        let dataset = self.dataset(caller, &question.dataset).await?;
        self.inner.vocabulary.require(&question.purpose)?;
        let version = self.policy(caller, &question.dataset, None).await?;
        let asked = Question {
            action: question.action,
            purpose: Some(&question.purpose),
            columns: &question.columns,
            rule: None,
        };
        let decision = self.decide_use(caller, &dataset, &version, &asked)?;
        Ok((decision, version.policy))
    }

    /// What the rules of a version say about an ask, one decision each: those that permit it, or else the first denial.
    ///
    /// An ask for every column is for those of the rule. Rules that name the action itself come before rules that only
    /// imply it, so that an ask for aggregates is not granted under a rule for rows if there is one for aggregates.
    pub(super) fn decide_ask(
        &self,
        caller: &Caller,
        dataset: &Dataset,
        version: &PolicyVersion,
        ask: &Ask,
        named: Option<&Name>,
    ) -> Result<Vec<Decision>> {
        let (mut exact, mut implied, mut denial) = (Vec::new(), Vec::new(), None);
        for rule in version.policy.rules.iter().filter(|rule| named.is_none_or(|named| *named == rule.id)) {
            let columns = if ask.columns.is_all() { &rule.columns } else { &ask.columns };
            let question = Question { action: ask.action, purpose: Some(&ask.purpose), columns, rule: Some(&rule.id) };
            let decision = self.decide_use(caller, dataset, version, &question)?;
            match (&decision.permit, rule.actions.contains(&ask.action)) {
                (Some(_), true) => exact.push(decision),
                (Some(_), false) => implied.push(decision),
                (None, _) => {
                    denial.get_or_insert(decision);
                }
            }
        }
        let permits = if exact.is_empty() { implied } else { exact };
        if !permits.is_empty() {
            return Ok(permits);
        }
        let none = Decision { policy: version.digest, permit: None, trace: Vec::new() };
        Ok(vec![denial.unwrap_or(none)])
    }

    /// Asks a version's compiled rules.
    pub(super) fn decide_use(
        &self,
        caller: &Caller,
        dataset: &Dataset,
        version: &PolicyVersion,
        question: &Question<'_>,
    ) -> Result<Decision> {
        let columns = match question.columns {
            Columns::All => dataset.columns().iter().map(|column| column.name.clone()).collect(),
            Columns::Only(names) => names.clone(),
        };
        let compiled = match self.inner.policies.get(&version.digest) {
            Some(compiled) => compiled,
            None => self.counted(self.inner.policies.compile(version.policy.clone()))?,
        };
        if compiled.digest() != version.digest {
            let detail = format_args!("the policy kept as {} is {}", version.digest, compiled.digest());
            return self.counted(Err(Fault::ModelMismatch.raise(detail)));
        }
        let question = engine::Question {
            who: &Attributes::from(caller),
            action: question.action,
            purpose: question.purpose,
            columns: &columns,
            at: self.time_to_decide()?,
            rule: question.rule,
        };
        let decision = self.counted(engine::decide(&compiled, &question, &self.inner.vocabulary))?;
        if decision.trace.iter().any(|rule| rule.outcome == RuleOutcome::Unknown) {
            self.inner.metrics.policy_fault(Fault::UnknownAttribute.as_str());
        }
        Ok(decision)
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
