//! What would unlock a denied use, for whoever was denied it.
//!
//! Found by asking again: of each permit that the asker may know of, the first clause that fails is met, and then the
//! next, until the decision permits or nothing can be done. So what is said has been decided by the same engine as the
//! denial. Who one is cannot be changed: a rule that misses on organisation, kind, sector or country offers nothing; and
//! if a deny stands in the way whatever is changed, nothing is said of it.

use std::{cell::Cell, collections::BTreeSet};

use super::may_know;
use crate::{
    domain::{
        Action, Clause, Columns, Effect, Name, PurposeSlug, Role, Rule, RuleOutcome, Text, Timestamp, Vocabulary,
    },
    policy::{
        CompiledPolicy,
        diff::words::{instant, quoted, text},
        usage::{Question, decide},
    },
};

/// Most rules that are tried, and most that are told.
const MOST_TRIED: usize = 20;
const MOST_TOLD: usize = 3;
/// Most rules that are evaluated, all questions together: whoever writes a policy must not make a denial dear.
const MOST_EVALUATED: usize = 4_000;
/// Most changes of one question.
const MOST_STEPS: usize = 8;

/// One thing to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Do this instead.
    Action(Action),
    /// Get these accreditations, which the operator verifies.
    Accreditations(BTreeSet<String>),
    /// Let a member do it that has one of these roles.
    Roles(BTreeSet<Role>),
    /// Use these columns only.
    Columns(BTreeSet<String>),
    /// Do it for one of these purposes.
    Purposes(BTreeSet<PurposeSlug>),
    /// Wait until then.
    From(Timestamp),
}

/// What would make one rule permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlock {
    /// The rule.
    pub rule: Name,
    /// What to change, all of it.
    pub steps: Vec<Step>,
}

impl Unlock {
    /// In words, as the end of a sentence.
    pub fn text(&self) -> Text {
        let said: Vec<Text> = self.steps.iter().map(Step::text).collect();
        let join = |of: fn(&Text) -> &String, and: &str| said.iter().map(of).cloned().collect::<Vec<_>>().join(and);
        text(
            format!("rule `{}` would permit it {}", self.rule, join(|t| &t.en, " and ")),
            format!("la règle `{}` le permettrait {}", self.rule, join(|t| &t.fr, " et ")),
        )
    }
}

impl Step {
    fn text(&self) -> Text {
        match self {
            Self::Action(action) => {
                let action = action.as_str();
                text(format!("as `{action}`"), format!("en `{action}`"))
            }
            Self::Accreditations(all) => {
                let names = quoted(all);
                text(
                    format!("with accreditation {names}, which the operator verifies"),
                    format!("avec l'accréditation {names}, que l'opérateur vérifie"),
                )
            }
            Self::Roles(roles) => {
                let names = quoted(roles.iter().map(|role| role.as_str()));
                text(format!("to a member in role {names}"), format!("à un membre dans le rôle {names}"))
            }
            Self::Columns(columns) => {
                let names = quoted(columns);
                text(format!("on columns {names} only"), format!("sur les seules colonnes {names}"))
            }
            Self::Purposes(purposes) => {
                let names = quoted(purposes);
                text(format!("for purpose {names}"), format!("pour la finalité {names}"))
            }
            Self::From(at) => {
                let at = instant(*at);
                text(format!("from {at} on"), format!("à partir du {at}"))
            }
        }
    }
}

/// What would unlock a denied use, the nearest first.
pub fn unlocks(policy: &CompiledPolicy, question: &Question<'_>, vocabulary: &Vocabulary) -> Vec<Unlock> {
    let unknown = |one: &crate::domain::RuleTrace| one.outcome == RuleOutcome::Unknown;
    // What the hub lacks is the operator's business, and each further question would raise the alert again.
    if decide(policy, question, vocabulary).map_or(true, |decision| decision.trace.iter().any(unknown)) {
        return Vec::new();
    }
    let rules = &policy.policy().rules;
    let known = rules.iter().filter(|rule| rule.effect == Effect::Permit && may_know(rule, &question.who.participant));
    let left = Cell::new(MOST_EVALUATED);
    let attempt = |rule| Attempt { policy, rule, vocabulary, left: &left }.run(question);
    let mut found: Vec<Unlock> = known.take(MOST_TRIED).filter_map(attempt).collect();
    found.sort_by_key(|unlock| unlock.steps.len());
    found.truncate(MOST_TOLD);
    found
}

struct Attempt<'a> {
    policy: &'a CompiledPolicy,
    rule: &'a Rule,
    vocabulary: &'a Vocabulary,
    /// How many more rules may be evaluated.
    left: &'a Cell<usize>,
}

/// The question as it stands, with everything of its own.
#[derive(Clone)]
struct Asked {
    who: crate::policy::Attributes,
    purpose: Option<PurposeSlug>,
    action: Action,
    columns: BTreeSet<String>,
    at: Timestamp,
}

impl Attempt<'_> {
    fn run(&self, question: &Question<'_>) -> Option<Unlock> {
        let mut asked = Asked {
            who: question.who.clone(),
            purpose: question.purpose.cloned(),
            action: question.action,
            columns: question.columns.clone(),
            at: question.at,
        };
        let mut steps = Vec::new();
        for _ in 0..MOST_STEPS {
            let (outcome, clause, denied) = self.ask(&asked)?;
            match (outcome, clause) {
                (RuleOutcome::Permits, _) if !denied => {
                    return (!steps.is_empty()).then(|| Unlock { rule: self.rule.id.clone(), steps });
                }
                (RuleOutcome::Permits, _) => steps.push(self.around_denies(&mut asked)?),
                (_, Some(clause)) => steps.push(self.meet(clause, &mut asked)?),
                _ => return None,
            }
        }
        None
    }

    /// What the rule says, where it fails, and whether some deny fires.
    fn ask(&self, asked: &Asked) -> Option<(RuleOutcome, Option<Clause>, bool)> {
        self.left.set(self.left.get().checked_sub(self.policy.policy().rules.len())?);
        let question = Question {
            who: &asked.who,
            purpose: asked.purpose.as_ref(),
            action: asked.action,
            columns: &asked.columns,
            at: asked.at,
            rule: Some(&self.rule.id),
        };
        let trace = decide(self.policy, &question, self.vocabulary).ok()?.trace;
        let denied = trace.iter().any(|one| one.outcome.denies());
        let own = trace.into_iter().find(|one| one.rule == self.rule.id)?;
        Some((own.outcome, own.first_failed, denied))
    }

    fn permits(&self, asked: &Asked) -> bool {
        self.ask(asked).is_some_and(|(outcome, _, denied)| outcome == RuleOutcome::Permits && !denied)
    }

    /// Changes the question so that this clause of the rule holds.
    fn meet(&self, clause: Clause, asked: &mut Asked) -> Option<Step> {
        let rule = self.rule;
        match clause {
            Clause::Action => {
                let action = *rule.actions.iter().find(|action| **action != Action::Discover)?;
                (asked.action != Action::Discover).then_some(())?;
                asked.action = action;
                Some(Step::Action(action))
            }
            Clause::Accreditation => {
                let held = asked.who.accreditations.get_or_insert_default();
                let missing: BTreeSet<String> = rule.who.accreditations.difference(held).cloned().collect();
                held.extend(missing.iter().cloned());
                Some(Step::Accreditations(missing))
            }
            Clause::Role => {
                asked.who.roles.get_or_insert_default().extend(&rule.who.roles);
                Some(Step::Roles(rule.who.roles.clone()))
            }
            Clause::Columns => {
                let Columns::Only(names) = &rule.columns else { return None };
                let both: BTreeSet<String> = asked.columns.intersection(names).cloned().collect();
                asked.columns = if both.is_empty() { names.clone() } else { both };
                Some(Step::Columns(asked.columns.clone()))
            }
            Clause::Purpose => self.other_purposes(asked),
            Clause::Validity => {
                let starts = rule.when.iter().filter_map(|window| window.from);
                let next = starts.filter(|from| *from > asked.at).min()?;
                asked.at = next;
                Some(Step::From(next))
            }
            Clause::Organisation | Clause::Kind | Clause::Sector | Clause::Country => None,
        }
    }

    /// The rule's purposes, those first that no deny takes.
    fn other_purposes(&self, asked: &mut Asked) -> Option<Step> {
        let with = |purpose: &PurposeSlug| Asked { purpose: Some(purpose.clone()), ..asked.clone() };
        let free: BTreeSet<PurposeSlug> =
            self.rule.purposes.iter().filter(|purpose| self.permits(&with(purpose))).cloned().collect();
        let all = if free.is_empty() { self.rule.purposes.clone() } else { free };
        asked.purpose = Some(all.first()?.clone());
        Some(Step::Purposes(all))
    }

    /// A deny fires on what the rule permits: other purposes of it, or fewer columns, may be free of that.
    fn around_denies(&self, asked: &mut Asked) -> Option<Step> {
        let one = |column: &String| Asked { columns: BTreeSet::from([column.clone()]), ..asked.clone() };
        let free: BTreeSet<String> =
            asked.columns.iter().filter(|column| self.permits(&one(column))).cloned().collect();
        if !free.is_empty() && free.len() < asked.columns.len() {
            asked.columns = free;
            return Some(Step::Columns(asked.columns.clone()));
        }
        let mut other = asked.clone();
        let step = self.other_purposes(&mut other)?;
        let free = other.purpose != asked.purpose && self.permits(&other);
        *asked = other;
        free.then_some(step)
    }
}
