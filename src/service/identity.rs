//! From a proven certificate or token to a caller with its standing now.

use super::Services;
use crate::{
    domain::{Caller, Credential},
    error::{Error, Reason, Result},
    store::member,
    trust::PeerIdentity,
};

impl Services {
    /// Identifies a caller by the certificate of its connection and the bearer token of the call.
    ///
    /// Each is checked on its own; together they must name the same member. A token that was minted over a
    /// certificate is refused without it. Standing and revocation are read now, for each call (P2).
    pub async fn identify(&self, certificate: Option<&[u8]>, bearer: Option<&str>) -> Result<Caller> {
        let refused = || Error::new(Reason::Unauthenticated);
        let now = self.now();
        let peer = certificate.map(|der| PeerIdentity::from_der(der, &self.settings().hub_id)).transpose()?;
        let token = match bearer {
            Some(bearer) => Some(self.keys().tokens().verify_access_token(bearer, now, peer.as_ref())?),
            None => None,
        };
        let (member, participant, credential) = match (peer, token) {
            (Some(peer), None) => {
                (peer.member, peer.participant, Credential::Certificate { fingerprint: peer.fingerprint })
            }
            (Some(peer), Some(token)) => {
                if token.member != peer.member || token.participant != peer.participant {
                    return Err(refused());
                }
                let credential = Credential::BoundToken { fingerprint: peer.fingerprint, token: token.jti };
                (token.member, token.participant, credential)
            }
            (None, Some(token)) => (token.member, token.participant, Credential::UnboundToken { token: token.jti }),
            (None, None) => return Err(refused()),
        };
        let mut tx = self.read().await?;
        member::identify(&mut tx, member, &participant, credential, now).await
    }
}
