//! Reading leaves, strictly: for lists, searches, exports and whoever checks an opening.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::{
    leaf::{MAX_LEAF, VERSION, Wire, fact_problem},
    opening::is_secret_name,
    proof::decimal,
    tree::Hash,
};
use crate::{
    domain::{DatasetId, EntryKind, ParticipantId, PurposeSlug, Timestamp},
    error::{Error, Result},
};

/// A leaf as it can be read: for lists, searches and exports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafView {
    /// The entry's index.
    pub index: u64,
    /// What it records.
    pub kind: EntryKind,
    /// Its id.
    pub id: Uuid,
    /// When it was sequenced.
    pub at: Timestamp,
    /// The origin of its log.
    pub origin: String,
    /// The participant that acted; none for the hub itself.
    pub actor: Option<ParticipantId>,
    /// Every participant it concerns.
    pub parties: BTreeSet<ParticipantId>,
    /// The dataset it is about.
    pub dataset: Option<DatasetId>,
    /// The purpose it is about.
    pub purpose: Option<PurposeSlug>,
    /// The size of the log up to which a decision has taken policies and consents into account.
    pub fence: Option<u64>,
    /// The readable facts.
    pub facts: Map<String, Json>,
    /// The commitments to personal values, by name.
    pub commitments: BTreeMap<String, Hash>,
    /// The commitment to each party's counter.
    pub counters: BTreeMap<ParticipantId, Hash>,
}

impl LeafView {
    /// Reads a leaf. Refuses unknown keys and kinds, and whatever is not in the one form that [`super::encode`] writes.
    pub fn parse(leaf: &[u8]) -> Result<Self> {
        let malformed = || Error::invalid("leaf", "not an entry of this log's format");
        if leaf.len() > MAX_LEAF {
            return Err(malformed());
        }
        let wire: Wire<'_> = serde_json::from_slice(leaf).map_err(|_| malformed())?;
        let kind = EntryKind::ALL.iter().find(|kind| kind.as_str() == wire.t);
        let nonce = URL_SAFE_NO_PAD.decode(&wire.n).ok().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        let names_are_good = wire.c.keys().all(|name| is_secret_name(name));
        // One text per entry: this catches repeated keys, white space, other escapes and other forms of an id.
        let in_one_form = fact_problem(&wire.f).is_none() && wire.canonical().as_deref() == Some(leaf);
        let id = Uuid::try_parse(&wire.id).ok().filter(|id| id.as_hyphenated().to_string() == wire.id);
        let fence = wire.fence.as_deref().map(|size| decimal(size).ok_or_else(malformed)).transpose()?;
        if wire.v != VERSION || nonce.is_none() || !names_are_good || !in_one_form {
            return Err(malformed());
        }
        Ok(Self {
            index: decimal(&wire.i).ok_or_else(malformed)?,
            kind: *kind.ok_or_else(malformed)?,
            id: id.ok_or_else(malformed)?,
            at: wire.ts,
            origin: wire.log.into_owned(),
            actor: wire.actor,
            parties: wire.parties.into_owned(),
            dataset: wire.ds,
            purpose: wire.purpose,
            fence,
            facts: wire.f.into_owned(),
            commitments: hashes(wire.c).ok_or_else(malformed)?,
            counters: hashes(wire.tseq).ok_or_else(malformed)?,
        })
    }
}

fn hashes<K: Ord>(texts: BTreeMap<K, String>) -> Option<BTreeMap<K, Hash>> {
    texts.into_iter().map(|(key, text)| Some((key, URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        audit::{
            leaf_hash,
            testing::{NOW, draft, encode_at, flip},
        },
        domain::EntryDraft,
    };

    #[test]
    fn a_view_gives_back_what_went_into_the_leaf() {
        let draft = draft();
        let view = LeafView::parse(&encode_at(&draft, 7).unwrap().bytes).unwrap();
        assert_eq!((view.index, view.kind, view.at, view.fence), (7, draft.kind, NOW, draft.fence));
        assert_eq!((view.actor, view.dataset, view.purpose), (draft.actor, draft.dataset, draft.purpose));
        assert_eq!((view.parties, view.facts), (draft.parties, draft.facts));
        let bare = encode_at(&EntryDraft::new(EntryKind::HubInitialised), 0).unwrap();
        let view = LeafView::parse(&bare.bytes).unwrap();
        assert_eq!((view.actor, view.dataset, view.purpose, view.fence), (None, None, None, None));
    }

    #[test]
    fn a_view_refuses_what_encode_would_not_have_written() {
        let leaf = String::from_utf8(encode_at(&draft(), 7).unwrap().bytes).unwrap();
        for bad in [
            leaf.replacen('{', r#"{"a":1,"#, 1),
            leaf.replacen('{', "{ ", 1),
            leaf.replacen(r#""rows":12"#, r#""rows":11,"rows":12"#, 1),
            leaf.replacen(r#""rows":12"#, r#""rows":12.0"#, 1),
            leaf.replacen(r#""i":"7""#, r#""i":"07""#, 1),
            leaf.replacen(r#""i":"7""#, r#""i":7"#, 1),
            leaf.replacen("query.decision", "query.other", 1),
            leaf.replacen("odh.audit/1", "odh.audit/2", 1),
            leaf.replacen(r#"["chu","lab"]"#, r#"["lab","chu"]"#, 1),
            leaf.replacen(r#""fence":"70123","#, r#""fence":null,"#, 1),
            format!("{leaf}\n"),
            "[".repeat(10_000),
            String::new(),
        ] {
            assert!(LeafView::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_damaged_leaf_is_refused_or_another_leaf_in_its_one_form(
            at in any::<prop::sample::Index>(), mask in 1_u8..,
        ) {
            let leaf = encode_at(&draft(), 7).unwrap();
            let damaged = flip(&leaf.bytes, at, mask);
            prop_assert_ne!(leaf_hash(&damaged), leaf.hash);
            if LeafView::parse(&damaged).is_ok() {
                let wire: Wire<'_> = serde_json::from_slice(&damaged).unwrap();
                prop_assert_eq!(wire.canonical(), Some(damaged));
            }
        }
    }
}
