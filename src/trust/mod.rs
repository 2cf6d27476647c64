//! Who is calling, and what the hub signs: keys, certificate authority, TLS, tokens, grants, acts.
//!
//! Pure decisions about credentials: this layer knows no store, so whether a certificate, token or grant has
//! been revoked is asked elsewhere, per call. It reads no clock; every check takes the time as a parameter.

mod act;
mod ca;
mod der;
mod enrol;
mod identity;
mod jwks;
mod key_files;
mod keys;
mod p256;
mod timestamp;
pub mod tls;
mod token;
mod witness;

pub use act::{Act, sign_act, verify_act};
pub use ca::{CertificateAuthority, IssuedCertificate, SERVER_CERTIFICATE_LIFETIME, new_csr};
pub use enrol::{EnrolmentToken, enrolment_digest};
pub use identity::PeerIdentity;
pub use jwks::{Jwk, Jwks};
pub use keys::{KeyStore, LogSigner};
pub use p256::P256Key;
pub use timestamp::{Stamped, timestamp_request, verify_timestamp};
pub use token::{
    AccessTokenRequest, DatasetAccess, GrantClaims, MAX_TOKEN_LIFETIME, MintedToken, TokenClaims, TokenRefusal, Tokens,
    verify_grant,
};
pub use witness::WitnessSigner;

use crate::error::{Error, Result};

/// `N` bytes from the operating system's generator.
fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::internal("the system has no randomness"))?;
    Ok(bytes)
}

/// Lower-case hex.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|nibble| char::from(DIGITS[usize::from(nibble)])).collect()
}
