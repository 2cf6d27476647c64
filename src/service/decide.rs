//! What the rules of a policy say about somebody's ask: one reading for grants, queries, explanations and simulations.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use super::{Services, policy::Question};
use crate::{
    domain::{
        Action, Columns, Dataset, Decision, Effect, How, Name, Policy, PurposeSlug, Rule, RuleOutcome, Timestamp,
        Vocabulary,
    },
    error::{Error, Reason, Result},
    policy::{self as engine, Attributes, CompiledPolicy, Fault},
};

/// What governs a query of an open dataset.
pub(super) enum Governing<'a> {
    /// This rule, for this action, by this decision.
    Rule(Action, &'a Rule, Box<Decision>),
    /// None; the first denial, if there is a rule.
    Nothing(Option<Box<Decision>>),
}

/// What binds the owner of a dataset on its own data, or why it cannot have the rows either.
pub(super) fn for_owner(policy: &Policy, action: Action) -> Result<How> {
    policy.for_owner(action).ok_or_else(|| {
        Error::new(Reason::PolicyDenied).with("dataset", &policy.dataset).with("clause", "action").with_words(
            "detail",
            "the floor of its policy lets nobody have the rows as they are",
            "le plancher de sa politique ne laisse sortir les lignes telles quelles pour personne",
        )
    })
}

/// A policy, and whom, when and on what it is asked about.
pub(super) struct Judge<'a> {
    pub(super) compiled: &'a CompiledPolicy,
    pub(super) who: &'a Attributes,
    pub(super) at: Timestamp,
    pub(super) dataset: &'a Dataset,
    /// Whose vocabulary it is, and who counts what could not be decided.
    pub(super) services: &'a Services,
}

impl Judge<'_> {
    /// The decision on one question; every column is every column that the dataset has.
    pub(super) fn decide(&self, question: &Question<'_>) -> Result<Decision> {
        let columns = self.columns(question.columns);
        let decision = engine::decide(self.compiled, &self.question(question, &columns), self.vocabulary());
        let decision = self.services.counted(decision)?;
        if decision.trace.iter().any(|rule| rule.outcome == RuleOutcome::Unknown) {
            self.services.inner.metrics.policy_fault(Fault::UnknownAttribute.as_str());
        }
        Ok(decision)
    }

    /// The purposes.
    pub(super) fn vocabulary(&self) -> &Vocabulary {
        &self.services.inner.vocabulary
    }

    /// The columns that are meant, by name.
    pub(super) fn columns(&self, columns: &Columns) -> BTreeSet<String> {
        match columns {
            Columns::All => self.dataset.columns().iter().map(|column| column.name.clone()).collect(),
            Columns::Only(names) => names.clone(),
        }
    }

    /// The question as the engine takes it.
    pub(super) fn question<'q>(
        &'q self,
        question: &Question<'q>,
        columns: &'q BTreeSet<String>,
    ) -> engine::Question<'q> {
        engine::Question {
            who: self.who,
            action: question.action,
            purpose: question.purpose,
            columns,
            at: self.at,
            rule: question.rule,
        }
    }

    /// What the rules say about an ask, one decision each: those that permit it, or else the first denial.
    ///
    /// An ask for every column is for those of the rule. Rules that name the action itself come before rules that only
    /// imply it, so that an ask for aggregates is not granted under a rule for rows if there is one for aggregates.
    pub(super) fn ask(
        &self,
        action: Action,
        purpose: &PurposeSlug,
        columns: &Columns,
        named: Option<&Name>,
    ) -> Result<Vec<Decision>> {
        let (mut exact, mut implied, mut denial) = (Vec::new(), Vec::new(), None);
        let mut decided = Decided::new(self, action, purpose);
        let rules = &self.compiled.policy().rules;
        for rule in rules.iter().filter(|rule| named.is_none_or(|named| *named == rule.id)) {
            let columns = if columns.is_all() { &rule.columns } else { columns };
            let decision = decided.under(rule, columns)?;
            match (&decision.permit, rule.actions.contains(&action)) {
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
        let none = Decision { policy: self.compiled.digest(), permit: None, trace: Vec::new() };
        Ok(vec![denial.unwrap_or(none)])
    }

    /// What governs a use of an open dataset: the first rule that permits the first of these actions that any rule
    /// permits; otherwise the first denial, if there is a rule at all.
    pub(super) fn open(&self, actions: &[Action], purpose: &PurposeSlug) -> Result<Governing<'_>> {
        let mut denial = None;
        for &action in actions {
            let mut decided = Decided::new(self, action, purpose);
            for rule in &self.compiled.policy().rules {
                let decision = Box::new(decided.under(rule, &rule.columns)?);
                if decision.permit.is_some() {
                    return Ok(Governing::Rule(action, rule, decision));
                }
                denial.get_or_insert(decision);
            }
        }
        Ok(Governing::Nothing(denial))
    }

    /// Whether the catalog entry may be seen: by those whom a permit lets discover it if there is such a permit, else by
    /// anyone whom no deny keeps from it.
    pub(super) fn sees(&self) -> Result<bool> {
        let rules = &self.compiled.policy().rules;
        let discovery = |effect| rules.iter().any(|r| r.effect == effect && r.actions.contains(&Action::Discover));
        let (permits, denies) = (discovery(Effect::Permit), discovery(Effect::Deny));
        if !permits && !denies {
            return Ok(true);
        }
        let question = Question { action: Action::Discover, purpose: None, columns: &Columns::All, rule: None };
        let decision = self.decide(&question)?;
        let kept_out = decision.trace.iter().any(|rule| rule.outcome.denies());
        Ok(if permits { decision.permit.is_some() } else { !kept_out })
    }
}

/// The decisions on one action for one purpose: one for each set of columns, whichever rule it is looked at for.
struct Decided<'a> {
    judge: &'a Judge<'a>,
    action: Action,
    purpose: &'a PurposeSlug,
    by_columns: BTreeMap<BTreeSet<String>, Decision>,
}

impl<'a> Decided<'a> {
    const fn new(judge: &'a Judge<'a>, action: Action, purpose: &'a PurposeSlug) -> Self {
        Self { judge, action, purpose, by_columns: BTreeMap::new() }
    }

    /// The decision on these columns where this rule alone may govern.
    fn under(&mut self, rule: &Rule, columns: &Columns) -> Result<Decision> {
        let decision = match self.by_columns.entry(self.judge.columns(columns)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let question = Question { action: self.action, purpose: Some(self.purpose), columns, rule: None };
                new.insert(self.judge.decide(&question)?)
            }
        };
        Ok(self.judge.compiled.governed_by(rule, decision, self.action))
    }
}
