//! `max_queries` and `rate`: counted with the decision, exactly, and shown to both parties.

use odh::grpc::pb;
use tonic::Code;

use super::policies::{granted, left, patiently, rows};
use crate::{
    harness::{Hub, on_both_engines},
    personas::{metadata, reason, refused},
    world::{self, RESEARCH},
};

on_both_engines!(
    a_hundred_parallel_queries_on_a_budget_of_seven_give_exactly_seven,
    a_refused_query_uses_nothing_up,
    a_rate_holds_over_all_grants_of_a_participant,
    limits_that_permit_nothing_are_not_published,
);

const COUNT: &str = "select count(*) from chu.stays";

async fn a_hundred_parallel_queries_on_a_budget_of_seven_give_exactly_seven(hub: &mut Hub) {
    let world = world::small(hub).await;
    let how = pb::How { max_queries: Some(7), ..Default::default() };
    let grant = granted(&world.steward, &world.requester, rows(how)).await;
    world.steward.revoke_grant(&world.grant.name).await.unwrap();
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let requester = world.requester.clone();
        asked.spawn(async move { patiently(&requester, COUNT).await });
    }
    let answers = asked.join_all().await;
    let given = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(given, 7);
    for refusal in answers.into_iter().filter_map(Result::err) {
        assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::ResourceExhausted, "QUERY_BUDGET_SPENT"));
        assert_eq!((metadata(&refusal, "dataset").as_str(), metadata(&refusal, "limit").as_str()), ("chu.stays", "7"));
    }
    for party in [&world.requester.0, &world.steward.0] {
        let used = left(party, &grant).await;
        assert_eq!((used.max_queries, used.queries), (Some(7), 7));
    }
    // Another grant has a budget of its own.
    let second = world.requester.request_access("chu.stays", pb::Action::Read, RESEARCH).await.unwrap();
    world.steward.approve(&second).await.unwrap();
    patiently(&world.requester, COUNT).await.unwrap();
    let stranger = world.operator.welcome("other", pb::ParticipantKind::Lab).await.requester().await;
    let request = pb::GetGrantUseRequest { name: grant.name };
    refused(stranger.client.privacy().get_grant_use(request).await, Code::NotFound, "NOT_FOUND_OR_DENIED");
}

async fn a_refused_query_uses_nothing_up(hub: &mut Hub) {
    let world = world::small(hub).await;
    let how = pb::How { max_queries: Some(1), ..Default::default() };
    let grant = granted(&world.steward, &world.requester, rows(how)).await;
    world.steward.revoke_grant(&world.grant.name).await.unwrap();
    for sql in ["select", "select nothing from chu.stays", "select count(*) from chu.stays, chu.elsewhere"] {
        refused(world.requester.query(RESEARCH, sql).await, Code::InvalidArgument, "QUERY_REJECTED");
    }
    world.requester.explain(RESEARCH, COUNT).await.unwrap();
    assert_eq!(left(&world.requester, &grant).await.queries, 0);
    world.requester.query(RESEARCH, COUNT).await.unwrap();
    assert_eq!(left(&world.requester, &grant).await.queries, 1);
}

async fn a_rate_holds_over_all_grants_of_a_participant(hub: &mut Hub) {
    let world = world::small(hub).await;
    let rates = vec![
        pb::Rate { queries: 3, per: pb::Interval::Hour.into() },
        pb::Rate { queries: 100, per: pb::Interval::Day.into() },
    ];
    let grant = granted(&world.steward, &world.requester, rows(pb::How { rates, ..Default::default() })).await;
    world.steward.revoke_grant(&world.grant.name).await.unwrap();
    let second = world.requester.request_access("chu.stays", pb::Action::Read, RESEARCH).await.unwrap();
    world.steward.approve(&second).await.unwrap();
    for _ in 0..3 {
        world.requester.query(RESEARCH, COUNT).await.unwrap();
    }
    let late = refused(world.requester.query(RESEARCH, COUNT).await, Code::ResourceExhausted, "QUERY_RATE_EXCEEDED");
    assert_eq!((metadata(&late, "limit").as_str(), metadata(&late, "seconds").as_str()), ("3", "3600"));
    let used = left(&world.steward, &grant).await;
    let of = |per: pb::Interval| used.rates.iter().find(|rate| rate.per() == per).unwrap();
    let (hour, day) = (of(pb::Interval::Hour), of(pb::Interval::Day));
    assert_eq!((hour.limit, hour.queries, day.limit), (3, 3, 100));
    assert!(hour.end_time.is_some());
    // What was refused by one interval was not counted in another either.
    assert_eq!(day.queries, 3);
}

async fn limits_that_permit_nothing_are_not_published(hub: &mut Hub) {
    let world = world::small(hub).await;
    let none = pb::Rate { queries: 0, per: pb::Interval::Hour.into() };
    for how in
        [pb::How { max_queries: Some(0), ..Default::default() }, pb::How { rates: vec![none], ..Default::default() }]
    {
        let policy = crate::policies::policy(&world.steward.dataset("stays"), vec![rows(how)]);
        refused(world.steward.publish(policy).await, Code::InvalidArgument, "POLICY_INVALID");
    }
}
