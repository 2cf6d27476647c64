//! Obligations only ever add up: whatever floor is put under a rule, nothing that either asks for gets weaker.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::btree_map, option, prelude::*, sample::select};

use super::{
    generate::{Asked, a_question, anyone, name, policy},
    *,
};
use crate::domain::{Billionths, Bounds, Filter, How, Interval, Mask, Privacy, Template, Text};
use crate::policy::testing::any_how;

fn columns() -> Vec<String> {
    ["age", "cost", "commune"].map(str::to_owned).to_vec()
}

fn number() -> impl Strategy<Value = Billionths> {
    (0_u64..1_000).prop_map(|n| Billionths::new(n).unwrap())
}

fn a_privacy() -> impl Strategy<Value = Privacy> {
    let bounds = (0_i64..50, 50_i64..100).prop_map(|(lower, upper)| Bounds { lower, upper });
    (
        (number(), number(), number(), option::of(number())),
        (1_u32..5, 1_u32..5),
        btree_map(select(columns()), bounds, 0..3),
        btree_map(select(columns()), prop::collection::vec((0_i64..5).prop_map(crate::domain::Value::Int), 0..3), 0..2),
    )
        .prop_map(|((epsilon, budget, total, delta), (max_groups, max_rows), bounds, groups)| Privacy {
            epsilon,
            budget,
            total,
            delta,
            max_groups,
            max_rows,
            bounds,
            groups,
        })
}

fn a_how() -> impl Strategy<Value = How> {
    let filter = select(columns()).prop_map(|column| Filter::IsNull { column });
    let mask = select(vec![Mask::Null, Mask::Hmac, Mask::Prefix(2), Mask::Prefix(3), Mask::Bucket(5)]);
    let template = select(vec!["select 1", "select 2"]).prop_map(|sql| Template {
        sql: sql.to_owned(),
        parameters: BTreeMap::new(),
        text: Text::default(),
    });
    (
        (option::of(filter), btree_map(select(columns()), mask, 0..3), option::of(2_u32..20)),
        (option::of(a_privacy()), option::of(0_u64..100), option::of(0_u64..100)),
        (
            btree_map(select(Interval::ALL.to_vec()), 0_u32..9, 0..3),
            prop::collection::btree_set(select(columns()), 0..3),
        ),
        option::of(btree_map(select(vec![name("x"), name("y")]), template, 0..3)),
        (any::<bool>(), any::<bool>(), any::<bool>()),
    )
        .prop_map(
            |((row_filter, masks, k), (privacy, max_rows, max_queries), (rate, no_join_on), templates, flags)| How {
                row_filter,
                masks,
                aggregate_only: k,
                privacy,
                max_rows,
                max_queries,
                rate,
                no_join_on,
                difference_check: flags.0,
                templates,
                consent_required: flags.1,
                certificate_required: flags.2,
            },
        )
}

/// What `how` lacks of what `asked` asks for. Every field by name: a new one does not compile until it is thought of.
fn weaker(how: &How, asked: &How) -> Vec<&'static str> {
    let How {
        row_filter,
        masks,
        aggregate_only,
        privacy,
        max_rows,
        max_queries,
        rate,
        no_join_on,
        difference_check,
        templates,
        consent_required,
        certificate_required,
    } = asked;
    let conjuncts = |filter: &Filter| match filter {
        Filter::All(parts) => parts.clone(),
        one => vec![one.clone()],
    };
    let filtered = row_filter
        .as_ref()
        .is_none_or(|asked| how.row_filter.as_ref().is_some_and(|filter| conjuncts(filter).contains(asked)));
    let masked =
        masks.iter().all(|(column, mask)| how.masks.get(column).is_some_and(|own| own == mask || *own == Mask::Null));
    let rated = rate.iter().all(|(interval, most)| how.rate.get(interval).is_some_and(|own| own <= most));
    let approved = templates.as_ref().is_none_or(|asked| {
        how.templates.as_ref().is_some_and(|own| own.iter().all(|(name, sql)| asked.get(name) == Some(sql)))
    });
    let private = privacy.as_ref().is_none_or(|asked| how.privacy.as_ref().is_some_and(|own| at_least(own, asked)));
    [
        ("row_filter", filtered),
        ("masks", masked),
        ("aggregate_only", how.aggregate_only >= *aggregate_only),
        ("privacy", private),
        ("max_rows", max_rows.is_none_or(|most| how.max_rows.is_some_and(|own| own <= most))),
        ("max_queries", max_queries.is_none_or(|most| how.max_queries.is_some_and(|own| own <= most))),
        ("rate", rated),
        ("no_join_on", no_join_on.is_subset(&how.no_join_on)),
        ("difference_check", how.difference_check >= *difference_check),
        ("templates", approved),
        ("consent_required", how.consent_required >= *consent_required),
        ("certificate_required", how.certificate_required >= *certificate_required),
    ]
    .into_iter()
    .filter(|(_, holds)| !holds)
    .map(|(field, _)| field)
    .collect()
}

fn at_least(own: &Privacy, asked: &Privacy) -> bool {
    let Privacy { epsilon, budget, total, delta, max_groups, max_rows, bounds, groups } = asked;
    let within = |column: &String, asked: &Bounds| {
        own.bounds.get(column).is_some_and(|own| own.lower >= asked.lower && own.upper <= asked.upper)
    };
    let listed = |column: &String, asked: &Vec<crate::domain::Value>| {
        own.groups.get(column).is_some_and(|own| own.iter().all(|value| asked.contains(value)))
    };
    own.epsilon <= *epsilon
        && own.budget <= *budget
        && own.total <= *total
        && own.delta <= *delta
        && own.max_groups <= *max_groups
        && own.max_rows <= *max_rows
        && bounds.iter().all(|(column, asked)| within(column, asked))
        && groups.iter().all(|(column, asked)| listed(column, asked))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rule_and_floor_together_are_at_least_as_strict_as_each(rule in a_how(), floor in a_how()) {
        let both = rule.join(&floor);
        prop_assert_eq!(weaker(&both, &rule), Vec::<&str>::new());
        prop_assert_eq!(weaker(&both, &floor), Vec::<&str>::new());
        prop_assert_eq!(rule.join(&How::default()), rule);
    }

    #[test]
    fn limits_that_make_no_sense_add_up_in_the_same_way_from_both_sides(a in any_how(), b in any_how()) {
        let bounds = |how: How| how.privacy.map(|privacy| privacy.bounds);
        prop_assert_eq!(bounds(a.join(&b)), bounds(b.join(&a)));
    }

    #[test]
    fn a_permit_obliges_to_its_rule_and_the_floor_whatever_other_permits_say(
        rules in prop::collection::vec(a_how(), 1..4),
        floor in a_how(),
        wanted in 0_usize..4,
        asked in a_question(),
    ) {
        let wanted = wanted % rules.len();
        let named = |index: usize| -> Name { name(&format!("r{index}")) };
        let permits = rules.iter().enumerate().map(|(index, how)| Rule {
            id: named(index),
            how: how.clone(),
            ..anyone("r", Effect::Permit)
        });
        let policy = Policy { floor: floor.clone(), ..policy(permits.collect()) };
        let purpose = Some(name("marketing"));
        let asked = Asked { rule: Some(named(wanted)), action: Action::Read, purpose, ..asked };
        let permit = asked.decide(&policy).permit.unwrap();
        prop_assert_eq!(weaker(&permit.how, &rules[wanted]), Vec::<&str>::new());
        prop_assert_eq!(weaker(&permit.how, &floor), Vec::<&str>::new());
        prop_assert_eq!(&permit.how, &rules[wanted].join(&floor));
    }
}

#[test]
fn what_is_weaker_is_seen_to_be() {
    let some = How { max_rows: Some(10), no_join_on: BTreeSet::from(["age".to_owned()]), ..How::default() };
    let lax = How { max_rows: Some(11), ..How::default() };
    assert_eq!(weaker(&lax, &some), ["max_rows", "no_join_on"]);
    assert_eq!(
        weaker(&How::default(), &How { difference_check: true, ..some }),
        ["max_rows", "no_join_on", "difference_check"]
    );
}
