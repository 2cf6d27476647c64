//! Completeness: what a participant's export proves to be all of what concerns it.
//!
//! Inclusion alone cannot show that nothing was left out. Each entry counts for each of its parties without gaps, and the
//! number stands in the leaf as a commitment that only this party can open. [`OPENINGS`] has the openings, one JSON
//! object a line in the order of the entries; whoever has it checks that no number is missing in between. The export is
//! itself an entry that concerns its participant: if it is the last one, nothing is missing at the end either.

use std::io::{self, BufRead};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{
    leaf::MAX_LEAF,
    lines::Lines,
    opening::{Opening, counter_field, opens},
    proof::decimal,
    view::LeafView,
};
use crate::domain::{EntryKind, ParticipantId};

/// Name of the file with the openings of an export.
pub const OPENINGS: &str = "openings.jsonl";
/// The longest line of openings: a list of many subjects.
const MAX_LINE: usize = 4 << 20;

/// What the openings of a good export prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completeness {
    /// Whose entries they are.
    pub party: ParticipantId,
    /// The number of the first of its entries in the export: 0 unless older ones are left out or pruned.
    pub first: u64,
    /// How many of its entries there are, without a gap.
    pub entries: u64,
    /// Index of the last of them.
    pub last_index: u64,
    /// Whether the last is the record of an export by this participant: then nothing is missing at the end.
    pub ends_with_export: bool,
}

/// Why openings are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadOpenings {
    /// A line is not an opening.
    #[error("line {line} of the openings is malformed")]
    Malformed { line: u64 },
    /// Openings are not in the order of the entries, or of an entry that the export does not have.
    #[error("the opening of entry {index} (line {line}) is of no entry that follows")]
    Misplaced { index: u64, line: u64 },
    /// An opening opens no commitment of its entry.
    #[error("the opening of `{field}` opens nothing in entry {index}")]
    Wrong { index: u64, field: String },
    /// An entry is of another participant's export, or its number is not opened.
    #[error("entry {index} does not open its number for `{party}`")]
    Uncounted { index: u64, party: String },
    /// A number is missing before this entry.
    #[error("entry {index} is number {found} of `{party}`, after number {before}: {} entries are missing", found - before - 1)]
    Gap { index: u64, party: String, before: u64, found: u64 },
    /// Numbers repeat or go back.
    #[error("entry {index} is number {found} of `{party}`, after number {before}")]
    Disorder { index: u64, party: String, before: u64, found: u64 },
    /// A leaf is malformed: the export itself does not verify.
    #[error("entry on line {line} is malformed")]
    Entry { line: u64 },
    /// A file could not be read.
    #[error("the export cannot be read: {0}")]
    Unreadable(io::ErrorKind),
}

/// A line of [`OPENINGS`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    field: String,
    i: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    party: Option<ParticipantId>,
    salt: String,
    value: String,
}

/// The line of [`OPENINGS`] for an opening of the entry with this index, with its newline.
pub fn opening_line(index: u64, opening: &Opening) -> String {
    let line = Line {
        field: opening.field.clone(),
        i: index.to_string(),
        party: opening.party.clone(),
        salt: URL_SAFE_NO_PAD.encode(opening.salt),
        value: opening.value.clone(),
    };
    // A struct of strings always has a JSON form.
    serde_json::to_string(&line).map(|line| line + "\n").unwrap_or_default()
}

fn read_line(line: &[u8]) -> Option<(u64, Opening)> {
    let line: Line = serde_json::from_slice(line).ok()?;
    let salt = URL_SAFE_NO_PAD.decode(line.salt).ok()?.try_into().ok()?;
    Some((decimal(&line.i)?, Opening { field: line.field, party: line.party, salt, value: line.value }))
}

/// Checks the openings of an export whose entries have been verified; none if it has no numbers of a participant.
pub fn verify_openings(
    entries: impl BufRead,
    openings: impl BufRead,
    progress: &mut dyn FnMut(u64),
) -> Result<Option<Completeness>, BadOpenings> {
    let unreadable = |error: io::Error| BadOpenings::Unreadable(error.kind());
    let mut entries = Lines::new(entries, MAX_LEAF);
    let mut openings = Openings::new(openings);
    let mut proven: Option<Completeness> = None;
    let mut line = 0;
    while let Some(whole) = entries.advance().map_err(unreadable)? {
        line += 1;
        let view = LeafView::parse(&entries.line).ok().filter(|_| whole).ok_or(BadOpenings::Entry { line })?;
        let mut number = None;
        while let Some(opening) = openings.next_of(view.index)? {
            if !opens(&view, &opening) {
                return Err(BadOpenings::Wrong { index: view.index, field: opening.field });
            }
            if let Some(party) = opening.party {
                number = decimal(&opening.value).map(|number| (party, number));
            }
        }
        if let Some((party, number)) = number {
            count(&mut proven, &view, party, number)?;
        } else if let Some(proven) = proven.as_ref().filter(|proven| view.parties.contains(&proven.party)) {
            return Err(BadOpenings::Uncounted { index: view.index, party: proven.party.to_string() });
        } else if proven.is_some() {
            // A participant's export has nothing but what concerns it.
            let party = proven.map(|proven| proven.party.to_string()).unwrap_or_default();
            return Err(BadOpenings::Uncounted { index: view.index, party });
        }
        progress(line);
    }
    openings.end()?;
    Ok(proven)
}

/// Takes the next number of a party, which must follow the one before.
fn count(
    proven: &mut Option<Completeness>,
    view: &LeafView,
    party: ParticipantId,
    number: u64,
) -> Result<(), BadOpenings> {
    let index = view.index;
    let ends_with_export = view.kind == EntryKind::AuditExported && view.actor.as_ref() == Some(&party);
    let Some(known) = proven else {
        *proven = Some(Completeness { party, first: number, entries: 1, last_index: index, ends_with_export });
        return Ok(());
    };
    if known.party != party {
        return Err(BadOpenings::Uncounted { index, party: known.party.to_string() });
    }
    let before = known.first + known.entries - 1;
    let party = party.to_string();
    match number.cmp(&(before + 1)) {
        std::cmp::Ordering::Equal => {}
        std::cmp::Ordering::Greater => return Err(BadOpenings::Gap { index, party, before, found: number }),
        std::cmp::Ordering::Less => return Err(BadOpenings::Disorder { index, party, before, found: number }),
    }
    (known.entries, known.last_index, known.ends_with_export) = (known.entries + 1, index, ends_with_export);
    Ok(())
}

/// Openings in the order of the file, one ahead.
struct Openings<R> {
    lines: Lines<R>,
    line: u64,
    ahead: Option<(u64, Opening)>,
    ended: bool,
}

impl<R: BufRead> Openings<R> {
    const fn new(reader: R) -> Self {
        Self { lines: Lines::new(reader, MAX_LINE), line: 0, ahead: None, ended: false }
    }

    /// The next opening if it is of this entry.
    fn next_of(&mut self, index: u64) -> Result<Option<Opening>, BadOpenings> {
        self.look()?;
        match &self.ahead {
            Some((next, _)) if *next < index => Err(BadOpenings::Misplaced { index: *next, line: self.line }),
            Some((next, _)) if *next == index => Ok(self.ahead.take().map(|(_, opening)| opening)),
            _ => Ok(None),
        }
    }

    /// Nothing must be left.
    fn end(&mut self) -> Result<(), BadOpenings> {
        self.look()?;
        match &self.ahead {
            Some((index, _)) => Err(BadOpenings::Misplaced { index: *index, line: self.line }),
            None => Ok(()),
        }
    }

    fn look(&mut self) -> Result<(), BadOpenings> {
        if self.ahead.is_some() || self.ended {
            return Ok(());
        }
        match self.lines.advance().map_err(|error| BadOpenings::Unreadable(error.kind()))? {
            None => self.ended = true,
            Some(whole) => {
                self.line += 1;
                let read = read_line(&self.lines.line).filter(|_| whole);
                self.ahead = Some(read.ok_or(BadOpenings::Malformed { line: self.line })?);
            }
        }
        Ok(())
    }
}

/// Whether an opening is of a counter of its party.
pub fn is_counter(opening: &Opening) -> bool {
    opening.party.as_ref().is_some_and(|party| opening.field == counter_field(party))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        audit::{LeafContext, encode, testing::NOW},
        domain::EntryDraft,
    };

    /// What concerns `lab`: entries with their openings, at every other index.
    struct Export {
        entries: Vec<String>,
        openings: Vec<Vec<String>>,
    }

    fn export(count: u64) -> Export {
        let (lab, chu): (ParticipantId, ParticipantId) = ("lab".parse().unwrap(), "chu".parse().unwrap());
        let (mut entries, mut openings) = (Vec::new(), Vec::new());
        for number in 0..count {
            let kind = if number + 1 == count { EntryKind::AuditExported } else { EntryKind::QueryDecision };
            let mut draft = EntryDraft::new(kind).concerning(&lab).concerning(&chu).secret("sql", "select 1");
            draft.actor = Some(lab.clone());
            let counters = [(chu.clone(), 7 + number), (lab.clone(), 3 + number)].into_iter().collect();
            let index = 2 * number;
            let ctx =
                LeafContext { origin: "hub.example/audit", index, id: uuid::Uuid::nil(), at: NOW, counters: &counters };
            let leaf = encode(&draft, &ctx).unwrap();
            entries.push(String::from_utf8(leaf.bytes).unwrap() + "\n");
            let own = leaf.openings.iter().filter(|opening| opening.party.as_ref() != Some(&chu));
            openings.push(own.map(|opening| opening_line(index, opening)).collect());
        }
        Export { entries, openings }
    }

    impl Export {
        fn verify(&self) -> Result<Option<Completeness>, BadOpenings> {
            let (entries, openings) = (self.entries.concat(), self.openings.concat().concat());
            verify_openings(entries.as_bytes(), openings.as_bytes(), &mut |_| ())
        }
    }

    #[test]
    fn an_export_without_a_gap_is_complete_from_its_first_number_on() {
        let proven = export(9).verify().unwrap().unwrap();
        assert_eq!((proven.party.as_str(), proven.first, proven.entries), ("lab", 3, 9));
        assert_eq!((proven.last_index, proven.ends_with_export), (16, true));
        let mut cut = export(9);
        cut.entries.pop();
        cut.openings.pop();
        assert!(!cut.verify().unwrap().unwrap().ends_with_export, "something may be missing at the end");
        let mut late = export(9);
        late.entries.drain(..4);
        late.openings.drain(..4);
        assert_eq!(late.verify().unwrap().unwrap().first, 7);
        let none = Export { entries: export(3).entries, openings: Vec::new() };
        assert_eq!(none.verify(), Ok(None));
    }

    #[test]
    fn an_entry_that_was_left_out_is_a_gap() {
        let mut export = export(9);
        export.entries.drain(4..6);
        export.openings.drain(4..6);
        let gap = BadOpenings::Gap { index: 12, party: "lab".to_owned(), before: 6, found: 9 };
        assert!(gap.to_string().contains("2 entries are missing"), "{gap}");
        assert_eq!(export.verify(), Err(gap));
    }

    #[test]
    fn openings_that_are_wrong_missing_or_misplaced_are_refused() {
        let refused = |edit: &dyn Fn(&mut Export)| {
            let mut export = export(5);
            edit(&mut export);
            export.verify().unwrap_err()
        };
        let number =
            |export: &Export, at: usize| export.openings[at].iter().position(|line| line.contains("tseq")).unwrap();
        assert!(matches!(
            refused(&|export| {
                let at = number(export, 2);
                export.openings[2].remove(at);
            }),
            BadOpenings::Uncounted { index: 4, .. }
        ));
        assert!(matches!(
            refused(&|export| {
                let at = number(export, 2);
                export.openings[2][at] = export.openings[2][at].replace(r#""value":"5""#, r#""value":"6""#);
            }),
            BadOpenings::Wrong { index: 4, .. }
        ));
        assert!(matches!(refused(&|export| export.openings.swap(1, 2)), BadOpenings::Uncounted { index: 2, .. }));
        assert!(matches!(
            refused(&|export| {
                export.entries.remove(2);
            }),
            BadOpenings::Misplaced { index: 4, .. }
        ));
        assert!(matches!(refused(&|export| export.openings[0][0].push('x')), BadOpenings::Malformed { line: 2 }));
        assert!(matches!(
            refused(&|export| {
                let (entry, openings) = (export.entries[1].clone(), export.openings[1].clone());
                export.entries.insert(2, entry);
                export.openings.insert(2, openings);
            }),
            BadOpenings::Uncounted { index: 2, .. }
        ));
    }

    proptest! {
        #[test]
        fn any_lines_are_read_without_a_panic(entries in "(\\PC|\n){0,60}", openings in "(\\PC|\n){0,60}") {
            let _ = verify_openings(entries.as_bytes(), openings.as_bytes(), &mut |_| ());
        }
    }
}
