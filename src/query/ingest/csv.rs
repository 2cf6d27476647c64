//! CSV to typed batches in two passes: the first checks every row and infers the types, the second converts.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, Seek as _},
    path::Path,
    sync::Arc,
};

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};

use super::{
    BATCH_BYTES, BATCH_ROWS, Ingested, Instructions, columns, infer,
    infer::Seen,
    names,
    records::{Bounds, Record, Records, malformed},
    target::Target,
    too_large,
};
use crate::{
    domain::{Column, ColumnType, Digest},
    error::{Error, Result},
};

/// Checks and re-encodes the CSV in `file`.
pub(super) fn ingest(
    mut file: File,
    instructions: &Instructions<'_>,
    known: HashMap<String, u32>,
    target: &Path,
    source_digest: Digest,
    progress: &mut dyn FnMut(u64),
) -> Result<Ingested> {
    let columns = inspect(&file, instructions)?;
    file.rewind().map_err(Error::internal)?;
    let mut target = Target::create(target, columns.clone(), known)?;
    let mut batch = Batch::new(&columns);
    each_row(&file, instructions, |row| match row {
        Row::Header(..) => Ok(()),
        Row::Data(record) => {
            batch.append(record)?;
            if batch.rows >= BATCH_ROWS || batch.bytes >= BATCH_BYTES {
                progress(target.write(batch.finish())?);
            }
            Ok(())
        }
    })?;
    if batch.rows > 0 {
        progress(target.write(batch.finish())?);
    }
    target.finish(source_digest)
}

/// The first pass: everything that can be refused is refused here.
fn inspect(file: &File, instructions: &Instructions<'_>) -> Result<Vec<Column>> {
    let mut names = Vec::new();
    let mut seen: Vec<Seen> = Vec::new();
    let mut subject = None;
    let mut rows = 0_u64;
    each_row(file, instructions, |row| {
        let record = match row {
            Row::Header(header, line) => {
                names::check(&header, line)?;
                columns::check(&header, instructions)?;
                subject = instructions.subject_key.and_then(|key| header.iter().position(|name| *name == key.column));
                seen = vec![Seen::default(); header.len()];
                names = header;
                return Ok(());
            }
            Row::Data(record) => record,
        };
        rows += 1;
        if rows > instructions.limits.max_rows {
            return Err(too_large(instructions.limits.max_rows, "rows"));
        }
        for ((cell, seen), at) in record.iter().zip(&mut seen).zip(0..) {
            let (text, line) = cell?;
            if subject == Some(at) {
                columns::check_subject((!text.is_empty()).then_some(text)).map_err(|why| malformed(line, why))?;
            } else {
                seen.add(text);
            }
        }
        Ok(())
    })?;
    let typed = names.into_iter().zip(&seen).map(|(name, seen)| (name, seen.column_type()));
    Ok(columns::describe(typed, instructions))
}

enum Row<'a> {
    /// The names of the columns and the line they stand on.
    Header(Vec<String>, u64),
    /// A row with as many cells as the header.
    Data(&'a Record),
}

/// Calls `visit` with the header and each row. A blank line is a null where there is one column, else nothing.
fn each_row(file: &File, instructions: &Instructions<'_>, mut visit: impl FnMut(Row<'_>) -> Result<()>) -> Result<()> {
    let limits = &instructions.limits;
    let mut records = Records::new(BufReader::with_capacity(256 << 10, file))?;
    let mut record = Record::default();
    if !records.read(&mut record, Bounds { cell: limits.max_cell_bytes, cells: limits.max_columns })? {
        return Err(malformed(1, "the file is empty: its first line must name the columns"));
    }
    let header = record.iter().map(|cell| cell.map(|(text, _)| text.to_owned())).collect::<Result<Vec<_>>>()?;
    let width = header.len();
    visit(Row::Header(header, record.line()))?;
    let bounds = Bounds { cell: limits.max_cell_bytes, cells: width };
    while records.read(&mut record, bounds)? {
        if record.is_blank() && width > 1 {
            continue;
        }
        if record.len() != width {
            let cells = record.len();
            return Err(malformed(
                record.line(),
                format_args!("the row has {cells} cells where the header has {width}"),
            ));
        }
        visit(Row::Data(&record))?;
    }
    Ok(())
}

/// Values on their way into arrays.
struct Batch {
    builders: Vec<Builder>,
    rows: usize,
    bytes: usize,
}

impl Batch {
    fn new(columns: &[Column]) -> Self {
        Self { builders: columns.iter().map(|column| Builder::new(column.data_type)).collect(), rows: 0, bytes: 0 }
    }

    fn append(&mut self, record: &Record) -> Result<()> {
        for (cell, builder) in record.iter().zip(&mut self.builders) {
            let (text, line) = cell?;
            builder.append(text).ok_or_else(|| malformed(line, "the file changed while it was read"))?;
            self.bytes += text.len();
        }
        self.rows += 1;
        Ok(())
    }

    fn finish(&mut self) -> Vec<ArrayRef> {
        (self.rows, self.bytes) = (0, 0);
        self.builders.iter_mut().map(Builder::finish).collect()
    }
}

enum Builder {
    Boolean(BooleanBuilder),
    Int64(Int64Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder, u8, i8),
    String(StringBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
}

impl Builder {
    fn new(column: ColumnType) -> Self {
        match column {
            ColumnType::Boolean => Self::Boolean(BooleanBuilder::new()),
            ColumnType::Int64 => Self::Int64(Int64Builder::new()),
            ColumnType::Float64 => Self::Float64(Float64Builder::new()),
            ColumnType::Decimal { precision, scale } => Self::Decimal(Decimal128Builder::new(), precision, scale),
            ColumnType::String => Self::String(StringBuilder::new()),
            ColumnType::Date => Self::Date(Date32Builder::new()),
            ColumnType::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new()),
        }
    }

    /// Appends the cell; none if it is not of the type.
    fn append(&mut self, cell: &str) -> Option<()> {
        match self {
            Self::Boolean(builder) => builder.append_option(value(cell, infer::boolean)?),
            Self::Int64(builder) => builder.append_option(value(cell, infer::integer)?),
            Self::Float64(builder) => builder.append_option(value(cell, infer::float)?),
            Self::Decimal(builder, _, scale) => {
                builder.append_option(value(cell, |cell| infer::decimal(cell, *scale))?);
            }
            Self::String(builder) => builder.append_option((!cell.is_empty()).then_some(cell)),
            Self::Date(builder) => builder.append_option(value(cell, infer::date)?),
            Self::Timestamp(builder) => builder.append_option(value(cell, infer::timestamp)?),
        }
        Some(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Int64(builder) => Arc::new(builder.finish()),
            Self::Float64(builder) => Arc::new(builder.finish()),
            // The type is attached as a label: inference has bounded every value by it.
            Self::Decimal(builder, precision, scale) => {
                let data_type = super::target::arrow_type(ColumnType::Decimal { precision: *precision, scale: *scale });
                Arc::new(builder.finish().with_data_type(data_type))
            }
            Self::String(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Timestamp(builder) => Arc::new(builder.finish().with_timezone("UTC")),
        }
    }
}

/// None for a cell that does not parse, `Some(None)` for an empty one.
#[expect(clippy::option_option, reason = "the outer level is failure, the inner one a null")]
fn value<T>(cell: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    if cell.is_empty() { Some(None) } else { parse(cell).map(Some) }
}
