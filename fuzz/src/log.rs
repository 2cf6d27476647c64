//! The parsers and verifiers of the audit log: whatever bytes they get, they do not panic, they accept nothing that
//! the log has not signed, and what they accept has one text only.

use std::{collections::BTreeMap, sync::LazyLock};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use odh::{
    audit::{
        Checkpoint, CheckpointSigner, Frontier, LeafContext, LeafView, Note, TlogProof, VerifierKey, encode,
        export::hash_line, inclusion_proof, subtrees_of, verify_export,
    },
    domain::{EntryDraft, EntryKind, Timestamp},
};
use uuid::Uuid;

const ORIGIN: &str = "hub.example/audit";
const SIZE: u64 = 13;

/// A small log with everything that can be shown of it.
pub struct Genuine {
    /// The leaves, a line each.
    pub entries: Vec<u8>,
    /// Their hashes, a line each.
    pub hashes: Vec<u8>,
    /// The signed checkpoint.
    pub checkpoint: String,
    /// The receipt of one entry.
    pub receipt: String,
    leaf_hash: [u8; 32],
    key: VerifierKey,
}

/// The log of every target; its leaves have fresh nonces in each process.
pub static GENUINE: LazyLock<Genuine> = LazyLock::new(Genuine::new);

impl Genuine {
    fn new() -> Self {
        let signer = Signer(Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a seed has 32 bytes"));
        let (mut entries, mut hashes, mut leaves) = (Vec::new(), String::new(), Vec::new());
        let party: odh::domain::ParticipantId = "lab".parse().expect("an id");
        for index in 0..SIZE {
            let draft = EntryDraft::new(EntryKind::QueryDecision)
                .concerning(&party)
                .fact("decision", "permit")
                .fact("text", "é\u{2028}\"\\\u{1}")
                .secret("sql", "select 1");
            let counters = BTreeMap::from([(party.clone(), index)]);
            let at = Timestamp::from_micros(1_795_505_400_000_000);
            let ctx = LeafContext { origin: ORIGIN, index, id: Uuid::nil(), at, counters: &counters };
            let leaf = encode(&draft, &ctx).expect("a leaf");
            entries.extend([&leaf.bytes[..], b"\n"].concat());
            hashes += &hash_line(&leaf.hash);
            leaves.push(leaf.hash);
        }
        let checkpoint =
            Checkpoint::of(ORIGIN, &Frontier::from_leaf_hashes(&leaves)).sign(&signer).expect("a signature");
        let proof = inclusion_proof(5, SIZE, subtrees_of(&leaves)).expect("a proof");
        Self {
            entries,
            hashes: hashes.into_bytes(),
            receipt: TlogProof { index: 5, hashes: proof, checkpoint: checkpoint.clone() }.to_string(),
            checkpoint,
            leaf_hash: leaves[5],
            key: VerifierKey::of(&signer).expect("a key"),
        }
    }
}

/// A note parses into what its bytes are, and verifies only if the key has signed it.
pub fn note(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(note) = Note::parse(text) else { return };
    assert!(text.starts_with(note.text) && note.text.ends_with('\n') && !note.signatures.is_empty());
    if note.verify(&GENUINE.key).is_ok() {
        assert!(GENUINE.checkpoint.starts_with(note.text), "a note was accepted that nobody has signed");
    }
}

/// No other text than the log's own is a checkpoint of it, lines of other signers aside.
pub fn checkpoint(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(checkpoint) = Checkpoint::verify(text, &GENUINE.key) {
        assert_eq!((checkpoint.size, checkpoint.origin.as_str()), (SIZE, ORIGIN));
        assert!(text.starts_with(&checkpoint.to_string()) && GENUINE.checkpoint.starts_with(&checkpoint.to_string()));
    }
    // Keys and sizes of others are read from text, too.
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), text.strip_suffix('\n').unwrap_or(text));
    }
}

/// A receipt that parses is written as it was, and verifies only for its own entry.
pub fn proof(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(proof) = text.parse::<TlogProof>() else { return };
    let again: TlogProof = proof.to_string().parse().expect("what was written can be read");
    assert_eq!(again, proof);
    if proof.verify(&GENUINE.leaf_hash, &GENUINE.key).is_ok() {
        assert_eq!(proof.index, 5);
    }
    assert!(proof.verify(&[9; 32], &GENUINE.key).is_err());
}

/// A leaf that is read is canonical JSON (RFC 8785): there is no second text of the same entry.
pub fn leaf(data: &[u8]) {
    let Ok(view) = LeafView::parse(data) else { return };
    let json: serde_json::Value = serde_json::from_slice(data).expect("a leaf is JSON");
    assert_eq!(serde_json_canonicalizer::to_vec(&json).expect("JSON has a canonical form"), data);
    assert_eq!(json["i"], view.index.to_string());
}

/// Edits of a genuine export, three bytes each: where (16 bits), and with what. What is accepted is genuine.
pub fn export(data: &[u8]) {
    let (entries, hashes) = (GENUINE.entries.len(), GENUINE.hashes.len());
    let mut all = [&GENUINE.entries[..], &GENUINE.hashes, GENUINE.checkpoint.as_bytes()].concat();
    let length = all.len();
    for edit in data.as_chunks::<3>().0 {
        all[usize::from(u16::from_be_bytes([edit[0], edit[1]])) % length] ^= edit[2];
    }
    let (lines, rest) = all.split_at(entries);
    let (listed, checkpoint) = rest.split_at(hashes);
    let Ok(checkpoint) = std::str::from_utf8(checkpoint) else { return };
    if let Ok(verified) = verify_export(lines, std::io::Cursor::new(listed), checkpoint, &GENUINE.key, &mut |_| {}) {
        assert!(lines == GENUINE.entries && listed == GENUINE.hashes, "an edited export was accepted");
        assert_eq!((verified.entries, verified.first_missing), (SIZE, None));
    }
}

#[derive(Debug)]
struct Signer(Ed25519KeyPair);

impl CheckpointSigner for Signer {
    fn origin(&self) -> &'static str {
        ORIGIN
    }

    fn public_key(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().expect("an Ed25519 key has 32 bytes")
    }

    fn sign(&self, message: &[u8]) -> odh::error::Result<[u8; 64]> {
        Ok(self.0.sign(message).as_ref().try_into().expect("an Ed25519 signature has 64 bytes"))
    }
}
