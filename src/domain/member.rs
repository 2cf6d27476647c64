//! Members: persons and service accounts that act for a participant.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{MemberId, ParticipantId, Timestamp};
use crate::error::Error;

/// What a member may do; the permissions of each role are in `policies/hub`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Runs the hub: approves participants, sees no data.
    Operator,
    /// Manages the members and keys of its own participant.
    ParticipantAdmin,
    /// Manages datasets and policies of its participant and decides on access.
    Steward,
    /// Asks for access and runs queries.
    Requester,
    /// Reads and verifies the audit log.
    Auditor,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Operator, Self::ParticipantAdmin, Self::Steward, Self::Requester, Self::Auditor];

    /// The name used in the store, in policies and by the CLI.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::ParticipantAdmin => "participant_admin",
            Self::Steward => "steward",
            Self::Requester => "requester",
            Self::Auditor => "auditor",
        }
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| {
            let (text, known) = (text.escape_debug(), Self::ALL.map(Self::as_str).join(", "));
            Error::invalid_words(
                "role",
                format_args!("`{text}` is none of {known}"),
                format_args!("`{text}` n'est pas parmi {known}"),
            )
        })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// Has a one-time token, no certificate yet.
    Invited,
    /// Has enrolled.
    Active,
    /// Every certificate and token of this member is refused.
    Revoked,
}

impl MemberState {
    /// The name used in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invited => "invited",
            Self::Active => "active",
            Self::Revoked => "revoked",
        }
    }
}

impl FromStr for MemberState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        [Self::Invited, Self::Active, Self::Revoked]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Error::invalid("member state", text.escape_debug()))
    }
}

/// A person or service account acting for a participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The member's id.
    pub id: MemberId,
    /// For whom it acts.
    pub participant: ParticipantId,
    /// How colleagues know it; personal data, so never in a log entry.
    pub display_name: String,
    /// What it may do.
    pub roles: BTreeSet<Role>,
    /// Where it stands.
    pub state: MemberState,
    /// When it was created.
    pub created_at: Timestamp,
    /// Grows with each change; the etag is made from it.
    pub revision: i64,
}
