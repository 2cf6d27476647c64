//! One server per SQLite file: a second one would write to the log beside the first.
//!
//! SQLite's own locks last for a transaction; this one lasts as long as the store. It is the operating system's, so it
//! ends with the process, however that ends. PostgreSQL needs none: there replicas agree through the log's head.

use std::{
    fs::{File, TryLockError},
    path::PathBuf,
};

use super::Engine;
use crate::error::{Error, Reason, Result};

/// Locks the file of `url` for this process, in a file beside it; nothing for PostgreSQL or a database in memory.
pub(super) fn lock(engine: Engine, url: &str) -> Result<Option<File>> {
    let Some(path) = lock_file(engine, url) else { return Ok(None) };
    let unusable = |e: std::io::Error| Error::invalid("database.url", format_args!("`{}`: {e}", path.display()));
    let file = File::create(&path).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(Error::new(Reason::StateConflict)
            .with("object", "the database")
            .with("state", "in use by another server")
            .with("wanted", "free")),
        Err(TryLockError::Error(e)) => Err(unusable(e)),
    }
}

fn lock_file(engine: Engine, url: &str) -> Option<PathBuf> {
    let rest = match engine {
        Engine::Sqlite => url.strip_prefix("sqlite:")?,
        Engine::Postgres => return None,
    };
    let path = rest.strip_prefix("//").unwrap_or(rest).split('?').next()?;
    (!path.is_empty() && path != ":memory:").then(|| PathBuf::from(format!("{path}-lock")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_locked_once_and_free_again_with_its_store() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/hub.db?mode=rwc", dir.path().display());
        let held = lock(Engine::Sqlite, &url).unwrap().unwrap();
        let refused = lock(Engine::Sqlite, &url.replace("?mode=rwc", "")).unwrap_err();
        assert_eq!(refused.reason(), Reason::StateConflict);
        drop(held);
        assert!(lock(Engine::Sqlite, &url).unwrap().is_some());
    }

    #[test]
    fn only_files_are_locked() {
        assert!(lock(Engine::Postgres, "postgres://hub@localhost/hub").unwrap().is_none());
        assert!(lock(Engine::Sqlite, "sqlite::memory:").unwrap().is_none());
        assert_eq!(lock_file(Engine::Sqlite, "sqlite:hub.db"), Some(PathBuf::from("hub.db-lock")));
    }
}
