//! The suppression of small groups: a logical node of its own just above an aggregate, and its execution.
//!
//! A HAVING would leak: the optimiser may evaluate what the caller wrote before it, on groups that must not exist. A
//! custom node takes no push-down, so HAVING, ORDER BY and outer expressions only ever see the groups that survive.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashSet},
    fmt,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering as Atomic},
    },
};

use arrow::{
    array::{Array, AsArray, BooleanArray, RecordBatch},
    compute::{SortColumn, and, concat_batches, filter_record_batch, lexsort_to_indices, take_record_batch},
    datatypes::DataType,
};
use async_trait::async_trait;
use datafusion::{
    catalog::Session,
    common::{Column, DFSchemaRef, tree_node::TreeNodeRecursion},
    error::{DataFusionError, Result},
    execution::{SendableRecordBatchStream, TaskContext, context::QueryPlanner, memory_pool::MemoryConsumer},
    logical_expr::{
        Expr, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
        physical_planning_context::PhysicalPlanningContext,
    },
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_plan::{
        DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, InputDistributionRequirements, Partitioning,
        PlanProperties, execution_plan::EmissionType, stream::RecordBatchStreamAdapter,
    },
    physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner},
};
use futures::StreamExt as _;

use super::{
    answer::DatasetCounters,
    privacy::{NoiseSource, PrivateAggregate},
};

/// Keeps the rows of `input` in which every one of `flags` is true, in the order of their values. The flags are its last
/// columns.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct KSuppress {
    input: LogicalPlan,
    flags: Vec<Expr>,
    /// Of each flag, whose people it counts: the place of the dataset among those of the query.
    datasets: Vec<usize>,
}

impl KSuppress {
    pub(super) const fn new(input: LogicalPlan, flags: Vec<Expr>, datasets: Vec<usize>) -> Self {
        Self { input, flags, datasets }
    }
}

impl PartialOrd for KSuppress {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.flags.partial_cmp(&other.flags).filter(|order| *order != Ordering::Equal || self == other)
    }
}

impl UserDefinedLogicalNodeCore for KSuppress {
    fn name(&self) -> &'static str {
        "KSuppress"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        self.flags.clone()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KSuppress")
    }

    fn with_exprs_and_inputs(&self, flags: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (inputs.pop(), inputs.is_empty()) {
            (Some(input), true) => Ok(Self { input, flags, datasets: self.datasets.clone() }),
            _ => Err(internal("KSuppress has one input")),
        }
    }
}

/// Plans [`KSuppress`] and [`PrivateAggregate`]; everything else is DataFusion's.
#[derive(Debug)]
pub(super) struct HubPlanner {
    /// Counts the groups that were suppressed.
    pub(super) suppressed: Suppressed,
    /// Where noise comes from.
    pub(super) noise: Arc<dyn NoiseSource>,
}

/// Where suppressed groups are counted: all of them, and for each dataset those that had too few of its own people.
#[derive(Debug, Clone)]
pub(super) struct Suppressed {
    pub(super) all: Arc<AtomicU64>,
    pub(super) by_dataset: Vec<Arc<DatasetCounters>>,
}

#[async_trait]
impl QueryPlanner for HubPlanner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let suppress =
            Arc::new(SuppressPlanner { suppressed: self.suppressed.clone(), noise: Arc::clone(&self.noise) });
        DefaultPhysicalPlanner::with_extension_planners(vec![suppress]).create_physical_plan(plan, session).await
    }
}

struct SuppressPlanner {
    suppressed: Suppressed,
    noise: Arc<dyn NoiseSource>,
}

#[async_trait]
impl ExtensionPlanner for SuppressPlanner {
    async fn plan_extension(
        &self,
        _: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        _: &dyn Session,
        _: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let [input] = inputs else { return Err(internal("a node of the hub has one input")) };
        if let Some(release) = node.as_any().downcast_ref::<PrivateAggregate>() {
            let (noise, suppressed) = (Arc::clone(&self.noise), Arc::clone(&self.suppressed.all));
            return release.plan(Arc::clone(input), noise, suppressed).map(Some);
        }
        let Some(node) = node.as_any().downcast_ref::<KSuppress>() else { return Ok(None) };
        let schema = input.schema();
        let Some(first) = schema.fields().len().checked_sub(node.flags.len()) else {
            return Err(internal("more flags than columns"));
        };
        let mut flags = Vec::new();
        // By place, not by name alone: no other column may pass for a flag.
        for ((at, flag), dataset) in (first..).zip(&node.flags).zip(&node.datasets) {
            let (Expr::Column(column), field) = (flag, schema.field(at)) else {
                return Err(internal("a flag is a column"));
            };
            if *field.name() != column.name || *field.data_type() != DataType::Boolean {
                return Err(internal("a flag is not in its place"));
            }
            flags.push((at, *dataset));
        }
        let names: HashSet<&str> = node.flags.iter().filter_map(Expr::try_as_col).map(Column::name).collect();
        if flags.is_empty() || names.len() != node.flags.len() || flags.len() != node.flags.len() {
            return Err(internal("KSuppress without a flag"));
        }
        Ok(Some(Arc::new(KSuppressExec::new(Arc::clone(input), flags, self.suppressed.clone()))))
    }
}

/// Executes [`KSuppress`]. Overrides no push-down hook: each defaults to refusal.
///
/// Groups leave an aggregate in the order of their first rows, which tells who comes first in the file. So the survivors
/// are collected and sorted, in one partition: whatever is done with them above starts from one order.
#[derive(Debug)]
pub(super) struct KSuppressExec {
    input: Arc<dyn ExecutionPlan>,
    /// Column and dataset of each flag.
    flags: Vec<(usize, usize)>,
    suppressed: Suppressed,
    properties: Arc<PlanProperties>,
}

impl KSuppressExec {
    fn new(input: Arc<dyn ExecutionPlan>, flags: Vec<(usize, usize)>, suppressed: Suppressed) -> Self {
        let inner = input.properties();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(input.schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            inner.boundedness,
        );
        Self { input, flags, suppressed, properties: Arc::new(properties) }
    }
}

impl DisplayAs for KSuppressExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KSuppress")
    }
}

impl ExecutionPlan for KSuppressExec {
    fn name(&self) -> &'static str {
        "KSuppressExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| internal("KSuppress has one input"))?;
        Ok(Arc::new(Self::new(input, self.flags.clone(), self.suppressed.clone())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return Err(internal("KSuppress has one partition"));
        }
        let memory = MemoryConsumer::new("KSuppress").register(context.memory_pool());
        let mut input = self.input.execute(0, context)?;
        let (flags, suppressed, schema) = (self.flags.clone(), self.suppressed.clone(), self.schema());
        let released = async move {
            let mut kept = Vec::new();
            while let Some(batch) = input.next().await {
                let batch = keep(&batch?, &flags, &suppressed)?;
                // Once as they come, and once more in their order.
                memory.try_grow(2 * batch.get_array_memory_size())?;
                kept.push(batch);
            }
            sorted(&concat_batches(&schema, &kept)?)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), futures::stream::once(released))))
    }
}

/// The rows in the order of their values, which no two groups share.
fn sorted(groups: &RecordBatch) -> Result<RecordBatch> {
    let columns = groups.columns().iter().filter(|values| *values.data_type() != DataType::Null);
    let columns = columns.map(|values| SortColumn { values: Arc::clone(values), options: None });
    let order = lexsort_to_indices(&columns.collect::<Vec<_>>(), None)?;
    Ok(take_record_batch(groups, &order)?)
}

fn keep(batch: &RecordBatch, flags: &[(usize, usize)], suppressed: &Suppressed) -> Result<RecordBatch> {
    let mut keep = BooleanArray::from(vec![true; batch.num_rows()]);
    let mut kept_by: BTreeMap<usize, BooleanArray> = BTreeMap::new();
    for (flag, dataset) in flags {
        let flag = batch.column(*flag).as_boolean();
        // A missing flag would be no evidence of a group's size.
        let sure = flag.nulls().map_or_else(|| flag.values().clone(), |known| flag.values() & known.inner());
        let sure = BooleanArray::new(sure, None);
        keep = and(&keep, &sure)?;
        let own = kept_by.remove(dataset).map_or(Ok(sure.clone()), |before| and(&before, &sure))?;
        kept_by.insert(*dataset, own);
    }
    let dropped = |kept: &BooleanArray| (batch.num_rows() - kept.true_count()) as u64;
    suppressed.all.fetch_add(dropped(&keep), Atomic::Relaxed);
    for (dataset, kept) in &kept_by {
        let counters = suppressed.by_dataset.get(*dataset).ok_or_else(|| internal("a flag of no dataset"))?;
        counters.suppressed.fetch_add(dropped(kept), Atomic::Relaxed);
    }
    Ok(filter_record_batch(batch, &keep)?)
}

fn internal(what: &str) -> DataFusionError {
    DataFusionError::Internal(what.to_owned())
}
