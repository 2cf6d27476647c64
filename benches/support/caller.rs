//! Who calls, in benches of the use cases.

use std::collections::BTreeSet;

use odh::domain::{Caller, Credential, Kind, MemberId, ParticipantId, ParticipantState, Role};

/// A requester of a lab, as the use cases see one who has shown a certificate.
pub(crate) fn requester(member: MemberId, participant: ParticipantId) -> Caller {
    Caller {
        member,
        participant,
        roles: [Role::Requester].into(),
        participant_state: ParticipantState::Active,
        kind: Kind::Lab,
        sector: None,
        country: "FR".to_owned(),
        accreditations: BTreeSet::default(),
        credential: Credential::Certificate { fingerprint: String::new() },
    }
}
