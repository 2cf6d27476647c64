//! What holds for every policy and question, tried on generated ones.

use proptest::{
    collection::btree_set, option, prelude::*, sample::select, strategy::ValueTree, test_runner::TestRunner,
};

use super::{
    tests::{Asked, VOCABULARY, anyone, at, name, policy},
    *,
};
use crate::domain::{Columns, Who, Window};

/// Texts that would break a cell, a row, a script or a matcher if they were taken for one.
const HOSTILE: [&str; 12] =
    ["health", "*", "|", "health|energy", "a,b", "\"", "#", "r.q", "p.eft", "", "allow\"; true", "`${r_q}`"];

fn some_of<T: Clone + Ord + fmt::Debug + 'static>(from: Vec<T>) -> impl Strategy<Value = BTreeSet<T>> {
    btree_set(select(from), 0..3)
}

fn hostile_texts() -> impl Strategy<Value = BTreeSet<String>> {
    some_of(HOSTILE.map(str::to_owned).to_vec())
}

fn purposes() -> Vec<PurposeSlug> {
    ["research_and_development", "scientific_research", "epidemiological_research", "improve_healthcare", "marketing"]
        .map(name)
        .to_vec()
}

fn columns() -> Vec<String> {
    ["age", "cost", "commune"].map(str::to_owned).to_vec()
}

fn a_who() -> impl Strategy<Value = Who> {
    (
        some_of(["irit", "laas", "acme"].map(name).to_vec()),
        some_of(Kind::ALL.to_vec()),
        hostile_texts(),
        some_of(["FR", "EU", "US", "DE"].map(str::to_owned).to_vec()),
        hostile_texts(),
        some_of(Role::ALL.to_vec()),
    )
        .prop_map(|(organisations, kinds, sectors, countries, accreditations, roles)| Who {
            organisations,
            kinds,
            sectors,
            countries,
            accreditations,
            roles,
        })
}

/// Most rules ask for little, so that permits, denies and misses all occur.
fn a_rule() -> impl Strategy<Value = Rule> {
    let window = (option::of(0_i64..100), option::of(0_i64..100))
        .prop_map(|(from, until)| Window { from: from.map(at), until: until.map(at) });
    (
        prop::bool::weighted(0.3),
        btree_set(select(Action::ALL.to_vec()), 1..3),
        prop_oneof![3 => Just(Who::default()), 2 => a_who()],
        prop_oneof![2 => Just(Columns::All), 1 => some_of(columns()).prop_map(Columns::Only)],
        prop_oneof![1 => Just(BTreeSet::new()), 1 => some_of(purposes())],
        prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(window, 1..3)],
    )
        .prop_map(|(deny, actions, who, columns, purposes, when)| Rule {
            actions,
            who,
            columns,
            purposes,
            when,
            ..anyone("r0", if deny { Effect::Deny } else { Effect::Permit })
        })
}

fn a_policy() -> impl Strategy<Value = Policy> {
    prop::collection::vec(a_rule(), 0..5).prop_map(|mut rules| {
        for (index, rule) in rules.iter_mut().enumerate() {
            rule.id = name(&format!("r{index}"));
        }
        policy(rules)
    })
}

fn a_question() -> impl Strategy<Value = Asked> {
    let who = (
        select(["irit", "laas", "acme"].map(name).to_vec()),
        option::weighted(0.8, select(Kind::ALL.to_vec())),
        option::weighted(0.8, select(HOSTILE.map(str::to_owned).to_vec())),
        option::weighted(0.8, select(["FR", "DE", "US"].map(str::to_owned).to_vec())),
        option::weighted(0.8, hostile_texts()),
        option::weighted(0.8, some_of(Role::ALL.to_vec())),
    )
        .prop_map(|(participant, kind, sector, country, accreditations, roles)| Attributes {
            participant,
            kind,
            sector,
            country,
            accreditations,
            roles,
        });
    let mut slugs = purposes();
    slugs.push(name("no_such_purpose"));
    (
        who,
        select(Action::ALL.to_vec()),
        option::weighted(0.9, select(slugs)),
        some_of(columns()),
        0_i64..100,
        option::weighted(0.2, select(["r0", "r1", "r9"].map(name).to_vec())),
    )
        .prop_map(|(who, action, purpose, columns, micros, rule)| Asked {
            who,
            action,
            purpose,
            columns,
            at: at(micros),
            rule,
        })
}

/// The question with one attribute unknown.
fn without(asked: &Asked, attribute: usize) -> Asked {
    let mut less = asked.clone();
    match attribute {
        0 => less.who.kind = None,
        1 => less.who.sector = None,
        2 => less.who.country = None,
        3 => less.who.accreditations = None,
        4 => less.who.roles = None,
        _ => less.purpose = None,
    }
    less
}

#[test]
fn generated_cases_permit_deny_and_miss_often_enough_to_mean_something() {
    let mut runner = TestRunner::deterministic();
    let (mut permitted, mut prohibited) = (0, 0);
    for _ in 0..500 {
        let (policy, asked) = (a_policy(), a_question()).new_tree(&mut runner).unwrap().current();
        let decision = asked.decide(&policy);
        permitted += usize::from(decision.permit.is_some());
        prohibited += usize::from(decision.trace.iter().any(|rule| rule.outcome == RuleOutcome::Denies));
    }
    assert!(permitted > 25 && prohibited > 50, "{permitted} permitted, {prohibited} prohibited of 500");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_decides_as_the_plain_rust_reference_does(policy in a_policy(), asked in a_question()) {
        let decision = asked.decide(&policy);
        let (rule, trace) = reference::evaluate(&policy, &asked.question(), &VOCABULARY);
        prop_assert_eq!(decision.permit.map(|permit| permit.rule), rule);
        prop_assert_eq!(decision.trace, trace);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_rules_does_not_matter(policy in a_policy(), asked in a_question()) {
        let mut turned = policy.clone();
        turned.rules.reverse();
        let (one, other) = (asked.decide(&policy), asked.decide(&turned));
        prop_assert_eq!(one.permit.is_some(), other.permit.is_some());
        prop_assert!(one.trace.iter().all(|rule| other.trace.contains(rule)));
        if asked.rule.is_some() {
            prop_assert_eq!(one.permit, other.permit);
        }
    }

    #[test]
    fn another_deny_never_permits(policy in a_policy(), asked in a_question(), mut deny in a_rule()) {
        deny.effect = Effect::Deny;
        deny.id = name("more");
        let mut stricter = policy.clone();
        stricter.rules.insert(0, deny);
        prop_assert!(asked.decide(&policy).permit.is_some() || asked.decide(&stricter).permit.is_none());
    }

    #[test]
    fn an_attribute_less_never_turns_a_deny_into_a_permit(policy in a_policy(), asked in a_question(), which in 0_usize..6) {
        prop_assert!(asked.decide(&policy).permit.is_some() || without(&asked, which).decide(&policy).permit.is_none());
    }

    #[test]
    fn hostile_text_in_one_rule_changes_no_other(
        policy in a_policy(),
        asked in a_question(),
        sector in ".{0,40}",
        accreditation in ".{0,40}",
    ) {
        let mut hostile = anyone("hostile", Effect::Permit);
        hostile.who.sectors = BTreeSet::from([sector]);
        hostile.who.accreditations = BTreeSet::from([accreditation]);
        let mut more = policy.clone();
        more.rules.push(hostile);
        let (before, after) = (asked.decide(&policy), asked.decide(&more));
        prop_assert_eq!(&before.trace[..], &after.trace[..policy.rules.len()]);
    }
}
