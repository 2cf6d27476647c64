//! Exports as they come, with a byte changed, rewritten or rolled back.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use pb::export_entries_response::Part;

use super::*;
use crate::{
    audit::{CheckpointSigner, Hash, leaf_hash},
    cli::failure::Exit,
    error::Result,
};

#[derive(Debug)]
struct Signer(Ed25519KeyPair);

impl CheckpointSigner for Signer {
    fn origin(&self) -> &'static str {
        "hub.example"
    }

    fn public_key(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().unwrap()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64]> {
        Ok(self.0.sign(message).as_ref().try_into().unwrap())
    }
}

fn leaves(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|index| format!(r#"{{"i":"{index}","t":"hub.initialised"}}"#).into_bytes()).collect()
}

fn checkpoint(signer: &Signer, leaves: &[Vec<u8>]) -> String {
    let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
    Checkpoint::of("hub.example", &Frontier::from_leaf_hashes(&hashes)).sign(signer).unwrap()
}

fn signer() -> Signer {
    Signer(Ed25519KeyPair::generate().unwrap())
}

/// Writes an export of these leaves as it would come from the hub.
fn export(folder: &Path, signer: &Signer, leaves: &[Vec<u8>]) {
    let hashes: Vec<u8> = leaves.iter().flat_map(|leaf| leaf_hash(leaf)).collect();
    let header =
        pb::ExportHeader { checkpoint: checkpoint(signer, leaves), tree_size: leaves.len() as u64, receipt: None };
    let jsonl: Vec<u8> = leaves.iter().flat_map(|leaf| [leaf.as_slice(), b"\n"].concat()).collect();
    let indexes = (0..leaves.len() as u64).collect();
    let mut writer = Writer::create(folder).unwrap();
    for part in [
        Part::Header(header),
        Part::LeafHashes(hashes.into()),
        Part::Lines(pb::ExportLines { jsonl: jsonl.into(), indexes }),
    ] {
        writer.add(pb::ExportEntriesResponse { part: Some(part) }).unwrap();
    }
    let exported = writer.finish(&VerifierKey::of(signer).unwrap().to_string()).unwrap();
    assert_eq!((exported.tree_size, exported.entries), (leaves.len() as u64, leaves.len() as u64));
}

fn check(folder: &Path, held: &[PathBuf]) -> Result<Verified, Failure> {
    verify(folder, &key(Some(folder), None).unwrap(), held, &ProgressBar::hidden())
}

#[test]
fn an_export_verifies_and_a_changed_byte_is_found_with_its_entry() {
    let (folder, signer) = (tempfile::tempdir().unwrap(), signer());
    export(folder.path(), &signer, &leaves(7));
    assert_eq!(check(folder.path(), &[]).unwrap().entries, 7);
    let path = folder.path().join(ENTRIES);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen(r#""3","t":"hub"#, r#""3","t":"hab"#, 1)).unwrap();
    let failure = check(folder.path(), &[]).unwrap_err();
    assert_eq!(failure.exit(), Exit::Unverified);
    assert!(failure.to_string().contains("entry 3"), "{failure}");
}

#[test]
fn a_log_that_was_rewritten_or_rolled_back_does_not_fit_a_checkpoint_that_is_held() {
    let (folder, signer) = (tempfile::tempdir().unwrap(), signer());
    let held = folder.path().join("held");
    std::fs::write(&held, checkpoint(&signer, &leaves(5))).unwrap();
    let held = [held];
    export(folder.path(), &signer, &leaves(7));
    check(folder.path(), &held).unwrap();
    let mut rewritten = leaves(7);
    rewritten[2] = br#"{"i":"2","t":"charter.published"}"#.to_vec();
    export(folder.path(), &signer, &rewritten);
    assert_eq!(check(folder.path(), &[]).unwrap().entries, 7);
    assert!(check(folder.path(), &held).unwrap_err().to_string().contains("rewritten"));
    export(folder.path(), &signer, &leaves(4));
    assert!(check(folder.path(), &held).unwrap_err().to_string().contains("rolled back"));
}

#[test]
fn the_key_can_be_given_from_elsewhere() {
    let (folder, signer) = (tempfile::tempdir().unwrap(), signer());
    export(folder.path(), &signer, &leaves(1));
    let own = VerifierKey::of(&signer).unwrap();
    assert_eq!(key(None, Some(&own.to_string())).unwrap(), own);
    let path = folder.path().join(VKEY);
    assert_eq!(key(None, Some(path.to_str().unwrap())).unwrap(), own);
    let other = VerifierKey::of(&self::signer()).unwrap();
    let failure = verify(folder.path(), &other, &[], &ProgressBar::hidden()).unwrap_err();
    assert_eq!(failure.exit(), Exit::Unverified);
    assert!(key(Some(Path::new("/nowhere")), None).unwrap_err().to_string().contains("/nowhere"));
}
