//! Reading what a report needs of the lines of an export that has been verified.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
};

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::{audit::export::ENTRIES, cli::failure::Failure, domain::Timestamp};

/// An entry, as far as a report looks at it; kinds and facts of later versions are read, too.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Entry {
    #[serde(rename = "i", deserialize_with = "index")]
    pub(super) index: u64,
    #[serde(rename = "t")]
    pub(super) kind: String,
    #[serde(rename = "ts")]
    pub(super) at: Timestamp,
    #[serde(default)]
    pub(super) actor: Option<String>,
    #[serde(default, rename = "ds")]
    pub(super) dataset: Option<String>,
    #[serde(default)]
    pub(super) purpose: Option<String>,
    #[serde(default, rename = "f")]
    pub(super) facts: Map<String, Json>,
}

impl Entry {
    /// A fact that is text, or empty.
    pub(super) fn fact(&self, name: &str) -> &str {
        self.facts.get(name).and_then(Json::as_str).unwrap_or_default()
    }

    /// A fact that is a number, written as text like all 64-bit integers of a leaf.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.fact(name).parse().ok()
    }

    /// Whether it records that somebody was let at data.
    pub(super) fn is_access(&self) -> bool {
        self.kind.ends_with(".decision") && self.fact("decision") == "permit"
    }

    /// The grants that it rests on.
    pub(super) fn grants(&self) -> impl Iterator<Item = &str> {
        let used = self.facts.get("datasets").and_then(Json::as_array).into_iter().flatten();
        used.filter_map(|one| one.get("grant")?.as_str()).chain(self.facts.get("grant").and_then(Json::as_str))
    }

    /// The datasets that it is about.
    pub(super) fn datasets(&self) -> Vec<&str> {
        let used = self.facts.get("datasets").and_then(Json::as_array).into_iter().flatten();
        let mut all: Vec<_> = used.filter_map(|one| one.get("dataset")?.as_str()).collect();
        if all.is_empty() {
            all.extend(self.dataset.as_deref());
        }
        all
    }
}

/// Hands the entries of the export in `folder` to `read`, one at a time.
pub(super) fn read<T>(folder: &Path, read: impl FnOnce(&mut dyn Iterator<Item = Entry>) -> T) -> Result<T, Failure> {
    let path = folder.join(ENTRIES);
    let file = File::open(&path).map_err(|e| Failure::file(&path, &e))?;
    let mut failed = None;
    let mut entries = BufReader::new(file).lines().map_while(|line| {
        let entry = line.and_then(|line| serde_json::from_str(&line).map_err(std::io::Error::other));
        entry.map_err(|e| failed = Some(e)).ok()
    });
    let value = read(&mut entries);
    drop(entries);
    failed.map_or(Ok(value), |e| Err(Failure::file(&path, &e)))
}

fn index<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}
