//! RFC 3161 timestamps: a request for a digest, and the verification of the answer down to an authority of the caller's.
//!
//! Small on purpose: DER is read by position (X.690, definite lengths only), and whatever is not as RFC 3161 and RFC 5652
//! prescribe is refused. Certificates are read by `x509-parser`, signatures verified by aws-lc-rs.

use aws_lc_rs::{
    digest,
    signature::{self, UnparsedPublicKey, VerificationAlgorithm},
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use super::der::{CONTEXT_0, Der, INTEGER, OCTETS, OID, SEQUENCE, SET, tlv};
use crate::{
    domain::Timestamp,
    error::{Error, Reason, Result},
};

const GENERALIZED_TIME: u8 = 0x18;
const BOOLEAN: u8 = 0x01;
const CONTEXT_1: u8 = 0xa1;
/// `1.2.840.113549.1.7.2`, signed data.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// `1.2.840.113549.1.9.16.1.4`, the content of a timestamp.
const TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];
/// `1.2.840.113549.1.9.4`, the attribute messageDigest.
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
/// `2.16.840.1.101.3.4.2.1`; SHA-384 ends in 2 and SHA-512 in 3.
const SHA_256: [u8; 9] = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
/// A chain from signer to authority is no longer.
const LONGEST_CHAIN: usize = 5;

/// What a timestamp says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamped {
    /// When the authority had the digest.
    pub at: Timestamp,
    /// The subject of the authority's certificate.
    pub by: String,
}

/// The request (`TimeStampReq`, DER) for a SHA-256 digest, with a fresh nonce, that asks for the certificate.
pub fn timestamp_request(digest: &[u8; 32]) -> Result<Vec<u8>> {
    let mut nonce = super::random::<8>()?;
    // Positive and without a leading zero: one way to write it.
    nonce[0] = (nonce[0] & 0x7f) | 0x40;
    let algorithm = tlv(SEQUENCE, &[&tlv(OID, &[&SHA_256]), &[0x05, 0x00]]);
    let imprint = tlv(SEQUENCE, &[&algorithm, &tlv(OCTETS, &[digest])]);
    Ok(tlv(SEQUENCE, &[&[INTEGER, 1, 1], &imprint, &tlv(INTEGER, &[&nonce]), &[BOOLEAN, 1, 0xff]]))
}

/// Verifies a `TimeStampResp` (DER): granted, for this digest, signed by a certificate for timestamping that leads to one
/// of `authorities` (PEM). With a request, its nonce must come back.
pub fn verify_timestamp(
    response: &[u8],
    digest: &[u8; 32],
    request: Option<&[u8]>,
    authorities: &str,
) -> Result<Stamped> {
    let mut response = Der::only(response, SEQUENCE)?;
    let status = response.take(SEQUENCE)?.inside().take(INTEGER)?.content;
    if !matches!(status, [0 | 1]) {
        return Err(refused("the authority did not grant it"));
    }
    let mut content = response.take(SEQUENCE)?.inside();
    require_oid(&mut content, SIGNED_DATA)?;
    let mut data = content.take(CONTEXT_0)?.inside().take(SEQUENCE)?.inside();
    data.take(INTEGER)?;
    data.take(SET)?;
    let mut encapsulated = data.take(SEQUENCE)?.inside();
    require_oid(&mut encapsulated, TST_INFO)?;
    let info = encapsulated.take(CONTEXT_0)?.inside().take(OCTETS)?.content;
    let mut bag = Vec::new();
    if let Some(certificates) = data.take_if(CONTEXT_0)? {
        let mut rest = certificates.inside();
        while !rest.is_empty() {
            bag.push(rest.take(SEQUENCE)?.whole);
        }
    }
    data.take_if(CONTEXT_1)?;
    let signer = data.take(SET)?.inside().take(SEQUENCE)?.inside();
    let at = check_info(info, digest, request)?;
    let by = check_signer(signer, info, &bag, authorities, at)?;
    Ok(Stamped { at, by })
}

/// Checks the content of a timestamp; gives its time.
fn check_info(info: &[u8], digest: &[u8; 32], request: Option<&[u8]>) -> Result<Timestamp> {
    let mut info = Der::only(info, SEQUENCE)?;
    info.take(INTEGER)?;
    info.take(OID)?;
    let mut imprint = info.take(SEQUENCE)?.inside();
    require_oid(&mut imprint.take(SEQUENCE)?.inside(), &SHA_256)?;
    if imprint.take(OCTETS)?.content != digest {
        return Err(refused("it is of something else"));
    }
    info.take(INTEGER)?;
    let at = generalized_time(info.take(GENERALIZED_TIME)?.content)?;
    info.take_if(SEQUENCE)?;
    info.take_if(BOOLEAN)?;
    let nonce = info.take_if(INTEGER)?.map(|nonce| nonce.content);
    if let Some(request) = request {
        let mut asked = Der::only(request, SEQUENCE)?;
        asked.take(INTEGER)?;
        asked.take(SEQUENCE)?;
        asked.take_if(OID)?;
        if asked.take_if(INTEGER)?.map(|nonce| nonce.content) != nonce {
            return Err(refused("it answers another request"));
        }
    }
    Ok(at)
}

/// Checks signature, certificate and chain; gives the signer's subject.
fn check_signer(mut signer: Der<'_>, info: &[u8], bag: &[&[u8]], authorities: &str, at: Timestamp) -> Result<String> {
    signer.take(INTEGER)?;
    signer.take_any()?;
    let hash = Hash::of(signer.take(SEQUENCE)?.inside().take(OID)?.content)?;
    let attributes = signer.take(CONTEXT_0)?;
    signer.take(SEQUENCE)?;
    let signature = signer.take(OCTETS)?.content;
    let (mut rest, mut named) = (attributes.inside(), None);
    while !rest.is_empty() {
        let mut attribute = rest.take(SEQUENCE)?.inside();
        if attribute.take(OID)?.content == MESSAGE_DIGEST {
            named = Some(attribute.take(SET)?.inside().take(OCTETS)?.content);
        }
    }
    if named != Some(digest::digest(hash.function(), info).as_ref()) {
        return Err(refused("its content is not what is signed"));
    }
    // RFC 5652 section 5.4: a SET OF is signed, not the implicit tag that stands in the message.
    let message = tlv(SET, &[attributes.content]);
    let roots: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(authorities.as_bytes()).filter_map(std::result::Result::ok).collect();
    let all: Vec<X509Certificate<'_>> = bag
        .iter()
        .copied()
        .chain(roots.iter().map(AsRef::as_ref))
        .filter_map(|der| X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate))
        .collect();
    let own = all
        .iter()
        .find(|one| verifies(one, hash, &message, signature))
        .ok_or_else(|| refused("no certificate in it or among the authorities has signed it"))?;
    let usage = own.extended_key_usage().ok().flatten();
    if !usage.is_some_and(|usage| usage.value.time_stamping) {
        return Err(refused("its certificate is not one for timestamping"));
    }
    let mut link = own;
    for _ in 0..LONGEST_CHAIN {
        let validity = link.validity();
        if !(validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&at.seconds()) {
            return Err(refused("a certificate was not valid at that time"));
        }
        if roots.iter().any(|root| root.as_ref() == link.as_raw()) {
            return Ok(own.subject().to_string());
        }
        link = all
            .iter()
            .find(|one| one.subject() == link.issuer() && one.is_ca() && *one != link && issued(one, link))
            .ok_or_else(|| refused("its certificate does not lead to an authority that you trust"))?;
    }
    Err(refused("its chain of certificates is too long"))
}

/// The hash functions that signatures may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn of(oid: &[u8]) -> Result<Self> {
        let known = [Self::Sha256, Self::Sha384, Self::Sha512];
        let last = oid.strip_prefix(&SHA_256[..8]).and_then(|last| last.first().filter(|_| last.len() == 1));
        let found = last.and_then(|last| known.get(usize::from(*last).wrapping_sub(1)));
        found.copied().ok_or_else(|| refused("it uses a hash function that is not accepted"))
    }

    fn function(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }

    /// The algorithms by which a signature over this hash may be made.
    fn algorithms(self) -> [&'static dyn VerificationAlgorithm; 3] {
        match self {
            Self::Sha256 => [
                &signature::RSA_PKCS1_2048_8192_SHA256,
                &signature::ECDSA_P256_SHA256_ASN1,
                &signature::ECDSA_P384_SHA256_ASN1,
            ],
            Self::Sha384 => [
                &signature::RSA_PKCS1_2048_8192_SHA384,
                &signature::ECDSA_P256_SHA384_ASN1,
                &signature::ECDSA_P384_SHA384_ASN1,
            ],
            Self::Sha512 => [
                &signature::RSA_PKCS1_2048_8192_SHA512,
                &signature::ECDSA_P256_SHA512_ASN1,
                &signature::ECDSA_P384_SHA512_ASN1,
            ],
        }
    }
}

/// Whether this certificate's key has made the signature. A key fits one algorithm of each hash only.
fn verifies(certificate: &X509Certificate<'_>, hash: Hash, message: &[u8], signature: &[u8]) -> bool {
    let key = certificate.public_key().subject_public_key.data.as_ref();
    hash.algorithms()
        .into_iter()
        .any(|algorithm| UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok())
}

/// Whether `issuer` has signed `certificate`.
fn issued(issuer: &X509Certificate<'_>, certificate: &X509Certificate<'_>) -> bool {
    let (signed, signature) = (certificate.tbs_certificate.as_ref(), certificate.signature_value.data.as_ref());
    [Hash::Sha256, Hash::Sha384, Hash::Sha512].into_iter().any(|hash| verifies(issuer, hash, signed, signature))
}

fn require_oid(der: &mut Der<'_>, oid: &[u8]) -> Result<()> {
    if der.take(OID)?.content == oid { Ok(()) } else { Err(refused("it is not a timestamp over SHA-256")) }
}

/// `YYYYMMDDHHMMSS[.f]Z`, UTC.
fn generalized_time(text: &[u8]) -> Result<Timestamp> {
    let malformed = || refused("its time is malformed");
    let text = str::from_utf8(text).map_err(|_| malformed())?.strip_suffix('Z').ok_or_else(malformed)?;
    if text.len() < 14 || !text.is_ascii() {
        return Err(malformed());
    }
    let (date, time) = text.split_at(8);
    let rfc3339 =
        format!("{}-{}-{}T{}:{}:{}Z", &date[..4], &date[4..6], &date[6..], &time[..2], &time[2..4], &time[4..]);
    rfc3339.parse().map_err(|_| malformed())
}

fn refused(detail: &str) -> Error {
    Error::new(Reason::SignatureInvalid).with("detail", format_args!("the timestamp is refused: {detail}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_is_the_der_of_rfc_3161_and_no_two_are_the_same() {
        let request = timestamp_request(&[7; 32]).unwrap();
        assert_eq!(request[..2], [SEQUENCE, u8::try_from(request.len() - 2).unwrap()]);
        let mut parts = Der::only(&request, SEQUENCE).unwrap();
        assert_eq!(parts.take(INTEGER).unwrap().content, [1]);
        let imprint = parts.take(SEQUENCE).unwrap().content;
        assert!(imprint.ends_with(&[7; 32]));
        assert_eq!(parts.take(INTEGER).unwrap().content.len(), 8);
        assert_ne!(request, timestamp_request(&[7; 32]).unwrap());
    }

    #[test]
    fn times_are_read_with_and_without_fractions() {
        assert_eq!(generalized_time(b"20261125095000Z").unwrap().to_string(), "2026-11-25T09:50:00.000000Z");
        assert_eq!(generalized_time(b"20261125095000.25Z").unwrap().to_string(), "2026-11-25T09:50:00.250000Z");
        for bad in [&b"20261125095000"[..], b"2026112509Z", b"20261325095000Z", b"\xff0261125095000Z", b"Z"] {
            assert!(generalized_time(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(verify_timestamp(&bytes, &[0; 32], Some(&bytes), "").is_err());
        }
    }
}
