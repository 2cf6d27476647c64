//! Decisions on the use of a dataset, with what determined them; they do not name the engine.

use serde::{Deserialize, Serialize};

use super::{Digest, Duty, How, LegalBasis, Name};

/// The parts of a rule, in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clause {
    /// What is done.
    Action,
    /// Which participant.
    Organisation,
    /// What kind of participant.
    Kind,
    /// Its sector.
    Sector,
    /// Its country.
    Country,
    /// Its accreditations.
    Accreditation,
    /// The member's role.
    Role,
    /// The columns.
    Columns,
    /// The purpose.
    Purpose,
    /// The time.
    Validity,
}

impl Clause {
    /// The name shown in explanations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Organisation => "organisation",
            Self::Kind => "kind",
            Self::Sector => "sector",
            Self::Country => "country",
            Self::Accreditation => "accreditation",
            Self::Role => "role",
            Self::Columns => "columns",
            Self::Purpose => "purpose",
            Self::Validity => "validity",
        }
    }
}

/// What one rule had to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleOutcome {
    /// It is a permit and everything in it holds.
    Permits,
    /// It is a deny and everything in it holds.
    Denies,
    /// Something in it does not hold.
    Misses,
    /// It is a deny and everything in it holds or is unknown: it denies.
    Unknown,
}

impl RuleOutcome {
    /// Whether it denies, for certain or for all that is known.
    pub const fn denies(self) -> bool {
        matches!(self, Self::Denies | Self::Unknown)
    }
}

/// One rule's part in a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleTrace {
    /// The rule.
    pub rule: Name,
    /// What it had to say.
    pub outcome: RuleOutcome,
    /// The first clause that did not hold, for a miss; the first one that is unknown, for [`RuleOutcome::Unknown`].
    pub first_failed: Option<Clause>,
}

/// Permit or deny, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The policy that was asked.
    pub policy: Digest,
    /// The permit that governs; none means denied.
    pub permit: Option<Permit>,
    /// Every rule's part, in the policy's order.
    pub trace: Vec<RuleTrace>,
}

/// The rule that permits, with what it obliges to: its own terms joined with the policy's floor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    /// The rule.
    pub rule: Name,
    /// The limits to apply.
    pub how: How,
    /// What the user must do besides.
    pub duties: Vec<Duty>,
    /// Why personal data may be processed.
    pub legal_basis: LegalBasis,
}
