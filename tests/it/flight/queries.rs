//! A query over Flight SQL is the same query: its answer, its refusals, its entries.

use odh::grpc::pb;
use tonic::Code;

use super::client::{Flight, Table, colleague, requester, ticket};
use crate::{
    harness::{Hub, on_both_engines},
    personas::{Auditor, metadata, refused},
    world::{self, COMMUNES, RESEARCH},
};

on_both_engines!(
    the_answer_is_that_of_the_query_service,
    a_refusal_names_its_reason_and_is_recorded_once,
    the_decision_is_recorded_before_rows_leave_and_the_outcome_after,
    the_purpose_is_named_by_header_by_catalog_or_by_the_grants,
    a_grant_is_picked_by_header,
    ones_own_data_and_open_data_need_no_grant,
    a_large_answer_comes_in_messages_that_clients_take,
);

const COUNT: &str = "select count(*) from chu.stays";

async fn the_answer_is_that_of_the_query_service(hub: &mut Hub) {
    let world = world::small(hub).await;
    let flight = requester(&world.requester).await;
    for sql in [
        "select c.name, count(*) as stays, sum(s.cost) as cost from chu.stays s \
         join chu.communes c on c.code = s.commune group by c.name order by c.name",
        "select pid, commune, age, diagnosis, cost from chu.stays order by pid, cost limit 50",
        "select diagnosis from chu.stays where diagnosis = 'J45'",
        "select pid, cost from chu.stays where age > 1000",
        "select upper(name) as name from chu.communes order by 1",
        "select 1 as n, 'x' as t, true as b, 1.5 as f, date '2024-02-29' as d, null as z from chu.communes limit 1",
    ] {
        let other = world.requester.query(RESEARCH, sql).await.unwrap();
        let table = flight.query(sql).await.unwrap();
        assert_eq!((names(&table), table.rows()), (other.columns(), other.rows()), "{sql}");
    }
}

async fn a_refusal_names_its_reason_and_is_recorded_once(hub: &mut Hub) {
    let world = world::small(hub).await;
    let flight = requester(&world.requester).await;
    let other = flight.plain().with("x-odh-purpose", "marketing");
    let before = denials(&world.auditor).await.len();
    let reasons = [
        (refused(flight.info("select admitted from chu.stays").await, Code::InvalidArgument, "QUERY_REJECTED"), "rule"),
        (refused(flight.info("select 1; select 2").await, Code::InvalidArgument, "QUERY_REJECTED"), "rule"),
        (refused(flight.info("select * from chu.nothing").await, Code::InvalidArgument, "QUERY_REJECTED"), "rule"),
        (refused(flight.info("select $1 from chu.stays").await, Code::InvalidArgument, "QUERY_REJECTED"), "rule"),
        (refused(other.info(COUNT).await, Code::PermissionDenied, "PURPOSE_NOT_PERMITTED"), "purpose"),
    ];
    for (status, key) in &reasons {
        assert!(!metadata(status, key).is_empty(), "{status:?}");
    }
    let denied = denials(&world.auditor).await;
    assert_eq!(denied.len() - before, reasons.len(), "{denied:?}");
    // A steward may not query; the hub says so as for every query.
    let steward = Flight::of(&world.steward).await;
    refused(steward.info(COUNT).await, Code::PermissionDenied, "ROLE_MISSING");
}

async fn the_decision_is_recorded_before_rows_leave_and_the_outcome_after(hub: &mut Hub) {
    let world = world::small(hub).await;
    let flight = requester(&world.requester).await;
    let before = world.auditor.entries("").await.len();
    let info = flight.info("select pid, cost from chu.stays").await.unwrap();
    assert_eq!((info.total_records, info.total_bytes), (-1, -1), "nothing of the data is known before it is asked for");
    assert_eq!(world.auditor.entries("").await.len(), before, "planning records nothing");
    let answer = flight.fetch(&ticket(&info)).await.unwrap();
    let told = |name: &str| answer.metadata().get(name).unwrap().to_str().unwrap().to_owned();
    let (query, decision) = (told("x-odh-query"), told("x-odh-decision"));
    let entries = world.auditor.entries("").await;
    let (_, entry) = entries.iter().find(|(index, _)| index.to_string() == decision).expect("it is there already");
    assert_eq!(entry["f"]["query"], query.as_str());
    assert_eq!((entry["f"]["decision"].as_str(), entry["purpose"].as_str()), (Some("permit"), Some(RESEARCH)));
    let mut bytes = 0;
    let mut messages = answer.into_inner();
    while let Some(message) = messages.message().await.unwrap() {
        bytes += message.data_header.len() + message.data_body.len();
    }
    let entries = world.auditor.entries("").await;
    let outcome = entries.iter().find(|(_, it)| it["f"]["query"] == query.as_str() && it["f"]["end"] == "complete");
    let facts = &outcome.expect("an outcome").1["f"];
    let rows = (world::consenting() * 4).to_string();
    assert_eq!(
        (facts["rows"].as_str(), facts["bytes"].as_str()),
        (Some(rows.as_str()), Some(bytes.to_string().as_str()))
    );
}

async fn the_purpose_is_named_by_header_by_catalog_or_by_the_grants(hub: &mut Hub) {
    let world = world::small(hub).await;
    let named = requester(&world.requester).await;
    let plain = named.plain();
    let rows = i64::try_from(world::consenting() * 4).unwrap();
    // The only purpose of its grants; a catalog; a header for a purpose below.
    assert_eq!(plain.query(COUNT).await.unwrap().number(), rows);
    let catalog = format!("select count(*) from {RESEARCH}.chu.stays");
    assert_eq!(plain.query(&catalog).await.unwrap().number(), rows);
    assert_eq!(named.query(&catalog).await.unwrap().number(), rows);
    let below = plain.with("x-odh-purpose", "epidemiological_research");
    assert_eq!(below.query(COUNT).await.unwrap().number(), rows);
    // What contradicts itself or is unknown.
    let rule = refused(below.info(&catalog).await, Code::InvalidArgument, "QUERY_REJECTED");
    assert_eq!(metadata(&rule, "rule"), "one_purpose");
    let two = format!("select 1 from {RESEARCH}.chu.stays, marketing.chu.communes");
    assert_eq!(metadata(&plain.info(&two).await.unwrap_err(), "rule"), "one_purpose");
    refused(plain.info("select 1 from nonsense.chu.stays").await, Code::InvalidArgument, "PURPOSE_UNKNOWN");
    let nonsense = plain.with("x-odh-purpose", "No Such Purpose");
    refused(nonsense.info(COUNT).await, Code::InvalidArgument, "PURPOSE_UNKNOWN");
    refused(named.with("x-odh-purpose", RESEARCH).info(COUNT).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    // Grants for two purposes leave it open; without any there is nothing to choose from.
    world
        .steward
        .publish(crate::policies::policy(
            &world.steward.dataset("stays"),
            vec![crate::policies::permit("any", &[pb::Action::Read], &[])],
        ))
        .await
        .unwrap();
    let asked = world.requester.request_access(world::STAYS, pb::Action::Read, "marketing").await.unwrap();
    world.steward.approve(&asked).await.unwrap();
    let status = refused(plain.info(COUNT).await, Code::InvalidArgument, "PURPOSE_REQUIRED");
    assert_eq!(metadata(&status, "purposes"), format!("marketing, {RESEARCH}"));
    let other = colleague(&world.owner).await.plain();
    refused(other.info(COUNT).await, Code::InvalidArgument, "PURPOSE_REQUIRED");
}

async fn a_grant_is_picked_by_header(hub: &mut Hub) {
    let world = world::small(hub).await;
    let flight = requester(&world.requester).await;
    let id = world.grant.name.strip_prefix("grants/").unwrap();
    for grant in [world.grant.name.as_str(), id, &format!("{id}, {}", world.grant.name)] {
        flight.with("x-odh-grant", grant).query(COUNT).await.unwrap();
    }
    let nobodys = flight.with("x-odh-grant", "00000000-0000-7000-8000-000000000000");
    refused(nobodys.info(COUNT).await, Code::PermissionDenied, "GRANT_REQUIRED");
    refused(flight.with("x-odh-grant", "nonsense").info(COUNT).await, Code::InvalidArgument, "INVALID_ARGUMENT");
}

async fn ones_own_data_and_open_data_need_no_grant(hub: &mut Hub) {
    let world = world::small(hub).await;
    let own = colleague(&world.owner).await;
    assert_eq!(own.query(COUNT).await.unwrap().number(), i64::try_from(world::ROWS).unwrap());
    world.steward.revoke_grant(&world.grant.name).await.unwrap();
    let flight = requester(&world.requester).await;
    let open = flight.query(&format!("select count(*) from {COMMUNES}")).await.unwrap();
    assert_eq!(open.number(), i64::try_from(world::PLACES).unwrap());
}

async fn a_large_answer_comes_in_messages_that_clients_take(hub: &mut Hub) {
    let world = world::small(hub).await;
    let flight = requester(&world.requester).await;
    // Some 180,000 rows of one wide text each, and of none.
    let wide = "w".repeat(1_000);
    let sql = format!(
        "select a.pid, case when a.age > 60 then '{wide}' else '' end as text from chu.stays a \
         join chu.stays b on a.commune = b.commune limit 60000"
    );
    let mut messages = flight.fetch(&ticket(&flight.info(&sql).await.unwrap())).await.unwrap().into_inner();
    let (mut largest, mut whole) = (0, 0);
    while let Some(message) = messages.message().await.unwrap() {
        let size = prost::Message::encoded_len(&message);
        (largest, whole) = (largest.max(size), whole + size);
    }
    assert!(whole > 20 << 20 && largest < 4 << 20, "{largest} of {whole}");
}

/// The names of the columns.
fn names(table: &Table) -> Vec<String> {
    table.schema.fields().iter().map(|field| field.name().clone()).collect()
}

/// The denials in the log.
async fn denials(auditor: &Auditor) -> Vec<serde_json::Value> {
    let entries = auditor.entries("").await.into_iter().map(|(_, entry)| entry);
    entries.filter(|entry| entry["f"]["decision"] == "deny" || entry["f"]["call"].is_string()).collect()
}
