//! What is told of denies and lists of names, and that a policy that is hard to analyse is given up soon.

use super::*;
use crate::policy::testing::crossing;

fn all_of(manifest: &str) -> Vec<(Severity, String, String)> {
    let policy = manifest::parse(manifest).unwrap();
    let found = findings(&policy, &dataset(Access::Restricted), &VOCABULARY, &Surroundings::default());
    found.into_iter().map(|finding| (finding.severity, finding.path, finding.message_en)).collect()
}

#[test]
fn members_without_a_role_are_not_forgotten() {
    let denies: String = Role::ALL
        .map(|role| {
            let role = role.as_str();
            format!("  - {{id: d_{role}, effect: deny, actions: [discover], who: {{roles: [{role}]}}}}\n")
        })
        .concat();
    let rules =
        format!("dataset: chu.stays\nrules:\n  - {{id: visible, effect: permit, actions: [discover]}}\n{denies}");
    let found = all_of(&rules);
    assert!(found.iter().all(|(_, _, said)| !said.contains("never applies")), "{found:#?}");
}

#[test]
fn one_deny_that_is_enough_is_named_alone_and_a_long_list_is_cut() {
    let permit =
        "dataset: chu.stays\nrules:\n  - {id: p, effect: permit, actions: [aggregate], legal_basis: not_personal}\n";
    let days = |count: i64| -> String {
        let day = |n: i64| at(n * 86_400_000_000);
        let window = |n: i64| match n {
            0 => format!("{{until: {}}}", day(1)),
            n if n + 1 == count => format!("{{from: {}}}", day(n)),
            n => format!("{{from: {}, until: {}}}", day(n), day(n + 1)),
        };
        let rule = |n| format!("  - {{id: d{n}, effect: deny, actions: [aggregate], when: [{}]}}\n", window(n));
        (0..count).map(rule).collect()
    };
    let said = |rules: String| {
        let found = all_of(&rules);
        found.into_iter().find(|(_, path, said)| path == "rules[0]" && said.starts_with("never applies")).unwrap().2
    };
    let never = "  - {id: never, effect: deny, actions: [aggregate]}\n";
    assert_eq!(said(format!("{permit}{}{never}", days(98))), "never applies: `never` denies all that it permits");
    let many = said(format!("{permit}{}", days(98)));
    assert!(many.contains("`d9` and 88 more together deny all"), "{many}");
}

#[test]
fn denies_that_take_nothing_and_terms_that_add_nothing_are_worth_knowing() {
    let found = all_of(
        "dataset: chu.stays
rules:
  - {id: a, effect: permit, actions: [aggregate], purposes: [scientific_research, epidemiological_research],
     legal_basis: public_interest, who: {countries: [EU, FR, US]}}
  - {id: idle, effect: deny, actions: [aggregate], purposes: [marketing]}
  - {id: labs, effect: deny, actions: [aggregate], who: {kinds: [lab]}}
  - {id: labs_read, effect: deny, actions: [read, aggregate], who: {kinds: [lab], roles: [requester]}, columns: {only: [a]}}
",
    );
    let info: Vec<_> = found
        .iter()
        .filter(|(s, ..)| *s == Severity::Info)
        .map(|(_, path, said)| (path.as_str(), said.as_str()))
        .collect();
    for expected in [
        ("rules[0].purposes", "`epidemiological_research` adds nothing: a purpose above it is named, too"),
        ("rules[0].who.countries", "`FR` adds nothing beside `EU`"),
        ("rules[1]", "takes nothing: no rule permits it"),
        ("rules[3]", "takes nothing more: `labs` denies all of it"),
    ] {
        assert!(info.contains(&expected), "{expected:?}: {info:#?}");
    }
    assert!(!info.iter().any(|(path, said)| *path == "rules[2]" && said.starts_with("takes")), "{info:#?}");
}

#[test]
fn of_many_who_are_not_registered_some_are_named() {
    let names: Vec<String> = (0..990).map(|n| format!("org{n}")).collect();
    let text = format!(
        "dataset: chu.stays\nrules: [{{id: p, effect: permit, actions: [read], who: {{organisations: [{}]}}, legal_basis: \
         not_personal}}]",
        names.join(", ")
    );
    let policy = manifest::parse(&text).unwrap();
    let around = Surroundings { participants: Some(&[]), now: None };
    let found = findings(&policy, &dataset(Access::Restricted), &VOCABULARY, &around);
    let said = found.iter().find(|finding| finding.path == "rules[0].who.organisations").unwrap();
    assert!(said.message_en.ends_with("and 980 more") && said.message_en.len() < 200, "{}", said.message_en);
    assert!(said.message_fr.ends_with("et 980 autres"), "{}", said.message_fr);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_deny_that_takes_nothing_can_go(policy in policy_of(about_parties())) {
        let mut without = policy.clone();
        let idle = said_of(&found(&policy, Access::Restricted), "takes nothing");
        without.rules = (0..).zip(policy.rules.clone()).filter(|(at, _)| !idle.contains(at)).map(|(_, rule)| rule).collect();
        for one in parties() {
            let permitted = |policy: &Policy| {
                let trace = one.trace(policy);
                !is_denied(&trace) && trace.iter().any(|rule| rule.outcome == RuleOutcome::Permits)
            };
            prop_assert_eq!(permitted(&policy), permitted(&without), "{:?}", one);
        }
    }
}

#[test]
fn rules_that_cross_in_many_ways_are_given_up_soon() {
    let purposes: Vec<PurposeSlug> = VOCABULARY.purposes().map(|purpose| purpose.slug.clone()).collect();
    let policy = crossing(7, MAX_RULES, &purposes);
    let started = cpu_time::ThreadTime::now();
    let found = findings(&policy, &dataset(Access::Restricted), &VOCABULARY, &Surroundings::default());
    let took = started.elapsed();
    assert!(!found.is_empty());
    // An unoptimised build; optimised it is a tenth.
    assert!(took < std::time::Duration::from_secs(8), "{took:?}");
}
