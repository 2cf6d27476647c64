//! Each use of the past under what binds it now and under the draft, and what differs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Flip, FlipKind, Trial,
    history::{History, Past},
};
use crate::{
    domain::{Access, Action, Columns, Digest, Filter, How, Name, Policy, PolicyVersion, Rule},
    error::Result,
    policy::{
        CompiledPolicy,
        diff::{Terms, compare},
    },
    service::{Services, decide::Governing, policy::Question},
    store::policy,
};

/// A flip whose rows may still have to be counted.
pub(super) struct Candidate {
    pub(super) flip: Flip,
    /// The rows within reach on each side.
    pub(super) before: Rows,
    pub(super) after: Rows,
}

/// Rows within reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rows {
    /// It is not permitted, or is about no rows.
    None,
    /// All of them.
    All,
    /// Those that pass.
    Passing(Filter),
}

/// The policies that bind now.
pub(super) struct Binding {
    in_force: Option<Arc<CompiledPolicy>>,
    /// Those that grants cite.
    of_grants: BTreeMap<Digest, Arc<CompiledPolicy>>,
}

/// What permits a use.
struct Outcome {
    rule: Option<Name>,
    terms: Terms,
    columns: BTreeSet<String>,
}

impl Services {
    /// The policies that bind the uses of the past.
    pub(super) async fn binding(&self, in_force: Option<&PolicyVersion>, history: &History) -> Result<Binding> {
        let in_force = in_force.map(|version| self.compiled(version)).transpose()?;
        let mut of_grants = BTreeMap::new();
        for grant in history.uses.iter().filter_map(|past| past.grant.as_ref()) {
            if of_grants.contains_key(&grant.policy) {
                continue;
            }
            let version = policy::by_digest(&mut self.read().await?, &grant.dataset, &grant.policy).await?;
            if let Some(version) = version {
                of_grants.insert(grant.policy, self.compiled(&version)?);
            }
        }
        Ok(Binding { in_force, of_grants })
    }

    /// The uses that come out otherwise, by participant, and how many do not.
    pub(super) fn replay(
        &self,
        trial: &Trial,
        history: &History,
        binding: &Binding,
    ) -> Result<(Vec<Candidate>, usize)> {
        let (mut flips, mut unchanged) = (Vec::new(), 0);
        for past in &history.uses {
            let bound = past.grant.as_ref().and_then(|grant| binding.of_grants.get(&grant.policy));
            let before = match bound.or(binding.in_force.as_ref()) {
                Some(compiled) => self.outcome(trial, compiled, past, bound.is_some())?,
                None => None,
            };
            let after = self.outcome(trial, &trial.draft, past, false)?;
            match candidate(trial, past, before, after) {
                Some(flip) => flips.push(flip),
                None => unchanged += 1,
            }
        }
        flips.sort_by(|a, b| {
            let key = |one: &Candidate| (one.flip.participant.clone(), one.flip.action, one.flip.purpose.clone());
            key(a).cmp(&key(b))
        });
        Ok((flips, unchanged))
    }

    /// What permits a use under a policy; `bound` asks for the rule of its grant alone.
    fn outcome(&self, trial: &Trial, compiled: &CompiledPolicy, past: &Past, bound: bool) -> Result<Option<Outcome>> {
        let policy = compiled.policy();
        if trial.is_own(past) {
            let all = trial.dataset.columns().iter().map(|column| column.name.clone()).collect();
            let outcome =
                |how| Outcome { rule: None, terms: Terms { how, legal_basis: None, duties: Vec::new() }, columns: all };
            return Ok(policy.for_owner(past.action).map(outcome));
        }
        let judge = trial.judge(compiled, &past.who, self);
        let Some(purpose) = &past.purpose else {
            let terms = Terms { how: How::default(), legal_basis: None, duties: Vec::new() };
            return Ok(judge.sees()?.then(|| Outcome { rule: None, terms, columns: BTreeSet::new() }));
        };
        if trial.dataset.access == Access::Open {
            let actions: &[_] = match past.action {
                Action::Download => &[Action::Download],
                _ => &[Action::Read, Action::Aggregate],
            };
            return Ok(match judge.open(actions, purpose)? {
                Governing::Rule(_, rule, _) => Some(under(trial, policy, rule, &Columns::All)),
                Governing::Nothing(_) => None,
            });
        }
        let cited = past.grant.as_ref().map(|grant| &grant.rule);
        let permitted = if bound {
            let question =
                Question { action: past.action, purpose: Some(purpose), columns: &past.columns, rule: cited };
            judge.decide(&question)?.permit.into_iter().collect()
        } else {
            let decisions = judge.ask(past.action, purpose, &past.columns, None)?;
            decisions.into_iter().filter_map(|decision| decision.permit).collect::<Vec<_>>()
        };
        // Of several the owner would name one: that of the grant, if it is among them.
        let chosen = permitted.iter().find(|permit| Some(&permit.rule) == cited).or_else(|| permitted.first());
        let rule = chosen.and_then(|permit| policy.rule(permit.rule.as_str()));
        Ok(rule.map(|rule| under(trial, policy, rule, &past.columns)))
    }
}

fn under(trial: &Trial, policy: &Policy, rule: &Rule, asked: &Columns) -> Outcome {
    let columns = rule.columns.intersect(asked);
    let all = trial.dataset.columns().iter().map(|column| column.name.clone());
    Outcome {
        rule: Some(rule.id.clone()),
        terms: Terms::of(rule, policy).on(&columns),
        columns: all.filter(|name| columns.contains(name)).collect(),
    }
}

/// The flip, if the two outcomes differ.
fn candidate(trial: &Trial, past: &Past, before: Option<Outcome>, after: Option<Outcome>) -> Option<Candidate> {
    let (kind, terms) = match (&before, &after) {
        (None, None) => return None,
        (None, Some(_)) => (FlipKind::Gains, Vec::new()),
        (Some(_), None) => (FlipKind::Loses, Vec::new()),
        (Some(before), Some(after)) => (FlipKind::Changes, compare(&before.terms, &after.terms)),
    };
    let columns = |outcome: &Option<Outcome>| outcome.as_ref().map(|one| one.columns.clone()).unwrap_or_default();
    let (old, new) = (columns(&before), columns(&after));
    if kind == FlipKind::Changes && terms.is_empty() && old == new {
        return None;
    }
    let rows = |outcome: &Option<Outcome>| match outcome {
        Some(one) if past.action != Action::Discover => {
            one.terms.how.row_filter.clone().map_or(Rows::All, Rows::Passing)
        }
        _ => Rows::None,
    };
    let filters = (rows(&before), rows(&after));
    // A grant goes on under its own policy; an open dataset and what nobody was granted follow the draft at once.
    let after_grant = past.grant.as_ref().filter(|_| trial.dataset.access == Access::Restricted);
    Some(Candidate {
        flip: Flip {
            participant: past.who.participant.clone(),
            kind,
            action: past.action,
            own: trial.is_own(past),
            purpose: past.purpose.clone(),
            after: after_grant.map(|grant| grant.valid_until),
            rule_before: before.and_then(|one| one.rule),
            rule_after: after.and_then(|one| one.rule),
            columns_gained: new.difference(&old).cloned().collect(),
            columns_lost: old.difference(&new).cloned().collect(),
            terms,
            rows_before: None,
            rows_after: None,
            evidence: past.evidence.clone(),
        },
        before: filters.0,
        after: filters.1,
    })
}
