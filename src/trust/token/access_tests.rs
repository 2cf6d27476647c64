//! One test per known pitfall of JWT libraries and per red-team case of tokens.

use serde_json::{Value, json};

use super::*;
use crate::{
    domain::GrantId,
    error::Reason,
    trust::{Jwk, P256Key},
};

const HUB: &str = "hub.example";
const MEMBER: &str = "0190b8a0-0000-7000-8000-000000000001";

/// A hub whose keys the test holds, so that it can sign what the hub never would.
struct Hub {
    tokens: Tokens,
    grant: P256Key,
    access: P256Key,
}

impl Hub {
    fn new() -> Self {
        let (grant, access) = (P256Key::generate().unwrap(), P256Key::generate().unwrap());
        Self { tokens: Tokens::new(HUB, &grant, &access).unwrap(), grant, access }
    }

    fn header(&self) -> Value {
        json!({"typ": TYP, "alg": "ES256", "kid": Jwk::from_point(self.access.public_point()).unwrap().kid()})
    }

    fn claims() -> Value {
        let iat = now().seconds();
        json!({
            "iss": HUB, "aud": HUB, "sub": format!("spiffe://{HUB}/participant/lab/member/{MEMBER}"),
            "client_id": "lab", "jti": "0123", "iat": iat, "nbf": iat, "exp": iat + 900
        })
    }

    fn verify(&self, token: &str) -> Result<TokenClaims, TokenRefusal> {
        // Whatever the detail, a caller sees one and the same error.
        let detail = self.tokens.check_access_token(token, now(), None);
        match (&detail, self.tokens.verify_access_token(token, now(), None)) {
            (Ok(claims), Ok(same)) => assert_eq!(claims, &same),
            (Err(_), Err(error)) => assert_eq!(error, Error::new(Reason::Unauthenticated)),
            (detail, outer) => panic!("{detail:?} but {outer:?}"),
        }
        detail
    }

    /// The refusal of well-signed claims that differ from good ones in one place.
    fn refusal_of_claims(&self, change: impl FnOnce(&mut Value)) -> TokenRefusal {
        let mut claims = Hub::claims();
        change(&mut claims);
        self.verify(&sign(&self.header().to_string(), &claims.to_string(), &self.access)).unwrap_err()
    }

    fn refusal_of_header(&self, change: impl FnOnce(&mut Value)) -> TokenRefusal {
        let mut header = self.header();
        change(&mut header);
        self.verify(&sign(&header.to_string(), &Hub::claims().to_string(), &self.access)).unwrap_err()
    }
}

fn now() -> Timestamp {
    "2026-11-23T07:30:00Z".parse().unwrap()
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A compact JWS over any header and claims at all.
fn sign(header: &str, claims: &str, key: &P256Key) -> String {
    let input = format!("{}.{}", b64(header), b64(claims));
    let key = jsonwebtoken::EncodingKey::from_ec_der(key.pkcs8());
    let signature = jsonwebtoken::crypto::sign(input.as_bytes(), &key, jsonwebtoken::Algorithm::ES256).unwrap();
    format!("{input}.{signature}")
}

fn peer(fingerprint: char, participant: &str, member: &str) -> PeerIdentity {
    PeerIdentity {
        participant: participant.parse().unwrap(),
        member: member.parse().unwrap(),
        fingerprint: fingerprint.to_string().repeat(64),
        not_before: now(),
        not_after: now(),
        public_key_spki: Vec::new(),
    }
}

fn mint(hub: &Hub, bound_to: Option<&str>, lifetime: u64) -> Result<MintedToken> {
    let participant = "lab".parse().unwrap();
    let member = MEMBER.parse().unwrap();
    let request =
        AccessTokenRequest { participant: &participant, member, bound_to, lifetime: Duration::from_secs(lifetime) };
    hub.tokens.mint(&request, now())
}

#[test]
fn a_minted_token_names_its_member() {
    let hub = Hub::new();
    let minted = mint(&hub, None, 900).unwrap();
    let claims = hub.verify(&minted.token).unwrap();
    assert_eq!((claims.participant.as_str(), claims.member.to_string().as_str()), ("lab", MEMBER));
    assert_eq!((claims.jti, claims.expires_at), (minted.jti, minted.expires_at));
    assert_eq!(claims.bound_to, None);
    assert!(!format!("{:?}", mint(&hub, None, 900).unwrap()).contains("eyJ"));
    // The control for every refusal below: unchanged, a hand-made token is accepted.
    hub.verify(&sign(&hub.header().to_string(), &Hub::claims().to_string(), &hub.access)).unwrap();
}

#[test]
fn red_team_01_no_algorithm_and_no_signature_are_refused() {
    let hub = Hub::new();
    for alg in ["none", "None", "nOnE", "NONE", ""] {
        assert_eq!(hub.refusal_of_header(|h| h["alg"] = json!(alg)), TokenRefusal::Algorithm);
    }
    let good = mint(&hub, None, 900).unwrap().token;
    let (start, _) = good.rsplit_once('.').unwrap();
    for bad in [start.to_owned(), format!("{start}."), String::new(), "..".into(), ".".into(), "é.é.é".into()] {
        assert_eq!(hub.verify(&bad).unwrap_err(), TokenRefusal::Malformed, "{bad}");
    }
}

#[test]
fn red_team_02_other_algorithms_keys_and_encodings_are_refused() {
    let hub = Hub::new();
    for alg in ["HS256", "EdDSA", "ES384", "RS256", "es256"] {
        assert_eq!(hub.refusal_of_header(|h| h["alg"] = json!(alg)), TokenRefusal::Algorithm);
    }
    // HS256 keyed with the public key: the classic confusion.
    let mut header = hub.header();
    header["alg"] = json!("HS256");
    let input = format!("{}.{}", b64(header.to_string()), b64(Hub::claims().to_string()));
    let secret = jsonwebtoken::EncodingKey::from_secret(hub.access.public_point());
    let mac = jsonwebtoken::crypto::sign(input.as_bytes(), &secret, jsonwebtoken::Algorithm::HS256).unwrap();
    assert_eq!(hub.verify(&format!("{input}.{mac}")).unwrap_err(), TokenRefusal::Algorithm);

    let stranger = P256Key::generate().unwrap();
    let forged = sign(&hub.header().to_string(), &Hub::claims().to_string(), &stranger);
    assert_eq!(hub.verify(&forged).unwrap_err(), TokenRefusal::Signature);

    let good = mint(&hub, None, 900).unwrap().token.to_string();
    let (start, signature) = good.rsplit_once('.').unwrap();
    let zeros = b64([0_u8; 64]);
    for bad in [
        format!("{good}="),
        format!("{good}=="),
        format!("{good}."),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{start}. {signature}"),
        format!("{start}.{}", &signature[..signature.len() - 2]),
        format!("{start}.{signature}AA"),
        format!("{start}.{zeros}"),
    ] {
        assert!(hub.verify(&bad).is_err(), "{bad}");
    }
    // Unused bits of the last character would make a second spelling of the same signature.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.find(signature.chars().last().unwrap()).unwrap();
    let twin = alphabet.as_bytes()[last ^ 1] as char;
    assert!(hub.verify(&format!("{start}.{}{twin}", &signature[..signature.len() - 1])).is_err());
}

#[test]
fn red_team_03_keys_come_from_the_map_alone() {
    let hub = Hub::new();
    let long = "k".repeat(10_000);
    for kid in ["../../dev/null", "' OR 1=1--", "", "unknown"] {
        assert_eq!(hub.refusal_of_header(|h| h["kid"] = json!(kid)), TokenRefusal::Key, "{kid}");
    }
    assert_eq!(hub.refusal_of_header(|h| h["kid"] = json!(long)), TokenRefusal::TooLong);
    assert_eq!(hub.refusal_of_header(|h| h["kid"] = json!(7)), TokenRefusal::Header);
    let jwk = serde_json::to_value(Jwk::from_point(hub.access.public_point()).unwrap()).unwrap();
    let extras = [
        ("jku", json!("https://evil.example/jwks")),
        ("jwk", jwk),
        ("x5u", json!("https://evil.example/cert")),
        ("x5c", json!(["AAAA"])),
        ("x5t", json!("AAAA")),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
    ];
    for (member, value) in extras {
        assert_eq!(hub.refusal_of_header(|h| h[member] = value), TokenRefusal::Header, "{member}");
    }
    for missing in ["typ", "alg", "kid"] {
        let refusal = hub.refusal_of_header(|h| {
            h.as_object_mut().unwrap().remove(missing);
        });
        assert_eq!(refusal, TokenRefusal::Header, "{missing}");
    }
    let twice = hub.header().to_string().replace('{', r#"{"alg":"none","#);
    let token = sign(&twice, &Hub::claims().to_string(), &hub.access);
    assert_eq!(hub.verify(&token).unwrap_err(), TokenRefusal::Header);
}

#[test]
fn red_team_04_times_are_checked_to_the_second() {
    let hub = Hub::new();
    let token = mint(&hub, None, 900).unwrap().token;
    let at = |seconds: i64| Timestamp::from_micros(now().micros() + seconds * 1_000_000);
    let verify = |seconds| hub.tokens.check_access_token(&token, at(seconds), None).map(|_| ());
    assert_eq!(verify(-6), Err(TokenRefusal::NotYetValid));
    assert_eq!(verify(-5), Ok(()));
    assert_eq!(verify(905), Ok(()));
    assert_eq!(verify(906), Err(TokenRefusal::Expired));

    let iat = now().seconds();
    for claim in ["exp", "nbf", "iat"] {
        let wrong = [
            json!("never"),
            json!("1764000000"),
            json!(1e308),
            json!(-1),
            json!(0),
            json!(null),
            json!([iat]),
            json!(1.5),
            json!(u64::MAX),
            json!(LAST_SECOND + 1),
        ];
        for value in wrong {
            assert_eq!(hub.refusal_of_claims(|c| c[claim] = value.clone()), TokenRefusal::Claims, "{claim} {value}");
        }
        let missing = hub.refusal_of_claims(|c| {
            c.as_object_mut().unwrap().remove(claim);
        });
        assert_eq!(missing, TokenRefusal::Claims, "{claim}");
    }
    assert_eq!(hub.refusal_of_claims(|c| c["nbf"] = json!(iat + 600)), TokenRefusal::NotYetValid);
    assert_eq!(hub.refusal_of_claims(|c| c["iat"] = json!(iat + 600)), TokenRefusal::NotYetValid);
    assert_eq!(hub.refusal_of_claims(|c| c["exp"] = json!(iat - 6)), TokenRefusal::Claims);
    assert_eq!(hub.refusal_of_claims(|c| c["exp"] = json!(iat + 86_401)), TokenRefusal::Lifetime);

    let twice = Hub::claims().to_string().replace('{', &format!(r#"{{"exp":{},"#, iat + 99_999));
    let token = sign(&hub.header().to_string(), &twice, &hub.access);
    assert_eq!(hub.verify(&token).unwrap_err(), TokenRefusal::Claims);
}

#[test]
fn red_team_05_issuer_audience_and_subject_are_exactly_ours() {
    let hub = Hub::new();
    assert_eq!(hub.refusal_of_claims(|c| c["iss"] = json!("other.example")), TokenRefusal::Issuer);
    assert_eq!(hub.refusal_of_claims(|c| c["aud"] = json!("other.example")), TokenRefusal::Audience);
    for claim in ["iss", "aud", "sub", "jti", "client_id"] {
        for value in [json!([HUB]), json!([HUB, "other.example"]), json!(7), json!({}), json!(null), json!("")] {
            let refusal = hub.refusal_of_claims(|c| c[claim] = value.clone());
            let expected = match (claim, value.as_str()) {
                ("iss", Some(_)) => TokenRefusal::Issuer,
                ("aud", Some(_)) => TokenRefusal::Audience,
                _ => TokenRefusal::Claims,
            };
            assert_eq!(refusal, expected, "{claim} {value}");
        }
        let missing = hub.refusal_of_claims(|c| {
            c.as_object_mut().unwrap().remove(claim);
        });
        assert_eq!(missing, TokenRefusal::Claims, "{claim}");
    }
    for sub in [MEMBER.to_owned(), format!("spiffe://other.example/participant/lab/member/{MEMBER}")] {
        assert_eq!(hub.refusal_of_claims(|c| c["sub"] = json!(sub)), TokenRefusal::Claims);
    }
    assert_eq!(hub.refusal_of_claims(|c| c["client_id"] = json!("chu")), TokenRefusal::Claims);
    assert_eq!(hub.refusal_of_claims(|c| c["roles"] = json!(["operator"])), TokenRefusal::Claims);
}

#[test]
fn red_team_06_tokens_of_other_kinds_and_keys_are_refused() {
    let hub = Hub::new();
    for typ in ["odh-grant+jwt", "logout+jwt", "JWT", "application/at+jwt", "AT+JWT", ""] {
        assert_eq!(hub.refusal_of_header(|h| h["typ"] = json!(typ)), TokenRefusal::Type, "{typ}");
    }
    // Signed by the hub, but with the key that signs grants.
    let mut header = hub.header();
    header["kid"] = json!(Jwk::from_point(hub.grant.public_point()).unwrap().kid());
    let token = sign(&header.to_string(), &Hub::claims().to_string(), &hub.grant);
    assert_eq!(hub.verify(&token).unwrap_err(), TokenRefusal::Key);
    // Claims of a grant under the header of an access token.
    let iat = now().seconds();
    let grant = json!({
        "iss": HUB, "aud": HUB, "sub": "lab", "jti": GrantId::generate(now()), "iat": iat, "nbf": iat,
        "exp": iat + 900, "authorization_details": []
    });
    let token = sign(&hub.header().to_string(), &grant.to_string(), &hub.access);
    assert_eq!(hub.verify(&token).unwrap_err(), TokenRefusal::Claims);
}

#[test]
fn red_team_07_a_bound_token_needs_its_certificate() {
    let hub = Hub::new();
    let mine = peer('a', "lab", MEMBER);
    let token = mint(&hub, Some(&mine.fingerprint), 900).unwrap().token;
    let check = |token: &str, peer| hub.tokens.check_access_token(token, now(), peer);
    assert_eq!(check(&token, Some(&mine)).unwrap().bound_to, Some(mine.fingerprint.clone()));
    assert_eq!(check(&token, None).unwrap_err(), TokenRefusal::Binding);
    assert_eq!(check(&token, Some(&peer('b', "lab", MEMBER))).unwrap_err(), TokenRefusal::Binding);

    let digest = b64([0xaa_u8; 32]);
    let wrong = [
        json!({"x5t": digest}),
        json!({}),
        json!(null),
        json!({"x5t#S256": b64([0xaa_u8; 20])}),
        json!({"x5t#S256": format!("{digest}=")}),
        json!({"x5t#S256": digest, "jkt": digest}),
        json!("x"),
    ];
    for cnf in wrong {
        assert_eq!(hub.refusal_of_claims(|c| c["cnf"] = cnf.clone()), TokenRefusal::Claims, "{cnf}");
    }
}

#[test]
fn certificate_and_token_together_must_name_the_same_member() {
    let hub = Hub::new();
    let unbound = mint(&hub, None, 900).unwrap().token;
    let check = |peer: &PeerIdentity| hub.tokens.check_access_token(&unbound, now(), Some(peer));
    check(&peer('a', "lab", MEMBER)).unwrap();
    assert_eq!(check(&peer('a', "chu", MEMBER)).unwrap_err(), TokenRefusal::Binding);
    let colleague = MEMBER.replace("0001", "0002");
    assert_eq!(check(&peer('a', "lab", &colleague)).unwrap_err(), TokenRefusal::Binding);
}

#[test]
fn a_token_is_minted_for_a_second_to_a_day() {
    let hub = Hub::new();
    hub.verify(&mint(&hub, None, 86_400).unwrap().token).unwrap();
    assert!(mint(&hub, None, 86_401).is_err());
    assert!(mint(&hub, None, 0).is_err());
    assert!(mint(&hub, Some("not a fingerprint"), 900).is_err());
}

#[test]
fn a_token_beyond_8_kib_is_not_parsed() {
    let hub = Hub::new();
    assert_eq!(hub.verify(&"a".repeat(8_193)).unwrap_err(), TokenRefusal::TooLong);
    assert_eq!(hub.verify(&"a".repeat(8_192)).unwrap_err(), TokenRefusal::Malformed);
}
