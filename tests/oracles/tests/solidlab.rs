//! The ODRL test suite of SolidLab (68 cases, Turtle) against the usage evaluator, compared by activation state.
//!
//! Two numbers. A case is inside the profile if its policy and request say nothing that the hub has no words for; it
//! then goes through the ODRL export and import like any policy. Every case, inside or not, is also fed to the evaluator
//! by an adapter that lends it what the model lacks: ODRL's actions as a hierarchy of purposes, targets as columns,
//! party collections as accreditations. The adapter is a test; import is never widened for it.
//!
//! `solidlab.tsv` has both numbers and each case that comes out differently, with the reason. `UPDATE_GOLDEN=1` writes
//! it anew.

mod conformance;
mod suite;

use std::{collections::BTreeSet, env, fmt::Write as _, fs, path::Path};

use odh::{
    domain::{Action, Columns, Effect, How, Policy, PurposeSlug, Rule, RuleOutcome, Text, Vocabulary, Who, Window},
    policy::{
        Attributes, CompiledPolicy, Question, decide,
        odrl::{from_odrl, to_odrl},
        vocabulary,
    },
};
use suite::{Case, Times, local};

/// Why a case may come out differently.
const KNOWN: [(&str, &str); 1] =
    [("testcase-061-violated", "the hub records duties and does not follow their performance (P8)")];

#[test]
fn solidlab() {
    let Some(folder) = conformance::folder("odrl-test-suite") else { return };
    let cases = suite::read(&folder.join("data"));
    assert_eq!(cases.len(), 68);
    let (mut inside, mut agree_inside, mut agree, mut different) = (0, 0, 0, String::new());
    for case in &cases {
        if let Some(active) = through_the_profile(case) {
            inside += 1;
            agree_inside += usize::from(active == case.active);
            assert_eq!(active, adapted(case), "{}: both ways decide alike", case.name);
        }
        let active = adapted(case);
        agree += usize::from(active == case.active);
        if active != case.active {
            let why = KNOWN.iter().find(|(name, _)| *name == case.name).map_or("unknown", |(_, why)| why);
            writeln!(different, "{}\t{}\t{}\t{why}", case.name, state(case.active), state(active)).unwrap();
        }
    }
    println!(
        "SolidLab ODRL test suite, by activation state: {inside} of 68 cases lie inside the profile, {agree_inside} of \
              them come out as expected; {agree} of 68 through the adapter"
    );
    let table = format!(
        "# SolidLab ODRL test suite by activation state\ncases inside the profile\t{inside}\nof them as expected\t\
         {agree_inside}\nas expected through the adapter\t{agree}\ncase\texpected\there\twhy\n{different}"
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("solidlab.tsv");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &table).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), table);
}

fn state(active: bool) -> &'static str {
    if active { "Active" } else { "Inactive" }
}

/// Whether the case's rule is active when its policy has gone out and in as ODRL; none if the profile has no words for
/// the case: another action than to read, no target or another one than is asked for, a collection, a duty.
fn through_the_profile(case: &Case) -> Option<bool> {
    let (rule, asked) = (&case.rule, &case.request);
    let read = |action: &Option<String>| action.as_deref().is_some_and(|action| local(action) == "read");
    let expressible = read(&rule.action)
        && local(&asked.action) == "read"
        && rule.target.as_ref() == Some(&asked.target)
        && !rule.target_is_collection
        && !rule.assignee_is_collection
        && rule.duties == 0;
    if !expressible {
        return None;
    }
    let words = vocabulary::load().unwrap();
    let purpose = words.purposes().next()?.slug.clone();
    let who = Who { organisations: rule.assignee.iter().map(|party| name(party)).collect(), ..Who::default() };
    let policy = Policy {
        dataset: format!("solidlab.{}", local(&asked.target)).parse().unwrap(),
        rules: vec![Rule { who, ..bare(case) }],
        floor: How::default(),
    };
    let again = from_odrl(&to_odrl(&policy, &words).unwrap().to_string(), &words).unwrap();
    assert_eq!(again, policy, "{}", case.name);
    let attributes = attributes(case, BTreeSet::new());
    Some(active(again, &attributes, &purpose, &BTreeSet::new(), case, &words))
}

/// Whether the case's rule is active, with everything that the model lacks lent to it.
fn adapted(case: &Case) -> bool {
    let (rule, asked) = (&case.rule, &case.request);
    let mut who = Who::default();
    match &rule.assignee {
        Some(party) if rule.assignee_is_collection => who.accreditations = [local(party)].into(),
        Some(party) => who.organisations = [name(party)].into(),
        None => {}
    }
    let columns = match &rule.target {
        Some(target) if rule.target_is_collection => Columns::Only(case.members(target)),
        Some(target) => Columns::Only([local(target)].into()),
        None => Columns::All,
    };
    let purposes = rule.action.iter().map(|action| name(action)).collect();
    let policy = Policy {
        dataset: "solidlab.suite".parse().unwrap(),
        rules: vec![Rule { who, columns, purposes, ..bare(case) }],
        floor: How::default(),
    };
    let attributes = attributes(case, case.collections(&asked.assignee));
    active(policy, &attributes, &name(&asked.action), &[local(&asked.target)].into(), case, &suite::actions())
}

/// The rule's effect and times, about everything and everyone.
fn bare(case: &Case) -> Rule {
    Rule {
        id: "rule".parse().unwrap(),
        effect: if case.rule.permission { Effect::Permit } else { Effect::Deny },
        actions: [Action::Read].into(),
        who: Who::default(),
        columns: Columns::All,
        purposes: BTreeSet::new(),
        legal_basis: case.rule.permission.then_some(odh::domain::LegalBasis::NotPersonal),
        when: match &case.rule.times {
            Times::Always => Vec::new(),
            // At no time: a window that is empty.
            Times::In(windows) if windows.is_empty() => {
                vec![Window { from: Some(case.now), until: Some(case.now) }]
            }
            Times::In(windows) => windows.clone(),
        },
        how: How::default(),
        duties: Vec::new(),
        text: Text::default(),
    }
}

fn attributes(case: &Case, accreditations: BTreeSet<String>) -> Attributes {
    Attributes {
        participant: name(&case.request.assignee),
        kind: None,
        sector: None,
        country: None,
        accreditations: Some(accreditations),
        roles: None,
    }
}

fn active(
    policy: Policy,
    who: &Attributes,
    purpose: &PurposeSlug,
    columns: &BTreeSet<String>,
    case: &Case,
    words: &Vocabulary,
) -> bool {
    let question = Question { who, purpose: Some(purpose), action: Action::Read, columns, at: case.now, rule: None };
    let decision = decide(&CompiledPolicy::new(policy).unwrap(), &question, words);
    let [trace] = &decision.unwrap().trace[..] else { panic!("{}: one rule", case.name) };
    trace.outcome != RuleOutcome::Misses
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(iri: &str) -> T {
    local(iri).parse().unwrap()
}
