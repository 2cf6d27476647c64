//! How the engine says no. Two kinds only: a rejection that the text decides, and a failure that says nothing.

use std::fmt;

use datafusion::{common::SchemaError, error::DataFusionError};

use super::french::french;
use crate::error::{Error, Reason};

/// Longest piece of the caller's own text that an error quotes, in characters.
const QUOTE: usize = 64;

/// A refusal that depends on the text of the query and the visible schema only.
pub(super) fn reject(rule: &'static str, detail: impl fmt::Display) -> Error {
    let detail = detail.to_string();
    let french = french(&detail);
    Error::new(Reason::QueryRejected).with("rule", rule).with_words("detail", detail, french)
}

/// A failure while planning or running; `kind` is a fixed word for the log, never text of the cause.
pub(super) fn failed(kind: &'static str) -> Error {
    tracing::warn!(kind, "query failed");
    Error::new(Reason::QueryFailed).with("query_id", "-")
}

/// A piece of the caller's own text, made safe to print and cut to [`QUOTE`] characters.
pub(super) fn quote(text: &str) -> String {
    text.chars().take(QUOTE).collect::<String>().escape_debug().to_string()
}

/// What an error of SQL planning means. Of its text nothing is kept but the column that the caller wrote.
pub(super) fn of_planning(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => of_planning(inner),
        DataFusionError::Shared(inner) => of_planning(inner),
        DataFusionError::Collection(errors) => {
            errors.first().map_or_else(|| reject("unsupported", UNSUPPORTED), of_planning)
        }
        DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::FieldNotFound { field, .. } => {
                reject("unknown_column", format!("there is no column `{}` here", quote(&field.flat_name())))
            }
            SchemaError::AmbiguousReference { field } => {
                reject("ambiguous_column", format!("`{}` could be several columns", quote(&field.flat_name())))
            }
            SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
                reject("ambiguous_column", format!("the name `{}` is used twice", quote(name)))
            }
        },
        DataFusionError::ArrowError(..) => reject("type", "a literal cannot be read as the type it is used as"),
        DataFusionError::NotImplemented(_) => reject("unsupported", UNSUPPORTED),
        DataFusionError::Plan(_) | DataFusionError::Execution(_) => {
            reject("type", "an expression does not fit the types of its columns, or misses in GROUP BY")
        }
        _ => failed("planning"),
    }
}

const UNSUPPORTED: &str = "this form of SQL is not supported";

/// What an error of a running query means to the caller.
pub(super) fn of_running(error: &DataFusionError) -> Error {
    if matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)) {
        return Error::new(Reason::QueryLimit).with("limit", "memory or temporary disk");
    }
    failed("execution")
}
