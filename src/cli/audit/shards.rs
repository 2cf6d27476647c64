//! `odh audit shards`: the half-years of the log, and the one that an export is to be of.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use clap::Args as ClapArgs;
use serde_json::{Value as Json, json};

use crate::{
    audit::{Checkpoint, LeafView, Shard, VerifierKey, export::ENTRIES},
    cli::{
        Session,
        client::Client,
        failure::Failure,
        files,
        output::{Column, Format},
    },
    domain::Digest,
    grpc::pb,
};

/// What stands in the leaf of every border.
const BORDER: &str = r#""t":"audit.shard""#;

const COLUMNS: &[Column] = &[
    Column::new("SHARD", "/name"),
    Column::new("FIRST", "/first_index"),
    Column::new("SIZE", "/tree_size"),
    Column::new("ENTRIES", "/entries"),
    Column::new("PRUNED", "/pruned"),
    Column::new("ROOT", "/root_hash"),
];

/// Show the half-years of the log that have ended, each with its final checkpoint, verified.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// Read them from the entries of this export, offline; verified as `odh audit verify` does.
    #[arg(long, value_name = "FOLDER")]
    from: Option<PathBuf>,
    /// The log's key, its text or a file; by default that which the hub names, or that of the export.
    #[arg(long, value_name = "VKEY")]
    key: Option<String>,
    /// Write each final checkpoint to this folder as SHARD.checkpoint, for `odh audit verify --checkpoint`.
    #[arg(long, value_name = "FOLDER")]
    save: Option<PathBuf>,
}

/// Runs `odh audit shards`.
pub(super) async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    let (shards, minimum) = if let Some(folder) = &args.from {
        let key = super::export::key(Some(folder), args.key.as_deref())?;
        super::export::verify(folder, &key, &[], &crate::cli::upload::entries(session.out))?;
        (borders(folder, &key)?, None)
    } else {
        let client = session.client().await?;
        let (shards, minimum) = of_hub(&client, args.key.as_deref()).await?;
        (shards, Some(minimum))
    };
    if let Some(folder) = &args.save {
        files::private_folder(folder)?;
        for (shard, _) in &shards {
            files::write_public(&folder.join(format!("{}.checkpoint", shard.name)), shard.checkpoint.as_bytes())?;
        }
    }
    let rows: Vec<Json> = shards.iter().map(|(shard, signed)| row(shard, signed, minimum)).collect();
    session.out.rows(&rows, COLUMNS)?;
    if rows.is_empty() && session.out.format == Format::Table {
        session.out.say("no half-year of this log has ended yet", "aucun semestre de ce journal n'est encore clos");
    }
    Ok(())
}

/// The half-year of this name that has ended on the hub, verified.
pub(super) async fn named(client: &Client, name: &str) -> Result<Shard, Failure> {
    let (shards, _) = of_hub(client, None).await?;
    let found = shards.into_iter().find(|(shard, _)| shard.name.to_string() == name);
    found.map(|(shard, _)| shard).ok_or_else(|| {
        Failure::usage(
            format!("no half-year `{name}` of this log has ended: see `odh audit shards`"),
            format!("aucun semestre « {name} » de ce journal n'est clos : voir `odh audit shards`"),
        )
    })
}

/// The half-years that the entries of an export say have ended, in order. The export must have been verified.
pub(super) fn borders(folder: &Path, key: &VerifierKey) -> Result<Vec<(Shard, Checkpoint)>, Failure> {
    let path = folder.join(ENTRIES);
    let mut reader = BufReader::new(File::open(&path).map_err(|e| Failure::file(&path, &e))?);
    let (mut found, mut line) = (Vec::new(), String::new());
    while reader.read_line(&mut line).map_err(|e| Failure::file(&path, &e))? > 0 {
        if line.contains(BORDER) {
            // Words of a member can look like a border; its type cannot.
            let cited = LeafView::parse(line.trim_end().as_bytes()).and_then(|leaf| Shard::cited(&leaf, key));
            found.extend(cited.map_err(|e| super::not_genuine(&e))?);
        }
        line.clear();
    }
    Ok(found)
}

async fn of_hub(client: &Client, key: Option<&str>) -> Result<(Vec<(Shard, Checkpoint)>, u64), Failure> {
    let listed = client.audit().list_shards(pb::ListShardsRequest {}).await?.into_inner();
    let key = super::log_key(client, key).await?;
    let read = |shard: pb::Shard| {
        let name = shard.name.parse().map_err(|_| Failure::protocol("a half-year has no name"))?;
        let signed = Checkpoint::verify(&shard.checkpoint, &key).map_err(|e| super::not_genuine(&e))?;
        if signed.size != shard.tree_size {
            return Err(Failure::protocol("the checkpoint of a half-year is of another size"));
        }
        let read = Shard { name, first: shard.first_index, size: shard.tree_size, checkpoint: shard.checkpoint };
        Ok((read, signed))
    };
    Ok((listed.shards.into_iter().map(read).collect::<Result<_, _>>()?, listed.minimum_index))
}

fn row(shard: &Shard, signed: &Checkpoint, minimum: Option<u64>) -> Json {
    let pruned = minimum.map(|minimum| match minimum {
        minimum if minimum >= shard.size => "all",
        minimum if minimum > shard.first => "in part",
        _ => "no",
    });
    json!({
        "name": shard.name.to_string(),
        "first_index": shard.first,
        "tree_size": shard.size,
        "entries": shard.size.saturating_sub(shard.first),
        "pruned": pruned,
        "root_hash": Digest(signed.root).hex(),
        "checkpoint": shard.checkpoint,
    })
}
