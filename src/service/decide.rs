//! What the rules of a policy say about somebody's ask: one reading for grants, queries, explanations and simulations.

use std::collections::BTreeSet;

use super::{Services, policy::Question};
use crate::{
    domain::{
        Action, Columns, Dataset, Decision, How, Name, Permit, Policy, PurposeSlug, Rule, RuleOutcome, Timestamp,
        Vocabulary,
    },
    error::{Error, Reason, Result},
    policy::{self as engine, Attributes, CompiledPolicy, Fault},
};

/// What governs a query of an open dataset.
pub(super) enum Governing<'a> {
    /// This rule, for this action.
    Rule(Action, &'a Rule, Box<Permit>),
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
        let rules = &self.compiled.policy().rules;
        for rule in rules.iter().filter(|rule| named.is_none_or(|named| *named == rule.id)) {
            let columns = if columns.is_all() { &rule.columns } else { columns };
            let question = Question { action, purpose: Some(purpose), columns, rule: Some(&rule.id) };
            let decision = self.decide(&question)?;
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
            for rule in &self.compiled.policy().rules {
                let question =
                    Question { action, purpose: Some(purpose), columns: &rule.columns, rule: Some(&rule.id) };
                let decision = self.decide(&question)?;
                if let Some(permit) = decision.permit {
                    return Ok(Governing::Rule(action, rule, Box::new(permit)));
                }
                denial.get_or_insert_with(|| Box::new(decision));
            }
        }
        Ok(Governing::Nothing(denial))
    }

    /// Whether the catalog entry may be seen: by anyone, unless the policy rules discovery.
    pub(super) fn sees(&self) -> Result<bool> {
        let ruled = self.compiled.policy().rules.iter().any(|rule| rule.actions.contains(&Action::Discover));
        let question = Question { action: Action::Discover, purpose: None, columns: &Columns::All, rule: None };
        Ok(!ruled || self.decide(&question)?.permit.is_some())
    }
}
