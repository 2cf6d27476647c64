//! Entries of the log as Apache Parquet, for those who search them with a data tool.
//!
//! Column `leaf` has the bytes that the log has, so that each row can be verified again.

use std::{fs::File, path::Path, sync::Arc};

use arrow::{
    array::{ArrayRef, StringBuilder, TimestampMicrosecondBuilder, UInt64Builder},
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    record_batch::RecordBatch,
};
use parquet::arrow::ArrowWriter;

use crate::{
    audit::{Hash, LeafView},
    cli::failure::Failure,
    domain::{Digest, ParticipantId},
};

/// Rows of one batch.
const ROWS: usize = 8_192;
/// The text columns after index and time; the optional ones are null where a leaf has none.
const TEXTS: [(&str, bool); 8] = [
    ("type", false),
    ("actor", true),
    ("parties", false),
    ("dataset", true),
    ("purpose", true),
    ("facts", false),
    ("leaf_hash", false),
    ("leaf", false),
];

/// Writes entries into a Parquet file.
pub(in crate::cli) struct EntriesFile {
    writer: ArrowWriter<File>,
    schema: SchemaRef,
    rows: usize,
    index: UInt64Builder,
    time: TimestampMicrosecondBuilder,
    texts: [StringBuilder; 8],
}

impl EntriesFile {
    /// Begins a file.
    pub(in crate::cli) fn create(path: &Path) -> Result<Self, Failure> {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let mut fields = vec![Field::new("index", DataType::UInt64, false), Field::new("time", time, false)];
        fields.extend(TEXTS.map(|(name, nullable)| Field::new(name, DataType::Utf8, nullable)));
        let schema = Arc::new(Schema::new(fields));
        let file = File::create(path).map_err(|e| Failure::file(path, &e))?;
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), None).map_err(|e| failed(&e))?;
        let texts = std::array::from_fn(|_| StringBuilder::new());
        let time = TimestampMicrosecondBuilder::new().with_timezone("UTC");
        Ok(Self { writer, schema, rows: 0, index: UInt64Builder::new(), time, texts })
    }

    /// Adds an entry.
    pub(in crate::cli) fn add(&mut self, leaf: &str, view: &LeafView, hash: &Hash) -> Result<(), Failure> {
        self.index.append_value(view.index);
        self.time.append_value(view.at.micros());
        let parties: Vec<&str> = view.parties.iter().map(ParticipantId::as_str).collect();
        let values = [
            Some(view.kind.as_str().to_owned()),
            view.actor.as_ref().map(ToString::to_string),
            Some(parties.join(" ")),
            view.dataset.as_ref().map(ToString::to_string),
            view.purpose.as_ref().map(ToString::to_string),
            Some(serde_json::Value::Object(view.facts.clone()).to_string()),
            Some(Digest(*hash).hex()),
            Some(leaf.to_owned()),
        ];
        for (column, value) in self.texts.iter_mut().zip(values) {
            column.append_option(value);
        }
        self.rows += 1;
        if self.rows == ROWS { self.flush() } else { Ok(()) }
    }

    /// Ends the file.
    pub(in crate::cli) fn finish(mut self) -> Result<(), Failure> {
        self.flush()?;
        self.writer.close().map_err(|e| failed(&e))?;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(self.index.finish()), Arc::new(self.time.finish())];
        columns.extend(self.texts.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        self.rows = 0;
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|e| failed(&e))?;
        self.writer.write(&batch).map_err(|e| failed(&e))
    }
}

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::new(
        crate::cli::failure::Exit::Failed,
        format!("the Parquet file cannot be written: {error}"),
        format!("le fichier Parquet ne peut être écrit : {error}"),
    )
}
