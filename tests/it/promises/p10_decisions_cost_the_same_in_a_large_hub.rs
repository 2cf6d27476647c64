//! P10: what a decision costs does not depend on how many datasets, participants or grants there are.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use odh::grpc::pb;

use crate::{
    harness::{Hub, on_both_engines},
    personas::Requester,
    world::{self, RESEARCH, World},
};

on_both_engines!(a_decision_among_a_thousand_datasets_costs_what_it_costs_among_ten);

/// Far above what noise does to the fastest of many, far below what a scan over everything would cost.
const MOST: u32 = 3;

async fn a_decision_among_a_thousand_datasets_costs_what_it_costs_among_ten(hub: &mut Hub) {
    let world = world::small(hub).await;
    grow(&world, 0..10).await;
    let small = fastest(&world.requester).await;
    grow(&world, 10..1_000).await;
    let large = fastest(&world.requester).await;
    println!("{:?}: {small:?} among 10 datasets, {large:?} among 1,000", hub.engine);
    assert!(large < small * MOST, "{small:?} among 10 datasets, {large:?} among 1,000");
}

/// Datasets with a request for access each, and members to go with them.
async fn grow(world: &World, numbers: std::ops::Range<usize>) {
    stream::iter(numbers)
        .for_each_concurrent(16, |number| async move {
            let created = world.steward.create_dataset(&format!("n{number}"), pb::AccessLevel::Restricted, None).await;
            created.unwrap();
            if number.is_multiple_of(20) {
                world.lab.requester().await;
            }
            if number.is_multiple_of(5) {
                world.requester.request_access(world::STAYS, pb::Action::Read, RESEARCH).await.unwrap();
            }
        })
        .await;
}

/// The fastest of many decisions: everything that a query needs but its execution.
async fn fastest(requester: &Requester) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..60 {
        let started = Instant::now();
        requester.explain(RESEARCH, "select count(*) from chu.stays").await.unwrap();
        best = best.min(started.elapsed());
    }
    best
}
