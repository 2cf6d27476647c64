//! Who sees a dataset, a policy and a grant of others, whatever becomes of the policy.

use odh::grpc::pb::{self, decision::Outcome};
use tonic::{Code, Status};

use crate::{
    harness::{Hub, on_both_engines},
    personas::{Persona, refused},
    policies::{at_least, permit, policy, stays_policy},
    world::{self, RESEARCH, World},
};

on_both_engines!(
    without_a_policy_nobody_sees_a_dataset_but_who_holds_a_grant_on_it,
    a_policy_that_hides_the_entry_leaves_standing_grants_alone,
    a_deny_of_uses_for_some_purposes_hides_no_entry,
    a_rule_and_an_agreement_name_no_other_participant,
    an_old_version_is_not_revoked_while_the_same_text_is_in_force,
    a_denial_that_is_hidden_from_its_caller_is_in_the_log,
    an_explanation_of_every_column_says_what_a_request_would_meet,
    a_simulation_counts_nothing_that_the_floor_in_force_would_not_release,
    an_auditor_reads_the_policy_of_a_dataset_that_is_hidden,
);

const COUNT: &str = "select count(*) from chu.stays";

async fn dataset(persona: &Persona, name: &str) -> Result<pb::Dataset, Status> {
    let request = pb::GetDatasetRequest { name: name.to_owned() };
    Ok(persona.client.catalog().get_dataset(request).await?.into_inner().dataset.unwrap())
}

async fn third(world: &World) -> Persona {
    let third = world.operator.welcome("third", pb::ParticipantKind::Company).await;
    third.steward().await.0
}

/// Nobody but public bodies may discover it.
fn discreet(dataset: &str) -> pb::Policy {
    let who = pb::Who { kinds: vec![pb::ParticipantKind::PublicBody.into()], ..Default::default() };
    let peers = pb::Rule { who: Some(who), ..permit("peers", &[pb::Action::Discover, pb::Action::Read], &[RESEARCH]) };
    policy(dataset, vec![peers])
}

fn deny(id: &str, actions: &[pb::Action], purposes: &[&str]) -> pb::Rule {
    pb::Rule { effect: pb::Effect::Deny.into(), legal_basis: 0, ..permit(id, actions, purposes) }
}

async fn without_a_policy_nobody_sees_a_dataset_but_who_holds_a_grant_on_it(hub: &mut Hub) {
    let world = world::small(hub).await;
    let stays = world.steward.dataset("stays");
    let third = third(&world).await;
    dataset(&third, &stays).await.unwrap();
    let request = pb::RetirePolicyRequest { name: world.policy.name.clone(), ..Default::default() };
    world.steward.client.policies().retire_policy(request).await.unwrap();
    refused(dataset(&third, &stays).await, Code::NotFound, "NOT_FOUND_OR_DENIED");
    dataset(&world.requester, &stays).await.unwrap();
    world.requester.query(RESEARCH, COUNT).await.unwrap();

    world.steward.revoke_policy(&world.policy.name).await.unwrap();
    for persona in [&third, &*world.requester] {
        refused(dataset(persona, &stays).await, Code::NotFound, "NOT_FOUND_OR_DENIED");
    }
    refused(world.requester.query(RESEARCH, COUNT).await, Code::PermissionDenied, "GRANT_REVOKED");
}

async fn a_policy_that_hides_the_entry_leaves_standing_grants_alone(hub: &mut Hub) {
    let world = world::small(hub).await;
    let stays = world.steward.dataset("stays");
    world.steward.publish(discreet(&stays)).await.unwrap();
    let third = third(&world).await;
    refused(dataset(&third, &stays).await, Code::NotFound, "NOT_FOUND_OR_DENIED");
    dataset(&world.requester, &stays).await.unwrap();
    world.requester.query(RESEARCH, COUNT).await.unwrap();
    world.steward.revoke_grant(&world.grant.name).await.unwrap();
    refused(dataset(&world.requester, &stays).await, Code::NotFound, "NOT_FOUND_OR_DENIED");
    refused(world.requester.query(RESEARCH, COUNT).await, Code::PermissionDenied, "GRANT_REVOKED");
}

async fn a_deny_of_uses_for_some_purposes_hides_no_entry(hub: &mut Hub) {
    let world = world::small(hub).await;
    let stays = world.steward.dataset("stays");
    let third = third(&world).await;
    let mut rules = stays_policy(&stays).rules;
    let companies = pb::Who { kinds: vec![pb::ParticipantKind::Company.into()], ..Default::default() };
    rules.push(pb::Rule { who: Some(companies), ..deny("no_companies", &[pb::Action::Discover], &[]) });
    world.steward.publish(policy(&stays, rules.clone())).await.unwrap();
    refused(dataset(&third, &stays).await, Code::NotFound, "NOT_FOUND_OR_DENIED");
    let lab = world.lab.steward().await;
    dataset(&lab, &stays).await.unwrap();

    // Which purposes a discovery would be for cannot be asked: such a deny would do nothing.
    rules.pop();
    rules.push(deny("no_marketing", &[pb::Action::Discover, pb::Action::Aggregate], &["marketing"]));
    let answer = world.steward.publish(policy(&stays, rules)).await;
    refused(answer, Code::InvalidArgument, "POLICY_INVALID");
}

async fn a_rule_and_an_agreement_name_no_other_participant(hub: &mut Hub) {
    let world = world::small(hub).await;
    let stays = world.steward.dataset("stays");
    let named = |rule: pb::Rule, ids: &[&str]| {
        let organisations = ids.iter().map(|id| format!("participants/{id}")).collect();
        pb::Rule { who: Some(pb::Who { organisations, ..Default::default() }), ..rule }
    };
    world.operator.welcome("third", pb::ParticipantKind::Company).await;
    let published = world
        .steward
        .publish(policy(
            &stays,
            vec![
                named(permit("partners", &[pb::Action::Read], &[RESEARCH]), &["lab", "third"]),
                named(deny("no_third", &[pb::Action::Read], &["marketing"]), &["third"]),
                named(deny("no_both", &[pb::Action::Download], &[]), &["lab", "third"]),
            ],
        ))
        .await
        .unwrap();
    let request = pb::GetPolicyRequest { name: published.name.clone() };
    let read = world.requester.client.policies().get_policy(request).await.unwrap().into_inner();
    let said = format!("{read:?}");
    assert!(said.contains("participants/lab") && !said.contains("third"), "{said}");

    let asked = world.requester.request_access(world::STAYS, pb::Action::Read, RESEARCH).await.unwrap();
    let grant = world.steward.approve(&asked).await.unwrap();
    let request = pb::ExportGrantRequest { name: grant.name };
    let agreement = world.requester.client.access().export_grant(request).await.unwrap().into_inner().document;
    assert!(agreement.contains("urn:odh:participant:lab") && !agreement.contains("third"), "{agreement}");
    assert!(agreement.contains("prohibition"), "{agreement}");
    assert!(agreement.contains(&published.digest), "the digest is that of the whole: {agreement}");

    let request = pb::ExportPolicyRequest { name: published.name, format: pb::PolicyFormat::OdrlOffers.into() };
    let offers = world.requester.client.policies().export_policy(request).await.unwrap().into_inner().document;
    assert!(offers.contains(&published.digest) && !offers.contains("third"), "{offers}");
}

async fn an_old_version_is_not_revoked_while_the_same_text_is_in_force(hub: &mut Hub) {
    let world = world::small(hub).await;
    let stays = world.steward.dataset("stays");
    world.steward.publish(discreet(&stays)).await.unwrap();
    let again = world.steward.publish(stays_policy(&stays)).await.unwrap();
    assert_eq!(again.digest, world.policy.digest);
    refused(world.steward.revoke_policy(&world.policy.name).await, Code::FailedPrecondition, "STATE_CONFLICT");
    world.requester.query(RESEARCH, COUNT).await.unwrap();
    world.steward.revoke_policy(&again.name).await.unwrap();
    refused(world.requester.query(RESEARCH, COUNT).await, Code::PermissionDenied, "GRANT_REVOKED");
    world.steward.revoke_policy(&world.policy.name).await.unwrap();
}

async fn a_denial_that_is_hidden_from_its_caller_is_in_the_log(hub: &mut Hub) {
    let world = world::small(hub).await;
    let outsider = world.lab.steward().await;
    let request = pb::CheckPolicyRequest { policy: Some(stays_policy(&world.steward.dataset("stays"))) };
    let answer = outsider.client.policies().check_policy(request).await;
    refused(answer, Code::NotFound, "NOT_FOUND_OR_DENIED");
    let entries = world.auditor.entries("type = \"call.denied\"").await;
    let (_, last) = entries.last().unwrap();
    assert_eq!(last["f"]["call"], "PolicyService/CheckPolicy");
    assert_eq!(last["f"]["reason"], "ROLE_MISSING");
}

async fn an_explanation_of_every_column_says_what_a_request_would_meet(hub: &mut Hub) {
    let world = world::small(hub).await;
    let explain = |action: pb::Action, purpose: &str| pb::ExplainDecisionRequest {
        dataset: world.steward.dataset("stays"),
        action: action.into(),
        purpose: purpose.to_owned(),
        ..Default::default()
    };
    for (action, rule) in [(pb::Action::Aggregate, "groups"), (pb::Action::Read, "rows")] {
        let mut policies = world.requester.client.policies();
        let said = policies.explain_decision(explain(action, RESEARCH)).await.unwrap().into_inner();
        match said.decision.and_then(|decision| decision.outcome) {
            Some(Outcome::Permit(permit)) => assert_eq!(permit.rule, rule),
            other => panic!("{other:?}"),
        }
        world.requester.request_access(world::STAYS, action, RESEARCH).await.unwrap();
    }
    let mut policies = world.requester.client.policies();
    let said = policies.explain_decision(explain(pb::Action::Read, "marketing")).await.unwrap().into_inner();
    let text = format!("{said:?}");
    let permitted = matches!(said.decision.unwrap().outcome, Some(Outcome::Permit(_)));
    assert!(!permitted && text.contains("does not cover this purpose"), "{text}");
}

async fn a_simulation_counts_nothing_that_the_floor_in_force_would_not_release(hub: &mut Hub) {
    let world = world::small(hub).await;
    let stays = world.steward.dataset("stays");
    let counted = async |floor: Option<pb::How>| {
        let mut strict = stays_policy(&stays);
        strict.floor = floor;
        world.steward.publish(strict).await.unwrap();
        let mut draft = stays_policy(&stays);
        draft.rules[0].how.as_mut().unwrap().row_filter = Some(at_least("age", 86));
        let request = pb::SimulatePolicyRequest {
            policy: Some(pb::PolicyChoice { choice: Some(pb::policy_choice::Choice::Policy(draft)) }),
            since_time: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
            ..Default::default()
        };
        let simulated = world.steward.client.policies().simulate_policy(request).await.unwrap().into_inner();
        let read = |flip: &&pb::Flip| flip.action() == pb::Action::Read;
        simulated.flips.iter().find(read).unwrap().rows_after
    };
    assert_eq!(counted(None).await, Some(56));
    let k = |k| pb::How { aggregate_only: Some(pb::AggregateOnly { k }), ..Default::default() };
    assert_eq!(counted(Some(k(400))).await, None, "a group that small is not released to anyone");
    assert_eq!(counted(Some(pb::How { consent_required: true, ..Default::default() })).await, None);
    assert_eq!(counted(Some(pb::How { max_queries: Some(1), ..Default::default() })).await, None);
}

async fn an_auditor_reads_the_policy_of_a_dataset_that_is_hidden(hub: &mut Hub) {
    let world = world::small(hub).await;
    let stays = world.steward.dataset("stays");
    let published = world.steward.publish(discreet(&stays)).await.unwrap();
    let request = || pb::GetPolicyRequest { name: published.name.clone() };
    let read = world.auditor.client.policies().get_policy(request()).await.unwrap().into_inner();
    assert_eq!(read.policy_version.unwrap().digest, published.digest);
    let third = third(&world).await;
    refused(third.client.policies().get_policy(request()).await, Code::NotFound, "NOT_FOUND_OR_DENIED");
}
