//! Usage policies: who may do what with which columns of a dataset, why, when and how.
//!
//! A published policy is immutable and named by its [`Digest`]: SHA-256 of its RFC 8785 canonical JSON. The
//! same types are the manifest's, the store's and the API's model. Every term here is enforced or recorded as
//! a duty (P8); what the hub cannot enforce is not in the model and refused as an unknown field.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::{DatasetId, Filter, Kind, ParticipantId, PurposeSlug, Role, Timestamp, Value};
use crate::error::{Error, Reason};

/// A SHA-256 digest, written `sha256:` and 64 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        let mut out = [0; 32];
        out.copy_from_slice(hash.as_ref());
        Self(out)
    }

    /// The 64 hex digits without the prefix.
    pub fn hex(&self) -> String {
        self.0.iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let malformed = || Error::invalid("digest", "not `sha256:` followed by 64 lower-case hex digits");
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if hex.len() != 64 || !hex.bytes().all(lower_hex) {
            return Err(malformed());
        }
        let mut out = [0; 32];
        for (byte, pair) in out.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let pair = str::from_utf8(pair).map_err(|_| malformed())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| malformed())?;
        }
        Ok(Self(out))
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

/// A usage policy as its owner writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The dataset it governs.
    pub dataset: DatasetId,
    /// The rules; their order has no meaning, a deny wins over every permit.
    pub rules: Vec<Rule>,
    /// Applies to every use, the owner's own queries included, on top of the rule's own terms.
    #[serde(default, skip_serializing_if = "How::is_empty")]
    pub floor: How,
}

/// Whether a rule permits or denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Permits what matches.
    Permit,
    /// Denies what matches, whatever else permits it.
    Deny,
}

/// What is done with a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// See its entry in the catalog.
    Discover,
    /// Query its rows.
    Read,
    /// Query aggregates of its rows only.
    Aggregate,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 3] = [Self::Discover, Self::Read, Self::Aggregate];

    /// The name used in manifests, the store and rule sets.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Read => "read",
            Self::Aggregate => "aggregate",
        }
    }
}

impl FromStr for Action {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|action| action.as_str() == text).ok_or_else(|| {
            Error::invalid("action", format!("`{}` is none of discover, read, aggregate", text.escape_debug()))
        })
    }
}

/// Why personal data may be processed at all: GDPR article 6(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LegalBasis {
    /// Article 6(1)(a). Compiles the consent filter: only rows of subjects who consented to the purpose.
    Consent,
    /// Article 6(1)(b).
    Contract,
    /// Article 6(1)(c).
    LegalObligation,
    /// Article 6(1)(d).
    VitalInterests,
    /// Article 6(1)(e).
    PublicInterest,
    /// Article 6(1)(f).
    LegitimateInterests,
    /// The dataset holds no personal data.
    NotPersonal,
}

impl LegalBasis {
    /// The name used in manifests and the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consent => "consent",
            Self::Contract => "contract",
            Self::LegalObligation => "legal_obligation",
            Self::VitalInterests => "vital_interests",
            Self::PublicInterest => "public_interest",
            Self::LegitimateInterests => "legitimate_interests",
            Self::NotPersonal => "not_personal",
        }
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name within the policy: `[a-z][a-z0-9_]{0,62}`.
    pub id: super::Name,
    /// Permit or deny.
    pub effect: Effect,
    /// What may be done; at least one.
    pub actions: BTreeSet<Action>,
    /// By whom; everything empty means anyone.
    #[serde(default, skip_serializing_if = "Who::is_anyone")]
    pub who: Who,
    /// On which columns.
    #[serde(default, skip_serializing_if = "Columns::is_all")]
    pub columns: Columns,
    /// For which purposes and their descendants; empty means any.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub purposes: BTreeSet<PurposeSlug>,
    /// Why personal data may be processed under this rule; a permit states it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legal_basis: Option<LegalBasis>,
    /// When; empty means always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Window>,
    /// How the permitted use is limited. A deny has none.
    #[serde(default, skip_serializing_if = "How::is_empty")]
    pub how: How,
    /// What the user must do; recorded and shown, not enforced by the hub.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub duties: Vec<Duty>,
    /// The rule in words.
    #[serde(default, skip_serializing_if = "Text::is_empty")]
    pub text: Text,
}

/// Whom a rule is about: each non-empty set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Who {
    /// One of these participants.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub organisations: BTreeSet<ParticipantId>,
    /// A participant of one of these kinds.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub kinds: BTreeSet<Kind>,
    /// A participant of one of these sectors.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub sectors: BTreeSet<String>,
    /// A participant of one of these countries (ISO 3166-1 alpha-2, or `EU`).
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub countries: BTreeSet<String>,
    /// A participant with all of these accreditations.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub accreditations: BTreeSet<String>,
    /// A member with one of these roles.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<Role>,
}

impl Who {
    /// True if nothing is asked.
    pub fn is_anyone(&self) -> bool {
        *self == Self::default()
    }
}

/// Which columns a rule is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Columns {
    /// Every column of the dataset, future ones included.
    #[default]
    All,
    /// These columns; the others do not exist for the caller.
    Only(BTreeSet<String>),
}

impl Columns {
    /// True for [`Columns::All`].
    pub const fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }

    /// Whether `column` is covered.
    pub fn contains(&self, column: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(column),
        }
    }

    /// What both cover.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, columns) | (columns, Self::All) => columns.clone(),
            (Self::Only(a), Self::Only(b)) => Self::Only(a.intersection(b).cloned().collect()),
        }
    }
}

/// A span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// First instant inside; none means since ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// First instant outside; none means for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Window {
    /// Whether `at` lies inside.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
    }
}

/// How a permitted use is limited; each is enforced by the query engine inside the scan or above it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct How {
    /// Only rows for which this is true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row_filter: Option<Filter>,
    /// What a column's values are replaced with, wherever it is mentioned.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub masks: BTreeMap<String, Mask>,
    /// Only aggregates, each over at least this many distinct subjects (rows, without a subject key); at least 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregate_only: Option<u32>,
    /// At most this many rows per answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rows: Option<u64>,
    /// Only rows of subjects who consented to the purpose, whatever the legal basis of the rule.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub consent_required: bool,
    /// Refuse callers that use a token without a certificate.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub certificate_required: bool,
}

impl How {
    /// True if nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Both limits at once: the stricter of each. Two masks on one column become [`Mask::Null`].
    #[must_use]
    pub fn join(&self, floor: &Self) -> Self {
        let row_filter = match (&self.row_filter, &floor.row_filter) {
            (Some(a), Some(b)) => Some(Filter::All(vec![a.clone(), b.clone()])),
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        let mut masks = self.masks.clone();
        for (column, mask) in &floor.masks {
            masks
                .entry(column.clone())
                .and_modify(|own| {
                    if own != mask {
                        *own = Mask::Null;
                    }
                })
                .or_insert_with(|| mask.clone());
        }
        Self {
            row_filter,
            masks,
            aggregate_only: self.aggregate_only.max(floor.aggregate_only),
            max_rows: match (self.max_rows, floor.max_rows) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
            consent_required: self.consent_required || floor.consent_required,
            certificate_required: self.certificate_required || floor.certificate_required,
        }
    }
}

/// What replaces the values of a column. A missing value stays missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Mask {
    /// No value at all.
    Null,
    /// This value.
    Constant(Value),
    /// A keyed pseudonym (HMAC-SHA-256, base64url), different for each grantee and purpose. Text columns.
    Hmac,
    /// The first characters. Text columns.
    Prefix(u32),
    /// The first of January of the year. Date and timestamp columns.
    Year,
    /// The largest multiple of this width that is not greater. Integer columns; at least 2.
    Bucket(i64),
}

/// What the user must do besides; recorded in the grant and shown, not enforced by the hub (P8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Duty {
    /// Carry this attribution along.
    Attribute(String),
    /// Delete what was obtained after this many days.
    DeleteAfterDays(u32),
    /// Do not try to re-identify anyone.
    NoReidentification,
    /// Tell the owner of this event.
    Notify(String),
    /// Share results under the same terms.
    ShareAlike,
}

/// A text in both languages of the hub.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Text {
    /// French.
    pub fr: String,
    /// English.
    pub en: String,
}

impl Text {
    /// True if neither language says anything.
    pub fn is_empty(&self) -> bool {
        self.fr.is_empty() && self.en.is_empty()
    }
}

impl Policy {
    /// The canonical form (RFC 8785) whose SHA-256 names the policy.
    pub fn canonical_json(&self) -> Vec<u8> {
        // Serialising plain data to memory has no failure case: every map key is a string and no float occurs.
        serde_json_canonicalizer::to_vec(self).unwrap_or_default()
    }

    /// The digest of the canonical form.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.canonical_json())
    }

    /// The rule with this id.
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.id.as_str() == id)
    }
}

/// Where a version of a policy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyState {
    /// Being written.
    Draft,
    /// In force; new grants can cite it.
    Published,
    /// No new grants; the old ones go on.
    Retired,
    /// No new grants, and the old ones ended.
    Revoked,
}

impl PolicyState {
    /// The name used in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Published => "published",
            Self::Retired => "retired",
            Self::Revoked => "revoked",
        }
    }
}

impl FromStr for PolicyState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        [Self::Draft, Self::Published, Self::Retired, Self::Revoked]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Error::invalid("policy state", text.escape_debug()))
    }
}

/// A policy in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyVersion {
    /// The document.
    pub policy: Policy,
    /// Its digest.
    pub digest: Digest,
    /// Counts from 1 within the dataset.
    pub version: i64,
    /// Where it stands.
    pub state: PolicyState,
    /// When the draft was made.
    pub created_at: Timestamp,
    /// When it was published.
    pub published_at: Option<Timestamp>,
    /// Grows with each change; the etag is made from it.
    pub revision: i64,
}

impl PolicyVersion {
    /// Comes into force.
    pub fn publish(mut self, now: Timestamp) -> Result<Self, Error> {
        if self.state != PolicyState::Draft {
            return Err(self.conflict("draft"));
        }
        self.state = PolicyState::Published;
        self.published_at = Some(now);
        Ok(self)
    }

    /// Takes no new grants any more.
    pub fn retire(mut self) -> Result<Self, Error> {
        if self.state != PolicyState::Published {
            return Err(self.conflict("published"));
        }
        self.state = PolicyState::Retired;
        Ok(self)
    }

    /// Ends the grants that cite it, too.
    pub fn revoke(mut self) -> Result<Self, Error> {
        if !matches!(self.state, PolicyState::Published | PolicyState::Retired) {
            return Err(self.conflict("published or retired"));
        }
        self.state = PolicyState::Revoked;
        Ok(self)
    }

    fn conflict(&self, wanted: &str) -> Error {
        Error::new(Reason::StateConflict)
            .with("object", format!("policy {} of `{}`", self.version, self.policy.dataset))
            .with("state", self.state.as_str())
            .with("wanted", wanted)
    }
}
