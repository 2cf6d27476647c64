//! An answer on its way: it waits for its reader, and ends at once when it must.

use std::time::{Duration, Instant};

use arrow_flight::{CancelFlightInfoRequest, FlightData, FlightInfo};
use prost::Message as _;
use tonic::{Code, Status, Streaming};

use super::client::{colleague, requester, ticket};
use crate::{
    harness::{Hub, on_both_engines},
    personas::refused,
    world::{self, World},
};

on_both_engines!(
    a_running_answer_is_cut_when_its_grant_is_revoked,
    a_running_answer_is_cut_when_a_consent_is_withdrawn,
    a_running_answer_ends_when_its_flight_is_cancelled,
    a_reset_stream_frees_its_place_and_is_recorded,
);

/// Tens of megabytes: it does not fit into the buffers between hub and reader.
const LONG: &str = "select a.pid, b.pid as other, a.diagnosis || '-' || b.diagnosis as pair, a.cost, b.cost as price, a.age \
                    from chu.stays a join chu.stays b on a.commune = b.commune";
/// A reader that takes its time, so that the whole answer takes longer than the cut may.
const PAUSE: Duration = Duration::from_millis(25);

async fn a_running_answer_is_cut_when_its_grant_is_revoked(hub: &mut Hub) {
    let world = world::small(hub).await;
    let (_, running) = start(&world).await;
    world.steward.revoke_grant(&world.grant.name).await.unwrap();
    ends(running, Code::Aborted, "QUERY_CUT").await;
}

async fn a_running_answer_is_cut_when_a_consent_is_withdrawn(hub: &mut Hub) {
    let world = world::small(hub).await;
    let (_, running) = start(&world).await;
    world.steward.withdraw("stays", &[world::subject(1)]).await;
    ends(running, Code::Aborted, "QUERY_CUT").await;
}

async fn a_running_answer_ends_when_its_flight_is_cancelled(hub: &mut Hub) {
    let world = world::small(hub).await;
    let (info, running) = start(&world).await;
    let body = CancelFlightInfoRequest { info: Some(info) }.encode_to_vec();
    let colleague = colleague(&world.lab).await;
    refused(colleague.act("CancelFlightInfo", body.clone()).await, Code::NotFound, "NOT_FOUND_OR_DENIED");
    requester(&world.requester).await.act("CancelFlightInfo", body).await.unwrap();
    ends(running, Code::Cancelled, "QUERY_CANCELLED").await;
}

async fn a_reset_stream_frees_its_place_and_is_recorded(hub: &mut Hub) {
    let world = world::small(hub).await;
    let most = hub.config.query.concurrent_per_caller;
    let mut running = Vec::new();
    for _ in 0..most {
        running.push(start(&world).await.1);
    }
    let flight = requester(&world.requester).await;
    let one_more = flight.info("select name from chu.communes").await.unwrap();
    refused(flight.get(&ticket(&one_more)).await, Code::ResourceExhausted, "OVERLOADED");
    running.clear();
    let query = || async { flight.query("select name from chu.communes").await.ok() };
    crate::harness::eventually("places are free again", Duration::from_secs(5), query).await;
    let ended = || async {
        let entries = world.auditor.entries("").await;
        let cancelled = entries.iter().filter(|(_, entry)| entry["f"]["end"] == "cancelled").count();
        (cancelled >= most).then_some(())
    };
    crate::harness::eventually("each is recorded", Duration::from_secs(5), ended).await;
}

/// A long answer of which the beginning was read.
async fn start(world: &World) -> (FlightInfo, Streaming<FlightData>) {
    let flight = requester(&world.requester).await;
    let info = flight.info(LONG).await.unwrap();
    let mut messages = flight.fetch(&ticket(&info)).await.unwrap().into_inner();
    while messages.message().await.unwrap().unwrap().data_body.is_empty() {}
    (info, messages)
}

/// Reads on, slowly: what still comes was on its way, then comes the end, within a second.
async fn ends(mut messages: Streaming<FlightData>, code: Code, reason: &str) {
    let since = Instant::now();
    let end: Status = loop {
        match messages.message().await {
            Ok(Some(_)) => tokio::time::sleep(PAUSE).await,
            Ok(None) => panic!("the answer went on to its end"),
            Err(status) => break status,
        }
    };
    let took = since.elapsed();
    refused::<()>(Err(end), code, reason);
    assert!(took < Duration::from_secs(1), "ended after {took:?}");
}
