//! `odh hammer`: how many entries the log takes in a second, how long each takes to be durable, and whether every proof
//! holds while it grows.
//!
//! Works on a hub or sequencer of its own, on this machine, for a bounded time. Beside the figure it measures what
//! bounds it: how often the disk can sync, and what the same entries cost at one commit each.

mod direct;
mod disk;
mod served;
mod stats;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args as ClapArgs;
use serde_json::{Map, Value as Json};

use self::direct::Plan;
use super::{Session, failure::Failure, output::Format};
use crate::{
    domain::{Clock as _, RequestId, SystemClock},
    trust::KeyStore,
};

/// The trust domain of what is measured.
const HUB_ID: &str = "hammer.occitanie.localhost";

/// Load a log of its own on this machine and print how fast it is.
#[derive(Debug, Clone, ClapArgs)]
pub(super) struct Args {
    /// Append to the sequencer itself, without gRPC, beside one commit for each entry.
    #[arg(long)]
    direct: bool,
    /// An empty PostgreSQL database (`postgres://...`) instead of SQLite.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Where to put everything; must be empty or absent. Without it a temporary directory, removed at the end.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Writers at a time.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_024))]
    writers: u32,
    /// Readers who verify every proof against one shared checkpoint; not with --direct.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=64))]
    readers: u32,
    /// How long each part runs.
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Entries that the log has before it is measured; with --direct only.
    #[arg(long, default_value_t = 0, value_name = "N", requires = "direct")]
    preload: u64,
}

impl Args {
    const fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    fn url(&self, dir: &Path) -> String {
        self.database.clone().unwrap_or_else(|| format!("sqlite://{}/hub.db", dir.display()))
    }
}

/// Runs `odh hammer`.
pub(super) async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    let folder = Folder::new(args.dir.as_deref())?;
    let mut measured = Map::new();
    let engine = if args.database.is_some() { "postgresql" } else { "sqlite" };
    measured.insert("engine".to_owned(), engine.into());
    let profile = if cfg!(debug_assertions) { "with debug assertions" } else { "without debug assertions" };
    measured.insert("build".to_owned(), profile.into());
    measured.insert("writers".to_owned(), args.writers.into());
    session.out.say("measuring the disk", "mesure du disque");
    let disk = disk::measure(&folder.path, Duration::from_secs(2)).map_err(|e| Failure::file(&folder.path, &e))?;
    measured.insert("disk".to_owned(), disk);
    if args.direct {
        let keys = KeyStore::init(&folder.path.join("keys"), HUB_ID, &SystemClock)?;
        let plan = Plan {
            url: args.url(&folder.path),
            checkpoint_file: folder.path.join("checkpoint"),
            signer: Arc::clone(keys.log_signer()) as _,
            writers: args.writers,
            duration: args.duration(),
            preload: args.preload,
        };
        measured.extend(Box::pin(plan.run(&mut |en, fr| session.out.say(en, fr))).await?);
    } else {
        Box::pin(served::run(&args, &folder.path, session, &mut measured)).await?;
    }
    let measured = Json::Object(measured);
    if session.out.format == Format::Json { session.out.json(&measured) } else { session.out.object(&measured) }
}

/// Where everything lies; a temporary folder goes away with this.
struct Folder {
    path: PathBuf,
    temporary: bool,
}

impl Folder {
    fn new(given: Option<&Path>) -> Result<Self, Failure> {
        let path = given.map_or_else(
            || std::env::temp_dir().join(format!("odh-hammer-{}", RequestId::generate(SystemClock.now()).uuid())),
            Path::to_owned,
        );
        super::files::private_folder(&path)?;
        if fs::read_dir(&path).map_err(|e| Failure::file(&path, &e))?.next().is_some() {
            let shown = path.display();
            return Err(Failure::usage(format!("`{shown}` is not empty"), format!("`{shown}` n'est pas vide")));
        }
        Ok(Self { path, temporary: given.is_none() })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary {
            // What cannot be removed is left to the system.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
