//! `odh audit mirror`: the log's public tiles in a folder, brought up to date and checked. It needs no identity.

use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use indicatif::ProgressBar;
use serde_json::json;

use crate::{
    audit::{
        Checkpoint, Frontier, HashTiles, TileId, TilePath, VerifierKey, subtree_root,
        tile::{TILE_WIDTH, all_tiles, tile_hashes},
    },
    cli::{Session, failure::Failure, files, https::Https, upload},
    error::Error,
};

/// Name of the checkpoint in a folder of tiles, as in C2SP tlog-tiles.
const CHECKPOINT: &str = "checkpoint";

#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The folder to bring up to date.
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
}

/// Runs `odh audit mirror`.
pub(super) async fn run(args: &Args, session: &mut Session<'_>) -> Result<(), Failure> {
    let key = super::export::key(None, Some(&args.key))?;
    let site = Https::new(&args.hub, &files::read_text(&args.ca)?)?;
    let note = site.get("/checkpoint").await?;
    let text = str::from_utf8(&note).map_err(|_| Failure::protocol("the checkpoint is not text"))?;
    let checkpoint = Checkpoint::verify(text, &key).map_err(|e| not_genuine(&e))?;
    if let Some(held) = held(&args.folder, &key)?
        && held.size > checkpoint.size
    {
        return Err(Failure::unverified(
            format!("the log went back from {} entries to {}", held.size, checkpoint.size),
            format!("le journal est revenu de {} entrées à {}", held.size, checkpoint.size),
        ));
    }
    let bar = upload::entries(session.out);
    let mut fetched = 0_u64;
    for (id, width) in all_tiles(checkpoint.size) {
        let path = TilePath::Hashes { id, width };
        let file = args.folder.join(path.to_string());
        if width == TILE_WIDTH && file.exists() {
            continue;
        }
        let bytes = site.get(&format!("/{path}")).await?;
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(|e| Failure::file(folder, &e))?;
        }
        files::write_public(&file, &bytes)?;
        fetched += 1;
        bar.inc(1);
    }
    bar.finish_and_clear();
    check(&args.folder, &checkpoint, &upload::entries(session.out))?;
    if let Some(held) = held(&args.folder, &key)? {
        continues(&args.folder, &held)?;
    }
    // Last: a checkpoint stands for tiles that are there and lead to it.
    files::write_public(&args.folder.join(CHECKPOINT), &note)?;
    let shown = args.folder.display().to_string();
    session.out.object(&json!({"folder": shown, "tree_size": checkpoint.size, "tiles_fetched": fetched}))
}

/// Checks a folder of tiles against its checkpoint; gives the checkpoint.
pub(super) fn fsck(folder: &Path, key: &VerifierKey, bar: &ProgressBar) -> Result<Checkpoint, Failure> {
    let note = files::read_text(&folder.join(CHECKPOINT))?;
    let checkpoint = Checkpoint::verify(&note, key).map_err(|e| not_genuine(&e))?;
    check(folder, &checkpoint, bar)?;
    Ok(checkpoint)
}

fn held(folder: &Path, key: &VerifierKey) -> Result<Option<Checkpoint>, Failure> {
    let path = folder.join(CHECKPOINT);
    if !path.exists() {
        return Ok(None);
    }
    Checkpoint::verify(&files::read_text(&path)?, key).map(Some).map_err(|e| not_genuine(&e))
}

/// Every tile is that of those below it, and they lead to the checkpoint.
fn check(folder: &Path, checkpoint: &Checkpoint, bar: &ProgressBar) -> Result<(), Failure> {
    let mut frontier = Frontier::default();
    // Roots of full tiles, level by level, still to be found in the tile above.
    let mut below: Vec<Vec<[u8; 32]>> = Vec::new();
    for (id, width) in all_tiles(checkpoint.size) {
        let level = usize::from(id.level);
        let hashes = read(folder, id, width)?;
        if below.len() <= level {
            below.resize(level + 1, Vec::new());
        }
        if level == 0 {
            for hash in &hashes {
                frontier.append(hash);
            }
            bar.set_position(frontier.size());
        } else {
            let first = usize::try_from(id.n * TILE_WIDTH).unwrap_or(usize::MAX);
            let expected = below[level - 1].get(first..first.saturating_add(hashes.len()));
            if expected != Some(&hashes[..]) {
                return Err(bad_tile(id));
            }
        }
        if width == TILE_WIDTH {
            below[level].push(subtree_root(&hashes));
        }
    }
    bar.finish_and_clear();
    if frontier.root() == checkpoint.root {
        return Ok(());
    }
    Err(Failure::unverified(
        "the tiles of level 0 do not lead to the checkpoint's root",
        "les tuiles de niveau 0 ne mènent pas à la racine du point de contrôle",
    ))
}

/// The tiles continue a checkpoint that was held before.
fn continues(folder: &Path, held: &Checkpoint) -> Result<(), Failure> {
    let mut tiles = HashTiles::default();
    if held.size == 0 {
        return Ok(());
    }
    let whole = 0..held.size;
    for id in crate::audit::tile::tiles_for(std::slice::from_ref(&whole)) {
        tiles.insert(id, widest(folder, id)?);
    }
    if tiles.root(&whole)? == held.root {
        return Ok(());
    }
    Err(Failure::unverified(
        format!("the log was rewritten: it does not continue its {} entries of the last time", held.size),
        format!("le journal a été réécrit : il ne continue pas ses {} entrées de la dernière fois", held.size),
    ))
}

/// A tile at the largest width that is in the folder.
fn widest(folder: &Path, id: TileId) -> Result<Vec<[u8; 32]>, Failure> {
    let width = (1..=TILE_WIDTH).rev().find(|width| {
        let path = TilePath::Hashes { id, width: *width };
        folder.join(path.to_string()).exists()
    });
    read(folder, id, width.unwrap_or(TILE_WIDTH))
}

fn read(folder: &Path, id: TileId, width: u64) -> Result<Vec<[u8; 32]>, Failure> {
    let path = folder.join(TilePath::Hashes { id, width }.to_string());
    let bytes = std::fs::read(&path).map_err(|e| Failure::file(&path, &e))?;
    let hashes = tile_hashes(&bytes).map_err(|_| bad_tile(id))?;
    if hashes.len() as u64 == width { Ok(hashes) } else { Err(bad_tile(id)) }
}

fn bad_tile(id: TileId) -> Failure {
    let TileId { level, n } = id;
    Failure::unverified(
        format!("tile {n} of level {level} is not that of the tiles below it"),
        format!("la tuile {n} du niveau {level} n'est pas celle des tuiles du dessous"),
    )
}

fn not_genuine(error: &Error) -> Failure {
    Failure::unverified(error.message_en(), error.message_fr())
}
