//! Usage decisions against Cedar, whose semantics (deny by default, deny wins, the order of policies is of no account)
//! is proven, and against the hub's own rules in plain Rust: the three must agree on every policy and question, on
//! which rules apply, and on hostile texts.

use std::collections::{BTreeSet, HashSet};

use cedar_policy::{
    Authorizer, Context, Decision as Verdict, Entities, Entity, EntityUid, PolicyId, PolicySet, Request,
    RestrictedExpression,
};
use odh::{
    domain::{self, Action, Columns, Effect, Policy, Rule, RuleOutcome, Vocabulary},
    policy::{self, CompiledPolicy, vocabulary},
};
use proptest::{strategy::Strategy as _, strategy::ValueTree as _, test_runner::TestRunner};

#[path = "../../../src/policy/usage/generate.rs"]
mod generate;
#[path = "../../../src/policy/usage/reference.rs"]
mod reference;

use generate::Asked;

const POLICIES: usize = 5_000;
const QUESTIONS: usize = 5;

const EU: &str = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK";

#[test]
fn casbin_the_plain_rust_reference_and_cedar_decide_alike() {
    let vocabulary = vocabulary::load().unwrap();
    let entities = entities(&vocabulary);
    let (policies, questions) = (generate::a_policy(), generate::a_question());
    let mut runner = TestRunner::deterministic();
    let (mut permitted, mut denied, mut unknown) = (0, 0, 0);
    for _ in 0..POLICIES {
        let policy = policies.new_tree(&mut runner).unwrap().current();
        let compiled = CompiledPolicy::new(policy.clone()).unwrap();
        let cedar = export(&policy);
        for _ in 0..QUESTIONS {
            let asked = questions.new_tree(&mut runner).unwrap().current();
            let decision = policy::decide(&compiled, &asked.question(), &vocabulary).unwrap();
            let (governing, trace) = reference::evaluate(&policy, &asked.question(), &vocabulary);
            assert_eq!(decision.permit.as_ref().map(|permit| &permit.rule), governing.as_ref(), "{policy:?} {asked:?}");
            assert_eq!(decision.trace, trace, "{policy:?} {asked:?}");

            let answer = Authorizer::new().is_authorized(&request(&asked, &vocabulary), &cedar, &entities);
            assert_eq!(answer.diagnostics().errors().count(), 0, "{answer:?}");
            let reasons: BTreeSet<String> = answer.diagnostics().reason().map(ToString::to_string).collect();
            let of = |wanted: fn(&RuleOutcome) -> bool| -> BTreeSet<String> {
                trace.iter().filter(|rule| wanted(&rule.outcome)).map(|rule| rule.rule.to_string()).collect()
            };
            let denies = of(|outcome| matches!(outcome, RuleOutcome::Denies | RuleOutcome::Unknown));
            let permits = of(|outcome| *outcome == RuleOutcome::Permits);
            // What Cedar says determined its answer is what the trace says.
            assert_eq!(reasons, if denies.is_empty() { permits } else { denies.clone() }, "{policy:?} {asked:?}");
            let cited = asked.rule.as_ref().is_none_or(|rule| reasons.contains(rule.as_str()));
            let allows = answer.decision() == Verdict::Allow && cited;
            assert_eq!(decision.permit.is_some(), allows, "{policy:?} {asked:?} {answer:?}");

            permitted += usize::from(allows);
            denied += usize::from(!denies.is_empty());
            unknown += usize::from(trace.iter().any(|rule| rule.outcome == RuleOutcome::Unknown));
        }
    }
    let all = POLICIES * QUESTIONS;
    println!("{all} decisions alike: {permitted} permitted, {denied} by a deny ({unknown} of an unknown attribute)");
    assert!(permitted > all / 20 && denied > all / 20 && unknown > 100);
}

/// Each rule as one Cedar policy under its own id.
fn export(policy: &Policy) -> PolicySet {
    let mut set = PolicySet::new();
    for rule in &policy.rules {
        let effect = if rule.effect == Effect::Permit { "permit" } else { "forbid" };
        let text = format!("{effect}(principal, action, resource) when {{ {} }};", conditions(rule).join(" && "));
        let policy = cedar_policy::Policy::parse(Some(PolicyId::new(rule.id.as_str())), &text);
        set.add(policy.unwrap_or_else(|e| panic!("{text}: {e}"))).unwrap();
    }
    set
}

fn conditions(rule: &Rule) -> Vec<String> {
    let permit = rule.effect == Effect::Permit;
    // What is missing from the context misses a permit and fires a deny.
    let known = |attribute: &str, test: String| {
        if permit {
            format!("(context has {attribute} && {test})")
        } else {
            format!("(!(context has {attribute}) || {test})")
        }
    };
    let who = &rule.who;
    let mut all = vec![format!("{}.contains(context.action)", set(actions(rule)))];
    if !who.organisations.is_empty() {
        let all_of = list(who.organisations.iter().map(|id| format!("Participant::{}", literal(id.as_str()))));
        all.push(format!("principal in {all_of}"));
    }
    if !who.kinds.is_empty() {
        let test = format!("{}.contains(context.kind)", set(who.kinds.iter().map(|kind| kind.as_str())));
        all.push(known("kind", test));
    }
    if !who.sectors.is_empty() {
        all.push(known("sector", format!("{}.contains(context.sector)", set(&who.sectors))));
    }
    if !who.countries.is_empty() {
        let countries = list(who.countries.iter().map(|country| format!("Country::{}", literal(country))));
        all.push(known("country", format!("context.country in {countries}")));
    }
    if !who.accreditations.is_empty() {
        all.push(known("accreditations", format!("context.accreditations.containsAll({})", set(&who.accreditations))));
    }
    if !who.roles.is_empty() {
        let roles = set(who.roles.iter().map(|role| role.as_str()));
        all.push(known("roles", format!("context.roles.containsAny({roles})")));
    }
    if let Columns::Only(columns) = &rule.columns {
        all.push(if permit {
            format!("(context.discovers || {}.containsAll(context.columns))", set(columns))
        } else {
            format!("(!context.discovers && {}.containsAny(context.columns))", set(columns))
        });
    }
    let purposes = list(rule.purposes.iter().map(|purpose| format!("Purpose::{}", literal(purpose.as_str()))));
    match (permit, rule.purposes.is_empty()) {
        (true, true) => all.push("(context.discovers || context has purpose)".to_owned()),
        (true, false) => {
            all.push(format!("(context.discovers || (context has purpose && context.purpose in {purposes}))"));
        }
        (false, true) => {}
        (false, false) => {
            all.push(format!("(!context.discovers && (!(context has purpose) || context.purpose in {purposes}))"));
        }
    }
    if !rule.when.is_empty() {
        let windows = rule.when.iter().map(|window| {
            let from = window.from.map_or("true".to_owned(), |from| format!("context.at >= {}", from.micros()));
            let until = window.until.map_or("true".to_owned(), |until| format!("context.at < {}", until.micros()));
            format!("({from} && {until})")
        });
        all.push(format!("({})", windows.collect::<Vec<_>>().join(" || ")));
    }
    all
}

/// The actions of a rule with those that it implies, written out.
fn actions(rule: &Rule) -> BTreeSet<&'static str> {
    let implied = |action: &Action| match (rule.effect, action) {
        (_, Action::Discover) => vec!["discover"],
        (Effect::Permit, Action::Download) => vec!["download", "read", "aggregate"],
        (Effect::Permit, Action::Read) => vec!["read", "aggregate"],
        (Effect::Permit, Action::Aggregate) => vec!["aggregate"],
        (Effect::Deny, Action::Aggregate) => vec!["aggregate", "read", "download"],
        (Effect::Deny, Action::Read) => vec!["read", "download"],
        (Effect::Deny, Action::Download) => vec!["download"],
    };
    rule.actions.iter().flat_map(implied).collect()
}

/// A string literal in which nothing but letters and digits stands for itself.
fn literal(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        c if c.is_ascii_alphanumeric() => c.to_string(),
        c => format!("\\u{{{:x}}}", u32::from(c)),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

fn set<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    list(texts.into_iter().map(|text| literal(text.as_ref())))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// Purposes below purposes, and the countries of the EU.
fn entities(vocabulary: &Vocabulary) -> Entities {
    let bare = |uid: EntityUid, parents: HashSet<EntityUid>| Entity::new_no_attrs(uid, parents);
    let mut all: Vec<Entity> = vocabulary
        .purposes()
        .map(|purpose| {
            let parents = purpose.parents.iter().map(|parent| uid("Purpose", parent.as_str())).collect();
            bare(uid("Purpose", purpose.slug.as_str()), parents)
        })
        .collect();
    all.push(bare(uid("Country", "EU"), HashSet::new()));
    all.extend(EU.split(' ').map(|country| bare(uid("Country", country), HashSet::from([uid("Country", "EU")]))));
    Entities::from_entities(all, None).unwrap()
}

fn request(asked: &Asked, vocabulary: &Vocabulary) -> Request {
    let string = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let strings = |texts: Vec<&str>| RestrictedExpression::new_set(texts.into_iter().map(string));
    let who = &asked.who;
    let mut context = vec![
        ("action", string(asked.action.as_str())),
        ("discovers", RestrictedExpression::new_bool(asked.action == Action::Discover)),
        ("columns", strings(asked.columns.iter().map(String::as_str).collect())),
        ("at", RestrictedExpression::new_long(asked.at.micros())),
    ];
    context.extend(who.kind.map(|kind| ("kind", string(kind.as_str()))));
    context.extend(who.sector.as_ref().map(|sector| ("sector", string(sector))));
    let entity = |kind: &str, id: &str| RestrictedExpression::new_entity_uid(uid(kind, id));
    context.extend(who.country.as_ref().map(|country| ("country", entity("Country", country))));
    let accreditations = who.accreditations.as_ref();
    context.extend(accreditations.map(|all| ("accreditations", strings(all.iter().map(String::as_str).collect()))));
    let roles = who.roles.as_ref();
    context.extend(roles.map(|all| ("roles", strings(all.iter().map(|role| role.as_str()).collect()))));
    let purpose = asked.purpose.as_ref().filter(|purpose| vocabulary.require(purpose).is_ok());
    context.extend(purpose.map(|purpose| ("purpose", entity("Purpose", purpose.as_str()))));
    let context = Context::from_pairs(context.into_iter().map(|(name, value)| (name.to_owned(), value))).unwrap();
    Request::new(
        uid("Participant", who.participant.as_str()),
        uid("Action", asked.action.as_str()),
        uid("Dataset", "chu.stays"),
        context,
        None,
    )
    .unwrap()
}

fn uid(kind: &str, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.parse().unwrap(), cedar_policy::EntityId::new(id))
}
