//! Exports of the log: writing one as it comes, and verifying one with nothing but the log's key.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use indicatif::ProgressBar;

use crate::{
    audit::{
        BadExport, BadOpenings, Checkpoint, Completeness, Frontier, Opening, Verified, VerifierKey,
        completeness::{OPENINGS, opening_line},
        export::{CHECKPOINT, ENTRIES, LEAF_HASHES, VKEY, hash_line},
        verify_export, verify_openings,
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
        self.export_as(folder, pb::ExportEntriesRequest { first_index, tree_size: 0 }, progress).await
    }

    /// As [`Self::export_audit`], also of the log as it was at the end of a half-year.
    pub async fn export_as(
        &self,
        folder: &Path,
        what: pb::ExportEntriesRequest,
        progress: &ProgressBar,
    ) -> Result<Exported, Failure> {
        let hub = self.hub().await?;
        let key = hub.checkpoint_verifier_keys.first().ok_or_else(|| Failure::protocol("it lacks the log's key"))?;
        let mut stream = self.audit().export_entries(what).await?.into_inner();
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
    // Each half-year that an entry says has ended, ended as it says.
    for (shard, cited) in super::shards::borders(folder, key)? {
        tracing::debug!(shard = %shard.name, "a border of half-years");
        check_held(&cited, &verified.checkpoint, open(LEAF_HASHES)?)?;
    }
    Ok(verified)
}

/// Checks what opens the entries of a participant's export: that none of its numbers is missing.
pub(super) fn complete(folder: &Path, progress: &ProgressBar) -> Result<Option<Completeness>, Failure> {
    let openings = folder.join(OPENINGS);
    if !openings.exists() {
        return Ok(None);
    }
    let open = |path: &Path| File::open(path).map(BufReader::new).map_err(|e| Failure::file(path, &e));
    let proven = verify_openings(open(&folder.join(ENTRIES))?, open(&openings)?, &mut |count| {
        progress.set_position(count);
    });
    progress.finish_and_clear();
    proven.map_err(|bad: BadOpenings| {
        Failure::unverified(format!("the export is not complete: {bad}"), format!("l'export n'est pas complet : {bad}"))
    })
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
    let mut frontier = Frontier::default();
    // The export has been verified, so each line is a hash.
    for hash in hashes.lines().map_while(Result::ok).take(take).filter_map(|line| line.parse::<Digest>().ok()) {
        frontier.append(&hash.0);
    }
    if frontier.root() == held.root {
        return Ok(());
    }
    Err(Failure::unverified(
        format!("the log was rewritten: its first {size} entries are not those of the checkpoint that is held"),
        format!("le journal a été réécrit : ses {size} premières entrées ne sont pas celles du point conservé"),
    ))
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
    openings_file: Staged,
    openings: u64,
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
            openings_file: staged(OPENINGS)?,
            openings: 0,
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
            (Some(Part::Openings(part)), Some(_)) => {
                for one in part.openings {
                    let (index, opening) = opening(one)?;
                    self.openings_file.write(opening_line(index, &opening).as_bytes())?;
                    self.openings += 1;
                }
            }
            _ => return Err(Failure::protocol("the parts of the export are out of order")),
        }
        Ok(())
    }

    fn finish(self, key: &str) -> Result<Exported, Failure> {
        let header = self.header.ok_or_else(|| Failure::protocol("the export has no header"))?;
        self.entries_file.keep(&self.folder.join(ENTRIES))?;
        self.hashes_file.keep(&self.folder.join(LEAF_HASHES))?;
        if self.openings > 0 {
            self.openings_file.keep(&self.folder.join(OPENINGS))?;
        } else {
            self.openings_file.discard()?;
        }
        files::write_public(&self.folder.join(VKEY), format!("{key}\n").as_bytes())?;
        files::write_public(&self.folder.join(CHECKPOINT), header.checkpoint.as_bytes())?;
        Ok(Exported { tree_size: header.tree_size, entries: self.entries, receipt: header.receipt })
    }
}

fn opening(message: pb::ExportOpening) -> Result<(u64, Opening), Failure> {
    let salt = message.salt.as_ref().try_into().map_err(|_| Failure::protocol("a salt is not 32 bytes"))?;
    let party = (!message.party.is_empty()).then(|| message.party.parse()).transpose()?;
    Ok((message.index, Opening { field: message.field, party, salt, value: message.value }))
}

impl Staged {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|e| Failure::file(&self.path, &e))
    }

    fn discard(self) -> Result<(), Failure> {
        std::fs::remove_file(&self.path).map_err(|e| Failure::file(&self.path, &e))
    }

    fn keep(mut self, to: &Path) -> Result<(), Failure> {
        self.file.flush().and_then(|()| self.file.get_ref().sync_all()).map_err(|e| Failure::file(&self.path, &e))?;
        files::rename(&self.path, to)
    }
}

#[cfg(test)]
mod tests;
