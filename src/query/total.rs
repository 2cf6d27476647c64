//! The total form of an operation that raises on some values: the rows on which it raises have no value.
//!
//! A batch is computed as a whole by the operation's own kernel. Only when that raises is it halved until the rows that
//! make it raise stand alone, so an ordinary batch costs what it always did.

use std::{hash::Hash, sync::Arc};

use arrow::{
    array::{ArrayRef, new_null_array},
    compute::{
        concat,
        kernels::numeric::{add, div, mul, rem, sub},
    },
    datatypes::DataType,
    error::ArrowError,
};
use datafusion::{
    common::ScalarValue,
    error::{DataFusionError, Result},
    logical_expr::{
        ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
    physical_expr_common::datum::apply,
};

/// An operation, made total.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Total {
    operation: Operation,
    name: String,
    returns: DataType,
    signature: Signature,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Operation {
    Arithmetic(Operator),
    Function(Arc<ScalarUDF>),
}

impl Total {
    /// `left operator right`, of type `returns`.
    pub(super) fn arithmetic(left: Expr, operator: Operator, right: Expr, returns: DataType) -> Expr {
        let name = match operator {
            Operator::Plus => "__odh_add",
            Operator::Minus => "__odh_subtract",
            Operator::Multiply => "__odh_multiply",
            Operator::Divide => "__odh_divide",
            _ => "__odh_modulo",
        };
        Self::udf(Operation::Arithmetic(operator), name.to_owned(), returns).call(vec![left, right])
    }

    /// `function(args)`, of type `returns`.
    pub(super) fn function(function: Arc<ScalarUDF>, args: Vec<Expr>, returns: DataType) -> Expr {
        let name = format!("__odh_{}", function.name());
        Self::udf(Operation::Function(function), name, returns).call(args)
    }

    fn udf(operation: Operation, name: String, returns: DataType) -> ScalarUDF {
        ScalarUDF::from(Self { operation, name, returns, signature: Signature::variadic_any(Volatility::Immutable) })
    }

    /// The operation itself, which may raise.
    fn raw(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match (&self.operation, args.args.as_slice()) {
            (Operation::Arithmetic(operator), [left, right]) => apply(left, right, |left, right| match operator {
                Operator::Plus => add(left, right),
                Operator::Minus => sub(left, right),
                Operator::Multiply => mul(left, right),
                Operator::Divide => div(left, right),
                Operator::Modulo => rem(left, right),
                _ => Err(ArrowError::NotYetImplemented("an operator that is none of arithmetic".to_owned())),
            }),
            (Operation::Function(function), _) => function.inner().invoke_with_args(args),
            (Operation::Arithmetic(_), _) => Err(DataFusionError::Internal("arithmetic takes two sides".to_owned())),
        }
    }

    /// The operation on some rows, in order.
    fn pieces(&self, args: &ScalarFunctionArgs, from: usize, rows: usize, out: &mut Vec<ArrayRef>) -> Result<()> {
        let slice = |value: &ColumnarValue| match value {
            ColumnarValue::Array(array) => ColumnarValue::Array(array.slice(from, rows)),
            ColumnarValue::Scalar(value) => ColumnarValue::Scalar(value.clone()),
        };
        let part =
            ScalarFunctionArgs { args: args.args.iter().map(slice).collect(), number_rows: rows, ..args.clone() };
        match self.raw(part) {
            Ok(value) => out.push(value.into_array(rows)?),
            Err(_) if rows <= 1 => out.push(new_null_array(&self.returns, rows)),
            Err(_) => {
                self.pieces(args, from, rows / 2, out)?;
                self.pieces(args, from + rows / 2, rows - rows / 2, out)?;
            }
        }
        Ok(())
    }
}

impl ScalarUDFImpl for Total {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Ok(value) = self.raw(args.clone()) {
            return Ok(value);
        }
        if args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_))) {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(&self.returns)?));
        }
        let mut pieces = Vec::new();
        self.pieces(&args, 0, args.number_rows, &mut pieces)?;
        let pieces: Vec<_> = pieces.iter().map(AsRef::as_ref).collect();
        Ok(ColumnarValue::Array(concat(&pieces)?))
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{AsArray as _, Decimal128Array, Int64Array},
        datatypes::{Decimal128Type, Field, Int64Type},
    };
    use datafusion::config::ConfigOptions;

    use super::*;

    fn compute(operator: Operator, left: ColumnarValue, right: ColumnarValue, returns: DataType) -> ColumnarValue {
        let it = Total::udf(Operation::Arithmetic(operator), "it".to_owned(), returns.clone());
        let number_rows = match &left {
            ColumnarValue::Array(array) => array.len(),
            ColumnarValue::Scalar(_) => 1,
        };
        it.inner()
            .invoke_with_args(ScalarFunctionArgs {
                args: vec![left, right],
                arg_fields: Vec::new(),
                number_rows,
                return_field: Arc::new(Field::new("it", returns, true)),
                config_options: Arc::new(ConfigOptions::new()),
            })
            .unwrap()
    }

    fn column(values: &[i64]) -> ColumnarValue {
        ColumnarValue::Array(Arc::new(Int64Array::from(values.to_vec())))
    }

    #[test]
    fn only_the_rows_that_raise_lose_their_value() {
        let values: Vec<i64> = (0..1_000).map(|n| if n % 333 == 5 { i64::MIN } else { n }).collect();
        let minus_one = ColumnarValue::Scalar(ScalarValue::Int64(Some(-1)));
        let out = compute(Operator::Divide, column(&values), minus_one, DataType::Int64);
        let ColumnarValue::Array(out) = out else { panic!("{out:?}") };
        let wanted: Vec<Option<i64>> = values.iter().map(|value| value.checked_neg()).collect();
        assert_eq!(out.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn constants_that_raise_are_a_missing_constant() {
        let zero = || ColumnarValue::Scalar(ScalarValue::Int64(Some(0)));
        let out = compute(Operator::Modulo, zero(), zero(), DataType::Int64);
        assert!(matches!(out, ColumnarValue::Scalar(ScalarValue::Int64(None))));
    }

    #[test]
    fn decimals_beyond_their_digits_have_no_value() {
        let large = 10_i128.pow(37);
        let values = Decimal128Array::from(vec![Some(large), Some(2), None]).with_precision_and_scale(38, 0).unwrap();
        let values = ColumnarValue::Array(Arc::new(values));
        let out = compute(Operator::Multiply, values.clone(), values, DataType::Decimal128(38, 0));
        let ColumnarValue::Array(out) = out else { panic!("{out:?}") };
        assert_eq!(out.as_primitive::<Decimal128Type>().iter().collect::<Vec<_>>(), [None, Some(4), None]);
    }
}
