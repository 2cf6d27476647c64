//! The Merkle tree, its proofs and the notes of `odh::audit` against `tlog_tiles`, `ct-merkle` and `signed_note`.
//!
//! Trees and proofs must be equal, hash by hash; of anything else, true or not, every verifier must say the same.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use ct_merkle::{RootHash, mem_backed_tree::MemoryBackedTree};
use odh::audit::{
    Checkpoint, CheckpointSigner, Frontier, Hash, Note, VerifierKey, consistency_proof, inclusion_proof, leaf_hash,
    subtrees_of, verify_consistency, verify_inclusion,
};
use proptest::prelude::*;
use sha2::Sha256;
use signed_note::{StandardVerifier, VerifierList};

type CtTree = MemoryBackedTree<Sha256, Vec<u8>>;

/// One log in each of the three implementations.
struct Logs {
    leaves: Vec<Hash>,
    stored: Stored,
    ct: CtTree,
}

/// The hashes that `tlog_tiles` stores of a tree.
struct Stored(Vec<tlog_tiles::Hash>);

impl tlog_tiles::HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|index| self.0[usize::try_from(*index).unwrap()]).collect())
    }
}

impl Logs {
    fn of(entries: &[Vec<u8>]) -> Self {
        let mut logs = Self { leaves: Vec::new(), stored: Stored(Vec::new()), ct: CtTree::new() };
        for (index, entry) in (0..).zip(entries) {
            logs.leaves.push(leaf_hash(entry));
            let more = tlog_tiles::stored_hashes(index, entry, &logs.stored).unwrap();
            logs.stored.0.extend(more);
            logs.ct.push(entry.clone());
        }
        logs
    }

    fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    /// Our root of the first `size` leaves; the oracles must have the same.
    fn root(&self, size: u64) -> Hash {
        let ours = Frontier::from_leaf_hashes(&self.leaves[..usize::try_from(size).unwrap()]).root();
        assert_eq!(tlog_tiles::tree_hash(size, &self.stored).unwrap().0, ours, "root of {size}");
        if size == self.size() && size > 0 {
            assert_eq!(self.ct.root().as_bytes().as_slice(), ours);
        }
        ours
    }
}

fn numbered(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|index| format!(r#"{{"i":"{index}"}}"#).into_bytes()).collect()
}

fn theirs(hashes: &[Hash]) -> Vec<tlog_tiles::Hash> {
    hashes.iter().map(|hash| tlog_tiles::Hash(*hash)).collect()
}

fn ct_root(root: Hash, size: u64) -> RootHash<Sha256> {
    RootHash::new(root.into(), size)
}

#[test]
fn roots_and_proofs_of_every_small_tree_are_equal() {
    let entries = numbered(130);
    for size in 1..=entries.len() {
        let logs = Logs::of(&entries[..size]);
        let (n, root) = (logs.size(), logs.root(logs.size()));
        for index in 0..n {
            let proof = inclusion_proof(index, n, subtrees_of(&logs.leaves)).unwrap();
            assert_eq!(tlog_tiles::prove_record(n, index, &logs.stored).unwrap(), theirs(&proof), "{index} of {n}");
            assert_eq!(logs.ct.prove_inclusion(usize::try_from(index).unwrap()).as_bytes(), proof.concat());
            assert!(verify_inclusion(&logs.leaves[usize::try_from(index).unwrap()], index, n, &proof, &root));
        }
        for old in 1..=n {
            let proof = consistency_proof(old, n, subtrees_of(&logs.leaves)).unwrap();
            assert_eq!(tlog_tiles::prove_tree(n, old, &logs.stored).unwrap(), theirs(&proof), "{old} to {n}");
            assert_eq!(logs.ct.prove_consistency(usize::try_from(n - old).unwrap()).as_bytes(), proof.concat());
            assert!(verify_consistency(old, &logs.root(old), n, &root, &proof));
        }
    }
}

/// What may happen to a proof on its way.
#[derive(Debug, Clone)]
enum Damage {
    None,
    Bit(prop::sample::Index),
    Cut,
    Longer,
    Swapped(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        Just(Damage::None),
        at().prop_map(Damage::Bit),
        Just(Damage::Cut),
        Just(Damage::Longer),
        at().prop_map(Damage::Swapped),
    ]
}

impl Damage {
    fn done_to(&self, mut proof: Vec<Hash>) -> Vec<Hash> {
        match self {
            Self::Bit(at) if !proof.is_empty() => {
                let bit = at.index(proof.len() * 256);
                proof[bit / 256][bit % 256 / 8] ^= 1 << (bit % 8);
            }
            Self::Cut => drop(proof.pop()),
            Self::Longer => proof.push([7; 32]),
            Self::Swapped(at) if proof.len() > 1 => {
                let at = at.index(proof.len() - 1);
                proof.swap(at, at + 1);
            }
            _ => {}
        }
        proof
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_verifier_says_the_same_of_any_inclusion_proof(
        size in 1_usize..600, at in any::<prop::sample::Index>(), claimed in any::<prop::sample::Index>(),
        honest in any::<bool>(), damage in damage(),
    ) {
        let entries = numbered(size);
        let logs = Logs::of(&entries);
        let (n, root) = (logs.size(), logs.root(logs.size()));
        let index = at.index(size);
        // The place that the proof is checked for: its own, or any other.
        let claimed = if honest { index } else { claimed.index(size + 2) };
        let proof = damage.done_to(inclusion_proof(index as u64, n, subtrees_of(&logs.leaves)).unwrap());
        let ours = verify_inclusion(&logs.leaves[index], claimed as u64, n, &proof, &root);
        let leaf = tlog_tiles::Hash(logs.leaves[index]);
        let go = claimed < size
            && tlog_tiles::check_record(&theirs(&proof), n, tlog_tiles::Hash(root), claimed as u64, leaf).is_ok();
        let ct_proof = ct_merkle::InclusionProof::try_from_bytes(proof.concat()).unwrap();
        let ct = ct_root(root, n).verify_inclusion(&entries[index], claimed as u64, &ct_proof).is_ok();
        prop_assert_eq!((ours, ours), (go, ct), "ours, tlog_tiles, ct-merkle");
        if claimed == index && matches!(damage, Damage::None) {
            prop_assert!(ours);
        }
    }

    #[test]
    fn every_verifier_says_the_same_of_any_consistency_proof(
        size in 1_usize..600, old in any::<prop::sample::Index>(), claimed in any::<prop::sample::Index>(),
        honest in any::<bool>(), rewritten in any::<bool>(), damage in damage(),
    ) {
        let logs = Logs::of(&numbered(size));
        let (n, root) = (logs.size(), logs.root(logs.size()));
        let old = 1 + old.index(size) as u64;
        let claimed = if honest { old } else { 1 + claimed.index(size) as u64 };
        let old_root = if rewritten { [9; 32] } else { logs.root(old) };
        let proof = damage.done_to(consistency_proof(old, n, subtrees_of(&logs.leaves)).unwrap());
        let ours = verify_consistency(claimed, &old_root, n, &root, &proof);
        let (new, older) = (tlog_tiles::Hash(root), tlog_tiles::Hash(old_root));
        let go = tlog_tiles::check_tree(&theirs(&proof), n, new, claimed, older).is_ok();
        let ct_proof = ct_merkle::ConsistencyProof::try_from_bytes(proof.concat()).unwrap();
        let ct = ct_root(root, n).verify_consistency(&ct_root(old_root, claimed), &ct_proof).is_ok();
        // ct-merkle does not compare the roots of two trees of one size: that is left to its caller.
        let ct = if claimed == n { ct && old_root == root && proof.is_empty() } else { ct };
        prop_assert_eq!((ours, ours), (go, ct), "ours, tlog_tiles, ct-merkle");
        if claimed == old && !rewritten && matches!(damage, Damage::None) {
            prop_assert!(ours);
        }
    }

    #[test]
    fn checkpoints_are_written_and_read_alike(size in any::<u64>(), root in any::<Hash>(), origin in "[a-z0-9./-]{1,40}") {
        let theirs = tlog_tiles::Checkpoint::new(&origin, size, tlog_tiles::Hash(root), "").unwrap();
        let ours = Checkpoint { origin, size, root };
        prop_assert_eq!(ours.to_string().into_bytes(), theirs.to_bytes());
    }

    #[test]
    fn notes_verify_alike_whatever_byte_is_changed(at in any::<prop::sample::Index>(), mask in any::<u8>(), seed in any::<[u8; 32]>()) {
        let signer = Signer::new(seed);
        let key = VerifierKey::of(&signer).unwrap();
        let root = Frontier::from_leaf_hashes(&[leaf_hash(b"a"), leaf_hash(b"b")]);
        let mut note = Checkpoint::of(ORIGIN, &root).sign(&signer).unwrap().into_bytes();
        let at = at.index(note.len());
        note[at] ^= mask;
        let ours = std::str::from_utf8(&note).ok().is_some_and(|text| {
            Note::parse(text).is_ok_and(|note| note.verify(&key).is_ok())
        });
        let known = VerifierList::new(vec![Box::new(StandardVerifier::new(&key.to_string()).unwrap())]);
        let oracle = signed_note::Note::from_bytes(&note).is_ok_and(|note| note.verify(&known).is_ok());
        prop_assert_eq!(ours, oracle);
        prop_assert_eq!(ours, mask == 0);
    }
}

const ORIGIN: &str = "hub.example/audit";

#[derive(Debug)]
struct Signer(Ed25519KeyPair);

impl Signer {
    fn new(seed: [u8; 32]) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&seed).unwrap())
    }
}

impl CheckpointSigner for Signer {
    fn origin(&self) -> &'static str {
        ORIGIN
    }

    fn public_key(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().unwrap()
    }

    fn sign(&self, message: &[u8]) -> odh::error::Result<[u8; 64]> {
        Ok(self.0.sign(message).as_ref().try_into().unwrap())
    }
}
