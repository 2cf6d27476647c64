//! Datasets and their snapshots, in the terms of DCAT.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{DatasetId, Digest, Name, SnapshotId, Timestamp};
use crate::error::{Error, Reason};

/// Whether a grant is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Any active participant may use it within its policy, without a grant.
    Open,
    /// A grant is needed.
    Restricted,
}

impl Access {
    /// The name used in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Restricted => "restricted",
        }
    }
}

impl FromStr for Access {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "open" => Ok(Self::Open),
            "restricted" => Ok(Self::Restricted),
            _ => Err(Error::invalid("access", format!("`{}` is neither open nor restricted", text.escape_debug()))),
        }
    }
}

/// Where a dataset stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatasetState {
    /// Seen by its owner only: it lacks a snapshot or a published policy.
    Draft,
    /// In the catalog.
    Published,
    /// Out of the catalog for good; its name stays taken.
    Retired,
}

impl DatasetState {
    /// The name used in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Published => "published",
            Self::Retired => "retired",
        }
    }
}

impl FromStr for DatasetState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        [Self::Draft, Self::Published, Self::Retired]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Error::invalid("dataset state", text.escape_debug()))
    }
}

/// The column that holds the pseudonym of the individual a row is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectKey {
    /// The column's name.
    pub column: String,
    /// The authority under which equal keys mean the same person; only keys of one namespace join.
    pub namespace: Name,
}

/// What a column is for. Aggregate-only queries may group by dimensions, aggregate measures, join on keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnRole {
    /// May be grouped by.
    Dimension,
    /// May be aggregated.
    Measure,
    /// A public key such as a commune's code: may be joined on and grouped by.
    Key,
    /// The subject key: only joined on and counted.
    SubjectKey,
}

/// The logical type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// True or false.
    Boolean,
    /// A 64-bit signed integer.
    Int64,
    /// A 64-bit IEEE 754 number.
    Float64,
    /// An exact decimal number.
    Decimal { precision: u8, scale: i8 },
    /// UTF-8 text.
    String,
    /// A calendar date.
    Date,
    /// An instant with microseconds, UTC.
    Timestamp,
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("boolean"),
            Self::Int64 => f.write_str("int64"),
            Self::Float64 => f.write_str("float64"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::String => f.write_str("string"),
            Self::Date => f.write_str("date"),
            Self::Timestamp => f.write_str("timestamp"),
        }
    }
}

/// A column of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name: `[a-z_][a-z0-9_]{0,62}`.
    pub name: String,
    /// Its type, inferred at upload.
    pub data_type: ColumnType,
    /// Whether a value may be missing.
    pub nullable: bool,
    /// What it is for.
    pub role: ColumnRole,
    /// What it means, from the owner.
    #[serde(default)]
    pub description: String,
}

/// A dataset's entry in the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Owner and name.
    pub id: DatasetId,
    /// Its title.
    pub title: String,
    /// What it holds, where it comes from, how it was made.
    pub description: String,
    /// SPDX identifier or URL of the licence; empty if access is by grant only.
    pub licence: String,
    /// Attribution that a user must carry along.
    pub attribution: String,
    /// Words to find it by.
    pub keywords: Vec<String>,
    /// True if no row is about a real person or organisation.
    pub synthetic: bool,
    /// Open or by grant.
    pub access: Access,
    /// The subject key, if rows are about individuals.
    pub subject_key: Option<SubjectKey>,
    /// Descriptions and roles that the owner gave to columns, by name; merged into each snapshot.
    pub column_notes: Vec<ColumnNote>,
    /// Where it stands.
    pub state: DatasetState,
    /// The snapshot that queries read.
    pub snapshot: Option<Snapshot>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Grows with each change; the etag is made from it.
    pub revision: i64,
}

/// What the owner says about a column before its type is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnNote {
    /// The column's name.
    pub name: String,
    /// What it is for, if not to be inferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<ColumnRole>,
    /// What it means.
    #[serde(default)]
    pub description: String,
}

/// One immutable version of a dataset's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its id; also the stem of its object's name.
    pub id: SnapshotId,
    /// Of which dataset.
    pub dataset: DatasetId,
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// Number of rows.
    pub rows: u64,
    /// Size of the Parquet object in bytes.
    pub bytes: u64,
    /// Number of distinct subjects, if there is a subject key.
    pub subjects: Option<u64>,
    /// SHA-256 of the Parquet object that the hub wrote.
    pub digest: Digest,
    /// SHA-256 of the file as it was uploaded.
    pub source_digest: Digest,
    /// When it became visible.
    pub created_at: Timestamp,
}

impl Dataset {
    /// The columns of the current snapshot; none before the first upload.
    pub fn columns(&self) -> &[Column] {
        self.snapshot.as_ref().map_or(&[], |snapshot| &snapshot.columns)
    }

    /// Becomes part of the catalog once a policy is published; needs a snapshot.
    pub fn publish(mut self) -> Result<Self, Error> {
        match (self.state, &self.snapshot) {
            (DatasetState::Draft | DatasetState::Published, Some(_)) => {
                self.state = DatasetState::Published;
                Ok(self)
            }
            (DatasetState::Draft, None) => Err(self.conflict("to have a snapshot")),
            _ => Err(self.conflict("draft")),
        }
    }

    /// Leaves the catalog for good.
    pub fn retire(mut self) -> Result<Self, Error> {
        if self.state == DatasetState::Retired {
            return Err(self.conflict("draft or published"));
        }
        self.state = DatasetState::Retired;
        Ok(self)
    }

    fn conflict(&self, wanted: &str) -> Error {
        Error::new(Reason::StateConflict)
            .with("object", format!("dataset `{}`", self.id))
            .with("state", self.state.as_str())
            .with("wanted", wanted)
    }
}
