//! A place in a document: its value, the pointer to it, and the refusal that names it.

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Value as Json};

use crate::error::{Error, Reason, Result};

/// The refusal of whatever stands at `pointer` (RFC 6901; empty means the whole document).
pub(super) fn refuse(pointer: impl fmt::Display, detail: impl fmt::Display) -> Error {
    Error::new(Reason::PolicyInvalid).with("path", pointer).with("detail", detail)
}

/// One step of a pointer: `/` and the key with `~` and `/` escaped.
pub(super) fn escape(key: &str) -> String {
    format!("/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// A word of the document as it may be repeated in a refusal.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    pub(super) json: &'a Json,
    pointer: String,
}

impl<'a> Node<'a> {
    pub(super) const fn root(json: &'a Json) -> Self {
        Self { json, pointer: String::new() }
    }

    pub(super) fn refuse(&self, detail: impl fmt::Display) -> Error {
        refuse(&self.pointer, detail)
    }

    /// Refuses what stands at `pointer` below this place.
    pub(super) fn refuse_below(&self, pointer: &str, detail: impl fmt::Display) -> Error {
        refuse(format_args!("{}{pointer}", self.pointer), detail)
    }

    fn below(&self, key: &str, json: &'a Json) -> Self {
        Self { json, pointer: format!("{}{}", self.pointer, escape(key)) }
    }

    pub(super) fn text(&self) -> Result<&'a str> {
        self.json.as_str().ok_or_else(|| self.refuse("a text is expected"))
    }

    /// Refuses every text but `expected`.
    pub(super) fn must_be(&self, expected: &str) -> Result<()> {
        if self.text()? == expected {
            Ok(())
        } else {
            Err(self.refuse(format_args!("only `{expected}` is known here")))
        }
    }

    pub(super) fn items(&self) -> Result<Vec<Node<'a>>> {
        let items = self.json.as_array().ok_or_else(|| self.refuse("a list is expected"))?;
        Ok(items.iter().enumerate().map(|(index, item)| self.below(&index.to_string(), item)).collect())
    }

    /// The members, each of which must be taken: see [`Fields::finish`].
    pub(super) fn fields(&self) -> Result<Fields<'a>> {
        let map = self.json.as_object().ok_or_else(|| self.refuse("an object is expected"))?;
        Ok(Fields { node: self.clone(), left: map.iter().map(|(key, value)| (key.as_str(), value)).collect(), map })
    }
}

/// The members of an object that nobody has read yet.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    node: Node<'a>,
    left: BTreeMap<&'a str, &'a Json>,
    map: &'a Map<String, Json>,
}

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, key: &str) -> Option<Node<'a>> {
        self.left.remove(key).map(|json| self.node.below(key, json))
    }

    pub(super) fn need(&mut self, key: &str) -> Result<Node<'a>> {
        self.take(key).ok_or_else(|| self.node.refuse_below(&escape(key), "is missing"))
    }

    /// Whether the object has this member, read or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// Refuses the first member that nobody knew.
    pub(super) fn finish(self) -> Result<()> {
        match self.left.into_iter().next() {
            None => Ok(()),
            Some((key, json)) => {
                Err(self.node.below(key, json).refuse(format_args!("`{}` is no term of the profile here", shown(key))))
            }
        }
    }
}

/// Where two values first differ, as a pointer below both; none if they are equal.
pub(super) fn difference(one: &Json, other: &Json) -> Option<String> {
    match (one, other) {
        (Json::Object(a), Json::Object(b)) => a.keys().chain(b.keys()).find_map(|key| match (a.get(key), b.get(key)) {
            (Some(a), Some(b)) => difference(a, b).map(|rest| format!("{}{rest}", escape(key))),
            _ => Some(escape(key)),
        }),
        (Json::Array(a), Json::Array(b)) => {
            let pairs = a.iter().zip(b).enumerate();
            let inside = pairs.into_iter().find_map(|(index, (a, b))| Some(format!("/{index}{}", difference(a, b)?)));
            inside.or_else(|| (a.len() != b.len()).then(String::new))
        }
        _ => (one != other).then(String::new),
    }
}
