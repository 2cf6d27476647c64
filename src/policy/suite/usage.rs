//! Runs the cases of a usage policy.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    super::{
        assets::USAGE_MODEL,
        explain, manifest,
        usage::{Attributes, CompiledPolicy, Question, decide},
    },
    CaseReport, Checks, Coverage, Report,
    document::{Case, Participant, Source, UsageFile, Verdict},
    refuse,
};
use crate::{
    domain::{
        Action, Clause, Decision, Effect, Name, ParticipantId, Permit, Policy, RuleOutcome, Timestamp, Vocabulary,
    },
    error::Result,
};

/// A usage policy and what it must decide.
#[derive(Debug)]
pub(super) struct Suite {
    policy: Policy,
    participants: BTreeMap<String, Attributes>,
    cases: Vec<(Case, BTreeSet<String>, Timestamp)>,
}

impl Suite {
    /// Checks that every case can be meant: its participant, rules, columns and time are there. Its purpose is looked up
    /// when it is run.
    pub(super) fn new(file: UsageFile, load: impl FnOnce(&str) -> Result<String>) -> Result<Self> {
        let UsageFile { policy, columns, at, participants, cases } = file;
        let policy = match policy {
            Source::Inline(policy) => *policy,
            Source::Path(path) => manifest::parse(&load(&path)?)?,
        };
        let participants = participants
            .into_iter()
            .map(|(name, participant)| attributes(&name, participant).map(|attributes| (name, attributes)))
            .collect::<Result<BTreeMap<_, _>>>()?;
        let mut suite = Self { policy, participants, cases: Vec::with_capacity(cases.len()) };
        let mut names = BTreeSet::new();
        for (index, case) in cases.into_iter().enumerate() {
            let path = format!("cases[{index}]");
            suite.require_consistent(&path, &case)?;
            if !names.insert(case.name.clone()) {
                return refuse(path, "its name is that of an earlier case");
            }
            let Some(at) = case.request.at.or(at) else {
                return refuse(path, "neither the request nor the file says `at`");
            };
            let asked = match (&case.request.columns, case.request.action) {
                (Some(asked), _) => {
                    let unknown = asked.iter().find(|column| !columns.is_empty() && !columns.contains(*column));
                    if let Some(column) = unknown {
                        let shown = column.escape_debug();
                        return refuse(path, format_args!("`{shown}` is none of the file's `columns`"));
                    }
                    asked.clone()
                }
                (None, Action::Discover) => BTreeSet::new(),
                (None, _) if columns.is_empty() => {
                    return refuse(path, "neither the request nor the file says `columns`");
                }
                (None, _) => columns.clone(),
            };
            suite.cases.push((case, asked, at));
        }
        Ok(suite)
    }

    fn require_consistent(&self, path: &str, case: &Case) -> Result<()> {
        if !self.participants.contains_key(&case.request.by) {
            return refuse(path, format_args!("`{}` is none of the participants", case.request.by.escape_debug()));
        }
        for rule in [&case.rule, &case.request.grant].into_iter().flatten() {
            if self.policy.rule(rule.as_str()).is_none() {
                return refuse(path, format_args!("the policy has no rule `{rule}`"));
            }
        }
        let effect = case.rule.as_ref().and_then(|rule| self.policy.rule(rule.as_str())).map(|rule| rule.effect);
        match (case.decision, effect, case.first_failed) {
            (Verdict::Permit, None, _) => refuse(path, "a permit names its rule"),
            (Verdict::Permit, Some(Effect::Deny), _) => refuse(path, "its rule is a deny"),
            (Verdict::Permit, _, Some(_)) => refuse(path, "a permit has no first failed clause"),
            (Verdict::Deny, None, Some(_)) => refuse(path, "`first_failed` is of a rule: name it"),
            (Verdict::Deny, Some(Effect::Permit), None) => refuse(path, "`first_failed` says why the rule misses"),
            // A permit, too, misses a purpose that there is not.
            (Verdict::Deny, Some(Effect::Permit), Some(Clause::Purpose)) if case.unknown == Some(Clause::Purpose) => {
                Ok(())
            }
            (_, effect, failed)
                if case.unknown.is_some()
                    && (effect != Some(Effect::Deny) || failed.is_some() || case.decision == Verdict::Permit) =>
            {
                refuse(path, "`unknown` is of a deny that fires")
            }
            (Verdict::Deny, ..) if case.obligations.is_some() => refuse(path, "a denial has no obligations"),
            _ => Ok(()),
        }
    }

    pub(super) fn run(&self, vocabulary: &Vocabulary) -> Result<Report> {
        self.run_with(vocabulary, USAGE_MODEL)
    }

    /// As decided by another model; a mutation check asks it.
    pub(super) fn run_with(&self, vocabulary: &Vocabulary, model: &str) -> Result<Report> {
        let compiled = CompiledPolicy::with_model(self.policy.clone(), model)?;
        let mut coverage = Coverage::of_policy(&self.policy);
        let mut cases = Vec::with_capacity(self.cases.len());
        for (index, (case, columns, at)) in self.cases.iter().enumerate() {
            let request = &case.request;
            // A slip in a purpose would deny whatever the policy says, and so pass.
            if let Some(purpose) = &request.purpose
                && vocabulary.require(purpose).is_err()
                && case.unknown != Some(Clause::Purpose)
            {
                let detail = format_args!("`{purpose}` is no purpose (if that is meant, say `unknown: purpose`)");
                return refuse(format_args!("cases[{index}]"), detail);
            }
            let Some(who) = self.participants.get(&request.by) else { continue };
            let question = Question {
                who,
                purpose: request.purpose.as_ref(),
                action: request.action,
                columns,
                at: *at,
                rule: request.grant.as_ref(),
            };
            let decision = decide(&compiled, &question, vocabulary)?;
            coverage.add(request.action, &decision);
            let mut checks = Checks::default();
            self.judge(case, &decision, &mut checks);
            cases.push(CaseReport { name: case.name.clone(), mismatches: checks.0 });
        }
        Ok(Report { cases, coverage })
    }

    fn judge(&self, case: &Case, decision: &Decision, checks: &mut Checks) {
        let verdict = |permits: bool| if permits { "permit" } else { "deny" };
        checks.equal("decision", verdict(case.decision == Verdict::Permit), verdict(decision.permit.is_some()));
        match (&decision.permit, &case.rule) {
            (Some(permit), Some(rule)) if case.decision == Verdict::Permit => {
                checks.equal("rule", rule.as_str(), permit.rule.as_str());
                obligations(case, permit, checks);
            }
            (_, Some(rule)) if case.decision == Verdict::Deny => {
                let outcome = match (case.first_failed, case.unknown) {
                    (Some(clause), _) => (RuleOutcome::Misses, Some(clause)),
                    (None, Some(clause)) => (RuleOutcome::Unknown, Some(clause)),
                    (None, None) => (RuleOutcome::Denies, None),
                };
                checks.equal(format!("rule `{rule}`"), &said(outcome), &self::outcome(decision, rule));
            }
            _ => {}
        }
        let Some(who) = self.participants.get(&case.request.by) else { return };
        let told = explain::for_requester(decision, &self.policy, &who.participant);
        for (what, expected, got) in
            [("explanation.fr", &case.explanation.fr, &told.fr), ("explanation.en", &case.explanation.en, &told.en)]
        {
            if !expected.is_empty() {
                checks.equal(what, expected, got);
            }
        }
    }
}

fn obligations(case: &Case, permit: &Permit, checks: &mut Checks) {
    let Some(expected) = &case.obligations else { return };
    checks.equal("obligations.how", &json(&expected.how), &json(&permit.how));
    checks.equal("obligations.duties", &json(&expected.duties), &json(&permit.duties));
    if let Some(basis) = expected.legal_basis {
        checks.equal("obligations.legal_basis", basis.as_str(), permit.legal_basis.as_str());
    }
}

/// What a rule said, in words of the file.
fn outcome(decision: &Decision, rule: &Name) -> String {
    let trace = decision.trace.iter().find(|trace| trace.rule == *rule);
    trace.map_or_else(|| "not tried".to_owned(), |trace| said((trace.outcome, trace.first_failed)))
}

fn said((outcome, first_failed): (RuleOutcome, Option<Clause>)) -> String {
    match (outcome, first_failed) {
        (RuleOutcome::Permits, _) => "permits".to_owned(),
        (RuleOutcome::Denies, _) => "denies".to_owned(),
        (RuleOutcome::Unknown, clause) => format!("denies, not knowing {}", clause.map_or("?", Clause::as_str)),
        (RuleOutcome::Misses, Some(clause)) => format!("fails in {}", clause.as_str()),
        (RuleOutcome::Misses, None) => "misses".to_owned(),
    }
}

fn attributes(name: &str, participant: Participant) -> Result<Attributes> {
    let Participant { id, kind, sector, country, accreditations, roles } = participant;
    let id = match id {
        Some(id) => id,
        None => name.parse::<ParticipantId>()?,
    };
    Ok(Attributes { participant: id, kind, sector, country, accreditations, roles })
}

/// Plain data, whose serialisation cannot fail.
fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
