//! The suppression of small groups: a logical node of its own just above an aggregate, and its execution.
//!
//! A HAVING would leak: the optimiser may evaluate what the caller wrote before it, on groups that must not exist. A
//! custom node takes no push-down, so HAVING, ORDER BY and outer expressions only ever see the groups that survive.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    fmt,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering as Atomic},
    },
};

use arrow::{
    array::{Array, AsArray, BooleanArray, RecordBatch},
    compute::{and, filter_record_batch},
};
use async_trait::async_trait;
use datafusion::{
    catalog::Session,
    common::{DFSchemaRef, tree_node::TreeNodeRecursion},
    error::{DataFusionError, Result},
    execution::{SendableRecordBatchStream, TaskContext, context::QueryPlanner},
    logical_expr::{
        Expr, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
        physical_planning_context::PhysicalPlanningContext,
    },
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, stream::RecordBatchStreamAdapter},
    physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner},
};
use futures::StreamExt as _;

use super::{
    answer::DatasetCounters,
    privacy::{NoiseSource, PrivateAggregate},
};

/// Keeps the rows of `input` in which every one of `flags` is true.
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
        let mut flags = Vec::new();
        for (flag, dataset) in node.flags.iter().zip(&node.datasets) {
            let Expr::Column(column) = flag else { return Err(internal("a flag is a column")) };
            flags.push((input.schema().index_of(&column.name)?, *dataset));
        }
        if flags.is_empty() || flags.len() != node.flags.len() {
            return Err(internal("KSuppress without a flag"));
        }
        Ok(Some(Arc::new(KSuppressExec::new(Arc::clone(input), flags, self.suppressed.clone()))))
    }
}

/// Executes [`KSuppress`]. Overrides no push-down hook: each defaults to refusal.
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
            inner.partitioning.clone(),
            inner.emission_type,
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
        let input = self.input.execute(partition, context)?;
        let (flags, suppressed) = (self.flags.clone(), self.suppressed.clone());
        let kept = input.map(move |batch| keep(&batch?, &flags, &suppressed));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), kept)))
    }
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
