//! The versions of a policy in the store: their states and what may follow which.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Digest, Policy};
use crate::{
    domain::Timestamp,
    error::{Error, Reason},
};

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
