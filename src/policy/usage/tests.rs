//! Decisions one by one, and the check that each clause of the matcher matters.

use std::{collections::BTreeMap, sync::LazyLock};

use super::{
    generate::{Asked, anyone, at, name, policy},
    *,
};
use crate::domain::{Clause, Columns, How, Mask, Text, Who, Window};

pub(super) static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| super::super::vocabulary::load().unwrap());

const CLAUSES: [Clause; 10] = [
    Clause::Action,
    Clause::Organisation,
    Clause::Kind,
    Clause::Sector,
    Clause::Country,
    Clause::Accreditation,
    Clause::Role,
    Clause::Columns,
    Clause::Purpose,
    Clause::Validity,
];

pub(super) fn texts(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|&text| text.to_owned()).collect()
}

impl Asked {
    pub(super) fn decide(&self, policy: &Policy) -> Decision {
        let compiled = CompiledPolicy::new(policy.clone()).unwrap();
        decide(&compiled, &self.question(), &VOCABULARY).unwrap()
    }
}

pub(super) fn asked() -> Asked {
    Asked {
        who: Attributes {
            participant: name("irit"),
            kind: Some(Kind::Lab),
            sector: Some("health".to_owned()),
            country: Some("FR".to_owned()),
            accreditations: Some(texts(&["hds", "iso27001"])),
            roles: Some([Role::Requester].into()),
        },
        action: Action::Read,
        purpose: Some(name("epidemiological_research")),
        columns: texts(&["age", "cost"]),
        at: at(50),
        rule: None,
    }
}

/// A rule that asks for something in each of its ten clauses; `asked()` satisfies it.
fn full_rule() -> Rule {
    Rule {
        id: name("r1"),
        effect: Effect::Permit,
        actions: [Action::Read].into(),
        who: Who {
            organisations: [name("irit"), name("laas")].into(),
            kinds: [Kind::Lab].into(),
            sectors: texts(&["health"]),
            countries: texts(&["EU"]),
            accreditations: texts(&["hds"]),
            roles: [Role::Requester, Role::Steward].into(),
        },
        columns: Columns::Only(texts(&["age", "cost", "commune"])),
        purposes: [name("scientific_research")].into(),
        legal_basis: Some(LegalBasis::PublicInterest),
        when: vec![
            Window { from: Some(at(0)), until: Some(at(10)) },
            Window { from: Some(at(50)), until: Some(at(60)) },
        ],
        how: How::default(),
        duties: Vec::new(),
        text: Text::default(),
    }
}

/// `asked()`, failing the rule of `full_rule` in exactly this clause.
fn failing(clause: Clause) -> Asked {
    let mut asked = asked();
    match clause {
        Clause::Action => asked.action = Action::Discover,
        Clause::Organisation => asked.who.participant = name("acme"),
        Clause::Kind => asked.who.kind = Some(Kind::Company),
        Clause::Sector => asked.who.sector = Some("energy".to_owned()),
        Clause::Country => asked.who.country = Some("US".to_owned()),
        Clause::Accreditation => asked.who.accreditations = Some(texts(&["iso27001"])),
        Clause::Role => asked.who.roles = Some([Role::ParticipantAdmin].into()),
        Clause::Columns => asked.columns = texts(&["age", "diagnosis"]),
        Clause::Purpose => asked.purpose = Some(name("research_and_development")),
        Clause::Validity => asked.at = at(60),
    }
    asked
}

#[test]
fn a_use_that_meets_every_clause_is_permitted_and_one_that_misses_any_is_denied_for_it() {
    let policy = policy(vec![full_rule()]);
    assert_eq!(asked().decide(&policy).permit.unwrap().rule.as_str(), "r1");
    for clause in CLAUSES {
        let decision = failing(clause).decide(&policy);
        assert_eq!(decision.permit, None);
        assert_eq!(decision.trace[0].first_failed, Some(clause));
    }
}

#[test]
fn each_clause_of_the_matcher_carries_weight() {
    let matcher = USAGE_MODEL.lines().find(|line| line.starts_with("m = ")).unwrap();
    let parts: Vec<_> = matcher.trim_start_matches("m = ").split(" && ").collect();
    assert_eq!(parts.len(), CLAUSES.len());
    for (dropped, clause) in CLAUSES.into_iter().enumerate() {
        let rest: Vec<_> = parts.iter().enumerate().filter(|(i, _)| *i != dropped).map(|(_, part)| *part).collect();
        let model = USAGE_MODEL.replace(matcher, &format!("m = {}", rest.join(" && ")));
        let mutant = CompiledPolicy::with_model(policy(vec![full_rule()]), &model).unwrap();
        let decision = decide(&mutant, &failing(clause).question(), &VOCABULARY).unwrap();
        assert!(decision.permit.is_some(), "no case notices that `{}` is gone", parts[dropped]);
    }
}

#[test]
fn a_policy_without_rules_denies() {
    assert_eq!(asked().decide(&policy(Vec::new())).permit, None);
}

#[test]
fn who_may_have_more_of_the_rows_may_have_less_and_who_may_not_have_less_may_not_have_more() {
    let with = |effect, action| {
        let deny = effect == Effect::Deny;
        let mut rules = vec![Rule { actions: [action].into(), ..anyone("r1", effect) }];
        if deny {
            rules.push(Rule { actions: Action::ALL.into(), ..anyone("r2", Effect::Permit) });
        }
        Action::ALL.map(|action| Asked { action, ..asked() }.decide(&policy(rules.clone())).permit.is_some())
    };
    // In the order discover, read, aggregate, download.
    assert_eq!(with(Effect::Permit, Action::Download), [false, true, true, true]);
    assert_eq!(with(Effect::Permit, Action::Read), [false, true, true, false]);
    assert_eq!(with(Effect::Permit, Action::Aggregate), [false, false, true, false]);
    assert_eq!(with(Effect::Permit, Action::Discover), [true, false, false, false]);
    assert_eq!(with(Effect::Deny, Action::Download), [true, true, true, false]);
    assert_eq!(with(Effect::Deny, Action::Read), [true, false, true, false]);
    assert_eq!(with(Effect::Deny, Action::Aggregate), [true, false, false, false]);
    assert_eq!(with(Effect::Deny, Action::Discover), [false, true, true, true]);
}

#[test]
fn an_entry_is_seen_whatever_the_purpose_and_columns_of_its_use() {
    let seen = Asked { action: Action::Discover, purpose: None, columns: BTreeSet::new(), ..asked() };
    let visible = Rule { actions: [Action::Discover].into(), legal_basis: None, ..full_rule() };
    let no_marketing =
        Rule { purposes: [name("marketing")].into(), actions: Action::ALL.into(), ..anyone("deny", Effect::Deny) };
    assert!(seen.decide(&policy(vec![visible.clone(), no_marketing])).permit.is_some());
    let hidden = Rule { actions: [Action::Discover].into(), ..anyone("deny", Effect::Deny) };
    assert!(seen.decide(&policy(vec![visible, hidden])).permit.is_none());
}

#[test]
fn a_purpose_that_the_vocabulary_lacks_is_refused_even_where_any_purpose_will_do() {
    let unknown = Asked { purpose: Some(name("no_such_purpose")), ..asked() };
    let open = policy(vec![anyone("r1", Effect::Permit)]);
    assert_eq!(unknown.decide(&open).trace[0].first_failed, Some(Clause::Purpose));
    assert!(Asked { purpose: None, ..asked() }.decide(&open).permit.is_none());
    assert!(asked().decide(&open).permit.is_some());
}

#[test]
fn counting_rows_names_no_column_and_a_deny_of_every_column_still_fires() {
    let count = Asked { columns: BTreeSet::new(), ..asked() };
    assert!(count.decide(&policy(vec![full_rule()])).permit.is_some());
    assert!(count.decide(&policy(vec![full_rule(), anyone("d", Effect::Deny)])).permit.is_none());
}

#[test]
fn the_rule_of_the_grant_governs_and_no_other_stands_in_for_it() {
    let rules = vec![anyone("r1", Effect::Permit), full_rule_named("r2"), anyone("r3", Effect::Permit)];
    let with = |rule: &str| Asked { rule: Some(name(rule)), ..asked() }.decide(&policy(rules.clone())).permit;
    assert_eq!(asked().decide(&policy(rules.clone())).permit.unwrap().rule.as_str(), "r1");
    assert_eq!(with("r2").unwrap().rule.as_str(), "r2");
    assert_eq!(with("r4"), None);
    let late = Asked { rule: Some(name("r2")), ..failing(Clause::Validity) };
    assert_eq!(late.decide(&policy(rules)).permit, None, "r1 would permit, but the grant cites r2");
}

fn full_rule_named(id: &str) -> Rule {
    Rule { id: name(id), ..full_rule() }
}

#[test]
fn obligations_are_the_governing_rules_joined_with_the_floor_and_never_another_permits() {
    let masks = |column: &str, mask| BTreeMap::from([(column.to_owned(), mask)]);
    let mut strict = anyone("strict", Effect::Permit);
    strict.how = How { masks: masks("age", Mask::Null), max_rows: Some(10), ..How::default() };
    let mut lax = anyone("lax", Effect::Permit);
    lax.how = How { max_rows: Some(1000), ..How::default() };
    let floor = How { aggregate_only: Some(5), max_rows: Some(100), ..How::default() };
    let policy = Policy { floor: floor.clone(), ..policy(vec![strict, lax]) };
    let permit = |rule: &str| Asked { rule: Some(name(rule)), ..asked() }.decide(&policy).permit.unwrap();
    assert_eq!(permit("strict").how.max_rows, Some(10));
    assert_eq!(permit("strict").how.masks, masks("age", Mask::Null));
    assert_eq!(permit("lax").how.max_rows, Some(100));
    assert!(permit("lax").how.masks.is_empty());
    assert_eq!(permit("lax").how.aggregate_only, Some(5));
}

#[test]
fn a_permit_to_aggregate_always_says_so() {
    let permit =
        |action| Asked { action, ..asked() }.decide(&policy(vec![anyone("r", Effect::Permit)])).permit.unwrap();
    assert_eq!(permit(Action::Aggregate).how.aggregate_only, Some(1));
    assert_eq!(permit(Action::Read).how.aggregate_only, None);
}

#[test]
fn two_rules_of_one_id_or_a_use_without_legal_basis_do_not_compile() {
    let twice = policy(vec![anyone("r", Effect::Permit), anyone("r", Effect::Deny)]);
    let baseless = policy(vec![Rule { legal_basis: None, ..anyone("r", Effect::Permit) }]);
    for bad in [twice, baseless] {
        assert_eq!(CompiledPolicy::new(bad).unwrap_err().reason(), Reason::PolicyInvalid);
    }
}

#[test]
fn a_compiled_policy_is_found_by_the_digest_of_its_content() {
    let policies = UsagePolicies::new(8);
    let document = policy(vec![full_rule()]);
    assert!(policies.get(&document.digest()).is_none());
    let compiled = policies.compile(document.clone()).unwrap();
    assert_eq!(compiled.digest(), document.digest());
    assert!(Arc::ptr_eq(&compiled, &policies.get(&document.digest()).unwrap()));
}

#[test]
fn decisions_on_many_threads_do_not_mix() {
    let compiled = CompiledPolicy::new(policy(vec![full_rule(), anyone("d", Effect::Deny)])).unwrap();
    let permitting = CompiledPolicy::new(policy(vec![full_rule()])).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for clause in CLAUSES.into_iter().cycle().take(200) {
                    assert!(decide(&compiled, &asked().question(), &VOCABULARY).unwrap().permit.is_none());
                    let missed = decide(&permitting, &failing(clause).question(), &VOCABULARY).unwrap();
                    assert_eq!(missed.trace[0].first_failed, Some(clause));
                    assert!(decide(&permitting, &asked().question(), &VOCABULARY).unwrap().permit.is_some());
                }
            });
        }
    });
}
