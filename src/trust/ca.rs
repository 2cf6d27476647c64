//! The hub's certificate authority: short-lived client certificates from CSRs, and the hub's own server certificates.
//!
//! Nothing of a CSR but its public key ends up in a certificate. Which certificates stand is the store's to know.

use std::{fmt, time::Duration};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::{
    certificate::X509Certificate, certification_request::X509CertificationRequest, pem::Pem, prelude::FromDer as _,
    x509::SubjectPublicKeyInfo,
};
use zeroize::Zeroizing;

use super::{P256Key, PeerIdentity};
use crate::{
    domain::{Digest, MemberId, ParticipantId, Timestamp},
    error::{Error, Reason, Result},
};

/// How long a server certificate of the hub is valid; the server asks for a new one well before.
pub const SERVER_CERTIFICATE_LIFETIME: Duration = Duration::from_secs(90 * DAY);

const CA_LIFETIME: Duration = Duration::from_secs(3_650 * DAY);
const DAY: u64 = 86_400;
/// Clocks of members may be a little behind.
const BACKDATE: Duration = Duration::from_mins(1);
const MAX_CSR_BYTES: usize = 16 * 1_024;

/// A certificate that the CA has just issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// The certificate as PEM. The CA signs it directly and is the verifier's root, so the chain is this one block.
    pub chain_pem: String,
    /// SHA-256 of its DER, lower-case hex.
    pub fingerprint: String,
    /// Last second in which it is valid.
    pub not_after: Timestamp,
}

/// The hub's CA: self-signed, P-256, path length 0, its common name is the hub's id.
pub struct CertificateAuthority {
    hub_id: String,
    issuer: Issuer<'static, P256Key>,
    certificate_pem: String,
    not_after: Timestamp,
}

impl CertificateAuthority {
    /// A new CA, valid for ten years from `now`.
    pub fn create(hub_id: &str, key: P256Key, now: Timestamp) -> Result<Self> {
        let not_after = now.plus(CA_LIFETIME);
        let mut params = params(hub_id, now, not_after)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate_pem = params.self_signed(&key).map_err(Error::internal)?.pem();
        Self::open(&certificate_pem, key)
    }

    /// The CA of a certificate and the private key that belongs to it.
    pub(super) fn open(certificate_pem: &str, key: P256Key) -> Result<Self> {
        let unusable = |detail: &str| Error::invalid("ca.crt", detail);
        let der =
            CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(|_| unusable("not a certificate"))?;
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| unusable("not a certificate"))?;
        let common_name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let hub_id = common_name.ok_or_else(|| unusable("the subject has no common name"))?.to_owned();
        if !certificate.is_ca() {
            return Err(unusable("not a certificate of an authority"));
        }
        if certificate.public_key().subject_public_key.data.as_ref() != key.public_point() {
            return Err(unusable("does not belong to the key in `ca.key`"));
        }
        let seconds = certificate.validity().not_after.timestamp();
        let not_after = Timestamp::from_micros(seconds.saturating_mul(1_000_000));
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(|e| unusable(&e.to_string()))?;
        Ok(Self { hub_id, issuer, certificate_pem: certificate_pem.to_owned(), not_after })
    }

    /// The hub's id, which is the trust domain.
    pub fn hub_id(&self) -> &str {
        &self.hub_id
    }

    /// The CA's certificate, for members to verify the hub with.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Certifies the key of a PKCS#10 request for a member. Subject and extensions of the request are ignored.
    ///
    /// Valid from a minute before `now` for `lifetime`, but not longer than the CA itself. Refuses with
    /// [`Reason::CsrInvalid`] what is not one P-256 request signed with its own key.
    pub fn issue_client(
        &self,
        csr_pem: &str,
        participant: &ParticipantId,
        member: MemberId,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<IssuedCertificate> {
        let key = verified_csr_key(csr_pem)?;
        let mut params = params(&member.to_string(), now, now.plus(lifetime).min(self.not_after))?;
        let id = PeerIdentity::spiffe_id(&self.hub_id, participant, member);
        params.subject_alt_names = vec![SanType::URI(id.try_into().map_err(Error::internal)?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&params, &key)
    }

    /// A certificate for the hub's own listeners; `names` are DNS names and IP addresses.
    pub fn issue_server(&self, key: &P256Key, names: &[String], now: Timestamp) -> Result<IssuedCertificate> {
        if names.is_empty() {
            return Err(Error::invalid("server names", "at least one DNS name or IP address is needed"));
        }
        let not_after = now.plus(SERVER_CERTIFICATE_LIFETIME).min(self.not_after);
        let mut params = params(&self.hub_id, now, not_after)?;
        params.subject_alt_names =
            CertificateParams::new(names).map_err(|e| Error::invalid("server names", e))?.subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(&params, key)
    }

    fn issue(&self, params: &CertificateParams, key: &impl PublicKeyData) -> Result<IssuedCertificate> {
        let certificate = params.signed_by(key, &self.issuer).map_err(Error::internal)?;
        let seconds = params.not_after.unix_timestamp();
        Ok(IssuedCertificate {
            chain_pem: certificate.pem(),
            fingerprint: Digest::of(certificate.der()).hex(),
            not_after: Timestamp::from_micros(seconds.saturating_mul(1_000_000)),
        })
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority").field("hub_id", &self.hub_id).finish_non_exhaustive()
    }
}

/// A member's side of enrolment: a new private key and a request for it, both PEM. The key never leaves the caller.
pub fn new_csr() -> Result<(Zeroizing<String>, String)> {
    let key = P256Key::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(&key).and_then(|csr| csr.pem()).map_err(Error::internal)?;
    Ok((key.to_pem(), csr))
}

/// What every certificate of the hub has in common; as a leaf of no authority.
fn params(common_name: &str, now: Timestamp, not_after: Timestamp) -> Result<CertificateParams> {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let instant = |at: Timestamp| {
        // Beyond this year an X.509 GeneralizedTime ends, and the sum would panic.
        let latest = 250_000_000_000;
        let seconds = u64::try_from(at.seconds()).ok().filter(|seconds| *seconds < latest);
        seconds.map(|seconds| epoch + Duration::from_secs(seconds))
    };
    let not_before = Timestamp::from_micros(now.micros().saturating_sub(micros(BACKDATE)));
    let invalid = || Error::invalid("lifetime", "the validity is empty or out of range");
    let mut params = CertificateParams::default();
    params.not_before = instant(not_before).ok_or_else(invalid)?;
    params.not_after = instant(not_after).ok_or_else(invalid)?;
    if not_after <= now {
        return Err(invalid());
    }
    params.serial_number = Some(SerialNumber::from_slice(&super::random::<16>()?));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// The key of a request whose signature proves possession of it (RFC 2986 section 3, note 2).
fn verified_csr_key(pem: &str) -> Result<rcgen::SubjectPublicKeyInfo> {
    let refuse = |detail: &'static str| Error::new(Reason::CsrInvalid).with("detail", detail);
    if pem.len() > MAX_CSR_BYTES {
        return Err(refuse("it exceeds 16 KiB"));
    }
    let mut blocks = Pem::iter_from_buffer(pem.as_bytes());
    let (Some(Ok(block)), None) = (blocks.next(), blocks.next()) else { return Err(refuse("not one PEM block")) };
    if block.label != "CERTIFICATE REQUEST" {
        return Err(refuse("not a PEM block `CERTIFICATE REQUEST`"));
    }
    let (rest, csr) = X509CertificationRequest::from_der(&block.contents).map_err(|_| refuse("not PKCS#10"))?;
    if !rest.is_empty() {
        return Err(refuse("bytes follow the request"));
    }
    let info = &csr.certification_request_info;
    let point = p256_point(&info.subject_pki).ok_or_else(|| refuse("the key is not ECDSA P-256"))?;
    if csr.signature_algorithm.algorithm != x509_parser::oid_registry::OID_SIG_ECDSA_WITH_SHA256 {
        return Err(refuse("it is not signed with ECDSA and SHA-256"));
    }
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
        .verify(info.raw, &csr.signature_value.data)
        .map_err(|_| refuse("its signature is not made with its own key"))?;
    rcgen::SubjectPublicKeyInfo::from_der(info.subject_pki.raw).map_err(|_| refuse("the key is not ECDSA P-256"))
}

/// The uncompressed point of a P-256 `SubjectPublicKeyInfo`; nothing for any other key or form.
pub(super) fn p256_point<'a>(spki: &'a SubjectPublicKeyInfo<'_>) -> Option<&'a [u8]> {
    use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY};
    let curve = spki.algorithm.parameters.as_ref()?.as_oid().ok()?;
    let point = spki.subject_public_key.data.as_ref();
    let is_p256 = spki.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == OID_EC_P256;
    (is_p256 && point.len() == 65 && point.first() == Some(&4)).then_some(point)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T07:30:00.5Z".parse().unwrap()
    }

    fn authority() -> CertificateAuthority {
        CertificateAuthority::create("hub.example", P256Key::generate().unwrap(), now()).unwrap()
    }

    fn member() -> MemberId {
        MemberId::generate(now())
    }

    fn der(pem: &str) -> Vec<u8> {
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
    }

    fn issue(ca: &CertificateAuthority, csr: &str) -> Result<IssuedCertificate> {
        ca.issue_client(csr, &"chu".parse().unwrap(), member(), now(), Duration::from_secs(DAY))
    }

    #[test]
    fn a_client_certificate_has_the_profile_that_identities_are_read_from() {
        let ca = authority();
        let (key, csr) = new_csr().unwrap();
        let member = member();
        let issued = ca.issue_client(&csr, &"chu".parse().unwrap(), member, now(), Duration::from_secs(DAY)).unwrap();
        let der = der(&issued.chain_pem);
        let identity = PeerIdentity::from_der(&der, "hub.example").unwrap();
        assert_eq!((identity.participant.as_str(), identity.member), ("chu", member));
        assert_eq!(identity.fingerprint, issued.fingerprint);
        assert_eq!(identity.not_after, issued.not_after);
        assert_eq!(identity.not_after.to_string(), "2026-11-24T07:30:00.000000Z");
        assert_eq!(identity.not_before.to_string(), "2026-11-23T07:29:00.000000Z");
        assert_eq!(identity.public_key_spki, P256Key::from_pem(&key).unwrap().public_spki().unwrap());
        let (_, parsed) = X509Certificate::from_der(&der).unwrap();
        let root = self::der(ca.certificate_pem());
        let (_, root) = X509Certificate::from_der(&root).unwrap();
        parsed.verify_signature(Some(root.public_key())).unwrap();
        assert_eq!(root.basic_constraints().unwrap().unwrap().value.path_len_constraint, Some(0));
        assert!(!parsed.is_ca());
        assert!((14..=17).contains(&parsed.raw_serial().len()));
    }

    #[test]
    fn nothing_of_a_request_but_its_key_is_taken_over() {
        let ca = authority();
        let key = P256Key::generate().unwrap();
        let mut wish = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
        wish.distinguished_name.push(DnType::CommonName, "operator");
        wish.is_ca = IsCa::ExplicitNoCa;
        wish.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        wish.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let csr = wish.serialize_request(&key).unwrap().pem().unwrap();
        let issued = issue(&ca, &csr).unwrap();
        let der = der(&issued.chain_pem);
        PeerIdentity::from_der(&der, "hub.example").unwrap();
        for taken in [&b"evil.example"[..], b"operator"] {
            assert!(!der.windows(taken.len()).any(|window| window == taken));
        }
    }

    #[test]
    fn a_request_that_does_not_prove_possession_of_a_p256_key_is_refused() {
        let ca = authority();
        let (_, good) = new_csr().unwrap();
        let empty = CertificateParams::default();
        let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let mut forged = Pem::iter_from_buffer(good.as_bytes()).next().unwrap().unwrap().contents;
        let last = forged.len() - 1;
        forged[last] ^= 1;
        let mut longer = Pem::iter_from_buffer(good.as_bytes()).next().unwrap().unwrap().contents;
        longer.push(0);
        let bad = [
            String::new(),
            "x".repeat(MAX_CSR_BYTES + 1),
            format!("{good}{good}"),
            good.replace("CERTIFICATE REQUEST", "CERTIFICATE"),
            empty.serialize_request(&ed25519).unwrap().pem().unwrap(),
            empty.serialize_request(&p384).unwrap().pem().unwrap(),
            super::super::p256::pem_block("CERTIFICATE REQUEST", &forged).to_string(),
            super::super::p256::pem_block("CERTIFICATE REQUEST", &longer).to_string(),
        ];
        issue(&ca, &good).unwrap();
        for csr in bad {
            assert_eq!(issue(&ca, &csr).unwrap_err().reason(), Reason::CsrInvalid, "{csr:.80}");
        }
    }

    #[test]
    fn no_certificate_outlives_the_authority_or_is_born_expired() {
        let ca = authority();
        let (_, csr) = new_csr().unwrap();
        let long = Duration::from_secs(20 * 365 * DAY);
        let issued = ca.issue_client(&csr, &"chu".parse().unwrap(), member(), now(), long).unwrap();
        assert_eq!(issued.not_after, ca.not_after);
        assert!(ca.issue_client(&csr, &"chu".parse().unwrap(), member(), now(), Duration::ZERO).is_err());
    }

    #[test]
    fn serial_numbers_differ() {
        let ca = authority();
        let (_, csr) = new_csr().unwrap();
        assert_ne!(issue(&ca, &csr).unwrap().fingerprint, issue(&ca, &csr).unwrap().fingerprint);
    }

    #[test]
    fn an_authority_refuses_the_key_of_another() {
        let ca = authority();
        let error = CertificateAuthority::open(ca.certificate_pem(), P256Key::generate().unwrap()).unwrap_err();
        assert_eq!(error.reason(), Reason::InvalidArgument);
    }

    #[test]
    fn a_server_certificate_needs_a_name() {
        let ca = authority();
        let key = P256Key::generate().unwrap();
        assert!(ca.issue_server(&key, &[], now()).is_err());
        ca.issue_server(&key, &["localhost".into(), "127.0.0.1".into(), "::1".into()], now()).unwrap();
    }
}
