//! Openings of the commitments in a leaf: who has one can show the value; once it is erased, nobody can.

use std::fmt;

use super::{
    tree::{Hash, sha256},
    view::LeafView,
};
use crate::{
    domain::{Name, ParticipantId},
    error::{Error, Result},
};

/// A committed value with its salt. Whoever has it can prove the value; once it is erased, nobody can.
#[derive(Clone, PartialEq, Eq)]
pub struct Opening {
    /// The name of the commitment in the leaf; for a counter `tseq/` and the party.
    pub field: String,
    /// For a counter the party whose counter it is, which alone may have it.
    pub party: Option<ParticipantId>,
    /// 32 random bytes, fresh for each commitment.
    pub salt: [u8; 32],
    /// The value.
    pub value: String,
}

impl fmt::Debug for Opening {
    /// Without salt and value: an opening is personal data and must not get into a log line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").field("field", &self.field).finish_non_exhaustive()
    }
}

/// Whether `opening` opens a commitment of this leaf.
pub fn check_opening(leaf: &[u8], opening: &Opening) -> bool {
    LeafView::parse(leaf).is_ok_and(|view| opens(&view, opening))
}

/// Whether `opening` opens a commitment of the leaf with this view.
pub(super) fn opens(view: &LeafView, opening: &Opening) -> bool {
    let committed = match &opening.party {
        Some(party) if opening.field == counter_field(party) => view.counters.get(party),
        Some(_) => None,
        None => view.commitments.get(&opening.field),
    };
    committed.is_some_and(|hash| *hash == opening.commitment())
}

impl Opening {
    /// Commits, with a fresh salt, to a personal or secret value.
    pub(super) fn of_secret(name: &str, value: String) -> Result<Self> {
        Ok(Self { field: name.to_owned(), party: None, salt: random()?, value })
    }

    /// Commits, with a fresh salt, to a party's counter.
    pub(super) fn of_counter(party: &ParticipantId, counter: u64) -> Result<Self> {
        let (field, value) = (counter_field(party), counter.to_string());
        Ok(Self { field, party: Some(party.clone()), salt: random()?, value })
    }

    /// SHA-256 of `odh/c1`, salt, field, 0x1f and value. No field has a 0x1f, so the two cannot run into each other.
    pub(super) fn commitment(&self) -> Hash {
        sha256(&[b"odh/c1", &self.salt, self.field.as_bytes(), &[0x1f], self.value.as_bytes()])
    }
}

/// Names of secrets are identifiers, so none can be that of a counter.
pub(super) fn is_secret_name(name: &str) -> bool {
    name.parse::<Name>().is_ok()
}

/// Fresh random bytes from the operating system.
pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::internal("the system has no randomness to give"))?;
    Ok(bytes)
}

pub(super) fn counter_field(party: &ParticipantId) -> String {
    format!("tseq/{party}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::testing::{draft, encode_at},
        domain::Digest,
    };

    #[test]
    fn a_commitment_is_the_documented_hash_so_that_others_can_check_it() {
        let opening = Opening { field: "ip".into(), party: None, salt: [7; 32], value: "192.0.2.7".into() };
        let input = [b"odh/c1", &[7; 32][..], b"ip\x1f192.0.2.7"].concat();
        assert_eq!(opening.commitment(), Digest::of(&input).0);
    }

    #[test]
    fn every_opening_opens_its_own_commitment_and_only_as_it_was_made() {
        let leaf = encode_at(&draft(), 7).unwrap();
        let fields: Vec<_> = leaf.openings.iter().map(|o| (o.field.as_str(), o.party.is_some())).collect();
        let expected = [("member", false), ("sql", false), ("ip", false), ("tseq/chu", true), ("tseq/lab", true)];
        assert_eq!(fields, expected);
        assert_eq!(leaf.openings[3].value, "90");
        for opening in &leaf.openings {
            assert!(check_opening(&leaf.bytes, opening));
            assert!(!check_opening(&leaf.bytes, &Opening { value: "other".into(), ..opening.clone() }));
            assert!(!check_opening(&leaf.bytes, &Opening { salt: [0; 32], ..opening.clone() }));
            assert!(!check_opening(&leaf.bytes, &Opening { field: "other".into(), ..opening.clone() }));
            assert!(!check_opening(&encode_at(&draft(), 7).unwrap().bytes, opening));
            assert!(!format!("{opening:?}").contains(&opening.value) || opening.party.is_some());
        }
        let other_party = Opening { party: Some("lab".parse().unwrap()), ..leaf.openings[3].clone() };
        assert!(!check_opening(&leaf.bytes, &other_party));
    }
}
