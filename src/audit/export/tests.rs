//! Exports that are good, cut, rewritten, reordered, or changed in any byte.

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
    verify_export(&export.entries[..], std::io::Cursor::new(&export.hashes), checkpoint, &key, &mut |n| seen.push(n))
        .unwrap();
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
    assert_eq!(edited(&|lines| lines[5] = Export::complete().entry_lines()[5].clone()), (5, 6, EntryFault::Altered));
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
