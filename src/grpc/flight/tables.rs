//! What the caller may query, as catalogs, schemas and tables.

use std::collections::{BTreeSet, HashMap};

use arrow::datatypes::{Field, Schema};

use super::context::{Context, purpose};
use crate::{
    domain::{Column, ColumnRole, ColumnType, ParticipantId, PurposeSlug},
    error::Result,
    query::arrow_type,
    service::{QueryRequest, VisibleTable},
};

/// The one type of table.
pub(super) const TABLE: &str = "TABLE";

/// The catalogs: the purpose that this call names; or else those of the caller's grants, and the session's.
pub(super) async fn catalogs(context: &Context) -> Result<BTreeSet<PurposeSlug>> {
    let services = context.call.services();
    let granted = services.granted_purposes(context.call.caller()?).await?;
    let choice = context.choice()?;
    if let Some(named) = choice.named {
        services.vocabulary().require(&named)?;
        return Ok(BTreeSet::from([named]));
    }
    let mut catalogs = granted;
    if let Some(usual) = choice.usual {
        services.vocabulary().require(&usual)?;
        catalogs.insert(usual);
    }
    Ok(catalogs)
}

/// The owners of tables, by catalog.
pub(super) async fn schemas(
    context: &Context,
    catalog: Option<&str>,
    pattern: Option<&str>,
) -> Result<BTreeSet<(PurposeSlug, ParticipantId)>> {
    let tables = all(context, catalog, pattern).await?;
    Ok(tables.into_iter().map(|(catalog, table)| (catalog, table.dataset.owner)).collect())
}

/// The tables, by catalog. `catalog` narrows to one, any that the hub knows; `pattern` is only used where it names one
/// schema, to look no further.
pub(super) async fn all(
    context: &Context,
    catalog: Option<&str>,
    pattern: Option<&str>,
) -> Result<Vec<(PurposeSlug, VisibleTable)>> {
    let services = context.call.services();
    let catalogs = match catalog {
        None => catalogs(context).await?,
        // What is no purpose is a catalog without tables.
        Some(slug) => {
            purpose(slug).ok().filter(|slug| services.vocabulary().require(slug).is_ok()).into_iter().collect()
        }
    };
    let owner = match pattern {
        Some(exact) if !exact.contains(['%', '_', '\\']) => match exact.parse() {
            Ok(owner) => Some(owner),
            Err(_) => return Ok(Vec::new()),
        },
        _ => None,
    };
    let grants = context.grants()?;
    let mut found = Vec::new();
    for catalog in catalogs {
        let ask = QueryRequest { sql: String::new(), purpose: catalog.clone(), grants: grants.clone() };
        let tables = services.visible_tables(context.call.caller()?, &ask, owner.clone()).await?;
        found.extend(tables.into_iter().map(|table| (catalog.clone(), table)));
    }
    Ok(found)
}

/// The columns of a table with what JDBC and ADBC want to know of each.
pub(super) fn schema(catalog: &PurposeSlug, table: &VisibleTable) -> Schema {
    let fields = table.columns.iter().map(|column| field(catalog, table, column));
    let metadata = HashMap::from([
        ("odh:title".to_owned(), table.title.clone()),
        ("odh:aggregate_only".to_owned(), table.k.map(|k| k.to_string()).unwrap_or_default()),
    ]);
    Schema::new_with_metadata(fields.collect::<Vec<_>>(), metadata)
}

fn field(catalog: &PurposeSlug, table: &VisibleTable, column: &Column) -> Field {
    let (type_name, precision, scale) = sql_type(column.data_type);
    let mut metadata: HashMap<String, String> = [
        ("ARROW:FLIGHT:SQL:CATALOG_NAME", catalog.as_str()),
        ("ARROW:FLIGHT:SQL:SCHEMA_NAME", table.dataset.owner.as_str()),
        ("ARROW:FLIGHT:SQL:TABLE_NAME", table.dataset.name.as_str()),
        ("ARROW:FLIGHT:SQL:TYPE_NAME", type_name),
        ("ARROW:FLIGHT:SQL:REMARKS", &column.description),
        ("ARROW:FLIGHT:SQL:IS_AUTO_INCREMENT", "0"),
        ("ARROW:FLIGHT:SQL:IS_CASE_SENSITIVE", if column.data_type == ColumnType::String { "1" } else { "0" }),
        ("ARROW:FLIGHT:SQL:IS_READ_ONLY", "1"),
        ("ARROW:FLIGHT:SQL:IS_SEARCHABLE", "1"),
        ("odh:role", role(column.role)),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    for (key, value) in [("PRECISION", precision), ("SCALE", scale)] {
        if let Some(value) = value {
            metadata.insert(format!("ARROW:FLIGHT:SQL:{key}"), value.to_string());
        }
    }
    Field::new(&column.name, arrow_type(column.data_type), true).with_metadata(metadata)
}

/// The name of a type in SQL, its digits, and those after the point.
fn sql_type(data_type: ColumnType) -> (&'static str, Option<i32>, Option<i32>) {
    match data_type {
        ColumnType::Boolean => ("BOOLEAN", None, None),
        ColumnType::Int64 => ("BIGINT", Some(19), Some(0)),
        ColumnType::Float64 => ("DOUBLE", Some(15), None),
        ColumnType::Decimal { precision, scale } => ("DECIMAL", Some(precision.into()), Some(scale.into())),
        ColumnType::String => ("VARCHAR", None, None),
        ColumnType::Date => ("DATE", None, None),
        ColumnType::Timestamp => ("TIMESTAMP", Some(6), None),
    }
}

const fn role(role: ColumnRole) -> &'static str {
    match role {
        ColumnRole::Dimension => "dimension",
        ColumnRole::Measure => "measure",
        ColumnRole::Key => "key",
        ColumnRole::SubjectKey => "subject_key",
    }
}
