//! `odh witness`: what a member organisation runs to vouch for a hub's log.
//!
//! A witness follows the log over public HTTPS, checks from hash tiles that it continues all that was seen before, makes
//! that durable on its own disk, and only then cosigns. It needs no identity on the hub and sees no entry.

mod follow;
mod state;

use std::{path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Subcommand};
use serde_json::json;

use super::{Session, failure::Failure, files, https::Https};
use crate::{
    audit::{VerifierKey, WitnessKey},
    domain::{Clock as _, SystemClock},
    trust::WitnessSigner,
};
use follow::{Follower, Step};
use state::Home;

/// Witness a hub's log: follow it, check that it never goes back or forks, and cosign it.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the key of a witness and print the public half, which the hub's operator adds to `audit.witnesses`.
    Init {
        /// The folder of the witness, which must not exist.
        folder: PathBuf,
        /// The name of the witness: a domain of yours is best, for example witness.chu.example.
        #[arg(long)]
        name: String,
    },
    /// Follow a log and cosign it, until Ctrl-C or until the log contradicts itself.
    Run {
        /// The folder that `odh witness init` has made.
        folder: PathBuf,
        /// The hub's public address, for example `https://hub.example:7444`.
        #[arg(long, value_name = "URL")]
        hub: String,
        /// File of the hub's authority, PEM.
        #[arg(long, value_name = "FILE")]
        ca: PathBuf,
        /// The log's key, its text or a file, from a source that you trust.
        #[arg(long, value_name = "VKEY")]
        key: String,
        /// Check once and end.
        #[arg(long)]
        once: bool,
        /// The pause after a failure to reach the hub, in seconds.
        #[arg(long, default_value_t = 5, value_name = "SECONDS")]
        pause: u64,
    },
}

/// Runs `odh witness`.
pub async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    match args.command {
        Command::Init { folder, name } => init(folder, &name, session),
        Command::Run { folder, hub, ca, key, once, pause } => {
            let text = if key.contains('+') { key } else { files::read_text(key.as_ref())? };
            let log: VerifierKey = text.trim_end().parse()?;
            let home = Home::open(folder)?;
            let site = Https::new(&hub, &files::read_text(&ca)?)?;
            let follower = Follower::new(site, log, home)?;
            Box::pin(follow(follower, once, Duration::from_secs(pause), session)).await
        }
    }
}

fn init(folder: PathBuf, name: &str, session: &mut Session<'_>) -> Result<(), Failure> {
    let pem = WitnessSigner::new_key_pem()?;
    let key = WitnessKey::of(&WitnessSigner::from_pem(name, &pem)?)?;
    let home = Home::create(folder, name, &pem)?;
    let shown = home.folder().display().to_string();
    session.out.object(&json!({"name": name, "folder": shown, "key": key.to_string()}))?;
    session.out.say(
        "give the key to the hub's operator, then: odh witness run",
        "donnez la clé à l'opérateur du hub, puis : odh witness run",
    );
    Ok(())
}

async fn follow(mut follower: Follower, once: bool, pause: Duration, session: &mut Session<'_>) -> Result<(), Failure> {
    loop {
        match follower.step(SystemClock.now()).await {
            Ok(Step::Cosigned(size)) => {
                session.out.line(json!({"cosigned": size, "origin": follower.origin()}))?;
            }
            Ok(Step::Unchanged(size)) if once => {
                session.out.line(json!({"unchanged": size, "origin": follower.origin()}))?;
            }
            Ok(Step::Unchanged(_)) => {}
            // A log that contradicts itself is the end: nothing that it says later can be believed.
            Err(failure) if once || failure.exit() == super::failure::Exit::Unverified => return Err(failure),
            Err(failure) => {
                session.out.say(failure.message(crate::cli::env::Lang::En), failure.message(crate::cli::env::Lang::Fr));
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    _ = tokio::signal::ctrl_c() => return Ok(()),
                }
                continue;
            }
        }
        if once {
            return Ok(());
        }
    }
}
