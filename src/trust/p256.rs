//! ECDSA P-256 key pairs: the one kind of key for certificates, tokens, grants and acts.

use std::fmt;

use aws_lc_rs::{
    encoding::AsDer as _,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject as _};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// A private P-256 key. The bytes are wiped when it is dropped, and [`fmt::Debug`] shows the public half only.
pub struct P256Key {
    pair: EcdsaKeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl P256Key {
    /// A fresh key.
    pub fn generate() -> Result<Self> {
        let failed = |_| Error::internal("a P-256 key could not be generated");
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?;
        Self::from_pair(pair)
    }

    /// Reads a PEM block, PKCS#8 or SEC 1, as `odh` and `openssl` write them.
    pub fn from_pem(pem: &str) -> Result<Self> {
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| unusable("not one PEM private key"))?;
        let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, der.secret_der())
            .map_err(|_| unusable("not an ECDSA P-256 key"))?;
        Self::from_pair(pair)
    }

    /// The key as a PKCS#8 PEM block.
    pub fn to_pem(&self) -> Zeroizing<String> {
        pem_block("PRIVATE KEY", &self.pkcs8)
    }

    /// The public key as an uncompressed point: `0x04`, x, y.
    pub fn public_point(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The public key as DER `SubjectPublicKeyInfo`.
    pub fn public_spki(&self) -> Result<Vec<u8>> {
        let der = self.pair.public_key().as_der().map_err(|_| Error::internal("a public key could not be encoded"))?;
        Ok(der.as_ref().to_vec())
    }

    /// The private key as DER PKCS#8.
    pub(super) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    fn from_pair(pair: EcdsaKeyPair) -> Result<Self> {
        let document = pair.to_pkcs8v1().map_err(|_| Error::internal("a P-256 key could not be encoded"))?;
        let pkcs8 = Zeroizing::new(document.as_ref().to_vec());
        Ok(Self { pair, pkcs8 })
    }
}

impl fmt::Debug for P256Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("P256Key").field("public", &super::hex(self.public_point())).finish_non_exhaustive()
    }
}

impl rcgen::PublicKeyData for P256Key {
    fn der_bytes(&self) -> &[u8] {
        self.public_point()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for P256Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.pair.sign(&SystemRandom::new(), message).map_err(|_| rcgen::Error::RingUnspecified)?;
        Ok(signature.as_ref().to_vec())
    }
}

/// A PEM block (RFC 7468) that is wiped when dropped.
pub(super) fn pem_block(label: &str, der: &[u8]) -> Zeroizing<String> {
    let encoded = Zeroizing::new(STANDARD.encode(der));
    let mut pem = Zeroizing::new(String::with_capacity(encoded.len() + encoded.len() / 64 + 2 * label.len() + 40));
    pem.push_str("-----BEGIN ");
    pem.push_str(label);
    pem.push_str("-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = tail;
    }
    pem.push_str("-----END ");
    pem.push_str(label);
    pem.push_str("-----\n");
    pem
}

fn unusable(detail: &str) -> Error {
    Error::invalid("key", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_pem_form_and_is_not_shown_by_debug() {
        let key = P256Key::generate().unwrap();
        let pem = key.to_pem();
        let again = P256Key::from_pem(&pem).unwrap();
        assert_eq!(key.public_point(), again.public_point());
        assert_eq!(key.public_point().len(), 65);
        let secret = super::super::hex(&key.pkcs8()[36..68]);
        assert!(!format!("{key:?}").contains(&secret));
    }

    #[test]
    fn keys_of_other_kinds_are_refused() {
        let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
        for pem in ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", &ed25519, &p384] {
            assert!(P256Key::from_pem(pem).is_err());
        }
    }
}
