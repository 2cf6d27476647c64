//! What replaces the values of a masked column, inside the barrier, so that every mention sees the mask.
//!
//! A mask keeps its column's type. A missing value is a value like any other under a constant and under pseudonyms:
//! where nothing stands for "no diagnosis", who has one would show. Prefixes, years and buckets leave it missing.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Date32Array, Int64Array, Scalar, StringArray, TimestampMicrosecondArray, UInt32Array,
        new_null_array,
    },
    compute::take,
    datatypes::{Date32Type, Int64Type, TimestampMicrosecondType},
    error::ArrowError,
};
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::civil;

use super::predicate::literal;
use crate::domain::{Column, ColumnRole, ColumnType, Mask};

/// A mask fitted to its column.
#[derive(Debug)]
pub(super) enum ColumnMask {
    Null,
    Constant(Scalar<ArrayRef>),
    /// Pseudonyms, and that of a missing value; none for a subject key, since a missing subject is nobody.
    Hmac(Box<hmac::Key>, Option<String>),
    Prefix(usize),
    YearOfDate,
    YearOfTimestamp,
    Bucket(i64),
}

impl ColumnMask {
    /// Fits `mask` to `column`; the error says why it does not. `key` is that of the grantee and purpose.
    pub(super) fn compile(mask: &Mask, column: &Column, key: &[u8; 32]) -> Result<Self, String> {
        let misfit = |wanted: &str| Err(format!("`{}` is {}, this mask needs {wanted}", column.name, column.data_type));
        match (mask, column.data_type) {
            (Mask::Null, _) => Ok(Self::Null),
            (Mask::Constant(value), _) => Ok(Self::Constant(literal(column, value)?)),
            (Mask::Hmac, ColumnType::String) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, key);
                // No text has this byte in it.
                let missing = (column.role != ColumnRole::SubjectKey).then(|| pseudonym(&key, &[0xFF]));
                Ok(Self::Hmac(Box::new(key), missing))
            }
            (Mask::Prefix(length), ColumnType::String) => Ok(Self::Prefix(*length as usize)),
            (Mask::Year, ColumnType::Date) => Ok(Self::YearOfDate),
            (Mask::Year, ColumnType::Timestamp) => Ok(Self::YearOfTimestamp),
            (Mask::Bucket(width), ColumnType::Int64) if *width >= 2 => Ok(Self::Bucket(*width)),
            (Mask::Hmac | Mask::Prefix(_), _) => misfit("text"),
            (Mask::Year, _) => misfit("a date or a timestamp"),
            (Mask::Bucket(_), _) => misfit("an integer and a width of at least 2"),
        }
    }

    /// The masked values.
    pub(super) fn apply(&self, values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Null => new_null_array(values.data_type(), values.len()),
            Self::Constant(value) => {
                take(&value.clone().into_inner(), &UInt32Array::from(vec![0; values.len()]), None)?
            }
            Self::Hmac(key, missing) => {
                let texts = values.as_string::<i32>().iter();
                let of = |text: Option<&str>| text.map(|it| pseudonym(key, it.as_bytes())).or_else(|| missing.clone());
                Arc::new(texts.map(of).collect::<StringArray>())
            }
            Self::Prefix(length) => {
                let texts = values.as_string::<i32>().iter();
                Arc::new(texts.map(|text| text.map(|text| prefix(text, *length))).collect::<StringArray>())
            }
            Self::YearOfDate => {
                let days = values.as_primitive::<Date32Type>();
                Arc::new(days.iter().map(|day| day.and_then(new_year)).collect::<Date32Array>())
            }
            Self::YearOfTimestamp => {
                let instants = values.as_primitive::<TimestampMicrosecondType>().iter();
                let years = instants.map(|micros| {
                    let day = i32::try_from(micros?.div_euclid(MICROS_PER_DAY)).ok()?;
                    i64::from(new_year(day)?).checked_mul(MICROS_PER_DAY)
                });
                Arc::new(years.collect::<TimestampMicrosecondArray>().with_data_type(values.data_type().clone()))
            }
            Self::Bucket(width) => {
                let numbers = values.as_primitive::<Int64Type>().iter();
                let buckets = numbers.map(|number| number?.div_euclid(*width).checked_mul(*width));
                Arc::new(buckets.collect::<Int64Array>())
            }
        })
    }
}

const MICROS_PER_DAY: i64 = 86_400_000_000;

fn pseudonym(key: &hmac::Key, value: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(hmac::sign(key, value).as_ref())
}

fn prefix(text: &str, length: usize) -> &str {
    text.char_indices().nth(length).map_or(text, |(end, _)| &text[..end])
}

/// The first of January of the year of a day since 1970-01-01; a day outside years -9999 to 9999 has none.
fn new_year(day: i32) -> Option<i32> {
    let epoch = civil::date(1970, 1, 1);
    let date = epoch.checked_add(jiff::Span::new().try_days(day).ok()?).ok()?;
    let first = civil::Date::new(date.year(), 1, 1).ok()?;
    i32::try_from(first.duration_since(epoch).as_hours() / 24).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Value;

    fn masked(mask: &Mask, data_type: ColumnType, values: &ArrayRef) -> ArrayRef {
        let column = Column {
            name: "c".into(),
            data_type,
            nullable: true,
            role: ColumnRole::Measure,
            description: String::new(),
        };
        let out = ColumnMask::compile(mask, &column, &[7; 32]).unwrap().apply(values).unwrap();
        assert_eq!(out.data_type(), values.data_type());
        out
    }

    fn array(values: impl Array + 'static) -> ArrayRef {
        Arc::new(values)
    }

    #[test]
    fn a_missing_value_does_not_show_under_a_constant_or_a_pseudonym() {
        let out =
            masked(&Mask::Constant(Value::Int(9)), ColumnType::Int64, &array(Int64Array::from(vec![Some(1), None])));
        assert_eq!(out.as_primitive::<Int64Type>(), &Int64Array::from(vec![Some(9), Some(9)]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("flu"), None, Some(""), None]));
        let out = masked(&Mask::Hmac, ColumnType::String, &texts);
        let out = out.as_string::<i32>();
        assert_eq!((out.null_count(), out.value(1)), (0, out.value(3)));
        assert!(out.value(1) != out.value(0) && out.value(1) != out.value(2) && out.value(1).len() == 43);
    }

    #[test]
    fn a_missing_subject_stays_nobody() {
        let column = Column {
            name: "c".into(),
            data_type: ColumnType::String,
            nullable: true,
            role: ColumnRole::SubjectKey,
            description: String::new(),
        };
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("s1"), None]));
        let out = ColumnMask::compile(&Mask::Hmac, &column, &[7; 32]).unwrap().apply(&texts).unwrap();
        assert!(out.is_valid(0) && out.is_null(1));
    }

    #[test]
    fn buckets_round_down_below_zero_too() {
        let values = Int64Array::from(vec![Some(0), Some(19), Some(-1), Some(i64::MIN), None]);
        let out = masked(&Mask::Bucket(10), ColumnType::Int64, &array(values));
        assert_eq!(out.as_primitive::<Int64Type>(), &Int64Array::from(vec![Some(0), Some(10), Some(-10), None, None]));
    }

    #[test]
    fn years_and_prefixes_and_pseudonyms() {
        let days = array(Date32Array::from(vec![Some(400), Some(-1), Some(i32::MAX)]));
        let out = masked(&Mask::Year, ColumnType::Date, &days);
        assert_eq!(out.as_primitive::<Date32Type>(), &Date32Array::from(vec![Some(365), Some(-365), None]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("école"), None]));
        let out = masked(&Mask::Prefix(2), ColumnType::String, &texts);
        assert_eq!(out.as_string::<i32>().iter().collect::<Vec<_>>(), [Some("éc"), None]);
        let out = masked(&Mask::Hmac, ColumnType::String, &texts);
        assert_eq!(out.as_string::<i32>().value(0).len(), 43);
    }

    #[test]
    fn a_mask_that_does_not_fit_its_column_is_refused() {
        let column = Column {
            name: "c".into(),
            data_type: ColumnType::Int64,
            nullable: true,
            role: ColumnRole::Measure,
            description: String::new(),
        };
        for mask in [Mask::Hmac, Mask::Prefix(1), Mask::Year, Mask::Bucket(1), Mask::Constant(Value::Text("x".into()))]
        {
            assert!(ColumnMask::compile(&mask, &column, &[0; 32]).is_err(), "{mask:?}");
        }
    }
}
