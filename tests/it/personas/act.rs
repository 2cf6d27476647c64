//! Acts that bind their member: signed with its certificate's key, as `common.proto` says.

use odh::trust::{Act, sign_act};

use super::Persona;
use crate::harness::HUB_ID;

/// Signs acts.
pub(crate) trait Sign {
    /// The detached JWS of `act` on `object`.
    fn sign(&self, act: &str, object: &str) -> String;
}

impl Sign for Persona {
    fn sign(&self, act: &str, object: &str) -> String {
        let act = Act {
            act: act.to_owned(),
            hub: HUB_ID.to_owned(),
            member: self.name.rsplit('/').next().unwrap().parse().unwrap(),
            object: object.to_owned(),
            participant: self.participant.parse().unwrap(),
        };
        sign_act(&self.key_pem, &act).unwrap()
    }
}
