//! `odh member`: the people and service accounts of a participant, their certificates and access tokens.

use clap::{Args as ClapArgs, Subcommand};

use super::{
    Session,
    choices::{self, ListArgs, pages},
    client::Client,
    enroll,
    failure::Failure,
    names,
    output::Column,
};
use crate::grpc::pb;

pub(super) const COLUMNS: &[Column] = &[
    Column::new("MEMBER", "/name"),
    Column::new("NAME", "/display_name"),
    Column::new("ROLES", "/roles"),
    Column::new("STATE", "/state"),
];

pub(super) const CERTIFICATES: &[Column] = &[
    Column::new("FINGERPRINT", "/fingerprint"),
    Column::new("MEMBER", "/member"),
    Column::new("EXPIRES", "/expire_time"),
    Column::new("REVOKED", "/revoke_time"),
];

/// The people and service accounts of your participant, their certificates and tokens.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Invite a member: prints the one-time token for `odh enroll`. For a participant-admin.
    Invite {
        /// How colleagues know it.
        #[arg(long)]
        name: String,
        /// What it may do; can be repeated.
        #[arg(long = "role", value_name = "ROLE", required = true, value_parser = choices::role())]
        roles: Vec<pb::Role>,
        /// How long the token can be used, for example 7d.
        #[arg(long, value_parser = choices::duration, value_name = "DURATION")]
        lifetime: Option<prost_types::Duration>,
    },
    /// List the members of your participant.
    List {
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show a member.
    Show {
        /// Its id, a UUID.
        member: String,
    },
    /// Change a member's name or roles. For a participant-admin.
    #[command(group(clap::ArgGroup::new("change").required(true).multiple(true)))]
    Update {
        /// Its id, a UUID.
        member: String,
        /// How colleagues know it from now on.
        #[arg(long, group = "change")]
        name: Option<String>,
        /// What it may do from now on, replacing what it could; can be repeated.
        #[arg(long = "role", value_name = "ROLE", group = "change", value_parser = choices::role())]
        roles: Vec<pb::Role>,
    },
    /// Revoke a member for good, at once. For a participant-admin.
    Revoke {
        /// Its id, a UUID.
        member: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// List certificates: yours, or those of every member for a participant-admin.
    Certificates {
        #[command(flatten)]
        list: ListArgs,
    },
    /// Revoke a certificate for good, at once.
    RevokeCertificate {
        /// Its fingerprint: SHA-256, 64 hexadecimal digits.
        fingerprint: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Get a new key and certificate for the context in use.
    Renew,
    /// Mint an access token, bound to your certificate unless it is for another member.
    Token {
        /// The member that a token without certificate is for. For a participant-admin.
        #[arg(long)]
        member: Option<String>,
        /// How long it can be used, for example 1h.
        #[arg(long, value_parser = choices::duration, value_name = "DURATION")]
        lifetime: Option<prost_types::Duration>,
    },
    /// Show as whom the hub sees you.
    Whoami,
}

/// Runs `odh member`.
pub async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    match args.command {
        Command::Invite { name, roles, lifetime } => invite(name, &roles, lifetime, session).await,
        Command::List { list } => self::list(list.limit, session).await,
        Command::Show { member } => {
            let client = session.client().await?;
            let member = get(&client, &member, session).await?;
            session.out.show(&member)
        }
        Command::Update { member, name, roles } => update(&member, name, &roles, session).await,
        Command::Revoke { member, reason } => {
            let client = session.client().await?;
            let name = full_name(&client, &member, session).await?;
            let request_id = session.request_id.clone();
            let request = pb::RevokeMemberRequest { name, reason, etag: String::new(), request_id };
            let response = client.participants().revoke_member(request).await?.into_inner();
            session.out.changed(&response, response.member.as_ref(), COLUMNS, response.receipt.as_ref())
        }
        Command::Certificates { list } => certificates(list.limit, session).await,
        Command::RevokeCertificate { fingerprint, reason } => {
            let request_id = session.request_id.clone();
            let request = pb::RevokeCertificateRequest { fingerprint, reason, request_id };
            let response = session.client().await?.participants().revoke_certificate(request).await?.into_inner();
            session.out.changed(&response, response.certificate.as_ref(), CERTIFICATES, response.receipt.as_ref())
        }
        Command::Renew => Box::pin(enroll::renew(session)).await,
        Command::Token { member, lifetime } => {
            let client = session.client().await?;
            let member = match member {
                Some(member) => full_name(&client, &member, session).await?,
                None => String::new(),
            };
            let request = pb::CreateAccessTokenRequest { member, lifetime, request_id: session.request_id.clone() };
            let response = client.participants().create_access_token(request).await?.into_inner();
            session.out.issued(&response, "access_token", response.receipt.as_ref())
        }
        Command::Whoami => {
            let response = session.client().await?.participants().who_am_i(pb::WhoAmIRequest {}).await?.into_inner();
            session.out.show(&response)
        }
    }
}

async fn invite(
    display_name: String,
    roles: &[pb::Role],
    enrolment_lifetime: Option<prost_types::Duration>,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let client = session.client().await?;
    let request = pb::CreateMemberRequest {
        parent: names::participant(&session.participant(&client).await?)?,
        display_name,
        roles: roles.iter().map(|role| (*role).into()).collect(),
        enrolment_lifetime,
        request_id: session.request_id.clone(),
    };
    let response = client.participants().create_member(request).await?.into_inner();
    session.out.issued(&response, "enrolment_token", response.receipt.as_ref())
}

async fn list(limit: usize, session: &mut Session<'_>) -> Result<(), Failure> {
    let client = session.client().await?;
    let parent = names::participant(&session.participant(&client).await?)?;
    let (members, more) = pages(limit, |page_size, page_token| {
        let request = pb::ListMembersRequest { parent: parent.clone(), page_size, page_token };
        let mut service = client.participants();
        async move {
            let page = service.list_members(request).await?.into_inner();
            Ok((page.members, page.next_page_token))
        }
    })
    .await?;
    session.out.list(&members, COLUMNS)?;
    session.more(more);
    Ok(())
}

async fn certificates(limit: usize, session: &mut Session<'_>) -> Result<(), Failure> {
    let client = session.client().await?;
    let parent = names::participant(&session.participant(&client).await?)?;
    let (certificates, more) = pages(limit, |page_size, page_token| {
        let request = pb::ListCertificatesRequest { parent: parent.clone(), page_size, page_token };
        let mut service = client.participants();
        async move {
            let page = service.list_certificates(request).await?.into_inner();
            Ok((page.certificates, page.next_page_token))
        }
    })
    .await?;
    session.out.list(&certificates, CERTIFICATES)?;
    session.more(more);
    Ok(())
}

async fn update(
    member: &str,
    display_name: Option<String>,
    roles: &[pb::Role],
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let client = session.client().await?;
    let mut member = get(&client, member, session).await?;
    let mut paths = Vec::new();
    if let Some(display_name) = display_name {
        member.display_name = display_name;
        paths.push("display_name".to_owned());
    }
    if !roles.is_empty() {
        member.roles = roles.iter().map(|role| (*role).into()).collect();
        paths.push("roles".to_owned());
    }
    let request = pb::UpdateMemberRequest {
        etag: member.etag.clone(),
        member: Some(member),
        update_mask: Some(prost_types::FieldMask { paths }),
        request_id: session.request_id.clone(),
    };
    let response = client.participants().update_member(request).await?.into_inner();
    session.out.changed(&response, response.member.as_ref(), COLUMNS, response.receipt.as_ref())
}

async fn get(client: &Client, member: &str, session: &Session<'_>) -> Result<pb::Member, Failure> {
    let name = full_name(client, member, session).await?;
    let response = client.participants().get_member(pb::GetMemberRequest { name }).await?.into_inner();
    response.member.ok_or_else(|| Failure::protocol("it lacks the member"))
}

/// A bare UUID is one of the caller's own participant.
async fn full_name(client: &Client, member: &str, session: &Session<'_>) -> Result<String, Failure> {
    let own = if member.contains('/') { None } else { Some(session.participant(client).await?) };
    names::member(member, own.as_deref())
}
