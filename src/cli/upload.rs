//! Sending a file in chunks, with progress: snapshots and consents.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::{fs::File, io::AsyncReadExt as _};

use super::{failure::Failure, output::Out};
use crate::{domain::Digest, error::Error};

/// The API takes at most 1 MiB in a chunk; larger ones than this are not faster.
const CHUNK: usize = 256 * 1_024;

/// A file's size and SHA-256 (`sha256:` and hex digits).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Summary {
    /// Bytes.
    pub size: u64,
    /// Digest.
    pub digest: String,
}

/// Reads the file once for its size and digest.
pub(super) async fn summarise(path: &Path, out: &Out) -> Result<Summary, Failure> {
    let (mut file, size) = open(path).await?;
    let bar = bar(size, out, "sha256");
    let mut context = Context::new(&SHA256);
    let mut buffer = BytesMut::with_capacity(CHUNK);
    let mut read_bytes = 0;
    loop {
        buffer.clear();
        let read = file.read_buf(&mut buffer).await.map_err(|e| Failure::file(path, &e))?;
        if read == 0 {
            break;
        }
        context.update(&buffer);
        read_bytes += read as u64;
        bar.inc(read as u64);
    }
    bar.finish_and_clear();
    let digest = context.finish().as_ref().try_into().map(Digest).map_err(Error::internal)?;
    Ok(Summary { size: read_bytes, digest: digest.to_string() })
}

/// Why reading stopped early, if it did. The hub then sees a file that is too short and refuses it; this is why.
#[derive(Debug, Clone, Default)]
pub(super) struct ReadError(Arc<Mutex<Option<io::Error>>>);

impl ReadError {
    /// What to tell of a failed upload: the cause on this side if there is one, else what the hub said.
    pub(super) fn or(&self, path: &Path, answer: impl Into<Failure>) -> Failure {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(cause) => Failure::file(path, cause),
            None => answer.into(),
        }
    }
}

/// The messages of an upload: `header`, then the file in chunks.
pub(super) async fn messages<M: Send + 'static>(
    path: &Path,
    header: M,
    chunk: fn(Bytes) -> M,
    out: &Out,
) -> Result<(impl Stream<Item = M> + Send + use<M>, ReadError), Failure> {
    let (file, size) = open(path).await?;
    let bar = bar(size, out, "upload");
    let failed = ReadError::default();
    let seen = failed.clone();
    let chunks = stream::unfold((file, bar, seen), |(mut file, bar, seen)| async move {
        let mut buffer = BytesMut::with_capacity(CHUNK);
        while buffer.len() < CHUNK {
            match file.read_buf(&mut buffer).await {
                Ok(0) => break,
                Ok(read) => bar.inc(read as u64),
                Err(cause) => {
                    *seen.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause);
                    return None;
                }
            }
        }
        if buffer.is_empty() {
            bar.finish_and_clear();
            return None;
        }
        Some((buffer.freeze(), (file, bar, seen)))
    });
    Ok((stream::once(async move { header }).chain(chunks.map(chunk)), failed))
}

async fn open(path: &Path) -> Result<(File, u64), Failure> {
    let open = async {
        let file = File::open(path).await?;
        let metadata = file.metadata().await?;
        if metadata.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok((file, metadata.len())) }
    };
    open.await.map_err(|e| Failure::file(path, &e))
}

/// A bar on standard error, where somebody sees it.
fn bar(size: u64, out: &Out, what: &'static str) -> ProgressBar {
    progress(Some(size), out, what, "{prefix} {bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
}

/// Progress of something whose end is not known, in bytes.
pub(super) fn bytes_received(out: &Out) -> ProgressBar {
    progress(None, out, "answer", "{prefix} {bytes} {bytes_per_sec}")
}

/// Progress of something whose end is not known, in entries.
pub(super) fn entries(out: &Out) -> ProgressBar {
    progress(None, out, "entries", "{prefix} {human_pos} {per_sec}")
}

fn progress(size: Option<u64>, out: &Out, what: &'static str, template: &str) -> ProgressBar {
    let target = if out.shows_progress() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(size, target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(what);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::env::Lang;

    #[tokio::test]
    async fn a_file_is_sent_whole_and_in_order_after_its_header() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        let content: Vec<u8> = (0..=250_u8).cycle().take(2 * CHUNK + 17).collect();
        std::fs::write(&path, &content).unwrap();
        let (out, _, _) = Out::captured(Lang::En);
        let summary = summarise(&path, &out).await.unwrap();
        assert_eq!(summary.size, content.len() as u64);
        assert_eq!(summary.digest, Digest::of(&content).to_string());
        let (stream, failed) = messages(&path, Bytes::from_static(b"header"), |chunk| chunk, &out).await.unwrap();
        let parts: Vec<Bytes> = stream.collect().await;
        assert_eq!(parts[0], "header");
        assert!(parts[1..].iter().all(|part| !part.is_empty() && part.len() <= 1_024 * 1_024));
        assert_eq!(parts[1..].concat(), content);
        assert_eq!(failed.or(&path, Failure::usage("hub", "hub")).message(Lang::En), "hub");
    }

    #[tokio::test]
    async fn a_missing_file_and_a_folder_are_named() {
        let (out, _, _) = Out::captured(Lang::En);
        let failure = summarise(Path::new("/nowhere/x.csv"), &out).await.unwrap_err();
        assert!(failure.to_string().contains("`/nowhere/x.csv`"));
        let folder = tempfile::tempdir().unwrap();
        let failure = summarise(folder.path(), &out).await.unwrap_err();
        assert!(failure.to_string().contains("directory"), "{failure}");
    }
}
