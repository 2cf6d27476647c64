//! `odh participant`: the organisations that take part.

use clap::{Args as ClapArgs, Subcommand};

use super::{
    Session,
    choices::{self, FilterArgs, ListArgs, pages},
    enroll,
    failure::Failure,
    names,
    output::Column,
};
use crate::grpc::pb;

pub(super) const COLUMNS: &[Column] = &[
    Column::new("ID", "/name"),
    Column::new("LEGAL NAME", "/legal_name"),
    Column::new("KIND", "/kind"),
    Column::new("SIREN", "/siren"),
    Column::new("STATE", "/state"),
];

/// The organisations that take part.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Invite an organisation: prints the one-time token that it registers with. For the operator.
    Invite {
        /// How long it can be used, for example 7d.
        #[arg(long, value_parser = choices::duration, value_name = "DURATION")]
        lifetime: Option<prost_types::Duration>,
    },
    /// Register your organisation with its invitation; you become its first participant-admin.
    Register(enroll::RegisterArgs),
    /// Show a participant, your own if none is named.
    Show {
        /// Its id.
        participant: Option<String>,
    },
    /// List participants.
    List {
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Let a participant act that has signed the charter. For the operator, who has checked its legal identity.
    Approve {
        /// Its id.
        participant: String,
        /// An accreditation that you have verified, for example hds; can be repeated.
        #[arg(long = "accreditation", value_name = "NAME")]
        accreditations: Vec<String>,
    },
    /// Stop a participant from acting, at once. For the operator.
    Suspend {
        /// Its id.
        participant: String,
        /// Why; the participant can read it.
        #[arg(long)]
        reason: String,
    },
}

/// Runs `odh participant`.
pub async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    match args.command {
        Command::Invite { lifetime } => {
            let request = pb::CreateInvitationRequest { lifetime, request_id: session.request_id.clone() };
            let response = session.client().await?.participants().create_invitation(request).await?.into_inner();
            session.out.issued(&response, "invitation_token", response.receipt.as_ref())
        }
        Command::Register(args) => Box::pin(enroll::register(args, session)).await,
        Command::Show { participant } => {
            let client = session.client().await?;
            let name = match participant {
                Some(participant) => names::participant(&participant)?,
                None => names::participant(&session.participant(&client).await?)?,
            };
            let response =
                client.participants().get_participant(pb::GetParticipantRequest { name }).await?.into_inner();
            session.out.show(&response.participant.ok_or_else(|| Failure::protocol("it lacks the participant"))?)
        }
        Command::List { filter, list } => {
            let client = session.client().await?;
            let (participants, more) = pages(list.limit, |page_size, page_token| {
                let request = pb::ListParticipantsRequest { page_size, page_token, filter: filter.filter.clone() };
                let mut service = client.participants();
                async move {
                    let page = service.list_participants(request).await?.into_inner();
                    Ok((page.participants, page.next_page_token))
                }
            })
            .await?;
            session.out.list(&participants, COLUMNS)?;
            session.more(more);
            Ok(())
        }
        Command::Approve { participant, accreditations } => {
            let request = pb::ApproveParticipantRequest {
                name: names::participant(&participant)?,
                accreditations,
                etag: String::new(),
                request_id: session.request_id.clone(),
            };
            let response = session.client().await?.participants().approve_participant(request).await?.into_inner();
            session.out.changed(&response, response.participant.as_ref(), COLUMNS, response.receipt.as_ref())
        }
        Command::Suspend { participant, reason } => {
            let request = pb::SuspendParticipantRequest {
                name: names::participant(&participant)?,
                reason,
                etag: String::new(),
                request_id: session.request_id.clone(),
            };
            let response = session.client().await?.participants().suspend_participant(request).await?.into_inner();
            session.out.changed(&response, response.participant.as_ref(), COLUMNS, response.receipt.as_ref())
        }
    }
}
