//! What a witness keeps on its disk: its key, and of each log the last checkpoint that it has cosigned.
//!
//! The last checkpoint is durable before a cosignature leaves: a witness that forgot what it had signed could be made
//! to sign a fork. Two processes never share a folder.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use crate::{
    audit::{Checkpoint, VerifierKey},
    cli::{failure::Failure, files},
    domain::{Digest, Timestamp},
    trust::WitnessSigner,
};

const KEY: &str = "witness.key";
const NAME: &str = "witness.name";

/// The folder of a witness, locked for this process.
#[derive(Debug)]
pub(super) struct Home {
    folder: PathBuf,
    _lock: File,
}

impl Home {
    /// Makes the folder of a new witness.
    pub(super) fn create(folder: PathBuf, name: &str, key_pem: &str) -> Result<Self, Failure> {
        if folder.join(KEY).exists() {
            let shown = folder.display();
            return Err(Failure::usage(
                format!("there is a witness in `{shown}` already"),
                format!("il y a déjà un témoin dans `{shown}`"),
            ));
        }
        files::private_folder(&folder)?;
        files::write_public(&folder.join(NAME), format!("{name}\n").as_bytes())?;
        files::write_private(&folder.join(KEY), key_pem.as_bytes())?;
        Self::open(folder)
    }

    /// Opens the folder of a witness, for one process at a time.
    pub(super) fn open(folder: PathBuf) -> Result<Self, Failure> {
        let path = folder.join("lock");
        let lock = File::create(&path).map_err(|e| Failure::file(&path, &e))?;
        lock.try_lock().map_err(|_| {
            let shown = folder.display();
            Failure::usage(
                format!("another process uses the witness in `{shown}`"),
                format!("un autre processus utilise le témoin dans `{shown}`"),
            )
        })?;
        Ok(Self { folder, _lock: lock })
    }

    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its key.
    pub(super) fn signer(&self) -> Result<WitnessSigner, Failure> {
        let path = self.folder.join(KEY);
        if files::is_exposed(&path) {
            let shown = path.display();
            return Err(Failure::usage(
                format!("others can read `{shown}`: make a new key"),
                format!("d'autres peuvent lire `{shown}` : faites une nouvelle clé"),
            ));
        }
        let name = files::read_text(&self.folder.join(NAME))?;
        Ok(WitnessSigner::from_pem(name.trim_end(), &files::read_text(&path)?)?)
    }

    /// The last checkpoint of this log that was cosigned; none before the first.
    pub(super) fn seen(&self, log: &VerifierKey) -> Result<Option<(Checkpoint, String)>, Failure> {
        let path = self.seen_file(log);
        if !path.exists() {
            return Ok(None);
        }
        let note = files::read_text(&path)?;
        // A damaged file must never read as "nothing seen yet".
        Ok(Some((Checkpoint::verify(&note, log)?, note)))
    }

    /// Makes a checkpoint the last that was seen of this log, durably.
    pub(super) fn remember(&self, log: &VerifierKey, note: &str) -> Result<(), Failure> {
        files::write_public(&self.seen_file(log), note.as_bytes())?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(|e| Failure::file(&self.folder, &e))
    }

    /// Keeps what shows that a log has contradicted itself; gives the folder.
    pub(super) fn keep_evidence(
        &self,
        at: Timestamp,
        seen: &str,
        shown: &str,
        finding: &str,
    ) -> Result<PathBuf, Failure> {
        let folder = self.folder.join(format!("evidence-{}", at.micros()));
        fs::create_dir_all(&folder).map_err(|e| Failure::file(&folder, &e))?;
        files::write_public(&folder.join("seen"), seen.as_bytes())?;
        files::write_public(&folder.join("shown"), shown.as_bytes())?;
        files::write_public(&folder.join("finding"), format!("{at}\n{finding}\n").as_bytes())?;
        Ok(folder)
    }

    fn seen_file(&self, log: &VerifierKey) -> PathBuf {
        let digest = Digest::of(log.to_string().as_bytes()).hex();
        self.folder.join(format!("seen-{}", digest.get(..16).unwrap_or_default()))
    }
}
