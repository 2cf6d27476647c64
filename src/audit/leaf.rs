//! Leaves: what an entry looks like in the log, and what may be opened of it.
//!
//! A leaf is RFC 8785 JSON without floats, 64-bit integers as strings, on one line. Whatever is personal or belongs
//! to one party alone stands in it as a salted commitment; its [`Opening`] goes to a table that can be erased
//! without touching any proof. The nonce `n` keeps a leaf's hash from telling anything about the leaf.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::{
    proof::decimal,
    tree::{Hash, leaf_hash, sha256},
};
use crate::{
    domain::{DatasetId, EntryDraft, EntryKind, Name, ParticipantId, PurposeSlug, Timestamp},
    error::{Error, Reason, Result},
};

/// The largest leaf in bytes. The tile format allows 65,535; what is bigger goes into a leaf by its digest.
pub const MAX_LEAF: usize = 16 * 1024;

const VERSION: &str = "odh.audit/1";
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
        let opening = Opening { field: name.to_owned(), party: None, salt: random()?, value };
        c.insert(name.to_owned(), text(&opening.commitment()));
        openings.push(opening);
    }
    let mut tseq = BTreeMap::new();
    for (party, counter) in ctx.counters {
        let field = counter_field(party);
        let opening = Opening { field, party: Some(party.clone()), salt: random()?, value: counter.to_string() };
        tseq.insert(party.clone(), text(&opening.commitment()));
        openings.push(opening);
    }
    let wire = Wire {
        v: VERSION.to_owned(),
        t: draft.kind.as_str().to_owned(),
        i: ctx.index.to_string(),
        id: ctx.id.as_hyphenated().to_string(),
        ts: ctx.at,
        log: ctx.origin.to_owned(),
        actor: draft.actor.clone(),
        parties: draft.parties.clone(),
        ds: draft.dataset.clone(),
        purpose: draft.purpose.clone(),
        fence: draft.fence.map(|size| size.to_string()),
        f: draft.facts.clone(),
        c,
        tseq,
        n: URL_SAFE_NO_PAD.encode(random::<16>()?),
    };
    let bytes = wire.canonical().ok_or_else(|| Error::internal("an entry has no canonical JSON"))?;
    if bytes.len() > MAX_LEAF {
        return Err(Error::new(Reason::MessageTooLarge).with("limit", MAX_LEAF));
    }
    Ok(Leaf { hash: leaf_hash(&bytes), bytes, openings })
}

/// Whether `opening` opens a commitment of this leaf.
pub fn check_opening(leaf: &[u8], opening: &Opening) -> bool {
    let Ok(view) = LeafView::parse(leaf) else { return false };
    let committed = match &opening.party {
        Some(party) if opening.field == counter_field(party) => view.counters.get(party),
        Some(_) => None,
        None => view.commitments.get(&opening.field),
    };
    committed.is_some_and(|hash| *hash == opening.commitment())
}

impl LeafView {
    /// Reads a leaf. Refuses unknown keys and kinds, and whatever is not in the one form that [`encode`] writes.
    pub fn parse(leaf: &[u8]) -> Result<Self> {
        let malformed = || Error::invalid("leaf", "not an entry of this log's format");
        if leaf.len() > MAX_LEAF {
            return Err(malformed());
        }
        let wire: Wire = serde_json::from_slice(leaf).map_err(|_| malformed())?;
        let kind = EntryKind::ALL.iter().find(|kind| kind.as_str() == wire.t);
        let nonce = URL_SAFE_NO_PAD.decode(&wire.n).ok().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        let names_are_good = wire.c.keys().all(|name| is_secret_name(name));
        // One text per entry: this catches repeated keys, white space, other escapes and other forms of an id.
        let in_one_form = fact_problem(&wire.f, MAX_DEPTH).is_none() && wire.canonical().as_deref() == Some(leaf);
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
            origin: wire.log,
            actor: wire.actor,
            parties: wire.parties,
            dataset: wire.ds,
            purpose: wire.purpose,
            fence,
            facts: wire.f,
            commitments: hashes(wire.c).ok_or_else(malformed)?,
            counters: hashes(wire.tseq).ok_or_else(malformed)?,
        })
    }
}

impl Opening {
    /// SHA-256 of `odh/c1`, salt, field, 0x1f and value. No field has a 0x1f, so the two cannot run into each other.
    fn commitment(&self) -> Hash {
        sha256(&[b"odh/c1", &self.salt, self.field.as_bytes(), &[0x1f], self.value.as_bytes()])
    }
}

/// The JSON of a leaf.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    v: String,
    t: String,
    i: String,
    id: String,
    ts: Timestamp,
    log: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor: Option<ParticipantId>,
    parties: BTreeSet<ParticipantId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ds: Option<DatasetId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    purpose: Option<PurposeSlug>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fence: Option<String>,
    f: Map<String, Json>,
    c: BTreeMap<String, String>,
    tseq: BTreeMap<ParticipantId, String>,
    n: String,
}

impl Wire {
    fn canonical(&self) -> Option<Vec<u8>> {
        serde_json_canonicalizer::to_vec(self).ok()
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
    fact_problem(&draft.facts, MAX_DEPTH)
}

fn fact_problem(facts: &Map<String, Json>, depth: usize) -> Option<&'static str> {
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
        Json::Object(members) => fact_problem(members, depth - 1),
        Json::Null | Json::Bool(_) | Json::String(_) => None,
    }
}

/// Names of secrets are identifiers, so none can be that of a counter.
fn is_secret_name(name: &str) -> bool {
    name.parse::<Name>().is_ok()
}

fn counter_field(party: &ParticipantId) -> String {
    format!("tseq/{party}")
}

fn text(hash: &Hash) -> String {
    URL_SAFE_NO_PAD.encode(hash)
}

fn hashes<K: Ord>(texts: BTreeMap<K, String>) -> Option<BTreeMap<K, Hash>> {
    texts.into_iter().map(|(key, text)| Some((key, URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?))).collect()
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::internal("the system has no randomness to give"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{audit::testing::flip, domain::MemberId};

    const NOW: Timestamp = Timestamp::from_micros(1_795_505_400_123_456);

    fn draft() -> EntryDraft {
        let mut draft = EntryDraft::new(EntryKind::QueryDecision)
            .about(&"chu.stays".parse().unwrap())
            .concerning(&"lab".parse().unwrap())
            .purpose(&"scientific_research".parse().unwrap())
            .fence(70_123)
            .fact("decision", "permit")
            .fact("rows", 12)
            .fact("why", json!(["consent", {"grant": null}]))
            .secret("sql", "SELECT 'Ada'")
            .secret("ip", "192.0.2.7");
        draft.actor = Some("lab".parse().unwrap());
        draft.member = Some(MemberId::generate(NOW));
        draft
    }

    fn encode_at(draft: &EntryDraft, index: u64) -> Result<Leaf> {
        let counters = draft.parties.iter().cloned().zip(90..).collect();
        let id = MemberId::generate(NOW).uuid();
        encode(draft, &LeafContext { origin: "hub.example/audit", index, id, at: NOW, counters: &counters })
    }

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
        fn any_text_survives_as_a_fact(name in ".{0,20}", value in ".{0,200}") {
            let leaf = encode_at(&draft().fact(&name, value.as_str()), 3).unwrap();
            prop_assert_eq!(LeafView::parse(&leaf.bytes).unwrap().facts[&name].as_str(), Some(value.as_str()));
        }

        #[test]
        fn a_damaged_leaf_is_refused_or_another_leaf_in_its_one_form(
            at in any::<prop::sample::Index>(), mask in 1_u8..,
        ) {
            let leaf = encode_at(&draft(), 7).unwrap();
            let damaged = flip(&leaf.bytes, at, mask);
            prop_assert_ne!(leaf_hash(&damaged), leaf.hash);
            if LeafView::parse(&damaged).is_ok() {
                let wire: Wire = serde_json::from_slice(&damaged).unwrap();
                prop_assert_eq!(wire.canonical(), Some(damaged));
            }
        }
    }
}
