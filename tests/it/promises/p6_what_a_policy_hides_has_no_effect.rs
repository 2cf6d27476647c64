//! P6: two datasets that differ only in what the policy hides in both answer the same, byte for byte.

use std::fmt::Write as _;

use odh::grpc::pb;
use tonic::Status;

use crate::{
    harness::{Hub, on_both_engines},
    personas::{Answer, Requester},
    policies::{at_least, only, permit, policy, prefix},
    world::{self, RESEARCH, World},
};

on_both_engines!(
    hidden_rows_values_and_columns_do_not_show_in_any_answer,
    small_groups_do_not_show_in_any_aggregate,
    nothing_hidden_shows_in_an_explanation,
    an_explanation_names_no_column_that_does_not_exist_for_the_caller,
);

/// What the policy lets through is the same in both; what it hides is as different as can be.
///
/// Hidden are: rows with a cost below 100, rows of subjects without consent, all of the diagnosis but its first
/// letter, and the column `secret`.
fn neighbour(hidden: Hidden) -> String {
    let mut csv = "pid,commune,age,diagnosis,cost,secret\n".to_owned();
    for row in 0..400_u16 {
        let number = usize::from(row % 100);
        if !world::consented(number) {
            continue;
        }
        let rest = if hidden == Hidden::Plain { "45" } else { "99.9 divide by zero" };
        let secret = if hidden == Hidden::Plain { 1 } else { 9_000_000_000_i64 - i64::from(row) };
        let (pid, place, age, cost) = (world::subject(number), 31_001 + number % 4, 20 + number % 60, 100 + row);
        writeln!(csv, "{pid},{place},{age},J{rest},{cost},{secret}").unwrap();
    }
    for row in 0..if hidden == Hidden::Plain { 10 } else { 300_u16 } {
        // Filtered: extremes that statistics, overflows and casts would betray.
        let (age, cost) = if hidden == Hidden::Plain { (30, 50) } else { (0, -9_000_000_000_i64 + i64::from(row)) };
        writeln!(csv, "{},{},{age},ZZ,{cost},7", world::subject(usize::from(1 + row % 9)), 99_000 + u32::from(row))
            .unwrap();
        // Without consent.
        writeln!(
            csv,
            "{},{},{age},ZZ,{},7",
            world::subject(usize::from(10 * (row % 10))),
            98_000 + u32::from(row),
            5_000 + row
        )
        .unwrap();
    }
    csv
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hidden {
    Plain,
    Extreme,
}

/// Answers that must not differ: rows, order, bytes, or the refusal.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Answer(Vec<Vec<String>>, Vec<u8>),
    Refused(String),
}

impl Seen {
    fn of(answer: Result<Answer, Status>, table: &str) -> Self {
        let plain = |text: &str| text.replace(table, "chu.near");
        match answer {
            // A column without a name of its own is named after the table; both names are of one length.
            Ok(answer) => Self::Answer(answer.rows(), replace(&answer.ipc, table.as_bytes(), b"chu.near_x")),
            // A failure has an id of its own; everything else must be the same.
            Err(status) if crate::personas::reason(&status) == "QUERY_FAILED" => {
                Self::Refused("QUERY_FAILED".to_owned())
            }
            Err(status) => Self::Refused(plain(&crate::personas::all_of(&status))),
        }
    }
}

async fn hidden_rows_values_and_columns_do_not_show_in_any_answer(hub: &mut Hub) {
    let world = world::small(hub).await;
    neighbours(&world, pb::Action::Read, None).await;
    for sql in [
        "select * from T order by pid, cost",
        "select count(*), min(cost), max(cost), min(age), max(age) from T",
        "select diagnosis, count(*) from T group by diagnosis order by 1",
        "select commune, count(*) from T group by commune order by 1",
        "select count(distinct pid), count(distinct commune) from T",
        "select pid from T where cost < 100",
        "select count(*) from T where diagnosis like '%divide%'",
        "select 1 / (age - 0) from T order by 1",
        "select cast(diagnosis as int) from T",
        "select cost * 3000000000 from T order by 1",
        "select sum(cost * 1000000000) from T",
        "select secret from T",
        "select max(secret) from T",
        "select pid from T order by cost limit 3",
        "select pid, cost from T order by cost desc limit 3 offset 2",
        "select a.pid from T a join T b on a.pid = b.pid and a.cost < b.cost order by 1 limit 20",
        "select pid from T where commune > 97999",
        "select pid, row_number() over (order by cost, pid) from T order by 2",
        "select avg(cost), stddev(cost) from T",
    ] {
        same(&world.requester, sql).await;
    }
}

async fn small_groups_do_not_show_in_any_aggregate(hub: &mut Hub) {
    let world = world::small(hub).await;
    neighbours(&world, pb::Action::Aggregate, Some(5)).await;
    for sql in [
        "select count(*) from T",
        "select commune, count(*), sum(cost) from T group by commune order by 1",
        "select age, count(*) from T group by age order by 1",
        "select commune, min(cost), max(cost) from T group by commune order by 1",
        "select commune, avg(cost) from T where age > 30 group by commune order by 1",
        "select count(*) from T where commune >= 98000",
        "select pid, count(*) from T group by pid",
        "select pid from T",
        "select secret, count(*) from T group by secret",
    ] {
        same(&world.requester, sql).await;
    }
}

async fn nothing_hidden_shows_in_an_explanation(hub: &mut Hub) {
    let world = world::small(hub).await;
    neighbours(&world, pb::Action::Read, None).await;
    let mut seen = Vec::new();
    for table in TABLES {
        let explained = world.requester.explain(RESEARCH, &format!("select * from {table}")).await.unwrap();
        let Some(pb::explain_query_response::Result::Explanation(mut explanation)) = explained.result else {
            panic!("{explained:?}")
        };
        let uses = explanation.datasets[0].dataset_use.as_mut().unwrap();
        assert_eq!(uses.table, table);
        *uses = pb::DatasetUse { rule: uses.rule.clone(), legal_basis: uses.legal_basis, ..Default::default() };
        assert!(!explanation.datasets[0].columns.contains(&"secret".to_owned()));
        seen.push(explanation);
    }
    assert_eq!(seen[0], seen[1]);
}

async fn an_explanation_names_no_column_that_does_not_exist_for_the_caller(hub: &mut Hub) {
    let world = world::small(hub).await;
    for (columns, shown) in
        [(&["pid", "age"][..], "age >= 30"), (&["pid", "cost"], "(hidden)"), (&["pid", "age", "cost"], "age >= 30")]
    {
        let rule = pb::Rule {
            columns: Some(only(columns)),
            how: Some(pb::How { row_filter: Some(at_least("age", 30)), ..Default::default() }),
            ..permit("near", &[pb::Action::Read], &[RESEARCH])
        };
        world.steward.publish(policy(&world.steward.dataset("stays"), vec![rule])).await.unwrap();
        let asked = world.requester.request_access("chu.stays", pb::Action::Read, RESEARCH).await.unwrap();
        let grant = world.steward.approve(&asked).await.unwrap();
        world.steward.revoke_grant(&world.grant.name).await.ok();
        let explained = world.requester.explain(RESEARCH, "select count(*) from chu.stays").await.unwrap();
        let Some(pb::explain_query_response::Result::Explanation(explanation)) = explained.result else {
            panic!("{explained:?}")
        };
        assert_eq!(explanation.datasets[0].row_filter, shown, "{columns:?}");
        world.steward.revoke_grant(&grant.name).await.unwrap();
    }
}

const TABLES: [&str; 2] = ["chu.near_a", "chu.near_b"];

/// Both datasets, published under the same rule, with consents and the lab's grants.
async fn neighbours(world: &World, action: pb::Action, k: Option<u32>) {
    for (id, hidden) in [("near_a", Hidden::Plain), ("near_b", Hidden::Extreme)] {
        let steward = &world.steward;
        steward.create_noted(id, &[("commune", pb::ColumnRole::Key), ("age", pb::ColumnRole::Dimension)]).await;
        steward.upload(id, neighbour(hidden)).await.unwrap();
        let rule = pb::Rule {
            columns: Some(only(&["pid", "commune", "age", "diagnosis", "cost"])),
            legal_basis: pb::LegalBasis::Consent.into(),
            how: Some(pb::How {
                row_filter: Some(at_least("cost", 100)),
                masks: [("diagnosis".to_owned(), prefix(1))].into(),
                aggregate_only: k.map(|k| pb::AggregateOnly { k }),
                ..Default::default()
            }),
            ..permit("near", &[action], &[RESEARCH])
        };
        steward.publish(policy(&steward.dataset(id), vec![rule])).await.unwrap();
        let mut consents = "subject,purpose,status\n".to_owned();
        for number in (0..100).filter(|number| world::consented(*number)) {
            writeln!(consents, "{},{RESEARCH},given", world::subject(number)).unwrap();
        }
        steward.import_consents(id, consents).await.unwrap();
        let asked = world.requester.request_access(&format!("chu.{id}"), action, RESEARCH).await.unwrap();
        steward.approve(&asked).await.unwrap();
    }
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut out = bytes.to_vec();
    for at in 0..=out.len().saturating_sub(from.len()) {
        if out[at..].starts_with(from) {
            out[at..at + from.len()].copy_from_slice(to);
        }
    }
    out
}

async fn same(requester: &Requester, sql: &str) {
    let mut seen = Vec::new();
    for table in TABLES {
        seen.push(Seen::of(requester.query(RESEARCH, &sql.replace('T', table)).await, table));
    }
    assert!(seen[0] == seen[1], "`{sql}` tells the neighbours apart: {:?} and {:?}", seen[0], seen[1]);
}
