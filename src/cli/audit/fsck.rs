//! `odh audit fsck`: checks a hub's database, or a folder of tiles or an export, against itself. It changes nothing.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde_json::json;

use crate::{
    audit::{VerifierKey, export::LEAF_HASHES},
    cli::{Session, failure::Failure, upload},
    config::Config,
    store::{Fsck, fsck},
    trust::KeyStore,
};

#[derive(Debug, ClapArgs)]
#[command(group(clap::ArgGroup::new("what").required(true)))]
pub(super) struct Args {
    /// A folder of tiles, as `odh audit mirror` makes one, or an export.
    #[arg(group = "what")]
    folder: Option<PathBuf>,
    /// The configuration file of a hub, whose database is checked; the hub may be running.
    #[arg(long, group = "what", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The log's key, its text or a file; by default that of the export or of the hub's keys.
    #[arg(long, value_name = "VKEY")]
    key: Option<String>,
}

/// Runs `odh audit fsck`.
pub(super) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), Failure> {
    if let Some(config) = &args.config {
        let config = Config::load(Some(config), std::env::vars_os())?;
        let key = match &args.key {
            Some(key) => super::export::key(None, Some(key))?,
            None => VerifierKey::of(KeyStore::open(&config.data_dir.join("keys"))?.log_signer().as_ref())?,
        };
        let bar = upload::entries(session.out);
        let report = fsck(config.database_url().expose(), &key, &mut |count| bar.set_position(count)).await?;
        bar.finish_and_clear();
        return tell(&report, session);
    }
    let folder = args.folder.clone().unwrap_or_default();
    if folder.join(LEAF_HASHES).exists() {
        return super::verify(&folder, args.key.as_deref(), &[], session);
    }
    let key = super::export::key(None, args.key.as_deref()).map_err(|_| {
        Failure::usage("a folder of tiles has no key: give it with --key", "donnez la clé du journal avec --key")
    })?;
    let checkpoint = super::mirror::fsck(&folder, &key, &upload::entries(session.out))?;
    session.out.object(&json!({"consistent": true, "origin": checkpoint.origin, "tree_size": checkpoint.size}))
}

fn tell(report: &Fsck, session: &mut Session<'_>) -> Result<(), Failure> {
    let Fsck { size, min_index, findings } = report;
    session.out.object(&json!({
        "consistent": findings.is_empty(),
        "tree_size": size,
        "pruned_below": min_index,
        "findings": findings,
    }))?;
    match findings.first() {
        None => Ok(()),
        Some(first) => Err(Failure::unverified(
            format!("the log's database contradicts itself: {first}"),
            format!("la base du journal se contredit : {first}"),
        )),
    }
}
