//! The last assertion before a plan may run: it reads through the barrier only, and what it reads goes out in the form
//! that each dataset asks for. Whatever went wrong above, in the guard, the rewrites or DataFusion, ends here.

use std::sync::Arc;

use datafusion::physical_plan::{ExecutionPlan, empty::EmptyExec, placeholder_row::PlaceholderRowExec};

use super::{privacy::PrivateAggregateExec, scan::GovernedScanExec, suppress::KSuppressExec};

/// Whether the barrier stands. `tableless`: whether the query may make a row without reading one, as `SELECT 1` does; an
/// optimiser that answers from statistics does the same.
pub(super) fn stands(plan: &Arc<dyn ExecutionPlan>, tableless: bool) -> bool {
    let leaves = Leaves::of(plan);
    let conjured = leaves.has(Leaf::Placeholder) && !tableless;
    !leaves.has(Leaf::Foreign) && !conjured && is_released(plan, Release::Rows)
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

/// What a leaf of a physical plan is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaf {
    Governed,
    Placeholder,
    Empty,
    Foreign,
}

/// The leaves of a physical plan.
struct Leaves(Vec<Leaf>);

impl Leaves {
    fn of(plan: &Arc<dyn ExecutionPlan>) -> Self {
        let mut leaves = Self(Vec::new());
        leaves.walk(plan);
        leaves
    }

    fn has(&self, leaf: Leaf) -> bool {
        self.0.contains(&leaf)
    }

    fn walk(&mut self, plan: &Arc<dyn ExecutionPlan>) {
        let children = plan.children();
        if children.is_empty() {
            self.0.push(match plan {
                leaf if leaf.is::<GovernedScanExec>() => Leaf::Governed,
                leaf if leaf.is::<PlaceholderRowExec>() => Leaf::Placeholder,
                leaf if leaf.is::<EmptyExec>() => Leaf::Empty,
                _ => Leaf::Foreign,
            });
        }
        for child in children {
            self.walk(child);
        }
    }
}
