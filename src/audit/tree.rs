//! The Merkle tree of RFC 6962 section 2.1, over SHA-256: hashes, the frontier that appends in O(log n), and proofs.
//!
//! Nothing here stores a tree. A proof names the ranges of leaves whose subtree roots it needs; whoever keeps the
//! leaf hashes answers for them. Verification is that of RFC 9162 sections 2.1.3.2 and 2.1.4.2, and cannot panic.

use std::ops::Range;

use aws_lc_rs::digest::{Context, SHA256};

use crate::error::{Error, Result};

/// A SHA-256 hash: of a leaf, of a node or of a whole tree.
pub type Hash = [u8; 32];

/// The most leaves a tree may have: far from any overflow, far above any log.
const MAX_SIZE: u64 = 1 << 62;

/// The hash of a leaf: SHA-256 of `0x00` and its bytes.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    sha256(&[&[0x00], leaf])
}

/// The hash of an inner node: SHA-256 of `0x01` and its children's hashes.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[0x01], left, right])
}

/// The root of the tree (or of the subtree) that has exactly these leaf hashes.
pub fn subtree_root(leaf_hashes: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    leaf_hashes.iter().for_each(|hash| frontier.append(hash));
    frontier.root()
}

/// The right edge of a tree: all that is needed to append and to know the root, at most 63 hashes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// Roots of the full subtrees, from the largest (leftmost) on: one for each bit set in `size`.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The frontier of a tree with these leaf hashes.
    pub fn from_leaf_hashes<'a>(leaf_hashes: impl IntoIterator<Item = &'a Hash>) -> Self {
        let mut frontier = Self::default();
        leaf_hashes.into_iter().for_each(|hash| frontier.append(hash));
        frontier
    }

    /// How many leaves the tree has; also the index of the next.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf by its hash.
    pub fn append(&mut self, leaf_hash: &Hash) {
        let mut node = *leaf_hash;
        // Each trailing 1 of the size is a full subtree as large as the one just completed.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// The tree's root; of an empty tree SHA-256 of nothing.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return sha256(&[]) };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }

    /// For the store: the size in big-endian bytes, then the peaks.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        bytes.extend(self.peaks.iter().flatten());
        bytes
    }

    /// What [`Self::to_bytes`] gave. Fails if the number of peaks does not fit the size.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let malformed = || Error::invalid("frontier", "not 8 bytes of size and one hash for each bit set in it");
        let (size, rest) = bytes.split_first_chunk::<8>().ok_or_else(malformed)?;
        let (peaks, tail) = rest.as_chunks::<32>();
        let size = u64::from_be_bytes(*size);
        let fits = u32::try_from(peaks.len()).is_ok_and(|count| count == size.count_ones());
        if size > MAX_SIZE || !tail.is_empty() || !fits {
            return Err(malformed());
        }
        Ok(Self { size, peaks: peaks.to_vec() })
    }
}

/// Answers for subtrees from a slice that holds every leaf hash, for [`inclusion_proof`] and [`consistency_proof`].
pub fn subtrees_of(leaf_hashes: &[Hash]) -> impl Fn(Range<u64>) -> Result<Hash> {
    |range| {
        let start = usize::try_from(range.start).unwrap_or(usize::MAX);
        let end = usize::try_from(range.end).unwrap_or(usize::MAX);
        let leaves = leaf_hashes.get(start..end);
        leaves.map(subtree_root).ok_or_else(|| Error::invalid("proof", "the tree has fewer leaves than that"))
    }
}

/// The proof that leaf `index` is in the tree of the first `size` leaves, from the leaf's sibling up.
///
/// `subtree` gives the root over a range of leaf indexes, for example by [`subtree_root`] of the hashes read from
/// the store. It is asked for at most 62 ranges, which together cover the whole tree except the leaf.
pub fn inclusion_proof(index: u64, size: u64, subtree: impl FnMut(Range<u64>) -> Result<Hash>) -> Result<Vec<Hash>> {
    if index >= size || size > MAX_SIZE {
        return Err(Error::invalid("index", "the tree has no such entry"));
    }
    let mut ranges = Vec::new();
    let mut tree = 0..size;
    while tree.end - tree.start > 1 {
        let middle = tree.start + split(tree.end - tree.start);
        if index < middle {
            ranges.push(middle..tree.end);
            tree.end = middle;
        } else {
            ranges.push(tree.start..middle);
            tree.start = middle;
        }
    }
    ranges.into_iter().rev().map(subtree).collect()
}

/// The proof that the tree of the first `old` leaves is a prefix of that of the first `new`.
///
/// Empty if `old` is 0 or equals `new`: nothing needs proof then. `subtree` is as for [`inclusion_proof`].
pub fn consistency_proof(old: u64, new: u64, subtree: impl FnMut(Range<u64>) -> Result<Hash>) -> Result<Vec<Hash>> {
    if old > new || new > MAX_SIZE {
        return Err(Error::invalid("size", "the old tree is larger than the new one"));
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let mut ranges = Vec::new();
    let mut tree = 0..new;
    // SUBPROOF of RFC 6962 section 2.1.2; the verifier knows the subtree that ends at `old` iff it starts at 0.
    while tree.end != old {
        let middle = tree.start + split(tree.end - tree.start);
        if old <= middle {
            ranges.push(middle..tree.end);
            tree.end = middle;
        } else {
            ranges.push(tree.start..middle);
            tree.start = middle;
        }
    }
    if tree.start != 0 {
        ranges.push(tree);
    }
    ranges.into_iter().rev().map(subtree).collect()
}

/// Whether `proof` shows that the leaf with this hash is at `index` in the tree of `size` leaves with this `root`.
pub fn verify_inclusion(leaf_hash: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf_hash;
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether `proof` shows that the tree of `old` leaves with `old_root` is a prefix of that of `new` leaves with
/// `new_root`.
///
/// The empty tree is a prefix of every tree: then the proof must be empty and `old_root` that of an empty tree.
pub fn verify_consistency(old: u64, old_root: &Hash, new: u64, new_root: &Hash, proof: &[Hash]) -> bool {
    if old > new {
        return false;
    }
    if old == new {
        return proof.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return proof.is_empty() && *old_root == Frontier::default().root();
    }
    // A tree whose size is a power of two is itself a subtree of the new one, so the proof leaves it out.
    let (first, rest) = if old.is_power_of_two() {
        (old_root, proof)
    } else if let Some((first, rest)) = proof.split_first() {
        (first, rest)
    } else {
        return false;
    };
    let shift = (old - 1).trailing_ones();
    let (mut node, mut last) = ((old - 1) >> shift, (new - 1) >> shift);
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == *old_root && new_hash == *new_root
}

/// SHA-256 of the parts, one after the other.
pub(super) fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// The largest power of two below `size`, which is at least 2: where RFC 6962 splits a tree.
const fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::Digest;

    /// MTH of RFC 6962 section 2.1, word for word.
    fn mth(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => sha256(&[]),
            [leaf] => *leaf,
            _ => {
                let k = leaves.len().next_power_of_two() / 2;
                node_hash(&mth(&leaves[..k]), &mth(&leaves[k..]))
            }
        }
    }

    /// PATH of RFC 6962 section 2.1.1, word for word.
    fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let k = leaves.len().next_power_of_two() / 2;
        let (mut proof, other) = if m < k {
            (path(m, &leaves[..k]), mth(&leaves[k..]))
        } else {
            (path(m - k, &leaves[k..]), mth(&leaves[..k]))
        };
        proof.push(other);
        proof
    }

    /// SUBPROOF of RFC 6962 section 2.1.2, word for word.
    fn subproof(m: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
        if m == leaves.len() {
            return if known { Vec::new() } else { vec![mth(leaves)] };
        }
        let k = leaves.len().next_power_of_two() / 2;
        let (mut proof, other) = if m <= k {
            (subproof(m, &leaves[..k], known), mth(&leaves[k..]))
        } else {
            (subproof(m - k, &leaves[k..], false), mth(&leaves[..k]))
        };
        proof.push(other);
        proof
    }

    fn leaves(size: usize) -> Vec<Hash> {
        (0..size).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    #[test]
    fn roots_are_those_of_the_test_vectors_of_certificate_transparency() {
        let inputs: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let hashes: Vec<_> = inputs.into_iter().map(leaf_hash).collect();
        for (size, expected) in [
            (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
        ] {
            assert_eq!(Digest(subtree_root(&hashes[..size])).hex(), expected, "{size}");
        }
    }

    #[test]
    fn roots_and_proofs_of_every_small_tree_are_those_of_the_rfc() {
        for size in 0..70_usize {
            let all = leaves(size);
            let root = subtree_root(&all);
            assert_eq!(root, mth(&all));
            let n = size as u64;
            for index in 0..size {
                let proof = inclusion_proof(index as u64, n, subtrees_of(&all)).unwrap();
                assert_eq!(proof, path(index, &all), "{index} of {size}");
                assert!(verify_inclusion(&all[index], index as u64, n, &proof, &root));
            }
            for old in 1..=size {
                let proof = consistency_proof(old as u64, n, subtrees_of(&all)).unwrap();
                assert_eq!(proof, subproof(old, &all, true), "{old} to {size}");
                assert!(verify_consistency(old as u64, &mth(&all[..old]), n, &root, &proof));
            }
            assert!(verify_consistency(0, &mth(&[]), n, &root, &[]));
        }
    }

    #[test]
    fn a_proof_for_what_the_tree_does_not_have_is_refused() {
        let all = leaves(3);
        assert!(inclusion_proof(3, 3, subtrees_of(&all)).is_err());
        assert!(inclusion_proof(0, 5, subtrees_of(&all)).is_err());
        assert!(inclusion_proof(0, u64::MAX, subtrees_of(&all)).is_err());
        assert!(consistency_proof(4, 3, subtrees_of(&all)).is_err());
        assert!(!verify_inclusion(&all[0], 3, 3, &[], &all[0]));
        assert!(!verify_consistency(0, &all[0], 3, &mth(&all), &[]));
        assert!(!verify_consistency(3, &mth(&all), 4, &mth(&leaves(4)), &[]));
    }

    #[test]
    fn a_frontier_with_too_few_or_too_many_peaks_is_refused() {
        let bytes = Frontier::from_leaf_hashes(&leaves(6)).to_bytes();
        assert_eq!(Frontier::from_bytes(&bytes).unwrap().size(), 6);
        assert!(Frontier::from_bytes(&bytes[..bytes.len() - 32]).is_err());
        assert!(Frontier::from_bytes(&bytes[..bytes.len() - 1]).is_err());
        assert!(Frontier::from_bytes(&[bytes, vec![0; 32]].concat()).is_err());
        assert!(Frontier::from_bytes(&[]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_frontier_kept_as_bytes_between_appends_has_the_same_root(size in 0_usize..300, cut in 0_usize..300) {
            let all = leaves(size);
            let cut = cut.min(size);
            let mut frontier = Frontier::from_bytes(&Frontier::from_leaf_hashes(&all[..cut]).to_bytes()).unwrap();
            all[cut..].iter().for_each(|hash| frontier.append(hash));
            prop_assert_eq!(frontier.root(), mth(&all));
            prop_assert_eq!(frontier.size(), size as u64);
        }

        #[test]
        fn an_altered_inclusion_proof_is_refused(
            size in 1_usize..200, index in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0..8,
        ) {
            let all = leaves(size);
            let index = index.index(size);
            let root = mth(&all);
            let (i, n) = (index as u64, size as u64);
            let mut proof = inclusion_proof(i, n, subtrees_of(&all)).unwrap();
            prop_assert!(!verify_inclusion(&leaf_hash(b"other"), i, n, &proof, &root));
            for other in (0..n).filter(|other| *other != i) {
                prop_assert!(!verify_inclusion(&all[index], other, n, &proof, &root));
            }
            let longer = [proof.clone(), vec![root]].concat();
            prop_assert!(!verify_inclusion(&all[index], i, n, &longer, &root));
            if !proof.is_empty() {
                prop_assert!(!verify_inclusion(&all[index], i, n, &proof[1..], &root));
                let at = at.index(proof.len() * 32);
                proof[at / 32][at % 32] ^= 1 << bit;
                prop_assert!(!verify_inclusion(&all[index], i, n, &proof, &root));
            }
        }

        #[test]
        fn a_history_that_was_rewritten_has_no_consistency_proof(
            new in 2_usize..200, old in any::<prop::sample::Index>(), changed in any::<prop::sample::Index>(),
        ) {
            let all = leaves(new);
            let old = 1 + old.index(new - 1);
            let mut rewritten = all.clone();
            rewritten[changed.index(old)] = leaf_hash(b"rewritten");
            let (m, n) = (old as u64, new as u64);
            for proof in [&all, &rewritten].map(|side| consistency_proof(m, n, subtrees_of(side)).unwrap()) {
                prop_assert!(!verify_consistency(m, &mth(&all[..old]), n, &mth(&rewritten), &proof));
            }
        }

        #[test]
        fn verification_accepts_no_random_proof_and_never_panics(
            a in any::<u64>(), b in any::<u64>(), proof in prop::collection::vec(any::<Hash>(), 0..70), root in any::<Hash>(),
        ) {
            prop_assert!(!verify_inclusion(&[7; 32], a, b, &proof, &root));
            prop_assert!(a == b || !verify_consistency(a, &[7; 32], b, &root, &proof));
        }
    }
}
