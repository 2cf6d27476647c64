//! Makes the caller's expressions total, so that no row can make a query fail and tell something by it.
//!
//! After type coercion: `CAST` becomes `TRY_CAST` (the casts that coercion added as well), `a / b` becomes
//! `a / NULLIF(b, 0)`, `%` likewise, and what else could raise on a value becomes its total form ([`Total`]): arithmetic
//! of decimals and instants, the smallest integer by -1, functions with computed arguments. Integer `+ - *` wrap in
//! DataFusion and thus are total. A literal is cast here and now: left for later, one that cannot be cast would fail
//! when the first row reaches it, and inside a CASE that tells which row did.

use datafusion::{
    arrow::datatypes::DataType,
    common::{
        DFSchema, ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    error::Result,
    functions::core::expr_fn::nullif,
    logical_expr::{
        BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator, TryCast,
        expr::{AggregateFunction, ScalarFunction},
        expr_rewriter::NamePreserver,
        utils::merge_schema,
    },
};

use super::{bounded::Bounded, total::Total};

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
        Expr::BinaryExpr(binary) if is_arithmetic(binary.op) => arithmetic(binary, schema).map(Transformed::yes),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right })
            if left.get_type(schema)? == DataType::Utf8 && right.get_type(schema)? == DataType::Utf8 =>
        {
            Ok(Transformed::yes(Bounded::operator(*left, *right)))
        }
        Expr::ScalarFunction(call)
            if call.func.name() == "concat"
                && Expr::ScalarFunction(call.clone()).get_type(schema)? == DataType::Utf8 =>
        {
            Ok(Transformed::yes(Bounded::function(call.func, call.args)))
        }
        Expr::ScalarFunction(call) if may_raise(&call) => {
            let returns = Expr::ScalarFunction(call.clone()).get_type(schema)?;
            Ok(Transformed::yes(Total::function(call.func, call.args, returns)))
        }
        other => Ok(Transformed::no(other)),
    })
}

const fn is_arithmetic(op: Operator) -> bool {
    matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo)
}

fn arithmetic(BinaryExpr { left, op, right }: BinaryExpr, schema: &DFSchema) -> Result<Expr> {
    let (of_left, of_right) = (left.get_type(schema)?, right.get_type(schema)?);
    let divides = matches!(op, Operator::Divide | Operator::Modulo);
    let never_zero = match &*right {
        Expr::Literal(value, _) => !is_zero(value),
        Expr::ScalarFunction(call) => call.func.name() == "nullif",
        _ => !of_right.is_numeric(),
    };
    let right = if divides && !never_zero {
        let zero = Expr::Literal(ScalarValue::new_zero(&of_right)?, None);
        Box::new(nullif(*right, zero))
    } else {
        right
    };
    let minus_one_is_out = matches!(&*right, Expr::Literal(ScalarValue::Int64(Some(by)), _) if *by != -1);
    let total = match (&of_left, &of_right) {
        (a, b) if a.is_integer() && b.is_integer() => !divides || minus_one_is_out,
        // Days between dates fit an integer, and DataFusion has no kernel of arrow's for them.
        (DataType::Date32, DataType::Date32) => true,
        (a, b) => a.is_floating() && b.is_floating(),
    };
    if total {
        return Ok(Expr::BinaryExpr(BinaryExpr { left, op, right }));
    }
    let returns = Expr::BinaryExpr(BinaryExpr { left: left.clone(), op, right: right.clone() }).get_type(schema)?;
    Ok(Total::arithmetic(*left, op, *right, returns))
}

/// Whether a function could raise on the value of some row; the others on the list of functions cannot.
fn may_raise(call: &ScalarFunction) -> bool {
    let computed = |from: usize| call.args.iter().skip(from).any(|arg| !matches!(arg, Expr::Literal(..)));
    match call.func.name() {
        // Instants beyond the nanoseconds of an i64 (1677 to 2262).
        "date_trunc" => true,
        "left" | "right" | "round" | "split_part" | "substr" | "trunc" => {
            computed(1) || call.args.iter().skip(1).any(is_below_zero)
        }
        "date_part" => !call.args.last().is_some_and(|arg| matches!(arg, Expr::Column(_))),
        _ => false,
    }
}

fn is_below_zero(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(ScalarValue::Int64(Some(..0)), _))
}

fn is_zero(value: &ScalarValue) -> bool {
    ScalarValue::new_zero(&value.data_type()).is_ok_and(|zero| zero == *value)
}

fn try_cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::TryCast(TryCast::new(Box::new(expr), data_type))
}

/// Rewrites every expression of `plan`, subqueries included, keeping the names of columns.
fn rewrite(
    plan: LogicalPlan,
    change: impl Fn(Expr, &DFSchema) -> Result<Transformed<Expr>> + Copy,
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
