//! Key sets (RFC 7517): what the hub publishes, and what a verifier of grants reads, with every length checked.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{
    domain::Digest,
    error::{Error, Result},
};

const MAX_DOCUMENT_BYTES: usize = 64 * 1_024;
const MAX_KEYS: usize = 32;

/// A public ES256 key. Its `kid` is its RFC 7638 thumbprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Jwk {
    kty: &'static str,
    crv: &'static str,
    x: String,
    y: String,
    #[serde(rename = "use")]
    usage: &'static str,
    alg: &'static str,
    kid: String,
}

impl Jwk {
    /// The key of an uncompressed P-256 point: `0x04`, x, y. Refuses what is not on the curve.
    pub fn from_point(point: &[u8]) -> Result<Self> {
        let coordinates = point.strip_prefix(&[4]).filter(|rest| rest.len() == 64);
        let (x, y) = coordinates.ok_or_else(|| unusable("a key is not an uncompressed P-256 point"))?.split_at(32);
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_| unusable("a key is not on its curve"))?;
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let kid = URL_SAFE_NO_PAD.encode(Digest::of(members.as_bytes()).0);
        Ok(Self { kty: "EC", crv: "P-256", x, y, usage: "sig", alg: "ES256", kid })
    }

    /// The key's id, its thumbprint.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The affine coordinates in base64url, as JOSE libraries want them.
    pub(super) fn coordinates(&self) -> (&str, &str) {
        (&self.x, &self.y)
    }
}

/// A set of public ES256 keys, found by `kid`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Jwks {
    keys: Vec<Jwk>,
}

impl Jwks {
    /// A set of these keys.
    pub const fn new(keys: Vec<Jwk>) -> Self {
        Self { keys }
    }

    /// The keys.
    pub fn keys(&self) -> &[Jwk] {
        &self.keys
    }

    /// The key with this id.
    pub fn get(&self, kid: &str) -> Option<&Jwk> {
        self.keys.iter().find(|key| key.kid == kid)
    }

    /// The document to publish (`application/jwk-set+json`).
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(Error::internal)
    }

    /// Reads a foreign document of at most 64 KiB and 32 keys.
    ///
    /// Keys of other types, curves, uses or algorithms are skipped (RFC 7517 section 5). A P-256 signing key must
    /// be whole, on its curve and named by its thumbprint, or the document is refused; so is one without any.
    pub fn parse(document: &[u8]) -> Result<Self> {
        if document.len() > MAX_DOCUMENT_BYTES {
            return Err(unusable("it exceeds 64 KiB"));
        }
        let document: ForeignSet = serde_json::from_slice(document).map_err(|_| unusable("not a JSON Web Key Set"))?;
        if document.keys.len() > MAX_KEYS {
            return Err(unusable("it has more than 32 keys"));
        }
        let mut keys: Vec<Jwk> = Vec::new();
        for foreign in document.keys.into_iter().filter(ForeignKey::is_usable) {
            let key = foreign.check()?;
            if keys.iter().any(|other| other.kid == key.kid) {
                return Err(unusable("a key occurs twice"));
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(unusable("it has no ES256 key")) } else { Ok(Self { keys }) }
    }
}

#[derive(Deserialize)]
struct ForeignSet {
    keys: Vec<ForeignKey>,
}

#[derive(Deserialize)]
struct ForeignKey {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    kid: Option<String>,
}

impl ForeignKey {
    fn is_usable(&self) -> bool {
        self.kty == "EC"
            && self.crv.as_deref() == Some("P-256")
            && self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self.alg.as_deref().is_none_or(|alg| alg == "ES256")
    }

    fn check(&self) -> Result<Jwk> {
        let mut point = vec![4];
        for coordinate in [&self.x, &self.y] {
            let text = coordinate.as_deref().filter(|text| text.len() == 43);
            let bytes = text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
            point.extend(bytes.ok_or_else(|| unusable("a coordinate is not 32 bytes in base64url"))?);
        }
        let key = Jwk::from_point(&point)?;
        if self.kid.as_deref() == Some(key.kid()) { Ok(key) } else { Err(unusable("a `kid` is not the thumbprint")) }
    }
}

fn unusable(detail: &str) -> Error {
    Error::invalid("jwks", detail)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::trust::P256Key;

    fn key() -> Jwk {
        Jwk::from_point(P256Key::generate().unwrap().public_point()).unwrap()
    }

    fn document(change: impl FnOnce(&mut Value)) -> Vec<u8> {
        let mut document = serde_json::to_value(Jwks::new(vec![key()])).unwrap();
        change(&mut document["keys"]);
        serde_json::to_vec(&document).unwrap()
    }

    #[test]
    fn a_published_set_can_be_read_again() {
        let set = Jwks::new(vec![key(), key()]);
        let read = Jwks::parse(set.to_json().unwrap().as_bytes()).unwrap();
        assert_eq!(read, set);
        assert_eq!(read.get(set.keys()[1].kid()), Some(&set.keys()[1]));
        assert_eq!(read.get("' OR 1=1--"), None);
        assert!(!set.to_json().unwrap().contains("\"d\""));
    }

    #[test]
    fn the_kid_is_the_thumbprint_of_rfc_7638() {
        // Computed independently with Python: sha256 of the four required members in lexical order.
        let x = URL_SAFE_NO_PAD.decode("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4").unwrap();
        let y = URL_SAFE_NO_PAD.decode("4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM").unwrap();
        let key = Jwk::from_point(&[&[4][..], &x, &y].concat()).unwrap();
        assert_eq!(key.kid(), "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s");
    }

    #[test]
    fn keys_of_other_kinds_are_skipped() {
        let bytes = document(|keys| {
            let keys = keys.as_array_mut().unwrap();
            keys.push(json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}));
            keys.push(json!({"kty": "RSA", "n": "AQ", "e": "AQAB"}));
            keys.push(json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}));
            keys.push(json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "use": "enc"}));
        });
        assert_eq!(Jwks::parse(&bytes).unwrap().keys().len(), 1);
    }

    #[test]
    fn malformed_keys_and_documents_are_refused() {
        let bad = [
            b"[]".to_vec(),
            br#"{"keys":[]}"#.to_vec(),
            br#"{"keys":[],"keys":[]}"#.to_vec(),
            document(|keys| keys[0]["x"] = json!("AAA")),
            document(|keys| keys[0]["x"] = json!("A".repeat(44))),
            document(|keys| keys[0]["y"] = json!("A".repeat(43))),
            document(|keys| keys[0]["y"] = json!(7)),
            document(|keys| {
                keys[0].as_object_mut().unwrap().remove("y");
            }),
            document(|keys| keys[0]["kid"] = json!("../../dev/null")),
            document(|keys| *keys = Value::Array(vec![keys[0].clone(), keys[0].clone()])),
            document(|keys| *keys = Value::Array(vec![keys[0].clone(); 33])),
            vec![b' '; MAX_DOCUMENT_BYTES + 1],
        ];
        for document in bad {
            assert!(Jwks::parse(&document).is_err(), "{}", String::from_utf8_lossy(&document));
        }
    }
}
