//! Page tokens (AIP-158): where a list goes on, encrypted, and bound to the caller and the request.
//!
//! A token is base64url of AES-256-GCM (nonce, ciphertext, tag). The binding is authenticated with it, so that
//! a token of another caller, call, filter or parent does not open. `page_size` may change from page to page.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    domain::Digest,
    error::{Error, Reason, Result},
};

/// Longest token that is looked at. Keys of lists are ids and names.
const LONGEST: usize = 2_048;

/// Seals and opens page tokens.
pub(super) struct PageTokens(RandomizedNonceKey);

impl PageTokens {
    /// With the hub's page secret.
    pub(super) fn new(secret: &[u8; 32]) -> Result<Self> {
        RandomizedNonceKey::new(&AES_256_GCM, secret)
            .map(Self)
            .map_err(|_| Error::internal("the page secret is not a key"))
    }

    /// The token that lets the list of `binding` go on after `key`.
    pub(super) fn seal(&self, binding: Digest, key: &str) -> Result<String> {
        let mut sealed = key.as_bytes().to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(binding.0), &mut sealed)
            .map_err(|_| Error::internal("a page token was not sealed"))?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_ref().as_slice(), &sealed].concat()))
    }

    /// The key in a token, if it was made for the same binding.
    pub(super) fn open(&self, binding: Digest, token: &str) -> Result<String> {
        self.try_open(binding, token).ok_or_else(|| Error::new(Reason::PageTokenInvalid))
    }

    fn try_open(&self, binding: Digest, token: &str) -> Option<String> {
        if token.len() > LONGEST {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let key = self.0.open_in_place(nonce, Aad::from(binding.0), &mut sealed).ok()?;
        String::from_utf8(key.to_vec()).ok()
    }
}

impl fmt::Debug for PageTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageTokens([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> PageTokens {
        PageTokens::new(&[7; 32]).unwrap()
    }

    #[test]
    fn a_token_opens_for_its_own_caller_and_request_only() {
        let tokens = tokens();
        let token = tokens.seal(Digest::of(b"chu/ListGrants"), "0190").unwrap();
        assert_eq!(tokens.open(Digest::of(b"chu/ListGrants"), &token).unwrap(), "0190");
        let error = tokens.open(Digest::of(b"irit/ListGrants"), &token).unwrap_err();
        assert_eq!(error.reason(), Reason::PageTokenInvalid);
        let other_key = PageTokens::new(&[8; 32]).unwrap();
        assert!(other_key.open(Digest::of(b"chu/ListGrants"), &token).is_err());
    }

    #[test]
    fn a_token_shows_nothing_and_a_changed_one_is_refused() {
        let tokens = tokens();
        let binding = Digest::of(b"b");
        let token = tokens.seal(binding, "participants/chu").unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        assert!(!bytes.windows(3).any(|window| window == b"chu"));
        for position in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            assert!(tokens.open(binding, &URL_SAFE_NO_PAD.encode(changed)).is_err(), "{position}");
        }
        for bad in ["", "x", "!", &"A".repeat(5_000), &format!("{token}=")] {
            assert!(tokens.open(binding, bad).is_err(), "{bad}");
        }
    }
}
