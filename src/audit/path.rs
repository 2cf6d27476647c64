//! Inclusion and consistency proofs of RFC 6962 sections 2.1.1 and 2.1.2: made and verified.
//!
//! A proof names the ranges of leaves whose subtree roots it needs; whoever keeps the leaf hashes answers for them.
//! Verification is that of RFC 9162 sections 2.1.3.2 and 2.1.4.2, and cannot panic.

use std::ops::Range;

use super::tree::{Frontier, Hash, MAX_SIZE, node_hash, subtree_root};
use crate::error::{Error, Result};

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
    inclusion_ranges(index, size)?.into_iter().map(subtree).collect()
}

/// The ranges of leaves whose roots are the proof that leaf `index` is in the tree of `size` leaves, in its order.
pub fn inclusion_ranges(index: u64, size: u64) -> Result<Vec<Range<u64>>> {
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
    ranges.reverse();
    Ok(ranges)
}

/// The proof that the tree of the first `old` leaves is a prefix of that of the first `new`.
///
/// Empty if `old` is 0 or equals `new`: nothing needs proof then. `subtree` is as for [`inclusion_proof`].
pub fn consistency_proof(old: u64, new: u64, subtree: impl FnMut(Range<u64>) -> Result<Hash>) -> Result<Vec<Hash>> {
    consistency_ranges(old, new)?.into_iter().map(subtree).collect()
}

/// The ranges of leaves whose roots are the proof that `old` leaves begin the tree of `new` leaves, in its order.
pub fn consistency_ranges(old: u64, new: u64) -> Result<Vec<Range<u64>>> {
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
    ranges.reverse();
    Ok(ranges)
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

/// The largest power of two below `size`, which is at least 2: where RFC 6962 splits a tree.
const fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::{
        leaf_hash, subtree_root,
        testing::{leaf_hashes, mth},
    };

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

    #[test]
    fn roots_and_proofs_of_every_small_tree_are_those_of_the_rfc() {
        for size in 0..70_usize {
            let all = leaf_hashes(size);
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
        let all = leaf_hashes(3);
        assert!(inclusion_proof(3, 3, subtrees_of(&all)).is_err());
        assert!(inclusion_proof(0, 5, subtrees_of(&all)).is_err());
        assert!(inclusion_proof(0, u64::MAX, subtrees_of(&all)).is_err());
        assert!(consistency_proof(4, 3, subtrees_of(&all)).is_err());
        assert!(!verify_inclusion(&all[0], 3, 3, &[], &all[0]));
        assert!(!verify_consistency(0, &all[0], 3, &mth(&all), &[]));
        assert!(!verify_consistency(3, &mth(&all), 4, &mth(&leaf_hashes(4)), &[]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn an_altered_inclusion_proof_is_refused(
            size in 1_usize..200, index in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0..8_u8,
        ) {
            let all = leaf_hashes(size);
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
                proof[at / 32][at % 32] ^= 1_u8 << bit;
                prop_assert!(!verify_inclusion(&all[index], i, n, &proof, &root));
            }
        }

        #[test]
        fn a_history_that_was_rewritten_has_no_consistency_proof(
            new in 2_usize..200, old in any::<prop::sample::Index>(), changed in any::<prop::sample::Index>(),
        ) {
            let all = leaf_hashes(new);
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
