//! Decisions in words, French and English, for two sorts of readers.
//!
//! Owner and auditor see what every rule said. The requester sees the permit that came nearest, the one clause that
//! kept it from applying, and what would unlock the use; a deny that fired is said to exist and not which, and a rule
//! that names participants is for these alone: both tell of parties that are none of the requester's business (P9).

mod unlock;

use std::fmt::Write as _;

pub use self::unlock::{Step, Unlock, unlocks};
use crate::domain::{Clause, Decision, Effect, Name, ParticipantId, Policy, Rule, RuleOutcome, RuleTrace, Text};
use crate::error::{Error, Reason};

/// Whether a rule may be shown to a participant: one that names participants tells of them, and is for these alone.
pub fn may_read(rule: &Rule, participant: &ParticipantId) -> bool {
    let named = &rule.who.organisations;
    named.is_empty() || named.contains(participant)
}

/// A rule as a participant may read it: of the participants that it names only itself; nothing if it is for others.
pub fn as_read_by(participant: &ParticipantId, mut rule: Rule) -> Option<Rule> {
    if !may_read(&rule, participant) {
        return None;
    }
    rule.who.organisations.retain(|named| named == participant);
    Some(rule)
}

/// Whether a denial may name a rule to a participant: a permit that it may read.
pub fn may_know(rule: &Rule, participant: &ParticipantId) -> bool {
    rule.effect == Effect::Permit && may_read(rule, participant)
}

/// Why, as the requester may know it.
pub fn for_requester(decision: &Decision, policy: &Policy, who: &ParticipantId) -> Text {
    if let Some(permit) = &decision.permit {
        return Text {
            fr: format!("Permis par la règle `{}` de la politique de `{}`.", permit.rule, policy.dataset),
            en: format!("Permitted by rule `{}` of the policy of `{}`.", permit.rule, policy.dataset),
        };
    }
    if fired(decision) == Some(RuleOutcome::Unknown) {
        return Text {
            fr: format!(
                "La politique de `{}` interdit peut-être cet usage : le hub ignore un attribut de votre organisation.",
                policy.dataset
            ),
            en: format!(
                "The policy of `{}` may deny this use: the hub does not know an attribute of your organisation.",
                policy.dataset
            ),
        };
    }
    if fired(decision).is_some() {
        return Text {
            fr: format!("La politique de `{}` interdit cet usage.", policy.dataset),
            en: format!("The policy of `{}` denies this use.", policy.dataset),
        };
    }
    match nearest_permit(decision, policy, who) {
        Some((rule, clause)) => {
            let (fr, en) = phrase(clause);
            Text {
                fr: format!("La règle la plus proche, `{rule}`, ne s'applique pas : {fr}."),
                en: format!("The nearest rule, `{rule}`, does not apply: {en}."),
            }
        }
        None => Text {
            fr: format!("Aucune règle de la politique de `{}` ne permet cet usage.", policy.dataset),
            en: format!("No rule of the policy of `{}` permits this use.", policy.dataset),
        },
    }
}

/// What every rule said, for the dataset's owner and for auditors: one line per rule in the policy's order.
pub fn in_full(decision: &Decision, policy: &Policy) -> Text {
    let (fr, en) = match &decision.permit {
        Some(permit) => (format!("Permis par `{}`.", permit.rule), format!("Permitted by `{}`.", permit.rule)),
        None => ("Refusé.".to_owned(), "Denied.".to_owned()),
    };
    let mut text = Text { fr, en };
    for trace in &decision.trace {
        let (fr, en) = line(trace, policy);
        let _ = write!(text.fr, "\n- {fr}");
        let _ = write!(text.en, "\n- {en}");
    }
    if decision.trace.is_empty() {
        text.fr.push_str("\n- aucune règle n'a pu être évaluée");
        text.en.push_str("\n- no rule could be evaluated");
    }
    text
}

/// The refusal of a denied use: `POLICY_DENIED` with the clause that [`for_requester`] names and, in words, the rule it
/// is of and what would unlock the use. `prohibition` stands for a deny that fired, `unknown` for one that fired because
/// the hub lacks an attribute of the caller, `rule` for nothing near enough to name.
pub fn refusal(decision: &Decision, policy: &Policy, who: &ParticipantId, unlocks: &[Unlock]) -> Error {
    let error = Error::new(Reason::PolicyDenied).with("dataset", &policy.dataset);
    let (clause, mut en, mut fr) = match nearest_permit(decision, policy, who) {
        _ if fired(decision) == Some(RuleOutcome::Unknown) => (
            ("unknown", "inconnu"),
            "the hub does not know an attribute of your organisation".to_owned(),
            "le hub ignore un attribut de votre organisation".to_owned(),
        ),
        _ if fired(decision).is_some() => {
            (("prohibition", "interdiction"), "it is prohibited".to_owned(), "c'est interdit".to_owned())
        }
        Some((rule, clause)) => {
            let (fr, en) = phrase(clause);
            ((clause.as_str(), name_fr(clause)), format!("rule `{rule}`: {en}"), format!("règle `{rule}` : {fr}"))
        }
        None => {
            (("rule", "règle"), "no rule permits it to you".to_owned(), "aucune règle ne vous le permet".to_owned())
        }
    };
    for unlock in unlocks {
        let said = unlock.text();
        let _ = write!(en, "; {}", said.en);
        let _ = write!(fr, " ; {}", said.fr);
    }
    error.with_words("clause", clause.0, clause.1).with_words("detail", en, fr)
}

/// The name of a clause in French.
const fn name_fr(clause: Clause) -> &'static str {
    match clause {
        Clause::Action => "action",
        Clause::Organisation => "organisation",
        Clause::Kind => "type",
        Clause::Sector => "secteur",
        Clause::Country => "pays",
        Clause::Accreditation => "accréditation",
        Clause::Role => "rôle",
        Clause::Columns => "colonnes",
        Clause::Purpose => "finalité",
        Clause::Validity => "validité",
    }
}

/// Whether a deny fired, and if each that did fired for want of an attribute.
fn fired(decision: &Decision) -> Option<RuleOutcome> {
    let mut outcomes = decision.trace.iter().map(|trace| trace.outcome).filter(|outcome| outcome.denies());
    let first = outcomes.next()?;
    Some(if outcomes.any(|outcome| outcome == RuleOutcome::Denies) { RuleOutcome::Denies } else { first })
}

/// The permit that failed latest and the clause it failed in; the first of several. One that misses the action asked
/// for is about something else, so it is not near.
fn nearest_permit<'a>(decision: &'a Decision, policy: &Policy, who: &ParticipantId) -> Option<(&'a Name, Clause)> {
    let is_permit = |rule: &Name| policy.rule(rule.as_str()).is_some_and(|rule| may_know(rule, who));
    decision
        .trace
        .iter()
        .filter(|trace| trace.outcome == RuleOutcome::Misses)
        .filter_map(|trace| Some((&trace.rule, trace.first_failed?)))
        .filter(|(rule, clause)| is_permit(rule) && *clause != Clause::Action)
        .rev()
        .max_by_key(|(_, clause)| *clause as u8)
}

fn line(trace: &RuleTrace, policy: &Policy) -> (String, String) {
    let rule = &trace.rule;
    let (kind_fr, kind_en) = match policy.rule(rule.as_str()).map(|rule| rule.effect) {
        Some(Effect::Permit) => ("permission", "permit"),
        Some(Effect::Deny) => ("interdiction", "deny"),
        None => ("règle inconnue", "unknown rule"),
    };
    let (fr, en) = match (trace.outcome, trace.first_failed) {
        (RuleOutcome::Permits, _) => ("permet".to_owned(), "permits".to_owned()),
        (RuleOutcome::Denies, _) => ("interdit".to_owned(), "denies".to_owned()),
        (RuleOutcome::Unknown, clause) => {
            let name = clause.map_or("?", Clause::as_str);
            (format!("interdit, faute de connaître `{name}`"), format!("denies, since `{name}` is not known"))
        }
        (RuleOutcome::Misses, Some(clause)) => {
            let (fr, en) = phrase(clause);
            (format!("ne s'applique pas : {fr}"), format!("does not apply: {en}"))
        }
        (RuleOutcome::Misses, None) => ("ne s'applique pas".to_owned(), "does not apply".to_owned()),
    };
    (format!("`{rule}` ({kind_fr}) {fr}"), format!("`{rule}` ({kind_en}) {en}"))
}

/// What is the matter with a clause.
const fn phrase(clause: Clause) -> (&'static str, &'static str) {
    match clause {
        Clause::Action => ("elle ne porte pas sur cette action", "it is not about this action"),
        Clause::Organisation => ("elle ne vise pas cette organisation", "it is not about this organisation"),
        Clause::Kind => ("elle ne vise pas ce type d'organisation", "it is not about this kind of organisation"),
        Clause::Sector => ("elle ne vise pas ce secteur", "it is not about this sector"),
        Clause::Country => ("elle ne vise pas ce pays", "it is not about this country"),
        Clause::Accreditation => ("une accréditation manque", "an accreditation is missing"),
        Clause::Role => ("elle demande un autre rôle", "it asks for another role"),
        Clause::Columns => ("elle porte sur d'autres colonnes", "it is about other columns"),
        Clause::Purpose => ("elle ne couvre pas cette finalité", "it does not cover this purpose"),
        Clause::Validity => ("elle n'est pas en vigueur à cette date", "it is not in force at this time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{How, LegalBasis, Permit},
        policy::manifest,
    };

    fn policy() -> Policy {
        manifest::parse(
            "dataset: chu.stays
rules:
  - {id: research, effect: permit, actions: [read], purposes: [scientific_research], legal_basis: public_interest}
  - {id: partner, effect: permit, actions: [read], who: {organisations: [irit]}, legal_basis: contract}
  - {id: no_acme, effect: deny, actions: [read], who: {organisations: [acme]}, when: [{until: 2027-01-01}]}
",
        )
        .unwrap()
    }

    fn decision(said: [(RuleOutcome, Option<Clause>); 3]) -> Decision {
        let policy = policy();
        let trace = policy
            .rules
            .iter()
            .zip(said)
            .map(|(rule, (outcome, first_failed))| RuleTrace { rule: rule.id.clone(), outcome, first_failed })
            .collect();
        Decision { policy: policy.digest(), permit: None, trace }
    }

    const MISSED: RuleOutcome = RuleOutcome::Misses;

    fn lab() -> ParticipantId {
        "lab".parse().unwrap()
    }

    #[test]
    fn a_rule_that_names_others_is_never_the_nearest() {
        let missed = decision([
            (MISSED, Some(Clause::Kind)),
            (MISSED, Some(Clause::Validity)),
            (MISSED, Some(Clause::Organisation)),
        ]);
        assert!(for_requester(&missed, &policy(), &lab()).en.contains("`research`"));
        assert!(for_requester(&missed, &policy(), &"irit".parse().unwrap()).en.contains("`partner`"));
    }

    #[test]
    fn the_requester_learns_the_clause_of_the_nearest_permit_and_nothing_of_denies() {
        let missed = decision([
            (MISSED, Some(Clause::Purpose)),
            (MISSED, Some(Clause::Organisation)),
            (MISSED, Some(Clause::Validity)),
        ]);
        let text = for_requester(&missed, &policy(), &lab());
        assert_eq!(text.en, "The nearest rule, `research`, does not apply: it does not cover this purpose.");
        assert!(text.fr.contains("`research`") && text.fr.contains("finalité"));
        let error = refusal(&missed, &policy(), &lab(), &[]);
        assert_eq!(error.reason(), Reason::PolicyDenied);
        assert_eq!(error.params()["clause"], "purpose");
        assert_eq!(error.params()["detail"], "rule `research`: it does not cover this purpose");
        assert!(error.message_fr().contains("elle ne couvre pas cette finalité"), "{}", error.message_fr());
    }

    #[test]
    fn a_deny_that_fired_is_not_named_to_the_requester() {
        let denied =
            decision([(RuleOutcome::Permits, None), (MISSED, Some(Clause::Organisation)), (RuleOutcome::Denies, None)]);
        let text = for_requester(&denied, &policy(), &lab());
        let error = refusal(&denied, &policy(), &lab(), &[]);
        for said in [&text.fr, &text.en, &error.message_fr(), &error.message_en()] {
            assert!(!said.contains("acme") && !said.contains("research") && !said.contains("partner"), "{said}");
        }
        assert_eq!(error.params()["clause"], "prohibition");
    }

    #[test]
    fn owner_and_auditor_see_every_rule() {
        let denied =
            decision([(RuleOutcome::Permits, None), (MISSED, Some(Clause::Organisation)), (RuleOutcome::Denies, None)]);
        let text = in_full(&denied, &policy());
        assert_eq!(
            text.en,
            "Denied.\n- `research` (permit) permits\n- `partner` (permit) does not apply: it is not about this \
             organisation\n- `no_acme` (deny) denies"
        );
        assert_eq!(text.fr.lines().count(), 4);
        let failed = Decision { trace: Vec::new(), ..denied };
        assert!(in_full(&failed, &policy()).en.contains("could be evaluated"));
    }

    #[test]
    fn a_permit_names_its_rule_and_a_miss_of_every_action_none() {
        let mut decision = decision([(MISSED, Some(Clause::Action)); 3]);
        assert!(for_requester(&decision, &policy(), &lab()).en.starts_with("No rule"));
        assert_eq!(refusal(&decision, &policy(), &lab(), &[]).params()["clause"], "rule");
        decision.permit = Some(Permit {
            rule: "research".parse().unwrap(),
            how: How::default(),
            duties: Vec::new(),
            legal_basis: LegalBasis::PublicInterest,
        });
        assert!(for_requester(&decision, &policy(), &lab()).en.contains("`research`"));
        assert!(in_full(&decision, &policy()).fr.starts_with("Permis par `research`."));
    }
}
