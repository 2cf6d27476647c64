//! Proofs without the hub: made from an export, and verified from files.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    ops::Range,
    path::Path,
};

use serde_json::json;

use crate::{
    audit::{
        Checkpoint, Frontier, Hash, TlogProof, VerifierKey,
        export::{CHECKPOINT, LEAF_HASHES},
        inclusion_ranges, leaf_hash,
    },
    cli::{Session, failure::Failure, files},
    domain::Digest,
    error::Error,
};

/// The proof that an entry is in the log of an export, from its leaf hashes, which are read once.
pub(super) fn prove(folder: &Path, index: u64, key: &VerifierKey) -> Result<(TlogProof, Hash), Failure> {
    let note = files::read_text(&folder.join(CHECKPOINT))?;
    let checkpoint = Checkpoint::verify(&note, key).map_err(|e| not_genuine(&e))?;
    let mut wanted: Vec<(Range<u64>, Frontier)> =
        inclusion_ranges(index, checkpoint.size)?.into_iter().map(|range| (range, Frontier::default())).collect();
    let path = folder.join(LEAF_HASHES);
    let file = File::open(&path).map_err(|e| Failure::file(&path, &e))?;
    let (mut leaf, mut count) = (None, 0);
    for (at, line) in (0..checkpoint.size).zip(BufReader::new(file).lines()) {
        let line = line.map_err(|e| Failure::file(&path, &e))?;
        let hash = line.parse::<Digest>().map_err(|e| not_genuine(&e))?.0;
        if at == index {
            leaf = Some(hash);
        }
        if let Some((_, frontier)) = wanted.iter_mut().find(|(range, _)| range.contains(&at)) {
            frontier.append(&hash);
        }
        count += 1;
    }
    let leaf = leaf.filter(|_| count == checkpoint.size).ok_or_else(|| {
        Failure::unverified("the list of leaf hashes ends too early", "la liste des empreintes est incomplète")
    })?;
    let hashes = wanted.iter().map(|(_, frontier)| frontier.root()).collect();
    let proof = TlogProof { index, hashes, checkpoint: note };
    proof.verify(&leaf, key).map_err(|e| not_genuine(&e))?;
    Ok((proof, leaf))
}

/// Verifies a `.tlog-proof` file for the leaf in another file.
pub(super) fn verify_proof(
    proof: &Path,
    leaf: &Path,
    key: &VerifierKey,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let proof: TlogProof = files::read_text(proof)?.parse()?;
    let leaf = files::read_text(leaf)?;
    let leaf = leaf.strip_suffix('\n').unwrap_or(&leaf);
    let covered = proof.verify(&leaf_hash(leaf.as_bytes()), key).map_err(|e| not_genuine(&e))?;
    session.out.object(&json!({
        "verified": true,
        "origin": covered.origin,
        "index": proof.index,
        "tree_size": covered.size,
        "leaf_hash": Digest(leaf_hash(leaf.as_bytes())).hex(),
    }))
}

fn not_genuine(error: &Error) -> Failure {
    Failure::unverified(error.message_en(), error.message_fr())
}
