//! What publishing a policy of 200 rules, the most that there may be, computes: checks, coverage, canonical form, engine.

use std::{hint::black_box, time::Duration};

use odh::{
    domain::{
        Access, Action, Column, ColumnRole, ColumnType, Columns, Dataset, DatasetState, Digest, Effect, Rule, Snapshot,
        SnapshotId, Timestamp,
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
        let plain =
            Rule { effect: Effect::Deny, columns, legal_basis: None, how: odh::domain::How::default(), ..rule.clone() };
        *rule = Rule { actions: [Action::Read].into(), ..plain };
    }
    let samples = Samples::of_thread(20, |_| {
        let findings = check(&document, &dataset, &vocabulary);
        black_box((findings, coverage(&document), document.digest()));
        black_box(CompiledPolicy::new(document.clone()).unwrap());
    });
    let bar = Duration::from_secs(1);
    table.time("publication with analysis, 200 rules, p99", samples.percentile(99), bar, &samples.summary());
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
