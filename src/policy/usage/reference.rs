//! The same decision in plain Rust over the typed rules: what the engine is tested against, here and
//! in `tests/oracles/`. No cells, no casbin.

use crate::{
    domain::{Action, Clause, Columns, Effect, Name, Policy, Rule, RuleOutcome, RuleTrace, Vocabulary},
    policy::{Attributes, Question},
};

const EU: &str = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK";

/// The governing permit and every rule's part.
pub(crate) fn evaluate(policy: &Policy, q: &Question<'_>, v: &Vocabulary) -> (Option<Name>, Vec<RuleTrace>) {
    let trace: Vec<_> = policy.rules.iter().map(|rule| outcome(rule, q, v)).collect();
    if trace.iter().any(|t| matches!(t.outcome, RuleOutcome::Denies | RuleOutcome::Unknown)) {
        return (None, trace);
    }
    let permits = trace.iter().filter(|t| t.outcome == RuleOutcome::Permits).map(|t| t.rule.clone());
    let governing = match q.rule {
        Some(wanted) => permits.into_iter().find(|rule| rule == wanted),
        None => permits.into_iter().next(),
    };
    (governing, trace)
}

fn outcome(rule: &Rule, q: &Question<'_>, v: &Vocabulary) -> RuleTrace {
    let deny = rule.effect == Effect::Deny;
    let clauses = clauses(rule, q, v);
    let failed = clauses.iter().find(|(_, holds)| !holds.unwrap_or(deny));
    let unknown = clauses.iter().find(|(_, holds)| holds.is_none());
    let (outcome, clause) = match (failed, unknown) {
        (Some(failed), _) => (RuleOutcome::Misses, Some(failed)),
        (None, Some(unknown)) => (RuleOutcome::Unknown, Some(unknown)),
        (None, None) if deny => (RuleOutcome::Denies, None),
        (None, None) => (RuleOutcome::Permits, None),
    };
    RuleTrace { rule: rule.id.clone(), outcome, first_failed: clause.map(|(clause, _)| *clause) }
}

/// Each clause with its truth; none is unknown.
fn clauses(rule: &Rule, q: &Question<'_>, v: &Vocabulary) -> [(Clause, Option<bool>); 10] {
    let deny = rule.effect == Effect::Deny;
    let discovers = q.action == Action::Discover;
    let Attributes { participant, kind, sector, country, accreditations, roles } = q.who;
    let who = &rule.who;
    let action = rule.actions.contains(&q.action)
        || match (rule.effect, q.action) {
            (Effect::Permit, Action::Aggregate) => !rule.actions.is_disjoint(&[Action::Read, Action::Download].into()),
            (Effect::Permit, Action::Read) => rule.actions.contains(&Action::Download),
            (Effect::Deny, Action::Read) => rule.actions.contains(&Action::Aggregate),
            (Effect::Deny, Action::Download) => !rule.actions.is_disjoint(&[Action::Aggregate, Action::Read].into()),
            _ => false,
        };
    let in_country = |c: &String| {
        who.countries.contains(c) || who.countries.contains("EU") && EU.split(' ').any(|member| member == c)
    };
    let columns = match (&rule.columns, discovers) {
        (Columns::All, _) => true,
        (Columns::Only(_), true) => !deny,
        (Columns::Only(names), false) if deny => !names.is_disjoint(q.columns),
        (Columns::Only(names), false) => q.columns.is_subset(names),
    };
    let purpose = if discovers {
        Some(!deny || rule.purposes.is_empty())
    } else {
        q.purpose
            .filter(|asked| v.require(asked).is_ok())
            .map(|asked| rule.purposes.is_empty() || rule.purposes.iter().any(|general| v.covers(general, asked)))
    };
    [
        (Clause::Action, Some(action)),
        (Clause::Organisation, Some(who.organisations.is_empty() || who.organisations.contains(participant))),
        (Clause::Kind, asked(who.kinds.is_empty(), kind.map(|k| who.kinds.contains(&k)))),
        (Clause::Sector, asked(who.sectors.is_empty(), sector.as_ref().map(|s| who.sectors.contains(s)))),
        (Clause::Country, asked(who.countries.is_empty(), country.as_ref().map(in_country))),
        (
            Clause::Accreditation,
            asked(who.accreditations.is_empty(), accreditations.as_ref().map(|a| who.accreditations.is_subset(a))),
        ),
        (Clause::Role, asked(who.roles.is_empty(), roles.as_ref().map(|r| !who.roles.is_disjoint(r)))),
        (Clause::Columns, Some(columns)),
        (Clause::Purpose, purpose),
        (Clause::Validity, Some(rule.when.is_empty() || rule.when.iter().any(|window| window.contains(q.at)))),
    ]
}

fn asked(nothing: bool, truth: Option<bool>) -> Option<bool> {
    if nothing { Some(true) } else { truth }
}
