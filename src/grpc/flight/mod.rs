//! Arrow Flight SQL on the hub's gRPC port: what ADBC, JDBC and pyarrow speak.
//!
//! A second way to the use cases of `QueryService`, never around them: the same decision, audit entries, cutting and
//! errors. What is here is the protocol: commands and tickets, prepared statements, lists of tables. Catalog is the
//! purpose, schema the owner, table the dataset. Everything that is not for reading is refused with `UNIMPLEMENTED`.
//!
//! The trait of Flight is implemented directly and not through `arrow_flight::sql::server`, whose dispatch answers
//! with the texts of decoding errors and without a reason.

mod action;
mod context;
mod handles;
mod handshake;
mod keys;
mod metadata;
mod parameters;
mod session;
mod sql_info;
mod statement;
mod stream;
mod tables;
mod xdbc;

use std::pin::Pin;

use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
    flight_descriptor::DescriptorType,
    flight_service_server::{FlightService, FlightServiceServer},
    sql::{Any, Command},
};
use bytes::Bytes;
use futures::Stream;
use prost::Message as _;
use tonic::{Request, Response, Status, Streaming};

pub(super) use self::handshake::credential;
use self::{
    context::Context,
    handles::{Statements, Tickets},
};
use super::call::Call;
use crate::error::{Error, Reason, Result};

/// The name of the service.
pub(super) const SERVICE: &str = "arrow.flight.protocol.FlightService";
/// Its methods.
pub(super) const METHODS: [&str; 10] = [
    "Handshake",
    "ListFlights",
    "GetFlightInfo",
    "PollFlightInfo",
    "GetSchema",
    "DoGet",
    "DoPut",
    "DoExchange",
    "DoAction",
    "ListActions",
];
/// The call that takes the token as a password.
pub(super) const HANDSHAKE: &str = "arrow.flight.protocol.FlightService/Handshake";

/// Largest message that is sent. Batches are cut far below it; only a single row can come near.
const LARGEST_ANSWER: usize = 64 << 20;

/// The service. `message_bytes` is the largest message that is taken.
pub(super) fn server(message_bytes: usize) -> FlightServiceServer<Api> {
    FlightServiceServer::new(Api::default())
        .max_decoding_message_size(message_bytes)
        .max_encoding_message_size(LARGEST_ANSWER)
}

/// What the calls of Flight share: tickets that were given out, and prepared statements.
#[derive(Debug, Default)]
pub(super) struct Api {
    tickets: Tickets,
    statements: Statements,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl FlightService for Api {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;
    type DoExchangeStream = Answers<FlightData>;

    async fn handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        let (context, _) = Context::split(request)?;
        let mut response = Response::new(none());
        if let Some(bearer) = context.call.answer(async { handshake::bearer(context.headers()) }).await?.into_inner() {
            response.metadata_mut().insert("authorization", bearer);
        }
        Ok(response)
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let (context, descriptor) = Context::split(request)?;
        let command = context.call.answer(async { command_of(&descriptor) }).await?.into_inner();
        match command {
            Command::CommandStatementQuery(asked) => {
                statement::info(&self.tickets, &context, statement::text(asked), descriptor).await
            }
            Command::CommandPreparedStatementQuery(asked) => {
                let query = statement::bound(&self.statements, &context, &asked.prepared_statement_handle);
                statement::info(&self.tickets, &context, query, descriptor).await
            }
            command => context.call.answer(async { metadata::info(&command, descriptor) }).await,
        }
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let (context, descriptor) = Context::split(request)?;
        let command = context.call.answer(async { command_of(&descriptor) }).await?.into_inner();
        match command {
            Command::CommandStatementQuery(asked) => statement::schema(&context, statement::text(asked)).await,
            Command::CommandPreparedStatementQuery(asked) => {
                let query = statement::bound(&self.statements, &context, &asked.prepared_statement_handle);
                statement::schema(&context, query).await
            }
            command => context.call.answer(async { metadata::schema_result(&command) }).await,
        }
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let (context, ticket) = Context::split(request)?;
        let command = context.call.answer(async { command(&ticket.ticket) }).await?.into_inner();
        match command {
            Command::TicketStatementQuery(ticket) => {
                statement::run(&self.tickets, context, &ticket.statement_handle).await
            }
            command => {
                let batch = context.call.answer(metadata::rows(&context, command)).await?.into_inner();
                Ok(Response::new(stream::of_one(context.call, batch)))
            }
        }
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        let (context, data) = Context::split(request)?;
        let bind = parameters::bind(&self.statements, &context, data);
        let result = context.call.answer(bind).await?.into_inner();
        Ok(Response::new(one(result)))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let (context, asked) = Context::split(request)?;
        action::run(self, &context, asked).await
    }

    async fn list_actions(&self, request: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        Context::split(request)?;
        Ok(Response::new(Box::pin(futures::stream::iter(action::list().map(Ok)))))
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        absent(request, "ListFlights").await
    }

    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        absent(request, "PollFlightInfo").await
    }

    async fn do_exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        absent(request, "DoExchange").await
    }
}

/// The command of a descriptor.
fn command_of(descriptor: &FlightDescriptor) -> Result<Command> {
    if descriptor.r#type() != DescriptorType::Cmd {
        return Err(unimplemented("flights by path"));
    }
    command(&descriptor.cmd)
}

/// A command, packed as the protocol wants it.
fn command(bytes: &Bytes) -> Result<Command> {
    let command = Any::decode(bytes.clone()).ok().and_then(|any| Command::try_from(any).ok());
    command.ok_or_else(|| Error::invalid("command", "it is not a command of Flight SQL"))
}

/// What a message of a known type holds.
fn unpack<M: arrow_flight::sql::ProstMessageExt>(bytes: &Bytes) -> Result<M> {
    let any = Any::decode(bytes.clone()).ok();
    let message = any.and_then(|any| any.unpack().ok().flatten());
    message.ok_or_else(|| Error::invalid("body", "it is not the message of this action"))
}

/// The answer to what the hub does not have.
fn unimplemented(what: &str) -> Error {
    Error::new(Reason::Unimplemented).with("what", what)
}

async fn absent<T, A>(request: Request<T>, what: &str) -> Result<Response<A>, Status> {
    let (call, _) = Call::split(request)?;
    Err(call.refuse(unimplemented(what)).await)
}

fn one<T: Send + 'static>(item: T) -> Answers<T> {
    Box::pin(futures::stream::once(async move { Ok(item) }))
}

fn none<T: Send + 'static>() -> Answers<T> {
    Box::pin(futures::stream::empty())
}
