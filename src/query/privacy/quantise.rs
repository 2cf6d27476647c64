//! Puts a measure on a grid of integers, clamped to what its owner declared.
//!
//! An integer is its own grid and a decimal is counted in its last digit. A double is counted in a power of two that
//! divides the declared range into about a million steps: the grid depends on the bounds alone, never on a value, so
//! that scaling or shifting values cannot change the granularity of the noise (Mironov 2012, Haney 2022).

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, Int64Array},
    datatypes::{DataType, Decimal128Type, Float64Type, Int64Type},
};
use datafusion::{
    error::{DataFusionError, Result},
    logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility},
};

use crate::domain::Bounds;

/// Steps of a double's range are at most `2^STEP_BITS` in number, if the range is wider than one.
const STEP_BITS: u32 = 20;

/// In what a measure is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Grid {
    /// Whole numbers.
    Units,
    /// `10^-scale`.
    Decimal { scale: i8 },
    /// `2^-bits`.
    Binary { bits: u32 },
}

/// A measure's grid, and its bounds counted on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Quantiser {
    pub(super) grid: Grid,
    pub(super) lower: i64,
    pub(super) upper: i64,
}

impl Quantiser {
    /// The grid of a column of this type between these bounds; none if it is no number, or if the bounds are out of
    /// range on its grid.
    pub(super) fn new(data_type: &DataType, bounds: Bounds) -> Option<Self> {
        let (grid, factor) = match data_type {
            DataType::Int64 => (Grid::Units, 1),
            DataType::Decimal128(_, scale) => {
                (Grid::Decimal { scale: *scale }, 10_i64.checked_pow(u32::try_from(*scale).ok()?)?)
            }
            DataType::Float64 => {
                let width = bounds.upper.checked_sub(bounds.lower)?.max(1).unsigned_abs();
                let bits = STEP_BITS.saturating_sub(width.next_power_of_two().trailing_zeros());
                (Grid::Binary { bits }, 1_i64 << bits)
            }
            _ => return None,
        };
        let on_grid = |bound: i64| bound.checked_mul(factor).filter(|it| it.unsigned_abs() < 1 << 52);
        let (lower, upper) = (on_grid(bounds.lower)?, on_grid(bounds.upper)?);
        (lower <= upper).then_some(Self { grid, lower, upper })
    }

    /// The point in the middle, on the grid.
    pub(super) const fn middle(&self) -> i64 {
        // Bounds are below 2^52, their sum does not overflow.
        (self.lower + self.upper).div_euclid(2)
    }

    fn double(&self, value: f64, bits: u32) -> Option<i64> {
        if value.is_nan() {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "bounds are below 2^52")]
        let (lower, upper) = (self.lower as f64, self.upper as f64);
        #[expect(clippy::cast_possible_truncation, reason = "clamped to bounds below 2^52 first")]
        let point = (value * f64::from(1_u32 << bits)).clamp(lower, upper).round_ties_even() as i64;
        Some(point.clamp(self.lower, self.upper))
    }
}

/// The function that quantises a column, less `minus`. A value that is missing or no number stays missing.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::query) struct Quantise {
    quantiser: Quantiser,
    minus: i64,
    signature: Signature,
}

impl Quantise {
    pub(super) fn new(quantiser: Quantiser, minus: i64) -> Self {
        Self { quantiser, minus, signature: Signature::any(1, Volatility::Immutable) }
    }

    fn all(&self, values: &dyn Array) -> Result<Int64Array> {
        let Quantiser { grid, lower, upper } = self.quantiser;
        let minus = self.minus;
        Ok(match (grid, values.data_type()) {
            (Grid::Units, DataType::Int64) => {
                let values = values.as_primitive::<Int64Type>().iter();
                values.map(|value| value.map(|value| value.clamp(lower, upper) - minus)).collect()
            }
            (Grid::Decimal { scale }, DataType::Decimal128(_, stored)) if scale == *stored => {
                let clamped = |value: i128| {
                    let value = value.clamp(lower.into(), upper.into());
                    // Between two values of that type.
                    i64::try_from(value).unwrap_or(lower) - minus
                };
                values.as_primitive::<Decimal128Type>().iter().map(|value| value.map(clamped)).collect()
            }
            (Grid::Binary { bits }, DataType::Float64) => {
                let point = |value| self.quantiser.double(value, bits).map(|point| point - minus);
                values.as_primitive::<Float64Type>().iter().map(|value| value.and_then(point)).collect()
            }
            _ => return Err(DataFusionError::Internal("a measure of another type than was planned".to_owned())),
        })
    }
}

impl ScalarUDFImpl for Quantise {
    fn name(&self) -> &'static str {
        "__odh_quantise"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [values] = arrays.as_slice() else {
            return Err(DataFusionError::Internal("quantise takes one column".to_owned()));
        };
        Ok(ColumnarValue::Array(Arc::new(self.all(values.as_ref())?)))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Decimal128Array, Float64Array};

    use super::*;

    fn quantised(data_type: &DataType, bounds: (i64, i64), values: &dyn Array) -> Vec<Option<i64>> {
        let quantiser = Quantiser::new(data_type, Bounds { lower: bounds.0, upper: bounds.1 }).unwrap();
        Quantise::new(quantiser, 0).all(values).unwrap().iter().collect()
    }

    #[test]
    fn every_type_is_clamped_on_its_own_grid() {
        let integers = Int64Array::from(vec![Some(i64::MIN), Some(7), Some(i64::MAX), None]);
        assert_eq!(quantised(&DataType::Int64, (0, 100), &integers), [Some(0), Some(7), Some(100), None]);
        let decimals = Decimal128Array::from(vec![Some(i128::MIN), Some(1_234), Some(i128::MAX), None]);
        let decimals = decimals.with_precision_and_scale(38, 2).unwrap();
        let data_type = DataType::Decimal128(38, 2);
        assert_eq!(quantised(&data_type, (0, 100), &decimals), [Some(0), Some(1_234), Some(10_000), None]);
        let doubles = Float64Array::from(vec![f64::NAN, f64::NEG_INFINITY, f64::INFINITY, 0.5, -0.0, 1e-320]);
        let one = 1 << 20;
        assert_eq!(
            quantised(&DataType::Float64, (-1, 1), &doubles),
            [None, Some(-one / 2), Some(one / 2), Some(one / 4), Some(0), Some(0)]
        );
    }

    #[test]
    fn the_grid_depends_on_the_bounds_alone() {
        let bounds = Bounds { lower: 0, upper: 1_000 };
        assert_eq!(Quantiser::new(&DataType::Float64, bounds).unwrap().grid, Grid::Binary { bits: 10 });
        let wide = Bounds { lower: 0, upper: 1 << 40 };
        assert_eq!(Quantiser::new(&DataType::Float64, wide).unwrap().grid, Grid::Binary { bits: 0 });
    }

    #[test]
    fn bounds_that_could_overflow_are_refused() {
        for (data_type, upper) in [
            (DataType::Int64, 1 << 52),
            (DataType::Int64, i64::MAX),
            (DataType::Decimal128(38, 10), 1 << 30),
            (DataType::Decimal128(38, 30), 1),
            (DataType::Utf8, 1),
        ] {
            assert!(Quantiser::new(&data_type, Bounds { lower: 0, upper }).is_none(), "{data_type} {upper}");
        }
        assert!(Quantiser::new(&DataType::Float64, Bounds { lower: i64::MIN, upper: i64::MAX }).is_none());
    }
}
