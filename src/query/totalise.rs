//! Makes the caller's expressions total, so that no row can make a query fail and tell something by it.
//!
//! After type coercion: `CAST` becomes `TRY_CAST` (the casts that coercion added as well), `a / b` becomes
//! `a / NULLIF(b, 0)`, `%` likewise, and `date_trunc` skips instants that it cannot compute with. Integer `+ - *` wrap
//! in DataFusion and thus are total; decimal arithmetic is refused by the guard where it could tell something. A
//! literal is cast here and now: left for later, one that cannot be cast would fail when the first row reaches it, and
//! inside a CASE that tells which row did.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::{DataType, TimeUnit},
    common::{
        ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    error::Result,
    functions::core::expr_fn::nullif,
    logical_expr::{
        BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator, TryCast, expr::AggregateFunction,
        expr_rewriter::NamePreserver, utils::merge_schema, when,
    },
};

/// Before type coercion: an average of decimals is computed on doubles, since the decimal one can overflow.
pub(super) fn average_as_double(plan: LogicalPlan) -> Result<LogicalPlan> {
    rewrite(plan, |expr, schema| {
        let Expr::AggregateFunction(AggregateFunction { func, mut params }) = expr else {
            return Ok(Transformed::no(expr));
        };
        let decimal = match params.args.as_slice() {
            [arg] if func.name() == "avg" => arg.get_type(schema)?.is_decimal(),
            _ => false,
        };
        if decimal {
            params.args = params.args.into_iter().map(|arg| try_cast(arg, DataType::Float64)).collect();
        }
        let expr = Expr::AggregateFunction(AggregateFunction { func, params });
        Ok(if decimal { Transformed::yes(expr) } else { Transformed::no(expr) })
    })
}

/// After type coercion: everything that could raise on a row yields a missing value instead.
pub(super) fn totalise(plan: LogicalPlan) -> Result<LogicalPlan> {
    rewrite(plan, |expr, schema| match expr {
        Expr::Cast(Cast { expr, field }) => Ok(Transformed::yes(match *expr {
            Expr::Literal(value, _) => Expr::Literal(value.cast_to(field.data_type())?, None),
            other => Expr::TryCast(TryCast::new_from_field(Box::new(other), field)),
        })),
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::Divide | Operator::Modulo), right }) => {
            let data_type = right.get_type(schema)?;
            let safe = match &*right {
                Expr::Literal(value, _) => !is_zero(value),
                Expr::ScalarFunction(call) => call.func.name() == "nullif",
                _ => !data_type.is_numeric(),
            };
            if safe {
                return Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })));
            }
            let zero = Expr::Literal(ScalarValue::new_zero(&data_type)?, None);
            let right = Box::new(nullif(*right, zero));
            Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right })))
        }
        Expr::ScalarFunction(mut call) if call.func.name() == "date_trunc" => {
            let Some(instant) = call.args.pop() else { return Ok(Transformed::no(Expr::ScalarFunction(call))) };
            let instant = match instant.get_type(schema)? {
                DataType::Timestamp(unit, zone) => within_nanoseconds(instant, unit, zone.as_ref())?,
                _ => instant,
            };
            call.args.push(instant);
            Ok(Transformed::yes(Expr::ScalarFunction(call)))
        }
        other => Ok(Transformed::no(other)),
    })
}

/// `date_trunc` computes in nanoseconds and raises outside their range (1677 to 2262): instants out of it are missing.
fn within_nanoseconds(instant: Expr, unit: TimeUnit, zone: Option<&Arc<str>>) -> Result<Expr> {
    let literal = |seconds: i64| {
        let zone = zone.cloned();
        let value = match unit {
            TimeUnit::Second => ScalarValue::TimestampSecond(Some(seconds), zone),
            TimeUnit::Millisecond => ScalarValue::TimestampMillisecond(Some(seconds * 1_000), zone),
            TimeUnit::Microsecond => ScalarValue::TimestampMicrosecond(Some(seconds * 1_000_000), zone),
            TimeUnit::Nanosecond => ScalarValue::TimestampNanosecond(Some(seconds * 1_000_000_000), zone),
        };
        Expr::Literal(value, None)
    };
    let inside = instant.clone().gt_eq(literal(YEAR_1700)).and(instant.clone().lt(literal(YEAR_2262)));
    when(inside, instant).end()
}

/// Whole years inside the range, so that truncation stays inside as well; in seconds since 1970.
const YEAR_1700: i64 = -8_520_336_000;
const YEAR_2262: i64 = 9_214_646_400;

fn is_zero(value: &ScalarValue) -> bool {
    ScalarValue::new_zero(&value.data_type()).is_ok_and(|zero| zero == *value)
}

fn try_cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::TryCast(TryCast::new(Box::new(expr), data_type))
}

/// Rewrites every expression of `plan`, subqueries included, keeping the names of columns.
fn rewrite(
    plan: LogicalPlan,
    change: impl Fn(Expr, &datafusion::common::DFSchema) -> Result<Transformed<Expr>> + Copy,
) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        let names = NamePreserver::new(&node);
        let node = node.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(|expr| change(expr, &schema))?.update_data(|expr| name.restore(expr)))
        })?;
        // A child's types may have changed even where no expression of this node has.
        node.map_data(LogicalPlan::recompute_schema)
    })?;
    Ok(plan.data)
}
