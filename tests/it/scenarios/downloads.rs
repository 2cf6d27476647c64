//! Fetching the permitted rows of a dataset as a whole.

use arrow::{array::AsArray as _, datatypes::Int64Type};
use odh::grpc::pb;
use tonic::{Code, Status};

use crate::{
    harness::{Hub, on_both_engines},
    personas::{Answer, Persona, receive_download, refused},
    policies::{only, permit, policy, stays_policy},
    world::{self, RESEARCH, World},
};

on_both_engines!(
    a_download_gives_the_permitted_rows_and_columns_and_is_recorded_as_one,
    a_grant_to_read_is_none_to_download_and_one_to_download_is_one_to_read,
    an_open_dataset_is_downloaded_only_if_a_rule_says_so,
    what_a_policy_caps_or_the_caller_may_not_name_is_refused,
);

async fn fetch(persona: &Persona, table: &str, columns: &[&str]) -> Result<Answer, Status> {
    let (owner, name) = table.split_once('.').unwrap();
    let request = pb::DownloadRequest {
        dataset: format!("participants/{owner}/datasets/{name}"),
        purpose: RESEARCH.to_owned(),
        columns: columns.iter().map(|&name| name.to_owned()).collect(),
        grant: String::new(),
    };
    receive_download(persona.client.queries().download(request).await?.into_inner()).await
}

/// The policy of the suite with a rule that permits downloads of two columns, one of them masked.
async fn publish(world: &World, max_rows: Option<u64>) {
    let dataset = world.steward.dataset("stays");
    let department = pb::Mask { mask: Some(pb::mask::Mask::BucketWidth(1_000)) };
    let files = pb::Rule {
        columns: Some(only(&["age", "commune", "pid"])),
        legal_basis: pb::LegalBasis::Consent.into(),
        how: Some(pb::How { masks: [("commune".to_owned(), department)].into(), max_rows, ..pb::How::default() }),
        ..permit("files", &[pb::Action::Download], &[RESEARCH])
    };
    let mut rules = stays_policy(&dataset).rules;
    rules.push(files);
    world.steward.publish(policy(&dataset, rules)).await.unwrap();
}

async fn grant(world: &World, action: pb::Action) {
    let asked = world.requester.request_access(world::STAYS, action, RESEARCH).await.unwrap();
    world.steward.approve(&asked).await.unwrap();
}

async fn a_download_gives_the_permitted_rows_and_columns_and_is_recorded_as_one(hub: &mut Hub) {
    let world = world::small(hub).await;
    publish(&world, None).await;
    grant(&world, pb::Action::Download).await;
    let whole = fetch(&world.requester, world::STAYS, &[]).await.unwrap();
    assert_eq!(whole.columns(), ["pid", "commune", "age"]);
    assert_eq!(whole.receipt.rows, u64::try_from(world::consenting() * 4).unwrap());
    let some = fetch(&world.requester, world::STAYS, &["age", "commune"]).await.unwrap();
    assert_eq!(some.columns(), ["age", "commune"]);
    for batch in some.batches() {
        let communes = batch.column(1).as_primitive::<Int64Type>();
        assert!(communes.iter().flatten().all(|commune| commune % 1_000 == 0), "the mask holds");
    }
    let decisions = world.auditor.entries("type = \"query.decision\"").await;
    let downloads = decisions.iter().filter(|(_, leaf)| leaf.to_string().contains("\"download\":true")).count();
    assert_eq!(downloads, 2, "{decisions:?}");
}

async fn a_grant_to_read_is_none_to_download_and_one_to_download_is_one_to_read(hub: &mut Hub) {
    let world = world::small(hub).await;
    publish(&world, None).await;
    grant(&world, pb::Action::Read).await;
    refused(fetch(&world.requester, world::STAYS, &[]).await, Code::PermissionDenied, "GRANT_REQUIRED");
    world.steward.revoke_policy(&world.policy.name).await.unwrap();
    publish(&world, None).await;
    grant(&world, pb::Action::Download).await;
    let count = "select count(*) from chu.stays";
    let rows = world.requester.query(RESEARCH, count).await.unwrap().number();
    assert_eq!(rows, i64::try_from(world::consenting() * 4).unwrap());
}

async fn an_open_dataset_is_downloaded_only_if_a_rule_says_so(hub: &mut Hub) {
    let world = world::small(hub).await;
    refused(fetch(&world.requester, world::COMMUNES, &[]).await, Code::PermissionDenied, "POLICY_DENIED");
}

async fn what_a_policy_caps_or_the_caller_may_not_name_is_refused(hub: &mut Hub) {
    let world = world::small(hub).await;
    publish(&world, Some(3)).await;
    grant(&world, pb::Action::Download).await;
    refused(fetch(&world.requester, world::STAYS, &["age"]).await, Code::ResourceExhausted, "QUERY_LIMIT");
    for hidden in ["cost", "no_such_column", "age\" FROM chu.stays --", "*", ""] {
        refused(fetch(&world.requester, world::STAYS, &[hidden]).await, Code::InvalidArgument, "QUERY_REJECTED");
    }
    let twice = fetch(&world.requester, world::STAYS, &["age", "age"]).await.unwrap_err();
    assert_eq!(twice.code(), Code::InvalidArgument);
}
