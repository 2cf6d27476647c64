//! Who may call what: every call of the API by every role, in an organisation of its own.

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use odh::grpc::pb;
use tonic::{Code, Status};

use crate::{
    harness::{Hub, on_both_engines},
    personas::{Persona, metadata, operator::member, reason, refused},
    policies::open_policy,
    world::{self, RESEARCH, World},
};

on_both_engines!(
    each_call_is_refused_to_the_roles_that_it_is_not_for,
    every_call_of_the_api_is_in_the_matrix,
    operator_and_auditor_never_run_queries,
    nobody_decides_on_their_own_request,
    a_denial_is_in_the_log,
);

/// The roles that a call can be for; each is held by a persona that holds no other, but that the operator also
/// administers.
const ADMIN: &str = "admin";
const STEWARD: &str = "steward";
const REQUESTER: &str = "requester";
const OPERATOR: &str = "operator";
const AUDITOR: &str = "auditor";
const EVERYONE: &[&str] = &[ADMIN, STEWARD, REQUESTER, OPERATOR, AUDITOR];

type Call = for<'a> fn(&'a Persona) -> BoxFuture<'a, Result<(), Status>>;

/// One call of the matrix: its name, the roles it is for, and how it is made by a persona about its own organisation.
struct Row {
    call: &'static str,
    roles: &'static [&'static str],
    make: Call,
}

macro_rules! matrix {
    ($($service:literal $stub:ident { $($call:literal $method:ident for $roles:expr, |$me:ident| $request:expr;)+ })+) => {
        &[$($(Row {
            call: concat!($service, "/", $call),
            roles: $roles,
            make: |$me| Box::pin(async move { $me.client.$stub().$method($request).await.map(|_| ()) }),
        },)+)+]
    };
}

const MATRIX: &[Row] = matrix! {
    "ParticipantService" participants {
        "CreateInvitation" create_invitation for &[OPERATOR], |_me| pb::CreateInvitationRequest::default();
        "GetParticipant" get_participant for EVERYONE, |me| pb::GetParticipantRequest { name: me.parent() };
        "ListParticipants" list_participants for EVERYONE, |_me| pb::ListParticipantsRequest::default();
        "GetCharter" get_charter for EVERYONE, |_me| pb::GetCharterRequest::default();
        "SignCharter" sign_charter for &[ADMIN, OPERATOR], |_me| pb::SignCharterRequest {
            digest: odh::domain::Digest::of(b"").to_string(), ..Default::default()
        };
        "ApproveParticipant" approve_participant for &[OPERATOR], |_me| pb::ApproveParticipantRequest {
            name: "participants/lab".to_owned(), ..Default::default()
        };
        "SuspendParticipant" suspend_participant for &[OPERATOR], |_me| pb::SuspendParticipantRequest {
            name: "participants/nobody".to_owned(), reason: "none".to_owned(), ..Default::default()
        };
        "CreateMember" create_member for &[ADMIN, OPERATOR], |me| pb::CreateMemberRequest {
            parent: me.parent(), display_name: "x".to_owned(), roles: vec![pb::Role::Requester.into()],
            ..Default::default()
        };
        "GetMember" get_member for EVERYONE, |me| pb::GetMemberRequest { name: me.name.clone() };
        "ListMembers" list_members for &[ADMIN, OPERATOR], |me| pb::ListMembersRequest {
            parent: me.parent(), ..Default::default()
        };
        "UpdateMember" update_member for &[ADMIN, OPERATOR], |me| pb::UpdateMemberRequest {
            member: Some(pb::Member { name: me.name.clone(), display_name: "y".to_owned(), ..Default::default() }),
            update_mask: Some(prost_types::FieldMask { paths: vec!["display_name".to_owned()] }),
            etag: "\"0\"".to_owned(), request_id: String::new(),
        };
        "RevokeMember" revoke_member for &[ADMIN, OPERATOR], |me| pb::RevokeMemberRequest {
            // An empty reason: the last thing that is looked at before it is done.
            name: me.name.clone(), ..Default::default()
        };
        "RenewCertificate" renew_certificate for EVERYONE, |_me| pb::RenewCertificateRequest::default();
        "ListCertificates" list_certificates for EVERYONE, |me| pb::ListCertificatesRequest {
            parent: me.parent(), ..Default::default()
        };
        "CreateAccessToken" create_access_token for EVERYONE, |_me| pb::CreateAccessTokenRequest::default();
        "WhoAmI" who_am_i for EVERYONE, |_me| pb::WhoAmIRequest {};
    }
    "CatalogService" catalog {
        "CreateDataset" create_dataset for &[STEWARD], |me| pb::CreateDatasetRequest {
            parent: me.parent(), dataset_id: "made".to_owned(),
            dataset: Some(pb::Dataset {
                title: "Made".to_owned(), access_level: pb::AccessLevel::Open.into(), ..Default::default()
            }),
            request_id: String::new(),
        };
        "GetDataset" get_dataset for EVERYONE, |_me| pb::GetDatasetRequest { name: STAYS.to_owned() };
        "ListDatasets" list_datasets for EVERYONE, |_me| pb::ListDatasetsRequest::default();
        "UpdateDataset" update_dataset for &[STEWARD], |me| pb::UpdateDatasetRequest {
            dataset: Some(pb::Dataset { name: own(me), title: "T".to_owned(), ..Default::default() }),
            update_mask: Some(prost_types::FieldMask { paths: vec!["title".to_owned()] }),
            etag: "\"0\"".to_owned(), request_id: String::new(),
        };
        "RetireDataset" retire_dataset for &[STEWARD], |me| pb::RetireDatasetRequest {
            name: own(me), etag: "\"0\"".to_owned(), request_id: String::new(),
        };
        "UploadSnapshot" upload_snapshot for &[STEWARD], |me| futures::stream::iter([pb::UploadSnapshotRequest {
            part: Some(pb::upload_snapshot_request::Part::Header(pb::UploadSnapshotHeader {
                dataset: own(me), format: pb::FileFormat::Csv.into(), ..Default::default()
            })),
        }]);
        "ListSnapshots" list_snapshots for EVERYONE, |_me| pb::ListSnapshotsRequest {
            parent: STAYS.to_owned(), ..Default::default()
        };
    }
    "PolicyService" policies {
        "CreatePolicy" create_policy for &[STEWARD], |me| pb::CreatePolicyRequest {
            policy: Some(open_policy(&own(me))), request_id: String::new(),
        };
        "GetPolicy" get_policy for EVERYONE, |_me| pb::GetPolicyRequest { name: format!("{STAYS}/policies/1") };
        "ListPolicies" list_policies for EVERYONE, |_me| pb::ListPoliciesRequest {
            parent: STAYS.to_owned(), ..Default::default()
        };
        "PublishPolicy" publish_policy for &[STEWARD], |me| pb::PublishPolicyRequest {
            name: format!("{}/policies/9", own(me)), etag: "\"0\"".to_owned(), signature: "a..b".to_owned(),
            request_id: String::new(),
        };
        "RetirePolicy" retire_policy for &[STEWARD], |me| pb::RetirePolicyRequest {
            name: format!("{}/policies/9", own(me)), ..Default::default()
        };
        "RevokePolicy" revoke_policy for &[STEWARD], |me| pb::RevokePolicyRequest {
            name: format!("{}/policies/9", own(me)), reason: "x".to_owned(), signature: "a..b".to_owned(),
            ..Default::default()
        };
        "CheckPolicy" check_policy for &[STEWARD], |me| pb::CheckPolicyRequest {
            policy: Some(open_policy(&own(me))),
        };
        "ComparePolicies" compare_policies for EVERYONE, |_me| {
            let in_force = pb::policy_choice::Choice::InForceOf(STAYS.to_owned());
            let choice = Some(pb::PolicyChoice { choice: Some(in_force) });
            pb::ComparePoliciesRequest { old: choice.clone(), new: choice }
        };
        "SimulatePolicy" simulate_policy for &[STEWARD], |me| {
            let policy = pb::policy_choice::Choice::Policy(open_policy(&own(me)));
            pb::SimulatePolicyRequest {
                policy: Some(pb::PolicyChoice { choice: Some(policy) }),
                since_time: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
                ..Default::default()
            }
        };
        "ExplainDecision" explain_decision for EVERYONE, |_me| pb::ExplainDecisionRequest {
            dataset: STAYS.to_owned(), action: pb::Action::Read.into(), purpose: RESEARCH.to_owned(),
            ..Default::default()
        };
        "ExportPolicy" export_policy for EVERYONE, |_me| pb::ExportPolicyRequest {
            name: format!("{STAYS}/policies/1"), format: pb::PolicyFormat::Odrl.into(),
        };
        "ListPurposes" list_purposes for EVERYONE, |_me| pb::ListPurposesRequest::default();
    }
    "AccessService" access {
        "CreateAccessRequest" create_access_request for &[REQUESTER], |_me| pb::CreateAccessRequestRequest {
            dataset: STAYS.to_owned(), action: pb::Action::Read.into(), purpose: RESEARCH.to_owned(),
            justification: "x".to_owned(), duration: Some(crate::personas::access_day()), ..Default::default()
        };
        "ListAccessRequests" list_access_requests for &[ADMIN, STEWARD, REQUESTER, OPERATOR, AUDITOR],
            |_me| pb::ListAccessRequestsRequest::default();
        "ListGrants" list_grants for &[ADMIN, STEWARD, REQUESTER, OPERATOR, AUDITOR],
            |_me| pb::ListGrantsRequest::default();
    }
    "ConsentService" consents {
        "ImportConsents" import_consents for &[STEWARD], |me| futures::stream::iter([pb::ImportConsentsRequest {
            part: Some(pb::import_consents_request::Part::Header(pb::ImportConsentsHeader {
                dataset: own(me), format: pb::FileFormat::Csv.into(), request_id: String::new(),
            })),
        }]);
        "WithdrawConsents" withdraw_consents for &[STEWARD], |me| pb::WithdrawConsentsRequest {
            dataset: own(me), subjects: vec!["s".to_owned()], ..Default::default()
        };
        "GetConsentSummary" get_consent_summary for &[STEWARD, AUDITOR], |me| pb::GetConsentSummaryRequest {
            dataset: own(me),
        };
    }
    "QueryService" queries {
        "Execute" execute for &[REQUESTER], |_me| pb::ExecuteRequest {
            sql: "select count(*) from chu.communes".to_owned(), purpose: RESEARCH.to_owned(),
            ..Default::default()
        };
        "Download" download for &[REQUESTER], |_me| pb::DownloadRequest {
            dataset: "participants/chu/datasets/communes".to_owned(), purpose: RESEARCH.to_owned(), ..Default::default()
        };
        "ExplainQuery" explain_query for &[REQUESTER], |_me| pb::ExplainQueryRequest {
            sql: "select count(*) from chu.communes".to_owned(), purpose: RESEARCH.to_owned(),
            ..Default::default()
        };
    }
    "PrivacyService" privacy {
        "GetPrivacyBudget" get_privacy_budget for &[ADMIN, STEWARD, REQUESTER, AUDITOR],
            |me| pb::GetPrivacyBudgetRequest { dataset: own(me) };
        "ListTemplates" list_templates for EVERYONE, |_me| pb::ListTemplatesRequest { dataset: STAYS.to_owned() };
    }
    "AuditService" audit {
        "GetCheckpoint" get_checkpoint for EVERYONE, |_me| pb::GetCheckpointRequest {};
        "ListEntries" list_entries for &[ADMIN, STEWARD, AUDITOR, OPERATOR], |_me| pb::ListEntriesRequest::default();
        "ExportEntries" export_entries for &[ADMIN, STEWARD, AUDITOR, OPERATOR], |_me| pb::ExportEntriesRequest::default();
        "TailEntries" tail_entries for &[ADMIN, STEWARD, AUDITOR, OPERATOR], |_me| pb::TailEntriesRequest::default();
        "GetInclusionProof" get_inclusion_proof for EVERYONE, |_me| pb::GetInclusionProofRequest::default();
        "GetConsistencyProof" get_consistency_proof for EVERYONE, |_me| pb::GetConsistencyProofRequest {
            from_size: 1, to_size: 0,
        };
        "ListShards" list_shards for EVERYONE, |_me| pb::ListShardsRequest::default();
    }
};

/// Calls that the matrix leaves out: without identity, or about an object that only a scenario can make.
const ELSEWHERE: [&str; 14] = [
    "AuditService/Erase",
    "ParticipantService/GetHub",
    "ParticipantService/RegisterParticipant",
    "ParticipantService/EnrolMember",
    "ParticipantService/RevokeCertificate",
    "AccessService/GetJwks",
    "AccessService/GetAccessRequest",
    "AccessService/ApproveAccessRequest",
    "AccessService/RefuseAccessRequest",
    "AccessService/WithdrawAccessRequest",
    "AccessService/GetGrant",
    "AccessService/ExportGrant",
    "AccessService/RevokeGrant",
    "PrivacyService/GetGrantUse",
];

const STAYS: &str = "participants/chu/datasets/stays";

fn own(me: &Persona) -> String {
    format!("{}/datasets/own", me.parent())
}

async fn each_call_is_refused_to_the_roles_that_it_is_not_for(hub: &mut Hub) {
    let world = world::small(hub).await;
    let people: [(&str, Persona); 5] = [
        (ADMIN, world.lab.0.clone()),
        (STEWARD, world.lab.steward().await.0),
        (REQUESTER, world.requester.0.clone()),
        (OPERATOR, world.operator.0.clone()),
        (AUDITOR, world.lab.auditor().await.0),
    ];
    let steward = crate::personas::Steward(people[1].1.clone());
    steward.create_dataset("own", pb::AccessLevel::Restricted, Some(("pid", "regional"))).await.unwrap();
    let mut wrong = Vec::new();
    for row in MATRIX {
        for (role, persona) in &people {
            let answer = (row.make)(persona).await;
            let missing = matches!(&answer, Err(status) if says_role_missing(status));
            let expected = !row.roles.contains(role);
            if missing != expected {
                wrong.push(format!("{} by {role}: {:?}", row.call, answer.map_err(|e| (e.code(), reason(&e)))));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Refused for its role; about a dataset that is not there for the caller that answer is hidden (P9).
fn says_role_missing(status: &Status) -> bool {
    let hidden = status.code() == Code::NotFound && metadata(status, "object").contains("hub.own");
    reason(status) == "ROLE_MISSING" || hidden
}

async fn every_call_of_the_api_is_in_the_matrix(_hub: &mut Hub) {
    let covered: BTreeSet<&str> = MATRIX.iter().map(|row| row.call).chain(ELSEWHERE).collect();
    let missing: Vec<String> = odh::grpc::paths()
        .into_iter()
        .map(|path| AsRef::<str>::as_ref(&path).replace("/occitanie.datahub.v1.", ""))
        .filter(|call| call.ends_with(char::is_alphanumeric) && !call.starts_with('/'))
        .filter(|call| !covered.contains(call.as_str()))
        .collect();
    assert!(missing.is_empty(), "no row of the matrix for {missing:?}");
}

async fn operator_and_auditor_never_run_queries(hub: &mut Hub) {
    let world = world::small(hub).await;
    let sql = "select count(*) from chu.communes";
    for persona in [&world.operator.0, &world.auditor.0, &world.lab.auditor().await.0] {
        let answer = crate::personas::ask(persona, RESEARCH, sql).await;
        refused(answer, Code::PermissionDenied, "ROLE_MISSING");
    }
}

async fn nobody_decides_on_their_own_request(hub: &mut Hub) {
    let world = world::small(hub).await;
    // A member of the owner who may both ask and decide cannot even ask for what is its organisation's own.
    let both = member(&world.owner, &[pb::Role::Steward, pb::Role::Requester]).await;
    let asked = crate::personas::Requester(both).request_access(world::STAYS, pb::Action::Read, RESEARCH).await;
    assert!([Code::InvalidArgument, Code::FailedPrecondition].contains(&asked.unwrap_err().code()));
    // The requester's own stewards do not decide either.
    let asked = world.requester.request_access(world::STAYS, pb::Action::Read, RESEARCH).await.unwrap();
    let answer = world.lab.steward().await.approve(&asked).await;
    assert!([Code::PermissionDenied, Code::NotFound].contains(&answer.unwrap_err().code()));
    world.steward.approve(&asked).await.unwrap();
}

async fn a_denial_is_in_the_log(hub: &mut Hub) {
    let world: World = world::small(hub).await;
    let before = world.auditor.entries("type = \"call.denied\"").await.len();
    let own = crate::personas::Steward(world.requester.0.clone());
    let answer = own.create_dataset("mine", pb::AccessLevel::Open, None).await;
    refused(answer, Code::PermissionDenied, "ROLE_MISSING");
    let entries = world.auditor.entries("type = \"call.denied\"").await;
    assert_eq!(entries.len(), before + 1);
    let text = entries.last().unwrap().1.to_string();
    assert!(text.contains("CatalogService/CreateDataset") && text.contains("ROLE_MISSING"), "{text}");
}
