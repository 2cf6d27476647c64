//! What holds for every policy and question, tried on generated ones.

use casbin::{CoreApi, Model};
use proptest::{prelude::*, sample::select, strategy::ValueTree, test_runner::TestRunner};

use super::{
    super::{enforcer, explain, read_model},
    generate::{Asked, HOSTILE, a_policy, a_question, a_rule, anyone, at, name, policy, purposes},
    tests::VOCABULARY,
    *,
};
use crate::domain::{Columns, Who, Window};

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
        prohibited += usize::from(decision.trace.iter().any(|rule| rule.outcome.denies()));
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
    fn neither_the_order_of_rules_nor_a_rule_written_twice_matters(policy in a_policy(), asked in a_question()) {
        let mut turned = policy.clone();
        turned.rules.reverse();
        let (one, other) = (asked.decide(&policy), asked.decide(&turned));
        prop_assert_eq!(one.permit.is_some(), other.permit.is_some());
        prop_assert!(one.trace.iter().all(|rule| other.trace.contains(rule)));
        if asked.rule.is_some() {
            prop_assert_eq!(&one.permit, &other.permit);
        }
        let mut twice = policy.clone();
        twice.rules.extend(policy.rules.iter().map(|rule| Rule { id: name(&format!("{}_again", rule.id)), ..rule.clone() }));
        let again = asked.decide(&twice);
        prop_assert_eq!(&again.permit, &one.permit);
        prop_assert_eq!(&again.trace[..policy.rules.len()], &one.trace[..]);
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
    fn another_permit_never_denies_and_does_not_change_what_a_grant_obliges_to(
        policy in a_policy(),
        asked in a_question(),
        mut permit in a_rule(),
    ) {
        permit.effect = Effect::Permit;
        permit.id = name("more");
        let mut wider = policy.clone();
        wider.rules.insert(0, permit);
        let (before, after) = (asked.decide(&policy), asked.decide(&wider));
        prop_assert!(before.permit.is_none() || after.permit.is_some());
        if asked.rule.is_some() {
            prop_assert_eq!(before.permit, after.permit);
        }
    }

    #[test]
    fn an_attribute_less_never_turns_a_deny_into_a_permit(policy in a_policy(), asked in a_question(), which in 0_usize..6) {
        prop_assert!(asked.decide(&policy).permit.is_some() || without(&asked, which).decide(&policy).permit.is_none());
    }

    /// Unless a deny is about the narrower purpose itself.
    #[test]
    fn a_narrower_purpose_of_a_permitted_one_stays_permitted(
        policy in a_policy(),
        asked in a_question(),
        narrower in select(VOCABULARY.purposes().map(|purpose| purpose.slug.clone()).collect::<Vec<_>>()),
    ) {
        let special = Asked { purpose: Some(narrower.clone()), ..asked.clone() }.decide(&policy);
        for stated in VOCABULARY.ancestors(&narrower) {
            let general = Asked { purpose: Some(stated.clone()), ..asked.clone() }.decide(&policy);
            let prohibited = special.trace.iter().any(|rule| rule.outcome.denies());
            prop_assert!(general.permit.is_none() || special.permit.is_some() || prohibited, "{} of {}", narrower, stated);
        }
    }

    #[test]
    fn a_purpose_permits_itself_and_what_lies_below_it_and_nothing_else(
        stated in select(VOCABULARY.purposes().map(|purpose| purpose.slug.clone()).collect::<Vec<_>>()),
        asked in a_question(),
    ) {
        let only = policy(vec![Rule { purposes: [stated.clone()].into(), ..anyone("r0", Effect::Permit) }]);
        for purpose in VOCABULARY.purposes().map(|purpose| &purpose.slug) {
            let one = Asked { purpose: Some(purpose.clone()), action: Action::Read, rule: None, ..asked.clone() };
            let below = VOCABULARY.ancestors(purpose).any(|above| *above == stated);
            prop_assert_eq!(one.decide(&only).permit.is_some(), below, "{} under {}", purpose, stated);
        }
    }

    #[test]
    fn a_window_holds_from_its_first_instant_to_the_one_before_its_last(
        from in -1_000_000_000_000_000_i64..4_000_000_000_000_000,
        length in 0_i64..1_000_000_000_000_000,
        asked in a_question(),
    ) {
        let until = from + length;
        let permitted = |window: Window, micros: i64| {
            let policy = policy(vec![Rule { when: vec![window], ..anyone("r0", Effect::Permit) }]);
            let asked =
                Asked { at: at(micros), action: Action::Read, rule: None, purpose: Some(name("marketing")), ..asked.clone() };
            asked.decide(&policy).permit.is_some()
        };
        let both = Window { from: Some(at(from)), until: Some(at(until)) };
        for (micros, inside) in [(from - 1, false), (from, length > 0), (until - 1, length > 0), (until, false)] {
            prop_assert_eq!(permitted(both, micros), inside, "{} in {:?}", micros, both);
        }
        let (since, to) = (Window { until: None, ..both }, Window { from: None, ..both });
        prop_assert!(permitted(since, from) && permitted(since, i64::MAX) && !permitted(since, from - 1));
        prop_assert!(permitted(to, until - 1) && permitted(to, i64::MIN) && !permitted(to, until));
    }

    #[test]
    fn the_trace_alone_gives_the_decision_and_says_why_in_every_denial(policy in a_policy(), asked in a_question()) {
        let decision = asked.decide(&policy);
        prop_assert_eq!(decision.trace.len(), policy.rules.len());
        let denied = decision.trace.iter().any(|rule| rule.outcome.denies());
        let permits = decision.trace.iter().filter(|rule| rule.outcome == RuleOutcome::Permits);
        let governing = permits.map(|rule| &rule.rule).find(|rule| asked.rule.as_ref().is_none_or(|wanted| wanted == *rule));
        prop_assert_eq!(decision.permit.as_ref().map(|permit| &permit.rule), governing.filter(|_| !denied));
        for rule in &decision.trace {
            let names_a_clause = matches!(rule.outcome, RuleOutcome::Misses | RuleOutcome::Unknown);
            prop_assert_eq!(rule.first_failed.is_some(), names_a_clause, "{:?}", rule);
        }
        if decision.permit.is_none() {
            let refusal = explain::refusal(&decision, &policy, &asked.who.participant, &[]);
            let clause = &refusal.params()["clause"];
            // Nothing nearer than the action: then it is that no rule is about it.
            let nothing_near = decision.trace.iter().all(|rule| {
                rule.first_failed == Some(crate::domain::Clause::Action)
                    || policy.rule(rule.rule.as_str()).is_some_and(|rule| !explain::may_know(rule, &asked.who.participant))
                    || rule.outcome == RuleOutcome::Permits
            });
            prop_assert_eq!(clause == "rule", nothing_near && !denied, "{}", clause);
        }
    }

    /// One engine over the rules of every dataset, as others build it, decides as each dataset's own engine does.
    #[test]
    fn the_rules_of_one_dataset_decide_as_the_table_of_all_datasets_does(
        policies in prop::collection::vec(a_policy(), 1..4),
        asked in a_question(),
    ) {
        let whole = USAGE_MODEL
            .replace("r = q", "r = dataset, q")
            .replace("p = rule,", "p = dataset, rule,")
            .replace("m = ", "m = r.dataset == p.dataset && ");
        let mut model = read_model(&whole).unwrap();
        for (dataset, policy) in policies.iter().enumerate() {
            for rule in &policy.rules {
                model.add_policy("p", "p", [vec![format!("d{dataset}")], cells::row(rule)].concat());
            }
        }
        let mut table = enforcer(model).unwrap();
        clauses::register(&mut table);
        for (dataset, policy) in policies.iter().enumerate() {
            let asked = Asked { rule: None, ..asked.clone() };
            let request = Arc::new(clauses::Request::new(&asked.question(), &VOCABULARY));
            let of_table = table.enforce(vec![Dynamic::from(format!("d{dataset}")), Dynamic::from(request)]).unwrap();
            prop_assert_eq!(of_table, asked.decide(policy).permit.is_some());
        }
    }

    #[test]
    fn hostile_text_in_one_rule_changes_no_other(
        policy in a_policy(),
        asked in a_question(),
        hostile in prop_oneof![
            3 => ".{0,40}".boxed(),
            2 => "[|,#\"~%*`${}()=!&;.rp_\\n\\\\ ]{1,40}".boxed(),
            1 => select(HOSTILE.map(|text| text.repeat(65_536 / text.len().max(1))).to_vec()).boxed(),
        ],
        field in 0_usize..4,
        deny in any::<bool>(),
        first in any::<bool>(),
    ) {
        let mut rule = anyone("hostile", if deny { Effect::Deny } else { Effect::Permit });
        let texts = BTreeSet::from([hostile]);
        match field {
            0 => rule.who.sectors = texts,
            1 => rule.who.countries = texts,
            2 => rule.who.accreditations = texts,
            _ => rule.columns = Columns::Only(texts),
        }
        let mut more = policy.clone();
        let place = if first { 0 } else { policy.rules.len() };
        more.rules.insert(place, rule.clone());
        let (before, mut after) = (asked.decide(&policy), asked.decide(&more));
        let own = after.trace.remove(place);
        prop_assert_eq!(&before.trace, &after.trace);
        // The hostile rule itself is judged as the plain types say.
        let (_, alone) = reference::evaluate(&super::generate::policy(vec![rule]), &asked.question(), &VOCABULARY);
        prop_assert_eq!(&own, &alone[0]);
    }

    /// What is asked is as free as what is written: it matches what is equal to it and nothing else.
    #[test]
    fn a_hostile_attribute_matches_itself_alone(text in ".{0,40}", other in ".{0,40}", asked in a_question()) {
        let of = |text: &String| Who { sectors: [text.clone()].into(), ..Who::default() };
        let rules = policy(vec![Rule { who: of(&text), ..anyone("r0", Effect::Permit) }]);
        let with = |sector: &String| {
            let mut one =
                Asked { action: Action::Read, purpose: Some(purposes().remove(0)), rule: None, ..asked.clone() };
            one.who.sector = Some(sector.clone());
            one.decide(&rules).permit.is_some()
        };
        prop_assert!(with(&text));
        prop_assert_eq!(with(&other), text == other);
    }
}
