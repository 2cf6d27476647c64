//! The values on the right of a constraint: plain texts, IRIs, typed literals, and structures as JSON literals.
//!
//! Each has one spelling. A literal that means the same in other words (`007`, a date with another offset, a member
//! that is the default) is refused, so that no token of a document is without effect.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value as Json, json};
use serde_path_to_error::Segment;

use super::node::{Node, difference, escape, shown};
use crate::error::{Error, Result};

/// A value with a type of XML Schema: `{"@type": "xsd:integer", "@value": "10"}`. Numbers are texts: the Dataspace
/// Protocol's schema knows no JSON number here.
pub(super) fn typed(kind: &str, value: impl fmt::Display) -> Json {
    json!({ "@type": format!("xsd:{kind}"), "@value": value.to_string() })
}

/// Reads what [`typed`] writes.
pub(super) fn read_typed<T: FromStr + fmt::Display>(node: &Node<'_>, kind: &str) -> Result<T> {
    let mut fields = node.fields()?;
    fields.need("@type")?.must_be(&format!("xsd:{kind}"))?;
    let value = fields.need("@value")?;
    fields.finish()?;
    let text = value.text()?;
    match text.parse::<T>() {
        Ok(read) if read.to_string() == text => Ok(read),
        Ok(read) => Err(value.refuse(format_args!("is to be written `{read}`"))),
        Err(_) => Err(value.refuse(format_args!("not an xsd:{kind} that is accepted here"))),
    }
}

/// An IRI that is a value.
pub(super) fn iri(text: impl fmt::Display) -> Json {
    json!({ "@id": text.to_string() })
}

/// Reads what [`iri`] writes.
pub(super) fn read_iri<'a>(node: &Node<'a>) -> Result<Node<'a>> {
    let mut fields = node.fields()?;
    let id = fields.need("@id")?;
    fields.finish()?;
    id.text()?;
    Ok(id)
}

/// A structure of the domain as a JSON literal (JSON-LD 1.1 section 4.2.2).
pub(super) fn json_literal(value: &impl Serialize) -> Result<Json> {
    let value = serde_json::to_value(value).map_err(Error::internal)?;
    Ok(json!({ "@type": "@json", "@value": value }))
}

/// Reads what [`json_literal`] writes; a refusal points into the structure.
pub(super) fn read_json_literal<T: Serialize + DeserializeOwned>(node: &Node<'_>) -> Result<T> {
    let mut fields = node.fields()?;
    fields.need("@type")?.must_be("@json")?;
    let value = fields.need("@value")?;
    fields.finish()?;
    let read: T = serde_path_to_error::deserialize(value.json).map_err(|error| {
        let (pointer, detail) = blame(value.json, &error);
        value.refuse_below(&pointer, detail)
    })?;
    let written = serde_json::to_value(&read).map_err(Error::internal)?;
    match difference(value.json, &written) {
        None => Ok(read),
        Some(pointer) => Err(value.refuse_below(&pointer, "means the same without it, or in other words")),
    }
}

/// Where a structure went wrong, and how.
fn blame(json: &Json, error: &serde_path_to_error::Error<serde_json::Error>) -> (String, String) {
    let mut pointer = String::new();
    for segment in error.path() {
        let step = match segment {
            Segment::Seq { index } => escape(&index.to_string()),
            Segment::Map { key } | Segment::Enum { variant: key } => escape(key),
            Segment::Unknown => break,
        };
        // A variant without content is a text, not a member: the pointer ends at it.
        if json.pointer(&format!("{pointer}{step}")).is_none() {
            break;
        }
        pointer += &step;
    }
    let said = error.inner().to_string();
    let named = said.split('`').nth(1).map(escape).filter(|_| said.starts_with("unknown "));
    if let Some(step) = named.filter(|step| json.pointer(&format!("{pointer}{step}")).is_some()) {
        pointer += &step;
    }
    (pointer, shown_words(&said))
}

/// The reader's words without what they quote at length.
fn shown_words(said: &str) -> String {
    if said.starts_with("data did not match any variant of untagged enum Value") {
        return "true, false, an integer or a text is expected".to_owned();
    }
    said.chars().take(300).collect()
}

/// Each item once.
pub(super) fn distinct<T: Ord>(items: impl IntoIterator<Item = Result<(T, Error)>>) -> Result<BTreeSet<T>> {
    let mut set = BTreeSet::new();
    for item in items {
        let (value, twice) = item?;
        if !set.insert(value) {
            return Err(twice);
        }
    }
    Ok(set)
}

/// A list of different texts.
pub(super) fn read_texts<T: Ord>(node: &Node<'_>, read: impl Fn(&str) -> Option<T>) -> Result<BTreeSet<T>> {
    let items = node.items()?;
    distinct(items.iter().map(|item| {
        let text = item.text()?;
        let value = read(text).ok_or_else(|| item.refuse(format_args!("`{}` is not known here", shown(text))))?;
        Ok((value, item.refuse("given twice")))
    }))
}
