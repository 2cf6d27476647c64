//! Access tokens (RFC 9068): short-lived, minted on demand, bound to a client certificate where there is one.

use std::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    super::{PeerIdentity, hex, random},
    LEEWAY, TokenRefusal, Tokens, jws,
};
use crate::{
    domain::{Digest, MemberId, ParticipantId, Timestamp},
    error::{Error, Result},
};

/// The longest an access token may be valid.
pub const MAX_TOKEN_LIFETIME: Duration = Duration::from_hours(24);

const TYP: &str = "at+jwt";
/// 9999-12-31T23:59:59Z; a later instant is no date.
const LAST_SECOND: i64 = 253_402_300_799;

/// What a token is to be minted for.
#[derive(Debug, Clone)]
pub struct AccessTokenRequest<'a> {
    /// For whom the member acts.
    pub participant: &'a ParticipantId,
    /// The member.
    pub member: MemberId,
    /// Fingerprint of the certificate that the token is bound to. `None` only for tools without one.
    pub bound_to: Option<&'a str>,
    /// How long it is valid: whole seconds, at most [`MAX_TOKEN_LIFETIME`].
    pub lifetime: Duration,
}

/// A fresh access token.
pub struct MintedToken {
    /// The compact JWS. Handed out once, never stored.
    pub token: Zeroizing<String>,
    /// Its id.
    pub jti: String,
    /// When it expires.
    pub expires_at: Timestamp,
}

impl fmt::Debug for MintedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MintedToken")
            .field("jti", &self.jti)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Who a verified access token says is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenClaims {
    /// For whom the member acts.
    pub participant: ParticipantId,
    /// The member.
    pub member: MemberId,
    /// The token's id.
    pub jti: String,
    /// The fingerprint of the certificate it is bound to, which is the one in use.
    pub bound_to: Option<String>,
    /// When it expires; a stream that outlives it is cut.
    pub expires_at: Timestamp,
}

impl Tokens {
    /// Mints an access token, valid from `now` on.
    pub fn mint(&self, request: &AccessTokenRequest<'_>, now: Timestamp) -> Result<MintedToken> {
        let lifetime = i64::try_from(request.lifetime.as_secs()).unwrap_or(i64::MAX);
        if lifetime == 0 || request.lifetime > MAX_TOKEN_LIFETIME {
            return Err(Error::invalid("lifetime", "an access token is valid for a second to 24 hours"));
        }
        let iat = now.seconds();
        let claims = Claims {
            iss: self.hub_id.clone(),
            aud: self.hub_id.clone(),
            sub: PeerIdentity::spiffe_id(&self.hub_id, request.participant, request.member),
            client_id: request.participant.clone(),
            jti: hex(&random::<16>()?),
            iat,
            nbf: iat,
            exp: iat.saturating_add(lifetime),
            cnf: request.bound_to.map(Confirmation::of).transpose()?,
        };
        let token = Zeroizing::new(self.access.sign(TYP, &claims)?);
        Ok(MintedToken { token, jti: claims.jti, expires_at: from_seconds(claims.exp) })
    }

    /// Verifies an access token at `now` on a connection whose client certificate is `peer`.
    ///
    /// A bound token is good only with its certificate. With a certificate, bound or not, both must name the same
    /// member. Every refusal is the same [`crate::error::Reason::Unauthenticated`].
    pub fn verify_access_token(&self, token: &str, now: Timestamp, peer: Option<&PeerIdentity>) -> Result<TokenClaims> {
        Ok(self.check_access_token(token, now, peer)?)
    }

    fn check_access_token(
        &self,
        token: &str,
        now: Timestamp,
        peer: Option<&PeerIdentity>,
    ) -> Result<TokenClaims, TokenRefusal> {
        let claims: Claims = jws::read(token, TYP, &self.hub_id, &self.access_keys)?;
        check_times(claims.iat, claims.nbf, claims.exp, now)?;
        // `check_times` has bounded both, so the difference cannot overflow.
        if claims.exp - claims.iat > i64::try_from(MAX_TOKEN_LIFETIME.as_secs()).unwrap_or(0) {
            return Err(TokenRefusal::Lifetime);
        }
        let (participant, member) =
            PeerIdentity::parse_spiffe_id(&claims.sub, &self.hub_id).ok_or(TokenRefusal::Claims)?;
        if claims.client_id != participant || claims.jti.is_empty() || claims.jti.len() > 64 {
            return Err(TokenRefusal::Claims);
        }
        let bound_to = claims.cnf.map(|cnf| cnf.fingerprint()).transpose()?;
        let in_use = peer.map(|peer| peer.fingerprint.as_str());
        if bound_to.is_some() && bound_to.as_deref() != in_use {
            return Err(TokenRefusal::Binding);
        }
        if peer.is_some_and(|peer| peer.participant != participant || peer.member != member) {
            return Err(TokenRefusal::Binding);
        }
        Ok(TokenClaims { participant, member, jti: claims.jti, bound_to, expires_at: from_seconds(claims.exp) })
    }
}

/// The claims of RFC 9068 section 2.2, closed: unknown and repeated ones are refused.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: String,
    aud: String,
    /// SPIFFE id of the member.
    sub: String,
    client_id: ParticipantId,
    jti: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    cnf: Option<Confirmation>,
}

/// The certificate that a token is bound to (RFC 8705 section 3.1).
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirmation {
    #[serde(rename = "x5t#S256")]
    x5t_s256: String,
}

impl Confirmation {
    fn of(fingerprint: &str) -> Result<Self> {
        let digest: Digest = fingerprint.parse()?;
        Ok(Self { x5t_s256: URL_SAFE_NO_PAD.encode(digest.0) })
    }

    fn fingerprint(&self) -> Result<String, TokenRefusal> {
        let bytes = URL_SAFE_NO_PAD.decode(&self.x5t_s256).map_err(|_| TokenRefusal::Claims)?;
        if bytes.len() == 32 { Ok(hex(&bytes)) } else { Err(TokenRefusal::Claims) }
    }
}

/// A `cnf` that is there but `null` must not read as none.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Confirmation>, D::Error> {
    Confirmation::deserialize(deserializer).map(Some)
}

/// Checks `iat`, `nbf` and `exp` against each other and against `now`, each with five seconds of leeway.
pub(super) fn check_times(iat: i64, nbf: i64, exp: i64, now: Timestamp) -> Result<(), TokenRefusal> {
    let dates = 1..=LAST_SECOND;
    if ![iat, nbf, exp].iter().all(|at| dates.contains(at)) || exp <= nbf || exp <= iat {
        return Err(TokenRefusal::Claims);
    }
    let now = now.seconds();
    if iat.max(nbf) > now.saturating_add(LEEWAY) {
        return Err(TokenRefusal::NotYetValid);
    }
    if now.saturating_sub(LEEWAY) > exp {
        return Err(TokenRefusal::Expired);
    }
    Ok(())
}

pub(super) fn from_seconds(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds.saturating_mul(1_000_000))
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
