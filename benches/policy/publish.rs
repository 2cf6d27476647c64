//! What publishing a policy of 200 rules, the most that there may be, computes: checks, coverage, canonical form, engine.

use std::{hint::black_box, time::Duration};

use odh::{
    domain::{
        Access, Action, Column, ColumnRole, ColumnType, Columns, Dataset, DatasetState, Digest, Effect, How,
        LegalBasis, Policy, PurposeSlug, Rule, Snapshot, SnapshotId, Text, Timestamp, Vocabulary, Who, Window,
    },
    policy::{CompiledPolicy, check, coverage, vocabulary},
};

use crate::{
    decisions::policy,
    support::{Samples, Table},
};

const RULES: usize = 200;

pub(crate) fn measure(table: &mut Table) {
    let vocabulary = vocabulary::load().unwrap();
    let dataset = dataset();
    let mut document = policy(RULES);
    // Every fourth rule is a deny of part of what the others permit, so that the analysis has pairs to compare.
    for rule in document.rules.iter_mut().step_by(4) {
        let columns = Columns::Only(["cost".to_owned()].into());
        let plain = Rule { effect: Effect::Deny, columns, legal_basis: None, how: How::default(), ..rule.clone() };
        *rule = Rule { actions: [Action::Read].into(), ..plain };
    }
    let bar = Duration::from_secs(1);
    for (what, document) in [
        ("publication with analysis, 200 rules, p99", document),
        ("the same, 200 rules that cross in many ways, p99", crossing(&vocabulary)),
    ] {
        let samples = Samples::of_thread(20, |_| {
            let findings = check(&document, &dataset, &vocabulary);
            black_box((findings, coverage(&document), document.digest()));
            black_box(CompiledPolicy::new(document.clone()).unwrap());
        });
        table.time(what, samples.percentile(99), bar, &samples.summary());
    }
}

/// Rules about different parties, columns, purposes and times, most of them denies: much of what one could cover another
/// cuts across.
fn crossing(vocabulary: &Vocabulary) -> Policy {
    let purposes: Vec<PurposeSlug> = vocabulary.purposes().map(|purpose| purpose.slug.clone()).collect();
    let mut state = 7_u64;
    let mut roll = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut document = policy(RULES);
    for (index, rule) in document.rules.iter_mut().enumerate().skip(1) {
        let effect = if roll(3) == 0 { Effect::Permit } else { Effect::Deny };
        let from = i64::try_from(roll(20)).unwrap();
        *rule = Rule {
            id: format!("r{index}").parse().unwrap(),
            effect,
            actions: [Action::Read].into(),
            who: Who {
                accreditations: [format!("a{}", roll(12))].into(),
                countries: [["FR", "DE", "IT", "ES", "PL", "EU"][roll(6)].to_owned()].into(),
                ..Who::default()
            },
            columns: match roll(3) {
                0 => Columns::All,
                one => Columns::Only([["age", "cost", "commune"][one].to_owned()].into()),
            },
            purposes: [purposes[roll(purposes.len())].clone()].into(),
            legal_basis: (effect == Effect::Permit).then_some(LegalBasis::NotPersonal),
            when: vec![Window {
                from: Some(Timestamp::from_micros(from)),
                until: Some(Timestamp::from_micros(from + 20)),
            }],
            how: How::default(),
            duties: Vec::new(),
            text: Text::default(),
        };
    }
    document
}

fn dataset() -> Dataset {
    let at = Timestamp::from_micros(1_780_000_000_000_000);
    let column = |name: &str, data_type| Column {
        name: name.to_owned(),
        data_type,
        nullable: true,
        role: ColumnRole::Dimension,
        description: String::new(),
    };
    Dataset {
        id: "chu.stays".parse().unwrap(),
        title: String::new(),
        description: String::new(),
        licence: String::new(),
        attribution: String::new(),
        keywords: Vec::new(),
        synthetic: true,
        access: Access::Restricted,
        subject_key: None,
        column_notes: Vec::new(),
        state: DatasetState::Draft,
        snapshot: Some(Snapshot {
            id: SnapshotId::generate(at),
            dataset: "chu.stays".parse().unwrap(),
            columns: vec![
                column("age", ColumnType::Int64),
                column("cost", ColumnType::Int64),
                column("commune", ColumnType::String),
                column("diagnosis", ColumnType::String),
            ],
            rows: 1,
            bytes: 1,
            subjects: None,
            digest: Digest([0; 32]),
            source_digest: Digest([0; 32]),
            created_at: at,
        }),
        created_at: at,
        revision: 1,
    }
}
