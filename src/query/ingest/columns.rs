//! What the columns of a snapshot are for: the owner's notes, else the role that the type suggests.

use super::Instructions;
use crate::{
    domain::{Column, ColumnNote, ColumnRole, ColumnType},
    error::{Error, Reason, Result},
};

/// The longest pseudonym in bytes.
const MAX_SUBJECT_BYTES: usize = 128;

/// Checks that every column that the owner speaks of is in the file, and that only the subject key has its role.
pub(super) fn check(names: &[String], instructions: &Instructions<'_>) -> Result<()> {
    let present = |name: &str| names.iter().any(|column| column == name);
    if let Some(key) = instructions.subject_key.filter(|key| !present(&key.column)) {
        return Err(Error::new(Reason::ColumnUnknown).with("column", key.column.escape_debug()));
    }
    for note in instructions.notes {
        let column = note.name.escape_debug();
        if !present(&note.name) {
            return Err(Error::new(Reason::ColumnUnknown).with("column", column));
        }
        let is_subject = instructions.subject_key.is_some_and(|key| key.column == note.name);
        if note.role.is_some_and(|role| (role == ColumnRole::SubjectKey) != is_subject) {
            let detail = format!("column `{column}`: the role of the subject key belongs to the subject key alone");
            return Err(Error::invalid("column_notes", detail));
        }
    }
    Ok(())
}

/// Checks one pseudonym; says what is wrong with it without quoting it.
pub(super) fn check_subject(pseudonym: Option<&str>) -> Result<(), &'static str> {
    match pseudonym {
        None | Some("") => Err("the subject key is empty"),
        // No database keeps it as text, and nothing that a person writes holds it.
        Some(text) if text.contains('\0') => Err("the subject key holds a NUL"),
        Some(text) if text.len() > MAX_SUBJECT_BYTES => Err("the subject key is longer than 128 bytes"),
        Some(_) => Ok(()),
    }
}

/// Names and types become columns. Everything but the subject key may be null, whether it is in this file or not:
/// the schema must not tell whether a hidden row lacks a value.
pub(super) fn describe(
    typed: impl Iterator<Item = (String, ColumnType)>,
    instructions: &Instructions<'_>,
) -> Vec<Column> {
    typed
        .map(|(name, data_type)| {
            let note = instructions.notes.iter().find(|note| note.name == name);
            let is_subject = instructions.subject_key.is_some_and(|key| key.column == name);
            Column {
                data_type: if is_subject { ColumnType::String } else { data_type },
                nullable: !is_subject,
                role: if is_subject { ColumnRole::SubjectKey } else { role(note, data_type) },
                description: note.map(|note| note.description.clone()).unwrap_or_default(),
                name,
            }
        })
        .collect()
}

fn role(note: Option<&ColumnNote>, data_type: ColumnType) -> ColumnRole {
    note.and_then(|note| note.role).unwrap_or(match data_type {
        ColumnType::Int64 | ColumnType::Float64 | ColumnType::Decimal { .. } => ColumnRole::Measure,
        ColumnType::Boolean | ColumnType::String | ColumnType::Date | ColumnType::Timestamp => ColumnRole::Dimension,
    })
}
