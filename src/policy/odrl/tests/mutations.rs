//! Nothing in a document is without effect: a changed token is refused where it stands, or means another policy.

use proptest::{prelude::*, sample::Index};
use serde_json::{Value as Json, json};

use super::{super::*, *};
use crate::policy::{odrl::node::escape, testing::any_policy};

/// A document whose id is no digest, so that a change is not refused for the digest alone.
pub(super) fn document(policy: &Policy) -> Json {
    let id = format!("urn:odh:policy:{}", policy.digest());
    let text = to_odrl(policy, &VOCABULARY).unwrap().to_string();
    serde_json::from_str(&text.replace(&id, "urn:uuid:018f1e7c-0000-7000-8000-000000000001")).unwrap()
}

/// One changed token.
#[derive(Debug, Clone)]
enum Change {
    Replace(Json),
    Remove,
    /// A member without meaning is added.
    Add(&'static str, Json),
    /// A member gets another name.
    Rename(String),
    /// An item is there twice.
    Repeat(usize),
}

/// Every change of one token below `pointer`, with its place.
fn changes(json: &Json, pointer: &str, out: &mut Vec<(String, Change)>) {
    let replacements = match json {
        Json::String(text) => vec![json!(format!("{text}x")), json!(""), json!(1)],
        Json::Number(number) => vec![json!(number.to_string()), json!(number.as_i64().unwrap_or(0) ^ 1), json!(0.5)],
        Json::Bool(truth) => vec![json!(!truth), json!(truth.to_string())],
        Json::Null => vec![json!(0)],
        Json::Array(items) => vec![json!({}), items.first().cloned().unwrap_or_default()],
        Json::Object(_) => vec![json!([json]), json!("x"), json!({})],
    };
    let different = replacements.into_iter().filter(|replacement| replacement != json);
    out.extend(different.map(|replacement| (pointer.to_owned(), Change::Replace(replacement))));
    match json {
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let place = format!("{pointer}/{index}");
                out.push((pointer.to_owned(), Change::Repeat(index)));
                out.push((place.clone(), Change::Remove));
                changes(item, &place, out);
            }
        }
        Json::Object(fields) => {
            let more = [("unknown", json!("x")), ("@type", json!("x")), ("uid", json!("urn:x"))];
            let new = more.into_iter().filter(|(key, _)| !fields.contains_key(*key));
            out.extend(new.map(|(key, value)| (pointer.to_owned(), Change::Add(key, value))));
            for (key, value) in fields {
                let place = format!("{pointer}{}", escape(key));
                out.push((place.clone(), Change::Remove));
                out.push((pointer.to_owned(), Change::Rename(key.clone())));
                changes(value, &place, out);
            }
        }
        _ => {}
    }
}

fn apply(document: &Json, place: &str, change: &Change) -> Json {
    let mut mutant = document.clone();
    match change {
        Change::Replace(value) => *mutant.pointer_mut(place).unwrap() = value.clone(),
        Change::Add(key, value) => {
            mutant.pointer_mut(place).unwrap()[*key] = value.clone();
        }
        Change::Rename(key) => {
            let fields = mutant.pointer_mut(place).unwrap().as_object_mut().unwrap();
            let value = fields.remove(key).unwrap();
            fields.insert(format!("{key}x"), value);
        }
        Change::Repeat(index) => {
            let items = mutant.pointer_mut(place).unwrap().as_array_mut().unwrap();
            items.insert(*index, items[*index].clone());
        }
        Change::Remove => {
            let (parent, key) = place.rsplit_once('/').unwrap();
            match mutant.pointer_mut(parent).unwrap() {
                Json::Array(items) => drop(items.remove(key.parse().unwrap())),
                other => drop(other.as_object_mut().unwrap().remove(&key.replace("~1", "/").replace("~0", "~"))),
            }
        }
    }
    mutant
}

/// The refusal's place, or none if the mutant is another policy.
fn refused(mutant: &Json, original: &Policy, at: &str) -> Option<String> {
    match from_odrl(&mutant.to_string(), &VOCABULARY) {
        Ok(other) => {
            assert_ne!(&other, original, "a change at `{at}` has no effect");
            None
        }
        Err(error) => {
            let place = pointer(&error).to_owned();
            let parent = place.rsplit_once('/').map_or("", |(parent, _)| parent);
            assert!(mutant.pointer(&place).or_else(|| mutant.pointer(parent)).is_some(), "`{at}`: `{place}`: {error}");
            Some(place)
        }
    }
}

#[test]
fn every_changed_token_of_a_rich_document_is_refused_or_means_another_policy() {
    let document = document(&rich());
    let mut all = Vec::new();
    changes(&document, "", &mut all);
    // A few changes will do in the context, and in the copy of a rule with another action.
    let copy = |at: &str| at.starts_with("/@context/") || at.starts_with("/permission/1/");
    let few = all.iter().filter(|(at, _)| copy(at)).step_by(20);
    let (mut near, mut far, mut other) = (0, Vec::new(), 0);
    for (at, change) in all.iter().filter(|(at, _)| !copy(at)).chain(few) {
        match refused(&apply(&document, at, change), &rich(), at) {
            None => other += 1,
            // The refusal stands at the change or around it, or at what the change made inconsistent.
            Some(place) if place.starts_with(at) || at.starts_with(&place) => near += 1,
            Some(place) => far.push((at, place)),
        }
    }
    assert!(near > 1_000 && near > other, "{} changes: {near} refused at their place, {other} other", all.len());
    // A rule is written once for each action, and ids hang together; those are refused at the other copy.
    let lists = ["/permission/", "/prohibition/"];
    let copies = |at: &str, place: &str| lists.iter().any(|list| at.starts_with(list) && place.starts_with(list));
    let together = |at: &str, place: &str| at == "/@id" || at == "/target" || place.ends_with("/position");
    let strange: Vec<_> = far.iter().filter(|(at, place)| !copies(at, place) && !together(at, place)).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

#[test]
fn under_its_digest_no_token_can_change_at_all() {
    let document = to_odrl(&rich(), &VOCABULARY).unwrap();
    let mut all = Vec::new();
    changes(&document, "", &mut all);
    for (at, change) in all.into_iter().filter(|(at, _)| at != "/@id").step_by(17) {
        assert!(refused(&apply(&document, &at, &change), &rich(), &at).is_some(), "{at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_token_of_any_document_has_an_effect(policy in any_policy(purposes()), which: Index) {
        let document = document(&policy);
        let mut all = Vec::new();
        for key in ["permission", "prohibition", "floor"] {
            if let Some(part) = document.get(key) {
                changes(part, &format!("/{key}"), &mut all);
            }
        }
        let (at, change) = which.get(&all);
        refused(&apply(&document, at, change), &policy, at);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,400}", cut in any::<Index>(), byte in any::<u8>(), policy in any_policy(purposes())) {
        let _ = from_odrl(&text, &VOCABULARY);
        let mut bytes = to_odrl(&policy, &VOCABULARY).unwrap().to_string().into_bytes();
        let at = cut.index(bytes.len());
        bytes[at] = byte;
        let _ = from_odrl(&String::from_utf8_lossy(&bytes), &VOCABULARY);
        bytes.truncate(at);
        let _ = from_odrl(&String::from_utf8_lossy(&bytes), &VOCABULARY);
    }
}
