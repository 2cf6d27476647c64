//! Usage decisions: whether the policy of one dataset permits one use, by which rule, under which obligations.
//!
//! casbin decides over the rules of this policy only, one row each (`policies/usage/model.conf`), so the cost
//! does not depend on how many datasets or participants there are (P10). Deny by default, deny wins, unknown
//! misses a permit and fires a deny, and an engine that fails denies. Exactly one permit governs; obligations
//! never merge across permits. It knows nothing of grants: whoever has one names its rule in the question.

mod cells;
mod clauses;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod generate;
#[cfg(test)]
mod obligations;
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

use super::{assets::USAGE_MODEL, fault::Fault};
use crate::{
    domain::{
        Action, Caller, Decision, Digest, Effect, Kind, LegalBasis, Name, Participant, ParticipantId, Permit, Policy,
        PurposeSlug, Role, Rule, RuleOutcome, RuleTrace, Timestamp, Vocabulary,
    },
    error::{Error, Reason, Result},
};

/// Whether `policy` permits what `question` asks. Whatever goes wrong is a fault: `DECISION_FAILED`, with an alert.
///
/// A permit of `read` also permits `aggregate`, and a deny of `aggregate` also denies `read`. For `aggregate` the
/// permit always says `aggregate_only`; without a smallest group of the policy's it is 1: aggregates of any size.
pub fn decide(policy: &CompiledPolicy, question: &Question<'_>, vocabulary: &Vocabulary) -> Result<Decision> {
    let request = clauses::Request::new(question, vocabulary);
    let (allowed, said) = policy.run(request)?;
    let trace: Vec<_> = policy
        .policy
        .rules
        .iter()
        .zip(said)
        .map(|(rule, (outcome, first_failed))| RuleTrace { rule: rule.id.clone(), outcome, first_failed })
        .collect();
    let denied = trace.iter().any(|rule| rule.outcome.denies());
    if let Some(rule) = trace.iter().find(|rule| rule.outcome == RuleOutcome::Unknown) {
        Fault::UnknownAttribute.alert(format_args!("policy {}, rule `{}`", policy.digest, rule.rule));
    }
    let governing = policy
        .policy
        .rules
        .iter()
        .zip(&trace)
        .filter(|(_, trace)| trace.outcome == RuleOutcome::Permits)
        .map(|(rule, _)| rule)
        .find(|rule| question.rule.is_none_or(|wanted| *wanted == rule.id));
    let permit = governing.filter(|_| allowed && !denied).map(|rule| policy.permit(rule, question.action));
    Ok(Decision { policy: policy.digest, permit, trace })
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

    pub(super) fn with_model(policy: Policy, model: &str) -> Result<Self> {
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
        }
        let rows = policy.rules.iter().map(cells::row).collect();
        Self::assemble(policy, rows, model)
    }

    /// Puts these rows into an engine that combines their effects as the hub means it and no other way.
    fn assemble(policy: Policy, rows: Vec<Vec<String>>, model: &str) -> Result<Self> {
        let digest = policy.digest();
        let mut model: DefaultModel = super::read_model(model)?;
        let effect = model.get_model().get("e").and_then(|section| section.get("e")).map(|e| e.value.as_str());
        if effect != Some(trace::EXPRESSION) {
            return Err(Fault::UnknownEffect.raise(format_args!("policy {digest}: {effect:?}")));
        }
        for row in rows {
            super::require_arity(&model, &row)?;
            if !row.last().is_some_and(|effect| effect == cells::ALLOW || effect == cells::DENY) {
                return Err(Fault::UnknownEffect.raise(format_args!("policy {digest}: a rule has another")));
            }
            if !model.add_policy("p", "p", row) {
                return Err(Fault::ModelMismatch.raise(format_args!("policy {digest}: the engine refuses a rule")));
            }
        }
        let mut enforcer = super::enforcer(model)?;
        enforcer.set_effector(Box::new(trace::TraceEffector));
        clauses::register(&mut enforcer);
        Ok(Self { policy, digest, enforcer })
    }

    /// The policy.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Its digest.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The engine's answer and what each rule said.
    fn run(&self, request: clauses::Request) -> Result<(bool, Vec<trace::Said>)> {
        if self.policy.rules.is_empty() {
            return Ok((false, Vec::new()));
        }
        let arguments = vec![Dynamic::from(Arc::new(request))];
        let answer = catch_unwind(AssertUnwindSafe(|| self.enforcer.enforce(arguments)));
        let said = trace::take();
        match answer {
            Ok(Ok(allowed)) if said.len() == self.policy.rules.len() => Ok((allowed, said)),
            Ok(Ok(_)) => Err(Fault::RuleSkipped.raise(format_args!("policy {}", self.digest))),
            Ok(Err(error)) => Err(Fault::Engine.raise(format_args!("policy {}: {error}", self.digest))),
            Err(_) => Err(Fault::Panic.raise(format_args!("policy {}", self.digest))),
        }
    }

    fn permit(&self, rule: &Rule, action: Action) -> Permit {
        let mut how = rule.how.join(&self.policy.floor);
        if action == Action::Aggregate {
            how.aggregate_only.get_or_insert(1);
        }
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

    /// Compiles a policy in force and keeps it under the digest of its own content. One that cannot be compiled should
    /// never have come into force: that is a fault.
    pub fn compile(&self, policy: Policy) -> Result<Arc<CompiledPolicy>> {
        let digest = policy.digest();
        let compiled = Arc::new(CompiledPolicy::new(policy).map_err(|error| match Fault::of(&error) {
            Some(_) => error,
            None => Fault::ModelMismatch.raise(format_args!("policy {digest}: {error}")),
        })?);
        self.cache.insert(compiled.digest, Arc::clone(&compiled));
        Ok(compiled)
    }
}
