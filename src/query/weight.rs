//! How large a query becomes when the columns in its expressions are replaced by what they stand for.
//!
//! A column that is the sum of six columns that are the sum of six columns is short to write. The optimiser puts one
//! expression into another as it moves predicates down, and then the text of one kilobyte has more nodes than memory
//! holds. A constant that is named once and selected five hundred times is made for every row as often. Both are
//! known from the plan alone, before the optimiser sees it.

use datafusion::{
    common::{
        Column, DFSchema,
        tree_node::{TreeNode as _, TreeNodeRecursion},
    },
    error::DataFusionError,
    logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, utils::merge_schema},
};

use super::failure::{failed, reject};
use crate::error::{Error, Result};

/// Most nodes of one expression, its columns replaced; as many as a text can have without any to replace.
const MOST_NODES: usize = 4_000;
/// Most nodes of all expressions.
const MOST_NODES_IN_ALL: usize = 40_000;
/// Most bytes of constant text that may be made for a row: a batch of 8,192 rows then takes 128 MiB.
const MOST_BYTES: usize = 16 * 1024;

/// The size of an expression, its columns replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Weight {
    nodes: usize,
    /// Of constant text that it may make for one row.
    bytes: usize,
}

impl Weight {
    const ONE: Self = Self { nodes: 1, bytes: 0 };

    const fn plus(self, other: Self) -> Self {
        Self { nodes: self.nodes.saturating_add(other.nodes), bytes: self.bytes.saturating_add(other.bytes) }
    }
}

/// The columns that an expression may name, with what each stands for.
struct Scope {
    schema: DFSchema,
    weights: Vec<Weight>,
}

impl Scope {
    fn find(&self, column: &Column) -> Option<Weight> {
        self.weights.get(self.schema.maybe_index_of_column(column)?).copied()
    }
}

/// Rejects a plan whose expressions are too large once its columns are put into them, or whose rows carry too much
/// constant text.
pub(super) fn weigh(plan: &LogicalPlan) -> Result<()> {
    Scale::default().node(plan).map(drop).map_err(|refusal| match refusal {
        Refusal::TooLarge(error) => error,
        Refusal::Broken => failed("weight of a plan"),
    })
}

enum Refusal {
    TooLarge(Error),
    Broken,
}

impl From<DataFusionError> for Refusal {
    fn from(_: DataFusionError) -> Self {
        Self::Broken
    }
}

#[derive(Default)]
struct Scale {
    /// The columns around a subquery, the nearest last.
    outer: Vec<Scope>,
    nodes: usize,
    bytes: usize,
}

impl Scale {
    /// What each column of the node stands for.
    fn node(&mut self, plan: &LogicalPlan) -> std::result::Result<Vec<Weight>, Refusal> {
        let mut inputs = Vec::new();
        for input in plan.inputs() {
            inputs.push(self.node(input)?);
        }
        let schema = merge_schema(&plan.inputs());
        let mut scope = Scope { schema, weights: inputs.iter().flatten().copied().collect() };
        if scope.weights.len() != scope.schema.fields().len() {
            // Sides that share names, as those of a union do: the heavier of two columns in one place stands for both.
            scope.weights = inputs.iter().cloned().reduce(heavier).unwrap_or_default();
        }
        let mut weights = Vec::new();
        self.outer.push(scope);
        for expr in plan.expressions() {
            let weight = self.expr(&expr)?;
            self.nodes = self.nodes.saturating_add(weight.nodes);
            if weight.nodes > MOST_NODES || self.nodes > MOST_NODES_IN_ALL {
                return Err(too_large("too_complex", "an expression is too large once its columns are put into it"));
            }
            weights.push(weight);
        }
        let scope = self.outer.pop();
        let found = |column: &Column| scope.as_ref().and_then(|scope| scope.find(column)).unwrap_or(Weight::ONE);
        let out = match plan {
            LogicalPlan::Projection(_) => weights,
            LogicalPlan::Aggregate(_) => {
                // A figure is not put anywhere, but a text of it may still be long.
                let fields = plan.schema().fields().len();
                weights.resize(fields, Weight::ONE);
                weights
            }
            LogicalPlan::SubqueryAlias(_) | LogicalPlan::Union(_) => {
                inputs.into_iter().reduce(heavier).unwrap_or_default()
            }
            _ => plan.schema().columns().iter().map(found).collect(),
        };
        if matches!(plan, LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Join(_)) {
            let bytes = out.iter().fold(0_usize, |sum, weight| sum.saturating_add(weight.bytes));
            self.bytes = self.bytes.saturating_add(bytes);
            if self.bytes > MOST_BYTES {
                return Err(too_large("too_large", "its constants make rows of more than 16384 bytes"));
            }
        }
        Ok(out)
    }

    fn expr(&mut self, expr: &Expr) -> std::result::Result<Weight, Refusal> {
        match expr {
            Expr::Column(column) => {
                return Ok(self.outer.last().and_then(|scope| scope.find(column)).unwrap_or(Weight::ONE));
            }
            Expr::OuterReferenceColumn(_, column) => {
                return Ok(self.outer.iter().rev().find_map(|scope| scope.find(column)).unwrap_or(Weight::ONE));
            }
            Expr::Literal(value, _) => {
                let bytes = value.try_as_str().flatten().map_or(0, str::len);
                return Ok(Weight { nodes: 1, bytes });
            }
            Expr::ScalarSubquery(it) => {
                self.node(&it.subquery)?;
            }
            Expr::Exists(it) => {
                self.node(&it.subquery.subquery)?;
            }
            Expr::InSubquery(it) => {
                self.node(&it.subquery.subquery)?;
            }
            Expr::SetComparison(it) => {
                self.node(&it.subquery.subquery)?;
            }
            _ => {}
        }
        let mut children = Vec::new();
        expr.apply_children(|child| {
            children.push(child);
            Ok(TreeNodeRecursion::Continue)
        })?;
        let compares = compares(expr);
        let mut weight = Weight::ONE;
        for child in children {
            let mut of_child = self.expr(child)?;
            if compares && matches!(child, Expr::Literal(..)) {
                // What a column is compared with is not made for each row.
                of_child.bytes = 0;
            }
            weight = weight.plus(of_child);
        }
        Ok(weight)
    }
}

fn compares(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryExpr(BinaryExpr { op, .. }) => {
            matches!(op, Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq)
        }
        Expr::InList(_) | Expr::Like(_) | Expr::Between(_) => true,
        _ => false,
    }
}

fn heavier(left: Vec<Weight>, right: Vec<Weight>) -> Vec<Weight> {
    let (mut longer, shorter) = if left.len() < right.len() { (right, left) } else { (left, right) };
    for (a, b) in longer.iter_mut().zip(shorter) {
        *a = Weight { nodes: a.nodes.max(b.nodes), bytes: a.bytes.max(b.bytes) };
    }
    longer
}

fn too_large(rule: &'static str, detail: &'static str) -> Refusal {
    Refusal::TooLarge(reject(rule, detail))
}
