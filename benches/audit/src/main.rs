//! How fast the log's sequencer is, optimised, each figure beside its bar: `cargo run --release -- [--database URL]
//! [--writers N] [--seconds N] [--preload N] [--rounds N] [--dir DIR] [--part NAME]` in this folder. The exit code says
//! whether every bar is met. `odh hammer --direct` measures the sequencer in a whole hub.
//!
//! Parts: `group` (many entries in a commit beside one), `large` (appending to a log of `--preload` entries beside one of
//! ten thousand, in turn), `proofs` and `start` (on the large log). On an empty PostgreSQL database: `group` alone, with
//! one replica and with three. `--dir` keeps the logs, so that another run finds the large one.
#![allow(dead_code, reason = "the hub's own modules, of which this uses a part")]
#![allow(unused_imports, reason = "the hub's own modules, of which this uses a part")]

// What the benches share names the hub's modules as the library does.
extern crate self as odh;

#[path = "../../../src/audit/mod.rs"]
mod audit;
#[path = "../../../src/cli/hammer/direct.rs"]
mod direct;
#[path = "../../../src/cli/hammer/disk.rs"]
mod disk;
#[path = "../../../src/domain/mod.rs"]
mod domain;
#[path = "../../../src/error.rs"]
mod error;
mod parts;
#[path = "../../../src/cli/hammer/stats.rs"]
mod stats;
#[path = "../../../src/store/mod.rs"]
mod store;
#[path = "../../support/mod.rs"]
mod support;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use audit::CheckpointSigner;
use support::Table;

const USAGE: &str = "[--database URL] [--writers N] [--seconds N] [--preload N] [--rounds N] [--dir DIR] [--part NAME]";

type Failed = Box<dyn std::error::Error>;

/// What was asked for.
struct Asked {
    dir: PathBuf,
    writers: u32,
    seconds: u64,
    rounds: u64,
    preload: u64,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failed> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let options: HashMap<&str, &str> =
        words.chunks(2).map(|pair| (pair[0].as_str(), pair.get(1).map_or("", String::as_str))).collect();
    if let Some(unknown) = options.keys().find(|name| !USAGE.contains(&format!("[{name} "))) {
        return Err(format!("{unknown}? {USAGE}").into());
    }
    let number = |name: &str, default: u64| options.get(name).map_or(Ok(default), |text| text.parse());
    let temporary = std::env::temp_dir().join(format!("audit-bench-{}", std::process::id()));
    let asked = Asked {
        dir: options.get("--dir").map_or_else(|| temporary.clone(), PathBuf::from),
        writers: u32::try_from(number("--writers", 64)?)?,
        seconds: number("--seconds", 5)?,
        rounds: number("--rounds", 2)?,
        preload: number("--preload", 1_000_000)?,
    };
    let wanted = |part: &str| options.get("--part").is_none_or(|name| *name == part);
    std::fs::create_dir_all(&asked.dir)?;
    let mut table = Table::new();
    if let Some(url) = options.get("--database") {
        parts::postgres(&asked, url, &mut table).await?;
    } else {
        if wanted("group") {
            parts::group(&asked, &mut table).await?;
        }
        if ["large", "proofs", "start"].into_iter().any(wanted) {
            parts::preload(&asked, &mut table).await?;
        }
        if wanted("start") {
            parts::start(&asked, &mut table).await?;
        }
        if wanted("proofs") {
            parts::proofs(&asked, &mut table).await?;
        }
        if wanted("large") {
            parts::large(&asked, &mut table).await?;
        }
    }
    if asked.dir == temporary {
        std::fs::remove_dir_all(&temporary)?;
    }
    Ok(table.finish("The audit log's sequencer", "the clock on the wall"))
}

impl Asked {
    /// Appending to the log in `name`, or in a database.
    fn plan(&self, name: &str, url: Option<&str>) -> Result<direct::Plan, Failed> {
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir)?;
        Ok(direct::Plan {
            url: url.map_or_else(|| sqlite(&dir), str::to_owned),
            checkpoint_file: dir.join("checkpoint"),
            signer: Arc::new(Signer(Ed25519KeyPair::from_seed_unchecked(&[7; 32]).map_err(|e| e.to_string())?)),
            writers: self.writers,
            duration: Duration::from_secs(self.seconds),
            preload: 0,
        })
    }
}

fn sqlite(dir: &Path) -> String {
    format!("sqlite://{}/hub.db", dir.display())
}

#[derive(Debug)]
struct Signer(Ed25519KeyPair);

impl CheckpointSigner for Signer {
    fn origin(&self) -> &'static str {
        "hammer.occitanie.localhost/audit"
    }

    fn public_key(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().expect("an Ed25519 key has 32 bytes")
    }

    fn sign(&self, message: &[u8]) -> error::Result<[u8; 64]> {
        Ok(self.0.sign(message).as_ref().try_into().expect("an Ed25519 signature has 64 bytes"))
    }
}
