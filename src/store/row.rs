//! Reading columns: a value that the schema does not allow is an inconsistency, not a panic.

use std::{fmt::Display, str::FromStr};

use serde::de::DeserializeOwned;
use sqlx::{ColumnIndex, Decode, Row as _, Type, any::AnyRow};

use crate::{
    domain::Timestamp,
    error::{Error, Result},
};

/// Typed access to a row's columns.
pub(super) trait RowExt {
    /// A column of a plain type.
    fn col<'r, T>(&'r self, name: &'static str) -> Result<T>
    where
        T: Decode<'r, sqlx::Any> + Type<sqlx::Any>;

    /// A text column that has a parser.
    fn parsed<T>(&self, name: &'static str) -> Result<T>
    where
        T: FromStr<Err: Display>;

    /// A text column with a JSON document.
    fn json<T: DeserializeOwned>(&self, name: &'static str) -> Result<T>;

    /// A BIGINT column of microseconds.
    fn time(&self, name: &'static str) -> Result<Timestamp> {
        Ok(Timestamp::from_micros(self.col(name)?))
    }

    /// A nullable text column that has a parser.
    fn parsed_opt<T>(&self, name: &'static str) -> Result<Option<T>>
    where
        T: FromStr<Err: Display>;

    /// A nullable BIGINT column of microseconds.
    fn time_opt(&self, name: &'static str) -> Result<Option<Timestamp>> {
        Ok(self.col::<Option<i64>>(name)?.map(Timestamp::from_micros))
    }

    /// A BIGINT column that counts something.
    fn count(&self, name: &'static str) -> Result<u64> {
        u64::try_from(self.col::<i64>(name)?).map_err(|e| inconsistent(name, e))
    }
}

impl RowExt for AnyRow {
    fn col<'r, T>(&'r self, name: &'static str) -> Result<T>
    where
        T: Decode<'r, sqlx::Any> + Type<sqlx::Any>,
        &'static str: ColumnIndex<AnyRow>,
    {
        self.try_get(name).map_err(|e| inconsistent(name, e))
    }

    fn parsed<T>(&self, name: &'static str) -> Result<T>
    where
        T: FromStr<Err: Display>,
    {
        self.col::<String>(name)?.parse().map_err(|e| inconsistent(name, e))
    }

    fn json<T: DeserializeOwned>(&self, name: &'static str) -> Result<T> {
        serde_json::from_str(&self.col::<String>(name)?).map_err(|e| inconsistent(name, e))
    }

    fn parsed_opt<T>(&self, name: &'static str) -> Result<Option<T>>
    where
        T: FromStr<Err: Display>,
    {
        self.col::<Option<String>>(name)?.map(|text| text.parse().map_err(|e| inconsistent(name, e))).transpose()
    }
}

/// Text of a JSON column.
pub(super) fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::internal(format_args!("json: {e}")))
}

fn inconsistent(column: &str, cause: impl Display) -> Error {
    Error::internal(format_args!("inconsistent row, column {column}: {cause}"))
}
