//! `odh grant`: the signed agreements, and their verification by anyone.

mod verify;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::{Args as ClapArgs, Subcommand};
use serde_json::Value as Json;

use super::{
    Session,
    choices::{FilterArgs, ListArgs, pages},
    failure::Failure,
    names,
    output::{Column, Format},
    policy,
};
use crate::grpc::pb;

pub(super) const COLUMNS: &[Column] = &[
    Column::new("GRANT", "/name"),
    Column::new("GRANTEE", "/grantee"),
    Column::new("DATASET", "/dataset"),
    Column::new("ACTION", "/action"),
    Column::new("PURPOSE", "/purpose"),
    Column::new("UNTIL", "/valid_until"),
    Column::new("STATE", "/state"),
];

/// The signed agreements that let a participant use a dataset for a purpose.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the grants that your participant has or has given.
    List {
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show a grant, and what its signed form says.
    Show {
        /// Its id, a UUID.
        grant: String,
        /// Print the signed form alone, for `odh grant verify`.
        #[arg(long)]
        jws: bool,
    },
    /// Print a grant as an ODRL Agreement. Not signed: `odh grant show --jws` is the signed form.
    Export {
        /// Its id, a UUID.
        grant: String,
        /// The form.
        #[arg(long, value_parser = ["odrl"], default_value = "odrl")]
        format: String,
    },
    /// Show what is left of a grant: queries, rate, privacy. For both of its parties.
    Use {
        /// Its id, a UUID.
        grant: String,
    },
    /// End a grant at once. Signed with your key. For a steward of the owner.
    Revoke {
        /// Its id, a UUID.
        grant: String,
        /// Why; the grantee can read it.
        #[arg(long)]
        reason: String,
    },
    /// Verify a grant's signed form with the hub's public keys. Needs no identity and no context.
    Verify(verify::Args),
}

/// Runs `odh grant`.
pub async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    match args.command {
        Command::List { filter, list } => {
            let client = session.client().await?;
            let (grants, more) = pages(list.limit, |page_size, page_token| {
                let request = pb::ListGrantsRequest { page_size, page_token, filter: filter.filter.clone() };
                let mut service = client.access();
                async move {
                    let page = service.list_grants(request).await?.into_inner();
                    Ok((page.grants, page.next_page_token))
                }
            })
            .await?;
            session.out.list(&grants, COLUMNS)?;
            session.more(more);
            Ok(())
        }
        Command::Show { grant, jws } => {
            let request = pb::GetGrantRequest { name: names::grant(&grant)? };
            let response = session.client().await?.access().get_grant(request).await?.into_inner();
            let grant = response.grant.clone().ok_or_else(|| Failure::protocol("it lacks the grant"))?;
            if jws {
                return session.out.line(grant.jws);
            }
            if session.out.format != Format::Table {
                return session.out.show(&pb::GetGrantResponse { grant: Some(grant), ..response });
            }
            session.out.show(&grant)?;
            if !session.out.quiet {
                session.out.line("")?;
                policy::covered(&response.coverage, session.out)?;
                let says = session.out.lang.pick("signed form, decoded:", "forme signée, décodée :").to_owned();
                session.out.line(format_args!("\n{says}"))?;
                for part in decode(&grant.jws)? {
                    session.out.json(&part)?;
                }
            }
            Ok(())
        }
        Command::Export { grant, format: _ } => {
            let request = pb::ExportGrantRequest { name: names::grant(&grant)? };
            let response = session.client().await?.access().export_grant(request).await?.into_inner();
            session.out.line(response.document)
        }
        Command::Use { grant } => {
            let request = pb::GetGrantUseRequest { name: names::grant(&grant)? };
            let response = session.client().await?.privacy().get_grant_use(request).await?.into_inner();
            session.out.show(&response.grant_use.ok_or_else(|| Failure::protocol("it lacks the use"))?)
        }
        Command::Revoke { grant, reason } => {
            let name = names::grant(&grant)?;
            let client = session.client().await?;
            let signature = client.sign("grant.revoke", &name).await?;
            let request_id = session.request_id.clone();
            let request = pb::RevokeGrantRequest { name, reason, signature, etag: String::new(), request_id };
            let response = client.access().revoke_grant(request).await?.into_inner();
            session.out.changed(&response, response.grant.as_ref(), COLUMNS, response.receipt.as_ref())
        }
        Command::Verify(args) => Box::pin(verify::run(args, session)).await,
    }
}

/// Header and payload of a compact JWS, unverified.
fn decode(jws: &str) -> Result<Vec<Json>, Failure> {
    let part = |text: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok();
    let parts: Option<Vec<Json>> = jws.split('.').take(2).map(part).collect();
    parts.filter(|parts| parts.len() == 2).ok_or_else(|| Failure::protocol("the signed form is not a compact JWS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_form_is_decoded_into_header_and_payload() {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let jws = format!("{}.{}.sig", part(r#"{"alg":"ES256"}"#), part(r#"{"sub":"lab"}"#));
        let parts = decode(&jws).unwrap();
        assert_eq!((&parts[0]["alg"], &parts[1]["sub"]), (&"ES256".into(), &"lab".into()));
        for bad in ["", "a", "a.b.c", &part("{}")] {
            assert!(decode(bad).is_err(), "{bad}");
        }
    }
}
