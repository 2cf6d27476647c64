//! The analysis against brute force: every use of a small world is asked for, and what no use shows is what is found.

mod told;
mod world;

use std::{collections::BTreeSet, sync::LazyLock};

use proptest::{collection::btree_set, option, prelude::*, sample::select, strategy::ValueTree as _};

use self::world::{Use, dataset, parties, somebody, uses};
use super::*;
use crate::{
    domain::{
        Column, ColumnRole, ColumnType, Columns, DatasetState, Digest, How, Kind, Name, PurposeSlug, Role, RuleOutcome,
        RuleTrace, Snapshot, SnapshotId, Who, Window,
    },
    policy::{
        diff::Terms,
        manifest,
        usage::{Question, reference},
        vocabulary,
    },
};

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| vocabulary::load().unwrap());

fn texts(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn some<T: Clone + Ord + std::fmt::Debug + 'static>(from: Vec<T>) -> impl Strategy<Value = BTreeSet<T>> {
    prop_oneof![2 => Just(BTreeSet::new()), 3 => btree_set(select(from), 1..3)]
}

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn rule(effect: Effect, k: Option<u32>) -> Rule {
    Rule {
        id: "r0".parse().unwrap(),
        effect,
        actions: [Action::Aggregate].into(),
        who: Who::default(),
        columns: Columns::All,
        purposes: BTreeSet::new(),
        legal_basis: (effect == Effect::Permit).then_some(LegalBasis::NotPersonal),
        when: Vec::new(),
        how: if effect == Effect::Permit { How { aggregate_only: k, ..How::default() } } else { How::default() },
        duties: Vec::new(),
        text: Text::default(),
    }
}

fn an_effect() -> impl Strategy<Value = Rule> {
    (prop::bool::weighted(0.45), select(vec![None, Some(5), Some(10)]))
        .prop_map(|(deny, k)| rule(if deny { Effect::Deny } else { Effect::Permit }, k))
}

/// Rules that differ in whom they are about.
fn about_parties() -> impl Strategy<Value = Rule> {
    let who = (
        some(vec!["irit".parse().unwrap(), "acme".parse().unwrap()]),
        some(Kind::ALL.to_vec()),
        some(texts(&["health", "energy"]).into_iter().collect()),
        some(texts(&["FR", "EU", "US"]).into_iter().collect()),
        some(texts(&["hds", "iso"]).into_iter().collect()),
        some(vec![Role::Requester, Role::Steward, Role::Auditor]),
    );
    (an_effect(), who).prop_map(|(rule, (organisations, kinds, sectors, countries, accreditations, roles))| Rule {
        who: Who { organisations, kinds, sectors, countries, accreditations, roles },
        ..rule
    })
}

fn slugs() -> Vec<PurposeSlug> {
    [
        "research_and_development",
        "scientific_research",
        "improve_healthcare",
        "epidemiological_research",
        "public_benefit",
    ]
    .map(|slug| slug.parse().unwrap())
    .to_vec()
}

/// Rules that differ in what is done with what, why and when.
fn about_uses() -> impl Strategy<Value = Rule> {
    let window = (option::of(select(vec![10, 20, 30])), option::of(select(vec![20, 30, 40])))
        .prop_map(|(from, until)| Window { from: from.map(at), until: until.map(at) });
    let columns = prop_oneof![
        2 => Just(Columns::All),
        3 => btree_set(select(vec!["a".to_owned(), "b".to_owned()]), 1..3).prop_map(Columns::Only),
    ];
    (
        an_effect(),
        btree_set(select(Action::ALL.to_vec()), 1..3),
        some(slugs()),
        columns,
        prop_oneof![2 => Just(Vec::new()), 3 => prop::collection::vec(window, 1..3)],
    )
        .prop_map(|(rule, actions, purposes, columns, when)| Rule { actions, columns, purposes, when, ..rule })
}

fn policy_of(rule: impl Strategy<Value = Rule>) -> impl Strategy<Value = Policy> {
    prop::collection::vec(rule, 1..7).prop_map(|mut rules| {
        for (index, rule) in rules.iter_mut().enumerate() {
            rule.id = format!("r{index}").parse().unwrap();
        }
        Policy { dataset: "chu.stays".parse().unwrap(), rules, floor: How::default() }
    })
}

fn found(policy: &Policy, access: Access) -> Vec<Finding> {
    let found = findings(policy, &dataset(access), &VOCABULARY, &Surroundings::default());
    assert!(found.iter().all(|finding| !finding.message_en.contains("not decided")), "{found:#?}");
    found
}

/// The rules of which something is said.
fn said_of(found: &[Finding], said: &str) -> BTreeSet<usize> {
    let of = |finding: &Finding| finding.path.strip_prefix("rules[")?.strip_suffix(']')?.parse().ok();
    found.iter().filter(|finding| finding.message_en.starts_with(said)).filter_map(of).collect()
}

fn outcome(trace: &[RuleTrace], rule: usize) -> RuleOutcome {
    trace[rule].outcome
}

fn is_denied(trace: &[RuleTrace]) -> bool {
    trace.iter().any(|rule| rule.outcome == RuleOutcome::Denies)
}

/// Permits that hold somewhere, and those that hold somewhere where no deny does.
fn reached(policy: &Policy, world: &[Use]) -> (BTreeSet<usize>, BTreeSet<usize>) {
    let (mut holds, mut applies) = (BTreeSet::new(), BTreeSet::new());
    for one in world {
        let trace = one.trace(policy);
        for rule in (0..trace.len()).filter(|rule| outcome(&trace, *rule) == RuleOutcome::Permits) {
            holds.insert(rule);
            if !is_denied(&trace) {
                applies.insert(rule);
            }
        }
    }
    (holds, applies)
}

fn agrees_on_reach(policy: &Policy, world: &[Use]) -> Result<(), TestCaseError> {
    let (holds, applies) = reached(policy, world);
    let unreachable = holds.difference(&applies).copied().collect::<BTreeSet<_>>();
    prop_assert_eq!(said_of(&found(policy, Access::Restricted), "never applies"), unreachable);
    Ok(())
}

/// Whether a use under one rule can be had under another instead.
fn serves(policy: &Policy, action: Action, rule: usize, other: usize) -> bool {
    let (rule, other) = (&policy.rules[rule], &policy.rules[other]);
    let chosen = !rule.actions.contains(&action) || other.actions.contains(&action);
    let terms = |rule: &Rule| Terms::of(rule, policy);
    action == Action::Discover || chosen && terms(other).on(&rule.columns).no_stricter_than(&terms(rule))
}

fn agrees_on_shadows(policy: &Policy, world: &[Use]) -> Result<(), TestCaseError> {
    let superfluous = said_of(&found(policy, Access::Restricted), "adds nothing");
    let mut needed = BTreeSet::new();
    let mut live = BTreeSet::new();
    for one in world {
        let trace = one.trace(policy);
        if is_denied(&trace) {
            continue;
        }
        let permitting: Vec<usize> =
            (0..trace.len()).filter(|rule| outcome(&trace, *rule) == RuleOutcome::Permits).collect();
        for rule in permitting.iter().copied() {
            live.insert((rule, one.action));
            let mut others = permitting.iter().filter(|other| **other != rule && !superfluous.contains(*other));
            let replaced = others.any(|other| serves(policy, one.action, rule, *other));
            prop_assert!(replaced || !superfluous.contains(&rule), "r{} is needed for {:?}", rule, one);
            if !replaced {
                needed.insert(rule);
            }
        }
    }
    for (index, rule) in policy.rules.iter().enumerate().filter(|(_, rule)| rule.effect == Effect::Permit) {
        // What a deny takes whole is told apart from what others give.
        let alive = rule.effective_actions().iter().all(|action| live.contains(&(index, *action)));
        if alive && !needed.contains(&index) {
            prop_assert!(superfluous.contains(&index), "r{} is not needed", index);
        }
    }
    Ok(())
}

/// The rule that governs a query of an open dataset, as the hub chooses it.
fn governs(policy: &Policy, one: &Use) -> Option<usize> {
    for action in [Action::Read, Action::Aggregate] {
        for (index, rule) in policy.rules.iter().enumerate() {
            let columns = match &rule.columns {
                Columns::All => texts(&["a", "b"]),
                Columns::Only(names) => names.clone(),
            };
            let trace = Use { action, columns, ..one.clone() }.trace(policy);
            if outcome(&trace, index) == RuleOutcome::Permits && !is_denied(&trace) {
                return Some(index);
            }
        }
    }
    None
}

fn agrees_on_order(policy: &Policy, world: &[Use]) -> Result<(), TestCaseError> {
    let idle = said_of(&found(policy, Access::Open), "never governs");
    let governing: BTreeSet<usize> = world.iter().filter_map(|one| governs(policy, one)).collect();
    prop_assert!(idle.is_disjoint(&governing), "{:?} {:?}", idle, governing);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_never_applies_to_any_party_is_found_and_nothing_else(policy in policy_of(about_parties())) {
        agrees_on_reach(&policy, &parties())?;
    }

    #[test]
    fn what_never_applies_to_any_use_is_found_and_nothing_else(policy in policy_of(about_uses())) {
        agrees_on_reach(&policy, &uses())?;
    }

    #[test]
    fn what_others_permit_to_every_party_is_found_and_nothing_else(policy in policy_of(about_parties())) {
        agrees_on_shadows(&policy, &parties())?;
    }

    #[test]
    fn what_others_permit_for_every_use_is_found_and_nothing_else(policy in policy_of(about_uses())) {
        agrees_on_shadows(&policy, &uses())?;
    }

    #[test]
    fn a_rule_that_never_governs_an_open_dataset_is_found_only_if_it_never_does(policy in policy_of(about_uses())) {
        let world: Vec<Use> = uses().into_iter().filter(|one| one.action == Action::Read).collect();
        agrees_on_order(&policy, &world)?;
    }
}

#[test]
fn the_generated_policies_have_what_is_looked_for() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut unreachable, mut superfluous, mut idle) = (0, 0, 0);
    for _ in 0..200 {
        let policy = policy_of(about_uses()).new_tree(&mut runner).unwrap().current();
        let (restricted, open) = (found(&policy, Access::Restricted), found(&policy, Access::Open));
        unreachable += said_of(&restricted, "never applies").len();
        superfluous += said_of(&restricted, "adds nothing").len();
        idle += said_of(&open, "never governs").len();
    }
    assert!(unreachable > 20 && superfluous > 20 && idle > 20, "{unreachable} {superfluous} {idle}");
}

const MANIFEST: &str = "
dataset: chu.stays
rules:
  - {id: labs, effect: permit, actions: [aggregate], who: {kinds: [lab]}, purposes: [scientific_research, marketing],
     legal_basis: not_personal, when: [{until: 2026-01-01}]}
  - {id: acme, effect: permit, actions: [read], who: {organisations: [acme]}, legal_basis: not_personal}
  - {id: certified, effect: permit, actions: [read], who: {accreditations: [hds], countries: [EU]},
     legal_basis: not_personal}
  - {id: anyone, effect: permit, actions: [download], legal_basis: public_interest, who: {kinds: [lab, company,
     public_body]}}
  - {id: never, effect: deny, actions: [aggregate], purposes: [marketing]}
";

fn told(around: &Surroundings<'_>) -> Vec<(Severity, String, String)> {
    let policy = manifest::parse(MANIFEST).unwrap();
    let found = findings(&policy, &dataset(Access::Restricted), &VOCABULARY, around);
    assert!(found.iter().all(|finding| finding.message_fr != finding.message_en));
    found.into_iter().map(|finding| (finding.severity, finding.path, finding.message_en)).collect()
}

#[test]
fn parts_that_are_denied_and_meetings_are_told_with_their_place() {
    let told = told(&Surroundings::default());
    let has = |severity, path: &str, said: &str| {
        assert!(
            told.iter().any(|(s, p, m)| (*s, p.as_str()) == (severity, path) && m.contains(said)),
            "{said}: {told:#?}"
        );
    };
    has(Severity::Warning, "rules[0].purposes", "purpose `marketing` never applies: it is denied");
    has(Severity::Info, "rules[1]", "`never` takes a part of it, for `marketing`: the deny wins");
    has(Severity::Warning, "rules[3]", "very broad: anyone may query rows");
    has(Severity::Warning, "rules[3].actions", "very broad: all rows leave");
    assert_eq!(told.iter().filter(|(_, path, _)| path.contains(".who")).count(), 0, "nothing is known of participants");
}

#[test]
fn a_rule_about_nobody_who_takes_part_is_told_and_one_whose_time_is_over() {
    let lab = |id: &str| Attributes { participant: id.parse().unwrap(), ..somebody() };
    let participants = [lab("irit"), Attributes { accreditations: Some(texts(&["hds"])), ..lab("chu") }];
    let now = "2026-06-01".parse().unwrap();
    let told = told(&Surroundings { participants: Some(&participants), now: Some(now) });
    let has = |path: &str, said: &str| told.iter().any(|(_, p, m)| p == path && m.contains(said));
    assert!(has("rules[0].when", "its last window has ended"), "{told:#?}");
    assert!(has("rules[1].who.organisations", "no participant is registered as `acme`"), "{told:#?}");
    // The owner alone is accredited, and needs no rule.
    assert!(has("rules[2].who", "about nobody"), "{told:#?}");
    assert!(!has("rules[0].who", ""), "{told:#?}");
}

#[test]
fn two_hundred_rules_are_analysed_to_the_end_and_soon() {
    let purposes: Vec<PurposeSlug> = VOCABULARY.purposes().map(|purpose| purpose.slug.clone()).collect();
    let instant = |index: usize| i64::try_from(index).unwrap();
    let rules = (0..MAX_RULES).map(|index| {
        let deny = index % 3 == 0;
        let effect = if deny { Effect::Deny } else { Effect::Permit };
        Rule {
            id: format!("r{index}").parse::<Name>().unwrap(),
            actions: [Action::ALL[index % 4]].into(),
            who: Who {
                organisations: (0..index % 4)
                    .map(|n| format!("org{}", (index * 7 + n) % 40).parse().unwrap())
                    .collect(),
                kinds: [Kind::ALL[index % 3]].into(),
                countries: texts(if index % 2 == 0 { &["EU"] } else { &["FR", "US"] }),
                accreditations: texts(if index % 5 == 0 { &["hds"] } else { &[] }),
                roles: [Role::ALL[index % 5]].into(),
                ..Who::default()
            },
            purposes: (0..index % 6).map(|n| purposes[(index * 11 + n * 5) % purposes.len()].clone()).collect(),
            columns: if index % 4 == 0 { Columns::All } else { Columns::Only(texts(&[["a", "b"][index % 2]])) },
            when: vec![Window { from: Some(at(instant(index))), until: Some(at(1_000 - instant(index))) }],
            ..rule(effect, Some(5))
        }
    });
    let policy = Policy { dataset: "chu.stays".parse().unwrap(), rules: rules.collect(), floor: How::default() };
    let started = std::time::Instant::now();
    let found = found(&policy, Access::Restricted);
    let took = started.elapsed();
    assert!(!found.is_empty());
    // An unoptimised build on a busy machine; optimised it is a small part of the second that publication may take.
    assert!(took < std::time::Duration::from_secs(10), "{took:?}");
}
