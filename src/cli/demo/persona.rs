//! The cast: who takes part, and a client of its own for each, with a key that is made here and never leaves.

use std::path::PathBuf;

use super::{
    hub::Hub,
    stage::{expect, part},
};
use crate::{
    cli::{client::Client, failure::Failure, files},
    grpc::pb,
    trust::new_csr,
};

/// What a participant is. All of them are fictional and say so; their SIRENs are of a block given to nobody.
pub(super) struct Profile {
    pub(super) id: &'static str,
    pub(super) siren: &'static str,
    pub(super) legal_name: &'static str,
    pub(super) kind: pb::ParticipantKind,
    pub(super) sector: &'static str,
    /// The role of its working member.
    pub(super) role: pb::Role,
    /// What the operator has verified.
    pub(super) accreditations: &'static [&'static str],
}

pub(super) const PROFILES: [Profile; 4] = [
    Profile {
        id: "observatoire",
        siren: "999000029",
        legal_name: "Observatoire des territoires d'Occitanie (fictional)",
        kind: pb::ParticipantKind::PublicBody,
        sector: "public_administration",
        role: pb::Role::Steward,
        accreditations: &[],
    },
    Profile {
        id: "chu",
        siren: "999000037",
        legal_name: "Centre hospitalier de Garonne (fictional)",
        kind: pb::ParticipantKind::PublicBody,
        sector: "health",
        role: pb::Role::Steward,
        accreditations: &["hds"],
    },
    Profile {
        id: "energie",
        siren: "999000045",
        legal_name: "Énergie du Midi SA (fictional)",
        kind: pb::ParticipantKind::Company,
        sector: "energy",
        role: pb::Role::Steward,
        accreditations: &[],
    },
    Profile {
        id: "labo",
        siren: "999000052",
        legal_name: "Laboratoire santé et habitat (fictional)",
        kind: pb::ParticipantKind::Lab,
        sector: "research",
        role: pb::Role::Requester,
        accreditations: &[],
    },
];

/// A member with its own key, certificate and connection.
pub(super) struct Persona {
    /// Its name in the story and in `demo.json`.
    pub(super) name: String,
    /// Id of its participant.
    pub(super) participant: String,
    /// Its UUID.
    pub(super) member: String,
    pub(super) roles: Vec<pb::Role>,
    /// Files of its certificate and key.
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) client: Client,
}

impl Persona {
    /// Enrols with a one-time token.
    pub(super) async fn enrol(hub: &Hub, name: &str, token: String) -> Result<Self, Failure> {
        let (key, csr) = new_csr()?;
        let request = pb::EnrolMemberRequest {
            enrolment_token: token,
            csr_pem: csr.into_bytes().into(),
            request_id: String::new(),
        };
        let enrolled = hub.stranger().await?.participants().enrol_member(request).await?.into_inner();
        Self::with(hub, name, part(enrolled.member, "member")?, &enrolled.certificate_chain_pem, &key).await
    }

    /// Registers a participant with an invitation and becomes its first member.
    pub(super) async fn register(hub: &Hub, profile: &Profile, siren: &str, invitation: &str) -> Result<Self, Failure> {
        let (key, csr) = new_csr()?;
        let request = pb::RegisterParticipantRequest {
            invitation_token: invitation.to_owned(),
            participant_id: profile.id.to_owned(),
            siren: siren.to_owned(),
            legal_name: profile.legal_name.to_owned(),
            kind: profile.kind.into(),
            sector: profile.sector.to_owned(),
            country: "FR".to_owned(),
            admin_display_name: format!("Administrator of {} (fictional)", profile.id),
            csr_pem: csr.into_bytes().into(),
            request_id: String::new(),
        };
        let made = hub.stranger().await?.participants().register_participant(request).await?.into_inner();
        let name = format!("{}_admin", profile.id);
        Self::with(hub, &name, part(made.member, "member")?, &made.certificate_chain_pem, &key).await
    }

    /// Invites a member of its own participant, who enrols.
    pub(super) async fn invite(&self, hub: &Hub, name: &str, title: &str, roles: &[pb::Role]) -> Result<Self, Failure> {
        let request = pb::CreateMemberRequest {
            parent: format!("participants/{}", self.participant),
            display_name: title.to_owned(),
            roles: roles.iter().map(|role| (*role).into()).collect(),
            enrolment_lifetime: None,
            request_id: String::new(),
        };
        let invited = self.client.participants().create_member(request).await?.into_inner();
        let persona = Self::enrol(hub, name, invited.enrolment_token).await?;
        expect(persona.roles == roles, format_args!("{name} to have the roles {roles:?}"))?;
        Ok(persona)
    }

    async fn with(hub: &Hub, name: &str, member: pb::Member, chain_pem: &str, key_pem: &str) -> Result<Self, Failure> {
        let folder = hub.dir.join("personas").join(name);
        files::private_folder(&folder)?;
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        files::write_private(&key, key_pem.as_bytes())?;
        files::write_public(&certificate, chain_pem.as_bytes())?;
        let client = Client::connect(hub.target().with_certificate(chain_pem, key_pem)).await?;
        let identity = client.identity().await?;
        let roles = member.roles().collect();
        Ok(Self {
            name: name.to_owned(),
            participant: identity.participant.to_string(),
            member: identity.member.to_string(),
            roles,
            certificate,
            key,
            client,
        })
    }
}

/// Everybody.
pub(super) struct Cast {
    /// Runs the hub.
    pub(super) operator: Persona,
    /// Administers the members of the operating participant.
    pub(super) operator_admin: Persona,
    pub(super) auditor: Persona,
    /// Stewards.
    pub(super) observatoire: Persona,
    pub(super) chu: Persona,
    pub(super) energie: Persona,
    /// Requester.
    pub(super) labo: Persona,
    /// The administrators of the four participants.
    pub(super) admins: Vec<Persona>,
}

impl Cast {
    /// Those who are shown to clients, each with the administrator of its participant.
    pub(super) fn shown(&self) -> impl Iterator<Item = (&Persona, &Persona)> {
        let all = [&self.operator, &self.auditor, &self.observatoire, &self.chu, &self.energie, &self.labo];
        all.into_iter().map(|persona| {
            let own = self.admins.iter().find(|admin| admin.participant == persona.participant);
            (persona, own.unwrap_or(&self.operator_admin))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::demo::hub, domain::Siren};

    #[test]
    fn participants_are_fictional_and_have_different_valid_sirens() {
        let mut sirens: Vec<&str> = PROFILES.iter().map(|profile| profile.siren).collect();
        sirens.push(hub::OPERATOR_SIREN);
        assert!(sirens.iter().all(|siren| siren.parse::<Siren>().is_ok() && siren.starts_with("99900")));
        sirens.sort_unstable();
        sirens.dedup();
        assert_eq!(sirens.len(), 5);
        assert!(PROFILES.iter().all(|profile| profile.legal_name.ends_with("(fictional)")));
        assert!(hub::OPERATOR_NAME.ends_with("(fictional)"));
    }
}
