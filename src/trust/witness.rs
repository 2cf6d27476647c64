//! The key of a witness: Ed25519, of a member organisation's own, never of the hub.

use std::fmt;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use zeroize::Zeroizing;

use super::p256::pem_block;
use crate::{
    audit::CheckpointSigner,
    error::{Error, Result},
};

/// Cosigns checkpoints under a witness's name.
pub struct WitnessSigner {
    name: String,
    pair: Ed25519KeyPair,
    public_key: [u8; 32],
}

impl WitnessSigner {
    /// A fresh private key, PKCS#8 in PEM.
    pub fn new_key_pem() -> Result<Zeroizing<String>> {
        let pair = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8());
        let pair = pair.map_err(|_| Error::internal("an Ed25519 key could not be generated"))?;
        Ok(pem_block("PRIVATE KEY", pair.as_ref()))
    }

    /// The witness called `name` with this private key.
    pub fn from_pem(name: &str, pem: &str) -> Result<Self> {
        let damaged = || Error::invalid("witness key", "not an Ed25519 key in PKCS#8 PEM");
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| damaged())?;
        let pair = Ed25519KeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| damaged())?;
        let public_key = pair.public_key().as_ref().try_into().map_err(|_| damaged())?;
        Ok(Self { name: name.to_owned(), pair, public_key })
    }
}

impl CheckpointSigner for WitnessSigner {
    fn origin(&self) -> &str {
        &self.name
    }

    fn public_key(&self) -> [u8; 32] {
        self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64]> {
        let failed = || Error::internal("a checkpoint could not be cosigned");
        let signature = self.pair.try_sign(message).map_err(|_| failed())?;
        signature.as_ref().try_into().map_err(|_| failed())
    }
}

impl fmt::Debug for WitnessSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WitnessSigner").field("name", &self.name).finish_non_exhaustive()
    }
}
