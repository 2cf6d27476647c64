//! Faults of disk, database and process, made on purpose, one after the other until there is none left to make.
//!
//! Whatever fails: who was told "done" finds it afterwards (P3), no data left without its record (P1), the log goes on
//! from what was signed (P4), and nobody waited longer than two seconds (P7). `ODH_FAULTS=long` runs the whole loops;
//! without it each takes a few seconds and makes a sample of its faults.

mod database;
mod disk;
mod power;
mod syscalls;
mod tail;
mod told;
mod tracer;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use self::told::Told;
use crate::{
    harness::{Engine, HubProcess, process::Home, sane},
    personas::{Requester, Steward},
    world::{self, World},
};

/// Whether the whole loops run.
fn long() -> bool {
    std::env::var("ODH_FAULTS").is_ok_and(|value| value == "long")
}

/// A hub with a small world that has ended; each round works on a copy of it.
struct Template {
    dir: TempDir,
    home: Home,
    world: World,
}

impl Template {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(Engine::Sqlite, dir.path(), "template").await.unwrap();
        let hub = home.serve().await;
        let world = world::at(&hub.site, &home.operator_token()).await;
        hub.terminate();
        assert!(hub.ended().await.success());
        Self { dir, home, world }
    }

    /// A copy in a folder of its own.
    async fn copy(&self, name: &str) -> Home {
        let to = self.dir.path().join(name);
        copy(self.home.dir(), &to.join("data"));
        Home::new(Engine::Sqlite, &to, name).await.unwrap()
    }

    /// The people of its world at a hub that serves a copy.
    async fn actors(&self, hub: &HubProcess) -> Actors {
        Actors {
            steward: Steward(self.world.steward.at(&hub.site).await),
            requester: Requester(self.world.requester.at(&hub.site).await),
        }
    }

    /// Serves a copy that a fault has gone through, and holds the hub to what people were told.
    async fn holds(&self, home: &Home, told: &Told) {
        let hub = home.serve().await;
        let actors = self.actors(&hub).await;
        for id in &told.datasets {
            actors.steward.get_dataset(id).await.unwrap_or_else(|e| panic!("`{id}` was lost: {e}"));
        }
        let mut after = Told::default();
        actors.act("after_the_fault", &mut after).await;
        assert_eq!(after.refused, 0, "the hub does not work after its restart");
        hub.terminate();
        assert!(hub.ended().await.success());
        sane::check(&home.database_url, home.dir()).await;
        told.holds(&home.database_url, home.dir()).await;
        after.holds(&home.database_url, home.dir()).await;
    }
}

/// Who goes on working while something fails.
struct Actors {
    steward: Steward,
    requester: Requester,
}

impl Actors {
    /// A change, then a query; what they are told goes to `told`.
    async fn act(&self, id: &str, told: &mut Told) {
        told.change(&self.steward, id).await;
        told.query(&self.requester).await;
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

/// The files of a SQLite database: itself and its write-ahead log.
fn files(home: &Home) -> [PathBuf; 2] {
    ["hub.db", "hub.db-wal"].map(|name| home.dir().join(name))
}
