//! An export of the log, and its verification by someone who has only the export and the log's key.
//!
//! An export is a folder with these files:
//!
//! - [`ENTRIES`]: one leaf a line, byte for byte, ordered by index; all of them or those that concern one participant;
//! - [`LEAF_HASHES`]: the leaf hash of every entry of the log in lower-case hex, one a line, from index 0 on;
//! - [`CHECKPOINT`]: the signed checkpoint that the hashes lead to;
//! - [`VKEY`]: the log's key in its C2SP text form. A verifier takes the key from elsewhere if it can;
//! - [`OPENINGS`](super::completeness::OPENINGS), of one participant's export: what shows that nothing is left out.
//!
//! The hashes make it possible to name the first bad entry. Files are read a line at a time, the hashes twice, so the
//! memory needed does not depend on the log.

use std::io::{self, BufRead, Seek, SeekFrom};

use serde::Deserialize;

use super::{
    checkpoint::Checkpoint,
    leaf::MAX_LEAF,
    lines::Lines,
    note::VerifierKey,
    proof::decimal,
    tree::{Frontier, Hash, leaf_hash},
};
use crate::{domain::Digest, error::Error};

/// Name of the file with the leaves.
pub const ENTRIES: &str = "entries.jsonl";
/// Name of the file with all leaf hashes.
pub const LEAF_HASHES: &str = "leaf-hashes";
/// Name of the file with the signed checkpoint.
pub const CHECKPOINT: &str = "checkpoint";
/// Name of the file with the log's key.
pub const VKEY: &str = "log.vkey";

/// What a good export proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The checkpoint that all of it leads to.
    pub checkpoint: Checkpoint,
    /// How many entries the export has, each at its place in that log.
    pub entries: u64,
    /// The first entry of the log that the export does not have; none if it is complete.
    pub first_missing: Option<u64>,
}

/// Why an export is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadExport {
    /// The checkpoint is malformed or not signed with the log's key.
    #[error("the checkpoint is refused: {0}")]
    Checkpoint(Error),
    /// A line of the leaf hashes is not 64 lower-case hex digits.
    #[error("the leaf hash of entry {index} is malformed")]
    HashMalformed { index: u64 },
    /// The list of leaf hashes is shorter than the tree.
    #[error(
        "there are {listed} leaf hashes, but the checkpoint is of {size} entries: entry {listed} is the first without"
    )]
    HashesMissing { listed: u64, size: u64 },
    /// The list of leaf hashes is longer than the tree.
    #[error(
        "there are more leaf hashes than the {size} entries of the checkpoint: entry {size} is the first beyond it"
    )]
    HashesBeyond { size: u64 },
    /// The leaf hashes are not those of the signed tree.
    #[error("the leaf hashes do not lead to the checkpoint's root{}", suspect_text(*.suspect))]
    RootMismatch {
        /// The first entry that disagrees with the list, if there is one.
        suspect: Option<u64>,
    },
    /// An entry is bad: the first one. The index is what the entry says, unless its neighbours show that it is wrong.
    #[error("entry {index} (line {line} of the entries) {fault}")]
    Entry { index: u64, line: u64, fault: EntryFault },
    /// A file could not be read.
    #[error("the export cannot be read: {0}")]
    Unreadable(io::ErrorKind),
}

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// The line is not a leaf: no JSON, no index, too long, or without its newline.
    #[error("is malformed")]
    Malformed,
    /// The index is not above that of the line before.
    #[error("is a repetition or out of order")]
    OutOfOrder,
    /// The log had no such entry when the checkpoint was signed.
    #[error("is not in the log of this checkpoint")]
    Beyond,
    /// The bytes are not those that the log has at this index.
    #[error("has been altered: its hash is not the one in the log")]
    Altered,
}

/// Checks an export against the log's key, and calls `progress` with the number of entries after each good one.
///
/// Checked are the signature of the checkpoint, that the leaf hashes lead to its root, and that each entry is the one
/// that the log has at its index. Names the first bad entry.
pub fn verify_export(
    entries: impl BufRead,
    hashes: impl BufRead + Seek,
    checkpoint: &str,
    key: &VerifierKey,
    progress: &mut dyn FnMut(u64),
) -> Result<Verified, BadExport> {
    let checkpoint = Checkpoint::verify(checkpoint, key).map_err(BadExport::Checkpoint)?;
    let (mut hashes, root) = Hashes::read(hashes, checkpoint.size)?;
    if root != checkpoint.root {
        let suspect = match check_entries(entries, &mut hashes, &mut |_| ()) {
            Err(BadExport::Entry { index, .. }) => Some(index),
            _ => None,
        };
        return Err(BadExport::RootMismatch { suspect });
    }
    let (entries, first_missing) = check_entries(entries, &mut hashes, progress)?;
    Ok(Verified { checkpoint, entries, first_missing })
}

/// The line of [`LEAF_HASHES`] for this hash, with its newline.
pub fn hash_line(hash: &Hash) -> String {
    format!("{}\n", Digest(*hash).hex())
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` wants")]
fn unreadable(error: io::Error) -> BadExport {
    BadExport::Unreadable(error.kind())
}

fn suspect_text(suspect: Option<u64>) -> String {
    suspect.map_or_else(String::new, |index| format!("; entry {index} is the first that disagrees with them"))
}

/// A line of the hashes: 64 hex digits and a newline.
const LINE: usize = 65;
/// Hashes that are rather read over than sought past.
const SKIP: u64 = 64;

/// The list of leaf hashes, every line of which is well-formed.
struct Hashes<R> {
    reader: R,
    /// Index of the hash that comes next.
    next: u64,
    size: u64,
}

impl<R: BufRead + Seek> Hashes<R> {
    /// Reads the whole list once, which must have `size` hashes; gives the root that they lead to.
    fn read(reader: R, size: u64) -> Result<(Self, Hash), BadExport> {
        let mut lines = Lines::new(reader, 64);
        let mut frontier = Frontier::default();
        for index in 0.. {
            let Some(whole) = lines.advance().map_err(unreadable)? else {
                if index == size {
                    break;
                }
                return Err(BadExport::HashesMissing { listed: index, size });
            };
            if index == size {
                return Err(BadExport::HashesBeyond { size });
            }
            let hash = str::from_utf8(&lines.line).ok().filter(|line| whole && line.len() == 64);
            let hash = hash.and_then(|line| line.parse::<Digest>().ok());
            frontier.append(&hash.ok_or(BadExport::HashMalformed { index })?.0);
        }
        Ok((Self { reader: lines.into_inner(), next: size, size }, frontier.root()))
    }

    /// The hash of an entry; none beyond the list.
    fn at(&mut self, index: u64) -> Result<Option<Hash>, BadExport> {
        if index >= self.size {
            return Ok(None);
        }
        let mut line = [0; LINE];
        let ahead = index.checked_sub(self.next).filter(|ahead| *ahead <= SKIP);
        match ahead {
            Some(ahead) => (0..ahead).try_for_each(|_| self.reader.read_exact(&mut line)).map_err(unreadable)?,
            None => {
                self.reader.seek(SeekFrom::Start(index * LINE as u64)).map_err(unreadable)?;
            }
        }
        self.reader.read_exact(&mut line).map_err(unreadable)?;
        self.next = index + 1;
        let hash = str::from_utf8(&line[..64]).ok().and_then(|line| line.parse::<Digest>().ok());
        hash.map(|hash| Some(hash.0)).ok_or(BadExport::HashMalformed { index })
    }
}

/// Compares each entry with the listed hash; gives the number of entries and the first index without one.
fn check_entries(
    reader: impl BufRead,
    hashes: &mut Hashes<impl BufRead + Seek>,
    progress: &mut dyn FnMut(u64),
) -> Result<(u64, Option<u64>), BadExport> {
    let size = hashes.size;
    let mut lines = Lines::new(reader, MAX_LEAF);
    let (mut count, mut next, mut first_missing) = (0, 0, None);
    while let Some(whole) = lines.advance().map_err(unreadable)? {
        match check_entry(&lines.line, whole, next, hashes)? {
            Ok(index) => {
                if index > next {
                    first_missing = first_missing.or(Some(next));
                }
                next = index + 1;
                count += 1;
                progress(count);
            }
            Err(fault) => {
                let index = locate(&mut lines, next, hashes)?;
                return Err(BadExport::Entry { index, line: count + 1, fault });
            }
        }
    }
    Ok((count, first_missing.or_else(|| (next < size).then_some(next))))
}

/// The index of a good entry; `next` is the least that it may have.
fn check_entry(
    line: &[u8],
    whole: bool,
    next: u64,
    hashes: &mut Hashes<impl BufRead + Seek>,
) -> Result<Result<u64, EntryFault>, BadExport> {
    let head = serde_json::from_slice::<Head>(line).ok().filter(|_| whole);
    let Some(index) = head.and_then(|head| decimal(&head.i)) else { return Ok(Err(EntryFault::Malformed)) };
    let Some(listed) = hashes.at(index)? else { return Ok(Err(EntryFault::Beyond)) };
    Ok(if index < next {
        Err(EntryFault::OutOfOrder)
    } else if listed == leaf_hash(line) {
        Ok(index)
    } else {
        Err(EntryFault::Altered)
    })
}

/// Which entry the current, bad line should have been.
///
/// What the line says of itself may be what was altered. It lies between the good entry before and the good one
/// after; if only one index does, as in a complete export, it is this one.
fn locate<R: BufRead>(
    lines: &mut Lines<R>,
    next: u64,
    hashes: &mut Hashes<impl BufRead + Seek>,
) -> Result<u64, BadExport> {
    let claimed = claimed_index(&lines.line);
    let size = hashes.size;
    let end = match lines.advance().map_err(unreadable)? {
        Some(whole) => check_entry(&lines.line, whole, next, hashes)?.unwrap_or(size),
        None => size,
    };
    let candidates = next..end;
    Ok(match claimed {
        Some(index) if candidates.is_empty() => index,
        Some(index) if candidates.contains(&index) => index,
        _ => next,
    })
}

/// The index that a line gives itself, even if the rest of it is not JSON or a second entry follows on the line.
fn claimed_index(line: &[u8]) -> Option<u64> {
    let first = serde_json::Deserializer::from_slice(line).into_iter::<Head>().next();
    if let Some(Ok(head)) = first {
        return decimal(&head.i);
    }
    let text = String::from_utf8_lossy(line);
    let (_, rest) = text.split_once(r#","i":""#)?;
    decimal(rest.split_once(r#"","id":""#)?.0)
}

/// All that verification needs to read of a leaf, so that it can check leaves of later versions too.
#[derive(Deserialize)]
struct Head {
    i: String,
}

#[cfg(test)]
mod tests;
