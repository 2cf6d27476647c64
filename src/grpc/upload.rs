//! Files on the wire: a header, then chunks in order, with a limit on each and on the pause between two.

use std::time::Duration;

use bytes::Bytes;
use tonic::{Code, Streaming};

use super::pb;
use crate::error::{Error, Reason, Result};

/// Longest pause between two messages.
const IDLE: Duration = Duration::from_secs(30);
/// Largest chunk.
const CHUNK: usize = 1 << 20;

/// A message of an upload.
pub(super) enum Part<H> {
    /// What is uploaded.
    Header(H),
    /// The next bytes.
    Chunk(Bytes),
}

/// A message that is a part of an upload.
pub(super) trait UploadMessage {
    /// Its header.
    type Header;
    /// The part; none if the message is empty.
    fn part(self) -> Option<Part<Self::Header>>;
}

macro_rules! upload_message {
    ($message:ident, $module:ident, $header:ident) => {
        impl UploadMessage for pb::$message {
            type Header = pb::$header;

            fn part(self) -> Option<Part<pb::$header>> {
                Some(match self.part? {
                    pb::$module::Part::Header(header) => Part::Header(header),
                    pb::$module::Part::Chunk(chunk) => Part::Chunk(chunk),
                })
            }
        }
    };
}

upload_message!(UploadSnapshotRequest, upload_snapshot_request, UploadSnapshotHeader);
upload_message!(ImportConsentsRequest, import_consents_request, ImportConsentsHeader);

/// The header, which comes first.
pub(super) async fn header<M: UploadMessage>(stream: &mut Streaming<M>) -> Result<M::Header> {
    match next(stream).await? {
        Some(Part::Header(header)) => Ok(header),
        _ => Err(Error::invalid("part", "the first message is not a header")),
    }
}

/// The next chunk; none at the end of the file.
pub(super) async fn chunk<M: UploadMessage>(stream: &mut Streaming<M>) -> Result<Option<Bytes>> {
    match next(stream).await? {
        None => Ok(None),
        Some(Part::Chunk(chunk)) if (1..=CHUNK).contains(&chunk.len()) => Ok(Some(chunk)),
        Some(Part::Chunk(_)) => Err(Error::invalid("chunk", "not between 1 byte and 1 MiB")),
        Some(Part::Header(_)) => Err(Error::invalid("part", "a header that is not the first message")),
    }
}

async fn next<M: UploadMessage>(stream: &mut Streaming<M>) -> Result<Option<Part<M::Header>>> {
    let message = tokio::time::timeout(IDLE, stream.message())
        .await
        .map_err(|_| Error::new(Reason::DeadlineExceeded))?
        .map_err(|status| match status.code() {
            Code::OutOfRange => Error::new(Reason::MessageTooLarge).with("limit", CHUNK),
            Code::Internal => Error::invalid("message", "it is not a message of this call"),
            // The caller is gone; nobody reads this.
            _ => Error::new(Reason::DeadlineExceeded),
        })?;
    match message {
        None => {
            // A stream that its caller has reset looks like one that has ended. Waiting once lets the transport see the
            // reset and drop this call, so that half a file is never taken for a whole one.
            tokio::task::yield_now().await;
            Ok(None)
        }
        Some(message) => message.part().map(Some).ok_or_else(|| Error::invalid("part", "it is required")),
    }
}
