//! The Merkle tree of RFC 6962 section 2.1, over SHA-256: its hashes, and the frontier that appends in O(log n).
//!
//! Nothing here stores a tree: the store keeps the leaf hashes and the frontier.

use aws_lc_rs::digest::{Context, SHA256};

use crate::error::{Error, Result};

/// A SHA-256 hash: of a leaf, of a node or of a whole tree.
pub type Hash = [u8; 32];

/// The most leaves a tree may have: far from any overflow, far above any log.
pub(super) const MAX_SIZE: u64 = 1 << 62;

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
    Frontier::from_leaf_hashes(leaf_hashes).root()
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
        for hash in leaf_hashes {
            frontier.append(hash);
        }
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

/// SHA-256 of the parts, one after the other.
pub(super) fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        audit::testing::{leaf_hashes, mth},
        domain::Digest,
    };

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
    fn a_frontier_with_too_few_or_too_many_peaks_is_refused() {
        let bytes = Frontier::from_leaf_hashes(&leaf_hashes(6)).to_bytes();
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
            let all = leaf_hashes(size);
            let cut = cut.min(size);
            let mut frontier = Frontier::from_bytes(&Frontier::from_leaf_hashes(&all[..cut]).to_bytes()).unwrap();
            for hash in &all[cut..] {
                frontier.append(hash);
            }
            prop_assert_eq!(frontier.root(), mth(&all));
            prop_assert_eq!(frontier.size(), size as u64);
        }
    }
}
