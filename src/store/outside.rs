//! The last checkpoint outside the database, so that a database that was rolled back is noticed at start.
//!
//! It is written whole and synced, at most once a second: a sync per commit would double the latency of each. So what
//! the file says may be a second old; witnesses are what closes that window.

use std::{
    fs::{self, File},
    future,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::Instant;

/// The least time between two writes.
const PAUSE: Duration = Duration::from_secs(1);

/// The file and what is still to be written to it.
#[derive(Debug)]
pub(super) struct Outside {
    file: PathBuf,
    waiting: Option<String>,
    next: Instant,
}

impl Outside {
    /// Keeps the last checkpoint in `file`.
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, waiting: None, next: Instant::now() }
    }

    /// Writes the checkpoint now, or once a second has passed since the last one was.
    pub(super) async fn remember(&mut self, checkpoint: &str) {
        self.waiting = Some(checkpoint.to_owned());
        if Instant::now() >= self.next {
            self.keep().await;
        }
    }

    /// Ends when something waits and may be written; never if nothing does.
    pub(super) async fn due(&self) {
        if self.waiting.is_none() {
            return future::pending().await;
        }
        tokio::time::sleep_until(self.next).await;
    }

    /// Writes what waits.
    pub(super) async fn keep(&mut self) {
        let Some(checkpoint) = self.waiting.take() else { return };
        let file = self.file.clone();
        let text = checkpoint.clone();
        let kept = tokio::task::spawn_blocking(move || write(&file, &text)).await.map_err(io::Error::other);
        self.next = Instant::now() + PAUSE;
        if let Err(error) = kept.and_then(|kept| kept) {
            tracing::warn!(%error, "the last checkpoint could not be kept outside the database");
            self.waiting = Some(checkpoint);
        }
    }
}

/// The file has the old text or the new one, whatever happens.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let aside = file.with_extension("new");
    let mut staged = File::create(&aside)?;
    staged.write_all(text.as_bytes())?;
    staged.sync_all()?;
    fs::rename(&aside, file)?;
    match file.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_many_checkpoints_in_a_second_the_first_is_kept_at_once_and_the_last_at_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log.checkpoint");
        let mut outside = Outside::new(file.clone());
        for text in ["one", "two", "three"] {
            outside.remember(text).await;
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "one");
        outside.due().await;
        outside.keep().await;
        assert_eq!(fs::read_to_string(&file).unwrap(), "three");
        assert!(tokio::time::timeout(PAUSE * 2, outside.due()).await.is_err(), "nothing waits");
    }

    #[tokio::test]
    async fn what_could_not_be_written_waits() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("later/log.checkpoint");
        let mut outside = Outside::new(file.clone());
        outside.remember("one").await;
        fs::create_dir(file.parent().unwrap()).unwrap();
        outside.keep().await;
        assert_eq!(fs::read_to_string(&file).unwrap(), "one");
    }
}
