//! Entries for a SIEM: OCSF 1.3 "API Activity" (class 6003), one JSON object a line.
//!
//! A copy for searching and alerting, never the record itself: each event carries the log's origin, the index and the
//! leaf hash, by which it can be proven again.

use serde_json::{Map, Value as Json, json};

use crate::{
    audit::{Hash, LeafView},
    domain::{Digest, EntryKind, ParticipantId},
};

const VERSION: &str = "1.3.0";
const CATEGORY: u32 = 6;
const CLASS: u32 = 6_003;

/// The event of an entry, as one line with its newline.
pub(super) fn line(view: &LeafView, leaf_hash: &Hash) -> String {
    let activity = activity(view.kind);
    let actor = view.actor.as_ref().map_or("hub", |actor| actor.as_str());
    let reason = view.facts.get("reason").and_then(Json::as_str);
    let denied =
        view.facts.get("decision").and_then(Json::as_str) == Some("deny") || view.kind == EntryKind::CallDenied;
    let resources: Vec<Json> =
        view.dataset.iter().map(|dataset| json!({"type": "dataset", "uid": dataset.to_string()})).collect();
    let mut event = json!({
        "activity_id": activity,
        "actor": {"user": {"org": {"uid": actor}}},
        "api": {"operation": view.kind.as_str(), "service": {"name": "occitanie.datahub.v1"}},
        "category_uid": CATEGORY,
        "class_uid": CLASS,
        "metadata": {
            "log_name": view.origin,
            "product": {"name": "Occitanie Data hub", "vendor_name": "Occitanie Data hub"},
            "uid": view.id.to_string(),
            "version": VERSION,
        },
        "severity_id": if denied { 2 } else { 1 },
        "src_endpoint": {"name": actor},
        "status_id": if denied { 2 } else { 1 },
        "time": view.at.micros().div_euclid(1_000),
        "type_uid": CLASS * 100 + activity,
        "unmapped": {
            "facts": Json::Object(view.facts.clone()),
            "leaf_hash": Digest(*leaf_hash).hex(),
            "log_index": view.index,
            "log_origin": view.origin,
            "parties": view.parties.iter().map(ParticipantId::as_str).collect::<Vec<_>>(),
            "purpose": view.purpose.as_ref().map(ToString::to_string),
        },
    });
    if let Some(event) = event.as_object_mut() {
        add(event, "status_detail", reason.map(Json::from));
        add(event, "resources", (!resources.is_empty()).then_some(Json::Array(resources)));
    }
    format!("{event}\n")
}

fn add(event: &mut Map<String, Json>, name: &str, value: Option<Json>) {
    event.extend(value.map(|value| (name.to_owned(), value)));
}

/// OCSF knows creating, reading, updating and deleting; the rest is 99, "other".
fn activity(kind: EntryKind) -> u32 {
    match kind.as_str().rsplit('.').next().unwrap_or_default() {
        "created" | "invited" | "registered" | "issued" | "imported" | "requested" | "initialised" | "enrolled" => 1,
        "decision" | "outcome" | "exported" => 2,
        "updated" | "signed" | "approved" | "refused" | "published" | "suspended" | "retired" => 3,
        "revoked" | "withdrawn" | "erased" | "pruned" => 4,
        _ => 99,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        audit::{LeafContext, encode},
        domain::{EntryDraft, Timestamp},
    };

    fn event(draft: &EntryDraft) -> Json {
        let counters: BTreeMap<_, _> = draft.parties.iter().cloned().map(|party| (party, 0)).collect();
        let at = Timestamp::from_micros(1_795_505_400_123_456);
        let ctx = LeafContext { origin: "hub.example/audit", index: 7, id: uuid::Uuid::nil(), at, counters: &counters };
        let leaf = encode(draft, &ctx).unwrap();
        serde_json::from_str(&line(&LeafView::parse(&leaf.bytes).unwrap(), &leaf.hash)).unwrap()
    }

    #[test]
    fn an_event_has_what_its_class_requires_and_can_be_proven_again() {
        let draft = EntryDraft::new(EntryKind::QueryDecision)
            .about(&"chu.stays".parse().unwrap())
            .fact("decision", "deny")
            .fact("reason", "GRANT_REQUIRED");
        let event = event(&draft);
        assert_eq!((&event["class_uid"], &event["type_uid"]), (&6_003.into(), &600_302.into()));
        assert_eq!((&event["status_id"], &event["status_detail"]), (&2.into(), &"GRANT_REQUIRED".into()));
        assert_eq!((&event["unmapped"]["log_index"], &event["time"]), (&7.into(), &1_795_505_400_123_i64.into()));
        assert_eq!(event["resources"][0]["uid"], "chu.stays");
        for required in ["activity_id", "actor", "api", "category_uid", "metadata", "severity_id", "src_endpoint"] {
            assert!(!event[required].is_null(), "{required}");
        }
    }

    #[test]
    fn every_kind_has_an_activity_and_most_are_not_other() {
        let other = EntryKind::ALL.iter().filter(|kind| activity(**kind) == 99).count();
        assert!(other < EntryKind::ALL.len() / 4, "{other}");
    }
}
