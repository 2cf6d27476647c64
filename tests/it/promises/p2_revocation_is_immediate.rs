//! P2: what is revoked or withdrawn is refused at the next call, on the same connection, and cuts a running answer
//! within a second.

use std::time::{Duration, Instant};

use odh::grpc::pb::{self, execute_response::Part};
use tonic::{Code, Status, Streaming};

use crate::{
    harness::{Hub, on_both_engines},
    personas::{reason, refused},
    world::{self, RESEARCH, World},
};

on_both_engines!(
    a_revoked_grant_is_refused_at_the_next_call,
    a_revoked_policy_ends_its_grants,
    a_revoked_member_is_nobody_at_the_next_call,
    a_revoked_certificate_is_refused_on_its_own_connection,
    a_suspended_participant_is_refused_at_the_next_call,
    a_withdrawn_consent_is_missing_from_the_next_answer,
    a_removed_role_is_gone_at_the_next_call,
    a_retired_dataset_is_refused_at_the_next_call,
    a_revoked_bearer_token_is_refused,
    a_running_answer_is_cut_when_its_grant_is_revoked,
    a_running_answer_is_cut_when_its_policy_is_revoked,
    a_running_answer_is_cut_when_a_consent_is_withdrawn,
    a_running_answer_is_cut_when_its_member_is_revoked,
    a_running_answer_is_cut_when_its_participant_is_suspended,
    a_running_answer_does_not_mind_what_does_not_concern_it,
);

const COUNT: &str = "select count(*) from chu.stays";
/// Some 320,000 rows of a few dozen megabytes: it does not fit into the buffers between hub and reader.
const LONG: &str = "select a.pid, b.pid, a.diagnosis || '-' || b.diagnosis, a.cost, b.cost, a.age, b.age \
                    from chu.stays a join chu.stays b on a.commune = b.commune";

async fn a_revoked_grant_is_refused_at_the_next_call(hub: &mut Hub) {
    let world = world::small(hub).await;
    world.requester.query(RESEARCH, COUNT).await.unwrap();
    let revoked = world.steward.revoke_grant(&world.grant.name).await.unwrap();
    assert_eq!(revoked.state(), pb::GrantState::Revoked);
    refused(world.requester.query(RESEARCH, COUNT).await, Code::PermissionDenied, "GRANT_REVOKED");
    hub.restart().await;
    let again = crate::personas::Requester(world.requester.at(&hub.site()).await);
    refused(again.query(RESEARCH, COUNT).await, Code::PermissionDenied, "GRANT_REVOKED");
}

async fn a_revoked_policy_ends_its_grants(hub: &mut Hub) {
    let world = world::small(hub).await;
    world.steward.revoke_policy(&world.policy.name).await.unwrap();
    refused(world.requester.query(RESEARCH, COUNT).await, Code::PermissionDenied, "GRANT_REVOKED");
    let request = pb::GetGrantRequest { name: world.grant.name.clone() };
    let grant = world.requester.client.access().get_grant(request).await.unwrap().into_inner().grant.unwrap();
    assert_eq!(grant.state(), pb::GrantState::Revoked);
}

async fn a_revoked_member_is_nobody_at_the_next_call(hub: &mut Hub) {
    let world = world::small(hub).await;
    world.requester.who_am_i().await.unwrap();
    world.lab.revoke_member(&world.requester.name).await;
    refused(world.requester.who_am_i().await, Code::Unauthenticated, "UNAUTHENTICATED");
    refused(world.requester.query(RESEARCH, COUNT).await, Code::Unauthenticated, "UNAUTHENTICATED");
}

async fn a_revoked_certificate_is_refused_on_its_own_connection(hub: &mut Hub) {
    let world = world::small(hub).await;
    let other = world.lab.requester().await;
    let fingerprint = world.requester.who_am_i().await.unwrap().certificate_fingerprint;
    world.lab.revoke_certificate(&fingerprint).await.unwrap();
    refused(world.requester.who_am_i().await, Code::Unauthenticated, "UNAUTHENTICATED");
    let elsewhere = world.requester.at(&hub.site()).await;
    refused(elsewhere.who_am_i().await, Code::Unauthenticated, "UNAUTHENTICATED");
    other.who_am_i().await.unwrap();
}

async fn a_suspended_participant_is_refused_at_the_next_call(hub: &mut Hub) {
    let world = world::small(hub).await;
    world.operator.suspend("lab").await;
    refused(world.requester.query(RESEARCH, COUNT).await, Code::PermissionDenied, "PARTICIPANT_NOT_ACTIVE");
    refused(world.requester.who_am_i().await, Code::PermissionDenied, "PARTICIPANT_NOT_ACTIVE");
    let approve = pb::ApproveParticipantRequest { name: world.lab.parent(), ..Default::default() };
    world.operator.client.participants().approve_participant(approve).await.unwrap();
    world.requester.query(RESEARCH, COUNT).await.unwrap();
}

async fn a_withdrawn_consent_is_missing_from_the_next_answer(hub: &mut Hub) {
    let world = world::small(hub).await;
    let before = world.requester.query(RESEARCH, COUNT).await.unwrap().number();
    let subjects = [world::subject(1), world::subject(2), "nobody".to_owned()];
    let withdrawn = world.steward.withdraw("stays", &subjects).await;
    assert_eq!((withdrawn.withdrawn, withdrawn.unknown_subjects), (2, 1));
    assert_eq!(world.requester.query(RESEARCH, COUNT).await.unwrap().number(), before - 8);
    let gone = "select count(*) from chu.stays where pid in ('s00001', 's00002')";
    assert_eq!(world.requester.query(RESEARCH, gone).await.unwrap().number(), 0);
}

async fn a_removed_role_is_gone_at_the_next_call(hub: &mut Hub) {
    let world = world::small(hub).await;
    let member = world.requester.who_am_i().await.unwrap().member.unwrap();
    let request = pb::UpdateMemberRequest {
        etag: member.etag.clone(),
        member: Some(pb::Member { roles: vec![pb::Role::Steward.into()], ..member }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["roles".to_owned()] }),
        request_id: String::new(),
    };
    world.lab.client.participants().update_member(request).await.unwrap();
    refused(world.requester.query(RESEARCH, COUNT).await, Code::PermissionDenied, "ROLE_MISSING");
}

async fn a_retired_dataset_is_refused_at_the_next_call(hub: &mut Hub) {
    let world = world::small(hub).await;
    let request = pb::RetireDatasetRequest { name: world.steward.dataset("stays"), ..Default::default() };
    world.steward.client.catalog().retire_dataset(request).await.unwrap();
    refused(world.requester.query(RESEARCH, COUNT).await, Code::InvalidArgument, "QUERY_REJECTED");
}

async fn a_revoked_bearer_token_is_refused(hub: &mut Hub) {
    let world = world::small(hub).await;
    let request = pb::CreateAccessTokenRequest { member: world.requester.name.clone(), ..Default::default() };
    let minted = world.lab.client.participants().create_access_token(request).await.unwrap().into_inner();
    assert!(!minted.certificate_bound);
    let site = hub.site();
    let target = odh::cli::client::Target::new(&site.grpc, &site.ca_pem).with_bearer(minted.access_token);
    let tool = odh::cli::client::Client::connect(target).await.unwrap();
    let seen = tool.participants().who_am_i(pb::WhoAmIRequest {}).await.unwrap().into_inner();
    assert_eq!(seen.credential(), pb::CredentialKind::UnboundToken);
    world.lab.revoke_member(&world.requester.name).await;
    refused(tool.participants().who_am_i(pb::WhoAmIRequest {}).await, Code::Unauthenticated, "UNAUTHENTICATED");
}

async fn a_running_answer_is_cut_when_its_grant_is_revoked(hub: &mut Hub) {
    let world = world::small(hub).await;
    let running = start(&world).await;
    world.steward.revoke_grant(&world.grant.name).await.unwrap();
    is_cut(running).await;
}

async fn a_running_answer_is_cut_when_its_policy_is_revoked(hub: &mut Hub) {
    let world = world::small(hub).await;
    let running = start(&world).await;
    world.steward.revoke_policy(&world.policy.name).await.unwrap();
    is_cut(running).await;
}

async fn a_running_answer_is_cut_when_a_consent_is_withdrawn(hub: &mut Hub) {
    let world = world::small(hub).await;
    let running = start(&world).await;
    world.steward.withdraw("stays", &[world::subject(1)]).await;
    is_cut(running).await;
}

async fn a_running_answer_is_cut_when_its_member_is_revoked(hub: &mut Hub) {
    let world = world::small(hub).await;
    let running = start(&world).await;
    world.lab.revoke_member(&world.requester.name).await;
    is_cut(running).await;
}

async fn a_running_answer_is_cut_when_its_participant_is_suspended(hub: &mut Hub) {
    let world = world::small(hub).await;
    let running = start(&world).await;
    world.operator.suspend("lab").await;
    is_cut(running).await;
}

async fn a_running_answer_does_not_mind_what_does_not_concern_it(hub: &mut Hub) {
    let world = world::small(hub).await;
    let mut running = start(&world).await;
    // Another member of the lab comes and goes, and another dataset of the owner changes.
    let other = world.lab.requester().await;
    world.lab.revoke_member(&other.name).await;
    world.steward.upload("communes", "code,name\n31001,Une\n").await.unwrap();
    let mut complete = false;
    while let Some(message) = running.stream.message().await.unwrap() {
        complete |= matches!(message.part, Some(Part::Receipt(_)));
    }
    assert!(complete);
}

/// A long answer of which the reader has taken the beginning and then stopped reading.
struct Running {
    stream: Streaming<pb::ExecuteResponse>,
    bytes: usize,
}

async fn start(world: &World) -> Running {
    let mut stream = world.requester.start(RESEARCH, LONG).await.unwrap();
    let mut bytes = 0;
    while bytes == 0 {
        if let Some(Part::ArrowIpc(piece)) = stream.message().await.unwrap().unwrap().part {
            bytes += piece.len();
        }
    }
    Running { stream, bytes }
}

/// A pause between two messages: a reader that takes its time, so that the whole answer takes longer than the cut may.
const PAUSE: Duration = Duration::from_millis(25);

/// Reads on, slowly: what still comes was on its way, then comes the cut, within a second.
async fn is_cut(mut running: Running) {
    let since = Instant::now();
    let end: Status = loop {
        match running.stream.message().await {
            Ok(Some(message)) => match message.part {
                Some(Part::ArrowIpc(piece)) => {
                    running.bytes += piece.len();
                    tokio::time::sleep(PAUSE).await;
                }
                other => panic!("the answer went on to its end: {other:?}"),
            },
            Ok(None) => panic!("the answer went on to its end"),
            Err(status) => break status,
        }
    };
    let took = since.elapsed();
    assert_eq!((end.code(), reason(&end).as_str()), (Code::Aborted, "QUERY_CUT"), "{end:?}");
    assert!(took < Duration::from_secs(1), "cut after {took:?}");
}
