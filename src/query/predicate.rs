//! A policy's row filter as arrow kernels: typed when it is compiled, total when it runs.
//!
//! Kleene logic throughout, so that a comparison with a missing value is unknown, `not` keeps it unknown, and only
//! true lets a row pass. A literal that does not fit its column is refused at compile time.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, Scalar,
        StringArray, TimestampMicrosecondArray,
    },
    compute::{
        and_kleene, is_not_null, is_null,
        kernels::{cmp, comparison::starts_with},
        not, or_kleene,
    },
    error::ArrowError,
};

use crate::domain::{Column, ColumnType, CompareOp, Filter, Timestamp, Value};

/// A compiled filter; columns are named as in the batches that it gets.
#[derive(Debug)]
pub(super) enum Predicate {
    Compare { column: String, op: CompareOp, value: Scalar<ArrayRef> },
    In { column: String, values: Vec<Scalar<ArrayRef>> },
    StartsWith { column: String, prefix: Scalar<ArrayRef> },
    IsNull(String),
    IsNotNull(String),
    All(Vec<Predicate>),
    Any(Vec<Predicate>),
    Not(Box<Predicate>),
}

impl Predicate {
    /// Compiles `filter` against a dataset's columns; the error says which term does not fit and why.
    pub(super) fn compile(filter: &Filter, columns: &[Column]) -> Result<Self, String> {
        if filter.depth() > Filter::MAX_DEPTH || filter.terms() > Filter::MAX_TERMS {
            return Err("the filter is nested too deeply or has too many terms".to_owned());
        }
        Self::build(filter, columns)
    }

    fn build(filter: &Filter, columns: &[Column]) -> Result<Self, String> {
        let many =
            |parts: &[Filter]| parts.iter().map(|part| Self::build(part, columns)).collect::<Result<Vec<_>, _>>();
        Ok(match filter {
            Filter::Compare { column, op, value } => {
                let value = literal(find(columns, column)?, value)?;
                Self::Compare { column: column.clone(), op: *op, value }
            }
            Filter::In { column, values } => {
                let found = find(columns, column)?;
                let values = values.iter().map(|value| literal(found, value)).collect::<Result<_, _>>()?;
                Self::In { column: column.clone(), values }
            }
            Filter::StartsWith { column, prefix } => {
                if find(columns, column)?.data_type != ColumnType::String {
                    return Err(format!("`{column}` is not text"));
                }
                let prefix: ArrayRef = Arc::new(StringArray::from(vec![prefix.as_str()]));
                Self::StartsWith { column: column.clone(), prefix: Scalar::new(prefix) }
            }
            Filter::IsNull { column } => Self::IsNull(find(columns, column)?.name.clone()),
            Filter::IsNotNull { column } => Self::IsNotNull(find(columns, column)?.name.clone()),
            Filter::All(parts) => Self::All(many(parts)?),
            Filter::Any(parts) => Self::Any(many(parts)?),
            Filter::Not(part) => Self::Not(Box::new(Self::build(part, columns)?)),
        })
    }

    /// True, false or unknown for each row.
    pub(super) fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray, ArrowError> {
        let array = |name: &str| {
            batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError("a filter column is missing".to_owned()))
        };
        match self {
            Self::Compare { column, op, value } => {
                let (left, right) = (array(column)?, value);
                match op {
                    CompareOp::Eq => cmp::eq(left, right),
                    CompareOp::Ne => cmp::neq(left, right),
                    CompareOp::Lt => cmp::lt(left, right),
                    CompareOp::Le => cmp::lt_eq(left, right),
                    CompareOp::Gt => cmp::gt(left, right),
                    CompareOp::Ge => cmp::gt_eq(left, right),
                }
            }
            Self::In { column, values } => {
                let column = array(column)?;
                values.iter().try_fold(constant(false, batch), |sum, value| or_kleene(&sum, &cmp::eq(column, value)?))
            }
            Self::StartsWith { column, prefix } => starts_with(array(column)?, prefix),
            Self::IsNull(column) => is_null(array(column)?),
            Self::IsNotNull(column) => is_not_null(array(column)?),
            Self::All(parts) => {
                parts.iter().try_fold(constant(true, batch), |sum, part| and_kleene(&sum, &part.evaluate(batch)?))
            }
            Self::Any(parts) => {
                parts.iter().try_fold(constant(false, batch), |sum, part| or_kleene(&sum, &part.evaluate(batch)?))
            }
            Self::Not(part) => not(&part.evaluate(batch)?),
        }
    }
}

fn constant(value: bool, batch: &RecordBatch) -> BooleanArray {
    BooleanArray::from(vec![value; batch.num_rows()])
}

fn find<'a>(columns: &'a [Column], name: &str) -> Result<&'a Column, String> {
    columns.iter().find(|column| column.name == name).ok_or_else(|| format!("there is no column `{name}`"))
}

/// Reads `value` as the type of `column`, exactly or not at all.
pub(super) fn literal(column: &Column, value: &Value) -> Result<Scalar<ArrayRef>, String> {
    let misfit = || format!("the value does not fit `{}`, which is {}", column.name, column.data_type);
    let array: ArrayRef = match (column.data_type, value) {
        (ColumnType::Boolean, Value::Bool(value)) => Arc::new(BooleanArray::from(vec![*value])),
        (ColumnType::Int64, Value::Int(value)) => Arc::new(Int64Array::from(vec![*value])),
        (ColumnType::Int64, Value::Text(text)) => {
            Arc::new(Int64Array::from(vec![text.parse::<i64>().map_err(|_| misfit())?]))
        }
        (ColumnType::Float64, Value::Int(_) | Value::Text(_)) => {
            let text = text_of(value);
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite()).ok_or_else(misfit)?;
            Arc::new(Float64Array::from(vec![number]))
        }
        (ColumnType::Decimal { precision, scale }, Value::Int(_) | Value::Text(_)) => {
            let number = decimal(&text_of(value), precision, scale).ok_or_else(misfit)?;
            let array = Decimal128Array::from(vec![number]).with_precision_and_scale(precision, scale);
            Arc::new(array.map_err(|_| misfit())?)
        }
        (ColumnType::String, Value::Text(text)) => Arc::new(StringArray::from(vec![text.as_str()])),
        (ColumnType::Date, Value::Text(text)) => Arc::new(Date32Array::from(vec![date(text).ok_or_else(misfit)?])),
        (ColumnType::Timestamp, Value::Text(text)) => {
            let instant: Timestamp = text.parse().map_err(|_| misfit())?;
            Arc::new(TimestampMicrosecondArray::from(vec![instant.micros()]).with_timezone("UTC"))
        }
        _ => return Err(misfit()),
    };
    Ok(Scalar::new(array))
}

fn text_of(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Text(text) => text.clone(),
    }
}

/// Days since 1970-01-01 of an ISO date.
fn date(text: &str) -> Option<i32> {
    let day: jiff::civil::Date = text.parse().ok()?;
    let since = day.duration_since(jiff::civil::date(1970, 1, 1));
    i32::try_from(since.as_hours() / 24).ok()
}

/// A decimal's unscaled value, if `text` has no more digits than `precision` and `scale` allow.
fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let scale = u32::try_from(scale).ok()?;
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || fraction.len() > scale as usize {
        return None;
    }
    let mut number: i128 = format!("{whole}{fraction}").parse().ok()?;
    let missing = scale - u32::try_from(fraction.len()).ok()?;
    number = number.checked_mul(10_i128.checked_pow(missing)?)?;
    if number >= 10_i128.checked_pow(precision.into())? {
        return None;
    }
    Some(if negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ColumnRole;

    fn column(name: &str, data_type: ColumnType) -> Column {
        Column { name: name.into(), data_type, nullable: true, role: ColumnRole::Dimension, description: String::new() }
    }

    fn passing(filter: &Filter) -> Vec<Option<bool>> {
        let columns = [column("n", ColumnType::Int64), column("s", ColumnType::String)];
        let n: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(5), None]));
        let s: ArrayRef = Arc::new(StringArray::from(vec![Some("alpha"), None, Some("beta")]));
        let batch = RecordBatch::try_from_iter([("n", n), ("s", s)]).unwrap();
        Predicate::compile(filter, &columns).unwrap().evaluate(&batch).unwrap().iter().collect()
    }

    #[test]
    fn a_missing_value_is_unknown_and_stays_unknown_under_not() {
        let small = Filter::Compare { column: "n".into(), op: CompareOp::Lt, value: Value::Int(3) };
        assert_eq!(passing(&small), [Some(true), Some(false), None]);
        assert_eq!(passing(&Filter::Not(Box::new(small))), [Some(false), Some(true), None]);
    }

    #[test]
    fn lists_prefixes_and_connectives_work() {
        let list = Filter::In { column: "n".into(), values: vec![Value::Int(1), Value::Int(2)] };
        assert_eq!(passing(&list), [Some(true), Some(false), None]);
        let prefix = Filter::StartsWith { column: "s".into(), prefix: "al".into() };
        assert_eq!(passing(&prefix), [Some(true), None, Some(false)]);
        let missing = Filter::IsNull { column: "n".into() };
        assert_eq!(passing(&Filter::Any(vec![prefix, missing])), [Some(true), None, Some(true)]);
        assert_eq!(passing(&Filter::All(vec![])), [Some(true); 3]);
        assert_eq!(passing(&Filter::Any(vec![])), [Some(false); 3]);
    }

    #[test]
    fn literals_are_read_as_the_columns_type_or_refused() {
        let decimals = column("d", ColumnType::Decimal { precision: 5, scale: 2 });
        for good in ["12.50", "-1", "999.99"] {
            assert!(literal(&decimals, &Value::Text(good.into())).is_ok(), "{good}");
        }
        for bad in ["1.234", "1000", "", ".5", "1e3", "abc"] {
            assert!(literal(&decimals, &Value::Text(bad.into())).is_err(), "{bad}");
        }
        assert!(literal(&column("t", ColumnType::Date), &Value::Text("2026-02-30".into())).is_err());
        assert!(literal(&column("i", ColumnType::Int64), &Value::Bool(true)).is_err());
        assert_eq!(date("1970-01-02"), Some(1));
        assert_eq!(date("1969-12-31"), Some(-1));
    }
}
