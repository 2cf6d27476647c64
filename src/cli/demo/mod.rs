//! The demo: a hub with four fictional participants, real communes and synthetic data about nobody.
//!
//! A real server in a fresh directory, real TLS, and everything through its gRPC API with one client per persona. Each
//! step of the story checks what it expects, refusals included; the first surprise ends it.

mod hub;
mod manifest;
mod offline;
mod persona;
mod population;
mod queries;
mod stage;
mod story;
pub mod synthetic;

use std::{fs, net::SocketAddr, path::PathBuf, time::Instant};

use tokio::signal::unix::{SignalKind, signal};

pub use population::COMMUNES;

use self::{hub::Hub, stage::Stage};
use super::{
    env::Env,
    failure::{Exit, Failure},
    files,
    output::Out,
};
use crate::domain::{Clock as _, RequestId, SystemClock};

/// The fewest rows with which every group of the story is large enough to be shown.
const FEWEST_ROWS: u32 = 20_000;

/// Plays the whole story on a hub of its own: four participants, three datasets, policies, grants, consents, queries,
/// refusals, revocation and audit.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Where to put everything; must be empty or absent. Without it a temporary directory, removed at the end.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// An empty PostgreSQL database (`postgres://...`) instead of SQLite.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Leave the hub running when the story has ended, until Ctrl-C, and write DIR/demo.json for clients.
    #[arg(long)]
    serve: bool,
    /// Where the hub's gRPC API listens.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Rows of hospital stays; meters have a fifth more.
    #[arg(long, value_name = "N", default_value_t = synthetic::STAYS, value_parser = clap::value_parser!(u32).range(i64::from(FEWEST_ROWS)..=i64::from(synthetic::STAYS)))]
    rows: u32,
}

/// Plays the story. Fails with the first thing that is not as it should be.
pub async fn run(args: Args, out: &mut Out, env: &Env) -> Result<(), Failure> {
    let started = Instant::now();
    let folder = Folder::new(args.dir.as_ref())?;
    let mut stage = Stage::new(out, env.get("NO_COLOR").is_none());
    let mut hub = None;
    let told = tokio::select! {
        told = Box::pin(tell(&args, &folder, &mut stage, &mut hub, started)) => told,
        () = interrupted() => Err(Failure::new(Exit::Failed, "interrupted", "interrompu")),
    };
    let Some(mut hub) = hub else { return told };
    let served = match told {
        Ok(()) if args.serve => tokio::select! {
            failed = hub.ended() => Err(failed),
            () = interrupted() => stage.says("The hub ends: what still runs may finish."),
        },
        told => told,
    };
    served.and(hub.stop().await)
}

async fn tell(
    args: &Args,
    folder: &Folder,
    stage: &mut Stage<'_>,
    running: &mut Option<Hub>,
    started: Instant,
) -> Result<(), Failure> {
    stage.title("Occitanie Data hub: a working exchange, end to end")?;
    stage.says(&format!("Everything happens in {}. Nobody in it exists; the communes do.", folder.path.display()))?;
    let hub = running.insert(Hub::start(args, &folder.path).await?);
    let told = Box::pin(story::play(stage, hub, args.rows)).await?;
    let clients = if args.serve { Some(Box::pin(manifest::write(stage, hub, &told)).await?) } else { None };
    let (checks, refusals, took) = (stage.checks(), stage.refusals(), started.elapsed().as_secs_f64());
    stage.end(&format!("{checks} checks, {refusals} of them refusals, in {took:.1} s."))?;
    let Some(clients) = clients else { return Ok(()) };
    stage.title("The hub goes on until Ctrl-C")?;
    stage.says(&format!("gRPC     {}", hub.urls.grpc))?;
    stage.says(&format!("HTTPS    {}", hub.urls.https))?;
    stage.says(&format!("health   {}/health/ready", hub.urls.ops))?;
    stage.says(&format!("clients  {}", clients.display()))
}

/// Until the user or the system wants the program to end.
async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// The demo's directory; a temporary one goes away with this.
struct Folder {
    path: PathBuf,
    temporary: bool,
}

impl Folder {
    fn new(wanted: Option<&PathBuf>) -> Result<Self, Failure> {
        let path = match wanted {
            Some(dir) => std::path::absolute(dir).map_err(|e| Failure::file(dir, &e))?,
            None => std::env::temp_dir().join(format!("odh-demo-{}", RequestId::generate(SystemClock.now()))),
        };
        files::private_folder(&path)?;
        let mut inside = fs::read_dir(&path).map_err(|e| Failure::file(&path, &e))?;
        if inside.next().is_some() {
            let shown = path.display();
            return Err(Failure::usage(
                format!("`{shown}` is not empty: the demo makes a hub of its own in a fresh directory"),
                format!("`{shown}` n'est pas vide : la démonstration crée son propre hub dans un dossier neuf"),
            ));
        }
        Ok(Self { path, temporary: wanted.is_none() })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary {
            // Nothing is lost if a part of it stays.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_something_in_it_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("mine"), "precious").unwrap();
        let failure = Folder::new(Some(&dir.path().to_owned())).err().unwrap();
        assert!(failure.to_string().contains("is not empty"), "{failure}");
        assert_eq!(fs::read_to_string(dir.path().join("mine")).unwrap(), "precious");
    }

    #[test]
    fn a_temporary_directory_is_removed_and_a_chosen_one_stays() {
        let temporary = Folder::new(None).unwrap();
        let path = temporary.path.clone();
        assert!(path.is_dir());
        drop(temporary);
        assert!(!path.exists());
        let dir = tempfile::tempdir().unwrap();
        let chosen = dir.path().join("a/b");
        drop(Folder::new(Some(&chosen)).unwrap());
        assert!(chosen.is_dir());
    }
}
