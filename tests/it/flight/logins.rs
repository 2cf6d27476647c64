//! Who speaks Flight: by certificate, by bearer, by a token as a password; the session's catalog; and what there is not.

use arrow_flight::{
    Criteria, Empty, FlightDescriptor,
    sql::{
        ActionBeginTransactionRequest, ActionCreatePreparedSubstraitPlanRequest, CommandStatementQuery,
        CommandStatementSubstraitPlan, ProstMessageExt as _,
    },
};
use futures::TryStreamExt as _;
use odh::grpc::pb;
use prost::Message as _;
use tonic::{Code, Status};

use super::client::{Flight, colleague, requester};
use crate::{
    harness::{Hub, on_both_engines},
    personas::{metadata, refused},
    world::{self, RESEARCH, World},
};

on_both_engines!(
    a_token_is_a_password_and_comes_back_as_a_bearer,
    a_bound_token_needs_its_certificate,
    the_catalog_of_the_session_is_the_purpose,
    what_there_is_not_says_so,
    actions_are_listed,
);

const COUNT: &str = "select count(*) from chu.stays";

/// A token for a tool without a certificate.
async fn unbound(world: &World) -> String {
    let request = pb::CreateAccessTokenRequest { member: world.requester.name.clone(), ..Default::default() };
    world.lab.client.participants().create_access_token(request).await.unwrap().into_inner().access_token
}

/// What a handshake with this header gives back.
async fn handshake(flight: &Flight, authorization: &str) -> Result<Option<String>, Status> {
    let request = flight.plain().with("authorization", authorization).request(futures::stream::empty());
    let response = flight.bare().handshake(request).await?;
    let bearer = response.metadata().get("authorization").map(|it| it.to_str().unwrap().to_owned());
    response.into_inner().try_collect::<Vec<_>>().await?;
    Ok(bearer)
}

fn basic(password: &str, padded: bool) -> String {
    use base64::{Engine as _, engine::general_purpose};
    // Four lengths of the name make all three paddings.
    let text = format!("anybody:{password}");
    let engine = if padded { general_purpose::STANDARD } else { general_purpose::STANDARD_NO_PAD };
    format!("Basic {}", engine.encode(text))
}

async fn a_token_is_a_password_and_comes_back_as_a_bearer(hub: &mut Hub) {
    let world = world::small(hub).await;
    let token = unbound(&world).await;
    let stranger = Flight::connect(&hub.site(), None).await;
    for authorization in [basic(&token, true), basic(&token, false), format!("Bearer {token}")] {
        let bearer = handshake(&stranger, &authorization).await.unwrap().unwrap();
        assert_eq!(bearer, format!("Bearer {token}"));
        stranger.with("authorization", &bearer).query(COUNT).await.unwrap();
    }
    // The client of `arrow-flight`, to which this is one call.
    let mut client = stranger.sql();
    client.handshake("anybody", &token).await.unwrap();
    client.execute(COUNT.to_owned(), None).await.unwrap();
    for wrong in [basic("nonsense", true), basic("", true), "Basic %".to_owned(), "Bearer nonsense".to_owned()] {
        refused(handshake(&stranger, &wrong).await, Code::Unauthenticated, "UNAUTHENTICATED");
    }
    // Only a handshake takes a password, and nobody is let in without anything.
    refused(
        stranger.with("authorization", &basic(&token, true)).info(COUNT).await,
        Code::Unauthenticated,
        "UNAUTHENTICATED",
    );
    refused(stranger.info(COUNT).await, Code::Unauthenticated, "UNAUTHENTICATED");
    world.lab.revoke_member(&world.requester.name).await;
    refused(handshake(&stranger, &basic(&token, true)).await, Code::Unauthenticated, "UNAUTHENTICATED");
}

async fn a_bound_token_needs_its_certificate(hub: &mut Hub) {
    let world = world::small(hub).await;
    let request = pb::CreateAccessTokenRequest::default();
    let minted = world.requester.client.participants().create_access_token(request).await.unwrap().into_inner();
    assert!(minted.certificate_bound);
    let with = requester(&world.requester).await.plain();
    let bearer = handshake(&with, &basic(&minted.access_token, false)).await.unwrap().unwrap();
    with.with("authorization", &bearer).query(COUNT).await.unwrap();
    let without = Flight::connect(&hub.site(), None).await;
    refused(handshake(&without, &basic(&minted.access_token, false)).await, Code::Unauthenticated, "UNAUTHENTICATED");
    let colleague = colleague(&world.lab).await;
    refused(handshake(&colleague, &basic(&minted.access_token, false)).await, Code::Unauthenticated, "UNAUTHENTICATED");
    // Over a certificate a handshake needs nothing more, and gives nothing.
    let request = with.request(futures::stream::empty());
    assert!(with.bare().handshake(request).await.unwrap().metadata().get("authorization").is_none());
}

async fn the_catalog_of_the_session_is_the_purpose(hub: &mut Hub) {
    let world = world::small(hub).await;
    let flight = requester(&world.requester).await.plain();
    let (_, cookie) = flight.act("SetSessionOptions", catalog("marketing")).await.unwrap();
    let cookie = cookie.unwrap();
    let session = flight.with("cookie", cookie.split(';').next().unwrap());
    refused(session.info(COUNT).await, Code::PermissionDenied, "PURPOSE_NOT_PERMITTED");
    // A purpose that the call or the query names goes before it.
    session.with("x-odh-purpose", RESEARCH).query(COUNT).await.unwrap();
    session.query(&format!("select count(*) from {RESEARCH}.chu.stays")).await.unwrap();
    let (options, _) = session.act("GetSessionOptions", Vec::new()).await.unwrap();
    assert_eq!(options[0], catalog("marketing"), "both messages have the same form");
    let (closed, cookie) = session.act("CloseSession", Vec::new()).await.unwrap();
    assert_eq!(closed[0], [8, 1]);
    assert!(cookie.unwrap().contains("Max-Age=0"));
    let (errors, cookie) = flight.act("SetSessionOptions", catalog("nonsense")).await.unwrap();
    assert!(!errors[0].is_empty() && cookie.is_none());
    refused(flight.act("SetSessionOptions", vec![255]).await, Code::InvalidArgument, "INVALID_ARGUMENT");
}

/// `SetSessionOptionsRequest { session_options: { "catalog": slug } }`.
fn catalog(slug: &str) -> Vec<u8> {
    let field = |number: u8, body: &[u8]| [&[number << 3 | 2, u8::try_from(body.len()).unwrap()], body].concat();
    let value = field(1, slug.as_bytes());
    field(1, &[field(1, b"catalog"), field(2, &value)].concat())
}

async fn what_there_is_not_says_so(hub: &mut Hub) {
    let world = world::small(hub).await;
    let flight = requester(&world.requester).await;
    let mut bare = flight.bare();
    let mut said = vec![
        bare.list_flights(flight.request(Criteria::default())).await.map(|_| ()),
        bare.poll_flight_info(flight.request(FlightDescriptor::default())).await.map(|_| ()),
        bare.do_exchange(flight.request(futures::stream::empty())).await.map(|_| ()),
        bare.get_flight_info(flight.request(FlightDescriptor::new_path(vec!["x".to_owned()]))).await.map(|_| ()),
        flight.info_of(&CommandStatementSubstraitPlan::default()).await.map(|_| ()),
        flight
            .info_of(&CommandStatementQuery { query: COUNT.to_owned(), transaction_id: Some(b"t".to_vec().into()) })
            .await
            .map(|_| ()),
    ];
    let actions = [
        ("BeginTransaction", ActionBeginTransactionRequest {}.as_any()),
        ("CreatePreparedSubstraitPlan", ActionCreatePreparedSubstraitPlanRequest::default().as_any()),
        ("RenewFlightEndpoint", arrow_flight::sql::Any::default()),
        ("Anything", arrow_flight::sql::Any::default()),
    ];
    for (action, body) in actions {
        said.push(flight.act(action, body.encode_to_vec()).await.map(|_| ()));
    }
    for answer in said {
        let status = refused(answer, Code::Unimplemented, "UNIMPLEMENTED");
        assert!(!metadata(&status, "what").is_empty());
    }
    for malformed in [vec![255, 255], vec![], b"select 1".to_vec()] {
        let descriptor = FlightDescriptor::new_cmd(malformed);
        let status = bare.get_flight_info(flight.request(descriptor)).await.map(|_| ()).unwrap_err();
        assert!(matches!(status.code(), Code::InvalidArgument | Code::Unimplemented), "{status:?}");
        crate::personas::reason(&status);
    }
    // A schema can be asked for without a ticket.
    let query = CommandStatementQuery { query: COUNT.to_owned(), transaction_id: None };
    let descriptor = FlightDescriptor::new_cmd(query.as_any().encode_to_vec());
    let schema = bare.get_schema(flight.request(descriptor)).await.unwrap().into_inner();
    assert_eq!(arrow::datatypes::Schema::try_from(schema).unwrap().fields().len(), 1);
}

async fn actions_are_listed(hub: &mut Hub) {
    let world = world::small(hub).await;
    let flight = requester(&world.requester).await;
    let listed = flight.bare().list_actions(flight.request(Empty {})).await.unwrap().into_inner();
    let names: Vec<String> = listed.map_ok(|action| action.r#type).try_collect().await.unwrap();
    assert!(names.contains(&"CreatePreparedStatement".to_owned()) && names.len() == 7, "{names:?}");
}
