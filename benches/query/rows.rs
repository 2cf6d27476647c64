//! Objects for the engine alone: read as the hub does, or written in the same layout with rows at random.

use std::{fs::File, path::Path, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt32Array},
    datatypes::{DataType, Field, Schema},
};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use odh::{
    domain::{Column, ColumnRole, ColumnType, Columns, How, SubjectKey},
    query::{Engine, EngineConfig, GovernedDataset, ORDINAL_COLUMN},
};
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    basic::Compression,
    file::properties::WriterProperties,
};

use crate::harness::QUERY_MEMORY;

/// Rows of a row group, as in the hub's own objects.
const GROUP_ROWS: usize = 131_072;
/// Subjects that the rows are about.
pub(crate) const SUBJECTS: u32 = 10_000_000;

/// The columns of an object of the hub.
pub(crate) fn stored(object: &Path) -> Vec<Column> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(object).unwrap()).unwrap();
    let column = |field: &Arc<Field>| Column {
        name: field.name().clone(),
        data_type: match field.data_type() {
            DataType::Int64 => ColumnType::Int64,
            DataType::Date32 => ColumnType::Date,
            DataType::Decimal128(precision, scale) => ColumnType::Decimal { precision: *precision, scale: *scale },
            DataType::Utf8 => ColumnType::String,
            other => panic!("{other}"),
        },
        nullable: field.is_nullable(),
        role: match field.name().as_str() {
            "pid" => ColumnRole::SubjectKey,
            "amount" => ColumnRole::Measure,
            _ => ColumnRole::Dimension,
        },
        description: String::new(),
    };
    reader.schema().fields().iter().filter(|field| field.name() != ORDINAL_COLUMN).map(column).collect()
}

/// The rows of an object.
pub(crate) fn count(object: &Path) -> u64 {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(object).unwrap()).unwrap();
    reader.metadata().file_metadata().num_rows().try_into().unwrap()
}

/// Writes `rows` rows about subjects at random: `few` and `many` are 1,000 and 100,000 groups.
pub(crate) fn write(object: &Path, rows: usize) {
    let field = |name: &str, data_type: DataType| Field::new(name, data_type, false);
    let schema = Arc::new(Schema::new(vec![
        field("pid", DataType::Utf8),
        field("few", DataType::Int64),
        field("many", DataType::Int64),
        field("amount", DataType::Int64),
        field(ORDINAL_COLUMN, DataType::UInt32),
    ]));
    let layout = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .build();
    let mut writer = ArrowWriter::try_new(File::create(object).unwrap(), Arc::clone(&schema), Some(layout)).unwrap();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for first in (0..rows).step_by(GROUP_ROWS) {
        let length = GROUP_ROWS.min(rows - first);
        let mut below = |most: u32| -> Vec<u32> { (0..length).map(|_| random.below(most)).collect() };
        let wide =
            |values: Vec<u32>| -> ArrayRef { Arc::new(values.into_iter().map(i64::from).collect::<Int64Array>()) };
        let columns: Vec<ArrayRef> = vec![
            // The hub joins by the ordinal; nobody reads the pseudonyms.
            Arc::new(StringArray::from(vec!["p"; length])),
            wide(below(1_000)),
            wide(below(100_000)),
            wide(below(10_000)),
            Arc::new(UInt32Array::from(below(SUBJECTS))),
        ];
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()).unwrap();
    }
    writer.close().unwrap();
}

/// A xorshift generator with a fixed seed.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `most`.
    pub(crate) fn below(&mut self, most: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(((self.0 >> 32) * u64::from(most)) >> 32).unwrap()
    }
}

/// The dataset `bench.rows` of an object, about individuals, under these limits.
pub(crate) fn dataset(object: &Path, how: How) -> GovernedDataset {
    GovernedDataset {
        id: "bench.rows".parse().unwrap(),
        object: object.to_owned(),
        stored: stored(object),
        columns: Columns::All,
        how,
        subject_key: Some(SubjectKey { column: "pid".to_owned(), namespace: "bench".parse().unwrap() }),
        consent: None,
        mask_key: [7; 32],
        rows: count(object),
        own: false,
    }
}

/// The hub's engine.
pub(crate) fn engine(data: &Path) -> Engine {
    let config = EngineConfig {
        memory_bytes: QUERY_MEMORY,
        max_rows: u64::MAX,
        temp_dir: data.to_owned(),
        ..EngineConfig::default()
    };
    Engine::new(config).unwrap()
}

/// DataFusion without governance, with the object as `bench.rows`.
pub(crate) async fn raw(object: &Path) -> SessionContext {
    let settings = SessionConfig::new().with_target_partitions(EngineConfig::default().partitions);
    let session = SessionContext::new_with_config(settings);
    session.sql("CREATE SCHEMA bench").await.unwrap();
    let name = object.to_str().unwrap();
    session.register_parquet("bench.rows", name, ParquetReadOptions::default()).await.unwrap();
    session
}
