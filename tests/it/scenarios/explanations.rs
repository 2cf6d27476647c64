//! Why something was denied and what would unlock it: to the requester what is its business, to owner and auditor all.

use odh::{
    cli::{
        client::{Client, Target},
        env::Lang,
    },
    grpc::pb::{self, decision::Outcome},
};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::{
    harness::{Hub, on_both_engines},
    personas::{Persona, metadata, refused},
    policies::{only, permit, policy},
    world::{self, RESEARCH, World},
};

on_both_engines!(
    a_denial_says_what_would_unlock_it_and_names_nobody_else,
    the_owner_and_an_auditor_see_the_whole_trace_of_anybody,
    a_missing_grant_says_whether_one_could_be_had,
    discovery_is_explained_without_a_purpose,
    the_owner_is_told_what_the_floor_leaves_it_of_its_own_data,
    a_permit_shows_that_consent_is_required_and_an_explanation_its_time,
    a_rejected_query_is_explained_in_ones_language,
);

/// For labs that are accredited, for research on some columns; for a partner by name; never for marketing.
async fn careful(world: &World) -> pb::PolicyVersion {
    let dataset = world.steward.dataset("stays");
    let who = pb::Who {
        kinds: vec![pb::ParticipantKind::Lab.into()],
        accreditations: vec!["hds".to_owned()],
        ..Default::default()
    };
    let research = pb::Rule {
        who: Some(who),
        columns: Some(only(&["pid", "age"])),
        legal_basis: pb::LegalBasis::Consent.into(),
        how: Some(pb::How { aggregate_only: Some(pb::AggregateOnly { k: 5 }), ..Default::default() }),
        ..permit("research", &[pb::Action::Aggregate], &[RESEARCH])
    };
    let organisations = vec!["participants/partner_inc".to_owned()];
    let partner = pb::Rule {
        who: Some(pb::Who { organisations, ..Default::default() }),
        ..permit("secret_partner", &[pb::Action::Read], &[])
    };
    let never = pb::Rule {
        id: "no_marketing".to_owned(),
        effect: pb::Effect::Deny.into(),
        actions: vec![pb::Action::Aggregate.into()],
        purposes: vec!["marketing".to_owned()],
        ..Default::default()
    };
    let visible = pb::Rule { legal_basis: 0, ..permit("visible", &[pb::Action::Discover], &[]) };
    world.steward.publish(policy(&dataset, vec![visible, research, partner, never])).await.unwrap()
}

fn ask(world: &World, action: pb::Action, purpose: &str) -> pb::ExplainDecisionRequest {
    pb::ExplainDecisionRequest {
        dataset: world.steward.dataset("stays"),
        action: action.into(),
        purpose: purpose.to_owned(),
        ..Default::default()
    }
}

async fn explain(persona: &Persona, request: pb::ExplainDecisionRequest) -> pb::Decision {
    persona.client.policies().explain_decision(request).await.unwrap().into_inner().decision.unwrap()
}

fn refusal(decision: &pb::Decision) -> &pb::Refusal {
    match &decision.outcome {
        Some(Outcome::Refusal(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

async fn a_denial_says_what_would_unlock_it_and_names_nobody_else(hub: &mut Hub) {
    let world = world::small(hub).await;
    careful(&world).await;
    let decision = explain(&world.requester, ask(&world, pb::Action::Read, "academic_research")).await;
    assert_eq!(decision.unlocks.len(), 1, "{decision:#?}");
    let unlock = &decision.unlocks[0];
    assert_eq!((unlock.rule.as_str(), unlock.action()), ("research", pb::Action::Aggregate));
    assert_eq!(
        (unlock.accreditations.as_slice(), unlock.purposes.as_slice()),
        (["hds".to_owned()].as_slice(), [RESEARCH.to_owned()].as_slice())
    );
    assert_eq!(unlock.columns, ["age", "pid"]);
    let said = unlock.message.as_ref().unwrap();
    assert!(said.fr.starts_with("la règle `research` le permettrait") && said.fr.contains("l'accréditation `hds`"));

    // The same is in the refusal of a request for access.
    let asked = world.requester.request_access(world::STAYS, pb::Action::Aggregate, "academic_research").await;
    let status = refused(asked, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(metadata(&status, "clause"), "accreditation");
    assert!(metadata(&status, "detail").contains("rule `research` would permit it"), "{status:?}");
    let marketing = world.requester.request_access(world::STAYS, pb::Action::Aggregate, "marketing").await;
    let status = refused(marketing, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(metadata(&status, "clause"), "prohibition");
    for said in [format!("{decision:?}"), crate::personas::all_of(&status)] {
        for secret in ["partner", "no_marketing"] {
            assert!(!said.contains(secret), "{secret}: {said}");
        }
    }
}

async fn the_owner_and_an_auditor_see_the_whole_trace_of_anybody(hub: &mut Hub) {
    let world = world::small(hub).await;
    careful(&world).await;
    let about = |participant: &str| pb::ExplainDecisionRequest {
        participant: format!("participants/{participant}"),
        ..ask(&world, pb::Action::Aggregate, RESEARCH)
    };
    for whole in [&world.steward.0, &world.auditor.0] {
        let decision = explain(whole, about("lab")).await;
        let rules: Vec<&str> = decision.trace.iter().map(|one| one.rule.as_str()).collect();
        assert_eq!(rules, ["visible", "research", "secret_partner", "no_marketing"]);
        let clause = |rule: &str| decision.trace.iter().find(|one| one.rule == rule).unwrap().first_failed();
        assert_eq!(clause("research"), pb::Clause::Accreditation);
        assert_eq!(clause("secret_partner"), pb::Clause::Organisation);
        assert!(refusal(&decision).message.as_ref().unwrap().en.contains("`secret_partner` (permit) does not apply"));
        let request = about("nobody_here");
        let nobody = whole.client.policies().explain_decision(request).await;
        refused(nobody, Code::NotFound, "NOT_FOUND_OR_DENIED");
    }
    let other = world.requester.client.policies().explain_decision(about("chu")).await;
    refused(other, Code::InvalidArgument, "INVALID_ARGUMENT");
    let own = explain(&world.requester, about("lab")).await;
    assert!(own.trace.iter().all(|one| ["visible", "research"].contains(&one.rule.as_str())), "{own:#?}");
}

async fn a_missing_grant_says_whether_one_could_be_had(hub: &mut Hub) {
    let world = world::small(hub).await;
    let company = world.operator.welcome("third", pb::ParticipantKind::Company).await.requester().await;
    let count = "select count(*) from chu.stays";
    let status = refused(company.query(RESEARCH, count).await, Code::PermissionDenied, "GRANT_REQUIRED");
    assert_eq!(metadata(&status, "unlock"), "ask for access first, the policy permits you `read` or `aggregate`");
    let status =
        refused(world.requester.query("marketing", count).await, Code::PermissionDenied, "PURPOSE_NOT_PERMITTED");
    assert!(metadata(&status, "unlock").contains("would permit it for purpose `scientific_research`"), "{status:?}");
    careful(&world).await;
    let status = refused(company.query(RESEARCH, count).await, Code::PermissionDenied, "GRANT_REQUIRED");
    assert_eq!(metadata(&status, "unlock"), "no rule of the policy in force would permit it to you");
}

async fn discovery_is_explained_without_a_purpose(hub: &mut Hub) {
    let world = world::small(hub).await;
    careful(&world).await;
    let decision = explain(&world.requester, ask(&world, pb::Action::Discover, "")).await;
    let Some(Outcome::Permit(permit)) = &decision.outcome else { panic!("{decision:?}") };
    assert_eq!(permit.rule, "visible");
    let request = ask(&world, pb::Action::Read, "");
    let answer = world.requester.client.policies().explain_decision(request).await;
    refused(answer, Code::InvalidArgument, "INVALID_ARGUMENT");
}

async fn the_owner_is_told_what_the_floor_leaves_it_of_its_own_data(hub: &mut Hub) {
    let world = world::small(hub).await;
    let mut closed = policy(&world.steward.dataset("stays"), Vec::new());
    closed.rules.push(permit("visible", &[pb::Action::Discover], &[]));
    closed.rules[0].legal_basis = 0;
    closed.floor = Some(pb::How { aggregate_only: Some(pb::AggregateOnly { k: 7 }), ..Default::default() });
    let version = world.steward.publish(closed).await.unwrap();
    let own = |action, purpose: &str| pb::ExplainDecisionRequest {
        participant: "participants/chu".to_owned(),
        ..ask(&world, action, purpose)
    };
    // It says what its queries will find: no rule permits them, and none has to.
    for persona in [&world.steward.0, &world.auditor.0] {
        let decision = explain(persona, own(pb::Action::Read, RESEARCH)).await;
        let Some(Outcome::Permit(permit)) = &decision.outcome else { panic!("{decision:?}") };
        assert_eq!((permit.rule.as_str(), decision.trace.len()), ("", 0));
        assert_eq!(permit.how.as_ref().unwrap().aggregate_only, Some(pb::AggregateOnly { k: 7 }));
        assert_eq!(decision.policy_digest, version.digest);
    }
    let decision = explain(&world.steward, own(pb::Action::Discover, "")).await;
    assert!(matches!(decision.outcome, Some(Outcome::Permit(_))), "{decision:?}");
    let decision = explain(&world.steward, own(pb::Action::Download, RESEARCH)).await;
    let Some(Outcome::Refusal(refusal)) = &decision.outcome else { panic!("{decision:?}") };
    let message = refusal.message.as_ref().unwrap();
    assert!(message.en.contains("floor") && message.fr.contains("plancher"), "{message:?}");
    world.owner.requester().await.query(RESEARCH, "select count(*) from chu.stays").await.unwrap();
}

async fn a_permit_shows_that_consent_is_required_and_an_explanation_its_time(hub: &mut Hub) {
    let world = world::small(hub).await;
    let request =
        pb::ExplainDecisionRequest { columns: Some(only(&["pid", "age"])), ..ask(&world, pb::Action::Read, RESEARCH) };
    let decision = explain(&world.requester, request).await;
    let Some(Outcome::Permit(permit)) = &decision.outcome else { panic!("{decision:?}") };
    assert_eq!(permit.legal_basis(), pb::LegalBasis::Consent);
    assert!(permit.how.as_ref().unwrap().consent_required, "{permit:?}");
    let explained = world.requester.explain(RESEARCH, "select count(*) from chu.stays").await.unwrap();
    let Some(pb::explain_query_response::Result::Explanation(explanation)) = explained.result else { panic!() };
    assert!(explanation.max_duration.unwrap().seconds > 0);
}

async fn a_rejected_query_is_explained_in_ones_language(hub: &mut Hub) {
    let world = world::small(hub).await;
    let site = hub.site();
    let target = Target::new(&site.grpc, &site.ca_pem)
        .with_certificate(world.requester.chain_pem.as_str(), world.requester.key_pem.as_str())
        .speaking(Lang::Fr);
    let persona = Persona { client: Client::connect(target).await.unwrap(), ..world.requester.0.clone() };
    for (sql, said) in [
        ("select nothing_ from chu.stays", "il n'y a pas de colonne"),
        ("delete from chu.stays", "seul SELECT est accepté"),
        ("select * from chu.nowhere", "pas de table `chu.nowhere`"),
    ] {
        let status = crate::personas::ask(&persona, RESEARCH, sql).await.unwrap_err();
        let message = status.get_details_localized_message().unwrap();
        assert!(message.message.contains(said), "{sql}: {message:?}");
        assert!(status.message().contains("the query was rejected"), "for programs: {status:?}");
    }
}
