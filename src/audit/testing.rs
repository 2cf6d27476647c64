//! What the unit tests of this layer share: a signer, drafts, a small export, and a way to damage bytes.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use proptest::sample::Index;
use serde_json::json;
use uuid::Uuid;

use super::{
    BadExport, Checkpoint, CheckpointSigner, Frontier, Hash, Leaf, LeafContext, Verified, VerifierKey, encode,
    export::hash_line, leaf_hash, node_hash, tree::sha256, verify_export,
};
use crate::{
    domain::{EntryDraft, EntryKind, MemberId, Timestamp},
    error::{Error, Result},
};

#[derive(Debug)]
pub(in crate::audit) struct TestSigner {
    origin: String,
    key: Ed25519KeyPair,
}

impl TestSigner {
    pub(in crate::audit) fn new(origin: &str) -> Self {
        let key = Ed25519KeyPair::from_seed_unchecked(&sha256(&[origin.as_bytes()])).unwrap();
        Self { origin: origin.to_owned(), key }
    }
}

impl CheckpointSigner for TestSigner {
    fn origin(&self) -> &str {
        &self.origin
    }

    fn public_key(&self) -> [u8; 32] {
        self.key.public_key().as_ref().try_into().unwrap()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64]> {
        Ok(self.key.sign(message).as_ref().try_into().unwrap())
    }
}

/// `bytes` with one of them changed by a mask that is not zero.
pub(in crate::audit) fn flip(bytes: &[u8], at: Index, mask: u8) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let at = at.index(changed.len());
    changed[at] ^= mask;
    changed
}

/// Leaf hashes of `size` different leaves.
pub(in crate::audit) fn leaf_hashes(size: usize) -> Vec<Hash> {
    (0..size).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

/// MTH of RFC 6962 section 2.1, word for word.
pub(in crate::audit) fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha256(&[]),
        [leaf] => *leaf,
        _ => {
            let k = leaves.len().next_power_of_two() / 2;
            node_hash(&mth(&leaves[..k]), &mth(&leaves[k..]))
        }
    }
}

pub(in crate::audit) const NOW: Timestamp = Timestamp::from_micros(1_795_505_400_123_456);

/// A draft that has everything a draft can have.
pub(in crate::audit) fn draft() -> EntryDraft {
    let mut draft = EntryDraft::new(EntryKind::QueryDecision)
        .about(&"chu.stays".parse().unwrap())
        .concerning(&"lab".parse().unwrap())
        .purpose(&"scientific_research".parse().unwrap())
        .fence(70_123)
        .fact("decision", "permit")
        .fact("rows", 12)
        .fact("why", json!(["consent", {"grant": null}]))
        .secret("sql", "SELECT 'Ada'")
        .secret("ip", "192.0.2.7");
    draft.actor = Some("lab".parse().unwrap());
    draft.member = Some(MemberId::generate(NOW));
    draft
}

/// The leaf of `draft` at `index`; the parties count from 90 on.
pub(in crate::audit) fn encode_at(draft: &EntryDraft, index: u64) -> Result<Leaf> {
    let counters = draft.parties.iter().cloned().zip(90..).collect();
    let id = MemberId::generate(NOW).uuid();
    encode(draft, &LeafContext { origin: "hub.example/audit", index, id, at: NOW, counters: &counters })
}

pub(in crate::audit) const ORIGIN: &str = "hub.example/audit";
pub(in crate::audit) const SIZE: u64 = 13;

/// An export of a small log, file by file.
#[derive(Clone)]
pub(in crate::audit) struct Export {
    pub(in crate::audit) entries: Vec<u8>,
    pub(in crate::audit) hashes: Vec<u8>,
    pub(in crate::audit) checkpoint: Vec<u8>,
    pub(in crate::audit) vkey: Vec<u8>,
}

impl Export {
    pub(in crate::audit) fn complete() -> Self {
        Self::of(|_| true)
    }

    pub(in crate::audit) fn of(shown: impl Fn(u64) -> bool) -> Self {
        let signer = TestSigner::new(ORIGIN);
        let mut frontier = Frontier::default();
        let (mut entries, mut hashes) = (Vec::new(), String::new());
        let counters = BTreeMap::new();
        for index in 0..SIZE {
            let at = Timestamp::from_micros(1_795_505_400_000_000);
            let ctx = LeafContext { origin: ORIGIN, index, id: Uuid::nil(), at, counters: &counters };
            let draft = EntryDraft::new(EntryKind::CallDenied).fact("n", "x".repeat(3)).secret("ip", "192.0.2.7");
            let leaf = encode(&draft, &ctx).unwrap();
            frontier.append(&leaf.hash);
            hashes += &hash_line(&leaf.hash);
            if shown(index) {
                entries.extend([&leaf.bytes[..], b"\n"].concat());
            }
        }
        let checkpoint = Checkpoint::of(ORIGIN, &frontier).sign(&signer).unwrap().into();
        let vkey = format!("{}\n", VerifierKey::of(&signer).unwrap()).into();
        Self { entries, hashes: hashes.into(), checkpoint, vkey }
    }

    pub(in crate::audit) fn verify(&self) -> Result<Verified, BadExport> {
        let refused = |_| BadExport::Checkpoint(Error::invalid("text", "not UTF-8"));
        let key = str::from_utf8(&self.vkey).map_err(refused)?.parse().map_err(BadExport::Checkpoint)?;
        let checkpoint = str::from_utf8(&self.checkpoint).map_err(refused)?;
        verify_export(&self.entries[..], std::io::Cursor::new(&self.hashes), checkpoint, &key, &mut |_| ())
    }

    pub(in crate::audit) fn entry_lines(&self) -> Vec<Vec<u8>> {
        self.entries.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    }

    pub(in crate::audit) fn with_entries(&self, lines: &[Vec<u8>]) -> Self {
        Self { entries: lines.concat(), ..self.clone() }
    }

    /// On which line of the entries, from 0, this byte stands.
    pub(in crate::audit) fn line_of_byte(&self, at: usize) -> u64 {
        self.entries[..at].split(|byte| *byte == b'\n').count() as u64 - 1
    }
}
