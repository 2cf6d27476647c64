//! Asking, deciding, and the grant that anyone can verify without the hub.

use odh::{
    domain::{Clock as _, SystemClock},
    grpc::pb,
    trust::{Jwks, verify_grant},
};
use tonic::Code;

use crate::{
    harness::{HUB_ID, Hub, on_both_engines, raw::get_public},
    personas::refused,
    world::{self, RESEARCH},
};

on_both_engines!(
    a_grant_verifies_offline_and_a_changed_one_does_not,
    a_refusal_with_a_reason_then_a_narrower_ask,
    what_no_rule_permits_is_refused_when_it_is_asked_for,
    a_shorter_duration_than_asked_for_is_granted,
    a_request_can_be_taken_back_until_it_is_decided,
    a_retired_policy_takes_no_new_grants_and_ends_no_old_ones,
);

async fn a_grant_verifies_offline_and_a_changed_one_does_not(hub: &mut Hub) {
    let world = world::small(hub).await;
    let (status, public) = get_public(&hub.site(), "/.well-known/jwks.json").await.unwrap();
    assert_eq!(status, 200);
    let published = world.lab.client.access().get_jwks(pb::GetJwksRequest {}).await.unwrap().into_inner().jwks;
    assert_eq!(
        Jwks::parse(public.as_bytes()).unwrap().to_json().unwrap(),
        Jwks::parse(published.as_bytes()).unwrap().to_json().unwrap()
    );
    let keys = Jwks::parse(public.as_bytes()).unwrap();
    let now = SystemClock.now();
    let jws = &world.grant.jws;
    let claims = verify_grant(jws, &keys, HUB_ID, now).unwrap();
    assert_eq!((claims.sub.as_str(), claims.jti.to_string()), ("lab", world.grant.name.replace("grants/", "")));
    let access = claims.access();
    assert_eq!((access.identifier.to_string().as_str(), access.rule.as_str()), (world::STAYS, "rows"));
    assert_eq!(access.policy.to_string(), world.policy.digest);

    let parts: Vec<&str> = jws.split('.').collect();
    let other = world.requester.request_access(world::STAYS, pb::Action::Aggregate, RESEARCH).await.unwrap();
    let other = world.steward.approve(&other).await.unwrap().jws;
    let payload = other.split('.').nth(1).unwrap();
    for forged in [
        format!("{}.{payload}.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{jws}A"),
        format!("eyJhbGciOiJub25lIn0.{}.", parts[1]),
    ] {
        assert!(verify_grant(&forged, &keys, HUB_ID, now).is_err(), "{forged}");
    }
    assert!(verify_grant(jws, &keys, "another.hub", now).is_err());
    assert!(verify_grant(jws, &keys, HUB_ID, now.plus(std::time::Duration::from_hours(25))).is_err(), "expired");
    // It is evidence, no identity.
    let site = hub.site();
    let target = odh::cli::client::Target::new(&site.grpc, &site.ca_pem).with_bearer(jws.as_str());
    let thief = odh::cli::client::Client::connect(target).await.unwrap();
    refused(thief.participants().who_am_i(pb::WhoAmIRequest {}).await, Code::Unauthenticated, "UNAUTHENTICATED");
}

async fn a_refusal_with_a_reason_then_a_narrower_ask(hub: &mut Hub) {
    let world = world::small(hub).await;
    let wide = world.requester.request_access(world::STAYS, pb::Action::Read, RESEARCH).await.unwrap();
    assert_eq!(wide.state(), pb::AccessRequestState::Submitted);
    let refused = world.steward.refuse(&wide, "aggregates are enough").await.unwrap();
    assert_eq!(refused.state(), pb::AccessRequestState::Refused);
    assert_eq!(refused.refusal_reason, "aggregates are enough");
    let narrow = world.requester.request_access(world::STAYS, pb::Action::Aggregate, RESEARCH).await.unwrap();
    let grant = world.steward.approve(&narrow).await.unwrap();
    assert_eq!((grant.rule.as_str(), grant.action()), ("groups", pb::Action::Aggregate));
    assert_eq!(grant.access_request, narrow.name);
    assert_eq!(grant.decided_by, world.steward.name);
}

async fn what_no_rule_permits_is_refused_when_it_is_asked_for(hub: &mut Hub) {
    let world = world::small(hub).await;
    let requester = &world.requester;
    let marketing = requester.request_access(world::STAYS, pb::Action::Read, "marketing").await;
    refused(marketing, Code::PermissionDenied, "POLICY_DENIED");
    let none = requester.request_access(world::STAYS, pb::Action::Read, "no_such_purpose").await;
    refused(none, Code::InvalidArgument, "PURPOSE_UNKNOWN");
    let open = requester.request_access(world::COMMUNES, pb::Action::Read, RESEARCH).await;
    refused(open, Code::FailedPrecondition, "STATE_CONFLICT");
}

async fn a_shorter_duration_than_asked_for_is_granted(hub: &mut Hub) {
    use crate::personas::Sign as _;
    let world = world::small(hub).await;
    let asked = world.requester.request_access(world::STAYS, pb::Action::Read, RESEARCH).await.unwrap();
    let mut request = pb::ApproveAccessRequestRequest {
        name: asked.name.clone(),
        duration: Some(prost_types::Duration { seconds: 3_600, nanos: 0 }),
        signature: world.steward.sign("access.approve", &asked.name),
        ..Default::default()
    };
    // The signature is about what is granted, not only about who asked.
    let unsigned = world.steward.client.access().approve_access_request(request.clone()).await;
    refused(unsigned, Code::InvalidArgument, "SIGNATURE_INVALID");
    request.signature = world.steward.sign("access.approve", &format!("{};seconds=3600", asked.name));
    let grant = world.steward.client.access().approve_access_request(request).await.unwrap().into_inner().grant;
    let (from, until) = grant.map(|grant| (grant.valid_from.unwrap(), grant.valid_until.unwrap())).unwrap();
    assert!((3_599..=3_601).contains(&(until.seconds - from.seconds)));
}

async fn a_request_can_be_taken_back_until_it_is_decided(hub: &mut Hub) {
    let world = world::small(hub).await;
    let asked = world.requester.request_access(world::STAYS, pb::Action::Read, RESEARCH).await.unwrap();
    let withdraw = |name: &str| pb::WithdrawAccessRequestRequest { name: name.to_owned(), ..Default::default() };
    let access = world.requester.client.access();
    let withdrawn = access.clone().withdraw_access_request(withdraw(&asked.name)).await.unwrap().into_inner();
    let withdrawn = withdrawn.access_request.unwrap();
    assert_eq!(withdrawn.state(), pb::AccessRequestState::Withdrawn);
    let late = world.steward.approve(&withdrawn).await;
    refused(late, Code::FailedPrecondition, "STATE_CONFLICT");
    let decided = access.clone().withdraw_access_request(withdraw(&world.grant.access_request)).await;
    refused(decided, Code::FailedPrecondition, "STATE_CONFLICT");
}

async fn a_retired_policy_takes_no_new_grants_and_ends_no_old_ones(hub: &mut Hub) {
    let world = world::small(hub).await;
    let asked = world.requester.request_access(world::STAYS, pb::Action::Aggregate, RESEARCH).await.unwrap();
    let request = pb::RetirePolicyRequest { name: world.policy.name.clone(), ..Default::default() };
    world.steward.client.policies().retire_policy(request).await.unwrap();
    assert!(world.steward.approve(&asked).await.is_err());
    world.requester.query(RESEARCH, "select count(*) from chu.stays").await.unwrap();
}
