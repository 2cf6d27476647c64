//! `odh access`: asking for access, and deciding on it.

use clap::{Args as ClapArgs, Subcommand};

use super::{
    Session,
    choices::{self, FilterArgs, ListArgs, pages},
    failure::Failure,
    grant, names,
    output::{Column, Format},
};
use crate::{domain::approval_object, grpc::pb};

const COLUMNS: &[Column] = &[
    Column::new("REQUEST", "/name"),
    Column::new("DATASET", "/dataset"),
    Column::new("REQUESTER", "/requester"),
    Column::new("ACTION", "/action"),
    Column::new("PURPOSE", "/purpose"),
    Column::new("STATE", "/state"),
    Column::new("GRANT", "/grant"),
];

/// Ask for access to a dataset, and decide on what others ask.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask the owner of a dataset for access. For a requester.
    Request {
        /// The dataset, OWNER.DATASET.
        dataset: String,
        /// The purpose, a slug of `odh policy purposes`.
        #[arg(long)]
        purpose: String,
        /// Why; the owner reads it.
        #[arg(long)]
        justification: String,
        /// What would be done.
        #[arg(long, default_value = "aggregate", value_parser = choices::action())]
        action: pb::Action,
        /// Only these columns, separated by commas; by default all that the rule covers.
        #[arg(long, value_delimiter = ',', value_name = "NAMES")]
        columns: Vec<String>,
        /// For how long, from the decision on, for example 90d.
        #[arg(long, default_value = "90d", value_parser = choices::duration)]
        duration: prost_types::Duration,
    },
    /// List what others ask of your participant.
    Inbox {
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        list: ListArgs,
    },
    /// List what your participant has asked for.
    Outbox {
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show an access request.
    Show {
        /// Its id, a UUID.
        request: String,
    },
    /// Agree, and issue a grant. Signed with your key. For a steward of the owner.
    Approve {
        /// Its id, a UUID.
        request: String,
        /// A shorter duration than was asked for, for example 30d.
        #[arg(long, value_parser = choices::duration)]
        duration: Option<prost_types::Duration>,
        /// The rule of the policy that the grant cites, if several permit it.
        #[arg(long, default_value = "", hide_default_value = true)]
        rule: String,
    },
    /// Refuse. Signed with your key. For a steward of the owner.
    Refuse {
        /// Its id, a UUID.
        request: String,
        /// Why; the requester reads it.
        #[arg(long)]
        reason: String,
    },
    /// Take back what was asked for. For a requester of the same participant.
    Withdraw {
        /// Its id, a UUID.
        request: String,
    },
}

/// Runs `odh access`.
pub async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    use pb::AccessRequestDirection::{Inbox, Outbox};
    match args.command {
        Command::Request { dataset, purpose, justification, action, columns, duration } => {
            let columns = only(columns);
            let request = pb::CreateAccessRequestRequest {
                dataset: names::dataset(&dataset)?,
                action: action.into(),
                purpose,
                columns,
                justification,
                duration: Some(duration),
                request_id: session.request_id.clone(),
            };
            let response = session.client().await?.access().create_access_request(request).await?.into_inner();
            session.out.changed(&response, response.access_request.as_ref(), COLUMNS, response.receipt.as_ref())
        }
        Command::Inbox { filter, list } => self::list(Inbox, &filter.filter, list.limit, session).await,
        Command::Outbox { filter, list } => self::list(Outbox, &filter.filter, list.limit, session).await,
        Command::Show { request } => {
            let request = pb::GetAccessRequestRequest { name: names::access_request(&request)? };
            let response = session.client().await?.access().get_access_request(request).await?.into_inner();
            session.out.show(&response.access_request.ok_or_else(|| Failure::protocol("it lacks the access request"))?)
        }
        Command::Approve { request, duration, rule } => approve(&request, duration, rule, session).await,
        Command::Refuse { request, reason } => {
            let name = names::access_request(&request)?;
            let client = session.client().await?;
            let signature = client.sign("access.refuse", &name).await?;
            let request_id = session.request_id.clone();
            let request = pb::RefuseAccessRequestRequest { name, reason, signature, etag: String::new(), request_id };
            let response = client.access().refuse_access_request(request).await?.into_inner();
            session.out.changed(&response, response.access_request.as_ref(), COLUMNS, response.receipt.as_ref())
        }
        Command::Withdraw { request } => {
            let (name, request_id) = (names::access_request(&request)?, session.request_id.clone());
            let request = pb::WithdrawAccessRequestRequest { name, etag: String::new(), request_id };
            let response = session.client().await?.access().withdraw_access_request(request).await?.into_inner();
            session.out.changed(&response, response.access_request.as_ref(), COLUMNS, response.receipt.as_ref())
        }
    }
}

/// These columns, or unset (every column) if there are none.
pub(super) fn only(names: Vec<String>) -> Option<pb::Columns> {
    let selection = pb::columns::Selection::Only(pb::ColumnNames { names });
    match &selection {
        pb::columns::Selection::Only(only) if only.names.is_empty() => None,
        _ => Some(pb::Columns { selection: Some(selection) }),
    }
}

async fn list(
    direction: pb::AccessRequestDirection,
    filter: &str,
    limit: usize,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let client = session.client().await?;
    let (requests, more) = pages(limit, |page_size, page_token| {
        let (direction, filter) = (direction.into(), filter.to_owned());
        let request = pb::ListAccessRequestsRequest { direction, page_size, page_token, filter };
        let mut service = client.access();
        async move {
            let page = service.list_access_requests(request).await?.into_inner();
            Ok((page.access_requests, page.next_page_token))
        }
    })
    .await?;
    session.out.list(&requests, COLUMNS)?;
    session.more(more);
    Ok(())
}

async fn approve(
    request: &str,
    duration: Option<prost_types::Duration>,
    rule: String,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let name = names::access_request(request)?;
    let client = session.client().await?;
    let seconds = duration.and_then(|duration| u64::try_from(duration.seconds).ok());
    let signature = client.sign("access.approve", &approval_object(&name, &rule, seconds)).await?;
    let request_id = session.request_id.clone();
    let request = pb::ApproveAccessRequestRequest { name, duration, rule, signature, etag: String::new(), request_id };
    let response = client.access().approve_access_request(request).await?.into_inner();
    if session.out.format == Format::Json {
        session.out.show(&response)?;
    } else {
        let grant = response.grant.as_ref().ok_or_else(|| Failure::protocol("it lacks the grant"))?;
        session.out.list(std::slice::from_ref(grant), grant::COLUMNS)?;
    }
    session.out.recorded(response.receipt.as_ref());
    Ok(())
}
