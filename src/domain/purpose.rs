//! Purposes of use: a versioned selection of the W3C Data Privacy Vocabulary with its multi-parent hierarchy.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::Name;
use crate::error::{Error, Reason};

/// The short name of a purpose, for example `scientific_research`; in Flight SQL the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PurposeSlug(Name);

impl PurposeSlug {
    /// The slug as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for PurposeSlug {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.parse().map(Self)
    }
}

impl fmt::Display for PurposeSlug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A purpose of the vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purpose {
    /// Its short name.
    pub slug: PurposeSlug,
    /// Its IRI, for example `https://w3id.org/dpv#ScientificResearch`.
    pub iri: String,
    /// The purposes it is a special case of; a purpose can have several.
    pub parents: BTreeSet<PurposeSlug>,
    /// Its name in French.
    pub label_fr: String,
    /// Its name in English.
    pub label_en: String,
}

/// The purposes that the hub knows. Built by `policy::vocabulary` from `policies/vocab`, checked to be acyclic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    /// The version, as named in the file.
    pub version: String,
    purposes: BTreeMap<PurposeSlug, Purpose>,
    /// Each purpose with itself and everything above it.
    closure: BTreeMap<PurposeSlug, BTreeSet<PurposeSlug>>,
}

impl Vocabulary {
    /// Checks that every parent exists and that there is no cycle.
    pub fn new(version: String, purposes: Vec<Purpose>) -> Result<Self, Error> {
        let purposes: BTreeMap<_, _> = purposes.into_iter().map(|p| (p.slug.clone(), p)).collect();
        let mut closure = BTreeMap::new();
        for slug in purposes.keys() {
            let mut above = BTreeSet::new();
            let mut open = vec![slug];
            while let Some(next) = open.pop() {
                let purpose =
                    purposes.get(next).ok_or_else(|| Error::new(Reason::PurposeUnknown).with("purpose", next))?;
                if purpose.parents.contains(slug) {
                    return Err(Error::invalid("vocabulary", format!("`{slug}` is its own ancestor")));
                }
                if above.insert(next.clone()) {
                    open.extend(&purpose.parents);
                }
            }
            closure.insert(slug.clone(), above);
        }
        Ok(Self { version, purposes, closure })
    }

    /// Every purpose, by slug.
    pub fn purposes(&self) -> impl Iterator<Item = &Purpose> {
        self.purposes.values()
    }

    /// The purpose, or a refusal that names it.
    pub fn require(&self, slug: &PurposeSlug) -> Result<&Purpose, Error> {
        self.purposes.get(slug).ok_or_else(|| Error::new(Reason::PurposeUnknown).with("purpose", slug))
    }

    /// The purpose itself and everything it is a special case of. Empty for an unknown purpose.
    pub fn ancestors(&self, slug: &PurposeSlug) -> impl Iterator<Item = &PurposeSlug> {
        self.closure.get(slug).into_iter().flatten()
    }

    /// Whether a permission or consent for `general` covers use for `special`: itself or a descendant, never above.
    pub fn covers(&self, general: &PurposeSlug, special: &PurposeSlug) -> bool {
        self.closure.get(special).is_some_and(|above| above.contains(general))
    }
}
