//! Whether a policy's limits fit a dataset, asked when the policy is published rather than when a query fails (P8).

use super::{mask::ColumnMask, predicate::Predicate, privacy::bounds_fit};
use crate::{
    domain::{Column, How},
    error::{Error, Reason, Result},
};

/// Checks that every term of `how` can be enforced on these columns; `POLICY_INVALID` names the term that cannot.
pub fn check_how(how: &How, columns: &[Column]) -> Result<()> {
    let invalid =
        |path: String, detail: String| Err(Error::new(Reason::PolicyInvalid).with("path", path).with("detail", detail));
    if let Some(filter) = &how.row_filter
        && let Err(detail) = Predicate::compile(filter, columns)
    {
        return invalid("how.row_filter".to_owned(), detail);
    }
    for (name, mask) in &how.masks {
        let path = || format!("how.masks.{name}");
        let Some(column) = columns.iter().find(|column| column.name == *name) else {
            return invalid(path(), format!("there is no column `{name}`"));
        };
        if let Err(detail) = ColumnMask::compile(mask, column, &[0; 32]) {
            return invalid(path(), detail);
        }
    }
    if let Some(name) = how.no_join_on.iter().find(|name| !columns.iter().any(|column| column.name == **name)) {
        return invalid("how.no_join_on".to_owned(), format!("there is no column `{name}`"));
    }
    for (name, bounds) in how.privacy.iter().flat_map(|privacy| &privacy.bounds) {
        let column = columns.iter().find(|column| column.name == *name);
        if !column.is_some_and(|column| bounds_fit(*bounds, column)) {
            let path = format!("how.privacy.bounds.{name}");
            return invalid(path, "it is no number, or its bounds are too wide to be counted exactly".to_owned());
        }
    }
    if how.aggregate_only.is_some_and(|k| k < 2) {
        return invalid("how.aggregate_only".to_owned(), "a group needs at least 2 subjects".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ColumnRole, ColumnType, CompareOp, Filter, Mask, Value};

    #[test]
    fn a_term_that_cannot_be_enforced_is_named() {
        let columns = [Column {
            name: "age".into(),
            data_type: ColumnType::Int64,
            nullable: false,
            role: ColumnRole::Dimension,
            description: String::new(),
        }];
        let filter = |value| Some(Filter::Compare { column: "age".into(), op: CompareOp::Lt, value });
        let good = How { row_filter: filter(Value::Int(3)), ..How::default() };
        assert!(check_how(&good, &columns).is_ok());
        for (bad, path) in [
            (How { row_filter: filter(Value::Text("x".into())), ..How::default() }, "how.row_filter"),
            (How { masks: [("age".into(), Mask::Hmac)].into(), ..How::default() }, "how.masks.age"),
            (How { masks: [("nope".into(), Mask::Null)].into(), ..How::default() }, "how.masks.nope"),
            (How { aggregate_only: Some(1), ..How::default() }, "how.aggregate_only"),
            (How { no_join_on: ["nope".into()].into(), ..How::default() }, "how.no_join_on"),
        ] {
            assert_eq!(check_how(&bad, &columns).unwrap_err().params()["path"], path);
        }
    }
}
