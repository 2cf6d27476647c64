//! Files that commands read and write; a failure names the path.

use std::{
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use super::failure::Failure;

/// The whole of a text file, or of standard input if `path` is `-`.
pub(super) fn read_text(path: &Path) -> Result<String, Failure> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).map_err(|e| Failure::file(path, &e))?;
        return Ok(text);
    }
    fs::read_to_string(path).map_err(|e| Failure::file(path, &e))
}

/// Writes a file that only its owner can read; it is there whole or not at all.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write(path, bytes, 0o600)
}

/// Writes a file that everybody can read; it is there whole or not at all.
pub(super) fn write_public(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write(path, bytes, 0o644)
}

/// Gives a file or folder another name in the same place.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::rename(from, to).map_err(|e| Failure::file(to, &e))
}

/// Makes a folder that only its owner can enter, with those above it.
pub(super) fn private_folder(path: &Path) -> Result<(), Failure> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|e| Failure::file(path, &e))
}

/// Whether others than the owner may read the file.
pub(super) fn is_exposed(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        false
    }
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let staged: PathBuf = path.with_file_name(name);
    let store = || {
        // A rest of an earlier run may have other permissions.
        if let Err(e) = fs::remove_file(&staged)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            return Err(e);
        }
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
        let mut file = options.open(&staged)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&staged, path)
    };
    store().map_err(|e| Failure::file(path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_private_file_is_for_its_owner_only_even_if_it_was_not() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        fs::write(&path, b"old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(is_exposed(&path));
        write_private(&path, b"new").unwrap();
        assert!(!is_exposed(&path));
        assert_eq!(read_text(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_file_is_named() {
        let failure = read_text(Path::new("/nowhere/policy.yaml")).unwrap_err();
        assert!(failure.to_string().contains("there is no file `/nowhere/policy.yaml`"));
        assert!(write_private(Path::new("/nowhere/key.pem"), b"").is_err());
    }
}
