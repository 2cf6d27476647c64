//! Grants as signed evidence: an RFC 9396 authorisation that third parties verify offline with the hub's key set.

use serde::{Deserialize, Serialize};

use super::{
    TokenRefusal, Tokens,
    access::{check_times, from_seconds},
    jws,
};
use crate::{
    domain::{
        AccessRequestId, Action, Columns, DatasetId, Digest, Duty, Grant, GrantId, LegalBasis, Name, ParticipantId,
        PurposeSlug, Timestamp,
    },
    error::{Error, Result},
    trust::Jwks,
};

const TYP: &str = "odh-grant+jwt";
const DETAIL_TYPE: &str = "urn:odh:dataset-access";

/// What a grant says. Closed: an unknown or repeated claim is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantClaims {
    /// The hub that issued it.
    pub iss: String,
    /// The hub that it is for: the same one.
    pub aud: String,
    /// The grantee.
    pub sub: ParticipantId,
    /// The grant's id.
    pub jti: GrantId,
    /// When it was signed, in seconds since the epoch.
    pub iat: i64,
    /// First second of its validity.
    pub nbf: i64,
    /// First second after its validity.
    pub exp: i64,
    /// What it permits: exactly one entry.
    pub authorization_details: [DatasetAccess; 1],
}

/// The permitted use of one dataset (RFC 9396 section 2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetAccess {
    /// Always `urn:odh:dataset-access`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What may be done.
    pub actions: Vec<Action>,
    /// Where: the hub's id.
    pub locations: Vec<String>,
    /// The dataset, `owner.dataset`.
    pub identifier: DatasetId,
    /// What for, descendants included.
    pub purposes: Vec<PurposeSlug>,
    /// On which columns: `"all"`, or `{"only": [..]}`.
    pub columns: Columns,
    /// Why personal data may be processed.
    pub legal_basis: LegalBasis,
    /// Digest of the policy agreed upon.
    pub policy: Digest,
    /// The rule of it that permits.
    pub rule: Name,
    /// What the grantee has to do besides.
    pub duties: Vec<Duty>,
    /// The access request that was approved.
    pub agreement: AccessRequestId,
}

impl GrantClaims {
    /// First instant after its validity.
    pub fn expires_at(&self) -> Timestamp {
        from_seconds(self.exp)
    }

    /// What it permits.
    pub const fn access(&self) -> &DatasetAccess {
        let [access] = &self.authorization_details;
        access
    }
}

impl Tokens {
    /// The signed form of a grant, made at `now`. The grant's own `jws` and state play no part.
    pub fn sign_grant(&self, grant: &Grant, now: Timestamp) -> Result<String> {
        if grant.valid_until.seconds() <= grant.valid_from.seconds().max(now.seconds()) {
            return Err(Error::invalid("grant", "its validity is empty or over"));
        }
        let access = DatasetAccess {
            kind: DETAIL_TYPE.to_owned(),
            actions: vec![grant.action],
            locations: vec![self.hub_id.clone()],
            identifier: grant.dataset.clone(),
            purposes: vec![grant.purpose.clone()],
            columns: grant.columns.clone(),
            legal_basis: grant.legal_basis,
            policy: grant.policy,
            rule: grant.rule.clone(),
            duties: grant.duties.clone(),
            agreement: grant.access_request,
        };
        let claims = GrantClaims {
            iss: self.hub_id.clone(),
            aud: self.hub_id.clone(),
            sub: grant.grantee.clone(),
            jti: grant.id,
            iat: now.seconds(),
            nbf: grant.valid_from.seconds(),
            exp: grant.valid_until.seconds(),
            authorization_details: [access],
        };
        self.grant.sign(TYP, &claims)
    }
}

/// Verifies a grant of the hub `hub_id` offline: signature, kind, parties, and validity at `now`.
///
/// Whether it has been revoked since, only the hub can tell.
pub fn verify_grant(jws: &str, keys: &Jwks, hub_id: &str, now: Timestamp) -> Result<GrantClaims, TokenRefusal> {
    let claims: GrantClaims = jws::read(jws, TYP, hub_id, keys)?;
    check_times(claims.iat, claims.nbf, claims.exp, now)?;
    let access = claims.access();
    let whole = access.kind == DETAIL_TYPE
        && access.locations == [hub_id]
        && !access.actions.is_empty()
        && !access.purposes.is_empty();
    if whole { Ok(claims) } else { Err(TokenRefusal::Claims) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        domain::{GrantState, MemberId},
        trust::{AccessTokenRequest, P256Key},
    };

    const HUB: &str = "hub.example";

    fn now() -> Timestamp {
        "2026-11-23T07:30:00Z".parse().unwrap()
    }

    fn later(seconds: u64) -> Timestamp {
        now().plus(Duration::from_secs(seconds))
    }

    fn tokens() -> Tokens {
        Tokens::new(HUB, &P256Key::generate().unwrap(), &P256Key::generate().unwrap()).unwrap()
    }

    fn grant() -> Grant {
        Grant {
            id: GrantId::generate(now()),
            access_request: AccessRequestId::generate(now()),
            grantee: "lab".parse().unwrap(),
            dataset: "chu.stays".parse().unwrap(),
            policy: Digest::of(b"policy"),
            rule: "research".parse().unwrap(),
            action: Action::Aggregate,
            columns: Columns::Only(["age".to_owned(), "commune".to_owned()].into()),
            purpose: "scientific_research".parse().unwrap(),
            legal_basis: LegalBasis::Consent,
            duties: vec![Duty::NoReidentification, Duty::DeleteAfterDays(30)],
            valid_from: now(),
            valid_until: later(3_600),
            state: GrantState::Active,
            decided_by: MemberId::generate(now()),
            jws: String::new(),
            revision: 1,
        }
    }

    #[test]
    fn a_grant_says_offline_what_the_row_says() {
        let (tokens, grant) = (tokens(), grant());
        let jws = tokens.sign_grant(&grant, now()).unwrap();
        let keys = Jwks::parse(tokens.jwks().to_json().unwrap().as_bytes()).unwrap();
        let claims = verify_grant(&jws, &keys, HUB, later(10)).unwrap();
        assert_eq!((claims.sub.as_str(), claims.jti), ("lab", grant.id));
        assert_eq!(claims.expires_at(), grant.valid_until);
        let access = claims.access();
        assert_eq!((&access.identifier, &access.policy), (&grant.dataset, &grant.policy));
        assert_eq!((&access.columns, &access.duties), (&grant.columns, &grant.duties));
        assert_eq!(access.agreement, grant.access_request);
        assert_eq!(access.actions, [Action::Aggregate]);
    }

    #[test]
    fn each_refusal_is_named_for_the_offline_verifier() {
        let (tokens, grant) = (tokens(), grant());
        let jws = tokens.sign_grant(&grant, now()).unwrap();
        let verify = |jws: &str, at| verify_grant(jws, tokens.jwks(), HUB, at).unwrap_err();
        assert_eq!(verify(&jws, later(3_606)), TokenRefusal::Expired);
        assert_eq!(verify(&jws, Timestamp::from_micros(now().micros() - 6_000_000)), TokenRefusal::NotYetValid);
        assert_eq!(verify_grant(&jws, tokens.jwks(), "other.example", now()).unwrap_err(), TokenRefusal::Issuer);
        let stranger = self::tokens();
        assert_eq!(verify_grant(&jws, stranger.jwks(), HUB, now()).unwrap_err(), TokenRefusal::Key);
        let (start, _) = jws.rsplit_once('.').unwrap();
        let other = tokens.sign_grant(&grant, now()).unwrap();
        let (_, signature) = other.rsplit_once('.').unwrap();
        verify_grant(&format!("{start}.{signature}"), tokens.jwks(), HUB, now()).unwrap();
        let flipped = if signature.starts_with('A') { "B" } else { "A" };
        assert_eq!(verify(&format!("{start}.{flipped}{}", &signature[1..]), now()), TokenRefusal::Signature);
        assert_eq!(verify("a.b", now()), TokenRefusal::Malformed);
    }

    #[test]
    fn an_access_token_is_no_grant() {
        let tokens = tokens();
        let request = AccessTokenRequest {
            participant: &"lab".parse().unwrap(),
            member: MemberId::generate(now()),
            bound_to: None,
            lifetime: Duration::from_mins(15),
        };
        let token = tokens.mint(&request, now()).unwrap().token;
        assert_eq!(verify_grant(&token, tokens.jwks(), HUB, now()).unwrap_err(), TokenRefusal::Type);
    }

    #[test]
    fn a_grant_whose_period_is_over_is_not_signed() {
        let over = Grant { valid_until: now(), ..grant() };
        assert!(tokens().sign_grant(&over, now()).is_err());
    }
}
