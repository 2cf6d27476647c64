//! Answers of queries: Arrow record batches in each form.

use arrow::{
    array::RecordBatch,
    datatypes::SchemaRef,
    error::ArrowError,
    ipc::writer::StreamWriter,
    util::display::{ArrayFormatter, FormatOptions},
};
use comfy_table::{Cell, CellAlignment};
use parquet::arrow::ArrowWriter;

use super::{Format, Out, table};
use crate::cli::failure::{Exit, Failure};

/// An answer with its schema, which is there for an answer without rows, too.
#[derive(Debug, Clone)]
pub struct Records {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows, in order.
    pub batches: Vec<RecordBatch>,
}

impl Records {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Writes the answer. Bytes that are not text are not written to a terminal.
    pub fn write(&self, out: &mut Out) -> Result<(), Failure> {
        if out.is_terminal() && matches!(out.format, Format::Parquet | Format::Arrow) {
            return Err(Failure::usage(
                "this form is not for a terminal: write it to a file with `> FILE`",
                "cette forme n'est pas pour un terminal : écrivez-la dans un fichier avec `> FICHIER`",
            ));
        }
        match out.format {
            Format::Table => {
                let text = self.table(out.is_terminal()).map_err(unwritable)?;
                out.line(text)
            }
            Format::Json => out.bytes(&self.json().map_err(unwritable)?),
            Format::Csv => out.bytes(&self.csv().map_err(unwritable)?),
            Format::Arrow => out.bytes(&self.arrow().map_err(unwritable)?),
            Format::Parquet => out.bytes(&self.parquet().map_err(unwritable)?),
        }
    }

    /// The values as text, row by row; a missing one is `-`.
    pub fn text(&self) -> Result<Vec<Vec<String>>, Failure> {
        self.cells().map_err(unwritable)
    }

    fn cells(&self) -> Result<Vec<Vec<String>>, ArrowError> {
        let options = FormatOptions::new().with_null("-");
        let mut rows = Vec::with_capacity(self.rows());
        for batch in &self.batches {
            let columns = batch
                .columns()
                .iter()
                .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
                .collect::<Result<Vec<_>, _>>()?;
            for row in 0..batch.num_rows() {
                rows.push(columns.iter().map(|column| column.value(row).try_to_string()).collect::<Result<_, _>>()?);
            }
        }
        Ok(rows)
    }

    fn table(&self, terminal: bool) -> Result<String, ArrowError> {
        let mut shown = table::new_table(terminal);
        let fields = self.schema.fields();
        let numeric: Vec<bool> = fields.iter().map(|field| field.data_type().is_numeric()).collect();
        let aligned = |text: String, at: usize| {
            let right = numeric.get(at).copied().unwrap_or_default();
            Cell::new(text).set_alignment(if right { CellAlignment::Right } else { CellAlignment::Left })
        };
        shown.set_header(fields.iter().enumerate().map(|(at, field)| aligned(field.name().clone(), at)));
        for row in self.cells()? {
            shown.add_row(row.into_iter().enumerate().map(|(at, text)| aligned(text, at)));
        }
        Ok(table::trim(&shown))
    }

    fn json(&self) -> Result<Vec<u8>, ArrowError> {
        let builder = arrow::json::WriterBuilder::new().with_explicit_nulls(true);
        let mut writer = builder.build::<_, arrow::json::writer::JsonArray>(Vec::new());
        for batch in &self.batches {
            writer.write(batch)?;
        }
        writer.finish()?;
        let mut text = writer.into_inner();
        text.push(b'\n');
        Ok(text)
    }

    fn csv(&self) -> Result<Vec<u8>, ArrowError> {
        let mut text = Vec::new();
        // The header is written with the first batch, so an answer without rows needs an empty one.
        let empty = RecordBatch::new_empty(SchemaRef::clone(&self.schema));
        let mut writer = arrow::csv::Writer::new(&mut text);
        for batch in std::iter::once(&empty).chain(&self.batches) {
            writer.write(batch)?;
        }
        drop(writer);
        Ok(text)
    }

    fn arrow(&self) -> Result<Vec<u8>, ArrowError> {
        let mut writer = StreamWriter::try_new(Vec::new(), &self.schema)?;
        for batch in &self.batches {
            writer.write(batch)?;
        }
        writer.into_inner()
    }

    fn parquet(&self) -> Result<Vec<u8>, ArrowError> {
        let mut file = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut file, SchemaRef::clone(&self.schema), None)?;
        for batch in &self.batches {
            writer.write(batch)?;
        }
        writer.close()?;
        Ok(file)
    }
}

fn unwritable(error: impl std::fmt::Display) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("the answer cannot be written in this form: {error}"),
        format!("la réponse ne peut pas s'écrire sous cette forme : {error}"),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{Int64Array, StringArray},
        datatypes::{DataType, Field, Schema},
        ipc::reader::StreamReader,
    };
    use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

    use super::*;
    use crate::cli::env::Lang;

    fn records(batches: usize) -> Records {
        let fields = vec![Field::new("commune", DataType::Utf8, true), Field::new("n", DataType::Int64, false)];
        let schema = Arc::new(Schema::new(fields));
        let communes = StringArray::from(vec![Some("Albi, 81"), None]);
        let columns: Vec<arrow::array::ArrayRef> = vec![Arc::new(communes), Arc::new(Int64Array::from(vec![7, 12]))];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        Records { schema, batches: vec![batch; batches] }
    }

    fn written(records: &Records, format: Format) -> Vec<u8> {
        let (mut out, stdout, _) = Out::captured(Lang::En);
        out.format = format;
        records.write(&mut out).unwrap();
        stdout.bytes()
    }

    #[test]
    fn text_forms_show_values_and_missing_ones() {
        let records = records(1);
        let table = String::from_utf8(written(&records, Format::Table)).unwrap();
        let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows, [vec!["commune", "n"], vec!["Albi,", "81", "7"], vec!["-", "12"]]);
        assert_eq!(written(&records, Format::Csv), b"commune,n\n\"Albi, 81\",7\n,12\n");
        let json: serde_json::Value = serde_json::from_slice(&written(&records, Format::Json)).unwrap();
        assert_eq!(json, serde_json::json!([{"commune": "Albi, 81", "n": 7}, {"commune": null, "n": 12}]));
    }

    #[test]
    fn an_answer_without_rows_keeps_its_columns() {
        let records = records(0);
        assert_eq!(written(&records, Format::Csv), b"commune,n\n");
        assert_eq!(written(&records, Format::Json), b"[]\n");
        let arrow = written(&records, Format::Arrow);
        assert_eq!(StreamReader::try_new(arrow.as_slice(), None).unwrap().schema(), records.schema);
    }

    #[test]
    fn binary_forms_read_back_to_the_same_rows() {
        let records = records(2);
        let arrow = written(&records, Format::Arrow);
        let read: Vec<_> = StreamReader::try_new(arrow.as_slice(), None).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(read, records.batches);
        let parquet = bytes::Bytes::from(written(&records, Format::Parquet));
        let rows: usize =
            ParquetRecordBatchReader::try_new(parquet, 1_024).unwrap().map(|batch| batch.unwrap().num_rows()).sum();
        assert_eq!(rows, records.rows());
    }
}
