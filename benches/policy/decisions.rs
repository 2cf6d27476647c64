//! One decision: of the hub's roles among 100,000 memberships, and of usage rules with their trace.

use std::{collections::BTreeSet, hint::black_box, time::Duration};

use odh::{
    domain::{
        Action, Caller, Columns, Effect, How, Kind, LegalBasis, MemberId, Policy, Role, Rule, Text, Timestamp, Who,
        Window,
    },
    policy::{Act, Attributes, CompiledPolicy, Domain, Family, HubPolicy, Membership, Question, decide, vocabulary},
};

use crate::support::{Samples, Table};

const MEMBERSHIPS: usize = 100_000;
const RUNS: usize = 50_000;

/// What requesters and stewards do most, and what they may not do.
const ASKS: [(Family, Act); 6] = [
    (Family::Query, Act::Run),
    (Family::Dataset, Act::Discover),
    (Family::Access, Act::Decide),
    (Family::Audit, Act::Export),
    (Family::Consent, Act::Withdraw),
    (Family::Participant, Act::Approve),
];

pub(crate) fn hub(table: &mut Table) {
    let callers: Vec<_> = (0..MEMBERSHIPS).map(caller).collect();
    let memberships: Vec<_> = callers.iter().map(membership).collect();
    let policy = HubPolicy::new(callers[0].participant.clone(), &memberships, 1).unwrap();
    let mut permitted = 0;
    let samples = Samples::of_thread(RUNS, |index| {
        let caller = &callers[index * 7_919 % MEMBERSHIPS];
        let (family, act) = ASKS[index % ASKS.len()];
        let decided = policy.authorise(caller, Domain::Participant(&caller.participant), family, act);
        permitted += usize::from(black_box(decided).is_ok());
    });
    assert!(permitted > RUNS / 4, "{permitted} of {RUNS}");
    let bar = Duration::from_micros(100);
    table.time("hub authorisation at 100,000 memberships, p99", samples.percentile(99), bar, &samples.summary());
}

pub(crate) fn usage(table: &mut Table) {
    let vocabulary = vocabulary::load().unwrap();
    let who = attributes();
    let columns: BTreeSet<_> = ["age", "cost", "commune"].map(str::to_owned).into();
    let purpose = "epidemiological_research".parse().unwrap();
    for (rules, bar) in [(5, 50), (20, 150)] {
        let document = policy(rules);
        let compiled = CompiledPolicy::new(document.clone()).unwrap();
        let question = Question {
            who: &who,
            purpose: Some(&purpose),
            action: Action::Aggregate,
            columns: &columns,
            at: "2026-05-01".parse().unwrap(),
            rule: None,
        };
        let samples = Samples::of_thread(RUNS, |_| {
            let decision = decide(&compiled, black_box(&question), &vocabulary).unwrap();
            assert!(decision.permit.is_some() && decision.trace.len() == rules);
        });
        let path = format!("usage decision with trace, {rules} rules that all apply, p99");
        table.time(&path, samples.percentile(99), Duration::from_micros(bar), &samples.summary());
        let compile = Samples::of_thread(2_000, |_| {
            black_box(CompiledPolicy::new(document.clone()).unwrap());
        });
        table.note(&format!("compiling a policy of {rules} rules"), &compile.summary());
    }
}

/// A member of participant `p<index>`: a requester, or of every third one a steward.
pub(crate) fn caller(index: usize) -> Caller {
    let member = MemberId::generate(Timestamp::from_micros(1_780_000_000_000_000));
    Caller {
        roles: [if index.is_multiple_of(3) { Role::Steward } else { Role::Requester }].into(),
        sector: Some("health".to_owned()),
        accreditations: BTreeSet::from(["hds".to_owned()]),
        ..crate::caller::requester(member, format!("p{index}").parse().unwrap())
    }
}

pub(crate) fn membership(caller: &Caller) -> Membership {
    Membership { member: caller.member, participant: caller.participant.clone(), roles: caller.roles.clone() }
}

fn attributes() -> Attributes {
    Attributes::from(&caller(1))
}

/// Permits that all apply to [`attributes`] and state every clause: each is tried to its end.
pub(crate) fn policy(rules: usize) -> Policy {
    let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<BTreeSet<_>>();
    let rule = |index: usize| Rule {
        id: format!("r{index}").parse().unwrap(),
        effect: Effect::Permit,
        actions: [Action::Aggregate].into(),
        who: Who {
            organisations: ["irit", "laas", "p1"].map(|id| id.parse().unwrap()).into(),
            kinds: [Kind::Lab, Kind::PublicBody].into(),
            sectors: texts(&["health", "energy"]),
            countries: texts(&["EU"]),
            accreditations: texts(&["hds"]),
            roles: [Role::Requester].into(),
        },
        columns: Columns::Only(texts(&["age", "cost", "commune", "diagnosis"])),
        purposes: ["scientific_research", "academic_research"].map(|slug| slug.parse().unwrap()).into(),
        legal_basis: Some(LegalBasis::PublicInterest),
        when: vec![Window { from: Some("2026-01-01".parse().unwrap()), until: Some("2027-01-01".parse().unwrap()) }],
        how: How { aggregate_only: Some(11), max_rows: Some(1_000), ..How::default() },
        duties: Vec::new(),
        text: Text::default(),
    };
    Policy { dataset: "chu.stays".parse().unwrap(), rules: (0..rules).map(rule).collect(), floor: How::default() }
}
