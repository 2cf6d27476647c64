//! Coming into the hub: with a one-time token and nothing else, once.

use odh::{
    grpc::pb,
    trust::{P256Key, new_csr},
};
use tonic::Code;

use crate::{
    harness::{Hub, on_both_engines},
    personas::{
        Operator, Stranger,
        operator::{invite, register, registration},
        refused,
    },
};

on_both_engines!(
    without_a_certificate_only_enrolment_is_open,
    a_used_token_is_refused,
    a_wrong_token_is_refused_whatever_it_looks_like,
    a_certificate_request_that_is_none_uses_no_token_up,
    an_organisation_registers_signs_and_is_approved,
    a_wrong_siren_is_refused_and_uses_no_invitation_up,
    an_id_or_a_siren_is_taken_once,
    the_charter_is_signed_as_it_was_read,
    an_act_signed_by_another_key_is_refused,
    a_certificate_is_renewed_by_one_call,
    roles_that_do_not_go_together_are_not_given,
);

async fn without_a_certificate_only_enrolment_is_open(hub: &mut Hub) {
    let stranger = Stranger::at(&hub.site()).await.client;
    let known = stranger.participants().get_hub(pb::GetHubRequest {}).await.unwrap().into_inner().hub.unwrap();
    assert_eq!(known.hub_id, crate::harness::HUB_ID);
    stranger.access().get_jwks(pb::GetJwksRequest {}).await.unwrap();
    stranger.participants().get_charter(pb::GetCharterRequest::default()).await.expect("whoever comes may read it");
    let closed = [
        stranger.participants().who_am_i(pb::WhoAmIRequest {}).await.map(|_| ()),
        stranger.participants().list_participants(pb::ListParticipantsRequest::default()).await.map(|_| ()),
        stranger.catalog().list_datasets(pb::ListDatasetsRequest::default()).await.map(|_| ()),
        stranger.policies().list_purposes(pb::ListPurposesRequest::default()).await.map(|_| ()),
        stranger.access().list_grants(pb::ListGrantsRequest::default()).await.map(|_| ()),
        stranger.queries().execute(pb::ExecuteRequest::default()).await.map(|_| ()),
        stranger.audit().get_checkpoint(pb::GetCheckpointRequest {}).await.map(|_| ()),
        stranger.audit().export_entries(pb::ExportEntriesRequest::default()).await.map(|_| ()),
        stranger.consents().get_consent_summary(pb::GetConsentSummaryRequest::default()).await.map(|_| ()),
    ];
    for answer in closed {
        refused(answer, Code::Unauthenticated, "UNAUTHENTICATED");
    }
    Operator::first(&hub.site(), &hub.operator_token()).await.who_am_i().await.unwrap();
}

async fn a_used_token_is_refused(hub: &mut Hub) {
    let site = hub.site();
    let first = hub.operator_token();
    let operator = Operator::first(&site, &first).await;
    let stranger = Stranger::at(&site).await;
    refused(stranger.enrol(&first).await, Code::Unauthenticated, "ENROLMENT_TOKEN_INVALID");
    let token = invite(&operator, &[pb::Role::Auditor]).await.unwrap().enrolment_token;
    let all = futures::future::join_all((0..8).map(|_| stranger.enrol(&token))).await;
    assert_eq!(all.iter().filter(|enrolled| enrolled.is_ok()).count(), 1, "one of many at once gets in");
    hub.restart().await;
    let stranger = Stranger::at(&hub.site()).await;
    refused(stranger.enrol(&token).await, Code::Unauthenticated, "ENROLMENT_TOKEN_INVALID");
}

async fn a_wrong_token_is_refused_whatever_it_looks_like(hub: &mut Hub) {
    let stranger = Stranger::at(&hub.site()).await;
    let mut almost = hub.operator_token();
    let last = almost.pop().unwrap();
    almost.push(if last == 'A' { 'B' } else { 'A' });
    for token in ["", "nonsense", "' OR 1=1 --", &"x".repeat(10_000), &almost] {
        refused(stranger.enrol(token).await, Code::Unauthenticated, "ENROLMENT_TOKEN_INVALID");
    }
    // The invitation of an organisation does not make a member, nor the other way round.
    almost.pop();
    almost.push(last);
    let operator = Operator::first(&hub.site(), &almost).await;
    let invitation = operator.invite().await;
    refused(stranger.enrol(&invitation).await, Code::Unauthenticated, "ENROLMENT_TOKEN_INVALID");
    let member = invite(&operator, &[pb::Role::Auditor]).await.unwrap().enrolment_token;
    let request = registration(&member, "chu", pb::ParticipantKind::PublicBody);
    refused(register(&hub.site(), &request).await, Code::Unauthenticated, "ENROLMENT_TOKEN_INVALID");
    stranger.enrol(&member).await.unwrap();
    register(&hub.site(), &registration(&invitation, "chu", pb::ParticipantKind::PublicBody)).await.unwrap();
}

async fn a_certificate_request_that_is_none_uses_no_token_up(hub: &mut Hub) {
    let token = hub.operator_token();
    let stranger = Stranger::at(&hub.site()).await;
    let (_, good) = new_csr().unwrap();
    let mut forged = good.clone().into_bytes();
    let middle = forged.len() / 2;
    forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
    let key = P256Key::generate().unwrap().to_pem().as_bytes().to_vec();
    for csr in [Vec::new(), b"no pem".to_vec(), forged, key, vec![b'x'; 20_000], vec![0xff, 0xfe]] {
        let request =
            pb::EnrolMemberRequest { enrolment_token: token.clone(), csr_pem: csr.into(), request_id: String::new() };
        let answer = stranger.client.participants().enrol_member(request).await;
        assert_eq!(answer.unwrap_err().code(), Code::InvalidArgument);
    }
    stranger.enrol(&token).await.unwrap();
}

async fn an_organisation_registers_signs_and_is_approved(hub: &mut Hub) {
    let site = hub.site();
    let operator = Operator::first(&site, &hub.operator_token()).await;
    let request = registration(&operator.invite().await, "chu", pb::ParticipantKind::PublicBody);
    let admin = crate::personas::Admin(register(&site, &request).await.unwrap());
    let seen = admin.who_am_i().await.unwrap();
    assert_eq!(seen.participant.unwrap().state(), pb::ParticipantState::Registered);
    assert_eq!(seen.member.unwrap().roles, [i32::from(pb::Role::ParticipantAdmin)]);
    assert_eq!(seen.credential, i32::from(pb::CredentialKind::Certificate));

    let early = invite(&admin, &[pb::Role::Steward]).await;
    refused(early, Code::PermissionDenied, "PARTICIPANT_NOT_ACTIVE");
    let approve = pb::ApproveParticipantRequest { name: admin.parent(), ..Default::default() };
    let unsigned = operator.client.participants().approve_participant(approve.clone()).await;
    refused(unsigned, Code::FailedPrecondition, "STATE_CONFLICT");
    let signed = admin.sign_charter().await.unwrap().participant.unwrap();
    assert_eq!((signed.state(), signed.signed_charter.as_str()), (pb::ParticipantState::CharterSigned, "charters/1"));
    let approved = operator.client.participants().approve_participant(approve).await.unwrap().into_inner();
    assert_eq!(approved.participant.unwrap().state(), pb::ParticipantState::Active);
    invite(&admin, &[pb::Role::Steward]).await.unwrap();

    let auditor = operator.auditor().await;
    let kinds: Vec<String> = auditor
        .entries("")
        .await
        .iter()
        .map(|(_, entry)| entry["type"].as_str().or_else(|| entry["k"].as_str()).unwrap_or_default().to_owned())
        .collect();
    for kind in ["participant.invited", "participant.registered", "charter.signed", "participant.approved"] {
        let all = auditor.entries(&format!("type = \"{kind}\"")).await;
        assert_eq!(all.len(), 1, "`{kind}` among {kinds:?}");
    }
}

async fn a_wrong_siren_is_refused_and_uses_no_invitation_up(hub: &mut Hub) {
    let site = hub.site();
    let operator = Operator::first(&site, &hub.operator_token()).await;
    let good = registration(&operator.invite().await, "chu", pb::ParticipantKind::PublicBody);
    for siren in ["", "123", "732829321", "abcdefghi", "7328293200", "१२३४५६७८९"] {
        let bad = pb::RegisterParticipantRequest { siren: siren.to_owned(), ..good.clone() };
        refused(register(&site, &bad).await, Code::InvalidArgument, "SIREN_INVALID");
    }
    let others = [
        pb::RegisterParticipantRequest { participant_id: "CHU".to_owned(), ..good.clone() },
        pb::RegisterParticipantRequest { legal_name: String::new(), ..good.clone() },
        pb::RegisterParticipantRequest { legal_name: "x".repeat(201), ..good.clone() },
        pb::RegisterParticipantRequest { country: "France".to_owned(), ..good.clone() },
        pb::RegisterParticipantRequest { kind: 0, ..good.clone() },
        pb::RegisterParticipantRequest { kind: 77, ..good.clone() },
        pb::RegisterParticipantRequest { admin_display_name: String::new(), ..good.clone() },
    ];
    for bad in others {
        assert_eq!(register(&site, &bad).await.map(|_| ()).unwrap_err().code(), Code::InvalidArgument, "{bad:?}");
    }
    let spaced = pb::RegisterParticipantRequest { siren: "732 829 320".to_owned(), ..good };
    let admin = register(&site, &spaced).await.unwrap();
    assert_eq!(admin.who_am_i().await.unwrap().participant.unwrap().siren, "732829320");
}

async fn an_id_or_a_siren_is_taken_once(hub: &mut Hub) {
    let site = hub.site();
    let operator = Operator::first(&site, &hub.operator_token()).await;
    operator.welcome("chu", pb::ParticipantKind::PublicBody).await;
    let token = operator.invite().await;
    let same_id = pb::RegisterParticipantRequest {
        siren: "732829320".to_owned(),
        ..registration(&token, "chu", pb::ParticipantKind::Company)
    };
    refused(register(&site, &same_id).await, Code::AlreadyExists, "ALREADY_EXISTS");
    let same_siren = pb::RegisterParticipantRequest {
        participant_id: "chu2".to_owned(),
        ..registration(&token, "chu", pb::ParticipantKind::Company)
    };
    refused(register(&site, &same_siren).await, Code::AlreadyExists, "ALREADY_EXISTS");
    register(&site, &registration(&token, "other", pb::ParticipantKind::Company)).await.unwrap();
}

async fn the_charter_is_signed_as_it_was_read(hub: &mut Hub) {
    use crate::personas::Sign as _;
    let site = hub.site();
    let operator = Operator::first(&site, &hub.operator_token()).await;
    let request = registration(&operator.invite().await, "chu", pb::ParticipantKind::PublicBody);
    let admin = register(&site, &request).await.unwrap();
    let other = odh::domain::Digest::of(b"another text").to_string();
    let request = pb::SignCharterRequest {
        signature: admin.sign("charter.sign", &other),
        digest: other,
        request_id: String::new(),
    };
    refused(admin.client.participants().sign_charter(request).await, Code::InvalidArgument, "CHARTER_MISMATCH");
}

async fn an_act_signed_by_another_key_is_refused(hub: &mut Hub) {
    use crate::personas::Sign as _;
    let site = hub.site();
    let operator = Operator::first(&site, &hub.operator_token()).await;
    let request = registration(&operator.invite().await, "chu", pb::ParticipantKind::PublicBody);
    let admin = register(&site, &request).await.unwrap();
    let charter = admin.client.participants().get_charter(pb::GetCharterRequest::default()).await.unwrap();
    let charter = charter.into_inner().charter.unwrap();
    assert_eq!(odh::domain::Digest::of(charter.text.as_bytes()).to_string(), charter.digest);
    for signature in [
        String::new(),
        "a.b.c".to_owned(),
        operator.sign("charter.sign", &charter.digest),
        admin.sign("policy.publish", &charter.digest),
        admin.sign("charter.sign", "sha256:00"),
    ] {
        let request = pb::SignCharterRequest { digest: charter.digest.clone(), signature, request_id: String::new() };
        refused(admin.client.participants().sign_charter(request).await, Code::InvalidArgument, "SIGNATURE_INVALID");
    }
}

async fn a_certificate_is_renewed_by_one_call(hub: &mut Hub) {
    let site = hub.site();
    let operator = Operator::first(&site, &hub.operator_token()).await;
    let old = operator.who_am_i().await.unwrap();
    let (key, csr) = new_csr().unwrap();
    let request = pb::RenewCertificateRequest { csr_pem: csr.into_bytes().into(), request_id: String::new() };
    let renewed = operator.client.participants().renew_certificate(request).await.unwrap().into_inner();
    let member = old.member.clone().unwrap();
    let again = crate::personas::Persona::connect(&site, &member, &renewed.certificate_chain_pem, &key).await;
    let new = again.who_am_i().await.unwrap();
    assert_eq!(new.member, old.member);
    assert_eq!(new.certificate_fingerprint, renewed.certificate.unwrap().fingerprint);
    assert_ne!(new.certificate_fingerprint, old.certificate_fingerprint);
    operator.who_am_i().await.expect("the old one stays valid until it ends");
    // Its own certificate anyone may give up.
    let auditor = operator.auditor().await;
    let own = auditor.who_am_i().await.unwrap().certificate_fingerprint;
    let request = pb::RevokeCertificateRequest { fingerprint: own, reason: "lost".to_owned(), ..Default::default() };
    auditor.client.participants().revoke_certificate(request).await.unwrap();
    refused(auditor.who_am_i().await, Code::Unauthenticated, "UNAUTHENTICATED");
}

async fn roles_that_do_not_go_together_are_not_given(hub: &mut Hub) {
    use pb::Role::{Auditor, Operator as Operates, Requester, Steward, Unspecified};
    let operator = Operator::first(&hub.site(), &hub.operator_token()).await;
    let admin = operator.welcome("chu", pb::ParticipantKind::PublicBody).await;
    for roles in [&[][..], &[Unspecified], &[Operates], &[Requester, Auditor], &[Steward, Auditor]] {
        assert_eq!(invite(&admin, roles).await.unwrap_err().code(), Code::InvalidArgument, "{roles:?}");
    }
    invite(&admin, &[Steward, Requester]).await.unwrap();
}
