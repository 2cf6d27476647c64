//! Exports of the log: writing one as it comes, and verifying one with nothing but the log's key.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use indicatif::ProgressBar;

use crate::{
    audit::{
        BadExport, Checkpoint, Frontier, Hash, Verified, VerifierKey,
        export::{CHECKPOINT, ENTRIES, LEAF_HASHES, VKEY, hash_line},
        verify_export,
    },
    cli::{client::Client, failure::Failure, files},
    domain::Digest,
    grpc::pb,
};

/// What an export holds.
#[derive(Debug, Clone)]
pub struct Exported {
    /// Number of entries of the log.
    pub tree_size: u64,
    /// Number of entries in the export.
    pub entries: u64,
    /// Proof of the entry that records the export.
    pub receipt: Option<pb::Receipt>,
}

impl Client {
    /// Exports the entries that the caller may read into `folder`, from `first_index` on. Each file is there whole or
    /// not at all.
    pub async fn export_audit(
        &self,
        folder: &Path,
        first_index: u64,
        progress: &ProgressBar,
    ) -> Result<Exported, Failure> {
        let hub = self.hub().await?;
        let key = hub.checkpoint_verifier_keys.first().ok_or_else(|| Failure::protocol("it lacks the log's key"))?;
        let mut stream = self.audit().export_entries(pb::ExportEntriesRequest { first_index }).await?.into_inner();
        // Only now: a refusal leaves no folder behind.
        files::private_folder(folder)?;
        let mut writer = Writer::create(folder)?;
        while let Some(message) = stream.message().await? {
            writer.add(message)?;
            progress.set_position(writer.entries);
        }
        progress.finish_and_clear();
        writer.finish(key)
    }
}

/// Verifies the export in `folder`. Every checkpoint in `held` must be one of this log's past.
pub(super) fn verify(
    folder: &Path,
    key: &VerifierKey,
    held: &[PathBuf],
    progress: &ProgressBar,
) -> Result<Verified, Failure> {
    let open = |name: &str| {
        let path = folder.join(name);
        File::open(&path).map(BufReader::new).map_err(|e| Failure::file(&path, &e))
    };
    let checkpoint = files::read_text(&folder.join(CHECKPOINT))?;
    let verified = verify_export(open(ENTRIES)?, open(LEAF_HASHES)?, &checkpoint, key, &mut |count| {
        progress.set_position(count);
    });
    progress.finish_and_clear();
    let verified = verified.map_err(|bad| refused(&bad))?;
    for path in held {
        let held = Checkpoint::verify(&files::read_text(path)?, key)
            .map_err(|e| Failure::unverified(e.message_en(), e.message_fr()))?;
        check_held(&held, &verified.checkpoint, open(LEAF_HASHES)?)?;
    }
    Ok(verified)
}

/// The key of an export: a file with it, its text, or that which the export itself has.
pub(super) fn key(folder: Option<&Path>, given: Option<&str>) -> Result<VerifierKey, Failure> {
    let text = match (given, folder) {
        (Some(given), _) if given.contains('+') && !Path::new(given).exists() => given.to_owned(),
        (Some(path), _) => files::read_text(path.as_ref())?,
        (None, Some(folder)) => files::read_text(&folder.join(VKEY))?,
        (None, None) => String::new(),
    };
    Ok(text.trim_end().parse()?)
}

/// A checkpoint that somebody holds must be that of the first entries of this log: nothing before it was changed.
fn check_held(held: &Checkpoint, now: &Checkpoint, hashes: BufReader<File>) -> Result<(), Failure> {
    let size = held.size;
    if size > now.size {
        return Err(Failure::unverified(
            format!("the log was rolled back: a checkpoint of {size} entries is held, the export has {}", now.size),
            format!("le journal est revenu en arrière : un point de {size} entrées existe, l'export en a {}", now.size),
        ));
    }
    let take = usize::try_from(size).unwrap_or(usize::MAX);
    // The export has been verified, so each line is a hash.
    let prefix: Vec<Hash> = hashes.lines().map_while(Result::ok).take(take).filter_map(|line| hash(&line)).collect();
    if Frontier::from_leaf_hashes(&prefix).root() == held.root {
        return Ok(());
    }
    Err(Failure::unverified(
        format!("the log was rewritten: its first {size} entries are not those of the checkpoint that is held"),
        format!("le journal a été réécrit : ses {size} premières entrées ne sont pas celles du point conservé"),
    ))
}

fn hash(line: &str) -> Option<Hash> {
    line.parse::<Digest>().ok().map(|digest| digest.0)
}

fn refused(bad: &BadExport) -> Failure {
    Failure::unverified(format!("the export is not genuine: {bad}"), format!("l'export n'est pas authentique : {bad}"))
}

/// The files of an export while it comes.
struct Writer {
    folder: PathBuf,
    header: Option<pb::ExportHeader>,
    entries_file: Staged,
    hashes_file: Staged,
    entries: u64,
}

/// A file under a name of its own until it is whole.
struct Staged {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Writer {
    fn create(folder: &Path) -> Result<Self, Failure> {
        let staged = |name: &str| {
            let path = folder.join(format!("{name}.new"));
            let file = File::create(&path).map_err(|e| Failure::file(&path, &e))?;
            Ok::<_, Failure>(Staged { path, file: BufWriter::new(file) })
        };
        Ok(Self {
            folder: folder.to_owned(),
            header: None,
            entries_file: staged(ENTRIES)?,
            hashes_file: staged(LEAF_HASHES)?,
            entries: 0,
        })
    }

    fn add(&mut self, message: pb::ExportEntriesResponse) -> Result<(), Failure> {
        use pb::export_entries_response::Part;
        match (message.part, &self.header) {
            (Some(Part::Header(header)), None) => self.header = Some(header),
            (Some(Part::LeafHashes(hashes)), Some(_)) => {
                let (hashes, rest) = hashes.as_chunks::<32>();
                if !rest.is_empty() {
                    return Err(Failure::protocol("a leaf hash is cut"));
                }
                for hash in hashes {
                    self.hashes_file.write(hash_line(hash).as_bytes())?;
                }
            }
            (Some(Part::Lines(lines)), Some(_)) => {
                self.entries_file.write(&lines.jsonl)?;
                self.entries += lines.indexes.len() as u64;
            }
            _ => return Err(Failure::protocol("the parts of the export are out of order")),
        }
        Ok(())
    }

    fn finish(self, key: &str) -> Result<Exported, Failure> {
        let header = self.header.ok_or_else(|| Failure::protocol("the export has no header"))?;
        self.entries_file.keep(&self.folder.join(ENTRIES))?;
        self.hashes_file.keep(&self.folder.join(LEAF_HASHES))?;
        files::write_public(&self.folder.join(VKEY), format!("{key}\n").as_bytes())?;
        files::write_public(&self.folder.join(CHECKPOINT), header.checkpoint.as_bytes())?;
        Ok(Exported { tree_size: header.tree_size, entries: self.entries, receipt: header.receipt })
    }
}

impl Staged {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|e| Failure::file(&self.path, &e))
    }

    fn keep(mut self, to: &Path) -> Result<(), Failure> {
        self.file.flush().and_then(|()| self.file.get_ref().sync_all()).map_err(|e| Failure::file(&self.path, &e))?;
        files::rename(&self.path, to)
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use pb::export_entries_response::Part;

    use super::*;
    use crate::{
        audit::{CheckpointSigner, leaf_hash},
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
}
