//! Golden texts in both languages, and what holds of every difference against brute force.

use std::{collections::BTreeSet, sync::LazyLock};

use proptest::{collection::btree_set, prelude::*, sample::select};

use super::*;
use crate::{
    domain::{Action, Columns, How, Kind, LegalBasis, PurposeSlug, Role, Timestamp, Who},
    policy::{
        manifest,
        testing::crossing,
        usage::{Attributes, Question, reference},
        vocabulary,
    },
};

pub(super) static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| vocabulary::load().unwrap());

pub(super) const OLD: &str = r"
dataset: chu.stays
rules:
  - {id: visible, effect: permit, actions: [discover]}
  - id: research
    effect: permit
    actions: [aggregate]
    who: {kinds: [lab], countries: [EU], roles: [requester]}
    columns: {only: [age, commune, cost]}
    purposes: [scientific_research]
    legal_basis: consent
    when: [{from: 2025-01-01, until: 2027-01-01}]
    how:
      row_filter: {compare: {column: age, op: ge, value: 18}}
      masks: {commune: {prefix: 2}}
      aggregate_only: 11
      max_rows: 1000
    duties: [no_reidentification, delete_after_days: 365]
  - {id: partner, effect: permit, actions: [read], who: {organisations: [irit]}, legal_basis: contract}
floor: {aggregate_only: 5}
";

const NEW: &str = r"
dataset: chu.stays
rules:
  - {id: visible, effect: permit, actions: [discover]}
  - id: research
    effect: permit
    actions: [aggregate]
    who: {kinds: [lab, company], countries: [EU], roles: [requester], accreditations: [hds]}
    columns: {only: [age, commune, cost, diagnosis]}
    purposes: [research_and_development]
    legal_basis: public_interest
    when: [{from: 2025-01-01, until: 2028-01-01}]
    how:
      row_filter: {all: [{compare: {column: age, op: ge, value: 18}}, {is_not_null: {column: cost}}]}
      masks: {commune: {prefix: 3}, cost: 'null'}
      aggregate_only: 5
      max_rows: 500
      certificate_required: true
    duties: [no_reidentification, attribute: CHU]
    text: {fr: Recherche, en: Research}
  - {id: no_marketing, effect: deny, actions: [aggregate], purposes: [marketing, commercial_research]}
floor: {aggregate_only: 5}
";

pub(super) fn told(old: &str, new: &str) -> Vec<Difference> {
    diff(&manifest::parse(old).unwrap(), &manifest::parse(new).unwrap(), None, &VOCABULARY)
}

fn lines(differences: &[Difference], of: fn(&Text) -> &String) -> String {
    let lines = differences.iter().map(|one| format!("{:?} {}: {}", one.kind, one.path, of(&one.text)));
    lines.chain([String::new()]).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_changed_is_told_in_english() {
    assert_eq!(lines(&told(OLD, NEW), |text| &text.en), include_str!("golden.en.txt"));
}

#[test]
fn what_changed_is_told_in_french() {
    assert_eq!(lines(&told(OLD, NEW), |text| &text.fr), include_str!("golden.fr.txt"));
}

#[test]
fn a_policy_does_not_differ_from_itself_and_one_written_otherwise_has_the_same_effect() {
    assert_eq!(told(OLD, OLD), vec![]);
    let otherwise = OLD
        .replace("kinds: [lab], ", "kinds: [lab], sectors: [], ")
        .replace("[scientific_research]", "[scientific_research, epidemiological_research]");
    let told = told(OLD, &otherwise);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].text.en.contains("to the same effect"));
}

#[test]
fn a_rule_that_is_renamed_permits_the_same_on_the_same_terms() {
    let told = told(OLD, &OLD.replace("id: research", "id: science"));
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!(told[0].text.en, "what `research` permitted, `science` permits on the same terms");
}

#[test]
fn a_new_rule_with_looser_terms_says_so_while_the_old_one_stands() {
    let more = OLD.replace("floor:", "  - {id: more, effect: permit, actions: [aggregate], who: {kinds: [lab]}, purposes: [scientific_research], columns: {only: [age]}, legal_basis: consent, how: {aggregate_only: 7}}\nfloor:");
    let told = told(OLD, &more);
    let looser: Vec<_> = told.iter().filter(|one| one.kind == DifferenceKind::Loosened).collect();
    assert_eq!(looser.len(), 1, "{told:#?}");
    assert!(looser[0].text.en.starts_with("what `research` permitted, under `more`: "), "{told:#?}");
    assert!(looser[0].text.en.contains("groups of at least 7 instead of 11"), "{told:#?}");
    assert!(told.iter().any(|one| one.kind == DifferenceKind::Gained), "{told:#?}");
}

#[test]
fn each_term_of_the_model_is_compared() {
    let terms = |how: &str| {
        let text = format!(
            "dataset: a.b\nrules: [{{id: r, effect: permit, actions: [read], legal_basis: contract, how: {how}}}]\n"
        );
        let policy = manifest::parse(&text).unwrap();
        Terms::of(&policy.rules[0], &policy)
    };
    let privacy = |epsilon: &str, rows| {
        format!("{{privacy: {{epsilon: '{epsilon}', budget: '5', total: '50', max_groups: 1, max_rows: {rows}}}}}")
    };
    let same = Direction::Other;
    for (old, new, path, forth, back) in [
        ("{}", "{row_filter: {is_null: {column: a}}}", "how.row_filter", Direction::Tighter, Direction::Looser),
        ("{}", "{masks: {a: hmac}}", "how.masks.a", Direction::Tighter, Direction::Looser),
        (
            "{masks: {a: {prefix: 3}}}",
            "{masks: {a: {prefix: 2}}}",
            "how.masks.a",
            Direction::Tighter,
            Direction::Looser,
        ),
        (
            "{masks: {a: {bucket: 5}}}",
            "{masks: {a: {bucket: 10}}}",
            "how.masks.a",
            Direction::Tighter,
            Direction::Looser,
        ),
        ("{masks: {a: {bucket: 5}}}", "{masks: {a: {bucket: 7}}}", "how.masks.a", same, same),
        ("{masks: {a: hmac}}", "{masks: {a: 'null'}}", "how.masks.a", Direction::Tighter, Direction::Looser),
        ("{masks: {a: {constant: 1}}}", "{masks: {a: 'null'}}", "how.masks.a", same, same),
        ("{}", "{aggregate_only: 5}", "how.aggregate_only", Direction::Tighter, Direction::Looser),
        ("{}", &privacy("1", 1), "how.privacy", Direction::Tighter, Direction::Looser),
        (&privacy("1", 1), &privacy("0.5", 1), "how.privacy.epsilon", Direction::Tighter, Direction::Looser),
        (&privacy("1", 1), &privacy("1", 2), "how.privacy.max_rows", same, same),
        ("{max_rows: 10}", "{max_rows: 5}", "how.max_rows", Direction::Tighter, Direction::Looser),
        ("{}", "{max_queries: 5}", "how.max_queries", Direction::Tighter, Direction::Looser),
        ("{rate: {day: 5}}", "{rate: {day: 2}}", "how.rate", Direction::Tighter, Direction::Looser),
        ("{}", "{no_join_on: [a]}", "how.no_join_on", Direction::Tighter, Direction::Looser),
        ("{}", "{difference_check: true}", "how.difference_check", Direction::Tighter, Direction::Looser),
        ("{}", "{templates: {q: {sql: select 1}}}", "how.templates", Direction::Tighter, Direction::Looser),
        (
            "{templates: {p: {sql: a}, q: {sql: b}}}",
            "{templates: {q: {sql: b}}}",
            "how.templates",
            Direction::Tighter,
            Direction::Looser,
        ),
        ("{}", "{consent_required: true}", "how.consent_required", Direction::Tighter, Direction::Looser),
        ("{}", "{certificate_required: true}", "how.certificate_required", Direction::Tighter, Direction::Looser),
    ] {
        for (old, new, direction) in [(old, new, forth), (new, old, back)] {
            let changes = compare(&terms(old), &terms(new));
            let found: Vec<_> = changes.iter().map(|change| (change.path.as_str(), change.direction)).collect();
            assert_eq!(found, [(path, direction)], "{old} -> {new}: {changes:#?}");
            assert!(!changes[0].text.fr.is_empty() && changes[0].text.fr != changes[0].text.en);
        }
        assert_eq!(compare(&terms(new), &terms(new)), vec![]);
    }
}

fn a_policy() -> impl Strategy<Value = Policy> {
    fn some<T: Clone + Ord + std::fmt::Debug + 'static>(from: Vec<T>) -> impl Strategy<Value = BTreeSet<T>> {
        prop_oneof![1 => Just(BTreeSet::new()), 1 => btree_set(select(from), 1..3)]
    }
    let purposes: Vec<PurposeSlug> =
        ["research_and_development", "scientific_research", "improve_healthcare"].map(|p| p.parse().unwrap()).to_vec();
    let columns = prop_oneof![
        Just(Columns::All),
        btree_set(select(vec!["a".to_owned(), "b".to_owned()]), 1..3).prop_map(Columns::Only)
    ];
    let rule = (
        prop::bool::weighted(0.3),
        btree_set(select(Action::ALL.to_vec()), 1..3),
        (some(Kind::ALL.to_vec()), some(vec!["hds".to_owned()]), some(vec![Role::Requester, Role::Steward])),
        some(purposes),
        columns,
    )
        .prop_map(|(deny, actions, (kinds, accreditations, roles), purposes, columns)| Rule {
            id: "r0".parse().unwrap(),
            effect: if deny { Effect::Deny } else { Effect::Permit },
            actions,
            who: Who { kinds, accreditations, roles, ..Who::default() },
            columns,
            purposes,
            legal_basis: (!deny).then_some(LegalBasis::NotPersonal),
            when: Vec::new(),
            how: How::default(),
            duties: Vec::new(),
            text: Text::default(),
        });
    prop::collection::vec(rule, 1..5).prop_map(|mut rules| {
        for (index, rule) in rules.iter_mut().enumerate() {
            rule.id = format!("r{index}").parse().unwrap();
        }
        Policy { dataset: "chu.stays".parse().unwrap(), rules, floor: How::default() }
    })
}

/// One use of the small world: its member's roles and its columns in every combination.
struct Use {
    who: Attributes,
    action: Action,
    purpose: PurposeSlug,
    columns: BTreeSet<String>,
}

fn subsets<T: Clone + Ord>(all: &[T]) -> Vec<BTreeSet<T>> {
    let one = |bits: usize| all.iter().enumerate().filter(move |(at, _)| bits >> at & 1 == 1).map(|(_, x)| x.clone());
    (0..1 << all.len()).map(|bits| one(bits).collect()).collect()
}

static WORLD: LazyLock<Vec<Use>> = LazyLock::new(|| {
    let columns: Vec<_> = subsets(&["a".to_owned(), "b".to_owned(), "c".to_owned()]);
    let mut all = Vec::new();
    for kind in Kind::ALL {
        for accredited in [false, true] {
            for roles in subsets(&[Role::Requester, Role::Steward, Role::Auditor]) {
                for action in Action::ALL {
                    // Each of the policies' purposes, what is below two of them or one, above, and beside.
                    for purpose in [
                        "research_and_development",
                        "scientific_research",
                        "improve_healthcare",
                        "epidemiological_research",
                        "public_benefit",
                        "marketing",
                    ] {
                        all.extend(columns.iter().filter(|columns| !columns.is_empty()).map(|columns| Use {
                            who: Attributes {
                                participant: "irit".parse().unwrap(),
                                kind: Some(kind),
                                sector: None,
                                country: None,
                                accreditations: Some(accredited.then(|| "hds".to_owned()).into_iter().collect()),
                                roles: Some(roles.clone()),
                            },
                            action,
                            purpose: purpose.parse().unwrap(),
                            columns: columns.clone(),
                        }));
                    }
                }
            }
        }
    }
    all
});

/// The rule that governs a use, if it is permitted at all.
fn governs(policy: &Policy, one: &Use) -> Option<Name> {
    let question = Question {
        who: &one.who,
        purpose: Some(&one.purpose),
        action: one.action,
        columns: &one.columns,
        at: Timestamp::from_micros(0),
        rule: None,
    };
    reference::evaluate(policy, &question, &VOCABULARY).0
}

/// Whether each policy permits somebody something that the other does not: `(gained, lost)`.
fn by_brute_force(old: &Policy, new: &Policy) -> (bool, bool) {
    let (mut gained, mut lost) = (false, false);
    for one in WORLD.iter() {
        let (before, after) = (governs(old, one).is_some(), governs(new, one).is_some());
        gained |= after && !before;
        lost |= before && !after;
    }
    (gained, lost)
}

const SAME: &str = "to the same effect";

/// Other ways to write a policy, most of them with another effect.
fn rewritten(policy: &Policy, way: usize) -> Policy {
    let mut other = policy.clone();
    let last = other.rules.len() - 1;
    match way {
        0 => other.rules.swap(0, last),
        1 => other.rules[last].how.max_rows = Some(5),
        2 => other.rules.rotate_left(1),
        3 => {
            let again = Rule { id: "again".parse().unwrap(), ..other.rules[0].clone() };
            other.rules.insert(0, again);
        }
        4 => other.rules[0].who.kinds = Kind::ALL.into(),
        5 => other.floor.max_rows = Some(7),
        6 => {
            other.rules.remove(0);
        }
        _ => {
            // A permit of two columns as two of one.
            let split = Rule { id: "split".parse().unwrap(), ..other.rules[0].clone() };
            other.rules[0].columns = Columns::Only(["a".to_owned()].into());
            other.rules.push(Rule { columns: Columns::Only(["b".to_owned(), "c".to_owned()].into()), ..split });
        }
    }
    other
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn somebody_gains_or_loses_exactly_where_it_is_said(old in a_policy(), new in a_policy()) {
        let found = diff(&old, &new, None, &VOCABULARY);
        let has = |kind| found.iter().any(|one| one.kind == kind);
        let (gained, lost) = by_brute_force(&old, &new);
        prop_assert_eq!((has(DifferenceKind::Gained), has(DifferenceKind::Lost)), (gained, lost), "{:#?}", found);
    }

    #[test]
    fn where_the_effect_is_said_to_be_the_same_it_is(old in a_policy(), way in 0_usize..8) {
        let new = rewritten(&old, way);
        let found = diff(&old, &new, None, &VOCABULARY);
        prop_assert!(old == new || !found.is_empty());
        if found.iter().any(|one| one.text.en.ends_with(SAME)) {
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(&old.floor, &new.floor);
            for one in WORLD.iter() {
                let how = |policy: &Policy| governs(policy, one).and_then(|id| Some(policy.rule(id.as_str())?.how.clone()));
                prop_assert_eq!(how(&old), how(&new));
            }
        }
    }

    #[test]
    fn what_one_gains_is_what_is_lost_the_other_way(old in a_policy(), new in a_policy()) {
        let of = |found: Vec<Difference>, kind| -> BTreeSet<String> {
            let words = [
                ("can now", "can"),
                ("can no longer", "can"),
                ("permitted already", "permits"),
                ("still permits", "permits"),
                ("denied anyway", "denies"),
            ];
            let plain = |text: String| words.iter().fold(text, |text, (from, to)| text.replace(from, to));
            found.into_iter().filter(|one| one.kind == kind).map(|one| plain(one.text.en)).collect()
        };
        let forth = diff(&old, &new, None, &VOCABULARY);
        let back = diff(&new, &old, None, &VOCABULARY);
        prop_assert_eq!(of(forth, DifferenceKind::Gained), of(back, DifferenceKind::Lost));
    }
}

#[test]
fn two_policies_that_cross_in_many_ways_are_compared_soon() {
    let purposes: Vec<PurposeSlug> = VOCABULARY.purposes().map(|purpose| purpose.slug.clone()).collect();
    let (old, new) = (crossing(7, 200, &purposes), crossing(8, 200, &purposes));
    let started = cpu_time::ThreadTime::now();
    let found = diff(&old, &new, None, &VOCABULARY);
    let took = started.elapsed();
    assert!(!found.is_empty());
    // An unoptimised build; optimised it is a tenth.
    assert!(took < std::time::Duration::from_secs(20), "{took:?}");
}
