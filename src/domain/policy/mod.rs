//! Usage policies: who may do what with which columns of a dataset, why, when and how.
//!
//! A published policy is immutable and named by its [`Digest`]: SHA-256 of its RFC 8785 canonical JSON. The
//! same types are the manifest's, the store's and the API's model. Every term here is enforced or recorded as
//! a duty (P8); what the hub cannot enforce is not in the model and refused as an unknown field.

mod how;
mod version;

use std::{collections::BTreeSet, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{DatasetId, Digest, Kind, Name, ParticipantId, PurposeSlug, Role, Timestamp};
use crate::error::Error;

pub use how::{Billionths, Bounds, Delta, Epsilon, How, Interval, Mask, Privacy, Template};
pub use version::{PolicyState, PolicyVersion};

/// A usage policy as its owner writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The dataset it governs.
    pub dataset: DatasetId,
    /// The rules. A deny wins over every permit, wherever it stands. The order of permits matters where no grant names
    /// one, that is for an open dataset: the first that permits a use governs it.
    pub rules: Vec<Rule>,
    /// Applies to every use on top of the rule's own terms. Of one's own dataset it is all that applies, but for its row
    /// filter and masks.
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
    /// Fetch its permitted rows as a whole.
    Download,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 4] = [Self::Discover, Self::Read, Self::Aggregate, Self::Download];

    /// The name used in manifests, the store and rule sets.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Read => "read",
            Self::Aggregate => "aggregate",
            Self::Download => "download",
        }
    }

    /// How much of the rows it reveals: who may do one may do what reveals less, and whoever may not do one may not
    /// do what reveals more. None for what reveals no rows.
    const fn reach(self) -> Option<u8> {
        match self {
            Self::Discover => None,
            Self::Aggregate => Some(0),
            Self::Read => Some(1),
            Self::Download => Some(2),
        }
    }
}

impl FromStr for Action {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|action| action.as_str() == text).ok_or_else(|| {
            Error::invalid(
                "action",
                format!("`{}` is none of discover, read, aggregate, download", text.escape_debug()),
            )
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
    pub id: Name,
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

impl Rule {
    /// Every action that the rule is about, the implied ones included: a permit of what reveals more permits what
    /// reveals less of the rows (download, read, aggregate, in this order), a deny the other way round.
    pub fn effective_actions(&self) -> BTreeSet<Action> {
        let reaches: Vec<u8> = self.actions.iter().filter_map(|action| action.reach()).collect();
        let implied = |action: &Action| match (action.reach(), self.effect) {
            (None, _) => self.actions.contains(action),
            (Some(reach), Effect::Permit) => reaches.iter().any(|stated| reach <= *stated),
            (Some(reach), Effect::Deny) => reaches.iter().any(|stated| reach >= *stated),
        };
        Action::ALL.into_iter().filter(implied).collect()
    }

    /// Whether it applies at all times, or from some time on for ever.
    pub fn is_for_ever(&self) -> bool {
        self.when.is_empty() || self.when.iter().any(|window| window.until.is_none())
    }
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
