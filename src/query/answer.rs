//! An answer on its way out: capped, counted, cut at its deadline, in batches of a constant layout.
//!
//! Row-level answers stream; the one that exceeds its cap yields the rows up to it and then `QUERY_LIMIT`. Answers from
//! aggregate-only data are held back until they are complete, so that a late failure shows no prefix and batches tell
//! nothing. Dropping an answer cancels the query.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use arrow::{
    array::{RecordBatch, RecordBatchOptions},
    compute::{BatchCoalescer, cast},
    datatypes::{DataType, Field, Schema, SchemaRef},
    ipc::reader::StreamReader,
};
use datafusion::{
    error::DataFusionError,
    execution::TaskContext,
    physical_plan::{ExecutionPlan, execute_stream, execute_stream_partitioned},
};
use futures::{
    Stream, StreamExt as _,
    stream::{self, BoxStream},
};
use tokio::{runtime::Runtime, sync::mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::{
    engine::{Engine, Planned, over},
    failure::{failed, of_running, reject},
    ipc::IpcEncoder,
    scan::BATCH_ROWS,
};
use crate::{
    audit::Committed,
    domain::{DatasetId, Receipt},
    error::{Error, Reason, Result},
};

/// Batches that may wait for a slow reader.
const BUFFERED_BATCHES: usize = 2;

/// What a query read and gave; figures for the OUTCOME entry, of which those per dataset concern its owner alone.
#[derive(Debug)]
pub struct Counters {
    rows: AtomicU64,
    bytes: AtomicU64,
    suppressed: Arc<AtomicU64>,
    datasets: BTreeMap<DatasetId, Arc<DatasetCounters>>,
    kept: OnceLock<Vec<u8>>,
}

/// What a query read of one dataset.
#[derive(Debug, Default)]
pub struct DatasetCounters {
    pub(super) scanned: AtomicU64,
    pub(super) passed: AtomicU64,
    pub(super) suppressed: AtomicU64,
}

impl DatasetCounters {
    /// Rows read.
    pub fn scanned(&self) -> u64 {
        self.scanned.load(Ordering::Relaxed)
    }

    /// Rows that the row filter and the consents let pass.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// Groups withheld because they had too few of this dataset's people; a group may lack those of another, too.
    pub fn suppressed_groups(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(super) const fn new(suppressed: Arc<AtomicU64>, datasets: BTreeMap<DatasetId, Arc<DatasetCounters>>) -> Self {
        Self { rows: AtomicU64::new(0), bytes: AtomicU64::new(0), suppressed, datasets, kept: OnceLock::new() }
    }

    /// Rows released to the caller.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Bytes released to the caller, as arrow holds them in memory.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Groups withheld because they were too small.
    pub fn suppressed_groups(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }

    /// What was read of each dataset.
    pub const fn datasets(&self) -> &BTreeMap<DatasetId, Arc<DatasetCounters>> {
        &self.datasets
    }
}

/// A running query: a stream of batches that ends after its first error.
#[derive(Debug)]
pub struct Answer {
    schema: SchemaRef,
    batches: mpsc::Receiver<Result<Message>>,
    ended: bool,
    counters: Arc<Counters>,
    release: Committed,
    _task: AbortOnDropHandle<()>,
    _engine: Engine,
}

impl Answer {
    pub(super) fn start(
        runtime: &Runtime,
        engine: Engine,
        planned: Planned,
        release: Committed,
        deadline: Duration,
    ) -> Self {
        let (send, batches) = mpsc::channel(BUFFERED_BATCHES);
        let (schema, counters) = (Arc::clone(&planned.schema), Arc::clone(&planned.counters));
        let task = runtime.spawn(async move {
            let started = Instant::now();
            let private = planned.loss.is_some();
            let outcome = tokio::time::timeout(deadline, produce(planned, &send, started)).await;
            if private && outcome.as_ref().is_ok_and(Result::is_err) {
                to_the_next_tick(started).await;
            }
            let outcome = outcome.unwrap_or_else(|_| Err(Error::new(Reason::DeadlineExceeded)));
            let outcome = if private { outcome.map_err(without_a_cause) } else { outcome };
            // A reader that is gone wants no end either.
            let _ = send.send(outcome.map(|()| Message::End)).await;
        });
        Self { schema, batches, ended: false, counters, release, _task: AbortOnDropHandle::new(task), _engine: engine }
    }

    /// An answer that was given before, given again.
    pub(super) fn again(runtime: &Runtime, engine: Engine, ipc: &[u8], release: Committed) -> Result<Self> {
        let reader = StreamReader::try_new(ipc, None).map_err(|_| failed("kept answer"))?;
        let schema = reader.schema();
        let kept = reader.collect::<std::result::Result<Vec<_>, _>>().map_err(|_| failed("kept answer"))?;
        let (send, batches) = mpsc::channel(BUFFERED_BATCHES);
        let task = runtime.spawn(async move {
            for batch in kept {
                if send.send(Ok(Message::Batch(batch))).await.is_err() {
                    return;
                }
            }
            let _ = send.send(Ok(Message::End)).await;
        });
        let counters = Arc::new(Counters::new(Arc::default(), BTreeMap::new()));
        Ok(Self {
            schema,
            batches,
            ended: false,
            counters,
            release,
            _task: AbortOnDropHandle::new(task),
            _engine: engine,
        })
    }

    /// The columns, also of an answer without rows.
    pub const fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Where the decision that released this answer stands in the audit log.
    pub const fn receipt(&self) -> &Receipt {
        self.release.receipt()
    }

    /// The whole answer as one Arrow IPC stream, if noise was added to it and it is complete: the next time the same
    /// question is asked it gets the same answer.
    pub fn to_be_kept(&self) -> Option<&[u8]> {
        self.counters.kept.get().map(Vec::as_slice)
    }

    /// The figures so far; complete once the stream has ended.
    pub const fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }
}

impl Stream for Answer {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(next) = self.batches.poll_recv(context) else { return Poll::Pending };
        self.ended = !matches!(next, Some(Ok(Message::Batch(_))));
        Poll::Ready(match next {
            Some(Ok(Message::Batch(batch))) => {
                self.counters.rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
                self.counters.bytes.fetch_add(batch.get_array_memory_size() as u64, Ordering::Relaxed);
                Some(Ok(batch))
            }
            Some(Ok(Message::End)) => None,
            Some(Err(error)) => Some(Err(error)),
            // The query went away without an end: an answer cut short must not look complete.
            None => Some(Err(failed("execution panicked"))),
        })
    }
}

/// What the running query tells its reader.
#[derive(Debug)]
enum Message {
    Batch(RecordBatch),
    End,
}

/// How an answer with noise fails: whether memory, time or rows ran out would depend on people, without any noise. A
/// rejection depends on what the caller may see.
fn without_a_cause(error: Error) -> Error {
    if error.reason() == Reason::QueryRejected { error } else { failed("private query") }
}

/// An answer with noise leaves at a whole multiple of this after its start: how long the sampler took tells about what
/// it drew.
const TICK: Duration = Duration::from_millis(50);

async fn to_the_next_tick(started: Instant) {
    let ticks = started.elapsed().as_nanos() / TICK.as_nanos() + 1;
    tokio::time::sleep_until((started + TICK * u32::try_from(ticks).unwrap_or(u32::MAX)).into()).await;
}

/// Largest answer that is kept for the next time.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

async fn produce(planned: Planned, send: &mpsc::Sender<Result<Message>>, started: Instant) -> Result<()> {
    let private = planned.loss.is_some().then(|| (Arc::clone(&planned.counters), started));
    for check in planned.checks {
        once_for_each_key(check, Arc::clone(&planned.context)).await?;
    }
    let mut stream = batches(planned.physical, planned.context).map_err(|error| of_running(&error))?;
    let mut out = Out {
        schema: Arc::clone(&planned.schema),
        coalescer: BatchCoalescer::new(Arc::clone(&planned.schema), BATCH_ROWS),
        left: planned.cap,
        held: planned.aggregate_only.then(Vec::new),
        private,
        send,
    };
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|error| of_running(&error))?;
        let batch = plain(&batch, &planned.schema).map_err(|error| of_running(&error))?;
        let rows = batch.num_rows() as u64;
        if rows > out.left {
            if out.held.is_none() {
                out.push(batch.slice(0, usize::try_from(out.left).unwrap_or(usize::MAX)))?;
                out.finish().await?;
            }
            return Err(over(planned.cap));
        }
        out.left -= rows;
        out.push(batch)?;
        out.flush().await?;
    }
    out.finish().await
}

/// The batches of a plan. Those of small data come part by part, so that the parts of a union are in one order.
fn batches(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
) -> std::result::Result<BoxStream<'static, std::result::Result<RecordBatch, DataFusionError>>, DataFusionError> {
    if context.session_config().target_partitions() > 1 {
        return Ok(execute_stream(plan, context)?.boxed());
    }
    Ok(stream::iter(execute_stream_partitioned(plan, context)?).flatten().boxed())
}

/// Runs the search for a key that a joined table repeats, before anything else is read: that there is one depends on
/// what the caller may see anyway, and whether it is looked for on the text alone.
async fn once_for_each_key(check: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<()> {
    let mut found = execute_stream(check, context).map_err(|error| of_running(&error))?;
    while let Some(batch) = found.next().await {
        if batch.map_err(|error| of_running(&error))?.num_rows() > 0 {
            return Err(reject("join_repeats", REPEATS));
        }
    }
    Ok(())
}

const REPEATS: &str = "a table that is joined with an aggregate-only dataset of others repeats a key, which would weigh \
     people: give it one row for each key, as a subquery with GROUP BY does";

/// Re-chunks batches, and holds them back where nothing may leave before the end.
struct Out<'a> {
    schema: SchemaRef,
    coalescer: BatchCoalescer,
    left: u64,
    held: Option<Vec<RecordBatch>>,
    /// Where an answer with noise is kept, and when it was begun.
    private: Option<(Arc<Counters>, Instant)>,
    send: &'a mpsc::Sender<Result<Message>>,
}

impl Out<'_> {
    fn push(&mut self, batch: RecordBatch) -> Result<()> {
        self.coalescer.push_batch(batch).map_err(|_| failed("coalesce"))
    }

    async fn flush(&mut self) -> Result<()> {
        while let Some(batch) = self.coalescer.next_completed_batch() {
            match &mut self.held {
                Some(held) => held.push(batch),
                None => self.release(batch).await?,
            }
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        self.coalescer.finish_buffered_batch().map_err(|_| failed("coalesce"))?;
        self.flush().await?;
        let held = self.held.take().unwrap_or_default();
        if let Some((counters, started)) = self.private.take() {
            let ipc = encode(&self.schema, &held)?;
            if ipc.len() <= KEPT_BYTES {
                // Set once: an answer ends once.
                let _ = counters.kept.set(ipc);
            }
            to_the_next_tick(started).await;
        }
        for batch in held {
            self.release(batch).await?;
        }
        Ok(())
    }

    async fn release(&self, batch: RecordBatch) -> Result<()> {
        self.send.send(Ok(Message::Batch(batch))).await.map_err(|_| failed("reader is gone"))
    }
}

fn encode(schema: &Schema, batches: &[RecordBatch]) -> Result<Vec<u8>> {
    let mut encoder = IpcEncoder::new(schema)?;
    let mut ipc = encoder.piece();
    for batch in batches {
        ipc.extend(encoder.batch(batch)?);
    }
    ipc.extend(encoder.end()?);
    Ok(ipc)
}

/// The schema of an answer: no metadata, no view or dictionary types (JDBC knows neither).
pub(super) fn plain_schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let data_type = match field.data_type() {
            DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
            DataType::BinaryView => DataType::Binary,
            DataType::Dictionary(_, values) => values.as_ref().clone(),
            other => other.clone(),
        };
        Field::new(field.name(), data_type, true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn plain(batch: &RecordBatch, schema: &SchemaRef) -> std::result::Result<RecordBatch, DataFusionError> {
    let columns = batch.columns().iter().zip(schema.fields());
    let columns =
        columns.map(|(column, field)| cast(column, field.data_type())).collect::<std::result::Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
