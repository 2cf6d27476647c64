//! Tables and CSV of chosen fields of JSON objects.

use comfy_table::{Cell, ContentArrangement, Table, presets};
use serde_json::Value as Json;

use super::super::names;

/// A column: its title and the JSON Pointer (RFC 6901) of its field.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub(super) title: &'static str,
    pub(super) path: &'static str,
}

impl Column {
    /// The column `title` of the field at `path`.
    pub const fn new(title: &'static str, path: &'static str) -> Self {
        Self { title, path }
    }
}

/// One line per row, one column per field.
pub(super) fn render(rows: &[Json], columns: &[Column], terminal: bool) -> String {
    let mut table = new_table(terminal);
    table.set_header(columns.iter().map(|column| column.title));
    for row in rows {
        table.add_row(columns.iter().map(|column| Cell::new(cell(row, column.path))));
    }
    trim(&table)
}

/// One line per field that has a value; fields of nested objects are named by their path.
pub(super) fn fields(object: &Json, terminal: bool) -> String {
    let mut table = new_table(terminal);
    for (name, value) in flatten(object) {
        let text = text_of(value);
        if !text.is_empty() {
            table.add_row([name, short_lines(&text)]);
        }
    }
    trim(&table)
}

/// The same as [`render`] as CSV (RFC 4180), with names as in the API.
pub(super) fn csv(rows: &[Json], columns: &[Column]) -> Vec<u8> {
    let mut text = csv_line(columns.iter().map(|column| column.path.trim_start_matches('/').replace('/', ".")));
    for row in rows {
        text.push_str(&csv_line(
            columns.iter().map(|column| row.pointer(column.path).map(text_of).unwrap_or_default()),
        ));
    }
    text.into_bytes()
}

/// One object as a header line and a line of values.
pub(super) fn csv_object(object: &Json) -> Vec<u8> {
    let (names, values): (Vec<_>, Vec<_>) = flatten(object).into_iter().map(|(name, v)| (name, text_of(v))).unzip();
    format!("{}{}", csv_line(names), csv_line(values)).into_bytes()
}

/// The field at `path` for a person: resource names in their short form.
pub(super) fn cell(row: &Json, path: &str) -> String {
    match row.pointer(path) {
        None => String::new(),
        Some(Json::Array(values)) if values.iter().all(Json::is_string) => {
            values.iter().map(|value| names::short(&text_of(value))).collect::<Vec<_>>().join(", ")
        }
        Some(value) => names::short(&text_of(value)),
    }
}

/// A table without lines, for eyes and for `awk` alike; wrapped only where somebody looks at it.
pub(super) fn new_table(terminal: bool) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_content_arrangement(if terminal { ContentArrangement::Dynamic } else { ContentArrangement::Disabled });
    table
}

/// The table's text without the blanks around it; columns stay aligned.
pub(super) fn trim(table: &Table) -> String {
    let lines = table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

fn short_lines(text: &str) -> String {
    text.lines().map(names::short).collect::<Vec<_>>().join("\n")
}

fn text_of(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        Json::Array(values) if values.iter().all(|v| !v.is_array() && !v.is_object()) => {
            values.iter().map(text_of).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

fn flatten(object: &Json) -> Vec<(String, &Json)> {
    let mut found = Vec::new();
    let Some(fields) = object.as_object() else { return found };
    for (name, value) in fields {
        // An empty object says something by being there, as the mask `year` does.
        if value.as_object().is_some_and(|inner| !inner.is_empty()) {
            found.extend(flatten(value).into_iter().map(|(inner, value)| (format!("{name}.{inner}"), value)));
        } else {
            found.push((name.clone(), value));
        }
    }
    found
}

fn csv_line(values: impl IntoIterator<Item = String>) -> String {
    let quoted = |value: String| {
        if value.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", value.replace('"', "\"\"")) } else { value }
    };
    let values: Vec<String> = values.into_iter().map(quoted).collect();
    values.join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_object_is_shown_field_by_field_with_paths_and_without_what_is_empty() {
        let object = json!({
            "name": "participants/chu", "etag": "", "snapshot": {"rows": 3}, "keywords": ["a", "b"], "mask": {"year": {}},
        });
        let lines: Vec<String> =
            fields(&object, false).lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines, ["keywords a, b", "mask.year {}", "name chu", "snapshot.rows 3"]);
    }

    #[test]
    fn csv_of_one_object_has_two_lines() {
        let object = json!({"a": "x,y", "b": {"c": 1}});
        assert_eq!(csv_object(&object), b"a,b.c\n\"x,y\",1\n");
    }

    #[test]
    fn columns_stay_aligned_below_an_empty_first_cell() {
        let columns = [Column::new("CURRENT", "/current"), Column::new("NAME", "/name")];
        let rows = [json!({"current": "", "name": "chu"}), json!({"current": "*", "name": "lab"})];
        assert_eq!(render(&rows, &columns, false), "CURRENT  NAME\n         chu\n*        lab");
    }

    #[test]
    fn an_empty_list_still_has_its_header() {
        assert_eq!(render(&[], &[Column::new("NAME", "/name")], false).trim(), "NAME");
        assert_eq!(csv(&[], &[Column::new("NAME", "/name")]), b"name\n");
    }
}
