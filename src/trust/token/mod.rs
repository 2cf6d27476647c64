//! Grants and access tokens: what the hub signs about who may do what, and the strict reading of both.
//!
//! The hub decides by its own rows: a grant is evidence for third parties, never a credential. An access token is
//! a credential, and every refusal of one looks the same to the caller.

mod access;
mod grant;
mod jws;

use std::fmt;

pub use access::{AccessTokenRequest, MAX_TOKEN_LIFETIME, MintedToken, TokenClaims};
pub use grant::{DatasetAccess, GrantClaims, verify_grant};
pub use jws::TokenRefusal;
pub(super) use jws::{sign_detached, verify_detached};

use super::{Jwk, Jwks, P256Key};
use crate::error::Result;

/// Tolerated difference between clocks, in seconds.
const LEEWAY: i64 = 5;

/// Signs grants and access tokens with separate keys, and verifies access tokens of this hub.
pub struct Tokens {
    hub_id: String,
    grant: jws::Signer,
    access: jws::Signer,
    /// Only these may sign access tokens: a grant's key is not among them.
    access_keys: Jwks,
    published: Jwks,
}

impl Tokens {
    /// The signer and verifier of the hub `hub_id`.
    pub fn new(hub_id: &str, grant: &P256Key, access: &P256Key) -> Result<Self> {
        let grant_jwk = Jwk::from_point(grant.public_point())?;
        let access_jwk = Jwk::from_point(access.public_point())?;
        Ok(Self {
            hub_id: hub_id.to_owned(),
            grant: jws::Signer::new(grant, &grant_jwk),
            access: jws::Signer::new(access, &access_jwk),
            access_keys: Jwks::new(vec![access_jwk.clone()]),
            published: Jwks::new(vec![grant_jwk, access_jwk]),
        })
    }

    /// The public keys, as the hub publishes them.
    pub const fn jwks(&self) -> &Jwks {
        &self.published
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kids: Vec<_> = self.published.keys().iter().map(Jwk::kid).collect();
        f.debug_struct("Tokens").field("hub_id", &self.hub_id).field("kids", &kids).finish_non_exhaustive()
    }
}
