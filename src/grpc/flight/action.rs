//! Actions: prepared statements, cancelling, sessions.

use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo,
    sql::{
        ActionCancelQueryRequest, ActionCancelQueryResult, ActionClosePreparedStatementRequest,
        ActionCreatePreparedStatementRequest, Command, ProstMessageExt as _,
    },
};
use prost::Message as _;
use tonic::{
    Response, Status,
    metadata::{Ascii, MetadataValue},
};

use super::{Answers, Api, command, context::Context, none, one, session, statement, unimplemented, unpack};
use crate::error::{Error, Result};

/// The actions that there are, and what they do.
const ACTIONS: [(&str, &str); 7] = [
    ("CreatePreparedStatement", "Plans a statement and keeps it for an hour after its last use"),
    ("ClosePreparedStatement", "Forgets a prepared statement"),
    ("CancelFlightInfo", "Cancels a query, whether its answer is being fetched or not"),
    ("CancelQuery", "Cancels a query; superseded by CancelFlightInfo"),
    ("SetSessionOptions", "Sets `catalog`, the purpose of queries that name none"),
    ("GetSessionOptions", "Tells the options of the session"),
    ("CloseSession", "Ends the session"),
];

type Results = Answers<arrow_flight::Result>;

/// What `ListActions` answers.
pub(super) fn list() -> [ActionType; ACTIONS.len()] {
    ACTIONS.map(|(r#type, description)| ActionType { r#type: r#type.to_owned(), description: description.to_owned() })
}

/// Does an action.
pub(super) async fn run(api: &Api, context: &Context, asked: Action) -> Result<Response<Results>, Status> {
    let call = &context.call;
    if asked.r#type == "CreatePreparedStatement" {
        let request: ActionCreatePreparedStatementRequest =
            call.answer(async { unpack(&asked.body) }).await?.into_inner();
        let result = statement::prepare(&api.statements, context, request).await?;
        return Ok(Response::new(body(result.as_any().encode_to_vec())));
    }
    let (results, cookie) = call.answer(async { small(api, context, &asked) }).await?.into_inner();
    let mut response = Response::new(results);
    if let Some(cookie) = cookie {
        response.metadata_mut().insert("set-cookie", cookie);
    }
    Ok(response)
}

/// Actions that need nothing but memory: their results, and the cookie to send along.
fn small(api: &Api, context: &Context, asked: &Action) -> Result<(Results, Option<MetadataValue<Ascii>>)> {
    let malformed = |_| Error::invalid("body", "it is not the message of this action");
    match asked.r#type.as_str() {
        "ClosePreparedStatement" => {
            let request: ActionClosePreparedStatementRequest = unpack(&asked.body)?;
            statement::close(&api.statements, context, &request.prepared_statement_handle)?;
            Ok((none(), None))
        }
        "CancelFlightInfo" => {
            let request = CancelFlightInfoRequest::decode(asked.body.clone()).map_err(malformed)?;
            cancel(api, context, request.info.as_ref())?;
            let result = CancelFlightInfoResult { status: CancelStatus::Cancelled.into() };
            Ok((body(result.encode_to_vec()), None))
        }
        "CancelQuery" => {
            let request: ActionCancelQueryRequest = unpack(&asked.body)?;
            let info = FlightInfo::decode(request.info).map_err(malformed)?;
            cancel(api, context, Some(&info))?;
            // The number is that of `CancelFlightInfo`'s status.
            let result = ActionCancelQueryResult { result: CancelStatus::Cancelled.into() };
            Ok((body(result.as_any().encode_to_vec()), None))
        }
        "SetSessionOptions" => {
            let (result, cookie) = session::set(&asked.body, context.call.services().vocabulary())?;
            Ok((body(result), cookie))
        }
        "GetSessionOptions" => Ok((body(session::get(context.headers())), None)),
        "CloseSession" => session::close().map(|(result, cookie)| (body(result), Some(cookie))),
        "BeginTransaction" | "EndTransaction" | "BeginSavepoint" | "EndSavepoint" => Err(unimplemented("transactions")),
        "CreatePreparedSubstraitPlan" => Err(statement::substrait(None)),
        "RenewFlightEndpoint" => Err(unimplemented("renewing an endpoint: a ticket is good once")),
        _ => Err(unimplemented("this action")),
    }
}

/// Cancels what a flight's tickets stand for. One that stands for nothing of the caller's does not exist for it.
fn cancel(api: &Api, context: &Context, info: Option<&FlightInfo>) -> Result<()> {
    let (caller, now) = (context.call.caller()?, context.call.services().now());
    let mut found = false;
    for ticket in info.into_iter().flat_map(|info| &info.endpoint).filter_map(|endpoint| endpoint.ticket.as_ref()) {
        if let Ok(Command::TicketStatementQuery(ticket)) = command(&ticket.ticket) {
            found |= api.tickets.cancel(caller, now, &ticket.statement_handle);
        }
    }
    if found { Ok(()) } else { Err(Error::not_found("the query")) }
}

fn body(message: Vec<u8>) -> Results {
    one(arrow_flight::Result { body: message.into() })
}
