//! Comparisons of the caller's that a scan evaluates itself, so that fewer rows are copied out of the barrier.
//!
//! Only `column op literal` of one type, on a column that is shown as it is stored: such a comparison cannot fail on any
//! row, hidden ones included, so that filter, consents and comparisons give the same rows in any order. Never on a
//! masked column, whose stored value the comparison would see, and never on doubles, which SQL compares in a way of its
//! own. Everything else stays above the barrier.

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch, Scalar},
    compute::kernels::cmp,
    datatypes::DataType,
    error::ArrowError,
};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::dataset::Compiled;

/// One comparison.
#[derive(Debug)]
pub(super) struct Pushed {
    column: String,
    op: Operator,
    value: Scalar<ArrayRef>,
}

impl Pushed {
    /// The comparison that `expr` is; none if the scan may not evaluate it.
    pub(super) fn of(expr: &Expr, dataset: &Compiled) -> Option<Self> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return None };
        let (column, op, value) = match (&**left, &**right) {
            (Expr::Column(column), Expr::Literal(value, _)) => (column, *op, value),
            (Expr::Literal(value, _), Expr::Column(column)) => (column, op.swap()?, value),
            _ => return None,
        };
        let compares = matches!(
            op,
            Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq
        );
        let as_stored = dataset.visible.iter().any(|it| it.name == column.name && it.mask.is_none());
        let stored = dataset.types.get(&column.name)?;
        if !compares || !as_stored || value.is_null() || value.data_type() != *stored || *stored == DataType::Float64 {
            return None;
        }
        Some(Self { column: column.name.clone(), op, value: value.to_scalar().ok()? })
    }

    /// The column that it reads.
    pub(super) fn column(&self) -> &str {
        &self.column
    }

    /// True, false or unknown for each row.
    pub(super) fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray, ArrowError> {
        let column = batch.column_by_name(&self.column);
        let column = column.ok_or_else(|| ArrowError::SchemaError("a compared column is missing".to_owned()))?;
        match self.op {
            Operator::Eq => cmp::eq(column, &self.value),
            Operator::NotEq => cmp::neq(column, &self.value),
            Operator::Lt => cmp::lt(column, &self.value),
            Operator::LtEq => cmp::lt_eq(column, &self.value),
            Operator::Gt => cmp::gt(column, &self.value),
            Operator::GtEq => cmp::gt_eq(column, &self.value),
            _ => Err(ArrowError::NotYetImplemented("an operator that is no comparison".to_owned())),
        }
    }
}
