//! Policies and questions for properties. Also compiled into `tests/oracles/`, so it knows the public types alone.

use std::{collections::BTreeSet, fmt, str::FromStr};

use proptest::{collection::btree_set, option, prelude::*, sample::select};

use crate::{
    domain::{
        Action, Columns, Effect, How, Kind, LegalBasis, Name, Policy, PurposeSlug, Role, Rule, Text, Timestamp, Who,
        Window,
    },
    policy::{Attributes, Question},
};

/// Texts that would break a cell, a row, a script or a matcher if they were taken for one.
pub(crate) const HOSTILE: [&str; 16] = [
    "health",
    "*",
    "|",
    "health|energy",
    "a,b",
    "\"",
    "#",
    "r.q",
    "p.eft",
    "",
    "allow\"; true",
    "`${r_q}`",
    "%",
    "~",
    "\u{0}\n",
    "é\u{202e}",
];

/// A question with everything of its own.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) who: Attributes,
    pub(crate) action: Action,
    pub(crate) purpose: Option<PurposeSlug>,
    pub(crate) columns: BTreeSet<String>,
    pub(crate) at: Timestamp,
    pub(crate) rule: Option<Name>,
}

impl Asked {
    pub(crate) fn question(&self) -> Question<'_> {
        Question {
            who: &self.who,
            purpose: self.purpose.as_ref(),
            action: self.action,
            columns: &self.columns,
            at: self.at,
            rule: self.rule.as_ref(),
        }
    }
}

pub(crate) fn name<T: FromStr<Err: fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(crate) fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

/// A rule about reading that asks for nothing else.
pub(crate) fn anyone(id: &str, effect: Effect) -> Rule {
    Rule {
        id: name(id),
        effect,
        actions: [Action::Read].into(),
        who: Who::default(),
        columns: Columns::All,
        purposes: BTreeSet::new(),
        legal_basis: Some(LegalBasis::PublicInterest),
        when: Vec::new(),
        how: How::default(),
        duties: Vec::new(),
        text: Text::default(),
    }
}

pub(crate) fn policy(rules: Vec<Rule>) -> Policy {
    Policy { dataset: name("chu.stays"), rules, floor: How::default() }
}

pub(crate) fn some_of<T: Clone + Ord + fmt::Debug + 'static>(from: Vec<T>) -> impl Strategy<Value = BTreeSet<T>> {
    btree_set(select(from), 0..3)
}

pub(crate) fn hostile_texts() -> impl Strategy<Value = BTreeSet<String>> {
    some_of(HOSTILE.map(str::to_owned).to_vec())
}

pub(crate) fn purposes() -> Vec<PurposeSlug> {
    ["research_and_development", "scientific_research", "epidemiological_research", "improve_healthcare", "marketing"]
        .map(name)
        .to_vec()
}

fn columns() -> Vec<String> {
    ["age", "cost", "commune", "a|b", "*"].map(str::to_owned).to_vec()
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
pub(crate) fn a_rule() -> impl Strategy<Value = Rule> {
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

pub(crate) fn a_policy() -> impl Strategy<Value = Policy> {
    prop::collection::vec(a_rule(), 0..5).prop_map(|mut rules| {
        for (index, rule) in rules.iter_mut().enumerate() {
            rule.id = name(&format!("r{index}"));
        }
        policy(rules)
    })
}

pub(crate) fn a_question() -> impl Strategy<Value = Asked> {
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
