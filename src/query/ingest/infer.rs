//! Which type the cells of a CSV column have, and their values in that type.
//!
//! A type is chosen only if it keeps every cell exactly: a code with leading zeros stays text, a decimal stays
//! decimal. The one exception is scientific notation, which becomes a 64-bit float.

use arrow::{array::types::Date32Type, compute::kernels::cast_utils::Parser as _};

use crate::domain::ColumnType;

/// The most digits of a decimal.
const MAX_DIGITS: usize = 38;
/// Longer numbers may not fit a 64-bit float, so they are text.
const MAX_FLOAT_DIGITS: usize = 300;

/// What has been seen of a column so far.
#[derive(Debug, Default, Clone)]
pub(super) struct Seen {
    kinds: u8,
    whole_digits: usize,
    scale: usize,
}

const BOOLEAN: u8 = 1;
const INTEGER: u8 = 2;
const DECIMAL: u8 = 4;
const FLOAT: u8 = 8;
const DATE: u8 = 16;
const TIMESTAMP: u8 = 32;
const TEXT: u8 = 64;

impl Seen {
    /// Takes one cell into account; an empty one is a null and says nothing.
    pub(super) fn add(&mut self, cell: &str) {
        if !cell.is_empty() && self.kinds & TEXT == 0 {
            self.kinds |= self.kind(cell);
        }
    }

    /// The narrowest type that keeps every cell. Decimals get 9, 18 or 38 digits, so that the type says little
    /// about the greatest value.
    pub(super) fn column_type(&self) -> ColumnType {
        let only = |kinds: u8| self.kinds != 0 && self.kinds & !kinds == 0;
        if only(BOOLEAN) {
            ColumnType::Boolean
        } else if only(INTEGER) {
            ColumnType::Int64
        } else if only(INTEGER | DECIMAL) {
            self.decimal()
        } else if only(INTEGER | DECIMAL | FLOAT) {
            ColumnType::Float64
        } else if only(DATE) {
            ColumnType::Date
        } else if only(TIMESTAMP) {
            ColumnType::Timestamp
        } else {
            ColumnType::String
        }
    }

    fn decimal(&self) -> ColumnType {
        let digits = self.whole_digits + self.scale;
        match (u8::try_from(digits), i8::try_from(self.scale)) {
            (Ok(digits), Ok(scale)) if usize::from(digits) <= MAX_DIGITS => {
                let precision = if digits <= 9 {
                    9
                } else if digits <= 18 {
                    18
                } else {
                    38
                };
                ColumnType::Decimal { precision, scale }
            }
            // A whole number that long is an identifier; a float would merge several of them.
            _ if self.scale == 0 => ColumnType::String,
            _ => ColumnType::Float64,
        }
    }

    fn kind(&mut self, cell: &str) -> u8 {
        if let Some(number) = Number::parse(cell) {
            if number.digits() > MAX_FLOAT_DIGITS {
                return TEXT;
            }
            if number.exponent {
                return if float(cell).is_some() { FLOAT } else { TEXT };
            }
            self.whole_digits = self.whole_digits.max(number.whole.len());
            self.scale = self.scale.max(number.fraction.len());
            return if number.fraction.is_empty() && integer(cell).is_some() { INTEGER } else { DECIMAL };
        }
        if boolean(cell).is_some() {
            BOOLEAN
        } else if date(cell).is_some() {
            DATE
        } else if timestamp(cell).is_some() {
            TIMESTAMP
        } else {
            TEXT
        }
    }
}

/// The parts of a number; the whole part has no leading zero unless it is `0`.
struct Number<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: bool,
}

impl<'a> Number<'a> {
    fn parse(cell: &'a str) -> Option<Self> {
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let (negative, rest) = cell.strip_prefix('-').map_or((false, cell), |rest| (true, rest));
        if !rest.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
            return None;
        }
        let (mantissa, exponent) = rest.split_once(['e', 'E']).map_or((rest, None), |(m, e)| (m, Some(e)));
        let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(w, f)| (w, Some(f)));
        let whole_ok = all_digits(whole) && (whole.len() < 2 || !whole.starts_with('0'));
        let fraction_ok = fraction.map_or(!whole.is_empty(), |f| !f.is_empty() && all_digits(f));
        let exponent_ok = exponent.is_none_or(|text| {
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            !digits.is_empty() && all_digits(digits)
        });
        (whole_ok && fraction_ok && exponent_ok).then_some(Self {
            negative,
            whole,
            fraction: fraction.unwrap_or_default(),
            exponent: exponent.is_some(),
        })
    }

    const fn digits(&self) -> usize {
        self.whole.len() + self.fraction.len()
    }
}

/// `true` or `false`, in any case.
pub(super) fn boolean(cell: &str) -> Option<bool> {
    if cell.eq_ignore_ascii_case("true") {
        Some(true)
    } else if cell.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// A 64-bit integer whose text is the only one for its value.
pub(super) fn integer(cell: &str) -> Option<i64> {
    let digits = cell.strip_prefix('-').unwrap_or(cell);
    let canonical = digits.starts_with(|first: char| ('1'..='9').contains(&first)) || cell == "0";
    if canonical { cell.parse().ok() } else { None }
}

/// The unscaled value of a decimal at `scale`.
pub(super) fn decimal(cell: &str, scale: i8) -> Option<i128> {
    let number = Number::parse(cell).filter(|number| !number.exponent && number.digits() <= MAX_DIGITS)?;
    let missing = usize::try_from(scale).ok()?.checked_sub(number.fraction.len())?;
    let mut digits = number.whole.bytes().chain(number.fraction.bytes()).chain(std::iter::repeat_n(b'0', missing));
    let value = digits.try_fold(0_i128, |value, digit| value.checked_mul(10)?.checked_add(i128::from(digit - b'0')))?;
    Some(if number.negative { -value } else { value })
}

/// A finite number.
pub(super) fn float(cell: &str) -> Option<f64> {
    Number::parse(cell)?;
    cell.parse().ok().filter(|value: &f64| value.is_finite())
}

/// `YYYY-MM-DD` as days since 1970-01-01.
pub(super) fn date(cell: &str) -> Option<i32> {
    let bytes = cell.as_bytes();
    let shaped = bytes.len() == 10
        && bytes
            .iter()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { *byte == b'-' } else { byte.is_ascii_digit() });
    if shaped { Date32Type::parse(cell) } else { None }
}

/// RFC 3339 with an offset and at most six decimals, as microseconds since the epoch.
pub(super) fn timestamp(cell: &str) -> Option<i64> {
    let bytes = cell.as_bytes();
    let offset = if cell.ends_with('Z') { 1 } else { 6 };
    let end = bytes.len().checked_sub(offset).filter(|end| *end >= 19)?;
    let zone = bytes.get(end..)?;
    let zone_ok = zone == b"Z" || (matches!(zone.first(), Some(b'+' | b'-')) && zone.get(3) == Some(&b':'));
    let fraction = bytes.get(19..end)?;
    let fraction_ok = fraction.is_empty()
        || (fraction[0] == b'.' && (2..=7).contains(&fraction.len()) && fraction[1..].iter().all(u8::is_ascii_digit));
    // A leap second would silently become the second before it.
    let second_ok = bytes.get(17..19) != Some(b"60");
    if !(zone_ok && fraction_ok && second_ok && bytes.get(10) == Some(&b'T') && bytes.get(16) == Some(&b':')) {
        return None;
    }
    cell.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn infer(cells: &[&str]) -> String {
        let mut seen = Seen::default();
        for cell in cells {
            seen.add(cell);
        }
        seen.column_type().to_string()
    }

    #[test]
    fn a_column_gets_the_narrowest_type_that_keeps_every_cell() {
        let cases: &[(&[&str], &str)] = &[
            (&["true", "FALSE", ""], "boolean"),
            (&["0", "-1", "9223372036854775807"], "int64"),
            (&["9223372036854775808"], "decimal(38,0)"),
            (&["1", "2.50", "-0.125", ".5"], "decimal(9,3)"),
            (&["123456789.5"], "decimal(18,1)"),
            (&["1", "1.5e3"], "float64"),
            (&["01004", "31555"], "string"),
            (&["1.5", "01.5"], "string"),
            (&["NaN", "1.5"], "string"),
            (&["inf"], "string"),
            (&["1e999"], "string"),
            (&["+1"], "string"),
            (&["1", "true"], "string"),
            (&["2025-02-28", "2024-02-29"], "date"),
            (&["2025-02-29"], "string"),
            (&["2025-1-1"], "string"),
            (&["2025-01-01T00:00:00Z", "2025-01-01T00:00:00.123456+02:00"], "timestamp"),
            (&["2025-01-01T00:00:00"], "string"),
            (&["2025-01-01T00:00:00.1234567Z"], "string"),
            (&["2025-01-01T23:59:60Z"], "string"),
            (&["2025-01-01", "2025-01-01T00:00:00Z"], "string"),
            (&["", ""], "string"),
            (&[], "string"),
            (&["é", "-", "."], "string"),
        ];
        for (cells, expected) in cases {
            assert_eq!(infer(cells), *expected, "{cells:?}");
        }
    }

    #[test]
    fn a_number_too_long_for_a_decimal_is_an_identifier_or_a_float() {
        assert_eq!(infer(&[&"9".repeat(38)]), "decimal(38,0)");
        assert_eq!(infer(&[&"9".repeat(39)]), "string");
        assert_eq!(infer(&[&format!("0.{}", "9".repeat(40))]), "float64");
    }

    #[test]
    fn values_are_exact() {
        assert_eq!(decimal("-12.5", 2), Some(-1250));
        assert_eq!(decimal("0.1", 1), Some(1));
        assert_eq!(decimal(&"9".repeat(38), 0), Some(10_i128.pow(38) - 1));
        assert_eq!(decimal("1.234", 2), None);
        assert_eq!(date("1970-01-02"), Some(1));
        assert_eq!(timestamp("1970-01-01T01:00:00.000001+01:00"), Some(1));
        assert_eq!(integer("-0"), None);
    }
}
