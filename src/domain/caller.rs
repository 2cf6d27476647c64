//! Who is calling, as proven by a certificate or a token and completed from the store.

use std::collections::BTreeSet;

use super::{Kind, MemberId, ParticipantId, ParticipantState, Role};
use crate::error::{Error, Reason};

/// How an identity was proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A client certificate of the hub's CA; SHA-256 of its DER, lower-case hex.
    Certificate { fingerprint: String },
    /// An access token bound to the client certificate in use (`cnf`, RFC 8705).
    BoundToken { fingerprint: String, token: String },
    /// An access token of a tool that has no certificate; policies can refuse it.
    UnboundToken { token: String },
}

/// An identified member of a participant. Standing is read from the store for each call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The member.
    pub member: MemberId,
    /// For whom it acts.
    pub participant: ParticipantId,
    /// Roles the member holds now.
    pub roles: BTreeSet<Role>,
    /// Standing of the participant now.
    pub participant_state: ParticipantState,
    /// What sort of organisation it is; a policy can ask for it.
    pub kind: Kind,
    /// Its sector; a policy can ask for it.
    pub sector: Option<String>,
    /// Its country; a policy can ask for it.
    pub country: String,
    /// Its verified accreditations; a policy can ask for them.
    pub accreditations: BTreeSet<String>,
    /// How it proved who it is.
    pub credential: Credential,
}

impl Caller {
    /// Refuses a caller whose participant may not act.
    pub fn require_active(&self) -> Result<(), Error> {
        if self.participant_state == ParticipantState::Active {
            Ok(())
        } else {
            Err(Error::new(Reason::ParticipantNotActive).with("participant", &self.participant))
        }
    }

    /// The certificate in use, if there is one.
    pub fn fingerprint(&self) -> Option<&str> {
        match &self.credential {
            Credential::Certificate { fingerprint } | Credential::BoundToken { fingerprint, .. } => Some(fingerprint),
            Credential::UnboundToken { .. } => None,
        }
    }

    /// The caller as an id without personal meaning, for logs and counters.
    pub fn subject(&self) -> String {
        format!("{}/{}", self.participant, self.member)
    }
}
