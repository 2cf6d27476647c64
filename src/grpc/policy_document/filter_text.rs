//! A filter in words that a person reads.

use crate::domain::{CompareOp, Filter, Value};

/// A filter in the form of an SQL condition, for a person; never executed.
pub(in crate::grpc) fn filter_text(filter: &Filter) -> String {
    let join = |filters: &[Filter], word: &str| {
        let parts: Vec<String> = filters.iter().map(filter_text).collect();
        format!("({})", parts.join(word))
    };
    match filter {
        Filter::Compare { column, op, value } => format!("{column} {} {}", sign(*op), literal(value)),
        Filter::In { column, values } => {
            let values: Vec<String> = values.iter().map(literal).collect();
            format!("{column} IN ({})", values.join(", "))
        }
        Filter::StartsWith { column, prefix } => format!("starts_with({column}, {})", quoted(prefix)),
        Filter::IsNull { column } => format!("{column} IS NULL"),
        Filter::IsNotNull { column } => format!("{column} IS NOT NULL"),
        Filter::All(filters) => join(filters, " AND "),
        Filter::Any(filters) => join(filters, " OR "),
        Filter::Not(filter) => format!("NOT ({})", filter_text(filter)),
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
        let shown = filter_text(&Filter::Any(vec![Filter::All(vec![
            Filter::Compare { column: "age".to_owned(), op: CompareOp::Ge, value: Value::Int(18) },
            Filter::In { column: "sex".to_owned(), values: vec![Value::Text("f".to_owned())] },
            Filter::Not(Box::new(Filter::IsNull { column: "ward".to_owned() })),
            Filter::StartsWith { column: "code".to_owned(), prefix: "o'c".to_owned() },
        ])]));
        assert_eq!(shown, "((age >= 18 AND sex IN ('f') AND NOT (ward IS NULL) AND starts_with(code, 'o''c')))");
    }
}
