//! The release: a logical node just above the tallies of each subject and group, and its execution.
//!
//! It reads the tallies in the order of their subjects, keeps a bounded share of each, adds them up, adds noise, and
//! lets out the groups that may appear, sorted. Like the suppression of small groups it takes no push-down, so that
//! nothing that the caller wrote is computed below it.

use std::{
    cmp::Ordering,
    collections::BTreeSet,
    fmt,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering as Atomic},
    },
};

use arrow::{
    compute::SortOptions,
    datatypes::{Schema, SchemaRef},
};
use datafusion::{
    common::{DFSchemaRef, tree_node::TreeNodeRecursion},
    error::{DataFusionError, Result},
    execution::{SendableRecordBatchStream, TaskContext, memory_pool::MemoryConsumer},
    logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore},
    physical_expr::{
        EquivalenceProperties, LexRequirement, OrderingRequirements, PhysicalExpr, PhysicalSortRequirement,
        expressions::Column,
    },
    physical_plan::{
        DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, InputDistributionRequirements, Partitioning,
        PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        stream::RecordBatchStreamAdapter,
    },
};
use futures::StreamExt as _;

use super::{mechanism::Mechanism, noise::NoiseSource, totals::Totals};
use crate::query::failure::failed;

/// Releases what `input` has tallied by subject, group and figure, in the columns of `schema`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::query) struct PrivateAggregate {
    input: LogicalPlan,
    mechanism: Arc<Mechanism>,
    schema: DFSchemaRef,
}

impl PrivateAggregate {
    pub(super) fn new(
        input: LogicalPlan,
        mechanism: Arc<Mechanism>,
        schema: DFSchemaRef,
    ) -> crate::error::Result<Self> {
        mechanism.check(schema.inner())?;
        let width = input.schema().fields().len();
        let wanted = 1 + schema.fields().len() - mechanism.outputs.len() + mechanism.tallies.len();
        if width == wanted { Ok(Self { input, mechanism, schema }) } else { Err(failed("columns of the tallies")) }
    }

    /// Its execution over `input`.
    pub(in crate::query) fn plan(
        &self,
        input: Arc<dyn ExecutionPlan>,
        noise: Arc<dyn NoiseSource>,
        suppressed: Arc<AtomicU64>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // By name, since an optimiser may have reordered the columns; all of them have names of the hub's, each its own.
        let names = self.input.schema().columns().into_iter();
        let columns = names.map(|column| Ok(input.schema().index_of(&column.name)?)).collect::<Result<Vec<usize>>>()?;
        if columns.iter().collect::<BTreeSet<_>>().len() != input.schema().fields().len() {
            return Err(internal("columns of the tallies"));
        }
        let schema = Arc::clone(self.schema.inner());
        Ok(Arc::new(PrivateAggregateExec::new(input, columns, Arc::clone(&self.mechanism), schema, noise, suppressed)))
    }
}

impl PartialOrd for PrivateAggregate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for PrivateAggregate {
    fn name(&self) -> &'static str {
        "PrivateAggregate"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.input.schema().columns().into_iter().map(Expr::Column).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateAggregate")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (inputs.pop(), inputs.is_empty()) {
            (Some(input), true) => {
                Ok(Self { input, mechanism: Arc::clone(&self.mechanism), schema: Arc::clone(&self.schema) })
            }
            _ => Err(internal("PrivateAggregate has one input")),
        }
    }
}

/// Executes [`PrivateAggregate`]. Overrides no push-down hook: each defaults to refusal.
#[derive(Debug)]
pub(in crate::query) struct PrivateAggregateExec {
    input: Arc<dyn ExecutionPlan>,
    /// Where the subject, the groups and the tallies are in the input.
    columns: Vec<usize>,
    mechanism: Arc<Mechanism>,
    schema: SchemaRef,
    noise: Arc<dyn NoiseSource>,
    suppressed: Arc<AtomicU64>,
    properties: Arc<PlanProperties>,
}

impl PrivateAggregateExec {
    fn new(
        input: Arc<dyn ExecutionPlan>,
        columns: Vec<usize>,
        mechanism: Arc<Mechanism>,
        schema: Arc<Schema>,
        noise: Arc<dyn NoiseSource>,
        suppressed: Arc<AtomicU64>,
    ) -> Self {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        Self { input, columns, mechanism, schema, noise, suppressed, properties }
    }
}

impl DisplayAs for PrivateAggregateExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateAggregate")
    }
}

impl ExecutionPlan for PrivateAggregateExec {
    fn name(&self) -> &'static str {
        "PrivateAggregateExec"
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

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let at = self.columns.first().copied().unwrap_or_default();
        let subject: Arc<dyn PhysicalExpr> = Arc::new(Column::new(self.input.schema().field(at).name(), at));
        let options = Some(SortOptions { descending: false, nulls_first: true });
        let by_subject = LexRequirement::new([PhysicalSortRequirement::new(subject, options)]);
        vec![by_subject.map(OrderingRequirements::new)]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| internal("PrivateAggregate has one input"))?;
        if input.schema() != self.input.schema() {
            return Err(internal("PrivateAggregate over other columns"));
        }
        Ok(Arc::new(Self::new(
            input,
            self.columns.clone(),
            Arc::clone(&self.mechanism),
            Arc::clone(&self.schema),
            Arc::clone(&self.noise),
            Arc::clone(&self.suppressed),
        )))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return Err(internal("PrivateAggregate has one partition"));
        }
        let mut input = self.input.execute(0, Arc::clone(&context))?;
        let memory = MemoryConsumer::new("PrivateAggregate").register(context.memory_pool());
        let (mechanism, noise) = (Arc::clone(&self.mechanism), Arc::clone(&self.noise));
        let (columns, schema) = (self.columns.clone(), Arc::clone(&self.schema));
        let suppressed = Arc::clone(&self.suppressed);
        let released = async move {
            let mut totals = Totals::new(&mechanism, &input.schema(), &columns)?;
            while let Some(batch) = input.next().await {
                totals.add(&batch?)?;
                memory.try_resize(totals.size())?;
            }
            totals.finish();
            let mut noise = noise.start().map_err(|_| internal("no noise"))?;
            let (batch, left_out) = totals.release(noise.as_mut(), &schema)?;
            suppressed.fetch_add(left_out, Atomic::Relaxed);
            Ok(batch)
        };
        let stream = futures::stream::once(released);
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }
}

pub(super) fn internal(what: &str) -> DataFusionError {
    DataFusionError::Internal(what.to_owned())
}
