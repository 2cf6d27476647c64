//! Checks an uploaded file and re-encodes it into the Parquet object of a snapshot, which only the hub writes.
//!
//! No byte of an upload is ever read by a query: this is the one place where foreign bytes are parsed, under
//! limits of rows, columns, cells and decoded bytes, with memory bounded by a batch. Knows nothing of datasets'
//! states, of the catalog or of who uploads. Every function blocks: call it on a blocking thread.

mod columns;
mod csv;
mod infer;
mod names;
mod pages;
mod parquet;
mod records;
mod target;

#[cfg(test)]
mod tests;

use std::{collections::HashMap, fs::File, io::Read as _, io::Seek as _, path::Path};

use aws_lc_rs::digest::{Context, SHA256};

use crate::{
    domain::{Column, ColumnNote, Digest, SubjectKey},
    error::{Error, Reason, Result},
};

/// The hidden column with the dense ordinal of a row's subject; the last one where there is a subject key.
pub const ORDINAL_COLUMN: &str = "__ordinal";

/// Rows that are converted at once.
const BATCH_ROWS: usize = 8_192;
/// Bytes of text that are converted at once, but for a single row.
const BATCH_BYTES: usize = 16 << 20;

/// How the uploaded file is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// RFC 4180 with a header, UTF-8, `,` or `;` as separator.
    Csv,
    /// Apache Parquet of flat columns.
    Parquet,
}

/// An uploaded file.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Where it was staged; nobody may write to it any more.
    pub path: &'a Path,
    /// Its encoding.
    pub format: Format,
}

/// What a file may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes once decoded: the text of a CSV, the uncompressed values of a Parquet.
    pub max_bytes: u64,
    /// Most rows.
    pub max_rows: u64,
    /// Most columns.
    pub max_columns: usize,
    /// Most bytes of one value.
    pub max_cell_bytes: usize,
}

impl Default for Limits {
    /// 8 GiB, a billion rows, 512 columns, 64 KiB per value.
    fn default() -> Self {
        Self { max_bytes: 8 << 30, max_rows: 1_000_000_000, max_columns: 512, max_cell_bytes: 64 << 10 }
    }
}

/// What the dataset's owner said about the file.
#[derive(Debug, Clone, Copy)]
pub struct Instructions<'a> {
    /// The subject key, if rows are about individuals.
    pub subject_key: Option<&'a SubjectKey>,
    /// Roles and descriptions of columns.
    pub notes: &'a [ColumnNote],
    /// Bounds.
    pub limits: Limits,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingested {
    /// The columns in order, without [`ORDINAL_COLUMN`].
    pub columns: Vec<Column>,
    /// Number of rows.
    pub rows: u64,
    /// Size of the Parquet object.
    pub bytes: u64,
    /// Number of distinct subjects in this file, if there is a subject key.
    pub subjects: Option<u64>,
    /// Pseudonyms that the dataset had not seen; the first has the ordinal after the last known one, and so on.
    pub new_subjects: Vec<String>,
    /// SHA-256 of the Parquet object.
    pub digest: Digest,
    /// SHA-256 of the uploaded file.
    pub source_digest: Digest,
}

/// Re-encodes `source` into a new file at `target`, which appears whole and durable or not at all.
///
/// `known` maps the dataset's pseudonyms to their ordinals; new ones get the next ordinals in order of first
/// appearance. `progress` is called with the rows written so far. Rows keep their order.
///
/// Fails with `UPLOAD_MALFORMED` at a line (for Parquet the row, or 0 for the file as a whole), with
/// `UPLOAD_TOO_LARGE`, with `INVALID_ARGUMENT` where the file and the instructions do not fit, or with
/// `ALREADY_EXISTS` if there is a file at `target`.
#[expect(clippy::implicit_hasher, reason = "the map is kept and grown: a foreign hasher would be no use")]
pub fn ingest(
    source: Source<'_>,
    instructions: &Instructions<'_>,
    known: HashMap<String, u32>,
    target: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Ingested> {
    let mut file = File::open(source.path).map_err(Error::internal)?;
    if file.metadata().map_err(Error::internal)?.len() > instructions.limits.max_bytes {
        return Err(too_large(instructions.limits.max_bytes, "bytes"));
    }
    let source_digest = digest(&mut file)?;
    match source.format {
        Format::Csv => csv::ingest(file, instructions, known, target, source_digest, progress),
        Format::Parquet => parquet::ingest(&file, instructions, known, target, source_digest, progress),
    }
}

/// SHA-256 of the whole file; leaves it at its beginning.
fn digest(file: &mut File) -> Result<Digest> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = file.read(&mut buffer).map_err(Error::internal)?;
        if read == 0 {
            break;
        }
        context.update(&buffer[..read]);
    }
    file.rewind().map_err(Error::internal)?;
    Ok(target::digest(context))
}

fn too_large(limit: impl std::fmt::Display, unit: &str) -> Error {
    Error::new(Reason::UploadTooLarge).with("limit", format_args!("{limit} {unit}"))
}
