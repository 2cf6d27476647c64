//! Leaves: how an entry is written in the log.
//!
//! A leaf is RFC 8785 JSON without floats, 64-bit integers as strings, on one line. Whatever is personal or belongs
//! to one party alone stands in it as a salted commitment; its [`Opening`] goes to a table that can be erased
//! without touching any proof. The nonce `n` keeps a leaf's hash from telling anything about the leaf.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::{
    opening::{Opening, is_secret_name, random},
    tree::{Hash, leaf_hash},
};
use crate::{
    domain::{DatasetId, EntryDraft, ParticipantId, PurposeSlug, Timestamp},
    error::{Error, Reason, Result},
};

/// The largest leaf in bytes. The tile format allows 65,535; what is bigger goes into a leaf by its digest.
pub const MAX_LEAF: usize = 16 * 1024;

pub(super) const VERSION: &str = "odh.audit/1";
/// The commitment of the acting member.
const MEMBER: &str = "member";
/// The largest integer that every JSON reader gets exactly (RFC 7493 section 2.2): 2^53 - 1.
const MAX_INTEGER: u64 = (1 << 53) - 1;
/// How deep facts may nest.
const MAX_DEPTH: usize = 8;

/// What the sequencer adds to a draft when it gives it its place.
#[derive(Debug, Clone, Copy)]
pub struct LeafContext<'a> {
    /// The log's origin.
    pub origin: &'a str,
    /// The entry's index.
    pub index: u64,
    /// The entry's id, a UUIDv7.
    pub id: Uuid,
    /// When it was sequenced.
    pub at: Timestamp,
    /// The gap-free counter of each party of the draft, and of nobody else.
    pub counters: &'a BTreeMap<ParticipantId, u64>,
}

/// An encoded entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// What is hashed, stored and exported, byte for byte.
    pub bytes: Vec<u8>,
    /// The RFC 6962 hash of the bytes.
    pub hash: Hash,
    /// What opens the commitments in it.
    pub openings: Vec<Opening>,
}

/// Makes the leaf of `draft` at the place that `ctx` gives it, with fresh salts and a fresh nonce.
///
/// Fails if it would exceed [`MAX_LEAF`], if a fact holds a float, an integer that JSON cannot carry exactly or too
/// many levels, if two secrets share a name, or if the counters are not those of the draft's parties.
pub fn encode(draft: &EntryDraft, ctx: &LeafContext<'_>) -> Result<Leaf> {
    if let Some(problem) = problem(draft, ctx) {
        return Err(Error::internal(format!("an entry of kind {} {problem}", draft.kind.as_str())));
    }
    let mut openings = Vec::new();
    let mut c = BTreeMap::new();
    let member = draft.member.map(|member| (MEMBER, member.to_string()));
    let secrets = draft.secrets.iter().map(|(name, value)| (*name, value.clone()));
    for (name, value) in member.into_iter().chain(secrets) {
        let opening = Opening::of_secret(name, value)?;
        c.insert(name.to_owned(), URL_SAFE_NO_PAD.encode(opening.commitment()));
        openings.push(opening);
    }
    let mut tseq = BTreeMap::new();
    for (party, counter) in ctx.counters {
        let opening = Opening::of_counter(party, *counter)?;
        tseq.insert(party.clone(), URL_SAFE_NO_PAD.encode(opening.commitment()));
        openings.push(opening);
    }
    let wire = Wire {
        actor: draft.actor.clone(),
        c,
        ds: draft.dataset.clone(),
        f: Cow::Borrowed(&draft.facts),
        fence: draft.fence.map(|size| size.to_string()),
        i: ctx.index.to_string(),
        id: ctx.id.as_hyphenated().to_string(),
        log: Cow::Borrowed(ctx.origin),
        n: URL_SAFE_NO_PAD.encode(random::<16>()?),
        parties: Cow::Borrowed(&draft.parties),
        purpose: draft.purpose.clone(),
        t: Cow::Borrowed(draft.kind.as_str()),
        ts: ctx.at,
        tseq,
        v: Cow::Borrowed(VERSION),
    };
    let bytes = wire.canonical().ok_or_else(|| Error::internal("an entry has no canonical JSON"))?;
    if bytes.len() > MAX_LEAF {
        return Err(Error::new(Reason::MessageTooLarge).with("limit", MAX_LEAF));
    }
    Ok(Leaf { hash: leaf_hash(&bytes), bytes, openings })
}

/// The JSON of a leaf, its members in the order of RFC 8785.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wire<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) actor: Option<ParticipantId>,
    pub(super) c: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ds: Option<DatasetId>,
    pub(super) f: Cow<'a, Map<String, Json>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fence: Option<String>,
    pub(super) i: String,
    pub(super) id: String,
    pub(super) log: Cow<'a, str>,
    pub(super) n: String,
    pub(super) parties: Cow<'a, BTreeSet<ParticipantId>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) purpose: Option<PurposeSlug>,
    pub(super) t: Cow<'a, str>,
    pub(super) ts: Timestamp,
    pub(super) tseq: BTreeMap<ParticipantId, String>,
    pub(super) v: Cow<'a, str>,
}

impl Wire<'_> {
    /// The one text of this leaf. Fails on no value that can be built.
    ///
    /// Members and maps are in order already, but for names in facts that bytes sort otherwise than UTF-16 does; escapes
    /// are the same in both libraries, and there are no floats. So nearly always the plain writer gives the canonical text
    /// in a third of the time; a property below holds that.
    pub(super) fn canonical(&self) -> Option<Vec<u8>> {
        if is_ordered(&self.f) { serde_json::to_vec(self).ok() } else { serde_json_canonicalizer::to_vec(self).ok() }
    }
}

/// Whether names come in the order of RFC 8785 section 3.2.3 as they are.
fn is_ordered(facts: &Map<String, Json>) -> bool {
    facts.keys().all(|name| name.is_ascii()) && facts.keys().is_sorted() && facts.values().all(is_ordered_value)
}

fn is_ordered_value(value: &Json) -> bool {
    match value {
        Json::Object(members) => is_ordered(members),
        Json::Array(items) => items.iter().all(is_ordered_value),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => true,
    }
}

/// What keeps a draft from becoming a leaf: always a mistake of the hub's own code.
fn problem(draft: &EntryDraft, ctx: &LeafContext<'_>) -> Option<&'static str> {
    let names: BTreeSet<_> = draft.secrets.iter().map(|(name, _)| *name).collect();
    if names.len() != draft.secrets.len() || names.contains(MEMBER) {
        return Some("has two secrets of one name");
    }
    if !names.into_iter().all(is_secret_name) {
        return Some("has a secret whose name is not an identifier");
    }
    if !ctx.counters.keys().eq(&draft.parties) {
        return Some("has counters that are not those of its parties");
    }
    if ctx.at.to_string().parse() != Ok(ctx.at) {
        return Some("is at an instant that has no RFC 3339 form");
    }
    fact_problem(&draft.facts)
}

/// What keeps these facts out of a leaf.
pub(super) fn fact_problem(facts: &Map<String, Json>) -> Option<&'static str> {
    members_problem(facts, MAX_DEPTH)
}

fn members_problem(facts: &Map<String, Json>, depth: usize) -> Option<&'static str> {
    facts.values().find_map(|value| value_problem(value, depth))
}

fn value_problem(value: &Json, depth: usize) -> Option<&'static str> {
    match value {
        Json::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(n), _) if n <= MAX_INTEGER => None,
            (_, Some(n)) if n.unsigned_abs() <= MAX_INTEGER => None,
            (None, None) => Some("has a fact that is a float"),
            _ => Some("has a fact that is an integer beyond what JSON carries exactly"),
        },
        Json::Array(_) | Json::Object(_) if depth == 0 => Some("has a fact that is nested too deeply"),
        Json::Array(items) => items.iter().find_map(|item| value_problem(item, depth - 1)),
        Json::Object(members) => members_problem(members, depth - 1),
        Json::Null | Json::Bool(_) | Json::String(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{
        audit::{
            LeafView,
            testing::{NOW, draft, encode_at},
        },
        domain::EntryKind,
    };

    #[test]
    fn a_leaf_has_the_documented_keys_in_canonical_order_on_one_line() {
        let leaf = encode_at(&draft(), 7).unwrap();
        let text = String::from_utf8(leaf.bytes.clone()).unwrap();
        assert!(text.starts_with(r#"{"actor":"lab","c":{"ip":""#), "{text}");
        assert!(!text.contains('\n') && !text.contains("Ada") && !text.contains("192.0.2.7"));
        let json: Json = serde_json::from_str(&text).unwrap();
        assert_eq!(json["v"], "odh.audit/1");
        assert_eq!(json["t"], "query.decision");
        assert_eq!(json["i"], "7");
        assert_eq!(json["ts"], NOW.to_string());
        assert_eq!(json["log"], "hub.example/audit");
        assert_eq!(json["parties"], json!(["chu", "lab"]));
        assert_eq!(json["ds"], "chu.stays");
        assert_eq!(json["purpose"], "scientific_research");
        assert_eq!(json["fence"], "70123");
        assert_eq!(json["f"], json!({"decision": "permit", "rows": 12, "why": ["consent", {"grant": null}]}));
        assert_eq!(json["c"].as_object().unwrap().len(), 3);
        assert_eq!(json["tseq"].as_object().unwrap().len(), 2);
        assert_eq!(leaf.hash, leaf_hash(&leaf.bytes));
    }

    #[test]
    fn the_same_entry_never_has_the_same_leaf_twice() {
        let bare = EntryDraft::new(EntryKind::HubInitialised);
        let counters = BTreeMap::new();
        let ctx = LeafContext { origin: "o", index: 0, id: Uuid::nil(), at: NOW, counters: &counters };
        assert_ne!(encode(&bare, &ctx).unwrap().hash, encode(&bare, &ctx).unwrap().hash);
    }

    #[test]
    fn facts_that_json_cannot_carry_exactly_are_refused() {
        let nested = |depth| (0..depth).fold(json!(1), |value, _| json!([value]));
        let with = |value: Json| encode_at(&draft().fact("x", value), 0);
        for good in [json!(9_007_199_254_740_991_u64), json!(-9_007_199_254_740_991_i64), nested(8)] {
            LeafView::parse(&with(good).unwrap().bytes).unwrap();
        }
        for bad in [
            json!(1.5),
            json!(1.0),
            json!(9_007_199_254_740_992_u64),
            json!(-9_007_199_254_740_992_i64),
            json!(u64::MAX),
            json!({"deep": [0.5]}),
            nested(9),
        ] {
            assert!(with(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn drafts_that_cannot_be_leaves_are_refused() {
        assert_eq!(
            encode_at(&draft().fact("x", "y".repeat(MAX_LEAF)), 0).unwrap_err().reason(),
            Reason::MessageTooLarge
        );
        assert!(encode_at(&draft().secret("ip", "again"), 0).is_err());
        assert!(encode_at(&draft().secret("member", "someone"), 0).is_err());
        assert!(encode_at(&draft().secret("tseq/chu", "1"), 0).is_err());
        let counters = BTreeMap::from([("chu".parse().unwrap(), 1)]);
        let ctx = LeafContext { origin: "o", index: 0, id: Uuid::nil(), at: NOW, counters: &counters };
        assert!(encode(&draft(), &ctx).is_err());
        let late = LeafContext { at: Timestamp::from_micros(i64::MAX), counters: &BTreeMap::new(), ..ctx };
        assert!(encode(&EntryDraft::new(EntryKind::HubInitialised), &late).is_err());
    }

    proptest! {
        #[test]
        fn any_text_survives_as_a_fact(name in ".{0,20}", value in ".{0,200}") {
            let leaf = encode_at(&draft().fact(&name, value.as_str()), 3).unwrap();
            let view = LeafView::parse(&leaf.bytes).unwrap();
            prop_assert_eq!(view.facts[&name].as_str(), Some(value.as_str()));
        }

        #[test]
        fn the_text_is_that_of_rfc_8785_whatever_the_facts(
            facts in prop::collection::btree_map(".{0,6}", (".{0,40}", any::<i32>()), 0..8),
            secret in "\\PC{0,40}",
        ) {
            let draft = facts.into_iter().fold(draft().secret("note", secret), |draft, (name, (text, number))| {
                draft.fact(&name, json!({name.as_str(): [text, number, true, null], "\u{ffff}": 0, "\u{10000}": 1}))
            });
            let leaf = encode_at(&draft, 3).unwrap();
            let value: Json = serde_json::from_slice(&leaf.bytes).unwrap();
            prop_assert_eq!(&leaf.bytes, &serde_json_canonicalizer::to_vec(&value).unwrap());
            LeafView::parse(&leaf.bytes).unwrap();
        }

        #[test]
        fn the_text_of_plain_facts_is_that_of_rfc_8785(
            facts in prop::collection::btree_map("[ -~]{0,6}", (".{0,40}", any::<i32>()), 0..8),
        ) {
            let draft = facts.into_iter().fold(draft(), |draft, (name, (text, number))| {
                draft.fact(&name, json!({name.as_str(): [text, number, {"b": "\u{7f}\u{1}", "a": []}]}))
            });
            prop_assert!(is_ordered(&draft.facts));
            let leaf = encode_at(&draft, 3).unwrap();
            let value: Json = serde_json::from_slice(&leaf.bytes).unwrap();
            prop_assert_eq!(&leaf.bytes, &serde_json_canonicalizer::to_vec(&value).unwrap());
        }
    }
}
