//! Hash tiles (C2SP tlog-tiles v0.1.0): the tree cut into pieces of 256 hashes, so that a proof reads a handful of
//! them whatever the size of the log.
//!
//! Tile `n` of level `l` holds the roots of full subtrees of `256^l` leaves, from number `256 n` on. Who keeps tiles
//! (the store, a web server, a folder) is not known here: a proof names the tiles that it needs, and is computed from
//! those that were fetched.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use super::{
    tile_path::TilePath,
    tree::{Hash, node_hash, subtree_root},
};
use crate::error::{Error, Result};

/// Hashes in a full tile; entries in a full bundle.
pub const TILE_WIDTH: u64 = 256;
/// A full tile has `2^8` hashes.
const HEIGHT: u32 = 8;
/// C2SP: levels go from 0 to 63.
pub(super) const MAX_LEVEL: u8 = 63;

/// Which tile, at any width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileId {
    /// 0 for leaf hashes, one more for every 256 times as many leaves.
    pub level: u8,
    /// Its place in the level.
    pub n: u64,
}

impl TileId {
    /// How many hashes it has in the tree of `size` leaves: 256 at most.
    pub fn width(self, size: u64) -> u64 {
        nodes(self.level, size).saturating_sub(self.n.saturating_mul(TILE_WIDTH)).min(TILE_WIDTH)
    }
}

/// Whether a tree of `size` leaves has this tile at this width.
pub fn exists(path: &TilePath, size: u64) -> bool {
    let (id, width) = match path {
        TilePath::Hashes { id, width } => (*id, *width),
        TilePath::Entries { n, width } => (TileId { level: 0, n: *n }, *width),
    };
    id.width(size) >= width
}

/// How many full subtrees of `256^level` leaves a tree of `size` leaves has.
pub fn nodes(level: u8, size: u64) -> u64 {
    size.checked_shr(u32::from(level) * HEIGHT).unwrap_or(0)
}

/// Every tile of a tree of `size` leaves, lowest level first, with its width.
pub fn all_tiles(size: u64) -> impl Iterator<Item = (TileId, u64)> {
    (0..=MAX_LEVEL).take_while(move |level| nodes(*level, size) > 0).flat_map(move |level| {
        (0..nodes(level, size).div_ceil(TILE_WIDTH)).map(move |n| {
            let id = TileId { level, n };
            (id, id.width(size))
        })
    })
}

/// The tiles that it takes to know the roots over these ranges of leaves.
pub fn tiles_for(ranges: &[Range<u64>]) -> BTreeSet<TileId> {
    ranges.iter().flat_map(|range| Subtrees(range.clone())).map(|subtree| subtree.place().0).collect()
}

/// Tiles that were fetched, to compute roots from.
#[derive(Debug, Clone, Default)]
pub struct HashTiles(BTreeMap<TileId, Vec<Hash>>);

impl HashTiles {
    /// Adds a tile, at any width.
    pub fn insert(&mut self, id: TileId, hashes: Vec<Hash>) {
        self.0.insert(id, hashes);
    }

    /// The hash of one leaf.
    pub fn leaf(&self, index: u64) -> Result<Hash> {
        self.root(&(index..index + 1))
    }

    /// The root over a range of leaves that a proof asks for, or over a whole tree that is not empty.
    ///
    /// Fails if a tile is missing or too narrow; see [`tiles_for`].
    pub fn root(&self, range: &Range<u64>) -> Result<Hash> {
        let roots: Vec<Hash> = Subtrees(range.clone()).map(|subtree| self.full(subtree)).collect::<Result<_>>()?;
        let mut roots = roots.into_iter().rev();
        let last = roots.next().ok_or_else(|| Error::invalid("tile", "an empty range has no root here"))?;
        Ok(roots.fold(last, |right, left| node_hash(&left, &right)))
    }

    fn full(&self, subtree: Subtree) -> Result<Hash> {
        let (id, within) = subtree.place();
        let hashes = self.0.get(&id).and_then(|hashes| hashes.get(within));
        hashes.map(subtree_root).ok_or_else(|| Error::invalid("tile", "a hash that the proof needs is not there"))
    }
}

/// A full subtree: the leaves `start..start + 2^height`, where `start` is a multiple of its width.
#[derive(Debug, Clone, Copy)]
struct Subtree {
    start: u64,
    height: u32,
}

impl Subtree {
    /// The tile that has it, and which of the tile's hashes are its leaves or the roots below it.
    fn place(self) -> (TileId, Range<usize>) {
        let level = self.height / HEIGHT;
        let first = self.start >> (level * HEIGHT);
        let within = usize::try_from(first % TILE_WIDTH).unwrap_or(usize::MAX);
        let count = 1_usize << (self.height % HEIGHT);
        // A height is at most 63.
        let level = u8::try_from(level).unwrap_or(MAX_LEVEL);
        (TileId { level, n: first / TILE_WIDTH }, within..within.saturating_add(count))
    }
}

/// Cuts a range of leaves into full subtrees, from left to right; those of a proof's range only get smaller.
struct Subtrees(Range<u64>);

impl Iterator for Subtrees {
    type Item = Subtree;

    fn next(&mut self) -> Option<Subtree> {
        let Range { start, end } = self.0;
        if start >= end {
            return None;
        }
        let fits = u64::BITS - 1 - (end - start).leading_zeros();
        let height = start.trailing_zeros().min(fits);
        self.0.start = start + (1 << height);
        Some(Subtree { start, height })
    }
}

/// The bytes of a tile.
pub fn tile_bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

/// The hashes in the bytes of a tile: 1 to 256 of them, nothing cut.
pub fn tile_hashes(bytes: &[u8]) -> Result<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if rest.is_empty() && !hashes.is_empty() && hashes.len() as u64 <= TILE_WIDTH {
        Ok(hashes.to_vec())
    } else {
        Err(Error::invalid("tile", "not 1 to 256 hashes of 32 bytes"))
    }
}

/// Adds an entry to a bundle: its length in two big-endian bytes, then its bytes. Fails beyond 65,535 bytes.
pub fn add_to_bundle(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<()> {
    let length = u16::try_from(entry.len()).map_err(|_| Error::invalid("entry", "longer than a bundle can hold"))?;
    bundle.extend(length.to_be_bytes());
    bundle.extend(entry);
    Ok(())
}

/// The entries of a bundle; fails if it is cut or has something after the last of them.
pub fn bundle_entries(mut bundle: &[u8]) -> Result<Vec<&[u8]>> {
    let malformed = || Error::invalid("bundle", "not entries after their lengths");
    let mut entries = Vec::new();
    while !bundle.is_empty() {
        let (length, rest) = bundle.split_first_chunk::<2>().ok_or_else(malformed)?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or_else(malformed)?;
        entries.push(entry);
        bundle = rest;
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::{
        consistency_proof, consistency_ranges, inclusion_proof, inclusion_ranges, subtrees_of,
        testing::{leaf_hashes, mth},
    };

    /// The tiles of a tree, computed level by level as the specification says it.
    fn tiles(leaves: &[Hash]) -> HashTiles {
        let mut tiles = HashTiles::default();
        let (mut level, mut nodes) = (0, leaves.to_vec());
        while !nodes.is_empty() {
            for (n, chunk) in (0..).zip(nodes.chunks(256)) {
                tiles.insert(TileId { level, n }, chunk.to_vec());
            }
            nodes = nodes.as_chunks::<256>().0.iter().map(|full| mth(full)).collect();
            level += 1;
        }
        tiles
    }

    #[test]
    fn a_tree_has_the_tiles_that_its_size_says() {
        let of = |size| all_tiles(size).map(|(id, width)| (id.level, id.n, width)).collect::<Vec<_>>();
        assert_eq!(of(0), []);
        assert_eq!(of(1), [(0, 0, 1)]);
        assert_eq!(of(256), [(0, 0, 256), (1, 0, 1)]);
        assert_eq!(of(700), [(0, 0, 256), (0, 1, 256), (0, 2, 188), (1, 0, 2)]);
        assert_eq!(all_tiles(70_000).filter(|(id, _)| id.level == 2).count(), 1);
        let path = |text: &str| text.parse().unwrap();
        assert!(exists(&path("tile/0/002.p/188"), 700) && !exists(&path("tile/0/002.p/189"), 700));
        assert!(!exists(&path("tile/0/002"), 700) && exists(&path("tile/entries/001"), 700));
        assert!(exists(&path("tile/0/001.p/3"), 700) && !exists(&path("tile/9/000.p/1"), u64::MAX >> 2));
    }

    #[test]
    fn bundles_give_back_their_entries_and_refuse_what_is_cut() {
        let mut bundle = Vec::new();
        for entry in [&b"one"[..], b"", b"three"] {
            add_to_bundle(&mut bundle, entry).unwrap();
        }
        assert_eq!(bundle_entries(&bundle).unwrap(), [&b"one"[..], b"", b"three"]);
        assert!(bundle_entries(&bundle[..bundle.len() - 1]).is_err());
        assert!(bundle_entries(&[bundle, vec![0]].concat()).is_err());
        assert!(add_to_bundle(&mut Vec::new(), &vec![0; 65_536]).is_err());
        assert!(tile_hashes(&[0; 33]).is_err() && tile_hashes(&[]).is_err() && tile_hashes(&[0; 257 * 32]).is_err());
        assert_eq!(tile_hashes(&[7; 64]).unwrap(), [[7; 32]; 2]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn proofs_from_tiles_are_those_from_all_leaf_hashes(
            size in 1_usize..1_200, index in any::<prop::sample::Index>(), old in any::<prop::sample::Index>(),
        ) {
            let leaves = leaf_hashes(size);
            let tiles = tiles(&leaves);
            let (n, i, m) = (size as u64, index.index(size) as u64, 1 + old.index(size) as u64);
            prop_assert_eq!(tiles.root(&(0..n)).unwrap(), mth(&leaves));
            prop_assert_eq!(tiles.leaf(i).unwrap(), leaves[index.index(size)]);
            let ranges = inclusion_ranges(i, n).unwrap();
            let only: HashTiles = {
                let mut only = HashTiles::default();
                for id in tiles_for(&ranges) {
                    only.insert(id, tiles.0[&id].clone());
                }
                only
            };
            let proof = ranges.iter().map(|range| only.root(range)).collect::<Result<Vec<_>>>().unwrap();
            prop_assert_eq!(proof, inclusion_proof(i, n, subtrees_of(&leaves)).unwrap());
            let ranges = consistency_ranges(m, n).unwrap();
            let proof = ranges.iter().map(|range| tiles.root(range));
            prop_assert_eq!(
                proof.collect::<Result<Vec<_>>>().unwrap(),
                consistency_proof(m, n, subtrees_of(&leaves)).unwrap()
            );
        }

        #[test]
        fn parsing_any_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = bundle_entries(&bytes);
            let _ = tile_hashes(&bytes);
        }
    }
}
