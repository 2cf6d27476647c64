//! Writes the hub's Parquet object: typed batches in, a durable file or nothing out.
//!
//! Appends the hidden ordinal column, hashes what it writes, and makes the file visible by a rename after fsync.
//! Until then it is a temporary file beside its place, removed on every way out that is not success.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, RecordBatch, StringArray, UInt32Array},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
};
use aws_lc_rs::digest::{Context, SHA256};
use datafusion::parquet::{arrow::ArrowWriter, basic::Compression, file::properties::WriterProperties};
use roaring::RoaringBitmap;

use super::{Ingested, ORDINAL_COLUMN};
use crate::{
    domain::{Column, ColumnRole, ColumnType, Digest},
    error::{Error, Reason, Result},
};

/// Rows of a row group.
const GROUP_ROWS: usize = 131_072;
/// Encoded bytes after which a row group ends early; bounds the writer's memory.
const GROUP_BYTES: usize = 128 << 20;

/// The arrow type in which a column is stored.
pub(super) fn arrow_type(column: ColumnType) -> DataType {
    match column {
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Int64 => DataType::Int64,
        ColumnType::Float64 => DataType::Float64,
        ColumnType::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
        ColumnType::String => DataType::Utf8,
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
    }
}

/// The schema of a snapshot's visible columns.
pub(super) fn visible_schema(columns: &[Column]) -> SchemaRef {
    let field = |column: &Column| Field::new(&column.name, arrow_type(column.data_type), column.nullable);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// The file being written.
pub(super) struct Target {
    writer: ArrowWriter<Hashing>,
    schema: SchemaRef,
    columns: Vec<Column>,
    ordinals: Option<Ordinals>,
    rows: u64,
    // Last, so that the file is closed before it is removed.
    place: Place,
}

impl Target {
    /// Starts a file for `columns` that will appear at `path`. `known` holds the dataset's ordinals so far.
    pub(super) fn create(path: &Path, columns: Vec<Column>, known: HashMap<String, u32>) -> Result<Self> {
        let mut fields: Vec<_> = visible_schema(&columns).fields().iter().cloned().collect();
        let subject = columns.iter().position(|column| column.role == ColumnRole::SubjectKey);
        let ordinals = subject.map(|at| Ordinals::new(at, known)).transpose()?;
        if ordinals.is_some() {
            fields.push(Arc::new(Field::new(ORDINAL_COLUMN, DataType::UInt32, false)));
        }
        let schema = Arc::new(Schema::new(fields));
        let (place, file) = Place::create(path)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_created_by("occitanie-data-hub".to_owned())
            .build();
        let sink = Hashing { inner: BufWriter::new(file), context: Context::new(&SHA256), bytes: 0 };
        let writer = ArrowWriter::try_new(sink, Arc::clone(&schema), Some(properties)).map_err(Error::internal)?;
        Ok(Self { writer, schema, columns, ordinals, rows: 0, place })
    }

    /// Appends a batch of the visible columns, in the types of [`arrow_type`]; returns the rows so far.
    pub(super) fn write(&mut self, mut arrays: Vec<ArrayRef>) -> Result<u64> {
        if let Some(ordinals) = &mut self.ordinals {
            arrays.push(ordinals.assign(&arrays)?);
        }
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays).map_err(Error::internal)?;
        self.writer.write(&batch).map_err(Error::internal)?;
        if self.writer.in_progress_size() > GROUP_BYTES {
            self.writer.flush().map_err(Error::internal)?;
        }
        self.rows += u64::try_from(batch.num_rows()).map_err(Error::internal)?;
        Ok(self.rows)
    }

    /// Closes the file, makes it durable and visible.
    pub(super) fn finish(self, source_digest: Digest) -> Result<Ingested> {
        let Self { writer, columns, ordinals, rows, place, .. } = self;
        let sink = writer.into_inner().map_err(Error::internal)?;
        let (file, digest, bytes) = sink.finish().map_err(Error::internal)?;
        file.sync_all().map_err(Error::internal)?;
        drop(file);
        place.publish().map_err(Error::internal)?;
        let (subjects, new_subjects) = ordinals.map_or((None, Vec::new()), |o| (Some(o.present.len()), o.new));
        Ok(Ingested { columns, rows, bytes, subjects, new_subjects, digest, source_digest })
    }
}

/// Gives every pseudonym its ordinal in the dataset.
struct Ordinals {
    /// The index of the subject key column.
    column: usize,
    known: HashMap<String, u32>,
    next: u32,
    new: Vec<String>,
    present: RoaringBitmap,
}

impl Ordinals {
    fn new(column: usize, known: HashMap<String, u32>) -> Result<Self> {
        let next = known.values().max().map_or(Some(0), |last| last.checked_add(1)).ok_or_else(full)?;
        Ok(Self { column, known, next, new: Vec::new(), present: RoaringBitmap::new() })
    }

    fn assign(&mut self, arrays: &[ArrayRef]) -> Result<ArrayRef> {
        let keys = arrays
            .get(self.column)
            .and_then(|array| array.as_any().downcast_ref::<StringArray>())
            .ok_or_else(|| Error::internal("the subject key is not stored as text"))?;
        let mut out = Vec::with_capacity(keys.len());
        for at in 0..keys.len() {
            let key = keys.value(at);
            let ordinal = if let Some(ordinal) = self.known.get(key) {
                *ordinal
            } else {
                let ordinal = self.next;
                self.next = ordinal.checked_add(1).ok_or_else(full)?;
                self.known.insert(key.to_owned(), ordinal);
                self.new.push(key.to_owned());
                ordinal
            };
            self.present.insert(ordinal);
            out.push(ordinal);
        }
        Ok(Arc::new(UInt32Array::from(out)))
    }
}

fn full() -> Error {
    Error::new(Reason::UploadTooLarge).with("limit", "2^32 subjects of a dataset")
}

/// A temporary file that becomes `path`, or is removed.
struct Place {
    temporary: PathBuf,
    path: PathBuf,
    published: bool,
}

impl Place {
    fn create(path: &Path) -> Result<(Self, File)> {
        let name = path.file_name().ok_or_else(|| Error::internal("the target has no file name"))?;
        if path.try_exists().map_err(Error::internal)? {
            // Snapshots are immutable: their object is never written twice.
            return Err(Error::new(Reason::AlreadyExists).with("object", "this snapshot"));
        }
        let mut temporary = name.to_os_string();
        temporary.push(".part");
        let temporary = path.with_file_name(temporary);
        let file = OpenOptions::new().write(true).create_new(true).open(&temporary).map_err(Error::internal)?;
        Ok((Self { temporary, path: path.to_owned(), published: false }, file))
    }

    fn publish(mut self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.path)?;
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let durable = File::open(parent.unwrap_or_else(|| Path::new("."))).and_then(|directory| directory.sync_all());
        if durable.is_err() {
            // Whoever asked is told that it failed, so nothing may stand there.
            let _ = fs::remove_file(&self.path);
        }
        self.published = true;
        durable
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.published {
            // Nothing refers to the file; if it cannot be removed now, only space is lost.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Hashes and counts what is written.
struct Hashing {
    inner: BufWriter<File>,
    context: Context,
    bytes: u64,
}

impl Hashing {
    fn finish(self) -> io::Result<(File, Digest, u64)> {
        let file = self.inner.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok((file, digest(self.context), self.bytes))
    }
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.context.update(&bytes[..written]);
        self.bytes += u64::try_from(written).unwrap_or(0);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The digest of what `context` was given.
pub(super) fn digest(context: Context) -> Digest {
    let hash = context.finish();
    let mut out = [0; 32];
    out.copy_from_slice(hash.as_ref());
    Digest(out)
}
