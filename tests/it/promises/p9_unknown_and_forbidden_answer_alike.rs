//! P9: a denial names its reason to whoever may know it, in French and English; to anyone else what is forbidden and
//! what does not exist answer alike.

use odh::{
    cli::{
        client::{Client, Target},
        env::Lang,
    },
    grpc::pb,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    harness::{Hub, on_both_engines},
    personas::{Persona, metadata, refused},
    policies::{permit, policy},
    world::{self, RESEARCH, World},
};

on_both_engines!(
    a_dataset_that_is_hidden_and_one_that_is_not_there_answer_alike,
    grants_requests_members_and_policies_of_others_do_not_exist,
    a_hidden_table_and_an_unknown_one_are_the_same_in_sql,
    whoever_is_entitled_reads_the_reason,
    reasons_come_in_french_and_in_english,
    a_search_shows_nothing_of_what_is_hidden,
    rules_that_name_others_are_read_by_owner_and_auditor_alone,
);

const NOBODY: &str = "00000000-0000-7000-8000-000000000000";

/// A draft, and a published dataset that only the owner's own kind may discover.
async fn hide(world: &World) {
    let steward = &world.steward;
    steward.create_dataset("draft", pb::AccessLevel::Restricted, None).await.unwrap();
    steward.upload("draft", "a,b\n1,2\n").await.unwrap();
    steward.create_dataset("discreet", pb::AccessLevel::Restricted, None).await.unwrap();
    steward.upload("discreet", "a,b\n1,2\n").await.unwrap();
    let who = pb::Who { kinds: vec![pb::ParticipantKind::PublicBody.into()], ..Default::default() };
    let rule = pb::Rule { who: Some(who), ..permit("peers", &[pb::Action::Discover, pb::Action::Read], &[RESEARCH]) };
    steward.publish(policy(&steward.dataset("discreet"), vec![rule])).await.unwrap();
}

async fn a_dataset_that_is_hidden_and_one_that_is_not_there_answer_alike(hub: &mut Hub) {
    let world = world::small(hub).await;
    hide(&world).await;
    for hidden in ["chu.draft", "chu.discreet"] {
        for call in [get as Call, list_snapshots, list_policies, request_access, explain] {
            let there = call(&world.requester, hidden).await;
            let nowhere = call(&world.requester, "chu.nowhere").await;
            let elsewhere = call(&world.requester, "nobody.nothing").await;
            alike(&there, hidden, &nowhere, "chu.nowhere");
            alike(&there, hidden, &elsewhere, "nobody.nothing");
            assert_eq!(there.code(), Code::NotFound, "{there:?}");
        }
        // A steward of another participant who tries to change it.
        let outsider = world.lab.steward().await;
        for call in [update as Call, retire, consents, draft_policy] {
            let there = call(&outsider, hidden).await;
            let nowhere = call(&outsider, "chu.nowhere").await;
            alike(&there, hidden, &nowhere, "chu.nowhere");
            assert_eq!(there.code(), Code::NotFound, "{there:?}");
        }
    }
}

async fn grants_requests_members_and_policies_of_others_do_not_exist(hub: &mut Hub) {
    let world = world::small(hub).await;
    let other = world.operator.welcome("third", pb::ParticipantKind::Company).await;
    let (requester, steward) = (other.requester().await, other.steward().await);
    let access = requester.client.access();
    let grant = |name: &str| pb::GetGrantRequest { name: name.to_owned() };
    let there = access.clone().get_grant(grant(&world.grant.name)).await.unwrap_err();
    let nowhere = access.clone().get_grant(grant(&format!("grants/{NOBODY}"))).await.unwrap_err();
    alike(&there, id(&world.grant.name), &nowhere, NOBODY);

    let request = |name: &str| pb::GetAccessRequestRequest { name: name.to_owned() };
    let there = access.clone().get_access_request(request(&world.grant.access_request)).await.unwrap_err();
    let nowhere = access.clone().get_access_request(request(&format!("accessRequests/{NOBODY}"))).await.unwrap_err();
    alike(&there, id(&world.grant.access_request), &nowhere, NOBODY);

    let there = steward.revoke_grant(&world.grant.name).await.unwrap_err();
    let nowhere = steward.revoke_grant(&format!("grants/{NOBODY}")).await.unwrap_err();
    alike(&there, id(&world.grant.name), &nowhere, NOBODY);

    let member = |name: String| pb::GetMemberRequest { name };
    let participants = other.client.participants();
    let there = participants.clone().get_member(member(world.requester.name.clone())).await.unwrap_err();
    let nowhere =
        participants.clone().get_member(member(format!("participants/lab/members/{NOBODY}"))).await.unwrap_err();
    alike(&there, id(&world.requester.name), &nowhere, NOBODY);

    let fingerprint = world.requester.who_am_i().await.unwrap().certificate_fingerprint;
    let there = other.revoke_certificate(&fingerprint).await.unwrap_err();
    let nowhere = other.revoke_certificate(&"0".repeat(64)).await.unwrap_err();
    alike(&there, &fingerprint, &nowhere, &"0".repeat(64));
    world.requester.who_am_i().await.unwrap();
}

/// What a policy agrees with somebody else is none of a third party's business, and the digest still covers it.
async fn rules_that_name_others_are_read_by_owner_and_auditor_alone(hub: &mut Hub) {
    let world = world::small(hub).await;
    let named = |id: &str, participant: &str| pb::Rule {
        who: Some(pb::Who { organisations: vec![format!("participants/{participant}")], ..Default::default() }),
        ..permit(id, &[pb::Action::Read], &[RESEARCH])
    };
    let rules = vec![named("secret", "chu"), named("ours", "lab"), permit("anyone", &[pb::Action::Read], &[RESEARCH])];
    let published = world.steward.publish(policy(&world.steward.dataset("stays"), rules)).await.unwrap();
    let get = async |persona: &Persona| {
        let request = pb::GetPolicyRequest { name: published.name.clone() };
        persona.client.policies().get_policy(request).await.unwrap().into_inner()
    };
    let list = async |persona: &Persona| {
        let request = pb::ListPoliciesRequest { parent: world.steward.dataset("stays"), ..Default::default() };
        persona.client.policies().list_policies(request).await.unwrap().into_inner().policy_versions
    };
    let ids = |version: &pb::PolicyVersion| {
        version.policy.iter().flat_map(|policy| &policy.rules).map(|rule| rule.id.clone()).collect::<Vec<_>>()
    };

    let seen = get(&world.requester).await;
    let version = seen.policy_version.clone().unwrap();
    assert_eq!(ids(&version), ["ours", "anyone"]);
    assert!(version.partial && version.canonical_json.is_empty());
    assert_eq!(version.digest, published.digest, "the digest is that of the whole");
    let listed = list(&world.requester).await;
    assert!(listed.contains(&version), "a list shows the same: {listed:?}");
    for (form, refused) in [(pb::PolicyFormat::Odrl, true), (pb::PolicyFormat::OdrlOffers, false)] {
        let request = pb::ExportPolicyRequest { name: published.name.clone(), format: form.into() };
        let answer = world.requester.client.policies().export_policy(request).await;
        assert_eq!(answer.is_err(), refused, "{form:?}: {answer:?}");
        let said = answer.map_or_else(|status| format!("{status:?}"), |answer| answer.into_inner().document);
        assert!(!said.contains("secret"), "{form:?}: {said}");
    }
    let choice = |name: &str| pb::PolicyChoice { choice: Some(pb::policy_choice::Choice::Name(name.to_owned())) };
    let request =
        pb::ComparePoliciesRequest { old: Some(choice(&world.policy.name)), new: Some(choice(&published.name)) };
    let compared = world.requester.client.policies().compare_policies(request).await.unwrap().into_inner();
    assert!(!format!("{:?}", compared.differences).contains("secret"), "{:?}", compared.differences);

    for reader in [&world.steward.0, &world.auditor.0] {
        let version = get(reader).await.policy_version.unwrap();
        assert_eq!(ids(&version), ["secret", "ours", "anyone"]);
        assert!(!version.partial && !version.canonical_json.is_empty());
    }
}

async fn a_hidden_table_and_an_unknown_one_are_the_same_in_sql(hub: &mut Hub) {
    let world = world::small(hub).await;
    hide(&world).await;
    let ask = async |table: &str, purpose: &str| {
        world.requester.query(purpose, &format!("select * from {table}")).await.unwrap_err()
    };
    for purpose in [RESEARCH, "marketing"] {
        let nowhere = ask("chu.nowhere", purpose).await;
        for hidden in ["chu.draft", "chu.discreet"] {
            alike(&ask(hidden, purpose).await, hidden, &nowhere, "chu.nowhere");
        }
    }
    // A column outside the allow-list is no column.
    let ask = async |column: &str| {
        world.requester.query(RESEARCH, &format!("select {column} from chu.stays")).await.unwrap_err()
    };
    alike(&ask("admitted").await, "admitted", &ask("nothing_").await, "nothing_");
}

async fn whoever_is_entitled_reads_the_reason(hub: &mut Hub) {
    let world = world::small(hub).await;
    let requester = &world.requester;
    let count = "select count(*) from chu.stays";
    let status = refused(requester.query("marketing", count).await, Code::PermissionDenied, "PURPOSE_NOT_PERMITTED");
    assert_eq!((metadata(&status, "dataset"), metadata(&status, "purpose")), ("chu.stays".into(), "marketing".into()));
    let third = world.operator.welcome("third", pb::ParticipantKind::Company).await.requester().await;
    refused(third.query(RESEARCH, count).await, Code::PermissionDenied, "GRANT_REQUIRED");
    refused(requester.query("no_such_purpose", count).await, Code::InvalidArgument, "PURPOSE_UNKNOWN");
    let asked = requester.request_access("chu.stays", pb::Action::Aggregate, RESEARCH).await.unwrap();
    world.steward.refuse(&asked, "please ask for less").await.unwrap();
    let request = pb::GetAccessRequestRequest { name: asked.name };
    let seen = requester.client.access().get_access_request(request).await.unwrap().into_inner();
    assert_eq!(seen.access_request.unwrap().refusal_reason, "please ask for less");
}

async fn reasons_come_in_french_and_in_english(hub: &mut Hub) {
    let world = world::small(hub).await;
    let site = hub.site();
    let mut texts = Vec::new();
    for (lang, locale) in [(Lang::En, "en"), (Lang::Fr, "fr")] {
        let target = Target::new(&site.grpc, &site.ca_pem)
            .with_certificate(world.requester.chain_pem.as_str(), world.requester.key_pem.as_str())
            .speaking(lang);
        let client = Client::connect(target).await.unwrap();
        let persona = Persona { client, ..world.requester.0.clone() };
        let status = crate::personas::ask(&persona, "marketing", "select 1 from chu.stays").await.unwrap_err();
        let message = status.get_details_localized_message().unwrap();
        assert!(message.locale.starts_with(locale), "{message:?}");
        texts.push(message.message);
    }
    assert!(texts[0].contains("is not covered by your grants"), "{texts:?}");
    assert!(texts[1].contains("n'est pas couverte par vos accords"), "{texts:?}");
}

async fn a_search_shows_nothing_of_what_is_hidden(hub: &mut Hub) {
    let world = world::small(hub).await;
    hide(&world).await;
    let request = pb::ListDatasetsRequest { page_size: 100, ..Default::default() };
    let seen = world.requester.client.catalog().list_datasets(request).await.unwrap().into_inner();
    let tables: Vec<&str> = seen.datasets.iter().map(|dataset| dataset.table.as_str()).collect();
    assert_eq!(tables, ["chu.communes", "chu.stays"]);
    let request = pb::ListDatasetsRequest { query: "discreet".to_owned(), ..Default::default() };
    let hidden = world.requester.client.catalog().list_datasets(request).await.unwrap().into_inner();
    let request = pb::ListDatasetsRequest { query: "nowhere".to_owned(), ..Default::default() };
    let nowhere = world.requester.client.catalog().list_datasets(request).await.unwrap().into_inner();
    assert_eq!(hidden, nowhere);
    assert_eq!(hidden.empty_reason(), pb::EmptyReason::Query);
}

/// A call about one dataset, `owner.name`, that fails.
type Call = for<'a> fn(&'a Persona, &'a str) -> futures::future::BoxFuture<'a, Status>;

macro_rules! calls {
    ($($name:ident, $service:ident . $method:ident, |$dataset:ident| $request:expr;)+) => {$(
        fn $name<'a>(persona: &'a Persona, table: &'a str) -> futures::future::BoxFuture<'a, Status> {
            let (owner, id) = table.split_once('.').unwrap();
            let $dataset = format!("participants/{owner}/datasets/{id}");
            Box::pin(async move { persona.client.$service().$method($request).await.unwrap_err() })
        }
    )+};
}

calls! {
    get, catalog.get_dataset, |name| pb::GetDatasetRequest { name };
    list_snapshots, catalog.list_snapshots, |parent| pb::ListSnapshotsRequest { parent, ..Default::default() };
    list_policies, policies.list_policies, |parent| pb::ListPoliciesRequest { parent, ..Default::default() };
    retire, catalog.retire_dataset, |name| pb::RetireDatasetRequest { name, ..Default::default() };
    consents, consents.get_consent_summary, |dataset| pb::GetConsentSummaryRequest { dataset };
    draft_policy, policies.create_policy, |name| pb::CreatePolicyRequest {
        policy: Some(crate::policies::open_policy(&name)),
        request_id: String::new(),
    };
    update, catalog.update_dataset, |name| pb::UpdateDatasetRequest {
        dataset: Some(pb::Dataset { name, title: "mine now".to_owned(), ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["title".to_owned()] }),
        etag: "\"1\"".to_owned(),
        request_id: String::new(),
    };
    explain, policies.explain_decision, |dataset| pb::ExplainDecisionRequest {
        dataset,
        action: pb::Action::Read.into(),
        purpose: RESEARCH.to_owned(),
        ..Default::default()
    };
    request_access, access.create_access_request, |dataset| pb::CreateAccessRequestRequest {
        dataset,
        action: pb::Action::Read.into(),
        purpose: RESEARCH.to_owned(),
        justification: "curiosity".to_owned(),
        duration: Some(crate::personas::access_day()),
        ..Default::default()
    };
}

/// Asserts that two refusals differ in nothing but the name that was asked for.
#[track_caller]
fn alike(one: &Status, name: &str, other: &Status, other_name: &str) {
    let plain = |status: &Status, name: &str| {
        let mut said = crate::personas::all_of(status);
        let mut names = vec![name.to_owned()];
        if let Some((owner, id)) = name.split_once('.') {
            names.push(format!("participants/{owner}/datasets/{id}"));
        }
        for name in names {
            said = said.replace(&name, "NAME");
        }
        said
    };
    assert_eq!(plain(one, name), plain(other, other_name));
}

fn id(name: &str) -> &str {
    name.rsplit('/').next().unwrap()
}
