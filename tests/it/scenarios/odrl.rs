//! A policy and a grant as ODRL, fetched by another member, and the profile that anybody can read.

use odh::{
    grpc::pb,
    policy::{
        assets::{ODRL_CONTEXT, ODRL_PROFILE, ODRL_SCHEMA},
        odrl::from_odrl,
        vocabulary,
    },
};
use serde_json::Value as Json;
use tonic::Code;

use crate::{
    harness::{Hub, on_both_engines, raw::get_public},
    world,
};

on_both_engines!(
    another_member_reads_the_policy_in_odrl_and_has_the_same_digest,
    a_grant_is_an_agreement_for_its_parties_alone,
    the_profile_is_served_to_everybody,
);

async fn another_member_reads_the_policy_in_odrl_and_has_the_same_digest(hub: &mut Hub) {
    let world = world::small(hub).await;
    let export = |format: pb::PolicyFormat| {
        let request = pb::ExportPolicyRequest { name: world.policy.name.clone(), format: format.into() };
        let mut policies = world.requester.client.policies();
        async move { policies.export_policy(request).await.map(tonic::Response::into_inner) }
    };
    let exported = export(pb::PolicyFormat::Odrl).await.unwrap();
    assert_eq!(exported.media_type, "application/ld+json");
    let policy = from_odrl(&exported.document, &vocabulary::load().unwrap()).unwrap();
    assert_eq!(policy.digest().to_string(), world.policy.digest);

    let offers = export(pb::PolicyFormat::OdrlOffers).await.unwrap();
    let list: Json = serde_json::from_str(&offers.document).unwrap();
    let uses = policy.rules.iter().filter(|rule| rule.effect == odh::domain::Effect::Permit);
    let uses = uses.filter(|rule| rule.actions.iter().any(|action| *action != odh::domain::Action::Discover));
    assert_eq!(list.as_array().unwrap().len(), uses.count());
    assert!(!offers.warnings.is_empty() && offers.warnings.iter().all(|w| w.path.starts_with("/rules/")));

    let refused = export(pb::PolicyFormat::Unspecified).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

async fn a_grant_is_an_agreement_for_its_parties_alone(hub: &mut Hub) {
    let world = world::small(hub).await;
    let request = || pb::ExportGrantRequest { name: world.grant.name.clone() };
    let read = world.requester.client.access().export_grant(request()).await.unwrap().into_inner();
    let agreement: Json = serde_json::from_str(&read.document).unwrap();
    assert_eq!(agreement["@type"], "Agreement");
    assert_eq!(agreement["assigner"], "urn:odh:participant:chu");
    assert_eq!(agreement["assignee"], "urn:odh:participant:lab");
    assert_eq!(agreement["policy"], format!("urn:odh:policy:{}#{}", world.policy.digest, world.grant.rule));
    let owners = world.steward.client.access().export_grant(request()).await.unwrap().into_inner();
    assert_eq!(owners.document, read.document);

    let third = world.operator.welcome("third", pb::ParticipantKind::Company).await.steward().await;
    let refused = third.client.access().export_grant(request()).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

async fn the_profile_is_served_to_everybody(hub: &mut Hub) {
    let site = hub.site();
    for (path, text) in [("context.jsonld", ODRL_CONTEXT), ("profile.ttl", ODRL_PROFILE), ("schema.json", ODRL_SCHEMA)]
    {
        let (status, body) = get_public(&site, &format!("/odrl/1/{path}")).await.unwrap();
        assert_eq!((status, body.as_str()), (200, text));
    }
}
