//! The operator, who runs the hub, and the admin of each participant.

use std::ops::Deref;

use odh::{grpc::pb, trust::new_csr};
use tonic::Status;

use super::{Auditor, Persona, Requester, Sign as _, Steward, Stranger, personas};
use crate::harness::Site;

personas! {
    /// Runs the hub; also administers the operating participant.
    Operator;
    /// Administers a participant.
    Admin;
}

impl Operator {
    /// The first operator of a fresh hub.
    pub(crate) async fn first(site: &Site, token: &str) -> Self {
        Self(Stranger::at(site).await.enrol(token).await.unwrap())
    }

    /// A one-time token with which an organisation registers.
    pub(crate) async fn invite(&self) -> String {
        let request = pb::CreateInvitationRequest::default();
        self.client.participants().create_invitation(request).await.unwrap().into_inner().invitation_token
    }

    /// Invites an organisation, which registers, signs the charter and is approved.
    pub(crate) async fn welcome(&self, id: &str, kind: pb::ParticipantKind) -> Admin {
        let admin = Admin(register(&self.site, &registration(&self.invite().await, id, kind)).await.unwrap());
        admin.sign_charter().await.unwrap();
        let request = pb::ApproveParticipantRequest { name: admin.parent(), ..Default::default() };
        self.client.participants().approve_participant(request).await.unwrap();
        admin
    }

    /// A member of the operating participant who audits.
    pub(crate) async fn auditor(&self) -> Auditor {
        Auditor(member(self, &[pb::Role::Auditor]).await)
    }

    /// Stops a participant.
    pub(crate) async fn suspend(&self, participant: &str) {
        let request = pb::SuspendParticipantRequest {
            name: format!("participants/{participant}"),
            reason: "the suite asks for it".to_owned(),
            ..Default::default()
        };
        self.client.participants().suspend_participant(request).await.unwrap();
    }
}

impl Admin {
    /// Signs the charter in force for its participant.
    pub(crate) async fn sign_charter(&self) -> Result<pb::SignCharterResponse, Status> {
        let charter = self.client.participants().get_charter(pb::GetCharterRequest::default()).await?.into_inner();
        let digest = charter.charter.unwrap().digest;
        let signature = self.sign("charter.sign", &digest);
        let request = pb::SignCharterRequest { digest, signature, request_id: String::new() };
        Ok(self.client.participants().sign_charter(request).await?.into_inner())
    }

    /// A new member who manages datasets.
    pub(crate) async fn steward(&self) -> Steward {
        Steward(member(self, &[pb::Role::Steward]).await)
    }

    /// A new member who asks and queries.
    pub(crate) async fn requester(&self) -> Requester {
        Requester(member(self, &[pb::Role::Requester]).await)
    }

    /// A new member who audits its own participant.
    pub(crate) async fn auditor(&self) -> Auditor {
        Auditor(member(self, &[pb::Role::Auditor]).await)
    }

    /// Ends a member of its participant.
    pub(crate) async fn revoke_member(&self, name: &str) {
        let request =
            pb::RevokeMemberRequest { name: name.to_owned(), reason: "left".to_owned(), ..Default::default() };
        self.client.participants().revoke_member(request).await.unwrap();
    }

    /// Ends a certificate of its participant.
    pub(crate) async fn revoke_certificate(&self, fingerprint: &str) -> Result<(), Status> {
        let request = pb::RevokeCertificateRequest {
            fingerprint: fingerprint.to_owned(),
            reason: "lost".to_owned(),
            ..Default::default()
        };
        self.client.participants().revoke_certificate(request).await.map(|_| ())
    }
}

/// A new member of `admin`'s participant, invited and enrolled.
pub(crate) async fn member(admin: &Persona, roles: &[pb::Role]) -> Persona {
    let token = invite(admin, roles).await.unwrap().enrolment_token;
    Stranger::at(&admin.site).await.enrol(&token).await.unwrap()
}

/// An invitation of a member.
pub(crate) async fn invite(admin: &Persona, roles: &[pb::Role]) -> Result<pb::CreateMemberResponse, Status> {
    let request = pb::CreateMemberRequest {
        parent: admin.parent(),
        display_name: "a member".to_owned(),
        roles: roles.iter().map(|role| (*role).into()).collect(),
        ..Default::default()
    };
    Ok(admin.client.participants().create_member(request).await?.into_inner())
}

/// What an organisation says of itself, with a SIREN derived from its id.
pub(crate) fn registration(token: &str, id: &str, kind: pb::ParticipantKind) -> pb::RegisterParticipantRequest {
    pb::RegisterParticipantRequest {
        invitation_token: token.to_owned(),
        participant_id: id.to_owned(),
        siren: siren(id),
        legal_name: format!("{id} (fictional)"),
        kind: kind.into(),
        country: "FR".to_owned(),
        admin_display_name: "an admin".to_owned(),
        ..Default::default()
    }
}

/// Registers with a fresh key, unless the request brings a certificate request of its own.
pub(crate) async fn register(site: &Site, request: &pb::RegisterParticipantRequest) -> Result<Persona, Status> {
    let (key, csr) = new_csr().unwrap();
    let mut request = request.clone();
    if request.csr_pem.is_empty() {
        request.csr_pem = csr.into_bytes().into();
    }
    let stranger = Stranger::at(site).await;
    let registered = stranger.client.participants().register_participant(request).await?.into_inner();
    Ok(Persona::connect(site, &registered.member.unwrap(), &registered.certificate_chain_pem, &key).await)
}

/// A fictional SIREN, the same for the same id: eight digits and their Luhn check digit.
pub(crate) fn siren(id: &str) -> String {
    let number = id.bytes().fold(7_u32, |sum, byte| (sum * 31 + u32::from(byte)) % 100_000_000);
    let digits = format!("{number:08}");
    let sum: u32 = digits
        .bytes()
        .enumerate()
        .map(|(at, byte)| {
            let digit = u32::from(byte - b'0');
            if at % 2 == 1 { digit * 2 / 10 + digit * 2 % 10 } else { digit }
        })
        .sum();
    format!("{digits}{}", (10 - sum % 10) % 10)
}
