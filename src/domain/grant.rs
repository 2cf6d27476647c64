//! Grants: the signed agreement that lets a participant use a dataset for a purpose (DSP: Agreement).

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{
    AccessRequestId, Action, Columns, DatasetId, Digest, Duty, GrantId, LegalBasis, MemberId, Name, ParticipantId,
    PurposeSlug, Timestamp, Window,
};
use crate::error::{Error, Reason};

/// Whether the owner has ended a grant. Expiry is not a state: it follows from the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantState {
    /// In force within its validity.
    Active,
    /// Ended by the owner, at once.
    Revoked,
}

impl GrantState {
    /// The name used in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Revoked => "revoked",
        }
    }
}

impl FromStr for GrantState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "active" => Ok(Self::Active),
            "revoked" => Ok(Self::Revoked),
            _ => Err(Error::invalid("grant state", text.escape_debug())),
        }
    }
}

/// The agreement. It cites one rule of one immutable policy; the hub decides by this row, never by the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its id, also the token's `jti`.
    pub id: GrantId,
    /// The request it answers.
    pub access_request: AccessRequestId,
    /// Who may use the dataset.
    pub grantee: ParticipantId,
    /// Which dataset; its owner is the other party.
    pub dataset: DatasetId,
    /// The policy agreed upon.
    pub policy: Digest,
    /// The rule of it that permits.
    pub rule: Name,
    /// What may be done.
    pub action: Action,
    /// On which columns.
    pub columns: Columns,
    /// What for; covers its descendants.
    pub purpose: PurposeSlug,
    /// Why personal data may be processed.
    pub legal_basis: LegalBasis,
    /// What the grantee has to do besides.
    pub duties: Vec<Duty>,
    /// From when on.
    pub valid_from: Timestamp,
    /// First instant at which it is over.
    pub valid_until: Timestamp,
    /// Whether the owner has ended it.
    pub state: GrantState,
    /// The member of the owner that approved.
    pub decided_by: MemberId,
    /// The signed form (ES256 JWS).
    pub jws: String,
    /// Grows with each change; the etag is made from it.
    pub revision: i64,
}

impl Grant {
    /// Refuses a grant that is not in force at `now`.
    pub fn require_in_force(&self, now: Timestamp) -> Result<(), Error> {
        let validity = Window { from: Some(self.valid_from), until: Some(self.valid_until) };
        match self.state {
            GrantState::Revoked => Err(Error::new(Reason::GrantRevoked).with("dataset", &self.dataset)),
            GrantState::Active if !validity.contains(now) => {
                Err(Error::new(Reason::GrantExpired).with("dataset", &self.dataset))
            }
            GrantState::Active => Ok(()),
        }
    }

    /// The owner ends it.
    pub fn revoke(self) -> Result<Self, Error> {
        match self.state {
            GrantState::Active => Ok(Self { state: GrantState::Revoked, ..self }),
            GrantState::Revoked => Err(Error::new(Reason::StateConflict)
                .with("object", format!("grant {}", self.id))
                .with("state", self.state.as_str())
                .with("wanted", GrantState::Active.as_str())),
        }
    }
}
