//! Shards: the half-years of the log, each ended by its final checkpoint, which the first entry of the next one cites.
//!
//! They are parts of one tree, so every proof works across the border, and what anyone holds of a shard (its entries, its
//! tiles up to the final checkpoint) verifies alone.

use super::{Checkpoint, LeafView, VerifierKey};
use crate::{
    domain::{EntryDraft, EntryKind, HalfYear},
    error::{Error, Result},
};

/// A half-year of the log that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Which one.
    pub name: HalfYear,
    /// The index of its first entry.
    pub first: u64,
    /// The size of the log at its end, which is the index of the first entry of the next.
    pub size: u64,
    /// The signed checkpoint of this size.
    pub checkpoint: String,
}

impl Shard {
    /// The entry that begins the half-year `next` and ends this one. It stands at the index `size`.
    pub fn border(&self, next: HalfYear) -> EntryDraft {
        EntryDraft::new(EntryKind::ShardBegun)
            .fact("begins", next.to_string())
            .fact("ends", self.name.to_string())
            .fact("first", self.first.to_string())
            .fact("size", self.size.to_string())
            .fact("checkpoint", self.checkpoint.as_str())
    }

    /// The shard that this entry ends; none if it is another kind of entry.
    ///
    /// Fails if the entry does not stand where its shard ends, or cites a checkpoint that is not of there or not signed
    /// by `key`. That the tree has its root is for the caller to check.
    pub fn cited(leaf: &LeafView, key: &VerifierKey) -> Result<Option<(Self, Checkpoint)>> {
        if leaf.kind != EntryKind::ShardBegun {
            return Ok(None);
        }
        let malformed = || Error::invalid("leaf", "the half-year that it ends is not well-formed");
        let fact = |name: &str| leaf.facts.get(name).and_then(serde_json::Value::as_str).ok_or_else(malformed);
        let number = |name: &str| super::proof::decimal(fact(name)?).ok_or_else(malformed);
        let (name, next): (HalfYear, HalfYear) = (fact("ends")?.parse()?, fact("begins")?.parse()?);
        let checkpoint = fact("checkpoint")?.to_owned();
        let shard = Self { name, first: number("first")?, size: number("size")?, checkpoint };
        let signed = Checkpoint::verify(&shard.checkpoint, key)?;
        let fits = shard.size == leaf.index && signed.size == shard.size && shard.first < shard.size && name < next;
        if fits { Ok(Some((shard, signed))) } else { Err(malformed()) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use uuid::Uuid;

    use super::*;
    use crate::audit::{
        CheckpointSigner as _, Frontier, LeafContext, encode,
        testing::{NOW, TestSigner, leaf_hashes},
    };

    fn view(draft: &EntryDraft, index: u64) -> LeafView {
        let counters = BTreeMap::new();
        let ctx = LeafContext { origin: "hub.example/audit", index, id: Uuid::nil(), at: NOW, counters: &counters };
        LeafView::parse(&encode(draft, &ctx).unwrap().bytes).unwrap()
    }

    #[test]
    fn the_entry_at_a_border_cites_the_shard_before_it_and_nothing_else() {
        let signer = TestSigner::new("hub.example/audit");
        let key = VerifierKey::of(&signer).unwrap();
        let frontier = Frontier::from_leaf_hashes(&leaf_hashes(7));
        let checkpoint = Checkpoint::of(signer.origin(), &frontier).sign(&signer).unwrap();
        let [name, next] = ["2026h1", "2026h2"].map(|text| text.parse::<HalfYear>().unwrap());
        let shard = Shard { name, first: 2, size: 7, checkpoint };
        let (cited, last) = Shard::cited(&view(&shard.border(next), 7), &key).unwrap().unwrap();
        assert_eq!((cited, last.root), (shard.clone(), frontier.root()));
        assert_eq!(Shard::cited(&view(&EntryDraft::new(EntryKind::AuditPruned), 7), &key).unwrap(), None);
        let foreign = VerifierKey::of(&TestSigner::new("other.example/audit")).unwrap();
        for (index, shard, next, key) in [
            (8, shard.clone(), next, &key),
            (7, Shard { first: 7, ..shard.clone() }, next, &key),
            (6, Shard { size: 6, ..shard.clone() }, next, &key),
            (7, shard.clone(), name, &key),
            (7, shard.clone(), next, &foreign),
            (7, Shard { checkpoint: shard.checkpoint.replacen('7', "8", 1), ..shard.clone() }, next, &key),
        ] {
            Shard::cited(&view(&shard.border(next), index), key).unwrap_err();
        }
    }
}
