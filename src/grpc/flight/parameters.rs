//! `DoPut`: one row of values for the parameters of a prepared statement, and nothing else.

use arrow_flight::{
    FlightData, PutResult,
    decode::FlightRecordBatchStream,
    error::FlightError,
    sql::{Command, DoPutPreparedStatementResult},
};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use prost::Message as _;
use tonic::Streaming;

use super::{
    command_of,
    context::Context,
    handles::Statements,
    statement::{substrait, unknown_statement},
    unimplemented,
};
use crate::{
    error::{Error, Result},
    query::Literal,
};

/// Most messages of one row of values: its schema, its dictionaries, itself.
const MOST_MESSAGES: usize = 64;

/// Binds the values that `data` brings.
pub(super) async fn bind(
    statements: &Statements,
    context: &Context,
    mut data: Streaming<FlightData>,
) -> Result<PutResult> {
    let malformed = || Error::invalid("parameters", "they are not one row of values");
    let first = data.message().await.ok().flatten().ok_or_else(malformed)?;
    let handle = statement(&first)?;
    let messages =
        futures::stream::once(async { Ok(first) }).chain(data.map_err(FlightError::from)).take(MOST_MESSAGES);
    let mut batches = FlightRecordBatchStream::new_from_flight_data(messages);
    let mut values = None;
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|_| malformed())?;
        if batch.num_rows() > 0 && values.replace(Literal::row(&batch)?).is_some() {
            return Err(malformed());
        }
    }
    let values = values.ok_or_else(malformed)?;
    let (caller, now) = (context.call.caller()?, context.call.services().now());
    let done = statements.with(caller, now, &handle, |statement| -> Result<()> {
        statement.bound = Some(statement.text.bind(&values)?);
        Ok(())
    });
    done.ok_or_else(unknown_statement)??;
    let result = DoPutPreparedStatementResult { prepared_statement_handle: Some(handle) };
    Ok(PutResult { app_metadata: result.encode_to_vec().into() })
}

/// The statement that values are for; every other thing that could be put is refused.
fn statement(first: &FlightData) -> Result<Bytes> {
    let descriptor = first.flight_descriptor.as_ref();
    match command_of(descriptor.ok_or_else(|| Error::invalid("descriptor", "the first message has none"))?)? {
        Command::CommandPreparedStatementQuery(query) => Ok(query.prepared_statement_handle),
        Command::CommandStatementUpdate(_) | Command::CommandPreparedStatementUpdate(_) => {
            Err(unimplemented("updates"))
        }
        Command::CommandStatementIngest(_) => Err(unimplemented("ingestion")),
        Command::CommandStatementSubstraitPlan(plan) => Err(substrait(plan.plan)),
        _ => Err(unimplemented("putting this")),
    }
}
