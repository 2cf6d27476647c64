//! Participants, members, certificates and charters between the API and the domain.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use super::{
    call::Call,
    convert::{self, messages},
    filter::{Field, any, is},
    names, pb,
};
use crate::{
    domain::{Charter, Kind, Member, MemberId, MemberState, Participant, ParticipantId, ParticipantState, Siren},
    error::{Error, Result},
    service::{Registration, Services, etag},
    store::member::Certificate,
    trust::PeerIdentity,
};

messages! {
    /// States of participants.
    state_message ParticipantState => pb::ParticipantState {
        Registered => Registered, CharterSigned => CharterSigned, Active => Active, Suspended => Suspended,
    }
    /// States of members.
    member_state_message MemberState => pb::MemberState {
        Invited => Invited, Active => Active, Revoked => Revoked,
    }
}

/// The member of this name, if the caller may see it and it is of the participant that the name says.
pub(super) async fn member(call: &Call, name: &str) -> Result<Member> {
    let (participant, id) = names::member("name", name)?;
    let found = call.services().member(call.caller()?, id).await?;
    if found.participant == participant { Ok(found) } else { Err(Error::not_found(format_args!("member {id}"))) }
}

/// What a new participant says of itself.
pub(super) fn registration(asked: &pb::RegisterParticipantRequest) -> Result<Registration> {
    let sector = asked.sector.trim().to_lowercase();
    if sector.chars().count() > 64 {
        return Err(Error::invalid("sector", "longer than 64 characters"));
    }
    Ok(Registration {
        invitation: asked.invitation_token.clone(),
        id: asked.participant_id.parse()?,
        siren: asked.siren.parse()?,
        legal_name: asked.legal_name.clone(),
        kind: convert::kind("kind", asked.kind)?,
        sector: (!sector.is_empty()).then_some(sector),
        country: asked.country.clone(),
        admin_name: asked.admin_display_name.clone(),
        csr: convert::pem("csr_pem", &asked.csr_pem)?.to_owned(),
    })
}

/// Accreditations, each once, in lower case.
pub(super) fn accreditations(given: &[String]) -> Result<Vec<String>> {
    let one = |word: &String| match word.chars().count() {
        1..=64 if *word == word.to_lowercase() => Ok(word.clone()),
        _ => Err(Error::invalid("accreditations", "one is not of 1 to 64 characters in lower case")),
    };
    if given.len() > 32 {
        return Err(Error::invalid("accreditations", "more than 32"));
    }
    Ok(convert::unique("accreditations", given.iter().map(one))?.into_iter().collect())
}

/// Refuses another lifetime of a one-time token than the hub's own.
pub(super) fn require_usual_lifetime(
    services: &Services,
    field: &'static str,
    asked: Option<prost_types::Duration>,
) -> Result<()> {
    let usual = services.settings().enrolment_lifetime;
    let (least, most) = (Duration::from_mins(1), Duration::from_hours(30 * 24));
    match asked.map(|span| convert::seconds(field, &span, least, most)).transpose()? {
        Some(lifetime) if lifetime != usual => {
            Err(Error::invalid(field, format_args!("one-time tokens of this hub live {} seconds", usual.as_secs())))
        }
        _ => Ok(()),
    }
}

pub(super) fn participant_message(participant: Participant) -> pb::Participant {
    pb::Participant {
        name: names::participant_name(&participant.id),
        siren: participant.siren.to_string(),
        legal_name: participant.legal_name,
        kind: convert::kind_message(participant.kind),
        sector: participant.sector.unwrap_or_default(),
        country: participant.country,
        accreditations: participant.accreditations,
        state: state_message(participant.state),
        signed_charter: participant.charter_version.map(|version| format!("charters/{version}")).unwrap_or_default(),
        create_time: Some(convert::timestamp(participant.created_at)),
        etag: etag(participant.revision),
    }
}

/// What a list of participants can be filtered by.
pub(super) const PARTICIPANT_FIELDS: [Field; 5] = [
    ("state", is::<ParticipantState>),
    ("kind", is::<Kind>),
    ("sector", any),
    ("country", any),
    ("siren", is::<Siren>),
];

pub(super) fn participant_has(participant: &Participant, field: &str, value: &str) -> bool {
    match field {
        "state" => participant.state.as_str() == value,
        "kind" => participant.kind.as_str() == value,
        "sector" => participant.sector.as_deref() == Some(value),
        "country" => participant.country == value,
        "siren" => participant.siren.as_str() == value,
        _ => false,
    }
}

pub(super) fn member_message(member: Member) -> pb::Member {
    pb::Member {
        name: names::member_name(&member.participant, member.id),
        display_name: member.display_name,
        roles: member.roles.into_iter().map(convert::role_message).collect(),
        state: member_state_message(member.state),
        create_time: Some(convert::timestamp(member.created_at)),
        etag: etag(member.revision),
    }
}

pub(super) fn charter_message(charter: Charter) -> pb::Charter {
    pb::Charter {
        name: format!("charters/{}", charter.version),
        version: charter.version,
        text: charter.text,
        digest: charter.digest.to_string(),
        publish_time: Some(convert::timestamp(charter.published_at)),
    }
}

pub(super) fn certificate_message(certificate: Certificate, of: &ParticipantId) -> pb::Certificate {
    pb::Certificate {
        fingerprint: certificate.fingerprint,
        member: names::member_name(of, certificate.member),
        issue_time: Some(convert::timestamp(certificate.issued_at)),
        expire_time: Some(convert::timestamp(certificate.expires_at)),
        revoke_time: certificate.revoked_at.map(convert::timestamp),
    }
}

/// A certificate that was issued just now, read from its chain.
pub(super) fn issued_message(services: &Services, chain_pem: &str, holder: &Member) -> Result<pb::Certificate> {
    let der = CertificateDer::from_pem_slice(chain_pem.as_bytes())
        .map_err(|_| Error::internal("an issued certificate is not PEM"))?;
    let issued = PeerIdentity::from_der(&der, &services.settings().hub_id)?;
    let member: MemberId = holder.id;
    Ok(certificate_message(
        Certificate {
            fingerprint: issued.fingerprint,
            member,
            issued_at: services.now(),
            expires_at: issued.not_after,
            revoked_at: None,
        },
        &holder.participant,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accreditations_are_short_lower_case_and_distinct() {
        assert_eq!(accreditations(&["hds".to_owned(), "a".to_owned()]).unwrap(), ["a", "hds"]);
        for bad in [vec!["HDS".to_owned()], vec![String::new()], vec!["a".to_owned(); 2], vec!["x".repeat(65)]] {
            assert!(accreditations(&bad).is_err(), "{bad:?}");
        }
    }
}
