//! Answers with noise: what is in them, what is refused, and how a joint query with two such owners ends.

use odh::grpc::pb;
use tonic::Code;

use super::policies::{granted, granted_on, groups, privacy};
use crate::{
    harness::{Hub, on_both_engines},
    personas::{metadata, refused},
    world::{self, RESEARCH},
};

on_both_engines!(noisy_figures_are_near_the_truth_and_only_listed_groups_appear, two_owners_with_noise_are_not_joined);

fn generous() -> pb::Privacy {
    pb::Privacy { epsilon: "100".to_owned(), budget: "1000".to_owned(), total: "1000".to_owned(), ..privacy() }
}

fn noisy(privacy: pb::Privacy) -> pb::Rule {
    groups(pb::How { privacy: Some(privacy), ..Default::default() })
}

async fn noisy_figures_are_near_the_truth_and_only_listed_groups_appear(hub: &mut Hub) {
    let world = world::small(hub).await;
    let mut privacy = generous();
    let beyond = pb::Value { value: Some(pb::value::Value::Int64Value(99_999)) };
    privacy.groups.get_mut("commune").unwrap().values.push(beyond);
    granted(&world.steward, &world.requester, noisy(privacy)).await;
    world.steward.revoke_grant(&world.grant.name).await.unwrap();
    let sql = "select commune, count(*) n, count(distinct pid) people, avg(cost) mean from chu.stays group by commune";
    let rows = world.requester.query(RESEARCH, sql).await.unwrap().rows();
    assert_eq!(rows.len(), world::PLACES + 1);
    let figure = |row: &Vec<String>, at: usize| row[at].parse::<f64>().unwrap();
    for row in &rows[..world::PLACES] {
        // Each commune has a tenth of the subjects, with four stays each; the noise at this loss is about one.
        assert!((figure(row, 1) - 200.0).abs() < 20.0, "{row:?}");
        assert!((figure(row, 2) - 50.0).abs() < 20.0, "{row:?}");
        assert!((400.0..700.0).contains(&figure(row, 3)), "{row:?}");
    }
    // A group that nobody is in appears like any other, because the policy lists it.
    assert_eq!(rows[world::PLACES][0], "99999");
    assert!(figure(&rows[world::PLACES], 1).abs() < 20.0);

    for (sql, why) in [
        ("select age, count(*) from chu.stays group by age", "the policy lists"),
        ("select commune from chu.stays", "aggregates"),
        ("select sum(age) from chu.stays", "measure"),
        ("select count(distinct commune) from chu.stays", "subject key"),
        ("select count(*) from chu.stays a join chu.stays b on a.pid = b.pid", "joined with itself"),
        ("select count(*) from chu.stays union all select count(*) from chu.stays", "read once"),
        ("select max(cost) from chu.stays", "count, sum and avg"),
    ] {
        let status = refused(world.requester.query(RESEARCH, sql).await, Code::InvalidArgument, "QUERY_REJECTED");
        assert!(metadata(&status, "detail").contains(why), "{sql}: {}", metadata(&status, "detail"));
    }
    // A table that repeats a person would let time, memory and errors tell whether that person is there.
    let lab = world.lab.steward().await;
    lab.create_dataset("repeats", pb::AccessLevel::Open, Some(("pid", "regional"))).await.unwrap();
    lab.upload("repeats", format!("pid,v\n{}", "s00001,1\n".repeat(50))).await.unwrap();
    lab.publish(crate::policies::open_policy(&lab.dataset("repeats"))).await.unwrap();
    for by in ["", " where s.age > 1000"] {
        let sql = format!("select count(*) from chu.stays s join lab.repeats r on s.pid = r.pid{by}");
        let status = refused(world.requester.query(RESEARCH, &sql).await, Code::InvalidArgument, "QUERY_REJECTED");
        assert_eq!(metadata(&status, "rule"), "join_repeats");
    }
    // What is asked above the figures is computed on them.
    let above = "select count(*) from (select commune, count(*) n from chu.stays group by commune) where n > 100";
    refused(world.requester.query(RESEARCH, above).await, Code::InvalidArgument, "QUERY_REJECTED");
    let having =
        "select commune, count(*) n from chu.stays group by commune having count(*) > 100 order by n desc limit 3";
    assert_eq!(world.requester.query(RESEARCH, having).await.unwrap().rows().len(), 3);
}

async fn two_owners_with_noise_are_not_joined(hub: &mut Hub) {
    let world = world::small(hub).await;
    let grid = world.operator.welcome("grid", pb::ParticipantKind::Company).await.steward().await;
    grid.create_noted("meters", &[("kwh", pb::ColumnRole::Measure)]).await;
    grid.upload("meters", "pid,kwh\ns00001,10\ns00002,20\n").await.unwrap();
    granted(&world.steward, &world.requester, noisy(generous())).await;
    world.steward.revoke_grant(&world.grant.name).await.unwrap();
    let bounds = [("kwh".to_owned(), pb::Bounds { lower: 0, upper: 100 })].into();
    let mut rule = noisy(pb::Privacy { bounds, groups: [].into(), ..generous() });
    rule.columns = None;
    granted_on(&grid, &world.requester, "meters", rule).await;
    let sql = "select count(*) from chu.stays s join grid.meters m on s.pid = m.pid";
    let status = refused(world.requester.query(RESEARCH, sql).await, Code::InvalidArgument, "QUERY_REJECTED");
    assert_eq!(metadata(&status, "rule"), "privacy");
    world.requester.query(RESEARCH, "select sum(kwh) from grid.meters").await.unwrap();
}
