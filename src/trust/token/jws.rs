//! The one place that touches `jsonwebtoken`: ES256 only, everything else about a token decided here.
//!
//! The library's defaults accept a missing `aud` or `iss`, an unknown `crit`, any `typ` and 60 s of leeway. So the
//! header is read by a closed type first (an unknown member such as `jku` or `crit`, or one given twice, is an
//! error), the key comes from a map by `kid`, claims are closed types too, and time is compared by the callers.

use std::{collections::HashSet, fmt};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::super::{Jwk, Jwks, P256Key};
use crate::error::{Error, Reason, Result};

/// No token of the hub is longer; nothing longer is parsed.
const MAX_TOKEN_BYTES: usize = 8 * 1_024;
const ES256: &str = "ES256";

/// Why a token is refused. For the offline verifier; a caller of the hub learns [`Reason::Unauthenticated`] only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenRefusal {
    /// Longer than 8 KiB.
    TooLong,
    /// Not three base64url parts without padding.
    Malformed,
    /// The header has an unknown, missing, repeated or wrongly typed member; `crit`, `jku`, `jwk`, `x5u`, `x5c` too.
    Header,
    /// The algorithm is not ES256.
    Algorithm,
    /// The `typ` is that of another kind of token.
    Type,
    /// The `kid` names no key of the set.
    Key,
    /// The signature does not verify.
    Signature,
    /// A claim is missing, unknown, repeated, of the wrong type or out of range.
    Claims,
    /// Issued by somebody else.
    Issuer,
    /// Meant for somebody else.
    Audience,
    /// Not valid yet, or issued in the future.
    NotYetValid,
    /// No longer valid.
    Expired,
    /// Valid for longer than a token of its kind may be.
    Lifetime,
    /// Bound to a certificate that is not in use, or at odds with the one that is.
    Binding,
}

impl fmt::Display for TokenRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "it is longer than 8 KiB",
            Self::Malformed => "it is not a compact JWS",
            Self::Header => "its header has a member that is unknown, missing, repeated or of the wrong type",
            Self::Algorithm => "its algorithm is not ES256",
            Self::Type => "it is a token of another kind",
            Self::Key => "it is signed with a key that is not in the key set",
            Self::Signature => "its signature does not verify",
            Self::Claims => "a claim is missing, unknown, repeated, of the wrong type or out of range",
            Self::Issuer => "it was issued by another hub",
            Self::Audience => "it is meant for another hub",
            Self::NotYetValid => "it is not valid yet",
            Self::Expired => "it has expired",
            Self::Lifetime => "it is valid for longer than it may be",
            Self::Binding => "it does not belong to the client certificate in use",
        })
    }
}

impl std::error::Error for TokenRefusal {}

impl From<TokenRefusal> for Error {
    fn from(refusal: TokenRefusal) -> Self {
        // The detail helps whoever runs the hub; it holds nothing of the token.
        tracing::debug!(%refusal, "token refused");
        Self::new(Reason::Unauthenticated)
    }
}

/// A private key with the `kid` that its tokens name.
pub(super) struct Signer {
    kid: String,
    key: EncodingKey,
}

impl Signer {
    pub(super) fn new(key: &P256Key, jwk: &Jwk) -> Self {
        Self { kid: jwk.kid().to_owned(), key: EncodingKey::from_ec_der(key.pkcs8()) }
    }

    /// A compact JWS over `claims`.
    pub(super) fn sign<C: Serialize>(&self, typ: &str, claims: &C) -> Result<String> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some(typ.to_owned());
        header.kid = Some(self.kid.clone());
        let token = jsonwebtoken::encode(&header, claims, &self.key).map_err(Error::internal)?;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Error::invalid("token", "the signed form would exceed 8 KiB"));
        }
        Ok(token)
    }
}

/// The header of every token of the hub. Closed: what is not listed is refused.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenHeader {
    typ: String,
    alg: String,
    kid: String,
}

/// The header of a detached signature, whose key comes from a certificate instead.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DetachedHeader {
    alg: String,
    typ: String,
}

/// Reads the claims of a compact JWS of kind `typ` whose issuer and audience are `hub_id`. Checks no times.
pub(super) fn read<C: DeserializeOwned>(token: &str, typ: &str, hub_id: &str, keys: &Jwks) -> Result<C, TokenRefusal> {
    let [header, _, _] = parts(token)?;
    let header: TokenHeader = read_header(header)?;
    if header.alg != ES256 {
        return Err(TokenRefusal::Algorithm);
    }
    if header.typ != typ {
        return Err(TokenRefusal::Type);
    }
    let (x, y) = keys.get(&header.kid).ok_or(TokenRefusal::Key)?.coordinates();
    let key = DecodingKey::from_ec_components(x, y).map_err(|_| TokenRefusal::Key)?;

    let mut validation = Validation::new(Algorithm::ES256);
    validation.required_spec_claims = HashSet::from(["exp", "nbf", "iss", "aud", "sub"].map(str::to_owned));
    validation.set_issuer(&[hub_id]);
    validation.set_audience(&[hub_id]);
    // The hub's clock is a parameter of the callers, and the library rounds fractions.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    let data = jsonwebtoken::decode::<C>(token, &key, &validation).map_err(|error| match error.kind() {
        ErrorKind::InvalidSignature => TokenRefusal::Signature,
        ErrorKind::InvalidIssuer => TokenRefusal::Issuer,
        ErrorKind::InvalidAudience => TokenRefusal::Audience,
        ErrorKind::Base64(_) => TokenRefusal::Malformed,
        _ => TokenRefusal::Claims,
    })?;
    Ok(data.claims)
}

/// A detached JWS (RFC 7515 appendix F, `header..signature`) over `payload`.
pub(in crate::trust) fn sign_detached(typ: &str, payload: &[u8], key: &P256Key) -> Result<String> {
    let header = DetachedHeader { alg: ES256.to_owned(), typ: typ.to_owned() };
    let header = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header).map_err(Error::internal)?);
    let input = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
    let key = EncodingKey::from_ec_der(key.pkcs8());
    let signature = jsonwebtoken::crypto::sign(input.as_bytes(), &key, Algorithm::ES256).map_err(Error::internal)?;
    Ok(format!("{header}..{signature}"))
}

/// Verifies a detached JWS of kind `typ` over `payload` with the key of an uncompressed P-256 point.
pub(in crate::trust) fn verify_detached(
    jws: &str,
    typ: &str,
    payload: &[u8],
    point: &[u8],
) -> Result<(), TokenRefusal> {
    let [header, middle, signature] = parts(jws)?;
    if !middle.is_empty() {
        return Err(TokenRefusal::Malformed);
    }
    let parsed: DetachedHeader = read_header(header)?;
    if parsed.alg != ES256 {
        return Err(TokenRefusal::Algorithm);
    }
    if parsed.typ != typ {
        return Err(TokenRefusal::Type);
    }
    let input = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
    let key = DecodingKey::from_ec_der(point);
    match jsonwebtoken::crypto::verify(signature, input.as_bytes(), &key, Algorithm::ES256) {
        Ok(true) => Ok(()),
        Ok(false) => Err(TokenRefusal::Signature),
        Err(_) => Err(TokenRefusal::Malformed),
    }
}

/// The three parts of a compact JWS.
fn parts(token: &str) -> Result<[&str; 3], TokenRefusal> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenRefusal::TooLong);
    }
    let mut parts = token.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(payload), Some(signature), None) if !header.is_empty() && !signature.is_empty() => {
            Ok([header, payload, signature])
        }
        _ => Err(TokenRefusal::Malformed),
    }
}

fn read_header<H: DeserializeOwned>(part: &str) -> Result<H, TokenRefusal> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenRefusal::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenRefusal::Header)
}
