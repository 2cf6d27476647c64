//! The two formats of a test file, as they are written. Unknown keys are refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::super::manifest;
use crate::{
    domain::{
        Action, Clause, Duty, How, Kind, LegalBasis, Name, ParticipantId, ParticipantState, Policy, PurposeSlug, Role,
        Text, Timestamp,
    },
    error::Result,
};

/// A test file.
pub(super) enum File {
    Usage(Box<UsageFile>),
    Roles(RolesFile),
}

/// Reads a file; the key `hub` makes it one about roles.
pub(super) fn parse(text: &str) -> Result<File> {
    #[derive(Deserialize)]
    struct Probe {
        hub: Option<IgnoredAny>,
    }
    let probe: Probe = manifest::read(text)?;
    Ok(match probe.hub {
        None => File::Usage(Box::new(manifest::read(text)?)),
        Some(_) => File::Roles(manifest::read(text)?),
    })
}

/// A test of a usage policy.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UsageFile {
    pub(super) policy: Source,
    /// Every column of the dataset: what a request is for that names none.
    #[serde(default)]
    pub(super) columns: BTreeSet<String>,
    /// When a request is made that does not say.
    pub(super) at: Option<Timestamp>,
    pub(super) participants: BTreeMap<String, Participant>,
    pub(super) cases: Vec<Case>,
}

/// The policy, or where its manifest lies.
#[derive(Debug)]
pub(super) enum Source {
    Path(String),
    Inline(Box<Policy>),
}

/// Who asks. What is left out is unknown to the hub.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Participant {
    /// Its id; by default its name in this file.
    pub(super) id: Option<ParticipantId>,
    pub(super) kind: Option<Kind>,
    pub(super) sector: Option<String>,
    pub(super) country: Option<String>,
    pub(super) accreditations: Option<BTreeSet<String>>,
    /// Those of the member who asks.
    pub(super) roles: Option<BTreeSet<Role>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) request: Request,
    pub(super) decision: Verdict,
    /// The rule that permits; of a denial the one that denies, or with `first_failed` the one that misses.
    pub(super) rule: Option<Name>,
    pub(super) first_failed: Option<Clause>,
    /// The clause for which the deny fires, since the hub does not know what it asks for.
    pub(super) unknown: Option<Clause>,
    pub(super) obligations: Option<Obligations>,
    /// What the requester is told.
    #[serde(default)]
    pub(super) explanation: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    pub(super) by: String,
    pub(super) action: Action,
    pub(super) purpose: Option<PurposeSlug>,
    pub(super) columns: Option<BTreeSet<String>>,
    pub(super) at: Option<Timestamp>,
    /// The rule that the grant cites.
    pub(super) grant: Option<Name>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Permit,
    Deny,
}

/// All of them: what is left out must not be there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Obligations {
    #[serde(default)]
    pub(super) how: How,
    #[serde(default)]
    pub(super) duties: Vec<Duty>,
    pub(super) legal_basis: Option<LegalBasis>,
}

/// A test of the hub's roles.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RolesFile {
    /// The participant that operates the hub.
    pub(super) hub: ParticipantId,
    pub(super) members: BTreeMap<String, Member>,
    pub(super) cases: Vec<RolesCase>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Member {
    pub(super) participant: ParticipantId,
    #[serde(default)]
    pub(super) roles: BTreeSet<Role>,
    #[serde(default = "active")]
    pub(super) state: ParticipantState,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RolesCase {
    pub(super) name: String,
    pub(super) by: String,
    /// On what belongs to this participant; left out, on the hub as a whole.
    #[serde(rename = "in")]
    pub(super) domain: Option<ParticipantId>,
    /// Acts by family.
    #[serde(default)]
    pub(super) may: BTreeMap<String, BTreeSet<String>>,
    #[serde(default)]
    pub(super) may_not: BTreeMap<String, BTreeSet<String>>,
    /// Whether every act that `may` does not name must be refused.
    #[serde(default)]
    pub(super) nothing_else: bool,
}

const fn active() -> ParticipantState {
    ParticipantState::Active
}

/// By hand: derived for an untagged enum, a mistake in the policy would be told without its place.
impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Source;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a policy, or the path of a manifest")
            }

            fn visit_str<E>(self, path: &str) -> Result<Source, E> {
                Ok(Source::Path(path.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Source, A::Error> {
                Policy::deserialize(MapAccessDeserializer::new(map)).map(|policy| Source::Inline(Box::new(policy)))
            }
        }

        deserializer.deserialize_any(Either)
    }
}
