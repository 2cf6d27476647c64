//! Files that hold secrets: written whole and durably, read only if nobody else could read them.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use secrecy::SecretBox;
use zeroize::Zeroizing;

use crate::error::{Error, Reason, Result};

/// More than any of the files needs.
const MAX_FILE_BYTES: u64 = 64 * 1_024;

/// A directory that disappears unless it is published.
pub(super) struct Staging {
    path: PathBuf,
}

impl Staging {
    /// A new private directory next to `dir`.
    pub(super) fn beside(dir: &Path) -> Result<Self> {
        let name = dir.file_name().ok_or_else(|| unusable("the key directory", &"its path has no last part"))?;
        let mut staged = name.to_owned();
        staged.push(format!(".new-{}", super::hex(&super::random::<6>()?)));
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(|e| write_failed(&e))?;
        }
        let path = dir.with_file_name(staged);
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(|e| write_failed(&e))?;
        Ok(Self { path })
    }

    /// Writes a new private file durably.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let write = |mut file: File| file.write_all(bytes).and_then(|()| file.sync_all());
        options.open(self.path.join(name)).and_then(write).map_err(|e| write_failed(&e))
    }

    /// Takes the place of `dir` in one step; fails if something is there.
    pub(super) fn publish(&self, dir: &Path) -> Result<()> {
        let sync = |path: &Path| File::open(path).and_then(|dir| dir.sync_all());
        sync(&self.path).map_err(|e| write_failed(&e))?;
        fs::rename(&self.path, dir).map_err(|e| match e.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                Error::new(Reason::AlreadyExists).with("object", "the key directory")
            }
            _ => write_failed(&e),
        })?;
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        sync(parent).map_err(|e| write_failed(&e))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Gone already if it was published; otherwise nothing of use is in it.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Reads a file through the handle whose permissions were checked.
fn read(dir: &Path, name: &'static str) -> Result<Zeroizing<Vec<u8>>> {
    let failed = |e: io::Error| unusable(name, &read_detail(&e));
    let file = File::open(dir.join(name)).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    require_private(name, &metadata, "chmod 600")?;
    // Reserved at once: a growing buffer would leave copies behind that nothing wipes.
    let size = usize::try_from(metadata.len().min(MAX_FILE_BYTES)).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 64));
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// A PEM file.
pub(super) fn read_text(dir: &Path, name: &'static str) -> Result<Zeroizing<String>> {
    let bytes = read(dir, name)?;
    let text = str::from_utf8(&bytes).map_err(|_| unusable(name, &"not a PEM file"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// A file of exactly 32 secret bytes.
pub(super) fn read_secret(dir: &Path, name: &'static str) -> Result<SecretBox<[u8; 32]>> {
    let bytes = read(dir, name)?;
    let secret: &[u8; 32] = bytes.as_slice().try_into().map_err(|_| unusable(name, &"not 32 bytes"))?;
    Ok(SecretBox::init_with_mut(|inner: &mut [u8; 32]| inner.copy_from_slice(secret)))
}

/// Refuses a directory that others may look into.
pub(super) fn require_private_directory(dir: &Path) -> Result<()> {
    let what = "the key directory";
    let metadata = fs::metadata(dir).map_err(|e| unusable(what, &read_detail(&e)))?;
    require_private(what, &metadata, "chmod 700")
}

fn require_private(name: &str, metadata: &fs::Metadata, remedy: &str) -> Result<()> {
    let mode = metadata.permissions().mode() & 0o777;
    let of_others = mode & 0o077;
    if of_others == 0 {
        Ok(())
    } else {
        Err(unusable(name, &format_args!("others may access it (mode {mode:04o}); if nobody has, run `{remedy}`")))
    }
}

fn read_detail(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist: run `odh init`, or restore it from the backup",
        io::ErrorKind::PermissionDenied => "this user may not read it",
        _ => "it cannot be read",
    }
}

fn write_failed(error: &io::Error) -> Error {
    Error::internal(format_args!("the keys could not be written: {error}"))
}

/// The refusal of one of the files, for whoever starts the hub; names the file, never its path.
pub(super) fn unusable(name: &str, detail: &dyn fmt::Display) -> Error {
    Error::invalid("keys", format_args!("{name}: {detail}"))
}
