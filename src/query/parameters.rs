//! Parameters of a prepared statement: found in the text, given a type, and written into it as literals.
//!
//! A bound statement is a text like any other: it passes the same gates as one that was written out, and the audit log
//! commits to it as it ran. The value cannot change the statement, since the literal is made here, token for token:
//! a text is quoted by doubling its quotes, the only escape that the hub's SQL knows, and everything else is made of
//! digits. This module knows no caller and no session; types are inferred by [`super::Engine::parameter_types`].

use arrow::{
    array::{
        Array as _, ArrayRef, AsArray as _, RecordBatch, TimestampMicrosecondArray, TimestampMillisecondArray,
        TimestampNanosecondArray, TimestampSecondArray,
    },
    compute::cast,
    datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
};
use datafusion::sql::sqlparser::{
    dialect::PostgreSqlDialect,
    tokenizer::{Location, Token, Tokenizer},
};

use super::{admit, failure::reject};
use crate::error::{Error, Result};

/// Most parameters of one statement.
const MAX_PARAMETERS: usize = 256;

/// A statement with places for values: `?`, in order, or `$1`, `$2` and so on, in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameterised {
    sql: String,
    /// Where each place is, as bytes of the text, and the number of its parameter from 0 on; in order.
    places: Vec<(std::ops::Range<usize>, usize)>,
    count: usize,
}

impl Parameterised {
    /// Finds the places; refuses a text that mixes both forms, names its parameters or leaves out a number.
    pub fn parse(sql: &str) -> Result<Self> {
        if sql.len() > admit::MAX_BYTES {
            return Err(reject("too_large", format!("the text exceeds {} bytes", admit::MAX_BYTES)));
        }
        // What cannot be tokenised has no parameters; admission says what is wrong with it.
        let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location().unwrap_or_default();
        let mut offsets = Offsets::new(sql);
        let (mut places, mut marks, mut numbers) = (Vec::new(), 0, Vec::new());
        for token in tokens {
            let number = match &token.token {
                Token::Question => {
                    marks += 1;
                    marks - 1
                }
                Token::Placeholder(name) => {
                    let number = name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
                    let number = number.and_then(|number| number.checked_sub(1)).filter(|it| *it < MAX_PARAMETERS);
                    let number = number
                        .ok_or_else(|| placeholder(&format!("parameters are `?` or `$1` to `${MAX_PARAMETERS}`")))?;
                    numbers.push(number);
                    number
                }
                _ => continue,
            };
            let (start, end) = (offsets.byte(token.span.start), offsets.byte(token.span.end));
            places.push((start..end, number));
        }
        if marks > 0 && !numbers.is_empty() {
            return Err(placeholder("`?` and `$1` do not go together"));
        }
        let count = marks.max(numbers.iter().max().map_or(0, |most| most + 1));
        if count > MAX_PARAMETERS {
            return Err(placeholder(&format!("there are more than {MAX_PARAMETERS} parameters")));
        }
        if marks == 0 && (0..count).any(|number| !numbers.contains(&number)) {
            return Err(placeholder("the numbers of the parameters have a gap"));
        }
        Ok(Self { sql: sql.to_owned(), places, count })
    }

    /// How many values it takes.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The text with these values in the places.
    pub fn bind(&self, values: &[Literal]) -> Result<String> {
        if values.len() != self.count {
            let detail = format!("{} values were bound to {} parameters", values.len(), self.count);
            return Err(Error::invalid("parameters", detail));
        }
        Ok(self.splice(|number| format!(" {} ", values[number].0)))
    }

    /// The text with a value of each type, for planning a statement whose values are not known yet.
    pub fn with_samples(&self, types: &[DataType]) -> Result<String> {
        self.bind(&types.iter().map(Literal::sample).collect::<Vec<_>>())
    }

    /// The text with every place written as `$1`, `$2` and so on, as the planner knows them.
    pub(super) fn numbered(&self) -> String {
        self.splice(|number| format!(" ${} ", number + 1))
    }

    fn splice(&self, write: impl Fn(usize) -> String) -> String {
        let (mut out, mut from) = (String::with_capacity(self.sql.len() + 32 * self.places.len()), 0);
        for (place, number) in &self.places {
            out.push_str(&self.sql[from..place.start]);
            out.push_str(&write(*number));
            from = place.end;
        }
        out.push_str(&self.sql[from..]);
        out
    }
}

/// A value as the text of a literal, on its own in any surroundings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Literal(String);

impl Literal {
    /// The one row of a batch of bound parameters.
    pub fn row(batch: &RecordBatch) -> Result<Vec<Self>> {
        if batch.num_rows() != 1 {
            let detail = format!("bind one row of values, not {}", batch.num_rows());
            return Err(Error::invalid("parameters", detail));
        }
        batch.columns().iter().enumerate().map(|(at, column)| Self::of(column, at + 1)).collect()
    }

    fn sample(data_type: &DataType) -> Self {
        Self(match data_type {
            DataType::Boolean => "TRUE".to_owned(),
            DataType::Int64 => "1".to_owned(),
            DataType::Float64 => "1.5".to_owned(),
            DataType::Decimal128(precision, scale) => format!("CAST('1' AS DECIMAL({precision}, {scale}))"),
            DataType::Date32 => "DATE '2000-01-01'".to_owned(),
            DataType::Timestamp(..) => "TIMESTAMP '2000-01-01T00:00:00'".to_owned(),
            _ => "'x'".to_owned(),
        })
    }

    fn of(column: &ArrayRef, number: usize) -> Result<Self> {
        let refused = |detail: &str| Error::invalid("parameters", format!("parameter {number}: {detail}"));
        if column.is_null(0) || *column.data_type() == DataType::Null {
            return Ok(Self("NULL".to_owned()));
        }
        let text = |column: &ArrayRef| as_text(column).map_err(|_| refused("the value cannot be written"));
        Ok(Self(match column.data_type() {
            DataType::Boolean => (if column.as_boolean().value(0) { "TRUE" } else { "FALSE" }).to_owned(),
            // In parentheses, so that a minus sign stays the number's own.
            integer if integer.is_integer() => format!("({})", text(column)?),
            DataType::Float16 | DataType::Float32 | DataType::Float64 => {
                let number = cast(column, &DataType::Float64).map_err(|_| refused("the value cannot be written"))?;
                let number = number.as_primitive::<arrow::datatypes::Float64Type>().value(0);
                if !number.is_finite() {
                    return Err(refused("NaN and infinity are no values of this SQL"));
                }
                format!("({number:?})")
            }
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale)
            | DataType::Decimal256(precision, scale) => {
                format!("CAST('{}' AS DECIMAL({precision}, {scale}))", text(column)?)
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => quoted(&text(column)?),
            DataType::Dictionary(_, values) if values.is_string() => quoted(&text(column)?),
            DataType::Date32 | DataType::Date64 => {
                let day = cast(column, &DataType::Date32).map_err(|_| refused("the date cannot be written"))?;
                format!("DATE {}", quoted(&text(&day)?))
            }
            DataType::Timestamp(unit, _) => format!("TIMESTAMP {}", quoted(&text(&in_utc(column, *unit))?)),
            other => return Err(refused(&format!("values of the type {other} are not accepted"))),
        }))
    }
}

/// The types to plan a statement with, the likeliest first: what planning could not tell is a text or else a number.
pub fn parameter_guesses(found: &[Option<DataType>]) -> Vec<Vec<DataType>> {
    let with = |other: DataType| found.iter().map(|it| it.clone().unwrap_or_else(|| other.clone())).collect();
    let mut guesses = vec![with(DataType::Utf8)];
    if found.iter().any(Option::is_none) {
        guesses.push(with(DataType::Int64));
    }
    guesses
}

/// The parameters' types as the schema that a client binds a row of.
pub fn parameter_schema(types: &[DataType]) -> SchemaRef {
    let field = |(at, data_type): (usize, &DataType)| Field::new(format!("${}", at + 1), data_type.clone(), true);
    std::sync::Arc::new(Schema::new(types.iter().enumerate().map(field).collect::<Vec<_>>()))
}

/// The type in which a parameter is asked for, of the one that planning wants: few, and known to every client.
pub(super) fn plain_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Boolean | DataType::Date32 | DataType::Decimal128(..) => Some(data_type.clone()),
        DataType::Date64 => Some(DataType::Date32),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(DataType::Utf8),
        DataType::Dictionary(_, values) => plain_type(values),
        // JDBC counts milliseconds whatever the unit of its vector is, so that is the unit to ask for.
        DataType::Timestamp(_, zone) => Some(DataType::Timestamp(TimeUnit::Millisecond, zone.clone())),
        integer if integer.is_integer() => Some(DataType::Int64),
        floating if floating.is_floating() => Some(DataType::Float64),
        _ => None,
    }
}

fn placeholder(detail: &str) -> Error {
    reject("placeholder", detail)
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn as_text(column: &ArrayRef) -> std::result::Result<String, ArrowError> {
    Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().value(0).to_owned())
}

/// An instant without its zone: arrow counts both from the epoch in UTC.
fn in_utc(column: &ArrayRef, unit: TimeUnit) -> ArrayRef {
    use arrow::datatypes::{
        TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    };
    use std::sync::Arc;
    match unit {
        TimeUnit::Second => {
            Arc::new(TimestampSecondArray::from(vec![column.as_primitive::<TimestampSecondType>().value(0)]))
        }
        TimeUnit::Millisecond => {
            Arc::new(TimestampMillisecondArray::from(vec![column.as_primitive::<TimestampMillisecondType>().value(0)]))
        }
        TimeUnit::Microsecond => {
            Arc::new(TimestampMicrosecondArray::from(vec![column.as_primitive::<TimestampMicrosecondType>().value(0)]))
        }
        TimeUnit::Nanosecond => {
            Arc::new(TimestampNanosecondArray::from(vec![column.as_primitive::<TimestampNanosecondType>().value(0)]))
        }
    }
}

/// From the tokenizer's lines and columns, which count characters, to bytes; positions are asked for in order.
struct Offsets<'a> {
    rest: std::str::CharIndices<'a>,
    at: usize,
    line: u64,
    column: u64,
}

impl<'a> Offsets<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text.char_indices(), at: 0, line: 1, column: 1 }
    }

    fn byte(&mut self, place: Location) -> usize {
        while (self.line, self.column) < (place.line, place.column) {
            let Some((at, character)) = self.rest.next() else { break };
            self.at = at + character.len_utf8();
            if character == '\n' {
                (self.line, self.column) = (self.line + 1, 1);
            } else {
                self.column += 1;
            }
        }
        self.at
    }
}

#[cfg(test)]
#[path = "parameters_tests.rs"]
mod tests;
