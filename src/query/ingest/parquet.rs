//! Foreign Parquet to typed batches: flat columns of known types, decoded under limits, panics caught.

use std::{
    collections::HashMap,
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray as _, RecordBatch},
    compute::{CastOptions, cast_with_options},
    datatypes::{DataType, Schema},
};
use datafusion::parquet::{
    arrow::arrow_reader::{
        ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    },
    errors::ParquetError,
    file::metadata::RowGroupMetaData,
};

use super::{
    BATCH_BYTES, BATCH_ROWS, Ingested, Instructions, Limits, columns, names, pages,
    records::malformed,
    target::{Target, visible_schema},
    too_large,
};
use crate::{
    domain::{ColumnType, Digest},
    error::{Error, Result},
};

/// Checks and re-encodes the Parquet in `file`.
pub(super) fn ingest(
    file: &File,
    instructions: &Instructions<'_>,
    known: HashMap<String, u32>,
    target: &Path,
    source_digest: Digest,
    progress: &mut dyn FnMut(u64),
) -> Result<Ingested> {
    let limits = &instructions.limits;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let metadata = guarded(0, || ArrowReaderMetadata::load(file, options))?;
    check_announced(&metadata, limits)?;
    let pages = guarded(0, || Ok::<_, ParquetError>(pages::check(file, metadata.metadata())))?;
    check_bytes(pages.map_err(|detail| malformed(0, detail))?, limits)?;

    let fields = metadata.schema().fields();
    let names: Vec<_> = fields.iter().map(|field| field.name().clone()).collect();
    names::check(&names, 0)?;
    columns::check(&names, instructions)?;
    let typed = fields.iter().map(|field| {
        let unsupported = || malformed(0, format_args!("column `{}` has a type that is not accepted", field.name()));
        Ok((field.name().clone(), column_type(field.data_type()).ok_or_else(unsupported)?))
    });
    let typed = typed.collect::<Result<Vec<_>>>()?;
    let subject = instructions.subject_key.and_then(|key| names.iter().position(|name| *name == key.column));
    if let Some((name, data_type)) = subject.and_then(|at| typed.get(at))
        && !matches!(data_type, ColumnType::String | ColumnType::Int64)
    {
        return Err(malformed(
            0,
            format_args!("the subject key `{name}` is {data_type}: it must be text or an integer"),
        ));
    }
    let columns = columns::describe(typed.into_iter(), instructions);
    let reader = guarded(0, || open(file, &metadata))?;
    let mut pump = Pump {
        schema: visible_schema(&columns),
        subject,
        limits,
        rows: 0,
        bytes: 0,
        target: Target::create(target, columns, known)?,
    };
    pump.run(reader, progress)?;
    pump.target.finish(source_digest)
}

/// Refuses by what the footer announces; what is decoded is counted again.
fn check_announced(metadata: &ArrowReaderMetadata, limits: &Limits) -> Result<()> {
    let footer = metadata.metadata();
    if footer.file_metadata().schema_descr().num_columns() > limits.max_columns {
        return Err(too_large(limits.max_columns, "columns"));
    }
    if exceeds(footer.file_metadata().num_rows(), limits.max_rows) {
        return Err(too_large(limits.max_rows, "rows"));
    }
    let announced = footer.row_groups().iter().map(RowGroupMetaData::total_byte_size).fold(0, i64::saturating_add);
    check_bytes(announced, limits)
}

fn check_bytes(bytes: i64, limits: &Limits) -> Result<()> {
    if exceeds(bytes, limits.max_bytes) { Err(too_large(limits.max_bytes, "bytes")) } else { Ok(()) }
}

/// Whether a number from the file is beyond the limit, or none at all.
fn exceeds(value: i64, limit: u64) -> bool {
    u64::try_from(value).map_or(true, |value| value > limit)
}

/// Opens the file with text as views, so that a repeated dictionary value takes 16 bytes until it is measured.
fn open(file: &File, metadata: &ArrowReaderMetadata) -> Result<ParquetRecordBatchReader, ParquetError> {
    let fields: Vec<_> = metadata
        .schema()
        .fields()
        .iter()
        .map(|field| match field.data_type() {
            DataType::Utf8 => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
            _ => Arc::clone(field),
        })
        .collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata.schema().metadata().clone()));
    let options = ArrowReaderOptions::new().with_schema(schema);
    let metadata = ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)?;
    let file = file.try_clone()?;
    ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata).with_batch_size(BATCH_ROWS).build()
}

/// The type in which a column is kept; none if the hub does not take it.
const fn column_type(data_type: &DataType) -> Option<ColumnType> {
    Some(match data_type {
        DataType::Boolean => ColumnType::Boolean,
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64 => ColumnType::Int64,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => ColumnType::Float64,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
            if *scale >= 0 =>
        {
            ColumnType::Decimal { precision: *precision, scale: *scale }
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => ColumnType::String,
        DataType::Date32 => ColumnType::Date,
        DataType::Timestamp(..) => ColumnType::Timestamp,
        _ => return None,
    })
}

/// Moves batches from the reader to the target and counts them.
struct Pump<'a> {
    schema: arrow::datatypes::SchemaRef,
    subject: Option<usize>,
    limits: &'a Limits,
    rows: u64,
    bytes: u64,
    target: Target,
}

impl Pump<'_> {
    fn run(&mut self, mut reader: ParquetRecordBatchReader, progress: &mut dyn FnMut(u64)) -> Result<()> {
        while let Some(batch) = guarded(self.rows + 1, || reader.next().transpose())? {
            self.take(&batch, progress)?;
        }
        Ok(())
    }

    /// Writes the batch, in halves while its text is too long to be copied at once.
    fn take(&mut self, batch: &RecordBatch, progress: &mut dyn FnMut(u64)) -> Result<()> {
        let rows = batch.num_rows();
        let text = self.measure(batch)?;
        if text > BATCH_BYTES && rows > 1 {
            self.take(&batch.slice(0, rows / 2), progress)?;
            return self.take(&batch.slice(rows / 2, rows - rows / 2), progress);
        }
        self.rows += u64::try_from(rows).map_err(Error::internal)?;
        if self.rows > self.limits.max_rows {
            return Err(too_large(self.limits.max_rows, "rows"));
        }
        let fixed = batch.columns().iter().filter_map(|array| array.data_type().primitive_width()).sum::<usize>();
        self.bytes = self.bytes.saturating_add(u64::try_from(text + fixed * rows).map_err(Error::internal)?);
        if self.bytes > self.limits.max_bytes {
            return Err(too_large(self.limits.max_bytes, "bytes"));
        }
        let first = self.rows + 1 - u64::try_from(rows).map_err(Error::internal)?;
        let arrays = self.convert(batch, first)?;
        progress(self.target.write(arrays)?);
        Ok(())
    }

    /// Bytes of text in the batch; refuses a value that is too long or not UTF-8. The reader itself checks UTF-8
    /// only where the column is annotated as such, and not, for example, as JSON.
    fn measure(&self, batch: &RecordBatch) -> Result<usize> {
        let mut total = 0_usize;
        for array in batch.columns() {
            let Some(text) = array.as_string_view_opt() else { continue };
            let bytes = text.clone().to_binary_view();
            for (value, row) in bytes.iter().zip(self.rows + 1..) {
                let value = value.unwrap_or_default();
                if value.len() > self.limits.max_cell_bytes {
                    let detail = format_args!("a value is longer than {} bytes", self.limits.max_cell_bytes);
                    return Err(malformed(row, detail));
                }
                if str::from_utf8(value).is_err() {
                    return Err(malformed(row, "a value is not valid UTF-8"));
                }
                total += value.len();
            }
        }
        Ok(total)
    }

    /// The arrays in the types in which they are kept. `first` is the row number of the first.
    fn convert(&self, batch: &RecordBatch, first: u64) -> Result<Vec<ArrayRef>> {
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let columns = batch.columns().iter().zip(self.schema.fields());
        let arrays = columns.map(|(array, field)| {
            guarded(first, || cast_with_options(array, field.data_type(), &strict)).map_err(|_| {
                malformed(first, format_args!("column `{}` has a value outside {}", field.name(), field.data_type()))
            })
        });
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        if let Some(keys) = self.subject.and_then(|at| arrays.get(at)) {
            for (key, row) in keys.as_string::<i32>().iter().zip(first..) {
                columns::check_subject(key).map_err(|why| malformed(row, why))?;
            }
        }
        Ok(arrays)
    }
}

/// Runs foreign-format code: its errors and its panics become a refusal at `line`, without their texts, which may
/// quote data.
fn guarded<T, E>(line: u64, parse: impl FnOnce() -> Result<T, E>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(parse)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) | Err(_) => Err(malformed(line, "this is not a Parquet file that can be read")),
    }
}
