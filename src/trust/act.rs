//! Acts that bind a member: what it signs on its side with its certificate's key, and the hub's check of it.
//!
//! The payload is the RFC 8785 form of the act; the signature travels without it (RFC 7515 appendix F), since both
//! sides know what is being agreed. So neither can deny the act, nor replay it for another object or hub.

use serde::Serialize;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use super::{P256Key, PeerIdentity, ca::p256_point, token};
use crate::{
    domain::{MemberId, ParticipantId},
    error::{Error, Reason, Result},
};

const TYP: &str = "odh-act+jws";

/// An act of a member: signing the charter, publishing a policy, deciding on access, revoking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Act {
    /// Which act, for example `charter.sign`.
    pub act: String,
    /// The hub's id.
    pub hub: String,
    /// Who acts.
    pub member: MemberId,
    /// On what: an id or digest that names one object and its content for good.
    pub object: String,
    /// For whom it acts.
    pub participant: ParticipantId,
}

impl Act {
    /// The bytes that are signed: RFC 8785 JSON.
    pub fn payload(&self) -> Result<Vec<u8>> {
        serde_json_canonicalizer::to_vec(self).map_err(Error::internal)
    }
}

/// Signs an act with the member's private key (PEM); gives the detached JWS `header..signature`.
pub fn sign_act(key_pem: &str, act: &Act) -> Result<String> {
    token::sign_detached(TYP, &act.payload()?, &P256Key::from_pem(key_pem)?)
}

/// Checks that the holder of `certificate` (DER) signed exactly this act.
///
/// The certificate must be that of the act's own member at the act's hub. Its validity and revocation are not
/// looked at: an act outlives the certificate it was made with, and who may act now is asked elsewhere.
pub fn verify_act(jws: &str, act: &Act, certificate: &[u8]) -> Result<()> {
    let refuse = |detail: &dyn std::fmt::Display| Error::new(Reason::SignatureInvalid).with("detail", detail);
    let identity = PeerIdentity::from_der(certificate, &act.hub)
        .map_err(|_| refuse(&"the certificate is not that of a member of this hub"))?;
    if identity.member != act.member || identity.participant != act.participant {
        return Err(refuse(&"the certificate is that of another member"));
    }
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| refuse(&"the certificate is malformed"))?;
    let point = p256_point(parsed.public_key()).ok_or_else(|| refuse(&"the certificate's key is not P-256"))?;
    token::verify_detached(jws, TYP, &act.payload()?, point).map_err(|refusal| refuse(&refusal))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use rustls_pki_types::{CertificateDer, pem::PemObject as _};

    use super::*;
    use crate::{
        domain::Timestamp,
        trust::{CertificateAuthority, new_csr},
    };

    struct Signatory {
        key: String,
        certificate: CertificateDer<'static>,
    }

    fn now() -> Timestamp {
        "2026-11-23T07:30:00Z".parse().unwrap()
    }

    fn act() -> Act {
        Act {
            act: "charter.sign".to_owned(),
            hub: "hub.example".to_owned(),
            member: "0190b8a0-0000-7000-8000-000000000001".parse().unwrap(),
            object: "sha256:00".to_owned(),
            participant: "chu".parse().unwrap(),
        }
    }

    fn signatory(act: &Act) -> Signatory {
        let ca = CertificateAuthority::create("hub.example", P256Key::generate().unwrap(), now()).unwrap();
        let (key, csr) = new_csr().unwrap();
        let issued = ca.issue_client(&csr, &act.participant, act.member, now(), Duration::from_hours(1)).unwrap();
        let certificate = CertificateDer::from_pem_slice(issued.chain_pem.as_bytes()).unwrap();
        Signatory { key: key.to_string(), certificate }
    }

    #[test]
    fn the_payload_is_canonical_json() {
        let expected = r#"{"act":"charter.sign","hub":"hub.example","member":"0190b8a0-0000-7000-8000-000000000001","object":"sha256:00","participant":"chu"}"#;
        assert_eq!(act().payload().unwrap(), expected.as_bytes());
    }

    #[test]
    fn a_signed_act_verifies_and_carries_no_payload() {
        let act = act();
        let member = signatory(&act);
        let jws = sign_act(&member.key, &act).unwrap();
        assert!(jws.contains(".."));
        verify_act(&jws, &act, &member.certificate).unwrap();
    }

    #[test]
    fn an_act_signed_for_one_thing_is_not_valid_for_another() {
        let act = act();
        let member = signatory(&act);
        let jws = sign_act(&member.key, &act).unwrap();
        let others = [
            Act { act: "policy.publish".to_owned(), ..act.clone() },
            Act { object: "sha256:01".to_owned(), ..act.clone() },
            Act { hub: "other.example".to_owned(), ..act.clone() },
            Act { member: MemberId::generate(now()), ..act.clone() },
            Act { participant: "lab".parse().unwrap(), ..act.clone() },
        ];
        for other in others {
            let error = verify_act(&jws, &other, &member.certificate).unwrap_err();
            assert_eq!(error.reason(), Reason::SignatureInvalid, "{other:?}");
        }
    }

    #[test]
    fn another_key_or_a_loosened_header_is_refused() {
        let act = act();
        let (member, stranger) = (signatory(&act), signatory(&act));
        let good = sign_act(&member.key, &act).unwrap();
        assert!(verify_act(&good, &act, &stranger.certificate).is_err());
        let (_, signature) = good.rsplit_once('.').unwrap();
        let payload = URL_SAFE_NO_PAD.encode(act.payload().unwrap());
        let key = P256Key::from_pem(&member.key).unwrap();
        let mut bad = vec![
            String::new(),
            good.replace("..", &format!(".{payload}.")),
            format!("{good}="),
            format!("{good}."),
            token::sign_detached("at+jwt", &act.payload().unwrap(), &key).unwrap(),
        ];
        for header in [
            r#"{"alg":"none","typ":"odh-act+jws"}"#,
            r#"{"alg":"HS256","typ":"odh-act+jws"}"#,
            r#"{"alg":"ES256"}"#,
            r#"{"alg":"ES256","typ":"odh-act+jws","crit":["b64"],"b64":false}"#,
            r#"{"alg":"ES256","alg":"ES256","typ":"odh-act+jws"}"#,
        ] {
            bad.push(format!("{}..{signature}", URL_SAFE_NO_PAD.encode(header)));
        }
        for jws in bad {
            let error = verify_act(&jws, &act, &member.certificate).unwrap_err();
            assert_eq!(error.reason(), Reason::SignatureInvalid, "{jws}");
        }
    }
}
