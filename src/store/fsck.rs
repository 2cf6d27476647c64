//! Checks a log's database against itself, row by row: what `odh audit fsck` runs. It changes nothing.
//!
//! Everything is read in parts, so that memory does not grow with the log but by 32 bytes for every 256 entries.

use std::collections::BTreeMap;

use sqlx::{any::AnyPoolOptions, any::AnyRow};

use super::{Engine, Tx, failed, log::signed, row::RowExt as _, tile, unavailable};
use crate::{
    audit::{
        Checkpoint, Frontier, Hash, LeafView, Opening, TileId, VerifierKey, check_opening, leaf_hash, subtree_root,
        tile::TILE_WIDTH,
    },
    domain::ParticipantId,
    error::Result,
};

/// Findings that are told; a database with more is broken enough.
const MOST_FINDINGS: usize = 100;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fsck {
    /// How many entries the log has.
    pub size: u64,
    /// Entries below this index are pruned: of them only hashes are there.
    pub min_index: u64,
    /// What is wrong, in words; empty if nothing is.
    pub findings: Vec<String>,
}

impl Fsck {
    fn find(&mut self, finding: impl std::fmt::Display) {
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(finding.to_string());
        }
    }

    fn require(&mut self, holds: bool, finding: impl std::fmt::Display) {
        if !holds {
            self.find(finding);
        }
    }
}

/// Checks the log of `key` in the database at `url`; `progress` is told how many entries have been read.
pub async fn fsck(url: &str, key: &VerifierKey, progress: &mut (dyn FnMut(u64) + Send)) -> Result<Fsck> {
    let engine = Engine::of_url(url)?;
    let pool = engine.connect(AnyPoolOptions::new().max_connections(1), url).await?;
    let mut tx = Tx { conn: pool.acquire().await.map_err(unavailable)?, engine, used: false };
    let mut report = Fsck::default();
    let done = check(&mut tx, key, &mut report, progress).await;
    drop(tx);
    pool.close().await;
    done.map(|()| report)
}

async fn check(
    tx: &mut Tx,
    key: &VerifierKey,
    report: &mut Fsck,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<()> {
    let head = super::audit::head(tx, key.name()).await?;
    (report.size, report.min_index) = (head.frontier.size(), head.min_index);
    let mut frontier = Frontier::default();
    let mut nodes = Vec::new();
    let mut first = 0;
    while first < report.size {
        let hashes = check_tile(tx, key.name(), first / TILE_WIDTH, report).await?;
        for hash in &hashes {
            frontier.append(hash);
        }
        if hashes.len() as u64 == TILE_WIDTH {
            nodes.push(subtree_root(&hashes));
        }
        first += TILE_WIDTH;
        progress(first.min(report.size));
    }
    check_upper_tiles(tx, key.name(), nodes, report).await?;
    report.require(frontier == head.frontier, "the head is not that of the entries");
    match Checkpoint::verify(&head.checkpoint, key) {
        Ok(checkpoint) => {
            let is_head = (checkpoint.size, checkpoint.root) == (frontier.size(), frontier.root());
            report.require(is_head, "the signed checkpoint is not that of the entries");
        }
        Err(error) => report.find(format_args!("the signed checkpoint is refused: {error}")),
    }
    check_counters(tx, report).await
}

/// The leaf hashes of one tile, compared with its entries.
async fn check_tile(tx: &mut Tx, origin: &str, n: u64, report: &mut Fsck) -> Result<Vec<Hash>> {
    let first = n * TILE_WIDTH;
    let end = report.size.min(first + TILE_WIDTH);
    let kept = if end - first == TILE_WIDTH {
        let kept = tile::hashes(tx, origin, TileId { level: 0, n }, report.size).await.ok();
        report.require(kept.is_some(), format_args!("tile {n} of level 0 is missing or malformed"));
        kept
    } else {
        None
    };
    if end <= report.min_index {
        return Ok(kept.unwrap_or_default());
    }
    let hashes = check_entries(tx, origin, first, end, report).await?;
    if let Some(kept) = kept {
        report.require(kept == hashes, format_args!("tile {n} of level 0 is not that of its entries"));
    }
    Ok(hashes)
}

async fn check_entries(tx: &mut Tx, origin: &str, first: u64, end: u64, report: &mut Fsck) -> Result<Vec<Hash>> {
    let numbers = numbers(tx, first, end).await?;
    let openings = openings(tx, first, end).await?;
    let sql = "SELECT * FROM entry WHERE idx >= $1 AND idx < $2 ORDER BY idx";
    let rows = sqlx::query(sql).bind(signed(first)).bind(signed(end)).fetch_all(tx.conn()).await.map_err(failed)?;
    let mut expected = first;
    let mut hashes = Vec::with_capacity(rows.len());
    for row in &rows {
        let index = row.count("idx")?;
        report.require(index == expected, format_args!("entry {expected} is missing"));
        expected = index + 1;
        let leaf: Vec<u8> = row.col("leaf")?;
        let hash = leaf_hash(&leaf);
        let is_kept = row.col::<Vec<u8>>("leaf_hash")? == hash;
        report.require(is_kept, format_args!("entry {index}: the leaf is not that of its hash"));
        // The tree is that of the hashes: a changed leaf is found above, a changed hash by the head.
        hashes.push(row.col::<Vec<u8>>("leaf_hash")?.try_into().unwrap_or(hash));
        match LeafView::parse(&leaf) {
            Ok(view) => {
                let agrees = columns_agree(row, &view, origin, index)?;
                report.require(agrees, format_args!("entry {index}: its columns are not those of its leaf"));
                let counted = numbers.get(&index).map(Vec::as_slice).unwrap_or_default();
                let parties: Vec<&str> = view.parties.iter().map(ParticipantId::as_str).collect();
                report.require(counted == parties, format_args!("entry {index}: it is not counted for its parties"));
            }
            Err(_) => report.find(format_args!("entry {index}: its leaf is malformed")),
        }
        for opening in openings.get(&index).into_iter().flatten() {
            let opens = check_opening(&leaf, opening);
            report.require(opens, format_args!("entry {index}: `{}` opens none of its commitments", opening.field));
        }
    }
    report.require(expected == end, format_args!("entry {expected} is missing"));
    Ok(hashes)
}

fn columns_agree(row: &AnyRow, view: &LeafView, origin: &str, index: u64) -> Result<bool> {
    let text = |name: &'static str| row.col::<Option<String>>(name);
    Ok(view.index == index
        && view.origin == origin
        && row.time("at")? == view.at
        && text("kind")?.as_deref() == Some(view.kind.as_str())
        && text("actor")?.as_deref() == view.actor.as_ref().map(ParticipantId::as_str)
        && text("dataset")? == view.dataset.as_ref().map(ToString::to_string)
        && text("purpose")? == view.purpose.as_ref().map(ToString::to_string))
}

/// The parties that count each entry, in their order.
async fn numbers(tx: &mut Tx, first: u64, end: u64) -> Result<BTreeMap<u64, Vec<String>>> {
    let sql = "SELECT party, idx FROM party_entry WHERE idx >= $1 AND idx < $2 ORDER BY party";
    let rows = sqlx::query(sql).bind(signed(first)).bind(signed(end)).fetch_all(tx.conn()).await.map_err(failed)?;
    let mut numbers: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for row in &rows {
        numbers.entry(row.count("idx")?).or_default().push(row.col("party")?);
    }
    for parties in numbers.values_mut() {
        parties.sort();
    }
    Ok(numbers)
}

async fn openings(tx: &mut Tx, first: u64, end: u64) -> Result<BTreeMap<u64, Vec<Opening>>> {
    let sql = "SELECT idx, field, party, salt, value FROM opening WHERE idx >= $1 AND idx < $2";
    let rows = sqlx::query(sql).bind(signed(first)).bind(signed(end)).fetch_all(tx.conn()).await.map_err(failed)?;
    let mut openings: BTreeMap<u64, Vec<Opening>> = BTreeMap::new();
    for row in &rows {
        openings.entry(row.count("idx")?).or_default().push(super::audit::opening(row)?);
    }
    Ok(openings)
}

/// The tiles above the leaf hashes, computed again from below.
async fn check_upper_tiles(tx: &mut Tx, origin: &str, mut nodes: Vec<Hash>, report: &mut Fsck) -> Result<()> {
    let mut level = 1;
    while !nodes.is_empty() {
        let mut above = Vec::new();
        for (n, chunk) in (0..).zip(nodes.chunks(256)) {
            let kept = tile::hashes(tx, origin, TileId { level, n }, report.size).await;
            let is_kept = kept.is_ok_and(|kept| kept == chunk);
            report.require(is_kept, format_args!("tile {n} of level {level} is not that of those below it"));
            if chunk.len() as u64 == TILE_WIDTH {
                above.push(subtree_root(chunk));
            }
        }
        nodes = above;
        level += 1;
    }
    Ok(())
}

/// Each party's numbers run from 0 without a gap.
async fn check_counters(tx: &mut Tx, report: &mut Fsck) -> Result<()> {
    let sql = "SELECT party, COUNT(*) AS n, MIN(seq) AS low, MAX(seq) AS high FROM party_entry GROUP BY party";
    let rows = sqlx::query(sql).fetch_all(tx.conn()).await.map_err(failed)?;
    for row in &rows {
        let (count, low, high) = (row.count("n")?, row.count("low")?, row.count("high")?);
        let party: String = row.col("party")?;
        report.require(low == 0 && high + 1 == count, format_args!("the counter of `{party}` has a gap"));
    }
    Ok(())
}
