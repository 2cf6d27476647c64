//! Batches on the wire: one message after another, uncompressed, small enough for the limits that clients have.

use std::{collections::VecDeque, sync::atomic::Ordering};

use arrow::{
    array::{Array as _, RecordBatch},
    ipc::writer::IpcWriteOptions,
};
use arrow_flight::{
    FlightData,
    encode::{FlightDataEncoder, FlightDataEncoderBuilder},
    error::FlightError,
};
use futures::{Stream, StreamExt as _};
use tonic::Status;

use super::{Answers, handles::Fetching};
use crate::{
    error::{Error, Reason, Result},
    grpc::call::Call,
    query::SchemaRef,
    service::QueryRun,
};

/// Most bytes of a batch in one message; gRPC clients take 4 MiB unless told otherwise.
const MESSAGE: usize = 2 << 20;

/// How batches are written: uncompressed, which every client reads.
pub(super) fn options() -> IpcWriteOptions {
    IpcWriteOptions::default()
}

/// The answer of a running query. Dropping it, as the reset of the stream does, drops the run, which records that.
pub(super) fn of_run(call: Call, run: QueryRun, fetching: Fetching) -> Answers<FlightData> {
    let (schema, sent) = (SchemaRef::clone(run.schema()), run.sent());
    let state = State { call: call.clone(), run: Some(run), fetching, pieces: VecDeque::new() };
    let batches = futures::stream::unfold(state, |mut state| async move {
        let next = state.next().await?;
        Some((next, state))
    });
    Box::pin(encode(schema, batches).map(move |message| {
        let message = message.map_err(|error| status(&call, error))?;
        // The encoder is asked for more rows only when it has nothing left: the sum is complete at the end.
        sent.fetch_add((message.data_header.len() + message.data_body.len()) as u64, Ordering::Relaxed);
        Ok(message)
    }))
}

/// One batch of the hub's own making.
pub(super) fn of_one(call: Call, batch: RecordBatch) -> Answers<FlightData> {
    let schema = batch.schema();
    let mut pieces = VecDeque::new();
    cut(batch, &mut pieces);
    let batches = futures::stream::iter(pieces.into_iter().map(Ok));
    Box::pin(encode(schema, batches).map(move |message| message.map_err(|error| status(&call, error))))
}

fn encode<S>(schema: SchemaRef, batches: S) -> FlightDataEncoder
where
    S: Stream<Item = std::result::Result<RecordBatch, FlightError>> + Send + 'static,
{
    FlightDataEncoderBuilder::new()
        .with_options(options())
        .with_schema(schema)
        // Its own cutting goes by the average row and by whole buffers; `cut` has been more exact.
        .with_max_flight_data_size(usize::MAX)
        .build(batches)
}

/// How far an answer has been sent.
struct State {
    call: Call,
    /// None when the answer has ended, well or badly.
    run: Option<QueryRun>,
    fetching: Fetching,
    pieces: VecDeque<RecordBatch>,
}

impl State {
    async fn next(&mut self) -> Option<std::result::Result<RecordBatch, FlightError>> {
        match self.piece().await? {
            Ok(batch) => Some(Ok(batch)),
            Err(error) => {
                self.run = None;
                Some(Err(FlightError::Tonic(Box::new(self.call.status(&error)))))
            }
        }
    }

    async fn piece(&mut self) -> Option<Result<RecordBatch>> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Some(Ok(piece));
            }
            let next = tokio::select! {
                biased;
                () = self.fetching.cancelled.cancelled() => return Some(Err(Error::new(Reason::QueryCancelled))),
                next = self.run.as_mut()?.next_batch() => next,
            };
            match next {
                Some(Ok(batch)) => cut(batch, &mut self.pieces),
                Some(Err(error)) => return Some(Err(error)),
                None => return self.run.take()?.finish().await.err().map(Err),
            }
        }
    }
}

/// Halves a batch until each part fits into a message or is a single row, which cannot be cut.
fn cut(batch: RecordBatch, pieces: &mut VecDeque<RecordBatch>) {
    let mut waiting = vec![batch];
    while let Some(batch) = waiting.pop() {
        let rows = batch.num_rows();
        if rows > 1 && size(&batch) > MESSAGE {
            waiting.push(batch.slice(rows / 2, rows - rows / 2));
            waiting.push(batch.slice(0, rows / 2));
        } else if rows > 0 {
            pieces.push_back(batch);
        }
    }
}

/// The bytes that the rows of a batch take, whatever buffers they lie in.
fn size(batch: &RecordBatch) -> usize {
    let sizes = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(usize::MAX));
    sizes.fold(0, usize::saturating_add)
}

fn status(call: &Call, error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        other => call.status(&Error::internal(other)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    #[test]
    fn a_batch_is_cut_to_size_and_loses_nothing() {
        let wide = "x".repeat(100_000);
        let texts: Vec<&str> = (0..200).map(|row| if row % 3 == 0 { wide.as_str() } else { "" }).collect();
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..200));
        let columns = [("n", numbers), ("t", Arc::new(StringArray::from(texts)) as ArrayRef)];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut pieces = VecDeque::new();
        cut(batch.clone(), &mut pieces);
        assert!(pieces.len() > 3 && pieces.iter().all(|piece| size(piece) <= MESSAGE));
        let whole = arrow::compute::concat_batches(&batch.schema(), pieces.iter()).unwrap();
        assert_eq!(whole, batch);
    }

    #[test]
    fn a_row_that_is_too_large_stays_whole_and_no_row_is_no_piece() {
        let large = "x".repeat(MESSAGE + 1);
        let column: ArrayRef = Arc::new(StringArray::from(vec![large.as_str(), "y"]));
        let batch = RecordBatch::try_from_iter([("t", column)]).unwrap();
        let mut pieces = VecDeque::new();
        cut(batch.slice(0, 0), &mut pieces);
        assert!(pieces.is_empty());
        cut(batch, &mut pieces);
        assert_eq!(pieces.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [1, 1]);
    }
}
