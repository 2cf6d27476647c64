//! A DataFusion session for one query, built from allow-lists only: nothing is there that was not put there.

use std::{
    num::NonZeroUsize,
    sync::{Arc, atomic::AtomicU64},
};

use datafusion::{
    catalog::{
        CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider,
        SchemaProvider,
    },
    error::Result,
    execution::{
        SessionState, SessionStateBuilder, SessionStateDefaults,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::{FairSpillPool, TrackConsumersPool},
        object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry, ObjectStoreUrl},
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    physical_optimizer::{PhysicalOptimizerRule, optimizer::PhysicalOptimizer},
    prelude::SessionConfig,
};

use super::{
    dataset::Compiled,
    engine::EngineConfig,
    functions,
    privacy::NoiseSource,
    scan::{BATCH_ROWS, GovernedTable, SPLIT_ROWS},
    suppress::{HubPlanner, Suppressed},
};

const CATALOG: &str = "odh";

/// The session: `datasets` as `owner.name`, the allowed functions, the limits, and nothing else.
pub(super) fn build(
    config: &EngineConfig,
    datasets: &[Arc<Compiled>],
    suppressed: Arc<AtomicU64>,
    noise: Arc<dyn NoiseSource>,
) -> Result<SessionState> {
    let by_dataset = datasets.iter().map(|dataset| Arc::clone(&dataset.counters)).collect();
    let large = is_large(datasets);
    let catalog = MemoryCatalogProvider::new();
    for (index, dataset) in datasets.iter().enumerate() {
        let owner = dataset.id.owner.as_str();
        let schema = if let Some(schema) = catalog.schema(owner) {
            schema
        } else {
            let schema: Arc<dyn SchemaProvider> = Arc::new(MemorySchemaProvider::new());
            catalog.register_schema(owner, Arc::clone(&schema))?;
            schema
        };
        let about = large.then(|| about(dataset.rows));
        let table = GovernedTable::new(Arc::clone(dataset), index, about);
        schema.register_table(dataset.id.name.as_str().to_owned(), Arc::new(table))?;
    }
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
    Ok(SessionStateBuilder::new()
        .with_config(settings(if large { config.partitions.max(1) } else { 1 }))
        .with_runtime_env(Arc::new(runtime(config)?))
        .with_catalog_list(Arc::new(catalogs))
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .with_scalar_functions(functions::scalar())
        .with_aggregate_functions(functions::aggregate())
        .with_physical_optimizer_rules(physical_rules())
        .with_query_planner(Arc::new(HubPlanner { suppressed: Suppressed { all: suppressed, by_dataset }, noise }))
        .build())
}

/// Whether the datasets are worth several partitions and an order of joins other than the caller's, by the rows that
/// the catalog states. Small ones are faster without, and the order of an answer that asks for none is then that of the
/// rows that the caller may see.
fn is_large(datasets: &[Arc<Compiled>]) -> bool {
    datasets.iter().map(|dataset| dataset.rows).sum::<u64>() >= SPLIT_ROWS
}

/// The largest power of two that is not above the rows that the catalog states, for the planner to choose sides by.
fn about(rows: u64) -> usize {
    rows.checked_ilog2().map_or(1, |power| 1 << power)
}

/// DataFusion's own but the one that answers aggregates from statistics: nothing but a scan answers here.
fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    PhysicalOptimizer::new().rules.into_iter().filter(|rule| rule.name() != "aggregate_statistics").collect()
}

fn settings(partitions: usize) -> SessionConfig {
    let mut settings = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_batch_size(BATCH_ROWS)
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, "public");
    let options = settings.options_mut();
    options.execution.enable_recursive_ctes = false;
    options.execution.parquet.schema_force_view_types = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.collect_spans = false;
    options.optimizer.skip_failed_rules = false;
    // A dynamic filter decides which rows of one side meet an expression by the rows of the other side.
    options.optimizer.enable_dynamic_filter_pushdown = false;
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    options.optimizer.enable_topk_dynamic_filter_pushdown = false;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    settings
}

fn runtime(config: &EngineConfig) -> Result<RuntimeEnv> {
    let top = NonZeroUsize::MIN;
    let pool = TrackConsumersPool::new(FairSpillPool::new(config.memory_bytes), top);
    let disk = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![config.temp_dir.clone()]))
        .with_max_temp_directory_size(config.spill_bytes);
    // Only the barrier opens files, and it does so by itself: not even the local file system is left.
    let stores = DefaultObjectStoreRegistry::new();
    stores.deregister_store(ObjectStoreUrl::local_filesystem().as_ref())?;
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_disk_manager_builder(disk)
        .with_object_store_registry(Arc::new(stores))
        .build()
}
