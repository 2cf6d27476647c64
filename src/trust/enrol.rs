//! One-time enrolment tokens. The hub keeps only the SHA-256 of one.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::{
    domain::Digest,
    error::{Error, Reason, Result},
};

/// Makes a leaked token recognisable to secret scanners.
const PREFIX: &str = "odh_";

/// A fresh one-time token: `odh_` and 256 random bits in base64url. Shown once, never stored.
pub struct EnrolmentToken(Zeroizing<String>);

impl EnrolmentToken {
    /// A new token.
    pub fn generate() -> Result<Self> {
        let secret = Zeroizing::new(super::random::<32>()?);
        Ok(Self(Zeroizing::new(format!("{PREFIX}{}", Zeroizing::new(URL_SAFE_NO_PAD.encode(*secret)).as_str()))))
    }

    /// The token itself, to hand to the member.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What the hub stores: SHA-256 of the token, lower-case hex.
    pub fn digest(&self) -> String {
        Digest::of(self.0.as_bytes()).hex()
    }
}

impl fmt::Debug for EnrolmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnrolmentToken([redacted])")
    }
}

/// The digest to look a presented token up by. What cannot be a token is refused like one that is unknown.
///
/// The look-up by digest needs no constant time: what its timing could tell is about the hash, not the token.
pub fn enrolment_digest(token: &str) -> Result<String> {
    let secret = token.strip_prefix(PREFIX).filter(|_| token.len() == PREFIX.len() + 43);
    let decoded = secret.and_then(|secret| URL_SAFE_NO_PAD.decode(secret).ok()).map(Zeroizing::new);
    match decoded {
        Some(bytes) if bytes.len() == 32 => Ok(Digest::of(token.as_bytes()).hex()),
        _ => Err(Error::new(Reason::EnrolmentTokenInvalid)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_digest_and_not_shown_by_debug() {
        let token = EnrolmentToken::generate().unwrap();
        assert_eq!(enrolment_digest(token.expose()).unwrap(), token.digest());
        assert!(!format!("{token:?}").contains(token.expose()));
        assert_ne!(token.expose(), EnrolmentToken::generate().unwrap().expose());
    }

    #[test]
    fn what_cannot_be_a_token_is_refused_like_an_unknown_one() {
        let token = EnrolmentToken::generate().unwrap();
        let text = token.expose();
        let cut = &text[..text.len() - 1];
        for bad in ["", "odh_", cut, &format!("{text}="), &text.replace("odh_", "xyz_"), &format!("{cut}!")] {
            assert_eq!(enrolment_digest(bad).unwrap_err(), Error::new(Reason::EnrolmentTokenInvalid), "{bad}");
        }
    }
}
