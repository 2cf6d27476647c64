//! What bounds every durable append: how often this disk can make a small write durable.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value as Json, json};

use super::stats::{Latencies, rounded};

/// About what one entry adds to a write-ahead log.
const WRITE: usize = 4096;
/// Writes before the file begins anew, so that it stays small.
const ROUND: u64 = 4_096;

/// Appends and syncs, one after the other, for this long.
pub(super) fn measure(dir: &Path, how_long: Duration) -> io::Result<Json> {
    let path = dir.join("disk");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let (started, mut took) = (Instant::now(), Latencies::default());
    for number in 1.. {
        if started.elapsed() >= how_long {
            break;
        }
        if number % ROUND == 0 {
            file.set_len(0)?;
        }
        let begun = Instant::now();
        file.write_all(&[7; WRITE]).and_then(|()| file.sync_data())?;
        took.add(begun.elapsed());
    }
    let per_second = rounded(took.count(), started.elapsed());
    drop(file);
    std::fs::remove_file(&path)?;
    Ok(json!({"fdatasync_per_second": per_second, "fdatasync_ms": took.summary()}))
}
