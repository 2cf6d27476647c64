//! Checks of a rule's limits against the dataset: filters and masks must fit the columns' types.

use super::Checker;
use crate::{
    domain::{Column, ColumnType, CompareOp, Filter, How, Mask, Timestamp, Value},
    policy::path::key,
};

impl Checker<'_> {
    pub(super) fn how(&mut self, path: &str, how: &How) {
        if let Some(k) = how.aggregate_only {
            let path = format!("{path}.aggregate_only");
            if k < 2 {
                self.error(&path, "a smallest group is at least 2", "un plus petit groupe est d'au moins 2");
            } else if k < 5 {
                self.warning(
                    &path,
                    format!("groups of {k} are small: 5 or more protect individuals better"),
                    format!("des groupes de {k} sont petits : 5 ou plus protègent mieux les personnes"),
                );
            }
        }
        if how.max_rows == Some(0) {
            self.error(format!("{path}.max_rows"), "no row could ever come out", "aucune ligne ne pourrait sortir");
        }
        if how.consent_required && self.dataset.subject_key.is_none() {
            self.error(
                format!("{path}.consent_required"),
                "consent needs a dataset with a subject key",
                "le consentement suppose un jeu de données qui a une clé de personne",
            );
        }
        for name in &how.no_join_on {
            self.column(&format!("{path}.no_join_on"), name);
        }
        for (name, mask) in &how.masks {
            let path = format!("{path}.masks{}", key(name));
            if let Some(column) = self.column(&path, name) {
                self.mask(&path, &column, mask);
            }
        }
        if let Some(filter) = &how.row_filter {
            self.row_filter(&format!("{path}.row_filter"), filter);
        }
        self.limits(path, how);
    }

    fn mask(&mut self, path: &str, column: &Column, mask: &Mask) {
        let is_key = self.dataset.subject_key.as_ref().is_some_and(|key| key.column == column.name);
        if is_key && !matches!(mask, Mask::Null | Mask::Hmac) {
            self.error(
                path,
                "the subject key is masked by `hmac` or `null` only",
                "la clé de personne ne se masque que par `hmac` ou `null`",
            );
        }
        let fits = match (mask, column.data_type) {
            (Mask::Null, _)
            | (Mask::Hmac, ColumnType::String)
            | (Mask::Year, ColumnType::Date | ColumnType::Timestamp) => true,
            (Mask::Constant(value), data_type) => literal_fits(value, data_type),
            (Mask::Prefix(length), ColumnType::String) => *length >= 1,
            (Mask::Bucket(width), ColumnType::Int64) => *width >= 2,
            _ => false,
        };
        if !fits {
            let data_type = column.data_type;
            self.error(
                path,
                format!("this mask does not fit a column of type {data_type}"),
                format!("ce masque ne convient pas à une colonne de type {data_type}"),
            );
        }
    }

    fn row_filter(&mut self, path: &str, filter: &Filter) {
        // Measured before the walk below, which then cannot go deep.
        if filter.depth() > Filter::MAX_DEPTH || filter.terms() > Filter::MAX_TERMS {
            let (depth, terms) = (Filter::MAX_DEPTH, Filter::MAX_TERMS);
            return self.error(
                path,
                format!("deeper than {depth} levels or more than {terms} conditions"),
                format!("plus de {depth} niveaux ou de {terms} conditions"),
            );
        }
        self.filter(path, filter);
    }

    fn filter(&mut self, path: &str, filter: &Filter) {
        match filter {
            Filter::Compare { column, op, value } => {
                let Some(column) = self.column(path, column) else { return };
                self.literal(path, &column, value);
                if column.data_type == ColumnType::Boolean && !matches!(op, CompareOp::Eq | CompareOp::Ne) {
                    self.error(
                        path,
                        "a truth value is only compared by `eq` and `ne`",
                        "une valeur de vérité ne se compare que par `eq` et `ne`",
                    );
                }
            }
            Filter::In { column, values } => {
                let Some(column) = self.column(path, column) else { return };
                if values.is_empty() {
                    self.error(path, "no value: no row would pass", "aucune valeur : aucune ligne ne passerait");
                }
                for value in values {
                    self.literal(path, &column, value);
                }
            }
            Filter::StartsWith { column, .. } => {
                let Some(column) = self.column(path, column) else { return };
                if column.data_type != ColumnType::String {
                    self.error(path, "`starts_with` needs a text column", "`starts_with` suppose une colonne de texte");
                }
            }
            Filter::IsNull { column } | Filter::IsNotNull { column } => {
                self.column(path, column);
            }
            Filter::All(parts) | Filter::Any(parts) => {
                if parts.is_empty() {
                    self.error(path, "no condition", "aucune condition");
                }
                let word = if matches!(filter, Filter::All(_)) { "all" } else { "any" };
                for (index, part) in parts.iter().enumerate() {
                    self.filter(&format!("{path}.{word}[{index}]"), part);
                }
            }
            Filter::Not(part) => self.filter(&format!("{path}.not"), part),
        }
    }

    fn literal(&mut self, path: &str, column: &Column, value: &Value) {
        if !literal_fits(value, column.data_type) {
            let (name, data_type) = (&column.name, column.data_type);
            self.error(
                path,
                format!("the value does not read as {data_type}, the type of `{name}`"),
                format!("la valeur ne se lit pas comme {data_type}, le type de `{name}`"),
            );
        }
    }
}

/// Whether a literal can be read as the column's type, as the query engine will read it.
pub(super) fn literal_fits(value: &Value, data_type: ColumnType) -> bool {
    match (data_type, value) {
        (ColumnType::Boolean, Value::Bool(_))
        | (ColumnType::Int64 | ColumnType::Float64, Value::Int(_))
        | (ColumnType::String, Value::Text(_)) => true,
        (ColumnType::Float64, Value::Text(text)) => text.parse::<f64>().is_ok_and(f64::is_finite),
        (ColumnType::Decimal { precision, scale }, Value::Int(int)) => is_decimal(&int.to_string(), precision, scale),
        (ColumnType::Decimal { precision, scale }, Value::Text(text)) => is_decimal(text, precision, scale),
        (ColumnType::Date, Value::Text(text)) => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        (ColumnType::Timestamp, Value::Text(text)) => text.parse::<Timestamp>().is_ok(),
        _ => false,
    }
}

/// Digits, at most one point, at most `scale` digits after it, and no more before it than the precision leaves.
fn is_decimal(text: &str, precision: u8, scale: i8) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return false;
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let (Ok(whole), Ok(fraction)) = (i16::try_from(whole.len()), i16::try_from(fraction.len())) else { return false };
    fraction <= i16::from(scale).max(0) && whole <= i16::from(precision) - i16::from(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_fits_if_no_digit_is_lost() {
        for (text, fits) in [
            ("12.50", true),
            ("-0.01", true),
            ("999.99", true),
            ("1000", false),
            ("0.001", false),
            ("1.500", true),
            ("1e2", false),
            ("", false),
            (".", false),
            ("1.", false),
            ("--1", false),
        ] {
            assert_eq!(is_decimal(text, 5, 2), fits, "{text}");
        }
    }
}
