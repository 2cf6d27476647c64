//! The typed row filter of a policy: an expression over one row that cannot fail and has no free SQL text.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

/// A literal of a filter or mask. A string is read as the column's type (`2026-01-31` for a date,
/// `12.50` for a decimal), so that no floating-point number enters a policy's digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// Text, or the text form of a date, instant or decimal.
    Text(String),
}

/// How a column is compared with a value. A comparison with a missing value holds for no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompareOp {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less than.
    Lt,
    /// At most.
    Le,
    /// Greater than.
    Gt,
    /// At least.
    Ge,
}

/// A condition on one row. A row passes only if the condition is true; unknown (a missing value) is not true.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Filter {
    /// A column compared with a value.
    Compare { column: String, op: CompareOp, value: Value },
    /// A column's value is one of these.
    In { column: String, values: Vec<Value> },
    /// A text column starts with this text.
    StartsWith { column: String, prefix: String },
    /// A column has no value.
    IsNull { column: String },
    /// A column has a value.
    IsNotNull { column: String },
    /// Each of these holds.
    All(Vec<Filter>),
    /// At least one of these holds.
    Any(Vec<Filter>),
    /// This does not hold; of an unknown it stays unknown.
    Not(Box<Filter>),
}

impl Filter {
    /// Deepest nesting that is accepted.
    pub const MAX_DEPTH: usize = 16;
    /// Most conditions in one filter.
    pub const MAX_TERMS: usize = 256;

    /// The columns it reads.
    pub fn columns(&self) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        self.visit(&mut |filter| match filter {
            Self::Compare { column, .. }
            | Self::In { column, .. }
            | Self::StartsWith { column, .. }
            | Self::IsNull { column }
            | Self::IsNotNull { column } => {
                found.insert(column.as_str());
            }
            Self::All(_) | Self::Any(_) | Self::Not(_) => {}
        });
        found
    }

    /// Nesting depth, 1 for a single condition.
    pub fn depth(&self) -> usize {
        1 + match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().map(Self::depth).max().unwrap_or(0),
            Self::Not(part) => part.depth(),
            _ => 0,
        }
    }

    /// Number of nodes, list members included.
    pub fn terms(&self) -> usize {
        let mut terms = 0;
        self.visit(&mut |filter| {
            terms += match filter {
                Self::In { values, .. } => values.len(),
                _ => 1,
            }
        });
        terms
    }

    fn visit<'a>(&'a self, see: &mut impl FnMut(&'a Self)) {
        see(self);
        match self {
            Self::All(parts) | Self::Any(parts) => {
                for part in parts {
                    part.visit(&mut *see);
                }
            }
            Self::Not(part) => part.visit(see),
            _ => {}
        }
    }
}

/// In the form of an SQL condition, for a person to read; never executed.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |filters: &[Self], word: &str| {
            let parts: Vec<String> = filters.iter().map(ToString::to_string).collect();
            format!("({})", parts.join(word))
        };
        match self {
            Self::Compare { column, op, value } => write!(f, "{column} {} {}", sign(*op), literal(value)),
            Self::In { column, values } => {
                let values: Vec<String> = values.iter().map(literal).collect();
                write!(f, "{column} IN ({})", values.join(", "))
            }
            Self::StartsWith { column, prefix } => write!(f, "starts_with({column}, {})", quoted(prefix)),
            Self::IsNull { column } => write!(f, "{column} IS NULL"),
            Self::IsNotNull { column } => write!(f, "{column} IS NOT NULL"),
            Self::All(filters) => f.write_str(&join(filters, " AND ")),
            Self::Any(filters) => f.write_str(&join(filters, " OR ")),
            Self::Not(filter) => write!(f, "NOT ({filter})"),
        }
    }
}

const fn sign(op: CompareOp) -> &'static str {
    match op {
        CompareOp::Eq => "=",
        CompareOp::Ne => "<>",
        CompareOp::Lt => "<",
        CompareOp::Le => "<=",
        CompareOp::Gt => ">",
        CompareOp::Ge => ">=",
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Text(text) => quoted(text),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_shown_as_a_condition() {
        let shown = Filter::Any(vec![Filter::All(vec![
            Filter::Compare { column: "age".to_owned(), op: CompareOp::Ge, value: Value::Int(18) },
            Filter::In { column: "sex".to_owned(), values: vec![Value::Text("f".to_owned())] },
            Filter::Not(Box::new(Filter::IsNull { column: "ward".to_owned() })),
            Filter::StartsWith { column: "code".to_owned(), prefix: "o'c".to_owned() },
        ])])
        .to_string();
        assert_eq!(shown, "((age >= 18 AND sex IN ('f') AND NOT (ward IS NULL) AND starts_with(code, 'o''c')))");
    }
}
