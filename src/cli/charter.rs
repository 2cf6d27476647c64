//! `odh charter`: the trust framework that each participant signs.

use clap::{Args as ClapArgs, Subcommand};

use super::{Session, client::Client, failure::Failure, names, output::Format, participant};
use crate::{domain::Digest, grpc::pb};

/// The charter that each participant signs.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read the charter in force, or another version.
    Show {
        /// The version.
        version: Option<String>,
    },
    /// Sign the charter in force for your participant. For a participant-admin.
    Sign {
        /// Sign only if the charter has this digest: that of the text you have read.
        #[arg(long, value_name = "sha256:HEX")]
        digest: Option<String>,
    },
}

/// Runs `odh charter`.
pub async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    let client = session.client().await?;
    match args.command {
        Command::Show { version } => {
            let name = version.map(|version| names::charter(&version)).transpose()?.unwrap_or_default();
            let charter = get(&client, name).await?;
            if session.out.format != Format::Table {
                return session.out.show(&charter);
            }
            session.out.line(charter.text.trim_end())?;
            let (version, digest) = (charter.version, charter.digest);
            session
                .out
                .say(format!("version {version}; digest {digest}"), format!("version {version} ; empreinte {digest}"));
            Ok(())
        }
        Command::Sign { digest } => {
            let charter = get(&client, String::new()).await?;
            let digest = digest.unwrap_or(charter.digest);
            let signature = client.sign("charter.sign", &digest).await?;
            let request = pb::SignCharterRequest { digest, signature, request_id: session.request_id.clone() };
            let response = client.participants().sign_charter(request).await?.into_inner();
            let columns = participant::COLUMNS;
            session.out.changed(&response, response.participant.as_ref(), columns, response.receipt.as_ref())
        }
    }
}

/// A version of the charter whose digest is that of its text: what is signed is what can be read.
async fn get(client: &Client, name: String) -> Result<pb::Charter, Failure> {
    let response = client.participants().get_charter(pb::GetCharterRequest { name }).await?.into_inner();
    let charter = response.charter.ok_or_else(|| Failure::protocol("it lacks the charter"))?;
    if Digest::of(charter.text.as_bytes()).to_string() == charter.digest {
        return Ok(charter);
    }
    Err(Failure::unverified(
        "the digest of the charter is not that of its text",
        "l'empreinte de la charte n'est pas celle de son texte",
    ))
}
