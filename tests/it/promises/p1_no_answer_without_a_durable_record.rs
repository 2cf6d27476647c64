//! P1: the record is committed before the first byte of data leaves. No audit store, no data.

use odh::{
    audit::{Checkpoint, VerifierKey},
    grpc::pb::{self, execute_response::Part},
};
use sqlx::Connection as _;
use tonic::Code;

use crate::{
    harness::{Hub, fault::BlockedLog, on_both_engines, sane},
    personas::refused,
    world::{self, RESEARCH},
};

on_both_engines!(
    the_decision_is_in_the_log_when_the_header_arrives,
    the_header_comes_before_any_data_and_its_receipt_is_genuine,
    a_refused_query_is_a_recorded_decision_too,
    without_an_audit_store_no_row_leaves,
    without_an_audit_store_no_answer_ends_well,
    every_change_is_answered_with_its_entry,
);

const ALL: &str = "select pid, commune, age from chu.stays";

async fn the_decision_is_in_the_log_when_the_header_arrives(hub: &mut Hub) {
    let world = world::small(hub).await;
    let mut stream = world.requester.start(RESEARCH, ALL).await.unwrap();
    let first = stream.message().await.unwrap().unwrap();
    // Read beside the hub: what this connection sees is committed.
    let mut db = sane::connect(&hub.database_url()).await;
    let Some(Part::Header(header)) = first.part else { panic!("{first:?}") };
    let index = i64::try_from(header.decision.unwrap().index).unwrap();
    let (kind, leaf): (String, Vec<u8>) =
        sqlx::query_as("SELECT kind, leaf FROM entry WHERE idx = $1").bind(index).fetch_one(&mut db).await.unwrap();
    assert_eq!(kind, "query.decision");
    assert!(String::from_utf8(leaf).unwrap().contains(&header.query_id));
    db.close().await.unwrap();
    while stream.message().await.unwrap().is_some() {}
}

async fn the_header_comes_before_any_data_and_its_receipt_is_genuine(hub: &mut Hub) {
    let world = world::small(hub).await;
    let answer = world.requester.query(RESEARCH, ALL).await.unwrap();
    assert_eq!(answer.rows().len(), world::consenting() * 4);
    let decision = answer.header.decision.clone().unwrap();
    let outcome = answer.receipt.outcome.clone().unwrap();
    assert_eq!(answer.receipt.decision.as_ref(), Some(&decision));
    assert!(decision.index < outcome.index, "the decision comes first");
    let key = VerifierKey::of(hub.services().keys().log_signer().as_ref()).unwrap();
    for receipt in [&decision, &outcome] {
        let checkpoint = Checkpoint::verify(&receipt.checkpoint, &key).unwrap();
        assert!(checkpoint.size > receipt.index, "its checkpoint covers the entry");
    }
    let entries = world.auditor.entries("type = \"query\"").await;
    let of_this = |entry: &serde_json::Value| entry.to_string().contains(&answer.header.query_id);
    let indexes: Vec<u64> = entries.iter().filter(|(_, entry)| of_this(entry)).map(|(index, _)| *index).collect();
    assert_eq!(indexes.first(), Some(&decision.index));
    assert!(indexes.contains(&outcome.index));
}

async fn a_refused_query_is_a_recorded_decision_too(hub: &mut Hub) {
    let world = world::small(hub).await;
    let before = world.auditor.entries("type = \"query.decision\"").await.len();
    refused(world.requester.query("marketing", ALL).await, Code::PermissionDenied, "PURPOSE_NOT_PERMITTED");
    let entries = world.auditor.entries("type = \"query.decision\"").await;
    assert_eq!(entries.len(), before + 1);
    let text = entries.last().unwrap().1.to_string();
    assert!(text.contains("deny") && text.contains("PURPOSE_NOT_PERMITTED"), "{text}");
    assert!(!text.contains("pid"), "the SQL text is a commitment: {text}");
}

async fn without_an_audit_store_no_row_leaves(hub: &mut Hub) {
    let world = world::small(hub).await;
    let blocked = BlockedLog::of(hub).await;
    let answer = world.requester.start(RESEARCH, ALL).await;
    match answer {
        Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
        Ok(mut stream) => {
            let status = stream.message().await.expect_err("not even a header leaves");
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        }
    }
    blocked.release().await;
    let recovered = crate::harness::eventually("the hub answers again", std::time::Duration::from_secs(20), || async {
        world.requester.query(RESEARCH, ALL).await.ok()
    })
    .await;
    assert_eq!(recovered.rows().len(), world::consenting() * 4);
    // A decision that was committed after nobody waited for it any more gets its outcome, unknown, at the next start.
    hub.restart().await;
}

async fn without_an_audit_store_no_answer_ends_well(hub: &mut Hub) {
    let world = world::small(hub).await;
    // Many megabytes, so that the answer is still running when the store goes away.
    let sql = "select a.pid, b.pid, a.diagnosis, b.diagnosis from chu.stays a join chu.stays b \
               on a.commune = b.commune";
    let mut stream = world.requester.start(RESEARCH, sql).await.unwrap();
    assert!(matches!(stream.message().await.unwrap().unwrap().part, Some(Part::Header(_))));
    let blocked = BlockedLog::of(hub).await;
    let end = loop {
        match stream.message().await {
            Ok(Some(pb::ExecuteResponse { part: Some(Part::Receipt(_)) })) => panic!("a receipt without an outcome"),
            Ok(Some(_)) => {}
            Ok(None) => panic!("an answer without its outcome does not end well"),
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), Code::Unavailable, "{end:?}");
    blocked.release().await;
    // What stayed without an outcome gets it at the next start: unknown, which counts as released.
    hub.restart().await;
}

async fn every_change_is_answered_with_its_entry(hub: &mut Hub) {
    let world = world::small(hub).await;
    let created = world.steward.create_dataset("one", pb::AccessLevel::Open, None).await.unwrap();
    let receipt = created.receipt.unwrap();
    let entries = world.auditor.entries("type = \"dataset.created\"").await;
    let (index, entry) = entries.last().unwrap();
    assert_eq!(*index, receipt.index);
    assert!(entry.to_string().contains("chu.one"), "{entry}");
}
