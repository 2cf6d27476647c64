//! Arbitrary policies, for properties here and in `tests/oracles`: every term of the model, alone and together.
//!
//! Uses the public API alone, so that a package outside can include this file as it is.

use std::{fmt, str::FromStr};

use proptest::{
    collection::{btree_map, btree_set, vec},
    option,
    prelude::*,
    sample::select,
};

use crate::domain::{
    Action, Billionths, Bounds, ColumnType, Columns, CompareOp, Duty, Effect, Filter, How, Interval, Kind, LegalBasis,
    Mask, Name, Policy, Privacy, PurposeSlug, Role, Rule, Template, Text, Timestamp, Value, Who, Window,
};

/// Policies of one to four rules with everything that the model has and that ODRL has words for: ids are unique, a
/// rule has an action, and a deny neither limits nor obliges. Whether they make sense for a dataset is not looked at.
pub(crate) fn any_policy(purposes: Vec<PurposeSlug>) -> impl Strategy<Value = Policy> {
    (vec(any_rule(purposes), 1..5), weak(any_how()), name(), name()).prop_map(|(mut rules, floor, owner, dataset)| {
        for (index, rule) in rules.iter_mut().enumerate() {
            rule.id = parsed(&format!("r{index}_{}", rule.id.as_str().chars().take(50).collect::<String>()));
        }
        Policy { dataset: parsed(&format!("{owner}.{dataset}")), rules, floor }
    })
}

/// A policy whose rules, permits and denies, cross each other in many ways: what is dear to analyse and to compare. The
/// first rule permits reading to anyone. The same `seed` gives the same policy.
pub(crate) fn crossing(seed: u64, rules: usize, purposes: &[PurposeSlug]) -> Policy {
    let mut state = seed;
    let mut roll = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let texts = |text: &str| std::collections::BTreeSet::from([text.to_owned()]);
    let mut rules: Vec<Rule> = (0..rules)
        .map(|index| {
            let from = i64::try_from(roll(20)).unwrap();
            let effect = if roll(3) == 0 { Effect::Permit } else { Effect::Deny };
            Rule {
                id: parsed(&format!("r{index}")),
                effect,
                actions: [Action::Read].into(),
                who: Who {
                    accreditations: texts(&format!("a{}", roll(12))),
                    countries: texts(["FR", "DE", "IT", "ES", "PL", "EU"][roll(6)]),
                    ..Who::default()
                },
                columns: if roll(3) == 0 { Columns::All } else { Columns::Only(texts(["a", "b"][roll(2)])) },
                purposes: [purposes[roll(purposes.len())].clone()].into(),
                legal_basis: (effect == Effect::Permit).then_some(LegalBasis::NotPersonal),
                when: vec![Window {
                    from: Some(Timestamp::from_micros(from)),
                    until: Some(Timestamp::from_micros(from + 20)),
                }],
                how: How::default(),
                duties: Vec::new(),
                text: Text::default(),
            }
        })
        .collect();
    if let Some(first) = rules.first_mut() {
        *first = Rule {
            effect: Effect::Permit,
            who: Who::default(),
            columns: Columns::All,
            purposes: std::collections::BTreeSet::new(),
            legal_basis: Some(LegalBasis::NotPersonal),
            when: Vec::new(),
            ..first.clone()
        };
    }
    Policy { dataset: parsed("chu.stays"), rules, floor: How::default() }
}

/// One rule; a deny neither limits nor obliges.
pub(crate) fn any_rule(purposes: Vec<PurposeSlug>) -> impl Strategy<Value = Rule> {
    let bases = [
        LegalBasis::Consent,
        LegalBasis::Contract,
        LegalBasis::LegalObligation,
        LegalBasis::VitalInterests,
        LegalBasis::PublicInterest,
        LegalBasis::LegitimateInterests,
        LegalBasis::NotPersonal,
    ];
    let asked = (
        weak(any_who()),
        prop_oneof![2 => Just(Columns::All), 1 => btree_set(column(), 0..4).prop_map(Columns::Only)],
        btree_set(select(purposes), 0..4),
        vec(any_window(), 0..4),
    );
    let given = (option::of(select(bases.to_vec())), weak(any_how()), vec(any_duty(), 0..4));
    (name(), any::<bool>(), btree_set(select(Action::ALL.to_vec()), 1..5), asked, given, any_text()).prop_map(
        |(id, permit, actions, (who, columns, purposes, when), (legal_basis, how, duties), text)| {
            let (effect, legal_basis, how, duties) = if permit {
                (Effect::Permit, legal_basis, how, duties)
            } else {
                (Effect::Deny, None, How::default(), Vec::new())
            };
            Rule { id, effect, actions, who, columns, purposes, legal_basis, when, how, duties, text }
        },
    )
}

/// Half of the time nothing, so that a document is not full of everything.
fn weak<T: Clone + Default + fmt::Debug + 'static>(strategy: impl Strategy<Value = T>) -> impl Strategy<Value = T> {
    prop_oneof![1 => Just(T::default()).boxed(), 1 => strategy]
}

fn parsed<T: FromStr<Err: fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e:?}"))
}

fn name() -> impl Strategy<Value = Name> {
    "[a-z][a-z0-9_]{0,20}".prop_map(|text| parsed(&text))
}

fn column() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z_][a-z0-9_]{0,8}", 1 => any_words()]
}

/// What could be taken for something else in JSON, JSON-LD, a pointer or a row of rules.
fn any_words() -> impl Strategy<Value = String> {
    prop_oneof![
        1 => ".{0,16}",
        1 => select(vec!["", "@id", "@json", "a/b~c", "*", "|", "odh:x", "urn:odh:x", "\"", "\u{0}", "é", "\u{1f6b2}"])
            .prop_map(str::to_owned),
    ]
}

fn any_text() -> impl Strategy<Value = Text> {
    (any_words(), any_words()).prop_map(|(fr, en)| Text { fr, en })
}

fn any_who() -> impl Strategy<Value = Who> {
    (
        btree_set(name(), 0..3),
        btree_set(select(Kind::ALL.to_vec()), 0..3),
        btree_set(any_words(), 0..3),
        btree_set(any_words(), 0..3),
        btree_set(any_words(), 0..3),
        btree_set(select(Role::ALL.to_vec()), 0..3),
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

/// Any window, one without bounds included.
fn any_window() -> impl Strategy<Value = Window> {
    let at = || {
        option::weighted(0.8, (-60_000_000_000_000_000..200_000_000_000_000_000_i64).prop_map(Timestamp::from_micros))
    };
    (at(), at()).prop_map(|(from, until)| Window { from, until })
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any_words().prop_map(Value::Text)
    ]
}

/// A filter of some depth.
pub(crate) fn any_filter() -> impl Strategy<Value = Filter> {
    let ops = [CompareOp::Eq, CompareOp::Ne, CompareOp::Lt, CompareOp::Le, CompareOp::Gt, CompareOp::Ge];
    let leaf = prop_oneof![
        (column(), select(ops.to_vec()), any_value()).prop_map(|(column, op, value)| Filter::Compare {
            column,
            op,
            value
        }),
        (column(), vec(any_value(), 0..4)).prop_map(|(column, values)| Filter::In { column, values }),
        (column(), any_words()).prop_map(|(column, prefix)| Filter::StartsWith { column, prefix }),
        column().prop_map(|column| Filter::IsNull { column }),
        column().prop_map(|column| Filter::IsNotNull { column }),
    ];
    leaf.prop_recursive(5, 24, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Filter::All),
            vec(inner.clone(), 0..3).prop_map(Filter::Any),
            inner.prop_map(|filter| Filter::Not(Box::new(filter))),
        ]
    })
}

fn any_mask() -> impl Strategy<Value = Mask> {
    prop_oneof![
        Just(Mask::Null),
        any_value().prop_map(Mask::Constant),
        Just(Mask::Hmac),
        any::<u32>().prop_map(Mask::Prefix),
        Just(Mask::Year),
        any::<i64>().prop_map(Mask::Bucket),
    ]
}

fn any_privacy() -> impl Strategy<Value = Privacy> {
    let number = || (0..=1_000_000_000_000_u64).prop_map(|n| Billionths::new(n).unwrap_or_default());
    (
        (number(), number(), number(), option::of(number())),
        (any::<u32>(), any::<u32>()),
        btree_map(column(), (any::<i64>(), any::<i64>()).prop_map(|(lower, upper)| Bounds { lower, upper }), 0..3),
        btree_map(column(), vec(any_value(), 0..3), 0..3),
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

fn any_template() -> impl Strategy<Value = Template> {
    let types = select(vec![
        ColumnType::Boolean,
        ColumnType::Int64,
        ColumnType::Float64,
        ColumnType::Decimal { precision: 10, scale: 2 },
        ColumnType::String,
        ColumnType::Date,
        ColumnType::Timestamp,
    ]);
    (any_words(), btree_map(name(), types, 0..3), any_text()).prop_map(|(sql, parameters, text)| Template {
        sql,
        parameters,
        text,
    })
}

/// Limits of every sort.
pub(crate) fn any_how() -> impl Strategy<Value = How> {
    let rows = (option::of(any_filter()), btree_map(column(), any_mask(), 0..3), option::of(any::<u32>()));
    let spent = (option::of(any_privacy()), option::of(any::<u64>()), option::of(any::<u64>()));
    let asked = (
        btree_map(select(Interval::ALL.to_vec()), any::<u32>(), 0..3),
        btree_set(column(), 0..3),
        option::of(btree_map(name(), any_template(), 0..3)),
    );
    (rows, spent, asked, any::<[bool; 3]>()).prop_map(
        |(
            (row_filter, masks, aggregate_only),
            (privacy, max_rows, max_queries),
            (rate, no_join_on, templates),
            [difference_check, consent_required, certificate_required],
        )| How {
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
        },
    )
}

fn any_duty() -> impl Strategy<Value = Duty> {
    prop_oneof![
        any_words().prop_map(Duty::Attribute),
        any::<u32>().prop_map(Duty::DeleteAfterDays),
        Just(Duty::NoReidentification),
        any_words().prop_map(Duty::Notify),
        Just(Duty::ShareAlike),
    ]
}
