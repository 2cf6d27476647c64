//! What would unlock a denied use, for whoever was denied it.
//!
//! Found by asking again: of each permit that the asker may know of, the first clause that fails is met, and then the
//! next, until the decision permits or nothing can be done. Roles, purposes and times are tried one by one, also to get
//! round a deny. So what is said has been decided by the same engine as the
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
/// The same for the questions about one rule.
const MOST_EVALUATED_OF_ONE: usize = 800;
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
    let mut left = MOST_EVALUATED;
    let mut found = Vec::new();
    for rule in known.take(MOST_TRIED) {
        let own = left.min(MOST_EVALUATED_OF_ONE);
        let attempt = Attempt { policy, rule, vocabulary, left: Cell::new(own) };
        found.extend(attempt.run(question));
        left -= own - attempt.left.get();
    }
    found.sort_by_key(|unlock| unlock.steps.len());
    found.truncate(MOST_TOLD);
    found
}

/// Most columns that are tried one by one.
const MOST_COLUMNS: usize = 40;
/// Most other values of one thing that are tried.
const MOST_VALUES: usize = 12;

struct Attempt<'a> {
    policy: &'a CompiledPolicy,
    rule: &'a Rule,
    vocabulary: &'a Vocabulary,
    /// How many rules may still be evaluated.
    left: Cell<usize>,
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

/// What the rule says to a question.
struct Said {
    outcome: RuleOutcome,
    /// Where it fails.
    clause: Option<Clause>,
    /// Whether some deny fires.
    denied: bool,
}

impl Attempt<'_> {
    fn run(&self, question: &Question<'_>) -> Option<Unlock> {
        let asked = Asked {
            who: question.who.clone(),
            purpose: question.purpose.cloned(),
            action: question.action,
            columns: question.columns.clone(),
            at: question.at,
        };
        let steps = self.steps(&asked, MOST_STEPS)?;
        (!steps.is_empty()).then(|| Unlock { rule: self.rule.id.clone(), steps })
    }

    /// What else must change so that the rule permits; none if nothing is found in so many changes.
    fn steps(&self, asked: &Asked, most: usize) -> Option<Vec<Step>> {
        let said = self.ask(asked)?;
        match (said.outcome, said.clause) {
            (RuleOutcome::Permits, _) if !said.denied => Some(Vec::new()),
            _ if most == 0 => None,
            (RuleOutcome::Permits, _) => self.around_denies(asked, most - 1),
            (_, Some(clause)) => self.meet(clause, asked, most - 1),
            _ => None,
        }
    }

    fn ask(&self, asked: &Asked) -> Option<Said> {
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
        Some(Said { outcome: own.outcome, clause: own.first_failed, denied })
    }

    fn permits(&self, asked: &Asked) -> bool {
        self.ask(asked).is_some_and(|said| said.outcome == RuleOutcome::Permits && !said.denied)
    }

    /// Changes the question so that this clause of the rule holds, and then whatever else is in the way.
    fn meet(&self, clause: Clause, asked: &Asked, most: usize) -> Option<Vec<Step>> {
        let rule = self.rule;
        let mut changed = asked.clone();
        let step = match clause {
            Clause::Action => {
                let action = *rule.actions.iter().find(|action| **action != Action::Discover)?;
                (asked.action != Action::Discover).then_some(())?;
                changed.action = action;
                Step::Action(action)
            }
            Clause::Accreditation => {
                let held = changed.who.accreditations.get_or_insert_default();
                let missing: BTreeSet<String> = rule.who.accreditations.difference(held).cloned().collect();
                held.extend(missing.iter().cloned());
                Step::Accreditations(missing)
            }
            // One role is enough, and another one may be denied.
            Clause::Role => {
                let with = |role: &Role| {
                    let mut other = asked.clone();
                    other.who.roles.get_or_insert_default().insert(*role);
                    other
                };
                return self.any_of(&rule.who.roles, with, Step::Roles, most);
            }
            Clause::Columns => {
                let Columns::Only(names) = &rule.columns else { return None };
                let both: BTreeSet<String> = asked.columns.intersection(names).cloned().collect();
                changed.columns = if both.is_empty() { names.clone() } else { both };
                Step::Columns(changed.columns.clone())
            }
            Clause::Purpose => return self.other_purposes(asked, most),
            Clause::Validity => return self.later(asked, most),
            Clause::Organisation | Clause::Kind | Clause::Sector | Clause::Country => return None,
        };
        let mut steps = self.steps(&changed, most)?;
        steps.insert(0, step);
        Some(steps)
    }

    /// Those of the values with which the fewest further changes are needed, the same ones for all that are told.
    fn any_of<T: Clone + Ord>(
        &self,
        values: &BTreeSet<T>,
        with: impl Fn(&T) -> Asked,
        step: impl Fn(BTreeSet<T>) -> Step,
        most: usize,
    ) -> Option<Vec<Step>> {
        let mut best: Option<(BTreeSet<T>, Vec<Step>)> = None;
        for value in values.iter().take(MOST_VALUES) {
            let Some(further) = self.steps(&with(value), most) else { continue };
            match &mut best {
                Some((alike, known)) if *known == further => {
                    alike.insert(value.clone());
                }
                Some((_, known)) if known.len() <= further.len() => {}
                _ => best = Some(([value.clone()].into(), further)),
            }
        }
        best.map(|(values, further)| [vec![step(values)], further].concat())
    }

    /// The rule's purposes.
    fn other_purposes(&self, asked: &Asked, most: usize) -> Option<Vec<Step>> {
        let with = |purpose: &PurposeSlug| Asked { purpose: Some(purpose.clone()), ..asked.clone() };
        let others = self.rule.purposes.iter().filter(|purpose| asked.purpose.as_ref() != Some(*purpose));
        self.any_of(&others.cloned().collect(), with, Step::Purposes, most)
    }

    /// The first time at which it is permitted, with or without other changes: when a window of the rule opens, or one
    /// of a deny ends.
    fn later(&self, asked: &Asked, most: usize) -> Option<Vec<Step>> {
        let denies = self.policy.policy().rules.iter().filter(|rule| rule.effect == Effect::Deny);
        let ends = denies.flat_map(|deny| &deny.when).filter_map(|window| window.until);
        let starts = self.rule.when.iter().filter_map(|window| window.from);
        let times: BTreeSet<Timestamp> = starts.chain(ends).filter(|at| *at > asked.at).collect();
        // One wait is enough: a later time is among them.
        times.into_iter().take(MOST_VALUES).find_map(|at| {
            let then = Asked { at, ..asked.clone() };
            let said = self.ask(&then)?;
            (said.outcome == RuleOutcome::Permits || said.clause != Some(Clause::Validity)).then_some(())?;
            let further = self.steps(&then, most)?;
            let waits = further.iter().any(|step| matches!(step, Step::From(_)));
            (!waits).then(|| [vec![Step::From(at)], further].concat())
        })
    }

    /// A deny fires on what the rule permits: fewer columns, other purposes of the rule or a later time may be free of
    /// that.
    fn around_denies(&self, asked: &Asked, most: usize) -> Option<Vec<Step>> {
        let one = |column: &String| Asked { columns: BTreeSet::from([column.clone()]), ..asked.clone() };
        let free: BTreeSet<String> =
            asked.columns.iter().take(MOST_COLUMNS).filter(|column| self.permits(&one(column))).cloned().collect();
        if !free.is_empty() && free.len() < asked.columns.len() {
            let columns = Asked { columns: free.clone(), ..asked.clone() };
            if self.permits(&columns) {
                return Some(vec![Step::Columns(free)]);
            }
        }
        // Whatever purpose or time is taken, what else is in the way must be of another sort.
        self.other_purposes(asked, most.min(1)).or_else(|| self.later(asked, most.min(2)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::Kind,
        policy::{Attributes, manifest, vocabulary},
    };

    /// What unlocks an aggregate of `cost` and `age` for scientific research, in words.
    fn told(rules: &str, held: &[Role], at: &str) -> Vec<String> {
        let policy = manifest::parse(&format!("dataset: chu.stays\nrules:\n{rules}")).unwrap();
        let vocabulary = vocabulary::load().unwrap();
        let who = Attributes {
            participant: "irit".parse().unwrap(),
            kind: Some(Kind::Lab),
            sector: None,
            country: Some("FR".to_owned()),
            accreditations: Some(BTreeSet::new()),
            roles: Some(held.iter().copied().collect()),
        };
        let question = Question {
            who: &who,
            purpose: Some(&"scientific_research".parse().unwrap()),
            action: Action::Aggregate,
            columns: &["age".to_owned(), "cost".to_owned()].into(),
            at: at.parse().unwrap(),
            rule: None,
        };
        let found = unlocks(&CompiledPolicy::new(policy).unwrap(), &question, &vocabulary);
        found.iter().map(|unlock| unlock.text().en).collect()
    }

    const PERMIT: &str = "  - {id: r, effect: permit, actions: [aggregate], legal_basis: public_interest";

    #[test]
    fn one_role_of_several_unlocks_although_another_is_denied() {
        let rules = format!(
            "{PERMIT}, who: {{roles: [requester, steward]}}}}\n  - {{id: d, effect: deny, actions: [aggregate], who: \
             {{roles: [steward]}}}}\n"
        );
        assert_eq!(told(&rules, &[], "2026-11-25"), ["rule `r` would permit it to a member in role `requester`"]);
        let both = format!("{PERMIT}, who: {{roles: [requester, steward]}}}}\n");
        assert_eq!(
            told(&both, &[], "2026-11-25"),
            ["rule `r` would permit it to a member in role `steward`, `requester`"]
        );
    }

    #[test]
    fn the_end_of_a_prohibition_unlocks() {
        let rules = format!(
            "{PERMIT}, when: [{{from: 2027-01-01, until: 2027-02-01}}, {{from: 2026-12-01, until: 2026-12-15}}]}}\n  \
             - {{id: no_winter, effect: deny, actions: [aggregate], when: [{{from: 2026-11-01, until: 2026-12-10}}]}}\n"
        );
        assert_eq!(told(&rules, &[], "2026-11-25"), ["rule `r` would permit it from 2026-12-10 on"]);
        assert_eq!(told(&rules, &[], "2026-12-02"), ["rule `r` would permit it from 2026-12-10 on"]);
        assert_eq!(told(&rules, &[], "2026-12-20"), ["rule `r` would permit it from 2027-01-01 on"]);
        let cost = format!("{rules}  - {{id: cost, effect: deny, actions: [aggregate], columns: {{only: [cost]}}}}\n");
        let both = "rule `r` would permit it from 2026-12-10 on and on columns `age` only";
        assert_eq!(told(&cost, &[], "2026-11-25"), [both]);
        let ever = format!("{rules}  - {{id: ever, effect: deny, actions: [aggregate]}}\n");
        assert_eq!(told(&ever, &[], "2026-11-25"), Vec::<String>::new());
    }

    #[test]
    fn purposes_that_unlock_are_those_that_no_deny_takes() {
        let rules = format!(
            "{PERMIT}, purposes: [improve_healthcare, public_benefit, marketing]}}\n  - {{id: d, effect: deny, actions: \
             [aggregate], purposes: [marketing]}}\n"
        );
        let found = told(&rules, &[], "2026-11-25");
        assert_eq!(found, ["rule `r` would permit it for purpose `improve_healthcare`, `public_benefit`"]);
    }
}
