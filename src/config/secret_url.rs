//! A URL that may carry a password: never shown in full by `Debug`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A URL whose user information and query may be secret. [`SecretUrl::expose`] is the only way to all of it.
///
/// It is serialised in full, since a configuration must read back as it was; print [`SecretUrl::redacted`] instead.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// Wraps a URL as it stands, without checking it.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The whole URL, for the code that connects to it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The scheme, in lower case; empty if there is none.
    pub fn scheme(&self) -> String {
        self.0.split_once("://").map_or_else(String::new, |(scheme, _)| scheme.to_ascii_lowercase())
    }

    /// The URL with user information and query replaced by `***`; only `***` if it does not look like a URL.
    pub fn redacted(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else { return "***".to_owned() };
        let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, _)| (rest, "?***"));
        // The last `@`: a password that was not percent-encoded may hold one, and a `/` as well.
        let (user, place) = rest.rsplit_once('@').map_or(("", rest), |(_, place)| ("***@", place));
        format!("{scheme}://{user}{place}{query}")
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.redacted())
    }
}

/// For `#[serde(with = "optional")]`: an absent URL is written as the empty text, so that its key is always there.
pub(super) mod optional {
    use super::{Deserialize, Deserializer, SecretUrl, Serializer};

    #[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
    pub(in crate::config) fn serialize<S: Serializer>(url: &Option<SecretUrl>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(url.as_ref().map_or("", SecretUrl::expose))
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SecretUrl>, D::Error> {
        let url = String::deserialize(from)?;
        Ok((!url.is_empty()).then(|| SecretUrl::new(url)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_user_nor_password_nor_query() {
        for (url, shown) in [
            ("postgres://hub:s3cret@db:5432/hub", "postgres://***@db:5432/hub"),
            ("postgres://hub:s3c@ret/x@db/hub?password=s3cret", "postgres://***@db/hub?***"),
            ("sqlite://data/hub.db", "sqlite://data/hub.db"),
            ("s3cret", "***"),
        ] {
            assert_eq!(format!("{:?}", SecretUrl::new(url)), format!("{shown:?}"));
        }
    }
}
