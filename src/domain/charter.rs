//! The charter: the trust framework's text, whose digest a participant signs to become active.

use super::{Digest, Timestamp};

/// One version of the charter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charter {
    /// Counts from 1.
    pub version: i64,
    /// The text, Markdown.
    pub text: String,
    /// SHA-256 of the text's bytes.
    pub digest: Digest,
    /// Since when it is in force.
    pub published_at: Timestamp,
}
