//! Access requests: a requester's ask, from submitted to approved, refused or withdrawn.

use std::{str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{AccessRequestId, Action, Columns, DatasetId, GrantId, MemberId, ParticipantId, PurposeSlug, Timestamp};
use crate::error::{Error, Reason};

/// Where an access request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessRequestState {
    /// Waiting for the owner.
    Submitted,
    /// A grant was issued.
    Approved,
    /// The owner said no, with a reason.
    Refused,
    /// The requester took it back.
    Withdrawn,
}

impl AccessRequestState {
    /// The name used in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Approved => "approved",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl FromStr for AccessRequestState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        [Self::Submitted, Self::Approved, Self::Refused, Self::Withdrawn]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Error::invalid("access request state", text.escape_debug()))
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// The dataset.
    pub dataset: DatasetId,
    /// Read rows, or aggregates only.
    pub action: Action,
    /// What for.
    pub purpose: PurposeSlug,
    /// Which columns.
    pub columns: Columns,
    /// For how long, in seconds from the decision on.
    pub duration_seconds: u64,
}

impl Ask {
    /// For how long.
    pub const fn duration(&self) -> Duration {
        Duration::from_secs(self.duration_seconds)
    }
}

/// A requester's ask and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRequest {
    /// Its id.
    pub id: AccessRequestId,
    /// Who would get the grant.
    pub requester: ParticipantId,
    /// The member that asked.
    pub member: MemberId,
    /// What is asked for.
    pub ask: Ask,
    /// Why, in the requester's words.
    pub justification: String,
    /// Where it stands.
    pub state: AccessRequestState,
    /// The owner's reason for a refusal.
    pub refusal: Option<String>,
    /// The grant that resulted.
    pub grant: Option<GrantId>,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When it left the submitted state.
    pub decided_at: Option<Timestamp>,
    /// Grows with each change; the etag is made from it.
    pub revision: i64,
}

/// What an owner's signature of an approval is about: the request as it was asked, and what the owner chose otherwise.
/// `accessRequests/{uuid}`, then `;rule={rule}` and `;seconds={seconds}` if they are stated.
pub fn approval_object(request: &str, rule: &str, seconds: Option<u64>) -> String {
    let mut object = request.to_owned();
    if !rule.is_empty() {
        object = format!("{object};rule={rule}");
    }
    seconds.map_or_else(|| object.clone(), |seconds| format!("{object};seconds={seconds}"))
}

impl AccessRequest {
    /// The owner agrees.
    pub fn approve(self, grant: GrantId, now: Timestamp) -> Result<Self, Error> {
        Ok(Self { grant: Some(grant), ..self.decide(AccessRequestState::Approved, now)? })
    }

    /// The owner says no and why.
    pub fn refuse(self, reason: String, now: Timestamp) -> Result<Self, Error> {
        Ok(Self { refusal: Some(reason), ..self.decide(AccessRequestState::Refused, now)? })
    }

    /// The requester takes it back.
    pub fn withdraw(self, now: Timestamp) -> Result<Self, Error> {
        self.decide(AccessRequestState::Withdrawn, now)
    }

    fn decide(self, state: AccessRequestState, now: Timestamp) -> Result<Self, Error> {
        if self.state == AccessRequestState::Submitted {
            Ok(Self { state, decided_at: Some(now), ..self })
        } else {
            Err(Error::new(Reason::StateConflict)
                .with("object", format!("access request {}", self.id))
                .with("state", self.state.as_str())
                .with("wanted", AccessRequestState::Submitted.as_str()))
        }
    }
}
