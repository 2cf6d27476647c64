//! Consents: an individual's permission for a purpose, given or withdrawn, as events on a dataset.

use serde::{Deserialize, Serialize};

use super::{ParticipantId, PurposeSlug, Timestamp};

/// What a subject last said about a purpose and recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsentState {
    /// Rows may be used for the purpose and its descendants.
    Given,
    /// Rows may not be used for the purpose or its descendants, whatever else was given.
    Withdrawn,
}

impl ConsentState {
    /// The name used in files and the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// One line of an import: what a subject says. The pseudonym is personal data and never enters a log entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentChange {
    /// The subject's pseudonym as it stands in the dataset's subject key column.
    pub subject: String,
    /// For which purpose.
    pub purpose: PurposeSlug,
    /// For which recipient; none means any.
    pub recipient: Option<ParticipantId>,
    /// Given or withdrawn.
    pub state: ConsentState,
    /// When a given consent ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// Counts of one purpose and recipient of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentCounts {
    /// The purpose.
    pub purpose: PurposeSlug,
    /// The recipient; none means any.
    pub recipient: Option<ParticipantId>,
    /// Subjects who gave it and did not withdraw.
    pub given: u64,
    /// Subjects who withdrew.
    pub withdrawn: u64,
}
