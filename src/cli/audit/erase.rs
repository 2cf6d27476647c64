//! `odh audit erase`: a person or a subject, of whom the log keeps nothing that could be opened.

use clap::Args as ClapArgs;
use serde_json::json;

use crate::{
    cli::{Session, failure::Failure, names},
    grpc::pb::{self, erase_request::Whom},
};

/// Erase a person or a subject: all that opens their commitments in the log, and their clear values beside it.
#[derive(Debug, ClapArgs)]
#[command(group(clap::ArgGroup::new("whom").required(true)))]
pub(super) struct Args {
    /// A member that is revoked, participants/PARTICIPANT/members/UUID.
    #[arg(long, group = "whom", value_name = "MEMBER")]
    member: Option<String>,
    /// The pseudonym of a subject of --dataset.
    #[arg(long, group = "whom", value_name = "PSEUDONYM", requires = "dataset")]
    subject: Option<String>,
    /// The dataset of the subject, OWNER.DATASET.
    #[arg(long)]
    dataset: Option<String>,
}

/// Runs `odh audit erase`.
pub(super) async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    let whom = match (args.member, args.subject) {
        (Some(member), _) => Whom::Member(member),
        (None, Some(pseudonym)) => {
            let dataset = names::dataset(&args.dataset.unwrap_or_default())?;
            Whom::Subject(pb::ErasedSubject { dataset, pseudonym })
        }
        (None, None) => return Err(Failure::usage("whom?", "qui ?")),
    };
    let client = session.client().await?;
    let request = pb::EraseRequest { whom: Some(whom), request_id: session.request_id.clone() };
    let done = client.audit().erase(request).await?.into_inner();
    session.out.object(&json!({"openings": done.openings, "purged": done.purged}))?;
    session.out.recorded(done.receipt.as_ref());
    if !done.purged {
        session.out.say(
            "readers kept the write-ahead log from being emptied: it is at the next erasure or restart",
            "des lecteurs ont empêché de vider le journal d'écriture : ce sera au prochain effacement ou redémarrage",
        );
    }
    Ok(())
}
