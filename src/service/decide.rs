//! What the rules of a policy say about somebody's ask: one reading for grants, queries, explanations and simulations.

use std::collections::BTreeSet;

use super::policy::Question;
use crate::{
    domain::{Action, Columns, Dataset, Decision, Name, Permit, PurposeSlug, Rule, Timestamp, Vocabulary},
    policy::{self as engine, Attributes, CompiledPolicy},
};

/// A policy, and whom, when and on what it is asked about.
pub(super) struct Judge<'a> {
    pub(super) compiled: &'a CompiledPolicy,
    pub(super) who: &'a Attributes,
    pub(super) at: Timestamp,
    pub(super) dataset: &'a Dataset,
    pub(super) vocabulary: &'a Vocabulary,
}

impl Judge<'_> {
    /// The decision on one question; every column is every column that the dataset has.
    pub(super) fn decide(&self, question: &Question<'_>) -> Decision {
        let columns = self.columns(question.columns);
        engine::decide(self.compiled, &self.question(question, &columns), self.vocabulary)
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
    ) -> Vec<Decision> {
        let (mut exact, mut implied, mut denial) = (Vec::new(), Vec::new(), None);
        let rules = &self.compiled.policy().rules;
        for rule in rules.iter().filter(|rule| named.is_none_or(|named| *named == rule.id)) {
            let columns = if columns.is_all() { &rule.columns } else { columns };
            let question = Question { action, purpose: Some(purpose), columns, rule: Some(&rule.id) };
            let decision = self.decide(&question);
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
            return permits;
        }
        let none = Decision { policy: self.compiled.digest(), permit: None, trace: Vec::new() };
        vec![denial.unwrap_or(none)]
    }

    /// What governs a query of an open dataset: the first rule that permits reading, or else aggregating; otherwise the
    /// first denial, if there is a rule at all.
    pub(super) fn open(&self, purpose: &PurposeSlug) -> Result<(Action, &Rule, Permit), Option<Box<Decision>>> {
        let mut denial = None;
        for action in [Action::Read, Action::Aggregate] {
            for rule in &self.compiled.policy().rules {
                let question =
                    Question { action, purpose: Some(purpose), columns: &rule.columns, rule: Some(&rule.id) };
                let decision = self.decide(&question);
                if let Some(permit) = decision.permit {
                    return Ok((action, rule, permit));
                }
                denial.get_or_insert_with(|| Box::new(decision));
            }
        }
        Err(denial)
    }

    /// Whether the catalog entry may be seen: by anyone, unless the policy rules discovery.
    pub(super) fn sees(&self) -> bool {
        let ruled = self.compiled.policy().rules.iter().any(|rule| rule.actions.contains(&Action::Discover));
        let question = Question { action: Action::Discover, purpose: None, columns: &Columns::All, rule: None };
        !ruled || self.decide(&question).permit.is_some()
    }
}
