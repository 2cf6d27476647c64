//! The engine: its limits, its own runtime, and the way of a query from text to answer.

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::{
    execution::{SessionState, TaskContext},
    logical_expr::LogicalPlan,
    physical_plan::ExecutionPlan,
};
use tokio::{runtime::Runtime, sync::Semaphore};

use super::{
    admit::{self, Admitted},
    answer::{Answer, Counters, plain_schema},
    barrier::{self, Shape},
    dataset::{Compiled, GovernedDataset},
    failure::{failed, of_planning, quote, reject},
    guard::{self, Rules},
    lane, pairs,
    parameters::{Parameterised, plain_type},
    privacy::{NoiseSource, PrivacyLoss, SystemNoise, privatise},
    rewrite::{Protected, makes_a_row, protect, tables_read},
    scan::GovernedScanExec,
    session,
    totalise::{average_as_double, totalise},
    weight::weigh,
};
use crate::{
    audit::{Charged, Committed},
    domain::DatasetId,
    error::{Error, Reason, Result},
};

/// How many queries may be parsed or planned at once, abandoned ones included.
const PLANNERS: usize = 8;

/// The limits of every query.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Memory of one query, in bytes; what can spill does, the rest ends with `QUERY_LIMIT`.
    pub memory_bytes: usize,
    /// Temporary disk of one query, in bytes.
    pub spill_bytes: u64,
    /// How long an answer may take, from its release to its last batch.
    pub deadline: Duration,
    /// The same for a dataset that is fetched as a whole.
    pub download_deadline: Duration,
    /// Most rows of one answer, whatever the policies allow.
    pub max_rows: u64,
    /// How many partitions a large scan is split into.
    pub partitions: usize,
    /// Where temporary files go.
    pub temp_dir: PathBuf,
    /// How long parsing, and then planning, may take.
    pub planning_timeout: Duration,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            memory_bytes: 256 * 1024 * 1024,
            spill_bytes: 1024 * 1024 * 1024,
            deadline: Duration::from_secs(30),
            download_deadline: Duration::from_hours(1),
            max_rows: 1_000_000,
            partitions: 2,
            temp_dir: std::env::temp_dir(),
            planning_timeout: Duration::from_secs(2),
        }
    }
}

/// The governed query engine. Cheap to clone; works on threads of its own, never on the caller's.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    config: EngineConfig,
    places: Arc<Semaphore>,
    noise: Arc<dyn NoiseSource>,
    /// Present until dropped: a runtime may not be dropped where one runs, so it is shut down in the background.
    runtime: Option<Runtime>,
}

impl Engine {
    /// Starts the engine's threads.
    pub fn new(config: EngineConfig) -> Result<Self> {
        Self::with_noise(config, Arc::new(SystemNoise))
    }

    /// An engine whose answers carry noise from `noise`.
    pub(super) fn with_noise(config: EngineConfig, noise: Arc<dyn NoiseSource>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.partitions.max(1))
            .thread_name("odh-query")
            .thread_stack_size(16 * 1024 * 1024)
            .enable_time()
            .build()
            .map_err(Error::internal)?;
        std::fs::create_dir_all(&config.temp_dir).map_err(Error::internal)?;
        let places = Arc::new(Semaphore::new(PLANNERS));
        Ok(Self { inner: Arc::new(Inner { config, places, noise, runtime: Some(runtime) }) })
    }

    /// How long an answer may take, from its release to its last batch.
    pub fn deadline(&self) -> Duration {
        self.inner.config.deadline
    }

    /// Reads the text alone and says which datasets it names; `QUERY_REJECTED` names the rule that it breaks.
    pub async fn admit(&self, sql: &str) -> Result<Admitted> {
        if sql.len() > admit::MAX_BYTES {
            return Err(reject("too_large", format!("the text exceeds {} bytes", admit::MAX_BYTES)));
        }
        let sql = sql.to_owned();
        lane::run(&self.inner.places, self.inner.config.planning_timeout, move || admit::admit(&sql, false)).await
    }

    /// Reads the text of a statement with parameters, as [`Self::admit`] does; only for [`Self::parameter_types`].
    pub async fn admit_parameterised(&self, statement: &Parameterised) -> Result<Admitted> {
        let sql = statement.numbered();
        lane::run(&self.inner.places, self.inner.config.planning_timeout, move || admit::admit(&sql, true)).await
    }

    /// The type that each parameter of a statement wants; none where its surroundings do not say.
    ///
    /// Looks at the text and the visible schema alone, and decides nothing: what is bound is planned anew.
    pub async fn parameter_types(
        &self,
        admitted: Admitted,
        datasets: Vec<GovernedDataset>,
        count: usize,
    ) -> Result<Vec<Option<DataType>>> {
        let inner = Arc::clone(&self.inner);
        let work = move || inner.parameter_types(admitted, &datasets, count);
        lane::run(&self.inner.places, self.inner.config.planning_timeout, work).await
    }

    /// Does work on texts, away from everybody else.
    pub(super) async fn aside<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        lane::run(&self.inner.places, self.inner.config.planning_timeout, work).await
    }

    /// Plans an admitted query over the datasets that it names, each with what binds this caller.
    ///
    /// A dataset that is named and not given is unknown to the caller. Reads no row.
    pub async fn plan(&self, admitted: Admitted, datasets: Vec<GovernedDataset>) -> Result<Planned> {
        let inner = Arc::clone(&self.inner);
        lane::run(&self.inner.places, self.inner.config.planning_timeout, move || inner.plan(admitted, &datasets)).await
    }

    /// The same query for a dataset that is fetched as a whole: only the policies cap its rows, and it may take longer.
    pub fn whole(&self, planned: Planned) -> Planned {
        Planned { cap: planned.policy_cap, deadline: self.inner.config.download_deadline, ..planned }
    }

    /// Runs a planned query. `release` is the evidence that the decision to do so is in the audit log (P1).
    ///
    /// One that costs individuals some of their privacy goes to [`Self::execute_charged`] instead.
    pub fn execute(&self, planned: Planned, release: Committed) -> Result<Answer> {
        if planned.loss.is_some() { Err(failed("a loss that was not charged")) } else { self.start(planned, release) }
    }

    /// Runs a planned query whose loss of privacy has been charged in the transaction of its decision.
    pub fn execute_charged(&self, planned: Planned, charged: Charged) -> Result<Answer> {
        match &planned.loss {
            Some(loss) if charged.covers(&loss.dataset, loss.epsilon, loss.delta) => {
                self.start(planned, charged.into_release())
            }
            _ => Err(failed("a loss that was not charged")),
        }
    }

    /// Gives an answer again that was kept when it was first given.
    pub fn again(&self, ipc: &[u8], release: Committed) -> Result<Answer> {
        Answer::again(self.inner.runtime()?, self.clone(), ipc, release)
    }

    fn start(&self, planned: Planned, release: Committed) -> Result<Answer> {
        let runtime = self.inner.runtime()?;
        let deadline = planned.deadline;
        // Keeps the engine's threads alive as long as the answer is read.
        let engine = self.clone();
        Ok(Answer::start(runtime, engine, planned, release, deadline))
    }
}

impl Inner {
    fn runtime(&self) -> Result<&Runtime> {
        self.runtime.as_ref().ok_or_else(|| failed("engine is shut down"))
    }

    fn parameter_types(
        &self,
        admitted: Admitted,
        datasets: &[GovernedDataset],
        count: usize,
    ) -> Result<Vec<Option<DataType>>> {
        let compiled = compile(&admitted, datasets)?;
        let session = session::build(&self.config, &compiled, Arc::default(), Arc::clone(&self.noise))
            .map_err(|_| failed("session"))?;
        // A plan that needs the types to be made tells none of them.
        let plan = self.runtime()?.block_on(session.statement_to_plan(admitted.statement)).ok();
        let fields = plan.and_then(|plan| plan.get_parameter_fields().ok()).unwrap_or_default();
        let type_of = |number: usize| plain_type(fields.get(&format!("${number}"))?.as_ref()?.data_type());
        Ok((1..=count).map(type_of).collect())
    }

    fn plan(&self, admitted: Admitted, datasets: &[GovernedDataset]) -> Result<Planned> {
        let compiled = compile(&admitted, datasets)?;
        let read = datasets.iter().filter(|dataset| admitted.tables.contains(&dataset.id));
        let policy_cap = read.filter_map(|dataset| dataset.how.max_rows).min().unwrap_or(u64::MAX);
        let suppressed = Arc::new(AtomicU64::new(0));
        let session = session::build(&self.config, &compiled, Arc::clone(&suppressed), Arc::clone(&self.noise))
            .map_err(|_| failed("session"))?;
        let mut closed = compiled.iter().filter(|dataset| dataset.k.is_some()).peekable();
        let aggregate_only = closed.peek().is_some();
        let normalised = admitted.normalised().to_owned();
        let rules = Rules { aggregate_only, of_others: closed.any(|dataset| !dataset.own) };
        let Physical { plan: physical, checks, loss } =
            self.runtime()?.block_on(physical(&session, admitted, rules))?;
        let counters = Counters::new(
            suppressed,
            compiled
                .iter()
                .map(|dataset| (dataset.id.clone(), Arc::clone(&dataset.counters)))
                .collect::<BTreeMap<DatasetId, _>>(),
        );
        Ok(Planned {
            schema: plain_schema(&physical.schema()),
            physical,
            checks,
            normalised,
            context: Arc::new(TaskContext::from(&session)),
            aggregate_only,
            cap: policy_cap.min(self.config.max_rows),
            policy_cap,
            deadline: self.config.deadline,
            counters: Arc::new(counters),
            loss,
        })
    }
}

/// What runs: the searches for repeated keys, then the plan.
struct Physical {
    plan: Arc<dyn ExecutionPlan>,
    checks: Vec<Arc<dyn ExecutionPlan>>,
    loss: Option<PrivacyLoss>,
}

/// The datasets that a query names, ready to be planned over.
fn compile(admitted: &Admitted, datasets: &[GovernedDataset]) -> Result<Vec<Arc<Compiled>>> {
    for id in &admitted.tables {
        if !datasets.iter().any(|dataset| dataset.id == *id) {
            let name = quote(&id.to_string());
            return Err(reject("unknown_table", format!("`{name}` does not exist, or you may not see it")));
        }
    }
    let named = datasets.iter().filter(|dataset| admitted.tables.contains(&dataset.id));
    named.map(|dataset| Compiled::new(dataset).map(Arc::new)).collect()
}

/// Text to physical plan: guard, coercion, totalisation, suppression, optimisation, and the last assertion.
async fn physical(session: &SessionState, admitted: Admitted, rules: Rules) -> Result<Physical> {
    let plan = session.statement_to_plan(admitted.statement).await.map_err(|error| of_planning(&error))?;
    guard::check(&plan, rules)?;
    weigh(&plan)?;
    let reads = !tables_read(&plan).map_err(|_| failed("foreign table"))?.is_empty();
    let plan = if rules.aggregate_only { average_as_double(plan).map_err(|error| of_planning(&error))? } else { plan };
    let options = session.config_options();
    let coerced =
        session.analyzer().execute_and_check(plan, options, |_, _| {}).map_err(|error| of_planning(&error))?;
    let total = totalise(coerced).map_err(|error| of_planning(&error))?;
    let (private, loss) = privatise(total)?;
    let Protected { plan, checks } = if rules.aggregate_only && loss.is_none() {
        protect(private.plan).map_err(|_| failed("suppression"))?
    } else {
        private
    };
    let shape = Shape { released: true, row_without_data: !reads || makes_a_row(&plan) };
    let plan = optimised(session, plan).await?;
    barrier::check(&plan, shape)?;
    let mut searches = Vec::with_capacity(checks.len());
    for check in checks {
        let search = optimised(session, check).await?;
        // It shows no group, only whether there is one, and only of what the caller chose.
        barrier::check(&search, Shape { released: false, row_without_data: true })?;
        searches.push(search);
    }
    Ok(Physical { plan, checks: searches, loss })
}

async fn optimised(session: &SessionState, plan: LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
    // Not `SessionState::optimize`, which would coerce again after the casts have been made total.
    let plan = session.optimizer().optimize(plan, session, |_, _| {}).map_err(|error| of_planning(&error))?;
    let planned = session.query_planner().create_physical_plan(&plan, session).await;
    let plan = planned.map_err(|error| of_planning(&error))?;
    pairs::check(&plan)?;
    Ok(plan)
}

/// A query that may run once it is in the audit log.
pub struct Planned {
    pub(super) physical: Arc<dyn ExecutionPlan>,
    /// Searches that must find nothing before it runs.
    pub(super) checks: Vec<Arc<dyn ExecutionPlan>>,
    normalised: String,
    pub(super) context: Arc<TaskContext>,
    pub(super) schema: SchemaRef,
    pub(super) aggregate_only: bool,
    pub(super) cap: u64,
    policy_cap: u64,
    deadline: Duration,
    pub(super) counters: Arc<Counters>,
    pub(super) loss: Option<PrivacyLoss>,
}

impl Planned {
    /// The columns of the answer, without metadata.
    pub const fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The query as the parser writes it: one form for texts that differ only in layout and comments.
    pub fn normalised(&self) -> &str {
        &self.normalised
    }

    /// Whether groups of fewer than k subjects are suppressed in the answer.
    pub const fn is_aggregate_only(&self) -> bool {
        self.aggregate_only
    }

    /// What it costs the individuals of a dataset in privacy, if that is counted.
    pub const fn privacy_loss(&self) -> Option<&PrivacyLoss> {
        self.loss.as_ref()
    }

    /// Most rows that the answer may have.
    pub const fn max_rows(&self) -> u64 {
        self.cap
    }

    /// The plan as the caller may see it: the names of its nodes and datasets, no expression, value, path or figure.
    pub fn explain(&self) -> Vec<String> {
        let mut lines = Vec::new();
        describe(&self.physical, 0, &mut lines);
        lines
    }
}

fn describe(plan: &Arc<dyn ExecutionPlan>, depth: usize, lines: &mut Vec<String>) {
    let label = plan.downcast_ref::<GovernedScanExec>().map_or_else(|| plan.name().to_owned(), GovernedScanExec::label);
    lines.push(format!("{}{label}", "  ".repeat(depth)));
    for child in plan.children() {
        describe(child, depth + 1, lines);
    }
}

impl fmt::Debug for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Planned").field("plan", &self.explain()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The error of an answer that has more rows than it may.
pub(super) fn over(cap: u64) -> Error {
    Error::new(Reason::QueryLimit).with("limit", format!("{cap} rows"))
}
