//! A ticket is good once, for whom it was given to, for a while, and for what still holds.

use arrow_flight::{
    Ticket,
    sql::{CommandStatementQuery, ProstMessageExt as _, TicketStatementQuery},
};
use prost::Message as _;
use tonic::Code;

use super::client::{colleague, requester, ticket};
use crate::{
    harness::{Hub, on_both_engines},
    personas::{metadata, refused},
    world::{self, RESEARCH},
};

on_both_engines!(
    a_ticket_is_good_once_and_for_its_member,
    what_is_revoked_between_ticket_and_answer_is_refused,
    a_dataset_with_other_columns_is_not_what_was_announced,
    a_member_has_so_many_tickets,
    a_cancelled_ticket_is_worth_nothing,
);

const ROWS: &str = "select pid, cost from chu.stays";

async fn a_ticket_is_good_once_and_for_its_member(hub: &mut Hub) {
    let world = world::small(hub).await;
    let flight = requester(&world.requester).await;
    let first = ticket(&flight.info(ROWS).await.unwrap());
    let colleague = colleague(&world.lab).await;
    let nonsense = |handle: &'static [u8]| {
        Ticket::new(TicketStatementQuery { statement_handle: handle.into() }.as_any().encode_to_vec())
    };
    let mut answers = vec![refused(colleague.get(&first).await, Code::NotFound, "NOT_FOUND_OR_DENIED")];
    // The attempt of another costs its holder nothing.
    flight.get(&first).await.unwrap();
    answers.push(refused(flight.get(&first).await, Code::NotFound, "NOT_FOUND_OR_DENIED"));
    answers.push(refused(flight.get(&nonsense(b"")).await, Code::NotFound, "NOT_FOUND_OR_DENIED"));
    answers.push(refused(flight.get(&nonsense(&[255; 300])).await, Code::NotFound, "NOT_FOUND_OR_DENIED"));
    assert!(answers.iter().all(|answer| answer.message() == answers[0].message()), "they answer alike: {answers:?}");
    // What is no ticket at all; a query is none.
    refused(flight.get(&Ticket::new("nonsense")).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    let query = CommandStatementQuery { query: ROWS.to_owned(), transaction_id: None };
    let query = Ticket::new(query.as_any().encode_to_vec());
    refused(flight.get(&query).await, Code::Unimplemented, "UNIMPLEMENTED");
    // Another ticket of the same query is another answer.
    let two = [flight.info(ROWS).await.unwrap(), flight.info(ROWS).await.unwrap()].map(|info| ticket(&info));
    assert_ne!(two[0], two[1]);
    let asked = (flight.get(&two[0]), flight.get(&two[1]));
    let (one, other) = tokio::join!(asked.0, asked.1);
    assert_eq!(one.unwrap().rows().len(), other.unwrap().rows().len());
}

async fn what_is_revoked_between_ticket_and_answer_is_refused(hub: &mut Hub) {
    let world = world::small(hub).await;
    let flight = requester(&world.requester).await;
    let held = ticket(&flight.info(ROWS).await.unwrap());
    let other = ticket(&flight.info("select name from chu.communes").await.unwrap());
    world.steward.revoke_grant(&world.grant.name).await.unwrap();
    refused(flight.get(&held).await, Code::PermissionDenied, "GRANT_REVOKED");
    refused(flight.info(ROWS).await, Code::PermissionDenied, "GRANT_REVOKED");
    world.operator.suspend("lab").await;
    refused(flight.get(&other).await, Code::PermissionDenied, "PARTICIPANT_NOT_ACTIVE");
}

async fn a_dataset_with_other_columns_is_not_what_was_announced(hub: &mut Hub) {
    let world = world::small(hub).await;
    let flight = requester(&world.requester).await;
    let held = ticket(&flight.info("select code from chu.communes").await.unwrap());
    world.steward.upload("communes", "code,name\nA,Une\n").await.unwrap();
    refused(flight.get(&held).await, Code::Aborted, "QUERY_CUT");
    assert_eq!(flight.query("select code from chu.communes").await.unwrap().rows(), [["A"]]);
}

async fn a_member_has_so_many_tickets(hub: &mut Hub) {
    let world = world::small(hub).await;
    let flight = requester(&world.requester).await;
    let mut held = Vec::new();
    let status = loop {
        match flight.info("select name from chu.communes").await {
            Ok(info) => held.push(ticket(&info)),
            Err(status) => break status,
        }
        assert!(held.len() < 1_000, "there is no end to it");
    };
    refused::<()>(Err(status), Code::ResourceExhausted, "OVERLOADED");
    // Others are not concerned, and each answer that is taken makes room.
    colleague(&world.lab).await.query("select name from chu.communes").await.unwrap();
    flight.get(&held[0]).await.unwrap();
    flight.query("select name from chu.communes").await.unwrap();
}

async fn a_cancelled_ticket_is_worth_nothing(hub: &mut Hub) {
    let world = world::small(hub).await;
    let flight = requester(&world.requester).await;
    let info = flight.info(ROWS).await.unwrap();
    let body = arrow_flight::CancelFlightInfoRequest { info: Some(info.clone()) }.encode_to_vec();
    let colleague = colleague(&world.lab).await;
    refused(colleague.act("CancelFlightInfo", body.clone()).await, Code::NotFound, "NOT_FOUND_OR_DENIED");
    let (results, _) = flight.act("CancelFlightInfo", body.clone()).await.unwrap();
    let result = arrow_flight::CancelFlightInfoResult::decode(results[0].as_slice()).unwrap();
    assert_eq!(result.status(), arrow_flight::CancelStatus::Cancelled);
    refused(flight.get(&ticket(&info)).await, Code::NotFound, "NOT_FOUND_OR_DENIED");
    let gone = refused(flight.act("CancelFlightInfo", body).await, Code::NotFound, "NOT_FOUND_OR_DENIED");
    assert_eq!(metadata(&gone, "object"), "the query");
    assert_eq!(flight.plain().with("x-odh-purpose", RESEARCH).query(ROWS).await.unwrap().rows().len(), 1_800);
}
