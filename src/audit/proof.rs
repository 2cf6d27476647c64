//! The offline receipt (C2SP tlog-proof): an index, its inclusion proof and the checkpoint, as one text.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{checkpoint::Checkpoint, note::VerifierKey, path::verify_inclusion, tree::Hash};
use crate::error::{Error, Reason, Result};

const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// No tree has a longer path.
const MAX_HASHES: usize = 64;

/// Shows that one entry is in the log; its text form is the content of a `.tlog-proof` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// The entry's index.
    pub index: u64,
    /// The inclusion proof, from the leaf's sibling up.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint that the proof leads to.
    pub checkpoint: String,
}

impl TlogProof {
    /// Checks the checkpoint's signature and that it covers the entry with this leaf hash; gives the checkpoint.
    pub fn verify(&self, leaf_hash: &Hash, key: &VerifierKey) -> Result<Checkpoint> {
        let checkpoint = Checkpoint::verify(&self.checkpoint, key)?;
        if verify_inclusion(leaf_hash, self.index, checkpoint.size, &self.hashes, &checkpoint.root) {
            Ok(checkpoint)
        } else {
            Err(Error::new(Reason::SignatureInvalid).with("detail", "the proof does not lead to the checkpoint's root"))
        }
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HEADER}\nindex {}\n", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for TlogProof {
    type Err = Error;

    /// Strict, except that an `extra` line is skipped, as the specification lets others add one.
    fn from_str(text: &str) -> Result<Self> {
        let malformed = |detail: &str| Error::invalid("proof", detail);
        let (head, checkpoint) = text.split_once("\n\n").ok_or_else(|| malformed("it has no checkpoint"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(malformed("it does not start with `c2sp.org/tlog-proof@v1`"));
        }
        if let Some(extra) = lines.next_if(|line| line.starts_with("extra ")) {
            STANDARD.decode(extra.trim_start_matches("extra ")).map_err(|_| malformed("its extra is not base64"))?;
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(decimal);
        let index = index.ok_or_else(|| malformed("it has no index"))?;
        let hashes: Vec<Hash> = lines
            .take(MAX_HASHES + 1)
            .map(|line| STANDARD.decode(line).ok().and_then(|bytes| bytes.try_into().ok()))
            .collect::<Option<_>>()
            .ok_or_else(|| malformed("a hash is not 32 bytes in base64"))?;
        if hashes.len() > MAX_HASHES {
            return Err(malformed("it has more hashes than any tree needs"));
        }
        Ok(Self { index, hashes, checkpoint: checkpoint.to_owned() })
    }
}

/// A decimal number in its one form: no sign, no leading zeros.
pub(super) fn decimal(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::{
        Frontier, inclusion_proof, leaf_hash, subtrees_of,
        testing::{TestSigner, flip},
    };

    const ORIGIN: &str = "hub.example/audit";

    fn receipt(index: u64, size: u64) -> (Hash, TlogProof, VerifierKey) {
        let hashes: Vec<_> = (0..size).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        let signer = TestSigner::new(ORIGIN);
        let checkpoint = Checkpoint::of(ORIGIN, &Frontier::from_leaf_hashes(&hashes)).sign(&signer).unwrap();
        let proof = inclusion_proof(index, size, subtrees_of(&hashes)).unwrap();
        let leaf = leaf_hash(&index.to_be_bytes());
        (leaf, TlogProof { index, hashes: proof, checkpoint }, VerifierKey::of(&signer).unwrap())
    }

    #[test]
    fn a_receipt_verifies_for_its_entry_and_no_other() {
        for (index, size) in [(0, 1), (0, 2), (5, 13), (12, 13)] {
            let (leaf, proof, key) = receipt(index, size);
            let text = proof.to_string();
            let parsed: TlogProof = text.parse().unwrap();
            assert_eq!(parsed, proof);
            assert_eq!(parsed.verify(&leaf, &key).unwrap().size, size);
            assert!(parsed.verify(&leaf_hash(b"other"), &key).is_err());
        }
    }

    #[test]
    fn the_extra_line_of_others_is_skipped() {
        let (leaf, proof, key) = receipt(5, 13);
        let text = proof.to_string().replacen("index", "extra AAAA\nindex", 1);
        text.parse::<TlogProof>().unwrap().verify(&leaf, &key).unwrap();
    }

    #[test]
    fn malformed_receipts_are_refused() {
        let (_, proof, _) = receipt(5, 13);
        let text = proof.to_string();
        for bad in [
            String::new(),
            text.replacen("@v1", "@v2", 1),
            text.replacen("index 5", "index 05", 1),
            text.replacen("index 5", "index +5", 1),
            text.replacen("index 5\n", "", 1),
            text.replacen("index 5\n", "index 5\nAAAA\n", 1),
            text.replacen("index", "extra !\nindex", 1),
            text.replacen(
                "index 5\n",
                &format!("index 5\n{}", format!("{}\n", STANDARD.encode([0; 32])).repeat(65)),
                1,
            ),
        ] {
            assert!(bad.parse::<TlogProof>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_receipt_with_any_byte_changed_does_not_verify(at in any::<prop::sample::Index>(), mask in 1_u8..) {
            let (leaf, proof, key) = receipt(5, 13);
            let bytes = flip(proof.to_string().as_bytes(), at, mask);
            let accepted = String::from_utf8(bytes)
                .ok()
                .and_then(|text| text.parse::<TlogProof>().ok())
                .is_some_and(|proof| proof.verify(&leaf, &key).is_ok());
            prop_assert!(!accepted);
        }
    }
}
