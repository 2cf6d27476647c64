//! `odh audit`: reading the log, and verifying it without trusting the operator.

mod anchor;
mod convert;
mod diff;
mod erase;
mod export;
mod fsck;
mod mirror;
mod ocsf;
mod offline;
mod report;
mod shards;
mod tail;

use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Subcommand};
use serde_json::{Value as Json, json};

use super::{
    Session,
    choices::{FilterArgs, ListArgs, pages},
    client::Client,
    failure::Failure,
    names,
    output::{Column, Format},
    upload,
};
use crate::{
    audit::{Checkpoint, Hash, TlogProof, VerifierKey, leaf_hash},
    domain::{Digest, Timestamp},
    grpc::pb,
};

pub use export::Exported;

const COLUMNS: &[Column] = &[
    Column::new("INDEX", "/index"),
    Column::new("TIME", "/entry/ts"),
    Column::new("TYPE", "/entry/t"),
    Column::new("ACTOR", "/entry/actor"),
    Column::new("DATASET", "/entry/ds"),
    Column::new("PURPOSE", "/entry/purpose"),
    Column::new("FACTS", "/entry/f"),
];

/// The audit log: what happened, and proof that it is what happened.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the entries that concern your participant; an auditor sees all.
    List {
        /// Only of this type, for example query.decision, or query for all that begin so.
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// Only what this participant did.
        #[arg(long)]
        actor: Option<String>,
        /// Only what concerns this participant.
        #[arg(long)]
        participant: Option<String>,
        /// Only about this dataset, OWNER.DATASET.
        #[arg(long)]
        dataset: Option<String>,
        /// Only from this time on, for example 2026-01-31 or 2026-01-31T12:00:00Z.
        #[arg(long, value_name = "TIME")]
        since: Option<Timestamp>,
        /// Only before this time.
        #[arg(long, value_name = "TIME")]
        until: Option<Timestamp>,
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Export the entries that you may read, with all it takes to verify them offline.
    Export {
        /// The folder to write.
        folder: PathBuf,
        /// Leave out entries before this index, which you have already.
        #[arg(long, default_value_t = 0, value_name = "INDEX")]
        first_index: u64,
        /// Only this half-year, which has ended, for example 2026h1: its entries, up to its final checkpoint.
        #[arg(long, value_name = "SHARD", conflicts_with = "first_index")]
        shard: Option<String>,
        /// Write the entries in this form, too; can be repeated.
        #[arg(long = "also", value_enum, value_name = "FORM")]
        also: Vec<convert::Form>,
    },
    /// Show entries as they come, one leaf a line, until Ctrl-C.
    Tail(tail::Args),
    /// Verify an export, or a proof. Needs no identity, no context and no network.
    Verify {
        /// The folder of the export; or with --leaf the file of a proof (C2SP tlog-proof).
        folder: PathBuf,
        /// File with the leaf that a proof is of.
        #[arg(long, value_name = "FILE", requires = "key")]
        leaf: Option<PathBuf>,
        /// The log's key, its text or a file, from a source that you trust; by default that in the export.
        #[arg(long, value_name = "VKEY")]
        key: Option<String>,
        /// File of a checkpoint that you hold, which must be of this log's past; can be repeated.
        #[arg(long = "checkpoint", value_name = "FILE")]
        held: Vec<PathBuf>,
    },
    Report(report::Args),
    /// Print a proof that an entry is in the log (C2SP tlog-proof), verified.
    Prove {
        /// The entry's index.
        index: u64,
        /// Make the proof from this export, offline.
        #[arg(long, value_name = "FOLDER")]
        from: Option<PathBuf>,
        /// The log's key, its text or a file; by default that which the hub names, or that of the export.
        #[arg(long, value_name = "VKEY")]
        key: Option<String>,
    },
    /// Check a database, a folder of tiles or an export against itself. Changes nothing.
    Fsck(fsck::Args),
    /// Compare two exports or checkpoints of a log, and name the first entry where they differ. Offline.
    Diff(diff::Args),
    /// Keep the log's public tiles in a folder, up to date and checked. Needs no identity.
    Mirror(mirror::Args),
    Anchor(anchor::Args),
    Erase(erase::Args),
    Shards(shards::Args),
    /// Print the latest checkpoint, verified. Keep it: it shows any later change of what it covers.
    Checkpoint {
        /// The log's key, its text or a file; by default that which the hub names.
        #[arg(long, value_name = "VKEY")]
        key: Option<String>,
    },
}

/// Runs `odh audit`.
pub async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    match args.command {
        Command::List { kind, actor, participant, dataset, since, until, filter, list } => {
            let participant_id = |id: Option<String>| id.map(|id| names::participant(&id)).transpose();
            let dataset = dataset.map(|dataset| names::dataset(&dataset)).transpose()?;
            let terms = [
                text_term("type", "=", kind),
                text_term("actor", "=", participant_id(actor)?),
                text_term("participant", "=", participant_id(participant)?),
                text_term("dataset", "=", dataset),
                text_term("time", ">=", since),
                text_term("time", "<", until),
                Some(filter.filter).filter(|filter| !filter.is_empty()),
            ];
            let filter = terms.into_iter().flatten().collect::<Vec<_>>().join(" AND ");
            self::list(&filter, list.limit, session).await
        }
        Command::Export { folder, first_index, shard, also } => {
            let what = match shard {
                Some(name) => {
                    let shard = shards::named(&session.client().await?, &name).await?;
                    pb::ExportEntriesRequest { first_index: shard.first, tree_size: shard.size }
                }
                None => pb::ExportEntriesRequest { first_index, tree_size: 0 },
            };
            self::export(&folder, what, &also, session).await
        }
        Command::Tail(args) => Box::pin(tail::run(args, session)).await,
        Command::Verify { folder, leaf: Some(leaf), key, .. } => {
            offline::verify_proof(&folder, &leaf, &export::key(None, key.as_deref())?, session)
        }
        Command::Verify { folder, leaf: None, key, held } => verify(&folder, key.as_deref(), &held, session),
        Command::Prove { index, from: Some(folder), key } => {
            let (proof, _) = offline::prove(&folder, index, &export::key(Some(&folder), key.as_deref())?)?;
            session.out.bytes(proof.to_string().as_bytes())
        }
        Command::Prove { index, from: None, key } => prove(index, key.as_deref(), session).await,
        Command::Fsck(args) => Box::pin(fsck::run(&args, session)).await,
        Command::Diff(args) => diff::run(&args, session),
        Command::Mirror(args) => Box::pin(mirror::run(&args, session)).await,
        Command::Anchor(args) => Box::pin(anchor::run(args, session)).await,
        Command::Erase(args) => Box::pin(erase::run(args, session)).await,
        Command::Shards(args) => Box::pin(shards::run(args, session)).await,
        Command::Report(args) => report::run(&args, session),
        Command::Checkpoint { key } => {
            let client = session.client().await?;
            let response = client.audit().get_checkpoint(pb::GetCheckpointRequest {}).await?.into_inner();
            let key = log_key(&client, key.as_deref()).await?;
            let checkpoint = Checkpoint::verify(&response.checkpoint, &key).map_err(|e| not_genuine(&e))?;
            match session.out.format {
                Format::Table => session.out.bytes(response.checkpoint.as_bytes())?,
                _ => session.out.show(&response)?,
            }
            let size = checkpoint.size;
            session.out.say(format!("covers {size} entries"), format!("couvre {size} entrées"));
            Ok(())
        }
    }
}

async fn list(filter: &str, limit: usize, session: &mut Session<'_>) -> Result<(), Failure> {
    let client = session.client().await?;
    let (entries, more) = pages(limit, |page_size, page_token| {
        let request = pb::ListEntriesRequest { page_size, page_token, filter: filter.to_owned() };
        let mut service = client.audit();
        async move {
            let page = service.list_entries(request).await?.into_inner();
            Ok((page.entries, page.next_page_token))
        }
    })
    .await?;
    let rows = entries.iter().map(readable).collect::<Result<Vec<_>, _>>()?;
    session.out.rows(&rows, COLUMNS)?;
    session.more(more);
    Ok(())
}

async fn export(
    folder: &Path,
    what: pb::ExportEntriesRequest,
    also: &[convert::Form],
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let client = session.client().await?;
    let progress = upload::entries(session.out);
    let exported = client.export_as(folder, what, &progress).await?;
    // What has just been written is read again: an export that does not verify is of no use to anyone.
    export::verify(folder, &export::key(Some(folder), None)?, &[], &upload::entries(session.out))?;
    export::complete(folder, &upload::entries(session.out))?;
    for form in also {
        convert::write(folder, *form)?;
    }
    let Exported { tree_size, entries, receipt } = exported;
    let shown = folder.display().to_string();
    session.out.object(&json!({"folder": shown, "entries": entries, "tree_size": tree_size}))?;
    session.out.recorded(receipt.as_ref());
    session.out.say(format!("next: odh audit verify {shown}"), format!("ensuite : odh audit verify {shown}"));
    Ok(())
}

fn verify(folder: &Path, key: Option<&str>, held: &[PathBuf], session: &mut Session<'_>) -> Result<(), Failure> {
    let own_key = key.is_none();
    let key = export::key(Some(folder), key)?;
    let verified = export::verify(folder, &key, held, &upload::entries(session.out))?;
    let complete = export::complete(folder, &upload::entries(session.out))?;
    let checkpoint = &verified.checkpoint;
    session.out.object(&json!({
        "verified": true,
        "origin": checkpoint.origin,
        "tree_size": checkpoint.size,
        "root_hash": Digest(checkpoint.root).hex(),
        "entries": verified.entries,
        "first_missing": verified.first_missing,
        "complete_for": complete.as_ref().map(|complete| complete.party.as_str()),
        "first_number": complete.as_ref().map(|complete| complete.first),
        "up_to_entry": complete.as_ref().map(|complete| complete.last_index),
    }))?;
    if complete.as_ref().is_some_and(|complete| !complete.ends_with_export) {
        session.out.say(
            "the last entry is not the record of an export: something may be missing after it",
            "la dernière entrée n'est pas la trace d'un export : il peut en manquer après elle",
        );
    }
    if own_key {
        session.out.say(
            "the key was taken from the export itself: compare it, or give yours with --key",
            "la clé vient de l'export lui-même : comparez-la, ou donnez la vôtre avec --key",
        );
    }
    Ok(())
}

async fn prove(index: u64, key: Option<&str>, session: &mut Session<'_>) -> Result<(), Failure> {
    let client = session.client().await?;
    let request = pb::GetInclusionProofRequest { index, tree_size: 0 };
    let response = client.audit().get_inclusion_proof(request).await?.into_inner();
    let malformed = || Failure::protocol("a hash of the proof is not 32 bytes");
    let hash = |bytes: &[u8]| Hash::try_from(bytes).map_err(|_| malformed());
    let hashes = response.hashes.iter().map(|bytes| hash(bytes)).collect::<Result<_, _>>()?;
    let proof = TlogProof { index: response.index, hashes, checkpoint: response.checkpoint.clone() };
    let key = log_key(&client, key).await?;
    let covered = proof.verify(&hash(&response.leaf_hash)?, &key).map_err(|e| not_genuine(&e))?;
    if proof.index != index {
        return Err(Failure::protocol("the proof is of another entry"));
    }
    match session.out.format {
        Format::Table => session.out.bytes(proof.to_string().as_bytes())?,
        _ => session.out.show(&response)?,
    }
    let size = covered.size;
    session.out.say(
        format!("verified: entry {index} is in the log of {size} entries"),
        format!("vérifié : l'entrée {index} est dans le journal de {size} entrées"),
    );
    Ok(())
}

/// An entry with its leaf as JSON. The hash must be that of the leaf.
fn readable(entry: &pb::AuditEntry) -> Result<Json, Failure> {
    let index = entry.index;
    if leaf_hash(&entry.leaf) != *entry.leaf_hash {
        return Err(Failure::unverified(
            format!("the hash of entry {index} is not that of its leaf"),
            format!("l'empreinte de l'entrée {index} n'est pas celle de sa feuille"),
        ));
    }
    let leaf: Json = serde_json::from_slice(&entry.leaf).map_err(|_| Failure::protocol("a leaf is not JSON"))?;
    Ok(json!({"index": index, "leaf_hash": Digest(leaf_hash(&entry.leaf)).hex(), "entry": leaf}))
}

/// The key that was given, or the one that the hub names.
async fn log_key(client: &Client, given: Option<&str>) -> Result<VerifierKey, Failure> {
    if given.is_some() {
        return export::key(None, given);
    }
    let hub = client.hub().await?;
    let key = hub.checkpoint_verifier_keys.first().ok_or_else(|| Failure::protocol("it lacks the log's key"))?;
    export::key(None, Some(key))
}

fn not_genuine(error: &crate::error::Error) -> Failure {
    Failure::unverified(error.message_en(), error.message_fr())
}

/// A comparison of a filter, if there is something to compare with.
fn text_term(field: &str, operator: &str, value: Option<impl ToString>) -> Option<String> {
    let escaped = value?.to_string().replace('\\', "\\\\").replace('"', "\\\"");
    Some(format!("{field} {operator} \"{escaped}\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::Exit;

    #[test]
    fn filters_are_quoted() {
        assert_eq!(text_term("type", "=", Some("query")).unwrap(), "type = \"query\"");
        assert_eq!(text_term("type", "=", Some("a\" OR \"")).unwrap(), r#"type = "a\" OR \"""#);
        assert_eq!(text_term("type", "=", None::<String>), None);
    }

    #[test]
    fn an_entry_is_shown_as_json_only_if_its_hash_is_that_of_its_leaf() {
        let leaf = br#"{"i":"4","t":"query.decision"}"#;
        let entry = pb::AuditEntry { index: 4, leaf: leaf.to_vec().into(), leaf_hash: leaf_hash(leaf).to_vec().into() };
        assert_eq!(readable(&entry).unwrap()["entry"]["t"], "query.decision");
        let other = pb::AuditEntry { leaf_hash: vec![0; 32].into(), ..entry };
        assert_eq!(readable(&other).unwrap_err().exit(), Exit::Unverified);
    }
}
