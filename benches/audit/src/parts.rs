//! The parts of the bench. What is compared runs in turn, A B B A, so that what else the machine does meets both alike.

use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::{
    Asked, Failed,
    audit::{CheckpointSigner as _, consistency_ranges, inclusion_ranges},
    direct::{self, Plan},
    disk,
    error::Error,
    store::{Store, WriterConfig, audit as log},
    support::{Samples, Table},
};

/// The small log that the large one is compared with.
const SMALL: u64 = 10_000;
/// Proofs of each kind.
const PROOFS: u64 = 5_000;

/// Many entries in a commit beside one, and the disk itself.
pub(crate) async fn group(asked: &Asked, table: &mut Table) -> Result<(), Failed> {
    let (mut each, mut grouped, mut syncs) = (Vec::new(), Vec::new(), Vec::new());
    let plan = asked.plan("group", None)?;
    for round in 0..asked.rounds {
        syncs.push(disk::measure(&asked.dir, Duration::from_secs(2))?);
        for batch in in_turn(round, [1, WriterConfig::default().batch]) {
            let figures = plan.append(batch, 1).await.map_err(said)?;
            if batch == 1 { each.push(figures.json) } else { grouped.push(figures.json) }
        }
    }
    let sync_p99 = median(&syncs, "/fdatasync_ms/p99");
    let syncs = median(&syncs, "/fdatasync_per_second");
    table.note("fdatasync of the disk", &format!("{syncs:.0} a second, p99 {sync_p99:.1} ms"));
    let (rate, one) = (median(&grouped, "/appends_per_second"), median(&each, "/appends_per_second"));
    let note = format!(
        "{:.0} entries a commit, {:.0} ms median",
        median(&grouped, "/entries_per_commit"),
        median(&grouped, "/time_to_durable_ms/median")
    );
    table.at_least("durable appends a second, SQLite", rate, 10_000.0, &note);
    table.at_least("the same over one commit each", rate / one, 20.0, &format!("{one:.0} a second"));
    let p99 = median(&grouped, "/time_to_durable_ms/p99");
    table.number("p99 to durable in ms, bar: 2 fsync p99 + 10", p99, 2.0 * sync_p99 + 10.0, "SQLite");
    Ok(())
}

/// The same on PostgreSQL, with one replica and with three.
pub(crate) async fn postgres(asked: &Asked, url: &str, table: &mut Table) -> Result<(), Failed> {
    let plan = asked.plan("postgres", Some(url))?;
    let batch = WriterConfig::default().batch;
    let mut found = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..asked.rounds {
        for kind in in_turn(round, [0, 1, 2]) {
            let (batch, replicas) = [(1, 1), (batch, 1), (batch, 3)][kind];
            found[kind].push(plan.append(batch, replicas).await.map_err(said)?.json);
        }
    }
    let [single, one, three] = found.map(|runs| median(&runs, "/appends_per_second"));
    table.note("single-row inserts a second, PostgreSQL", &format!("{single:.0}"));
    table.at_least("one replica, over single-row inserts", one / single, 10.0, &format!("{one:.0} a second"));
    table.at_least("three replicas, over single-row inserts", three / single, 10.0, &format!("{three:.0} a second"));
    Ok(())
}

/// Makes both logs as large as they are to be, if they are not.
pub(crate) async fn preload(asked: &Asked, table: &mut Table) -> Result<(), Failed> {
    for (name, wanted) in [("small", SMALL), ("large", asked.preload)] {
        let opened = asked.plan(name, None)?.open(WriterConfig::default().batch).await.map_err(said)?;
        let missing = wanted.saturating_sub(size(&opened.store, asked, name).await?);
        let started = Instant::now();
        direct::preload(&opened.store, missing).await.map_err(said)?;
        opened.store.close().await;
        if missing > 1_000 {
            let rate = missing as f64 / started.elapsed().as_secs_f64();
            table.note(&format!("appends in jobs of 64 entries, to a log of {wanted}"), &format!("{rate:.0} a second"));
        }
    }
    Ok(())
}

/// Opening the store of the large log.
pub(crate) async fn start(asked: &Asked, table: &mut Table) -> Result<(), Failed> {
    let plan = asked.plan("large", None)?;
    let started = Instant::now();
    let opened = plan.open(1).await.map_err(said)?;
    let took = started.elapsed();
    opened.store.close().await;
    table.time(&format!("start of the store with {} entries", asked.preload), took, Duration::from_secs(2), "once");
    Ok(())
}

/// Inclusion and consistency proofs at random places of the large log.
pub(crate) async fn proofs(asked: &Asked, table: &mut Table) -> Result<(), Failed> {
    let plan = asked.plan("large", None)?;
    let opened = plan.open(1).await.map_err(said)?;
    let size = size(&opened.store, asked, "large").await?;
    let mut tx = opened.store.read().await.map_err(said)?;
    for (name, consistency) in [("inclusion", false), ("consistency", true)] {
        let mut took = Vec::new();
        for round in 0..PROOFS + PROOFS / 10 {
            let at = round.wrapping_mul(0x9e37_79b9_7f4a_7c15) % size;
            let started = Instant::now();
            let ranges = if consistency { consistency_ranges(at + 1, size) } else { inclusion_ranges(at, size) };
            let ranges = ranges.map_err(said)?;
            let tiles = log::tiles(&mut tx, plan.signer.origin(), &ranges, size).await.map_err(said)?;
            for range in &ranges {
                std::hint::black_box(tiles.root(range).map_err(said)?);
            }
            if round >= PROOFS / 10 {
                took.push(started.elapsed());
            }
        }
        let samples = Samples::sorted(took);
        let path = format!("{name} proof at {size} entries, p99");
        table.time(&path, samples.percentile(99), Duration::from_millis(1), &samples.summary());
    }
    drop(tx);
    opened.store.close().await;
    Ok(())
}

/// Appending to the large log beside the small one.
pub(crate) async fn large(asked: &Asked, table: &mut Table) -> Result<(), Failed> {
    let mut took = [Vec::new(), Vec::new()];
    for round in 0..asked.rounds.max(2) {
        for kind in in_turn(round, [0, 1]) {
            let plan = asked.plan(["small", "large"][kind], None)?;
            took[kind].push(plan.append(WriterConfig::default().batch, 1).await.map_err(said)?.json);
        }
    }
    let [small, large] = took.map(|runs| median(&runs, "/appends_per_second"));
    let note = format!("{large:.0} and {small:.0} a second");
    table.number(&format!("append cost at {} entries over {SMALL}", asked.preload), small / large, 1.1, &note);
    Ok(())
}

async fn size(store: &Store, asked: &Asked, name: &str) -> Result<u64, Failed> {
    let plan: Plan = asked.plan(name, None)?;
    let mut tx = store.read().await.map_err(said)?;
    // A log without a first commit has no head.
    Ok(log::head(&mut tx, plan.signer.origin()).await.map_or(0, |head| head.frontier.size()))
}

/// The order of this round: every other one is the other way round.
fn in_turn<T, const N: usize>(round: u64, mut kinds: [T; N]) -> [T; N] {
    if round % 2 == 1 {
        kinds.reverse();
    }
    kinds
}

/// The median of a figure over several runs; of two the mean.
fn median(runs: &[Json], pointer: &str) -> f64 {
    let mut figures: Vec<f64> = runs.iter().filter_map(|run| run.pointer(pointer)?.as_f64()).collect();
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => figures[n / 2],
        n => f64::midpoint(figures[n / 2 - 1], figures[n / 2]),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "so that it fits `map_err`")]
fn said(error: Error) -> Failed {
    error.message_en().into()
}
