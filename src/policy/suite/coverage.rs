//! Which rules the cases have made fire, and which clauses they have seen hold and fail.
//!
//! Only what a rule states is counted: a clause that asks for nothing cannot fail.

use crate::domain::{Action, Clause, DatasetId, Decision, Digest, Effect, Policy, Rule, RuleOutcome};

/// What cases have shown of one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// Of which.
    pub subject: Subject,
    /// Its rules, in its order.
    pub rules: Vec<RuleCoverage>,
}

/// What is tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A usage policy.
    Policy {
        /// The dataset that it governs.
        dataset: DatasetId,
        /// Its digest.
        digest: Digest,
    },
    /// The role templates of the hub.
    Roles,
}

/// What cases have shown of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleCoverage {
    /// Its id; of a role template its role, act and family.
    pub rule: String,
    /// Whether it permits or denies.
    pub effect: Effect,
    /// It has permitted or denied something.
    pub fires: bool,
    /// The clauses that it states.
    pub clauses: Vec<ClauseCoverage>,
}

/// What cases have shown of one clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClauseCoverage {
    /// Which.
    pub clause: Clause,
    /// It has held.
    pub holds: bool,
    /// It was the first of its rule that did not hold.
    pub fails: bool,
}

/// How much of everything that could be shown has been, rounded down; all of nothing is 100.
pub fn percent<'a>(all: impl IntoIterator<Item = &'a Coverage>) -> u8 {
    let (mut seen, mut total) = (0_usize, 0_usize);
    for rule in all.into_iter().flat_map(|coverage| &coverage.rules) {
        seen += usize::from(rule.fires);
        seen += rule.clauses.iter().map(|clause| usize::from(clause.holds) + usize::from(clause.fails)).sum::<usize>();
        total += 1 + 2 * rule.clauses.len();
    }
    let share = (seen * 100).checked_div(total);
    share.and_then(|share| u8::try_from(share).ok()).unwrap_or(100)
}

impl Coverage {
    /// Nothing of this policy has been shown yet.
    pub fn of_policy(policy: &Policy) -> Self {
        let rules = policy.rules.iter().map(|rule| RuleCoverage {
            rule: rule.id.to_string(),
            effect: rule.effect,
            fires: false,
            clauses: stated(rule)
                .into_iter()
                .map(|clause| ClauseCoverage { clause, holds: false, fails: false })
                .collect(),
        });
        Self {
            subject: Subject::Policy { dataset: policy.dataset.clone(), digest: policy.digest() },
            rules: rules.collect(),
        }
    }

    /// Adds what a decision on `action` shows.
    pub(super) fn add(&mut self, action: Action, decision: &Decision) {
        for (rule, trace) in self.rules.iter_mut().zip(&decision.trace) {
            let missed = trace.first_failed.filter(|_| trace.outcome == RuleOutcome::Misses);
            rule.fires |= trace.outcome != RuleOutcome::Misses;
            for each in &mut rule.clauses {
                // Of discovery columns and purposes are not asked.
                if action == Action::Discover && matches!(each.clause, Clause::Columns | Clause::Purpose) {
                    continue;
                }
                each.holds |= missed.is_none_or(|missed| (each.clause as u8) < missed as u8);
                each.fails |= missed == Some(each.clause);
            }
        }
    }

    /// Adds what other cases of the same policy have shown; false, and nothing is added, if it is another one.
    pub fn merge(&mut self, other: &Self) -> bool {
        if self.subject != other.subject {
            return false;
        }
        for (rule, other) in self.rules.iter_mut().zip(&other.rules) {
            rule.fires |= other.fires;
            for (clause, other) in rule.clauses.iter_mut().zip(&other.clauses) {
                clause.holds |= other.holds;
                clause.fails |= other.fails;
            }
        }
        true
    }
}

/// The clauses that some request can fail.
fn stated(rule: &Rule) -> Vec<Clause> {
    let actions = rule.effective_actions();
    let uses = actions.iter().any(|action| *action != Action::Discover);
    let who = &rule.who;
    let stated = [
        (Clause::Action, actions.len() < Action::ALL.len()),
        (Clause::Organisation, !who.organisations.is_empty()),
        (Clause::Kind, !who.kinds.is_empty()),
        (Clause::Sector, !who.sectors.is_empty()),
        (Clause::Country, !who.countries.is_empty()),
        (Clause::Accreditation, !who.accreditations.is_empty()),
        (Clause::Role, !who.roles.is_empty()),
        (Clause::Columns, uses && !rule.columns.is_all()),
        (Clause::Purpose, uses && !rule.purposes.is_empty()),
        (Clause::Validity, !rule.when.is_empty()),
    ];
    stated.into_iter().filter(|(_, stated)| *stated).map(|(clause, _)| clause).collect()
}
