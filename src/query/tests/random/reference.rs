//! The naive evaluator: the visible rows under their masks in memory, and DataFusion as it comes.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Date32Array, RecordBatch},
    util::pretty::pretty_format_batches,
};
use datafusion::{
    catalog::{CatalogProvider, MemorySchemaProvider, SchemaProvider},
    datasource::MemTable,
    prelude::{SessionConfig, SessionContext},
};

use super::super::support::{Person, communes_columns, health_columns, meters_columns};
use crate::query::answer::plain_schema;

/// Least people of a group of the health dataset.
pub(super) const K: u32 = 5;
/// Least people of a group of the meters.
pub(super) const K_METERS: u32 = 8;
/// The name of the column that says who a row is about.
pub(super) const WHO: &str = "who";

pub(super) struct Reference {
    context: SessionContext,
}

impl Reference {
    pub(super) fn new(visible: &[Person], masked: bool) -> Self {
        let config = SessionConfig::new().with_target_partitions(1).with_default_catalog_and_schema("odh", "public");
        let mut config = config.with_create_default_catalog_and_schema(true);
        config.options_mut().sql_parser.map_string_types_to_utf8view = false;
        let context = SessionContext::new_with_config(config);
        let catalog = context.catalog("odh").unwrap();
        let people: Vec<Person> =
            visible.iter().map(|person| if masked { mask(person) } else { person.clone() }).collect();
        let mut health = health_columns(&people);
        if masked {
            for (name, values) in &mut health {
                if *name == "stay" {
                    *values = first_of_january(visible);
                }
            }
        }
        put(&catalog, "chu", "health", health);
        put(&catalog, "grid", "meters", meters_columns());
        put(&catalog, "region", "communes", communes_columns());
        Self { context }
    }

    /// The answer; none where plain DataFusion raises.
    pub(super) async fn table(&self, sql: &str) -> Option<String> {
        let frame = self.context.sql(sql).await.ok()?;
        let schema = plain_schema(frame.schema().as_arrow());
        let mut batches = frame.collect().await.ok()?;
        if batches.is_empty() {
            batches.push(RecordBatch::new_empty(schema));
        }
        Some(pretty_format_batches(&batches).unwrap().to_string())
    }
}

fn put(catalog: &Arc<dyn CatalogProvider>, owner: &str, name: &str, columns: Vec<(&'static str, ArrayRef)>) {
    let columns =
        columns.into_iter().map(|(name, values)| (if name == "__ordinal" { WHO } else { name }, values, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let schema: Arc<dyn SchemaProvider> = Arc::new(MemorySchemaProvider::new());
    catalog.register_schema(owner, Arc::clone(&schema)).unwrap();
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
    schema.register_table(name.to_owned(), Arc::new(table)).unwrap();
}

/// The first letter of the diagnosis, the cost rounded down to tens.
fn mask(person: &Person) -> Person {
    let diagnosis = person.diagnosis.get(..1).unwrap_or_default();
    Person { diagnosis, cost: person.cost.div_euclid(10) * 10, ..person.clone() }
}

fn first_of_january(people: &[Person]) -> ArrayRef {
    let epoch = jiff::civil::date(1970, 1, 1);
    let days = people.iter().map(|person| {
        let day = epoch.checked_add(jiff::Span::new().days(19_000 + person.age)).unwrap();
        let first = jiff::civil::date(day.year(), 1, 1);
        i32::try_from(first.duration_since(epoch).as_hours() / 24).unwrap()
    });
    Arc::new(Date32Array::from_iter_values(days))
}
