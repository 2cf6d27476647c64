//! The mathematics and formats of the transparency log: RFC 6962 tree, C2SP checkpoints, leaves, proofs, exports.
//!
//! Pure: no I/O, no clock, no transport. `store` keeps what this computes; `trust` signs through [`CheckpointSigner`].

mod checkpoint;
pub mod completeness;
mod cosignature;
pub mod export;
mod leaf;
mod lines;
mod note;
mod opening;
mod path;
mod proof;
mod shard;
#[cfg(test)]
mod testing;
pub mod tile;
mod tile_path;
mod tree;
mod view;
mod witness;

use crate::{
    domain::{DatasetId, Delta, Epsilon, Receipt},
    error::Result,
};

pub use checkpoint::Checkpoint;
pub use completeness::{BadOpenings, Completeness, verify_openings};
pub use cosignature::{Cosignature, WitnessKey, add_cosignatures, cosign};
pub use export::{BadExport, EntryFault, Verified, verify_export};
pub use leaf::{Leaf, LeafContext, MAX_LEAF, encode};
pub use note::{Note, SignatureLine, VerifierKey};
pub use opening::{Opening, check_opening};
pub use path::{
    consistency_proof, consistency_ranges, inclusion_proof, inclusion_ranges, subtrees_of, verify_consistency,
    verify_inclusion,
};
pub use proof::TlogProof;
pub use shard::Shard;
pub use tile::{HashTiles, TileId};
pub use tile_path::TilePath;
pub use tree::{Frontier, Hash, leaf_hash, node_hash, subtree_root};
pub use view::LeafView;
pub use witness::{AddCheckpoint, Refusal, advance};

/// Signs checkpoints with the log's key (C2SP signed-note, Ed25519). Implemented by `trust`.
pub trait CheckpointSigner: Send + Sync + std::fmt::Debug {
    /// The log's origin, which is also the key's name.
    fn origin(&self) -> &str;
    /// The raw 32-byte Ed25519 public key.
    fn public_key(&self) -> [u8; 32];
    /// The 64-byte Ed25519 signature of `message`.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64]>;
}

/// Evidence that an entry is durable. Whatever releases data takes one by value (P1).
///
/// Only `store/writer.rs` makes it, after the commit; `tests/it/layering.rs` holds that.
#[derive(Debug)]
pub struct Committed {
    receipt: Receipt,
}

impl Committed {
    /// Attests that the entry of `receipt` has been committed durably.
    pub const fn after_commit(receipt: Receipt) -> Self {
        Self { receipt }
    }

    /// Where the entry stands.
    pub const fn receipt(&self) -> &Receipt {
        &self.receipt
    }
}

/// Evidence that an answer's loss of privacy was charged to its dataset's budget in the transaction of its decision.
/// Whatever adds noise to figures and lets them out takes one by value; there is no way to give a charge back.
#[derive(Debug)]
pub struct Charged {
    release: Committed,
    dataset: DatasetId,
    epsilon: Epsilon,
    delta: Delta,
}

impl Charged {
    /// Attests that the job of `release` has charged this loss.
    pub const fn with(release: Committed, dataset: DatasetId, epsilon: Epsilon, delta: Delta) -> Self {
        Self { release, dataset, epsilon, delta }
    }

    /// Whether this much of this dataset was charged.
    pub fn covers(&self, dataset: &DatasetId, epsilon: Epsilon, delta: Delta) -> bool {
        self.dataset == *dataset && self.epsilon >= epsilon && self.delta >= delta
    }

    /// Where the decision stands.
    pub const fn receipt(&self) -> &Receipt {
        self.release.receipt()
    }

    /// The evidence of the decision.
    pub fn into_release(self) -> Committed {
        self.release
    }
}
