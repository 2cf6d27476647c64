//! What a witness decides (C2SP tlog-witness v1.0.0): whether a checkpoint continues all that it has seen of a log.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{checkpoint::Checkpoint, note::VerifierKey, path::verify_consistency, proof::decimal, tree::Hash};
use crate::error::{Error, Reason, Result};

/// The specification lets a proof have no more hashes.
const MAX_PROOF: usize = 63;

/// The body of `add-checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the sender believes the witness to have seen last; 0 if none.
    pub old: u64,
    /// The consistency proof from there.
    pub proof: Vec<Hash>,
    /// The checkpoint, a signed note.
    pub checkpoint: String,
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        for hash in &self.proof {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for AddCheckpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let malformed = |detail: &str| Error::invalid("add-checkpoint", detail);
        let (head, checkpoint) = text.split_once("\n\n").ok_or_else(|| malformed("it has no checkpoint"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(decimal);
        let old = old.ok_or_else(|| malformed("it does not begin with `old` and a size"))?;
        let proof: Vec<Hash> = lines
            .take(MAX_PROOF + 1)
            .map(|line| STANDARD.decode(line).ok().and_then(|bytes| bytes.try_into().ok()))
            .collect::<Option<_>>()
            .ok_or_else(|| malformed("a hash is not 32 bytes in base64"))?;
        if proof.len() > MAX_PROOF {
            return Err(malformed("it has more hashes than any tree needs"));
        }
        Ok(Self { old, proof, checkpoint: checkpoint.to_owned() })
    }
}

/// Why a witness does not cosign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The checkpoint is malformed or not signed with the log's key (403), or smaller than the sender's old size (400).
    Unacceptable(Error),
    /// The sender's old size is not what the witness has seen last, which is this (409).
    Stale(u64),
    /// Both have this size and different roots: the log has forked (409).
    Forked,
    /// The proof does not show that the log continues what the witness has seen (422).
    Inconsistent,
}

impl Refusal {
    /// The HTTP status that the specification gives it.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Unacceptable(error) if matches!(error.reason(), Reason::SignatureInvalid) => 403,
            Self::Unacceptable(_) => 400,
            Self::Stale(_) | Self::Forked => 409,
            Self::Inconsistent => 422,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unacceptable(error) => error.fmt(f),
            Self::Stale(size) => write!(f, "the last checkpoint that was seen has {size} entries"),
            Self::Forked => f.write_str("the log has shown two different trees of the same size"),
            Self::Inconsistent => f.write_str("the log does not continue what was seen of it"),
        }
    }
}

/// The checkpoint of a request, if a witness that has seen `seen` may cosign it.
///
/// The witness must make the checkpoint durable as the last that it has seen before it lets a cosignature out.
pub fn advance(seen: Option<&Checkpoint>, asked: &AddCheckpoint, log: &VerifierKey) -> Result<Checkpoint, Refusal> {
    let checkpoint = Checkpoint::verify(&asked.checkpoint, log).map_err(Refusal::Unacceptable)?;
    if asked.old > checkpoint.size {
        let detail = "the checkpoint is smaller than the old size";
        return Err(Refusal::Unacceptable(Error::invalid("add-checkpoint", detail)));
    }
    let size = seen.map_or(0, |seen| seen.size);
    if asked.old != size {
        return Err(Refusal::Stale(size));
    }
    match seen {
        Some(seen) if seen.size == checkpoint.size && seen.root != checkpoint.root => Err(Refusal::Forked),
        Some(seen) if !verify_consistency(size, &seen.root, checkpoint.size, &checkpoint.root, &asked.proof) => {
            Err(Refusal::Inconsistent)
        }
        None if !asked.proof.is_empty() => Err(Refusal::Inconsistent),
        _ => Ok(checkpoint),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::{
        Frontier, consistency_proof, leaf_hash, subtrees_of,
        testing::{TestSigner, leaf_hashes},
    };

    const ORIGIN: &str = "hub.example/audit";

    fn key() -> VerifierKey {
        VerifierKey::of(&TestSigner::new(ORIGIN)).unwrap()
    }

    fn of(leaves: &[Hash]) -> Checkpoint {
        Checkpoint::of(ORIGIN, &Frontier::from_leaf_hashes(leaves))
    }

    fn ask(leaves: &[Hash], old: u64, claimed: u64) -> AddCheckpoint {
        let new = leaves.len() as u64;
        AddCheckpoint {
            old: claimed,
            proof: consistency_proof(old.min(new), new, subtrees_of(leaves)).unwrap(),
            checkpoint: of(leaves).sign(&TestSigner::new(ORIGIN)).unwrap(),
        }
    }

    #[test]
    fn a_log_that_grows_is_cosigned_from_the_first_sight_on() {
        let leaves = leaf_hashes(40);
        assert_eq!(advance(None, &ask(&leaves[..7], 0, 0), &key()), Ok(of(&leaves[..7])));
        let seen = of(&leaves[..7]);
        for size in 7..=40 {
            let asked = ask(&leaves[..size], 7, 7);
            assert_eq!(asked.to_string().parse::<AddCheckpoint>().unwrap(), asked);
            assert_eq!(advance(Some(&seen), &asked, &key()), Ok(of(&leaves[..size])));
        }
    }

    #[test]
    fn a_log_that_forks_rolls_back_or_lies_is_refused_as_the_specification_says() {
        let leaves = leaf_hashes(40);
        let mut forked = leaves.clone();
        forked[3] = leaf_hash(b"rewritten");
        let seen = of(&leaves[..20]);
        let refused = |asked: &AddCheckpoint| advance(Some(&seen), asked, &key()).unwrap_err();
        assert_eq!(refused(&ask(&leaves, 20, 7)), Refusal::Stale(20));
        assert_eq!(refused(&ask(&leaves[..10], 10, 10)), Refusal::Stale(20));
        assert_eq!(refused(&ask(&forked[..20], 20, 20)), Refusal::Forked);
        assert_eq!(refused(&ask(&forked, 20, 20)), Refusal::Inconsistent);
        assert_eq!(refused(&ask(&leaves, 19, 20)), Refusal::Inconsistent);
        assert_eq!(refused(&ask(&leaves[..10], 10, 20)).status(), 400);
        let mut unsigned = ask(&leaves, 20, 20);
        unsigned.checkpoint = unsigned.checkpoint.replacen("\n40\n", "\n41\n", 1);
        assert_eq!(refused(&unsigned).status(), 403);
        assert_eq!((Refusal::Stale(1).status(), Refusal::Inconsistent.status()), (409, 422));
        let surplus = AddCheckpoint { proof: vec![[0; 32]], ..ask(&leaves[..7], 0, 0) };
        assert_eq!(advance(None, &surplus, &key()), Err(Refusal::Inconsistent));
    }

    #[test]
    fn malformed_requests_are_refused() {
        let good = ask(&leaf_hashes(9), 7, 7).to_string();
        for bad in [
            String::new(),
            good.replacen("old 7", "old 07", 1),
            good.replacen("old 7", "new 7", 1),
            good.replacen("old 7\n", "old 7\nAAAA\n", 1),
            good.replacen("old 7\n", &format!("old 7\n{}", format!("{}\n", STANDARD.encode([0; 32])).repeat(64)), 1),
            good.replacen("\n\n", "\n", 1),
        ] {
            assert!(
                bad.parse::<AddCheckpoint>().is_err() || advance(None, &bad.parse().unwrap(), &key()).is_err(),
                "{bad}"
            );
        }
    }

    proptest! {
        #[test]
        fn parsing_a_request_never_panics(text in "(old [0-9]{0,4})?(\\PC|\n){0,80}") {
            let _ = text.parse::<AddCheckpoint>();
        }
    }
}
