//! An export of the log, and its verification by someone who has only the export and the log's key.
//!
//! An export is a folder with four files:
//!
//! - [`ENTRIES`]: one leaf a line, byte for byte, ordered by index; all of them or those that concern one participant;
//! - [`LEAF_HASHES`]: the leaf hash of every entry of the log in lower-case hex, one a line, from index 0 on;
//! - [`CHECKPOINT`]: the signed checkpoint that the hashes lead to;
//! - [`VKEY`]: the log's key in its C2SP text form. A verifier takes the key from elsewhere if it can.
//!
//! The hashes make it possible to name the first bad entry. Files are read once, a line at a time: the memory needed
//! is 32 bytes for each entry of the log.

use std::io::{self, BufRead};

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
    hashes: impl BufRead,
    checkpoint: &str,
    key: &VerifierKey,
    progress: &mut dyn FnMut(u64),
) -> Result<Verified, BadExport> {
    let checkpoint = Checkpoint::verify(checkpoint, key).map_err(BadExport::Checkpoint)?;
    let hashes = read_hashes(hashes, checkpoint.size)?;
    if Frontier::from_leaf_hashes(&hashes).root() != checkpoint.root {
        let suspect = match check_entries(entries, &hashes, &mut |_| ()) {
            Err(BadExport::Entry { index, .. }) => Some(index),
            _ => None,
        };
        return Err(BadExport::RootMismatch { suspect });
    }
    let (entries, first_missing) = check_entries(entries, &hashes, progress)?;
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

fn read_hashes(reader: impl BufRead, size: u64) -> Result<Vec<Hash>, BadExport> {
    let mut lines = Lines::new(reader, 64);
    let mut hashes = Vec::new();
    for index in 0.. {
        let Some(whole) = lines.advance().map_err(unreadable)? else {
            return if index == size { Ok(hashes) } else { Err(BadExport::HashesMissing { listed: index, size }) };
        };
        if index == size {
            break;
        }
        let hash = str::from_utf8(&lines.line).ok().filter(|line| whole && line.len() == 64);
        let hash = hash.and_then(|line| line.parse::<Digest>().ok());
        hashes.push(hash.ok_or(BadExport::HashMalformed { index })?.0);
    }
    Err(BadExport::HashesBeyond { size })
}

/// Compares each entry with the listed hash; gives the number of entries and the first index without one.
fn check_entries(
    reader: impl BufRead,
    hashes: &[Hash],
    progress: &mut dyn FnMut(u64),
) -> Result<(u64, Option<u64>), BadExport> {
    let size = hashes.len() as u64;
    let mut lines = Lines::new(reader, MAX_LEAF);
    let (mut count, mut next, mut first_missing) = (0, 0, None);
    while let Some(whole) = lines.advance().map_err(unreadable)? {
        match check_entry(&lines.line, whole, next, hashes) {
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
fn check_entry(line: &[u8], whole: bool, next: u64, hashes: &[Hash]) -> Result<u64, EntryFault> {
    let head: Head = serde_json::from_slice(line).ok().filter(|_| whole).ok_or(EntryFault::Malformed)?;
    let index = decimal(&head.i).ok_or(EntryFault::Malformed)?;
    let listed = usize::try_from(index).ok().and_then(|index| hashes.get(index)).ok_or(EntryFault::Beyond)?;
    if index < next {
        Err(EntryFault::OutOfOrder)
    } else if *listed == leaf_hash(line) {
        Ok(index)
    } else {
        Err(EntryFault::Altered)
    }
}

/// Which entry the current, bad line should have been.
///
/// What the line says of itself may be what was altered. It lies between the good entry before and the good one
/// after; if only one index does, as in a complete export, it is this one.
fn locate<R: BufRead>(lines: &mut Lines<R>, next: u64, hashes: &[Hash]) -> Result<u64, BadExport> {
    let claimed = claimed_index(&lines.line);
    let size = hashes.len() as u64;
    let end = match lines.advance().map_err(unreadable)? {
        Some(whole) => check_entry(&lines.line, whole, next, hashes).unwrap_or(size),
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::testing::{Export, SIZE, flip};

    fn bad_entry(result: Result<Verified, BadExport>) -> (u64, u64, EntryFault) {
        match result {
            Err(BadExport::Entry { index, line, fault }) => (index, line, fault),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_complete_export_and_the_view_of_one_participant_verify() {
        let verified = Export::complete().verify().unwrap();
        assert_eq!((verified.entries, verified.first_missing, verified.checkpoint.size), (SIZE, None, SIZE));
        let verified = Export::of(|index| index % 3 == 0).verify().unwrap();
        assert_eq!((verified.entries, verified.first_missing), (5, Some(1)));
        let verified = Export::of(|_| false).verify().unwrap();
        assert_eq!((verified.entries, verified.first_missing), (0, Some(0)));
        let verified = Export::of(|index| index < 12).verify().unwrap();
        assert_eq!((verified.entries, verified.first_missing), (12, Some(12)));
    }

    #[test]
    fn progress_counts_every_entry() {
        let export = Export::complete();
        let mut seen = Vec::new();
        let key = str::from_utf8(&export.vkey).unwrap().parse().unwrap();
        let checkpoint = str::from_utf8(&export.checkpoint).unwrap();
        verify_export(&export.entries[..], &export.hashes[..], checkpoint, &key, &mut |n| seen.push(n)).unwrap();
        assert_eq!(seen, (1..=SIZE).collect::<Vec<_>>());
    }

    #[test]
    fn repeated_swapped_foreign_and_unfinished_entries_are_named() {
        let export = Export::complete();
        let lines = export.entry_lines();
        let edited = |edit: &dyn Fn(&mut Vec<Vec<u8>>)| {
            let mut lines = lines.clone();
            edit(&mut lines);
            bad_entry(export.with_entries(&lines).verify())
        };
        assert_eq!(edited(&|lines| lines.insert(6, lines[5].clone())), (5, 7, EntryFault::OutOfOrder));
        assert_eq!(edited(&|lines| lines.swap(5, 6)), (5, 7, EntryFault::OutOfOrder));
        assert_eq!(
            edited(&|lines| lines[5] = Export::complete().entry_lines()[5].clone()),
            (5, 6, EntryFault::Altered)
        );
        assert_eq!(edited(&|lines| lines.push(br#"{"i":"13"}"#.to_vec())), (13, 14, EntryFault::Malformed));
        assert_eq!(edited(&|lines| lines.push(b"{\"i\":\"13\"}\n".to_vec())), (13, 14, EntryFault::Beyond));
        assert_eq!(edited(&|lines| lines[12].truncate(40)), (12, 13, EntryFault::Malformed));
        assert_eq!(edited(&|lines| assert!(lines[12].pop().is_some())), (12, 13, EntryFault::Malformed));
        assert_eq!(edited(&|lines| lines.insert(3, b"\n".to_vec())), (3, 4, EntryFault::Malformed));
        let long = [b"{\"i\":\"3\",\"x\":\"".to_vec(), vec![b'x'; 4 * MAX_LEAF], b"\"}\n".to_vec()].concat();
        assert_eq!(edited(&|lines| lines[3] = long.clone()), (3, 4, EntryFault::Malformed));
    }

    #[test]
    fn a_removed_entry_is_found_as_missing() {
        let export = Export::complete();
        let mut lines = export.entry_lines();
        lines.remove(4);
        assert_eq!(export.with_entries(&lines).verify().unwrap().first_missing, Some(4));
    }

    #[test]
    fn hashes_that_do_not_lead_to_the_checkpoint_are_refused() {
        let good = Export::complete();
        let listed = |edit: &dyn Fn(&mut Vec<&[u8]>)| {
            let mut lines: Vec<_> = good.hashes.split_inclusive(|byte| *byte == b'\n').collect();
            edit(&mut lines);
            Export { hashes: lines.concat(), ..good.clone() }.verify().unwrap_err()
        };
        assert_eq!(listed(&|lines| lines.truncate(12)), BadExport::HashesMissing { listed: 12, size: 13 });
        assert_eq!(listed(&|lines| lines.push(lines[0])), BadExport::HashesBeyond { size: 13 });
        assert_eq!(listed(&|lines| lines.swap(3, 4)), BadExport::RootMismatch { suspect: Some(3) });
        assert_eq!(listed(&|lines| lines[3] = b"sha256:00\n"), BadExport::HashMalformed { index: 3 });
        let other = Export { hashes: Export::complete().hashes, entries: Vec::new(), ..good.clone() };
        assert_eq!(other.verify().unwrap_err(), BadExport::RootMismatch { suspect: None });
    }

    #[test]
    fn an_entry_rewritten_together_with_its_hash_does_not_lead_to_the_root() {
        let good = Export::complete();
        let mut lines = good.entry_lines();
        lines[5] = Export::complete().entry_lines()[5].clone();
        let hash = hash_line(&leaf_hash(&lines[5][..lines[5].len() - 1])).into_bytes();
        let mut hashes = good.hashes.clone();
        hashes[5 * 65..6 * 65].copy_from_slice(&hash);
        let forged = Export { hashes, ..good.with_entries(&lines) };
        assert_eq!(forged.verify().unwrap_err(), BadExport::RootMismatch { suspect: None });
    }

    #[test]
    fn texts_name_the_entry() {
        let text = BadExport::Entry { index: 5, line: 6, fault: EntryFault::Altered }.to_string();
        assert_eq!(text, "entry 5 (line 6 of the entries) has been altered: its hash is not the one in the log");
        let text = BadExport::RootMismatch { suspect: Some(5) }.to_string();
        assert!(text.ends_with("root; entry 5 is the first that disagrees with them"), "{text}");
    }

    #[test]
    fn every_digit_put_into_the_index_of_an_entry_of_a_complete_export_is_traced_to_that_entry() {
        let export = Export::complete();
        let lines = export.entry_lines();
        for (position, line) in lines.iter().enumerate() {
            let text = str::from_utf8(line).unwrap();
            for claimed in (0..20).filter(|claimed| *claimed != position) {
                let mut lines = lines.clone();
                let (own, other) = (format!(r#","i":"{position}""#), format!(r#","i":"{claimed}""#));
                lines[position] = text.replacen(&own, &other, 1).into_bytes();
                let (index, at, _) = bad_entry(export.with_entries(&lines).verify());
                assert_eq!((index, at), (position as u64, position as u64 + 1), "claimed {claimed}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_byte_changed_in_the_entries_is_traced_to_its_entry(at in any::<prop::sample::Index>(), mask in 1_u8..) {
            let export = Export::complete();
            let line = export.line_of_byte(at.index(export.entries.len()));
            let damaged = Export { entries: flip(&export.entries, at, mask), ..export };
            let (index, bad_line, _) = bad_entry(damaged.verify());
            prop_assert_eq!((index, bad_line), (line, line + 1));
        }

        #[test]
        fn any_byte_changed_in_the_view_of_one_participant_is_refused_at_its_line(
            at in any::<prop::sample::Index>(), mask in 1_u8..,
        ) {
            let export = Export::of(|index| index % 4 == 1);
            let line = export.line_of_byte(at.index(export.entries.len()));
            let damaged = Export { entries: flip(&export.entries, at, mask), ..export };
            prop_assert_eq!(bad_entry(damaged.verify()).1, line + 1);
        }

        #[test]
        fn any_byte_changed_in_another_file_is_refused(
            file in 0..3, at in any::<prop::sample::Index>(), mask in 1_u8..,
        ) {
            let mut export = Export::complete();
            let bytes = match file {
                0 => &mut export.hashes,
                1 => &mut export.checkpoint,
                _ => &mut export.vkey,
            };
            *bytes = flip(bytes, at, mask);
            prop_assert!(export.verify().is_err());
        }

        #[test]
        fn no_bytes_at_all_make_verification_panic(
            entries in prop::collection::vec(any::<u8>(), 0..300), hashes in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let export = Export::of(|_| false);
            let with_entries = Export { entries: entries.clone(), ..export.clone() };
            prop_assert!(with_entries.verify().is_err() || entries.is_empty());
            let with_hashes = Export { hashes, ..export };
            prop_assert!(with_hashes.verify().is_err());
        }
    }
}
