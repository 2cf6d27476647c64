//! `ParticipantService`: participants, members, certificates, access tokens and the charter.

use std::time::Duration;

use tonic::{Request, Response, Status};

use super::{
    call::Call,
    convert,
    filter::Filter,
    idempotency::Change,
    names,
    participant_message::{
        PARTICIPANT_FIELDS, accreditations, certificate_message, charter_message, issued_message, member,
        member_message, participant_has, participant_message, registration, require_usual_lifetime,
    },
    pb::{self, participant_service_server::ParticipantService},
};
use crate::{
    audit::VerifierKey,
    domain::{Credential, Participant},
    error::Result,
    trust::PeerIdentity,
};

/// What `update_mask` of a member may name.
const CHANGEABLE: [&str; 2] = ["display_name", "roles"];

/// The service.
#[derive(Debug)]
pub(super) struct Api;

#[tonic::async_trait]
impl ParticipantService for Api {
    async fn get_hub(&self, request: Request<pb::GetHubRequest>) -> Result<Response<pb::GetHubResponse>, Status> {
        let (call, _) = Call::split(request)?;
        let run = async {
            let hub = call.services().hub().await?;
            let keys = call.services().keys();
            Ok(pb::GetHubResponse {
                hub: Some(pb::Hub {
                    hub_id: hub.id,
                    software_version: env!("CARGO_PKG_VERSION").to_owned(),
                    charter: Some(charter_message(hub.charter)),
                    grpc_url: format!("https://{}", call.authority()),
                    https_url: hub.public_url,
                    ca_certificates_pem: keys.authority().certificate_pem().to_owned(),
                    checkpoint_verifier_keys: vec![VerifierKey::of(keys.log_signer().as_ref())?.to_string()],
                }),
            })
        };
        call.answer(run).await
    }

    async fn create_invitation(
        &self,
        request: Request<pb::CreateInvitationRequest>,
    ) -> Result<Response<pb::CreateInvitationResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            require_usual_lifetime(call.services(), "lifetime", asked.lifetime)?;
            let (token, expires_at, committed) = call.services().invite_participant(call.caller()?).await?;
            Ok(pb::CreateInvitationResponse {
                invitation_token: token,
                expire_time: Some(convert::timestamp(expires_at)),
                receipt: Some(convert::receipt_of(&committed)),
            })
        };
        let change = Change {
            forget: |reply: &mut pb::CreateInvitationResponse| reply.invitation_token.clear(),
            ..Change::under(&asked.request_id)
        };
        call.change(change, &asked, run).await
    }

    async fn register_participant(
        &self,
        request: Request<pb::RegisterParticipantRequest>,
    ) -> Result<Response<pb::RegisterParticipantResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let registration = registration(&asked)?;
            let (participant, enrolled, committed) = call.services().register(registration).await?;
            Ok(pb::RegisterParticipantResponse {
                participant: Some(participant_message(participant)),
                member: Some(member_message(enrolled.member)),
                certificate_chain_pem: enrolled.certificate,
                receipt: Some(convert::receipt_of(&committed)),
            })
        };
        let change = Change { token: Some(&asked.invitation_token), ..Change::under(&asked.request_id) };
        call.change(change, &asked, run).await
    }

    async fn get_participant(
        &self,
        request: Request<pb::GetParticipantRequest>,
    ) -> Result<Response<pb::GetParticipantResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let id = names::participant("name", &asked.name)?;
            let found = call.services().participant(call.caller()?, &id).await?;
            Ok(pb::GetParticipantResponse { participant: Some(participant_message(found)) })
        };
        call.answer(run).await
    }

    async fn list_participants(
        &self,
        request: Request<pb::ListParticipantsRequest>,
    ) -> Result<Response<pb::ListParticipantsResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let list = call.list(&asked)?;
            let filter = Filter::parse(&asked.filter, &PARTICIPANT_FIELDS, &[])?;
            let page = call.services().participants(call.caller()?, &list.page).await?;
            let keep = |one: &Participant| filter.admits(|field, value| participant_has(one, field, value));
            let participants = page.items.into_iter().filter(keep).map(participant_message).collect();
            Ok(pb::ListParticipantsResponse { participants, next_page_token: call.next(&list, page.next)? })
        };
        call.answer(run).await
    }

    async fn get_charter(
        &self,
        request: Request<pb::GetCharterRequest>,
    ) -> Result<Response<pb::GetCharterResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let version = match asked.name.as_str() {
                "" => None,
                name => Some(names::id("name", "charters", name)?),
            };
            Ok(pb::GetCharterResponse { charter: Some(charter_message(call.services().charter(version).await?)) })
        };
        call.answer(run).await
    }

    async fn sign_charter(
        &self,
        request: Request<pb::SignCharterRequest>,
    ) -> Result<Response<pb::SignCharterResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let (caller, certificate) = (call.caller()?, call.certificate()?);
            let signature = asked.signature.clone();
            let (signed, committed) =
                call.services().sign_charter(caller, certificate, asked.digest.parse()?, signature).await?;
            let receipt = Some(convert::receipt_of(&committed));
            Ok(pb::SignCharterResponse { participant: Some(participant_message(signed)), receipt })
        };
        call.change(Change::under(&asked.request_id), &asked, run).await
    }

    async fn approve_participant(
        &self,
        request: Request<pb::ApproveParticipantRequest>,
    ) -> Result<Response<pb::ApproveParticipantResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let id = names::participant("name", &asked.name)?;
            let accreditations = accreditations(&asked.accreditations)?;
            let (approved, committed) =
                call.services().approve_participant(call.caller()?, &id, accreditations, &asked.etag).await?;
            let receipt = Some(convert::receipt_of(&committed));
            Ok(pb::ApproveParticipantResponse { participant: Some(participant_message(approved)), receipt })
        };
        call.change(Change::under(&asked.request_id), &asked, run).await
    }

    async fn suspend_participant(
        &self,
        request: Request<pb::SuspendParticipantRequest>,
    ) -> Result<Response<pb::SuspendParticipantResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let id = names::participant("name", &asked.name)?;
            let (suspended, committed) =
                call.services().suspend_participant(call.caller()?, &id, &asked.reason, &asked.etag).await?;
            let receipt = Some(convert::receipt_of(&committed));
            Ok(pb::SuspendParticipantResponse { participant: Some(participant_message(suspended)), receipt })
        };
        call.change(Change::under(&asked.request_id), &asked, run).await
    }

    async fn create_member(
        &self,
        request: Request<pb::CreateMemberRequest>,
    ) -> Result<Response<pb::CreateMemberResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let participant = names::participant("parent", &asked.parent)?;
            let roles = convert::roles("roles", &asked.roles)?;
            require_usual_lifetime(call.services(), "enrolment_lifetime", asked.enrolment_lifetime)?;
            let name = asked.display_name.clone();
            let (member, token, expires_at, committed) =
                call.services().invite_member(call.caller()?, &participant, name, roles).await?;
            Ok(pb::CreateMemberResponse {
                member: Some(member_message(member)),
                enrolment_token: token,
                enrolment_expire_time: Some(convert::timestamp(expires_at)),
                receipt: Some(convert::receipt_of(&committed)),
            })
        };
        let change = Change {
            forget: |reply: &mut pb::CreateMemberResponse| reply.enrolment_token.clear(),
            ..Change::under(&asked.request_id)
        };
        call.change(change, &asked, run).await
    }

    async fn get_member(
        &self,
        request: Request<pb::GetMemberRequest>,
    ) -> Result<Response<pb::GetMemberResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run =
            async { Ok(pb::GetMemberResponse { member: Some(member_message(member(&call, &asked.name).await?)) }) };
        call.answer(run).await
    }

    async fn list_members(
        &self,
        request: Request<pb::ListMembersRequest>,
    ) -> Result<Response<pb::ListMembersResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let list = call.list(&asked)?;
            let participant = names::participant("parent", &asked.parent)?;
            let page = call.services().members(call.caller()?, &participant, &list.page).await?;
            let members = page.items.into_iter().map(member_message).collect();
            Ok(pb::ListMembersResponse { members, next_page_token: call.next(&list, page.next)? })
        };
        call.answer(run).await
    }

    async fn update_member(
        &self,
        request: Request<pb::UpdateMemberRequest>,
    ) -> Result<Response<pb::UpdateMemberResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let new = convert::present("member", asked.member.as_ref())?;
            let mask = convert::present("update_mask", asked.update_mask.as_ref())?;
            let mask = convert::mask("update_mask", &mask.paths, &CHANGEABLE)?;
            let etag = convert::required("etag", &asked.etag)?;
            let name = mask.contains(&"display_name").then(|| new.display_name.clone());
            let roles = mask.contains(&"roles").then(|| convert::roles("roles", &new.roles)).transpose()?;
            let id = member(&call, &new.name).await?.id;
            let (changed, committed) = call.services().update_member(call.caller()?, id, name, roles, etag).await?;
            let receipt = Some(convert::receipt_of(&committed));
            Ok(pb::UpdateMemberResponse { member: Some(member_message(changed)), receipt })
        };
        call.change(Change::under(&asked.request_id), &asked, run).await
    }

    async fn revoke_member(
        &self,
        request: Request<pb::RevokeMemberRequest>,
    ) -> Result<Response<pb::RevokeMemberResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let current = member(&call, &asked.name).await?;
            let (revoked, committed) =
                call.services().revoke_member(call.caller()?, current.id, &asked.reason, &asked.etag).await?;
            let receipt = Some(convert::receipt_of(&committed));
            Ok(pb::RevokeMemberResponse { member: Some(member_message(revoked)), receipt })
        };
        call.change(Change::under(&asked.request_id), &asked, run).await
    }

    async fn enrol_member(
        &self,
        request: Request<pb::EnrolMemberRequest>,
    ) -> Result<Response<pb::EnrolMemberResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let csr = convert::pem("csr_pem", &asked.csr_pem)?;
            let (enrolled, committed) = call.services().enrol(&asked.enrolment_token, csr).await?;
            Ok(pb::EnrolMemberResponse {
                member: Some(member_message(enrolled.member)),
                certificate_chain_pem: enrolled.certificate,
                receipt: Some(convert::receipt_of(&committed)),
            })
        };
        let change = Change { token: Some(&asked.enrolment_token), ..Change::under(&asked.request_id) };
        call.change(change, &asked, run).await
    }

    async fn renew_certificate(
        &self,
        request: Request<pb::RenewCertificateRequest>,
    ) -> Result<Response<pb::RenewCertificateResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            call.certificate()?;
            let csr = convert::pem("csr_pem", &asked.csr_pem)?;
            let (enrolled, committed) = call.services().renew_certificate(call.caller()?, csr).await?;
            Ok(pb::RenewCertificateResponse {
                certificate: Some(issued_message(call.services(), &enrolled.certificate, &enrolled.member)?),
                certificate_chain_pem: enrolled.certificate,
                receipt: Some(convert::receipt_of(&committed)),
            })
        };
        call.change(Change::under(&asked.request_id), &asked, run).await
    }

    async fn list_certificates(
        &self,
        request: Request<pb::ListCertificatesRequest>,
    ) -> Result<Response<pb::ListCertificatesResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let list = call.list(&asked)?;
            let of = names::participant("parent", &asked.parent)?;
            let certificates = call.services().certificates(call.caller()?, &of).await?;
            let (certificates, next) = list.cut(certificates, |certificate| certificate.fingerprint.clone());
            Ok(pb::ListCertificatesResponse {
                certificates: certificates.into_iter().map(|one| certificate_message(one, &of)).collect(),
                next_page_token: call.next(&list, next)?,
            })
        };
        call.answer(run).await
    }

    async fn revoke_certificate(
        &self,
        request: Request<pb::RevokeCertificateRequest>,
    ) -> Result<Response<pb::RevokeCertificateResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let caller = call.caller()?;
            let fingerprint = convert::required("fingerprint", &asked.fingerprint)?;
            let (revoked, committed) = call.services().revoke_certificate(caller, fingerprint, &asked.reason).await?;
            // Certificates are revoked within the caller's own participant only.
            let certificate = Some(certificate_message(revoked, &caller.participant));
            Ok(pb::RevokeCertificateResponse { certificate, receipt: Some(convert::receipt_of(&committed)) })
        };
        call.change(Change::under(&asked.request_id), &asked, run).await
    }

    async fn create_access_token(
        &self,
        request: Request<pb::CreateAccessTokenRequest>,
    ) -> Result<Response<pb::CreateAccessTokenResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            call.certificate()?;
            let caller = call.caller()?;
            let holder = match asked.member.as_str() {
                "" => None,
                name => Some(member(&call, name).await?.id),
            };
            let (least, most) = (Duration::from_secs(1), call.services().settings().token_lifetime_max);
            let lifetime = asked.lifetime.map(|span| convert::seconds("lifetime", &span, least, most)).transpose()?;
            let (token, expires_at, committed) = call.services().create_access_token(caller, holder, lifetime).await?;
            Ok(pb::CreateAccessTokenResponse {
                access_token: token,
                expire_time: Some(convert::timestamp(expires_at)),
                certificate_bound: holder.is_none_or(|holder| holder == caller.member),
                receipt: Some(convert::receipt_of(&committed)),
            })
        };
        let change = Change {
            forget: |reply: &mut pb::CreateAccessTokenResponse| reply.access_token.clear(),
            ..Change::under(&asked.request_id)
        };
        call.change(change, &asked, run).await
    }

    async fn who_am_i(&self, request: Request<pb::WhoAmIRequest>) -> Result<Response<pb::WhoAmIResponse>, Status> {
        let (call, _) = Call::split(request)?;
        let run = async {
            let (caller, services) = (call.caller()?, call.services());
            let credential = match caller.credential {
                Credential::Certificate { .. } => pb::CredentialKind::Certificate,
                Credential::BoundToken { .. } => pb::CredentialKind::BoundToken,
                Credential::UnboundToken { .. } => pb::CredentialKind::UnboundToken,
            };
            let peer = call.certificate().and_then(|der| PeerIdentity::from_der(der, &services.settings().hub_id)).ok();
            Ok(pb::WhoAmIResponse {
                participant: Some(participant_message(services.participant(caller, &caller.participant).await?)),
                member: Some(member_message(services.member(caller, caller.member).await?)),
                credential: credential.into(),
                certificate_fingerprint: caller.fingerprint().unwrap_or_default().to_owned(),
                certificate_expire_time: peer.map(|peer| convert::timestamp(peer.not_after)),
                access_token_expire_time: call.token_expires().map(convert::timestamp),
            })
        };
        call.answer(run).await
    }
}
