//! Queries: planned when a client asks for their flight, run when it comes with the ticket.
//!
//! Planning decides, reads no row and starts nothing; a refusal there is recorded as that of the query. The ticket runs
//! the query through the same use case as `QueryService`, which decides anew: what changed in between counts.

use arrow_flight::{
    FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, IpcMessage, SchemaAsIpc, SchemaResult, Ticket,
    sql::{
        ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, CommandStatementQuery,
        ProstMessageExt as _, SubstraitPlan, TicketStatementQuery,
    },
};
use bytes::Bytes;
use prost::Message as _;
use tonic::{Response, Status};

use super::{
    Answers,
    context::Context,
    handles::{Planned, Statement, Statements, Tickets},
    stream, unimplemented,
};
use crate::{
    error::{Error, Reason, Result},
    query::SchemaRef,
    service::QueryRequest,
};

/// Tells the query's id, by which its audit entries are found.
const QUERY: &str = "x-odh-query";
/// Tells the index of the query's DECISION entry.
const DECISION: &str = "x-odh-decision";

/// Where a query comes from.
pub(super) enum Source {
    /// Its text, the purpose still to be found.
    Text(String),
    /// A prepared statement with its values.
    Prepared(QueryRequest),
}

/// The query of a command.
pub(super) fn text(asked: CommandStatementQuery) -> Result<Source> {
    no_transaction(asked.transaction_id.as_ref())?;
    Ok(Source::Text(asked.query))
}

/// The query of a prepared statement, with what was bound to it.
pub(super) fn bound(statements: &Statements, context: &Context, handle: &Bytes) -> Result<Source> {
    let found = statements.with(context.call.caller()?, context.call.services().now(), handle, |it| it.clone());
    let statement = found.ok_or_else(unknown_statement)?;
    match (statement.bound, statement.text.count()) {
        (Some(sql), _) => Ok(Source::Prepared(QueryRequest { sql, ..statement.ask })),
        (None, 0) => Ok(Source::Prepared(statement.ask)),
        (None, count) => Err(Error::invalid("parameters", format_args!("bind values to its {count} parameters first"))),
    }
}

/// Plans a query and gives a ticket for its answer.
pub(super) async fn info(
    tickets: &Tickets,
    context: &Context,
    source: Result<Source>,
    descriptor: FlightDescriptor,
) -> Result<Response<FlightInfo>, Status> {
    let planned = async {
        let (ask, schema) = plan(context, source).await?;
        let info = FlightInfo::new().try_with_schema(&schema).map_err(Error::internal)?;
        let ticket = tickets.issue(context.call.caller()?, context.call.services().now(), Planned { ask, schema })?;
        let ticket = Ticket::new(TicketStatementQuery { statement_handle: ticket }.as_any().encode_to_vec());
        // No location: the answer comes over the connection on which it was asked for. No expiration time: that would
        // promise that a ticket is good for a second try.
        let endpoint = FlightEndpoint::new().with_ticket(ticket);
        Ok(info.with_endpoint(endpoint).with_descriptor(descriptor).with_ordered(true))
    };
    recorded(context, Box::pin(planned).await)
}

/// The columns of a query's answer.
pub(super) async fn schema(context: &Context, source: Result<Source>) -> Result<Response<SchemaResult>, Status> {
    let planned = async {
        let (_, schema) = plan(context, source).await?;
        SchemaAsIpc::new(&schema, &stream::options()).try_into().map_err(Error::internal)
    };
    recorded(context, Box::pin(planned).await)
}

/// Runs the query of a ticket. Its DECISION entry is durable before this returns.
pub(super) async fn run(
    tickets: &Tickets,
    context: Context,
    ticket: &Bytes,
) -> Result<Response<Answers<FlightData>>, Status> {
    let started = async {
        let (call, services) = (&context.call, context.call.services());
        let (planned, fetching) = tickets.redeem(call.caller()?, services.now(), ticket)?;
        let run = services.run_query(call.caller()?, planned.ask).await?;
        // The dataset has another snapshot since, with other columns: not what was announced.
        if *run.schema() != planned.schema {
            return Err(Error::new(Reason::QueryCut));
        }
        Ok((run, fetching))
    };
    let (run, fetching) = recorded(&context, Box::pin(started).await)?.into_inner();
    let told = [(QUERY, run.id.to_string()), (DECISION, run.decision.index.to_string())];
    let mut response = Response::new(stream::of_run(context.call, run, fetching));
    for (name, value) in told {
        if let Ok(value) = value.parse() {
            response.metadata_mut().insert(name, value);
        }
    }
    Ok(response)
}

/// Plans a statement, with places for values or without, and keeps it.
pub(super) async fn prepare(
    statements: &Statements,
    context: &Context,
    asked: ActionCreatePreparedStatementRequest,
) -> Result<ActionCreatePreparedStatementResult, Status> {
    let prepared = async {
        no_transaction(asked.transaction_id.as_ref())?;
        let ask = context.query(asked.query).await?;
        let services = context.call.services();
        let prepared = services.prepare_query(context.call.caller()?, &ask).await?;
        let statement = Statement { ask, text: prepared.statement, bound: None };
        let handle = statements.keep(context.call.caller()?, services.now(), statement)?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle,
            dataset_schema: encoded(&prepared.schema)?,
            parameter_schema: encoded(&prepared.parameters)?,
        })
    };
    recorded(context, Box::pin(prepared).await).map(Response::into_inner)
}

/// Forgets a prepared statement; one that is not there is forgotten already.
pub(super) fn close(statements: &Statements, context: &Context, handle: &Bytes) -> Result<()> {
    let _ = statements.remove(context.call.caller()?, context.call.services().now(), handle);
    Ok(())
}

/// The answer to a handle that is nobody's, somebody else's or too old.
pub(super) fn unknown_statement() -> Error {
    Error::not_found("the prepared statement")
}

/// Refuses a plan in place of a text: it would not pass admission.
pub(super) fn substrait(_: Option<SubstraitPlan>) -> Error {
    unimplemented("Substrait plans")
}

async fn plan(context: &Context, source: Result<Source>) -> Result<(QueryRequest, SchemaRef)> {
    let ask = match source? {
        Source::Text(sql) => context.query(sql).await?,
        Source::Prepared(ask) => ask,
    };
    let schema = context.call.services().plan_query(context.call.caller()?, &ask).await?;
    Ok((ask, schema))
}

fn no_transaction(id: Option<&Bytes>) -> Result<()> {
    match id {
        Some(id) if !id.is_empty() => Err(unimplemented("transactions")),
        _ => Ok(()),
    }
}

fn encoded(schema: &SchemaRef) -> Result<Bytes> {
    let message: IpcMessage = SchemaAsIpc::new(schema, &stream::options()).try_into().map_err(Error::internal)?;
    Ok(message.0)
}

/// Answers without recording a denial: the refusal of a query is a decision, which its use case has recorded.
fn recorded<T>(context: &Context, result: Result<T>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|error| context.call.status(&error))
}
