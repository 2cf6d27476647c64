//! A hub of three datasets in a temporary folder, and short ways to query it.

use std::{fs::File, path::Path, sync::Arc, time::Duration};

use arrow::{
    array::{
        ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray, UInt32Array,
    },
    util::pretty::pretty_format_batches,
};
use datafusion::parquet::{arrow::ArrowWriter, file::properties::WriterProperties};
use futures::TryStreamExt as _;

use crate::{
    audit::Committed,
    domain::{Column, ColumnRole, ColumnType, Columns, CompareOp, Filter, How, Receipt, SubjectKey, Value},
    error::{Error, Result},
    query::{Answer, Engine, EngineConfig, GovernedDataset, Planned},
};

/// A person of the health dataset.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) ordinal: Option<u32>,
    pub(super) commune: &'static str,
    pub(super) age: i64,
    /// Empty for a missing one.
    pub(super) diagnosis: &'static str,
    pub(super) cost: i64,
}

/// Forty people: ordinals 0 to 29 in Albi, 30 to 38 in Foix, 39 alone in Rodez.
pub(super) fn people() -> Vec<Person> {
    let commune = |ordinal| match ordinal {
        0..30 => "Albi",
        30..39 => "Foix",
        _ => "Rodez",
    };
    (0..40)
        .map(|ordinal| Person {
            ordinal: Some(ordinal),
            commune: commune(ordinal),
            age: 20 + i64::from(ordinal),
            diagnosis: if ordinal % 2 == 0 { "flu" } else { "asthma" },
            cost: 100 + i64::from(ordinal),
        })
        .collect()
}

pub(super) fn column(name: &str, data_type: ColumnType, role: ColumnRole) -> Column {
    Column { name: name.into(), data_type, nullable: true, role, description: String::new() }
}

pub(super) fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap();
    let layout = WriterProperties::builder().set_max_row_group_row_count(Some(20_000)).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(layout)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<StringArray>())
}

/// A text; none if it is empty.
fn known(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// A hub: its folder, its engine and its datasets as the caller may use them.
pub(super) struct Hub {
    _dir: tempfile::TempDir,
    pub(super) engine: Engine,
    /// `chu.health`, `grid.meters` and `region.communes`.
    pub(super) datasets: Vec<GovernedDataset>,
}

impl Hub {
    /// With everybody visible and nothing limited.
    pub(super) fn new(people: &[Person]) -> Self {
        Self::with(people, &EngineConfig::default())
    }

    pub(super) fn with(people: &[Person], config: &EngineConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Debug builds on a busy machine plan slowly.
        let config =
            EngineConfig { temp_dir: dir.path().into(), planning_timeout: Duration::from_mins(1), ..config.clone() };
        let datasets = vec![health(dir.path(), people), meters(dir.path()), communes(dir.path())];
        Self { engine: Engine::new(config).unwrap(), datasets, _dir: dir }
    }

    /// Limits the health dataset.
    pub(super) fn limit(mut self, how: How) -> Self {
        self.datasets[0].how = how;
        self
    }

    pub(super) async fn planned(&self, sql: &str) -> Result<Planned> {
        let admitted = self.engine.admit(sql).await?;
        self.engine.plan(admitted, self.datasets.clone()).await
    }

    pub(super) async fn answer(&self, sql: &str) -> Result<Answer> {
        self.engine.execute(self.planned(sql).await?, released())
    }

    /// The answer as a table of text.
    pub(super) async fn table(&self, sql: &str) -> Result<String> {
        let answer = self.answer(sql).await?;
        let schema = Arc::clone(answer.schema());
        let mut batches: Vec<RecordBatch> = answer.try_collect().await?;
        batches.insert(0, RecordBatch::new_empty(schema));
        Ok(pretty_format_batches(&batches).unwrap().to_string())
    }

    /// The cells of the answer, row by row, joined by `|`.
    pub(super) async fn rows(&self, sql: &str) -> Vec<String> {
        let table = self.table(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let lines = table.lines().filter(|line| line.starts_with('|')).skip(1);
        lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|")).collect()
    }

    pub(super) async fn error(&self, sql: &str) -> Error {
        match self.table(sql).await {
            Ok(table) => panic!("{sql} was answered:\n{table}"),
            Err(error) => error,
        }
    }

    /// The rule by which `sql` is rejected.
    pub(super) async fn rule(&self, sql: &str) -> String {
        let error = self.error(sql).await;
        error.params().get("rule").unwrap_or_else(|| panic!("{sql}: {error}")).clone()
    }
}

/// Evidence of a commit, as the store's writer would give it.
pub(super) fn released() -> Committed {
    Committed::after_commit(Receipt { index: 0, leaf_hash: [0; 32], checkpoint: String::new() })
}

pub(super) fn aggregate_only(k: u32) -> How {
    How { aggregate_only: Some(k), ..How::default() }
}

/// Only rows with an age below `age`.
pub(super) fn younger_than(age: i64) -> How {
    let filter = Filter::Compare { column: "age".into(), op: CompareOp::Lt, value: Value::Int(age) };
    How { row_filter: Some(filter), ..How::default() }
}

pub(super) fn governed(
    id: &str,
    dir: &Path,
    stored: Vec<Column>,
    key: Option<(&str, &str)>,
    rows: usize,
) -> GovernedDataset {
    GovernedDataset {
        id: id.parse().unwrap(),
        object: dir.join(format!("{id}.parquet")),
        stored,
        columns: Columns::All,
        how: How::default(),
        subject_key: key.map(|(column, space)| SubjectKey { column: column.into(), namespace: space.parse().unwrap() }),
        consent: None,
        mask_key: [9; 32],
        rows: rows as u64,
        own: false,
    }
}

fn health(dir: &Path, people: &[Person]) -> GovernedDataset {
    let stored = vec![
        column("subject_id", ColumnType::String, ColumnRole::SubjectKey),
        column("commune", ColumnType::String, ColumnRole::Key),
        column("age", ColumnType::Int64, ColumnRole::Dimension),
        column("diagnosis", ColumnType::String, ColumnRole::Dimension),
        column("cost", ColumnType::Int64, ColumnRole::Measure),
        column("price", ColumnType::Decimal { precision: 38, scale: 2 }, ColumnRole::Measure),
        column("stay", ColumnType::Date, ColumnRole::Dimension),
        column("seen", ColumnType::Timestamp, ColumnRole::Dimension),
    ];
    let it = governed("chu.health", dir, stored, Some(("subject_id", "nir")), people.len());
    write(&it.object, health_columns(people));
    it
}

/// The columns of the health dataset, the hidden one included.
pub(super) fn health_columns(people: &[Person]) -> Vec<(&'static str, ArrayRef)> {
    let subjects: Vec<String> = people.iter().map(|it| format!("s{:04}", it.ordinal.unwrap_or(9999))).collect();
    let prices = Decimal128Array::from_iter_values(people.iter().map(|it| i128::from(it.cost) * 100));
    let days = Date32Array::from_iter_values(people.iter().map(|it| 19_000 + i32::try_from(it.age).unwrap()));
    // As many years after 1970 as the age, so that an age above 292 is out of the range of nanoseconds.
    let instants = people.iter().map(|it| it.age * 31_556_952_000_000);
    let instants = TimestampMicrosecondArray::from_iter_values(instants);
    vec![
        ("subject_id", texts(subjects.iter().map(String::as_str))),
        ("commune", texts(people.iter().map(|it| it.commune))),
        ("age", Arc::new(Int64Array::from_iter_values(people.iter().map(|it| it.age)))),
        ("diagnosis", Arc::new(people.iter().map(|it| known(it.diagnosis)).collect::<StringArray>())),
        ("cost", Arc::new(Int64Array::from_iter_values(people.iter().map(|it| it.cost)))),
        ("price", Arc::new(prices.with_precision_and_scale(38, 2).unwrap())),
        ("stay", Arc::new(days)),
        ("seen", Arc::new(instants.with_timezone("UTC"))),
        ("__ordinal", Arc::new(people.iter().map(|it| it.ordinal).collect::<UInt32Array>())),
    ]
}

/// One meter for each of the subjects 0 to 34, on the same pseudonyms.
fn meters(dir: &Path) -> GovernedDataset {
    let stored = vec![
        column("subject", ColumnType::String, ColumnRole::SubjectKey),
        column("kwh", ColumnType::Float64, ColumnRole::Measure),
    ];
    let it = governed("grid.meters", dir, stored, Some(("subject", "nir")), 35);
    write(&it.object, meters_columns());
    it
}

/// The columns of the meters, the hidden one included.
pub(super) fn meters_columns() -> Vec<(&'static str, ArrayRef)> {
    let subjects: Vec<String> = (0..35).map(|at| format!("s{at:04}")).collect();
    vec![
        ("subject", texts(subjects.iter().map(String::as_str))),
        ("kwh", Arc::new(Float64Array::from_iter_values((0..35).map(f64::from)))),
        ("__ordinal", Arc::new(UInt32Array::from_iter_values(0..35))),
    ]
}

fn communes(dir: &Path) -> GovernedDataset {
    let stored = vec![
        column("code", ColumnType::String, ColumnRole::Key),
        column("department", ColumnType::String, ColumnRole::Dimension),
        column("population", ColumnType::Int64, ColumnRole::Measure),
    ];
    let it = governed("region.communes", dir, stored, None, 3);
    write(&it.object, communes_columns());
    it
}

/// The columns of the communes.
pub(super) fn communes_columns() -> Vec<(&'static str, ArrayRef)> {
    vec![
        ("code", texts(["Albi", "Foix", "Rodez"].into_iter())),
        ("department", texts(["Tarn", "Ariège", "Aveyron"].into_iter())),
        ("population", Arc::new(Int64Array::from(vec![49_000, 9_000, 24_000]))),
    ]
}
