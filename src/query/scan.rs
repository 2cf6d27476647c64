//! The barrier: a leaf that reads an object, applies policy, consent and masks inside, and lets nothing through.
//!
//! It overrides none of DataFusion's push-down hooks of plans, shows no children and describes itself by the dataset's
//! name, so neither a predicate nor a plan, a statistic or an error sees a hidden row. It takes comparisons that cannot
//! fail ([`Pushed`]), and of large datasets it reports about how many rows the catalog states, never how many pass.
//! Batches come out in equal chunks, so that their sizes do not tell how many rows were dropped between two that were
//! kept.

use std::{
    fmt,
    fs::File,
    sync::{Arc, atomic::Ordering},
};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt64Array},
    compute::{BatchCoalescer, cast, filter},
    datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type},
};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{Statistics, stats::Precision, tree_node::TreeNodeRecursion},
    error::{DataFusionError, Result},
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    parquet::arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
        },
    },
    parquet::file::metadata::RowGroupMetaData,
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        statistics::StatisticsArgs,
        stream::RecordBatchStreamAdapter,
    },
};

use super::{
    dataset::{Compiled, ORDINAL_COLUMN},
    pushed::Pushed,
};

/// Rows of a batch, read and written.
pub(super) const BATCH_ROWS: usize = 8_192;
/// Below this many rows a scan is not split: the split would cost more than it saves.
pub(super) const SPLIT_ROWS: u64 = 64 * 1024;

/// A dataset as DataFusion's planner sees it. With `hidden` its last column identifies the row's subject.
#[derive(Debug, Clone)]
pub(super) struct GovernedTable {
    dataset: Arc<Compiled>,
    schema: SchemaRef,
    hidden: bool,
    index: usize,
    about: Option<usize>,
}

impl GovernedTable {
    /// The table with what the caller sees; `index` is its place among the query's datasets, `about` how many rows the
    /// planner may take it to have.
    pub(super) fn new(dataset: Arc<Compiled>, index: usize, about: Option<usize>) -> Self {
        Self { schema: Arc::clone(&dataset.schema), dataset, hidden: false, index, about }
    }

    /// The same table with the hidden column `name` after the visible ones.
    pub(super) fn with_hidden(&self, name: &str) -> Self {
        let mut fields = self.dataset.schema.fields().to_vec();
        fields.push(Arc::new(Field::new(name, DataType::UInt64, true)));
        Self { schema: Arc::new(Schema::new(fields)), hidden: true, ..self.clone() }
    }

    pub(super) const fn index(&self) -> usize {
        self.index
    }

    pub(super) const fn dataset(&self) -> &Arc<Compiled> {
        &self.dataset
    }
}

#[async_trait]
impl TableProvider for GovernedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let projection = projection.unwrap_or(&all);
        let partitions = session.config().target_partitions();
        let refused = || DataFusionError::Internal("a filter that the scan does not take".to_owned());
        let pushed = filters.iter().map(|filter| Pushed::of(filter, &self.dataset).ok_or_else(refused));
        let pushed = pushed.collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(GovernedScanExec::new(self, projection.clone(), pushed, partitions)?))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match Pushed::of(filter, &self.dataset) {
            Some(_) => TableProviderFilterPushDown::Exact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }
}

/// The barrier leaf.
#[derive(Debug)]
pub(super) struct GovernedScanExec {
    source: Arc<Source>,
    /// Row groups of each partition, with the number of the first row.
    parts: Vec<(Vec<usize>, u64)>,
    properties: Arc<PlanProperties>,
    about: Option<usize>,
}

/// What every partition of a scan shares.
#[derive(Debug)]
struct Source {
    dataset: Arc<Compiled>,
    metadata: ArrowReaderMetadata,
    /// Indices of visible columns; one beyond the last stands for the hidden column.
    projection: Vec<usize>,
    schema: SchemaRef,
    mask: ProjectionMask,
    pushed: Vec<Pushed>,
}

/// Of how many rows a comparison is taken to keep one.
const SELECTIVITY: usize = 5;

impl GovernedScanExec {
    fn new(table: &GovernedTable, projection: Vec<usize>, pushed: Vec<Pushed>, partitions: usize) -> Result<Self> {
        let dataset = Arc::clone(&table.dataset);
        let file = File::open(&dataset.object)?;
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
        check_object(&dataset, metadata.schema())?;
        let mut needed: Vec<&str> = dataset.predicate_columns.iter().map(String::as_str).collect();
        needed.extend(projection.iter().filter_map(|at| dataset.visible.get(*at)).map(|column| column.name.as_str()));
        needed.extend(pushed.iter().map(Pushed::column));
        let hidden = table.hidden && projection.contains(&dataset.visible.len());
        if dataset.consent.is_some() || (hidden && dataset.has_subjects) {
            needed.push(ORDINAL_COLUMN);
        }
        let fields = metadata.schema().fields().iter().enumerate();
        let roots = fields.filter(|(_, field)| needed.contains(&field.name().as_str())).map(|(at, _)| at);
        let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
        let schema = Arc::new(table.schema.project(&projection)?);
        let parts = split(&metadata, partitions);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(parts.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let about = table.about.map(|rows| if pushed.is_empty() { rows } else { (rows / SELECTIVITY).max(1) });
        let source = Arc::new(Source { dataset, metadata, projection, schema, mask, pushed });
        Ok(Self { source, parts, properties: Arc::new(properties), about })
    }

    /// Whether its rows may leave in aggregates only, and whether with noise.
    pub(super) fn asks(&self) -> (bool, bool) {
        (self.source.dataset.k.is_some(), self.source.dataset.private.is_some())
    }

    /// The rows that the catalog states.
    pub(super) fn rows(&self) -> u64 {
        self.source.dataset.rows
    }

    /// What an explanation may show.
    pub(super) fn label(&self) -> String {
        format!("GovernedScan {}", self.source.dataset.id)
    }
}

/// Fails closed if the object is not what the catalog says.
fn check_object(dataset: &Compiled, schema: &Schema) -> Result<()> {
    let differs = || DataFusionError::Internal("the object does not have the catalogued columns".to_owned());
    for (name, data_type) in &dataset.types {
        if schema.field_with_name(name).map_err(|_| differs())?.data_type() != data_type {
            return Err(differs());
        }
    }
    if dataset.has_subjects
        && *schema.field_with_name(ORDINAL_COLUMN).map_err(|_| differs())?.data_type() != DataType::UInt32
    {
        return Err(differs());
    }
    Ok(())
}

/// Divides the row groups into at most `partitions` runs of neighbours: a function of the file's layout only.
fn split(metadata: &ArrowReaderMetadata, partitions: usize) -> Vec<(Vec<usize>, u64)> {
    let groups = metadata.metadata().row_groups();
    let rows: i64 = groups.iter().map(RowGroupMetaData::num_rows).sum();
    let runs = if u64::try_from(rows).is_ok_and(|rows| rows < SPLIT_ROWS) {
        1
    } else {
        partitions.clamp(1, groups.len().max(1))
    };
    let length = groups.len().div_ceil(runs).max(1);
    let mut first = 0;
    let indices: Vec<usize> = (0..groups.len()).collect();
    let mut parts: Vec<(Vec<usize>, u64)> = Vec::new();
    for run in indices.chunks(length) {
        parts.push((run.to_vec(), first));
        first += run.iter().map(|at| u64::try_from(groups[*at].num_rows()).unwrap_or(0)).sum::<u64>();
    }
    if parts.is_empty() {
        parts.push((Vec::new(), 0));
    }
    parts
}

impl DisplayAs for GovernedScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label())
    }
}

impl ExecutionPlan for GovernedScanExec {
    fn name(&self) -> &'static str {
        "GovernedScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.source.schema);
        if let (None, Some(rows)) = (args.partition(), self.about) {
            // Never exact: an exact figure would stand for a scan.
            statistics.num_rows = Precision::Inexact(rows);
        }
        Ok(Arc::new(statistics))
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (groups, first_row) = self.parts.get(partition).cloned().unwrap_or_default();
        let file = File::open(&self.source.dataset.object)?;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.source.metadata.clone())
            .with_projection(self.source.mask.clone())
            .with_row_groups(groups)
            .with_batch_size(BATCH_ROWS)
            .build()?;
        let schema = Arc::clone(&self.source.schema);
        let rows = Rows {
            coalescer: (!schema.fields().is_empty()).then(|| BatchCoalescer::new(Arc::clone(&schema), BATCH_ROWS)),
            source: Arc::clone(&self.source),
            reader: Some(reader),
            next_row: first_row,
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, futures::stream::iter(rows))))
    }
}

/// The rows of one partition that pass, masked and in equal chunks.
struct Rows {
    source: Arc<Source>,
    reader: Option<ParquetRecordBatchReader>,
    coalescer: Option<BatchCoalescer>,
    next_row: u64,
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = self.coalescer.as_mut().and_then(BatchCoalescer::next_completed_batch) {
                return Some(Ok(batch));
            }
            let batch = match self.reader.as_mut()?.next() {
                Some(Ok(batch)) => self.pass(&batch),
                Some(Err(error)) => Err(error.into()),
                None => {
                    self.reader = None;
                    let coalescer = self.coalescer.as_mut()?;
                    if let Err(error) = coalescer.finish_buffered_batch() {
                        return Some(Err(error.into()));
                    }
                    return coalescer.next_completed_batch().map(Ok);
                }
            };
            match (batch, &mut self.coalescer) {
                (Ok(batch), Some(coalescer)) => {
                    if let Err(error) = coalescer.push_batch(batch) {
                        return Some(Err(error.into()));
                    }
                }
                (batch, _) => return Some(batch),
            }
        }
    }
}

impl Rows {
    /// Row filter and consent, then projection, then masks.
    fn pass(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let dataset = &self.source.dataset;
        let first_row = self.next_row;
        self.next_row += batch.num_rows() as u64;
        let mut keep: Option<BooleanArray> = None;
        if let Some(predicate) = &dataset.predicate {
            let verdict = predicate.evaluate(batch)?;
            let sure =
                verdict.nulls().map_or_else(|| verdict.values().clone(), |known| verdict.values() & known.inner());
            keep = Some(BooleanArray::new(sure, None));
        }
        if let Some(consent) = &dataset.consent {
            let granted = consent.rows(ordinals(batch)?.as_primitive::<UInt32Type>());
            keep = Some(BooleanArray::new(keep.map_or_else(|| granted.clone(), |keep| keep.values() & &granted), None));
        }
        let passed = keep.as_ref().map_or_else(|| batch.num_rows(), BooleanArray::true_count);
        dataset.counters.scanned.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        dataset.counters.passed.fetch_add(passed as u64, Ordering::Relaxed);
        for comparison in &self.source.pushed {
            let verdict = comparison.evaluate(batch)?;
            let sure =
                verdict.nulls().map_or_else(|| verdict.values().clone(), |known| verdict.values() & known.inner());
            keep = Some(BooleanArray::new(keep.map_or_else(|| sure.clone(), |keep| keep.values() & &sure), None));
        }
        let passed = keep.as_ref().map_or_else(|| batch.num_rows(), BooleanArray::true_count);
        let kept = |array: &ArrayRef| match &keep {
            Some(keep) => filter(array, keep),
            None => Ok(Arc::clone(array)),
        };
        let mut columns = Vec::with_capacity(self.source.projection.len());
        for at in &self.source.projection {
            columns.push(match dataset.visible.get(*at) {
                Some(column) => {
                    let values = kept(batch.column_by_name(&column.name).ok_or_else(missing)?)?;
                    match &column.mask {
                        Some(mask) => mask.apply(&values)?,
                        None => values,
                    }
                }
                None if dataset.has_subjects => cast(&kept(ordinals(batch)?)?, &DataType::UInt64)?,
                None => {
                    let numbers: ArrayRef = Arc::new(UInt64Array::from_iter_values(first_row..self.next_row));
                    kept(&numbers)?
                }
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(passed));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.source.schema), columns, &options)?)
    }
}

fn ordinals(batch: &RecordBatch) -> Result<&ArrayRef> {
    batch.column_by_name(ORDINAL_COLUMN).ok_or_else(missing)
}

fn missing() -> DataFusionError {
    DataFusionError::Internal("a column of the object is missing".to_owned())
}
