//! The identity that a client certificate of the hub's CA carries, read strictly.

use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer as _,
    x509::X509Version,
};

use crate::{
    domain::{Digest, MemberId, ParticipantId, Timestamp},
    error::{Error, Reason, Result},
};

/// Who a client certificate says its holder is.
///
/// Reading it checks the profile, not the signature: the TLS handshake has done that for a certificate that
/// comes from a connection. Revocation is a row, asked per call by `service`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// For whom the member acts.
    pub participant: ParticipantId,
    /// The member.
    pub member: MemberId,
    /// SHA-256 of the certificate's DER, lower-case hex.
    pub fingerprint: String,
    /// First instant at which the certificate is valid.
    pub not_before: Timestamp,
    /// Last second in which the certificate is valid.
    pub not_after: Timestamp,
    /// The public key as DER `SubjectPublicKeyInfo`.
    pub public_key_spki: Vec<u8>,
}

impl PeerIdentity {
    /// Reads a certificate: exactly one SAN, a URI in the trust domain `hub_id`; EKU exactly `clientAuth`; no CA.
    ///
    /// Whatever deviates is [`Reason::Unauthenticated`], without detail.
    pub fn from_der(der: &[u8], hub_id: &str) -> Result<Self> {
        Self::read(der, hub_id).ok_or_else(|| Error::new(Reason::Unauthenticated))
    }

    /// Refuses a certificate outside its validity, for connections that outlive it.
    pub fn require_current(&self, now: Timestamp) -> Result<()> {
        if (self.not_before.seconds()..=self.not_after.seconds()).contains(&now.seconds()) {
            Ok(())
        } else {
            Err(Error::new(Reason::Unauthenticated))
        }
    }

    /// The SPIFFE id of a member of this hub.
    pub fn spiffe_id(hub_id: &str, participant: &ParticipantId, member: MemberId) -> String {
        format!("spiffe://{hub_id}/participant/{participant}/member/{member}")
    }

    /// The participant and member of a SPIFFE id, if it is in canonical form and of this hub.
    pub(super) fn parse_spiffe_id(id: &str, hub_id: &str) -> Option<(ParticipantId, MemberId)> {
        let path = id.strip_prefix("spiffe://")?.strip_prefix(hub_id)?.strip_prefix("/participant/")?;
        let (participant, member) = path.split_once("/member/")?;
        let (participant, member) = (participant.parse().ok()?, member.parse().ok()?);
        // Upper-case or unhyphenated UUIDs parse too, but one identity has one spelling.
        (Self::spiffe_id(hub_id, &participant, member) == id).then_some((participant, member))
    }

    fn read(der: &[u8], hub_id: &str) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() || certificate.version() != X509Version::V3 || !has_client_profile(&certificate) {
            return None;
        }
        let names = &certificate.subject_alternative_name().ok()??.value.general_names;
        let [GeneralName::URI(uri)] = names.as_slice() else { return None };
        let (participant, member) = Self::parse_spiffe_id(uri, hub_id)?;
        let instant =
            |time: x509_parser::time::ASN1Time| Some(Timestamp::from_micros(time.timestamp().checked_mul(1_000_000)?));
        Some(Self {
            participant,
            member,
            fingerprint: Digest::of(der).hex(),
            not_before: instant(certificate.validity().not_before)?,
            not_after: instant(certificate.validity().not_after)?,
            public_key_spki: certificate.public_key().raw.to_vec(),
        })
    }
}

/// Whether the extensions are those that the hub's CA gives to a client; an unknown critical one is refused.
fn has_client_profile(certificate: &X509Certificate<'_>) -> bool {
    let (mut client_auth, mut digital_signature) = (false, false);
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::ExtendedKeyUsage(usage) => {
                let others = usage.any
                    || usage.server_auth
                    || usage.code_signing
                    || usage.email_protection
                    || usage.time_stamping
                    || usage.ocsp_signing
                    || !usage.other.is_empty();
                client_auth = usage.client_auth && !others;
            }
            ParsedExtension::KeyUsage(usage) => {
                digital_signature = usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign();
            }
            ParsedExtension::BasicConstraints(constraints) if constraints.ca => return false,
            ParsedExtension::BasicConstraints(_)
            | ParsedExtension::SubjectAlternativeName(_)
            | ParsedExtension::AuthorityKeyIdentifier(_)
            | ParsedExtension::SubjectKeyIdentifier(_) => {}
            _ if extension.critical => return false,
            _ => {}
        }
    }
    client_auth && digital_signature
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose as Eku, IsCa, KeyUsagePurpose, SanType};

    use super::*;
    use crate::trust::P256Key;

    const MEMBER: &str = "0190b8a0-0000-7000-8000-000000000001";

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![uri(&format!("spiffe://hub.example/participant/chu/member/{MEMBER}"))];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![Eku::ClientAuth];
        params.is_ca = IsCa::ExplicitNoCa;
        change(&mut params);
        params.self_signed(&P256Key::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_client_certificate_names_its_participant_and_member() {
        let der = certificate(|_| {});
        let identity = PeerIdentity::from_der(&der, "hub.example").unwrap();
        assert_eq!(identity.participant.as_str(), "chu");
        assert_eq!(identity.member.to_string(), MEMBER);
        assert_eq!(identity.fingerprint.len(), 64);
    }

    #[test]
    fn whatever_deviates_from_the_profile_is_unauthenticated() {
        let good = format!("spiffe://hub.example/participant/chu/member/{MEMBER}");
        let upper = good.to_uppercase();
        let names: Vec<Vec<SanType>> = vec![
            vec![],
            vec![uri(&good), uri(&good)],
            vec![uri(&good), SanType::DnsName("hub.example".try_into().unwrap())],
            vec![SanType::DnsName("hub.example".try_into().unwrap())],
            vec![uri(&good.replace("hub.example", "hub.example.org"))],
            vec![uri(&good.replace("hub.example", "xhub.example"))],
            vec![uri(&good.replace(MEMBER, &MEMBER.to_uppercase()))],
            vec![uri(&good.replace(MEMBER, &MEMBER.replace('-', "")))],
            vec![uri(&good.replace("chu", "CHU"))],
            vec![uri(&format!("{good}/x"))],
            vec![uri(&format!("{good}?x=1"))],
            vec![uri(&upper)],
        ];
        let mut bad: Vec<Vec<u8>> =
            names.into_iter().map(|names| certificate(|p| p.subject_alt_names = names)).collect();
        bad.push(certificate(|p| p.extended_key_usages = vec![]));
        bad.push(certificate(|p| p.extended_key_usages = vec![Eku::ServerAuth]));
        bad.push(certificate(|p| p.extended_key_usages = vec![Eku::ClientAuth, Eku::ServerAuth]));
        bad.push(certificate(|p| p.key_usages = vec![]));
        bad.push(certificate(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))));
        let mut trailing = certificate(|_| {});
        trailing.push(0);
        bad.push(trailing);
        bad.push(Vec::new());
        for (number, der) in bad.iter().enumerate() {
            let error = PeerIdentity::from_der(der, "hub.example").unwrap_err();
            assert_eq!(error, Error::new(Reason::Unauthenticated), "case {number}");
        }
    }

    #[test]
    fn a_certificate_is_refused_after_its_last_second() {
        let der = certificate(|p| p.not_after = rcgen::date_time_ymd(2026, 11, 23));
        let identity = PeerIdentity::from_der(&der, "hub.example").unwrap();
        identity.require_current("2026-11-23T00:00:00Z".parse().unwrap()).unwrap();
        assert!(identity.require_current("2026-11-23T00:00:01Z".parse().unwrap()).is_err());
        assert!(identity.require_current("1974-11-23".parse().unwrap()).is_err());
    }
}
