//! Identifiers. Names that people choose are SQL identifiers; everything else has a UUIDv7.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, Reason};

/// A name chosen by a person: `[a-z][a-z0-9_]{0,62}`, so that it is an SQL identifier without quotes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut bytes = text.bytes();
        let starts_well = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
        let goes_on_well = bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if starts_well && goes_on_well && text.len() <= 63 {
            Ok(Self(text.to_owned()))
        } else {
            let shown: String = text.chars().take(80).collect();
            Err(Error::new(Reason::IdInvalid).with("id", shown.escape_debug()))
        }
    }
}

impl TryFrom<String> for Name {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of a participant, which is also the SQL schema of its datasets.
pub type ParticipantId = Name;

/// A dataset: its owner and its name; in SQL the table `owner.name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DatasetId {
    /// The participant that owns the dataset.
    pub owner: ParticipantId,
    /// The dataset's name among those of its owner.
    pub name: Name,
}

impl FromStr for DatasetId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (owner, name) = text.split_once('.').ok_or_else(|| {
            Error::invalid("dataset", format!("`{}` is not of the form owner.dataset", text.escape_debug()))
        })?;
        Ok(Self { owner: owner.parse()?, name: name.parse()? })
    }
}

impl TryFrom<String> for DatasetId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<DatasetId> for String {
    fn from(id: DatasetId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for DatasetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.owner, self.name)
    }
}

/// Declares ids that are UUIDs; new ones are version 7, so they sort by creation.
macro_rules! uuid_ids {
    ($($(#[$doc:meta])* $name:ident $what:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Uuid);

        impl $name {
            /// A fresh id, created at `now`.
            pub fn generate(now: super::Timestamp) -> Self {
                Self(new_uuid(now))
            }

            /// The bare UUID.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                Uuid::try_parse(text).map(Self).map_err(|_| Error::invalid($what, "not a UUID"))
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self, Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }
    )+};
}

uuid_ids! {
    /// A person or service account of a participant.
    MemberId "member";
    /// One immutable version of a dataset's bytes.
    SnapshotId "snapshot";
    /// An ask for access.
    AccessRequestId "access request";
    /// A signed agreement; also its token's `jti`.
    GrantId "grant";
    /// One run of a query.
    QueryId "query";
    /// An idempotency key chosen by the caller.
    RequestId "request_id";
}

/// A UUIDv7 (RFC 9562 section 5.7) from the hub's clock and the system's randomness.
fn new_uuid(now: super::Timestamp) -> Uuid {
    let mut random = [0_u8; 10];
    // The library reports failure only when the operating system has no entropy source at all.
    let _ = aws_lc_rs::rand::fill(&mut random);
    let millis = u64::try_from(now.micros() / 1_000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_an_unquoted_sql_identifier() {
        for good in ["a", "chu", "open_data2", &"a".repeat(63)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "A", "1a", "_a", "a-b", "a b", "é", "a\0", &"a".repeat(64)] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_dataset_id_round_trips() {
        let id: DatasetId = "chu.stays".parse().unwrap();
        assert_eq!(id.to_string(), "chu.stays");
        assert!("chu".parse::<DatasetId>().is_err());
        assert!("chu.stays.x".parse::<DatasetId>().is_err());
    }
}
