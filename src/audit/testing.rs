//! What the unit tests of this layer share: a signer with a fixed key for each origin, and a way to damage bytes.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use proptest::sample::Index;

use super::{CheckpointSigner, tree::sha256};
use crate::error::Result;

#[derive(Debug)]
pub(in crate::audit) struct TestSigner {
    origin: String,
    key: Ed25519KeyPair,
}

impl TestSigner {
    pub(in crate::audit) fn new(origin: &str) -> Self {
        let key = Ed25519KeyPair::from_seed_unchecked(&sha256(&[origin.as_bytes()])).unwrap();
        Self { origin: origin.to_owned(), key }
    }
}

impl CheckpointSigner for TestSigner {
    fn origin(&self) -> &str {
        &self.origin
    }

    fn public_key(&self) -> [u8; 32] {
        self.key.public_key().as_ref().try_into().unwrap()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64]> {
        Ok(self.key.sign(message).as_ref().try_into().unwrap())
    }
}

/// `bytes` with one of them changed by a mask that is not zero.
pub(in crate::audit) fn flip(bytes: &[u8], at: Index, mask: u8) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let at = at.index(changed.len());
    changed[at] ^= mask;
    changed
}
