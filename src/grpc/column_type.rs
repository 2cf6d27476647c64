//! Types of columns and parameters between the API and the domain.

use super::pb;
use crate::{
    domain::ColumnType,
    error::{Error, Result},
};

/// A type from the wire: stated, and with a precision and scale that a decimal can have and nothing else has.
pub(super) fn read(message: pb::ColumnType) -> Result<ColumnType> {
    let invalid = || Error::invalid("type", "not a type of a column");
    let data_type = match message.logical_type() {
        pb::LogicalType::Decimal => {
            let precision = u8::try_from(message.precision).map_err(|_| invalid())?;
            let scale = i8::try_from(message.scale).map_err(|_| invalid())?;
            if !(1..=38).contains(&precision) || scale < 0 || i16::from(scale) > i16::from(precision) {
                return Err(invalid());
            }
            return Ok(ColumnType::Decimal { precision, scale });
        }
        pb::LogicalType::Unspecified => return Err(invalid()),
        pb::LogicalType::Boolean => ColumnType::Boolean,
        pb::LogicalType::Int64 => ColumnType::Int64,
        pb::LogicalType::Float64 => ColumnType::Float64,
        pb::LogicalType::String => ColumnType::String,
        pb::LogicalType::Date => ColumnType::Date,
        pb::LogicalType::Timestamp => ColumnType::Timestamp,
    };
    if (message.precision, message.scale) == (0, 0) { Ok(data_type) } else { Err(invalid()) }
}

/// A type for the wire.
pub(super) fn message(data_type: ColumnType) -> pb::ColumnType {
    let (logical, precision, scale) = match data_type {
        ColumnType::Boolean => (pb::LogicalType::Boolean, 0, 0),
        ColumnType::Int64 => (pb::LogicalType::Int64, 0, 0),
        ColumnType::Decimal { precision, scale } => (pb::LogicalType::Decimal, precision.into(), scale.into()),
        ColumnType::Float64 => (pb::LogicalType::Float64, 0, 0),
        ColumnType::String => (pb::LogicalType::String, 0, 0),
        ColumnType::Date => (pb::LogicalType::Date, 0, 0),
        ColumnType::Timestamp => (pb::LogicalType::Timestamp, 0, 0),
    };
    pb::ColumnType { logical_type: logical.into(), precision, scale }
}
