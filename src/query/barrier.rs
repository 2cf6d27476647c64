//! The last assertion on every plan that runs: it is made of known nodes, reads through the barrier alone, calls known
//! functions, and drops small groups where it must. It finds nothing unless something above it is wrong.
//!
//! Physical nodes are types of their own, not variants of one, so the list is of what may be there; a node that a new
//! DataFusion brings is refused until it stands here.

use std::{any::Any, sync::Arc};

use datafusion::{
    common::tree_node::{TreeNode, TreeNodeRecursion},
    physical_expr::{PhysicalExpr, ScalarFunctionExpr},
    physical_plan::{
        ExecutionPlan,
        aggregates::AggregateExec,
        coalesce_partitions::CoalescePartitionsExec,
        coop::CooperativeExec,
        empty::EmptyExec,
        filter::FilterExec,
        joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PiecewiseMergeJoinExec, SortMergeJoinExec},
        limit::{GlobalLimitExec, LocalLimitExec},
        placeholder_row::PlaceholderRowExec,
        projection::ProjectionExec,
        repartition::RepartitionExec,
        scalar_subquery::ScalarSubqueryExec,
        sorts::{partial_sort::PartialSortExec, sort::SortExec, sort_preserving_merge::SortPreservingMergeExec},
        union::{InterleaveExec, UnionExec},
    },
};

use super::{
    bounded::Bounded,
    failure::failed,
    functions,
    privacy::{PrivateAggregateExec, Quantise},
    scan::GovernedScanExec,
    suppress::KSuppressExec,
    total::Total,
};
use crate::error::Result;

/// What a plan must look like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Whether what is read goes out, so that each scan must stand under what its dataset asks for.
    pub(super) released: bool,
    /// Whether a row may come from nowhere, as in `SELECT 1`; elsewhere it would be a statistic that stands for a scan.
    pub(super) row_without_data: bool,
}

/// Refuses a plan that is not of this shape.
pub(super) fn check(plan: &Arc<dyn ExecutionPlan>, shape: Shape) -> Result<()> {
    let mut seen = Seen::default();
    seen.walk(plan).map_err(|what| {
        tracing::error!(what, node = plan.name(), "a plan was refused by the last assertion");
        failed("a plan without the barrier")
    })?;
    if (shape.released && !is_released(plan, Release::Rows)) || (seen.placeholder && !shape.row_without_data) {
        return Err(failed("a plan without the barrier"));
    }
    Ok(())
}

/// What stands above a node of a physical plan.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Release {
    /// Nothing: rows go out.
    Rows,
    /// The suppression of small groups.
    Groups,
    /// Noise.
    Noise,
}

/// Whether every scan goes out in the form that its dataset asks for.
fn is_released(plan: &Arc<dyn ExecutionPlan>, above: Release) -> bool {
    let above = match plan {
        node if node.is::<KSuppressExec>() => Release::Groups,
        node if node.is::<PrivateAggregateExec>() => Release::Noise,
        _ => above,
    };
    let fits = plan.downcast_ref::<GovernedScanExec>().is_none_or(|scan| match scan.asks() {
        (false, false) => true,
        (true, false) => above == Release::Groups,
        (_, true) => above == Release::Noise,
    });
    fits && plan.children().into_iter().all(|child| is_released(child, above))
}

#[derive(Debug, Default)]
struct Seen {
    placeholder: bool,
}

impl Seen {
    fn walk(&mut self, plan: &Arc<dyn ExecutionPlan>) -> std::result::Result<(), &'static str> {
        let children = plan.children();
        if children.is_empty() {
            match plan {
                leaf if leaf.is::<PlaceholderRowExec>() => self.placeholder = true,
                leaf if leaf.is::<GovernedScanExec>() || leaf.is::<EmptyExec>() => {}
                _ => return Err("a leaf that is no barrier"),
            }
        } else if !is_known(plan) {
            return Err("a node that is not on the list");
        }
        let mut unknown = false;
        let walked = plan.apply_expressions(&mut |expr| {
            unknown |= has_unknown_function(expr);
            Ok(TreeNodeRecursion::Continue)
        });
        if unknown || walked.is_err() {
            return Err("a function that is not on the list");
        }
        children.into_iter().try_for_each(|child| self.walk(child))
    }
}

fn is_known(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<AggregateExec>()
        || plan.is::<CoalescePartitionsExec>()
        || plan.is::<CooperativeExec>()
        || plan.is::<CrossJoinExec>()
        || plan.is::<FilterExec>()
        || plan.is::<GlobalLimitExec>()
        || plan.is::<HashJoinExec>()
        || plan.is::<InterleaveExec>()
        || plan.is::<KSuppressExec>()
        || plan.is::<LocalLimitExec>()
        || plan.is::<NestedLoopJoinExec>()
        || plan.is::<PartialSortExec>()
        || plan.is::<PiecewiseMergeJoinExec>()
        || plan.is::<PrivateAggregateExec>()
        || plan.is::<ProjectionExec>()
        || plan.is::<RepartitionExec>()
        || plan.is::<ScalarSubqueryExec>()
        || plan.is::<SortExec>()
        || plan.is::<SortMergeJoinExec>()
        || plan.is::<SortPreservingMergeExec>()
        || plan.is::<UnionExec>()
}

fn has_unknown_function(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let mut unknown = false;
    let walked = expr.apply(|expr| {
        if let Some(call) = (expr.as_ref() as &dyn Any).downcast_ref::<ScalarFunctionExpr>() {
            let function = call.fun().inner();
            unknown |= !functions::is_scalar(call.name())
                && !function.is::<Total>()
                && !function.is::<Bounded>()
                && !function.is::<Quantise>();
        }
        Ok(TreeNodeRecursion::Continue)
    });
    unknown || walked.is_err()
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
    use datafusion::{
        catalog::memory::MemorySourceConfig,
        config::ConfigOptions,
        functions::math::random,
        physical_plan::{buffer::BufferExec, projection::ProjectionExpr},
    };

    use super::*;

    const ANY: Shape = Shape { released: true, row_without_data: true };

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("a", DataType::Float64, true)]))
    }

    fn leaf() -> Arc<dyn ExecutionPlan> {
        Arc::new(EmptyExec::new(schema()))
    }

    #[test]
    fn a_plan_that_reads_past_the_barrier_is_refused() {
        let forged = MemorySourceConfig::try_new_exec(&[vec![]], schema(), None).unwrap();
        assert!(check(&(forged as Arc<dyn ExecutionPlan>), ANY).is_err());
        assert!(check(&leaf(), ANY).is_ok());
    }

    #[test]
    fn a_node_that_is_not_on_the_list_is_refused() {
        let forged: Arc<dyn ExecutionPlan> = Arc::new(BufferExec::new(leaf(), 10));
        assert!(check(&forged, ANY).is_err());
        let known: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(leaf()));
        assert!(check(&known, ANY).is_ok());
    }

    #[test]
    fn a_function_that_is_not_on_the_list_is_refused() {
        let call = ScalarFunctionExpr::try_new(random(), vec![], &schema(), Arc::new(ConfigOptions::new())).unwrap();
        let out = ProjectionExpr::new(Arc::new(call), "x".to_owned());
        let forged: Arc<dyn ExecutionPlan> = Arc::new(ProjectionExec::try_new(vec![out], leaf()).unwrap());
        assert!(check(&forged, ANY).is_err());
    }

    #[test]
    fn a_row_from_nowhere_does_not_stand_for_a_scan() {
        let row: Arc<dyn ExecutionPlan> = Arc::new(PlaceholderRowExec::new(schema()));
        assert!(check(&row, Shape { row_without_data: false, ..ANY }).is_err());
        assert!(check(&row, ANY).is_ok());
    }
}
