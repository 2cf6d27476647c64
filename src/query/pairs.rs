//! How many pairs of rows a join without an equality would look at.
//!
//! Such a join runs inside one poll, which neither a deadline nor a cancel ends, so one that nobody could wait for is
//! refused when it is planned, by the rows that the catalog states: a number that nothing hidden moves (P5, P6).

use std::sync::Arc;

use datafusion::physical_plan::{
    ExecutionPlan,
    aggregates::AggregateExec,
    joins::{CrossJoinExec, NestedLoopJoinExec},
    union::UnionExec,
};

use super::{failure::reject, scan::GovernedScanExec};
use crate::error::Result;

/// Most pairs: some ten seconds of one processor.
const MOST_PAIRS: u128 = 1_000_000_000;

/// Refuses a plan with a join that would look at more.
pub(super) fn check(plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
    count(plan).map(drop).map_err(|pairs| {
        reject("too_complex", format!("a join without an equality would compare {pairs} pairs of rows"))
    })
}

/// The rows that may come out at most; of a join with an equality those of its larger side are taken.
fn count(plan: &Arc<dyn ExecutionPlan>) -> std::result::Result<u128, u128> {
    let mut rows = Vec::new();
    for child in plan.children() {
        rows.push(count(child)?);
    }
    let product = rows.iter().fold(1, |product: u128, rows| product.saturating_mul(*rows));
    if plan.is::<NestedLoopJoinExec>() || plan.is::<CrossJoinExec>() {
        return if product > MOST_PAIRS { Err(product) } else { Ok(product) };
    }
    let at_most = if let Some(scan) = plan.downcast_ref::<GovernedScanExec>() {
        u128::from(scan.rows())
    } else if plan.downcast_ref::<AggregateExec>().is_some_and(|aggregate| aggregate.group_expr().is_empty()) {
        1
    } else if plan.is::<UnionExec>() {
        rows.iter().sum()
    } else {
        rows.iter().copied().max().unwrap_or(1)
    };
    Ok(plan.fetch().map_or(at_most, |fetch| at_most.min(fetch as u128)))
}
