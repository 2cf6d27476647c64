//! Checkpoints (C2SP tlog-checkpoint v1.0.0): the log's size and root, signed.
//!
//! The body has exactly three lines. Extension lines, which C2SP does not recommend, are refused: this log never
//! signs any, so one that has them is not its own.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    CheckpointSigner,
    note::{self, Note, VerifierKey},
    tree::{Frontier, Hash},
};
use crate::error::{Error, Result};

/// What the log says about itself at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

impl Checkpoint {
    /// The checkpoint of the log `origin` whose tree has this frontier.
    pub fn of(origin: &str, frontier: &Frontier) -> Self {
        Self { origin: origin.to_owned(), size: frontier.size(), root: frontier.root() }
    }

    /// The signed note of this checkpoint. Fails if `signer` is that of another log.
    pub fn sign(&self, signer: &dyn CheckpointSigner) -> Result<String> {
        if signer.origin() != self.origin {
            return Err(Error::internal("a checkpoint is signed only by the log it is of"));
        }
        note::sign(&self.to_string(), signer)
    }

    /// The checkpoint in `text`, a note signed by `key`, whose name is the origin. Other signatures are ignored.
    pub fn verify(text: &str, key: &VerifierKey) -> Result<Self> {
        let note = Note::parse(text)?;
        note.verify(key)?;
        let checkpoint = Self::parse_body(note.text)?;
        if checkpoint.origin == key.name() {
            Ok(checkpoint)
        } else {
            Err(Error::invalid("checkpoint", "it is of another log than the key"))
        }
    }

    fn parse_body(body: &str) -> Result<Self> {
        let malformed = || Error::invalid("checkpoint", "not the three lines origin, size and root");
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(malformed());
        };
        let size = size.parse().map_err(|_| malformed())?;
        let root = STANDARD.decode(root).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(malformed)?;
        let checkpoint = Self { origin: origin.to_owned(), size, root };
        // Catches leading zeros and signs, further lines and a missing newline at once: one text per checkpoint.
        if origin.is_empty() || checkpoint.to_string() != body {
            return Err(malformed());
        }
        Ok(checkpoint)
    }
}

impl fmt::Display for Checkpoint {
    /// The body that is signed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{leaf_hash, testing::TestSigner};

    const ORIGIN: &str = "hub.example/audit";

    #[test]
    fn a_signed_checkpoint_gives_back_what_was_signed() {
        let signer = TestSigner::new(ORIGIN);
        let key = VerifierKey::of(&signer).unwrap();
        let frontier = Frontier::from_leaf_hashes(&[leaf_hash(b"a"), leaf_hash(b"b")]);
        let checkpoint = Checkpoint::of(ORIGIN, &frontier);
        let text = checkpoint.sign(&signer).unwrap();
        assert!(text.starts_with("hub.example/audit\n2\n"));
        assert_eq!(Checkpoint::verify(&text, &key).unwrap(), checkpoint);
        assert!(Checkpoint::verify(&text.replacen("\n2\n", "\n3\n", 1), &key).is_err());
    }

    #[test]
    fn the_signer_and_the_key_must_be_of_the_same_log() {
        let checkpoint = Checkpoint::of("elsewhere.example", &Frontier::default());
        let signer = TestSigner::new(ORIGIN);
        assert!(checkpoint.sign(&signer).is_err());
        let text = note::sign(&checkpoint.to_string(), &signer).unwrap();
        assert!(Checkpoint::verify(&text, &VerifierKey::of(&signer).unwrap()).is_err());
    }

    #[test]
    fn a_body_that_is_not_in_its_one_form_is_refused_even_if_signed() {
        let signer = TestSigner::new(ORIGIN);
        let key = VerifierKey::of(&signer).unwrap();
        let root = STANDARD.encode([0; 32]);
        for body in [
            format!("{ORIGIN}\n01\n{root}\n"),
            format!("{ORIGIN}\n+1\n{root}\n"),
            format!("{ORIGIN}\n-1\n{root}\n"),
            format!("{ORIGIN}\n18446744073709551616\n{root}\n"),
            format!("{ORIGIN}\n1\n{root}\nextension\n"),
            format!("{ORIGIN}\n1\n{root}\n\n"),
            format!("{ORIGIN}\n1\nAAAA\n"),
            format!("{ORIGIN}\n1\n"),
            format!("\n1\n{root}\n"),
            format!("{ORIGIN}\n"),
        ] {
            let text = note::sign(&body, &signer).unwrap();
            assert!(Checkpoint::verify(&text, &key).is_err(), "{body:?}");
        }
    }
}
