//! Concatenation with a bound on its output, which no memory pool of DataFusion's sees.
//!
//! Texts that are put together twice, and that twice, and so on grow by powers: a short query could make gigabytes of
//! one batch. The size of the result is known before it is made, and a batch of more than [`MOST`] bytes ends the query
//! with `QUERY_LIMIT`. Only texts that the caller may see are ever concatenated, so the end tells nothing.

use std::{hash::Hash, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, StringArray},
    compute::kernels::concat_elements::concat_elements_utf8,
    datatypes::DataType,
};
use datafusion::{
    common::ScalarValue,
    error::{DataFusionError, Result},
    logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
};

/// Most bytes that one concatenation makes of one batch.
const MOST: usize = 32 * 1024 * 1024;

/// `a || b`, or `concat(a, b, ..)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Bounded {
    /// The function; none for the operator, of which a missing side makes a missing text.
    function: Option<Arc<ScalarUDF>>,
    signature: Signature,
}

impl Bounded {
    /// `left || right`, both of them text.
    pub(super) fn operator(left: Expr, right: Expr) -> Expr {
        Self::udf(None).call(vec![left, right])
    }

    /// `function(args)`, which is a concatenation of text.
    pub(super) fn function(function: Arc<ScalarUDF>, args: Vec<Expr>) -> Expr {
        Self::udf(Some(function)).call(args)
    }

    fn udf(function: Option<Arc<ScalarUDF>>) -> ScalarUDF {
        ScalarUDF::from(Self { function, signature: Signature::variadic_any(Volatility::Immutable) })
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &'static str {
        "__odh_concat"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let bytes = args.args.iter().fold(0_usize, |sum, value| sum.saturating_add(size(value, rows)));
        if bytes > MOST {
            return Err(DataFusionError::ResourcesExhausted("a concatenation is too large".to_owned()));
        }
        if let Some(function) = &self.function {
            return function.inner().invoke_with_args(args);
        }
        let scalars = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let sides: Vec<ArrayRef> = ColumnarValue::values_to_arrays(&args.args)?;
        let [left, right] = sides.as_slice() else {
            return Err(DataFusionError::Internal("`||` has two sides".to_owned()));
        };
        let joined: StringArray = concat_elements_utf8(left.as_string(), right.as_string())?;
        Ok(if scalars {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&joined, 0)?)
        } else {
            ColumnarValue::Array(Arc::new(joined))
        })
    }
}

/// Bytes of text of an argument, repeated for each row if it is a constant.
fn size(value: &ColumnarValue, rows: usize) -> usize {
    match value {
        ColumnarValue::Scalar(value) => value.try_as_str().flatten().map_or(0, |text| text.len().saturating_mul(rows)),
        ColumnarValue::Array(array) => match array.as_string_opt::<i32>() {
            Some(texts) => {
                let offsets = texts.value_offsets();
                let ends = offsets.last().zip(offsets.first()).map_or(0, |(last, first)| last - first);
                usize::try_from(ends).unwrap_or(usize::MAX)
            }
            // Anything else is written out short.
            None => array.len().saturating_mul(64),
        },
    }
}
