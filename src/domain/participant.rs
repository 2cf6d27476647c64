//! Participants: member organisations and their way to being active.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{ParticipantId, Siren, Timestamp};
use crate::error::{Error, Reason};

/// What sort of organisation a participant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A company.
    Company,
    /// A laboratory.
    Lab,
    /// A public body.
    PublicBody,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Company, Self::Lab, Self::PublicBody];

    /// The name used in the store, in policies and by the CLI.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Company => "company",
            Self::Lab => "lab",
            Self::PublicBody => "public_body",
        }
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let (text, known) = (text.escape_debug(), Self::ALL.map(Self::as_str).join(", "));
            Error::invalid_words(
                "kind",
                format_args!("`{text}` is none of {known}"),
                format_args!("`{text}` n'est pas parmi {known}"),
            )
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a participant stands: registered, charter signed, active, suspended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParticipantState {
    /// Identity given, charter not signed.
    Registered,
    /// Charter signed, waiting for the operator.
    CharterSigned,
    /// May act.
    Active,
    /// Everything it asks is refused.
    Suspended,
}

impl ParticipantState {
    /// The name used in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::CharterSigned => "charter_signed",
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }
}

impl FromStr for ParticipantState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        [Self::Registered, Self::CharterSigned, Self::Active, Self::Suspended]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Error::invalid("participant state", text.escape_debug()))
    }
}

/// A member organisation with its legal identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participant {
    /// Its id, also the SQL schema of its datasets.
    pub id: ParticipantId,
    /// Its legal identity.
    pub siren: Siren,
    /// Its legal name.
    pub legal_name: String,
    /// What sort of organisation it is.
    pub kind: Kind,
    /// NACE section or a free sector word, lower case; used by policies.
    pub sector: Option<String>,
    /// ISO 3166-1 alpha-2 country.
    pub country: String,
    /// Accreditations that the operator has verified, for example `hds`.
    pub accreditations: Vec<String>,
    /// Where it stands.
    pub state: ParticipantState,
    /// The version of the charter it has signed.
    pub charter_version: Option<i64>,
    /// When it registered.
    pub created_at: Timestamp,
    /// Grows with each change; the etag is made from it.
    pub revision: i64,
}

impl Participant {
    /// The charter has been signed.
    pub fn sign_charter(mut self, version: i64) -> Result<Self, Error> {
        match self.state {
            ParticipantState::Registered | ParticipantState::CharterSigned | ParticipantState::Active => {
                if self.state == ParticipantState::Registered {
                    self.state = ParticipantState::CharterSigned;
                }
                self.charter_version = Some(version);
                Ok(self)
            }
            ParticipantState::Suspended => Err(self.conflict("not suspended")),
        }
    }

    /// The operator lets it act; also lifts a suspension.
    pub fn approve(mut self) -> Result<Self, Error> {
        match self.state {
            ParticipantState::CharterSigned => {
                self.state = ParticipantState::Active;
                Ok(self)
            }
            ParticipantState::Suspended if self.charter_version.is_some() => {
                self.state = ParticipantState::Active;
                Ok(self)
            }
            _ => Err(self.conflict("charter_signed")),
        }
    }

    /// The operator stops it from acting, at once.
    pub fn suspend(mut self) -> Result<Self, Error> {
        if self.state == ParticipantState::Suspended {
            return Err(self.conflict("not suspended"));
        }
        self.state = ParticipantState::Suspended;
        Ok(self)
    }

    fn conflict(&self, wanted: &str) -> Error {
        Error::new(Reason::StateConflict)
            .with("object", format!("participant `{}`", self.id))
            .with("state", self.state.as_str())
            .with("wanted", wanted)
    }
}
