//! The rows of the log's hash tiles: written as the log grows, read for proofs, right edge and start alike.
//!
//! A full tile of leaf hashes is written once, when its last entry is appended; the tiles above gain one hash for each
//! tile that becomes full below them. So an append costs the same at ten thousand entries and at ten million. The leaf
//! hashes of the last, partial tile are those of the entries themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use sqlx::AssertSqlSafe;

use super::{Tx, failed, log::signed, row::RowExt as _};
use crate::{
    audit::{
        Hash, HashTiles, TileId, subtree_root,
        tile::{TILE_WIDTH, nodes, tile_bytes, tile_hashes, tiles_for},
    },
    error::{Error, Result},
};

/// Tiles in one statement; a proof needs a handful.
const TOGETHER: usize = 16;

/// Adds the tiles that become full or grow when the log has `added` leaf hashes after the first `old_size`.
pub(super) async fn grow(tx: &mut Tx, origin: &str, old_size: u64, added: &[Hash]) -> Result<()> {
    let first = old_size - old_size % TILE_WIDTH;
    if old_size + added.len() as u64 - first < TILE_WIDTH {
        return Ok(());
    }
    let mut hashes = entry_hashes(tx, first..old_size).await?;
    hashes.extend(added);
    let mut up = Vec::new();
    for (n, full) in (first / TILE_WIDTH..).zip(hashes.as_chunks::<256>().0) {
        put(tx, origin, TileId { level: 0, n }, full).await?;
        up.push(subtree_root(full));
    }
    let (mut level, mut start) = (1, first / TILE_WIDTH);
    while !up.is_empty() {
        up = grow_level(tx, origin, level, start, &up).await?;
        start /= TILE_WIDTH;
        level += 1;
    }
    Ok(())
}

/// Adds nodes to a level from number `start` on; gives the roots of the tiles that became full.
async fn grow_level(tx: &mut Tx, origin: &str, level: u8, start: u64, nodes: &[Hash]) -> Result<Vec<Hash>> {
    let (mut n, within) = (start / TILE_WIDTH, start % TILE_WIDTH);
    let mut hashes = if within == 0 { Vec::new() } else { row(tx, origin, TileId { level, n }).await? };
    if hashes.len() as u64 != within {
        return Err(Error::internal("a tile of the log does not end where its next hash belongs"));
    }
    let mut up = Vec::new();
    for node in nodes {
        hashes.push(*node);
        if hashes.len() as u64 == TILE_WIDTH {
            put(tx, origin, TileId { level, n }, &hashes).await?;
            up.push(subtree_root(&hashes));
            hashes.clear();
            n += 1;
        }
    }
    if !hashes.is_empty() {
        put(tx, origin, TileId { level, n }, &hashes).await?;
    }
    Ok(up)
}

/// Writes the tiles of a log that was kept without them.
pub(super) async fn catch_up(tx: &mut Tx, origin: &str, size: u64) -> Result<()> {
    let last: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(n), -1) FROM tile WHERE origin = $1 AND level = 0")
        .bind(origin)
        .fetch_one(tx.conn())
        .await
        .map_err(failed)?;
    let mut done = u64::try_from(last + 1).unwrap_or(0) * TILE_WIDTH;
    while size - done >= TILE_WIDTH {
        let next = size.min(done + TILE_WIDTH * TILE_WIDTH);
        let next = next - next % TILE_WIDTH;
        let hashes = entry_hashes(tx, done..next).await?;
        grow(tx, origin, done, &hashes).await?;
        done = next;
    }
    Ok(())
}

/// The tiles from which the roots over `ranges` can be computed, in a log of `size` entries.
pub(super) async fn for_ranges(tx: &mut Tx, origin: &str, ranges: &[Range<u64>], size: u64) -> Result<HashTiles> {
    fetch(tx, origin, tiles_for(ranges), size).await
}

async fn fetch(tx: &mut Tx, origin: &str, wanted: BTreeSet<TileId>, size: u64) -> Result<HashTiles> {
    let mut tiles = HashTiles::default();
    let mut stored = Vec::new();
    for id in wanted {
        let width = id.width(size);
        if width == TILE_WIDTH || (width > 0 && id.level > 0) {
            stored.push(id);
        } else {
            tiles.insert(id, hashes(tx, origin, id, size).await?);
        }
    }
    for part in stored.chunks(TOGETHER) {
        for (id, hashes) in rows(tx, origin, part).await? {
            tiles.insert(id, hashes);
        }
    }
    Ok(tiles)
}

/// Reads several tiles at once: to go to the database and back takes longer than to find one.
async fn rows(tx: &mut Tx, origin: &str, ids: &[TileId]) -> Result<Vec<(TileId, Vec<Hash>)>> {
    let one = |at: usize| {
        let (level, n) = (2 * at + 2, 2 * at + 3);
        format!("SELECT level, n, hashes FROM tile WHERE origin = $1 AND level = ${level} AND n = ${n}")
    };
    let sql = (0..ids.len()).map(one).collect::<Vec<_>>().join(" UNION ALL ");
    let mut query = sqlx::query(AssertSqlSafe(sql)).bind(origin);
    for id in ids {
        query = query.bind(i64::from(id.level)).bind(signed(id.n));
    }
    let found = query.fetch_all(tx.conn()).await.map_err(failed)?;
    let mut found: BTreeMap<(u64, u64), Vec<u8>> = found
        .iter()
        .map(|row| Ok(((row.count("level")?, row.count("n")?), row.col("hashes")?)))
        .collect::<Result<_>>()?;
    ids.iter()
        .map(|id| {
            let bytes = found.remove(&(u64::from(id.level), id.n)).ok_or_else(|| missing(*id))?;
            Ok((*id, tile_hashes(&bytes)?))
        })
        .collect()
}

fn missing(id: TileId) -> Error {
    Error::internal(format_args!("tile {} of level {} is missing", id.n, id.level))
}

/// A tile as it is in a log of `size` entries, or wider if the log has grown since; empty if it has none of it.
pub(super) async fn hashes(tx: &mut Tx, origin: &str, id: TileId, size: u64) -> Result<Vec<Hash>> {
    let width = id.width(size);
    if width == 0 {
        return Ok(Vec::new());
    }
    if id.level == 0 && width < TILE_WIDTH {
        let first = id.n * TILE_WIDTH;
        let found = entry_hashes(tx, first..first + width).await?;
        if !found.is_empty() {
            return Ok(found);
        }
        // Its entries are pruned: then it has become full in the meantime.
    }
    row(tx, origin, id).await
}

/// The root of the first `size` entries, from tiles.
pub(super) async fn root(tx: &mut Tx, origin: &str, size: u64) -> Result<Hash> {
    let whole = 0..size;
    if size == 0 {
        return Ok(subtree_root(&[]));
    }
    for_ranges(tx, origin, std::slice::from_ref(&whole), size).await?.root(&whole)
}

/// How many full tiles of leaf hashes a log of `size` entries has.
pub(super) fn full_tiles(size: u64) -> u64 {
    nodes(1, size)
}

async fn row(tx: &mut Tx, origin: &str, id: TileId) -> Result<Vec<Hash>> {
    let row = sqlx::query("SELECT hashes FROM tile WHERE origin = $1 AND level = $2 AND n = $3")
        .bind(origin)
        .bind(i64::from(id.level))
        .bind(signed(id.n))
        .fetch_optional(tx.conn())
        .await
        .map_err(failed)?
        .ok_or_else(|| missing(id))?;
    tile_hashes(&row.col::<Vec<u8>>("hashes")?)
}

async fn put(tx: &mut Tx, origin: &str, id: TileId, hashes: &[Hash]) -> Result<()> {
    let sql = "INSERT INTO tile (origin, level, n, hashes) VALUES ($1, $2, $3, $4)
               ON CONFLICT (origin, level, n) DO UPDATE SET hashes = excluded.hashes";
    sqlx::query(sql)
        .bind(origin)
        .bind(i64::from(id.level))
        .bind(signed(id.n))
        .bind(tile_bytes(hashes))
        .execute(tx.conn())
        .await
        .map_err(failed)?;
    Ok(())
}

/// The leaf hashes of entries that are not pruned.
async fn entry_hashes(tx: &mut Tx, range: Range<u64>) -> Result<Vec<Hash>> {
    if range.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query("SELECT leaf_hash FROM entry WHERE idx >= $1 AND idx < $2 ORDER BY idx")
        .bind(signed(range.start))
        .bind(signed(range.end))
        .fetch_all(tx.conn())
        .await
        .map_err(failed)?;
    rows.iter()
        .map(|row| {
            let hash: Vec<u8> = row.col("leaf_hash")?;
            Hash::try_from(hash).map_err(|_| Error::internal("inconsistent row, column leaf_hash"))
        })
        .collect()
}
