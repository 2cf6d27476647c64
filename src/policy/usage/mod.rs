//! Usage decisions: whether the policy of one dataset permits one use, by which rule, under which obligations.
//!
//! casbin decides over the rules of this policy only, one row each (`policies/usage/model.conf`), so the cost
//! does not depend on how many datasets or participants there are (P10). Deny by default, deny wins, unknown
//! misses a permit and fires a deny, and an engine that fails denies. Exactly one permit governs; obligations
//! never merge across permits. It knows nothing of grants: whoever has one names its rule in the question.

mod cells;
mod clauses;
#[cfg(test)]
mod properties;
#[cfg(test)]
pub(in crate::policy) mod reference;
#[cfg(test)]
mod tests;
mod trace;

use std::{
    collections::BTreeSet,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

pub(in crate::policy) use self::cells::EU;
use casbin::{CoreApi, DefaultModel, Enforcer, Model, rhai::Dynamic};
use moka::sync::Cache;

use super::assets::USAGE_MODEL;
use crate::{
    domain::{
        Action, Caller, Decision, Digest, Effect, Kind, LegalBasis, Name, Participant, ParticipantId, Permit, Policy,
        PurposeSlug, Role, Rule, RuleOutcome, RuleTrace, Timestamp, Vocabulary,
    },
    error::{Error, Reason, Result},
};

/// Whether `policy` permits what `question` asks. Never fails: whatever goes wrong denies and is logged.
///
/// A permit of `read` also permits `aggregate`, and a deny of `aggregate` also denies `read`. For `aggregate` the
/// permit always says `aggregate_only`; without a smallest group of the policy's it is 1: aggregates of any size.
pub fn decide(policy: &CompiledPolicy, question: &Question<'_>, vocabulary: &Vocabulary) -> Decision {
    let request = clauses::Request::new(question, vocabulary);
    let Some((allowed, said)) = policy.run(request) else {
        return Decision { policy: policy.digest, permit: None, trace: Vec::new() };
    };
    let trace: Vec<_> = policy
        .policy
        .rules
        .iter()
        .zip(said)
        .map(|(rule, (outcome, first_failed))| RuleTrace { rule: rule.id.clone(), outcome, first_failed })
        .collect();
    let denied = trace.iter().any(|rule| rule.outcome == RuleOutcome::Denies);
    let governing = policy
        .policy
        .rules
        .iter()
        .zip(&trace)
        .filter(|(_, trace)| trace.outcome == RuleOutcome::Permits)
        .map(|(rule, _)| rule)
        .find(|rule| question.rule.is_none_or(|wanted| *wanted == rule.id));
    let permit = governing.filter(|_| allowed && !denied).map(|rule| policy.permit(rule, question.action));
    Decision { policy: policy.digest, permit, trace }
}

/// What a policy can ask about a caller. `None` is unknown: it misses a permit that asks and fires a deny.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// For whom the caller acts.
    pub participant: ParticipantId,
    /// The kind of participant.
    pub kind: Option<Kind>,
    /// Its sector.
    pub sector: Option<String>,
    /// Its country, ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// Its verified accreditations.
    pub accreditations: Option<BTreeSet<String>>,
    /// The member's roles.
    pub roles: Option<BTreeSet<Role>>,
}

impl From<&Caller> for Attributes {
    fn from(caller: &Caller) -> Self {
        let stated = |text: &String| (!text.is_empty()).then(|| text.clone());
        Self {
            participant: caller.participant.clone(),
            kind: Some(caller.kind),
            sector: caller.sector.as_ref().and_then(stated),
            country: stated(&caller.country),
            accreditations: Some(caller.accreditations.clone()),
            roles: Some(caller.roles.clone()),
        }
    }
}

impl From<&Participant> for Attributes {
    /// Without the roles of a member.
    fn from(participant: &Participant) -> Self {
        Self {
            participant: participant.id.clone(),
            kind: Some(participant.kind),
            sector: participant.sector.clone().filter(|sector| !sector.is_empty()),
            country: Some(participant.country.clone()).filter(|country| !country.is_empty()),
            accreditations: Some(participant.accreditations.iter().cloned().collect()),
            roles: None,
        }
    }
}

/// One use of a dataset, to be decided on.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Who asks.
    pub who: &'a Attributes,
    /// What for; not asked for [`Action::Discover`], otherwise none is unknown.
    pub purpose: Option<&'a PurposeSlug>,
    /// What is done.
    pub action: Action,
    /// The columns used, by name: every column of the dataset if all are asked. Not asked for discovery.
    pub columns: &'a BTreeSet<String>,
    /// When.
    pub at: Timestamp,
    /// The rule that a grant cites: no other one may govern. Without it the first permit in the policy's order does.
    pub rule: Option<&'a Name>,
}

/// A policy with the engine that decides by it. Immutable, so it can be cached by digest without invalidation.
pub struct CompiledPolicy {
    policy: Policy,
    digest: Digest,
    enforcer: Enforcer,
}

impl CompiledPolicy {
    /// Writes the rules into an engine of their own. Refuses two rules of one id and a permit of use that states
    /// no legal basis; `check` has the full list of what a policy must satisfy.
    pub fn new(policy: Policy) -> Result<Self> {
        Self::with_model(policy, USAGE_MODEL)
    }

    fn with_model(policy: Policy, model: &str) -> Result<Self> {
        let mut model: DefaultModel = super::read_model(model)?;
        let mut seen = BTreeSet::new();
        for (index, rule) in policy.rules.iter().enumerate() {
            let refuse = |detail: &str| {
                let path = format!("rules[{index}]");
                Err(Error::new(Reason::PolicyInvalid).with("path", path).with("detail", detail))
            };
            if !seen.insert(&rule.id) {
                return refuse("its id is taken");
            }
            if rule.effect == Effect::Permit && rule.legal_basis.is_none() && !only_discovers(rule) {
                return refuse("a permit of use without legal basis");
            }
            if !model.add_policy("p", "p", cells::row(rule)) {
                return refuse("the engine did not take it");
            }
        }
        let mut enforcer = super::enforcer(model)?;
        enforcer.set_effector(Box::new(trace::TraceEffector));
        clauses::register(&mut enforcer);
        Ok(Self { digest: policy.digest(), policy, enforcer })
    }

    /// The policy.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Its digest.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The permit for the dataset's owner: of its own data the rule's limits do not bind, the floor does.
    #[must_use]
    pub fn for_owner(&self, permit: Permit) -> Permit {
        Permit { how: self.policy.floor.clone(), ..permit }
    }

    /// The engine's answer and what each rule said; none if the engine failed, which is logged.
    fn run(&self, request: clauses::Request) -> Option<(bool, Vec<trace::Said>)> {
        if self.policy.rules.is_empty() {
            return Some((false, Vec::new()));
        }
        let arguments = vec![Dynamic::from(Arc::new(request))];
        let answer = catch_unwind(AssertUnwindSafe(|| self.enforcer.enforce(arguments)));
        let said = trace::take();
        match answer {
            Ok(Ok(allowed)) if said.len() == self.policy.rules.len() => return Some((allowed, said)),
            Ok(Ok(_)) => tracing::error!(policy = %self.digest, "the usage engine skipped a rule: denied"),
            Ok(Err(error)) => tracing::error!(policy = %self.digest, %error, "the usage engine failed: denied"),
            Err(_) => tracing::error!(policy = %self.digest, "the usage engine panicked: denied"),
        }
        None
    }

    fn permit(&self, rule: &Rule, action: Action) -> Permit {
        let mut how = rule.how.join(&self.policy.floor);
        if action == Action::Aggregate {
            how.aggregate_only.get_or_insert(1);
        }
        // What the legal basis asks for is a limit like the others, and shown as one.
        how.consent_required |= rule.legal_basis == Some(LegalBasis::Consent);
        Permit {
            rule: rule.id.clone(),
            how,
            duties: rule.duties.clone(),
            // Only a rule about discovery may lack it (see `with_model`), and a catalog entry is no personal data.
            legal_basis: rule.legal_basis.unwrap_or(LegalBasis::NotPersonal),
        }
    }
}

impl fmt::Debug for CompiledPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledPolicy").field("digest", &self.digest).finish_non_exhaustive()
    }
}

fn only_discovers(rule: &Rule) -> bool {
    rule.actions.iter().all(|action| *action == Action::Discover)
}

/// Compiled policies by digest: bounded, and never stale since a digest names one immutable policy.
#[derive(Debug, Clone)]
pub struct UsagePolicies {
    cache: Cache<Digest, Arc<CompiledPolicy>>,
}

impl UsagePolicies {
    /// Keeps at most `capacity` policies; one of five rules takes about 20 KiB.
    pub fn new(capacity: u64) -> Self {
        Self { cache: Cache::new(capacity) }
    }

    /// The compiled policy of this digest, if it is at hand.
    pub fn get(&self, digest: &Digest) -> Option<Arc<CompiledPolicy>> {
        self.cache.get(digest)
    }

    /// Compiles `policy` and keeps it under the digest of its own content.
    pub fn compile(&self, policy: Policy) -> Result<Arc<CompiledPolicy>> {
        let compiled = Arc::new(CompiledPolicy::new(policy)?);
        self.cache.insert(compiled.digest, Arc::clone(&compiled));
        Ok(compiled)
    }
}
