//! Witnesses from outside: they cosign a log that grows, refuse one that contradicts itself, and can be required.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use odh::{
    audit::{Checkpoint, Note, VerifierKey, WitnessKey},
    cli::failure::Exit,
    config::Config,
    grpc::pb,
};
use tonic::Code;

use crate::{
    harness::{Engine, Hub, Site, cli::odh, raw},
    personas::refused,
    world::{self, RESEARCH},
};

/// The folder of a witness and its key.
struct Witness {
    folder: PathBuf,
    key: WitnessKey,
}

impl Witness {
    async fn new(dir: &Path, name: &str) -> Self {
        let folder = dir.join(name);
        let (exit, said) = odh(&["witness", "init", folder.to_str().unwrap(), "--name", name, "-o", "csv"]).await;
        assert_eq!(exit, Exit::Ok, "{said}");
        let key = said.split([',', '\n']).find(|part| part.starts_with(&format!("{name}+"))).unwrap();
        Self { folder, key: key.trim().parse().unwrap() }
    }

    /// One look at the hub's log.
    async fn look(&self, site: &Site) -> (Exit, String) {
        let (_, key) = raw::get_public(site, "/log.vkey").await.unwrap();
        let ca = self.folder.join("hub-ca.crt");
        std::fs::write(&ca, &site.ca_pem).unwrap();
        let (folder, ca) = (self.folder.to_str().unwrap(), ca.to_str().unwrap());
        odh(&["witness", "run", folder, "--hub", &site.https, "--ca", ca, "--key", key.trim(), "--once"]).await
    }
}

async fn log_key(site: &Site) -> VerifierKey {
    raw::get_public(site, "/log.vkey").await.unwrap().1.trim().parse().unwrap()
}

fn witnessed_by(witnesses: &[&Witness], required: usize) -> impl FnOnce(&mut Config) + use<> {
    let keys = witnesses.iter().map(|witness| witness.key.to_string()).collect();
    move |config| {
        config.audit.witnesses = keys;
        config.audit.require_witness = required;
    }
}

/// Who of these has cosigned the checkpoint in `note`.
fn cosigners(note: &str, witnesses: &[&Witness]) -> Vec<bool> {
    let note = Note::parse(note).unwrap();
    witnesses.iter().map(|witness| witness.key.find(&note).unwrap().is_some()).collect()
}

async fn a_log_that_grows_is_cosigned(engine: Engine) {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (Witness::new(dir.path(), "one.example").await, Witness::new(dir.path(), "two.example").await);
    let stranger = Witness::new(dir.path(), "stranger.example").await;
    let Some(mut hub) = Hub::start_with(engine, "cosigned", witnessed_by(&[&one, &two], 0)).await else { return };
    let site = hub.site();
    assert_eq!(raw::get_public(&site, "/checkpoint/witnessed").await.unwrap().0, 404);
    assert_eq!(one.look(&site).await.0, Exit::Ok);
    let world = world::small(&mut hub).await;
    let all = [&one, &two];
    for round in 0..3 {
        world.steward.create_dataset(&format!("d{round}"), pb::AccessLevel::Open, None).await.unwrap();
        assert_eq!(cosigners(&raw::get_public(&site, "/checkpoint").await.unwrap().1, &all), [false, false]);
        let (exit, said) = one.look(&site).await;
        assert_eq!(exit, Exit::Ok, "{said}");
        assert!(said.contains("cosigned"), "{said}");
        assert_eq!(cosigners(&raw::get_public(&site, "/checkpoint").await.unwrap().1, &all), [true, false]);
    }
    assert!(one.look(&site).await.1.contains("unchanged"));
    assert_eq!(two.look(&site).await.0, Exit::Ok);
    let (_, note) = raw::get_public(&site, "/checkpoint").await.unwrap();
    assert_eq!(cosigners(&note, &all), [true, true]);
    let checkpoint = Checkpoint::verify(&note, &log_key(&site).await).unwrap();
    world.steward.create_dataset("later", pb::AccessLevel::Open, None).await.unwrap();
    let (_, witnessed) = raw::get_public(&site, "/checkpoint/witnessed").await.unwrap();
    assert_eq!(witnessed, note, "the last that was cosigned, while the log has grown");
    assert!(Checkpoint::verify(&witnessed, &log_key(&site).await).unwrap() == checkpoint);
    let (exit, said) = stranger.look(&site).await;
    assert_eq!(exit, Exit::Failed, "{said}");
    assert!(said.contains("no cosignature of a known witness"), "{said}");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_grows_is_cosigned_on_sqlite() {
    Box::pin(a_log_that_grows_is_cosigned(Engine::Sqlite)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_grows_is_cosigned_on_postgres() {
    Box::pin(a_log_that_grows_is_cosigned(Engine::Postgres)).await;
}

/// The operator restores an old backup, removes the checkpoint beside the keys and goes on from there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_went_back_or_forked_is_not_cosigned_and_the_evidence_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let witness = Witness::new(dir.path(), "witness.example").await;
    let mut hub = Hub::start_with(Engine::Sqlite, "fork", witnessed_by(&[&witness], 0)).await.unwrap();
    let world = world::small(&mut hub).await;
    hub.end().await;
    let backup = std::fs::read(hub.dir().join("hub.db")).unwrap();
    hub.serve().await.unwrap();
    let steward = crate::personas::Steward(world.steward.at(&hub.site()).await);
    steward.create_dataset("seen_by_the_witness", pb::AccessLevel::Open, None).await.unwrap();
    assert_eq!(witness.look(&hub.site()).await.0, Exit::Ok);
    hub.end().await;

    for file in ["hub.db-wal", "hub.db-shm", "keys.checkpoint"] {
        let _ = std::fs::remove_file(hub.dir().join(file));
    }
    std::fs::write(hub.dir().join("hub.db"), backup).unwrap();
    hub.serve().await.unwrap();
    let (exit, said) = witness.look(&hub.site()).await;
    assert_eq!(exit, Exit::Unverified, "{said}");
    assert!(said.contains("went back"), "{said}");
    let steward = crate::personas::Steward(steward.at(&hub.site()).await);
    for name in ["another", "history", "altogether"] {
        steward.create_dataset(name, pb::AccessLevel::Open, None).await.unwrap();
    }
    let (exit, said) = witness.look(&hub.site()).await;
    assert_eq!(exit, Exit::Unverified, "{said}");
    assert!(said.contains("does not continue") || said.contains("two different trees"), "{said}");
    let (_, note) = raw::get_public(&hub.site(), "/checkpoint").await.unwrap();
    assert_eq!(cosigners(&note, &[&witness]), [false]);

    let key = log_key(&hub.site()).await;
    let evidence = std::fs::read_dir(&witness.folder).unwrap().map(|entry| entry.unwrap().path());
    let evidence: Vec<PathBuf> = evidence.filter(|path| path.join("finding").exists()).collect();
    assert_eq!(evidence.len(), 2);
    for folder in evidence {
        for name in ["seen", "shown"] {
            let note = std::fs::read_to_string(folder.join(name)).unwrap();
            Checkpoint::verify(&note, &key).expect("anyone can check that the hub has signed both");
        }
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_required_witness_has_not_seen_is_not_released() {
    let dir = tempfile::tempdir().unwrap();
    let witness = Witness::new(dir.path(), "witness.example").await;
    let mut hub = Hub::start_with(Engine::Sqlite, "required", witnessed_by(&[&witness], 1)).await.unwrap();
    let site = hub.site();
    let watch = tokio::spawn(async move {
        loop {
            let (exit, said) = witness.look(&site).await;
            assert_eq!(exit, Exit::Ok, "{said}");
        }
    });
    let world = world::small(&mut hub).await;
    world.requester.query(RESEARCH, "select count(*) from chu.stays").await.unwrap();
    watch.abort();
    let _ = watch.await;

    let started = Instant::now();
    let queried = world.requester.query(RESEARCH, "select count(*) from chu.stays").await.map(|_| ());
    refused(queried, Code::Unavailable, "AUDIT_UNAVAILABLE");
    let created = world.steward.create_dataset("unseen", pb::AccessLevel::Open, None).await;
    refused(created, Code::Unavailable, "AUDIT_UNAVAILABLE");
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    let decisions = world.auditor.entries("type = \"query.decision\"").await;
    let permits = decisions.iter().filter(|(_, leaf)| leaf["f"]["decision"] == "permit").count();
    assert_eq!(permits, 2, "it was recorded, and counts as a decision");
    // The next start gives the query that was not released its outcome.
    hub.end().await;
    hub.serve().await.unwrap();
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_checkpoint_can_be_waited_for() {
    let mut hub = Hub::start(Engine::Sqlite, "wait").await.unwrap();
    let world = world::small(&mut hub).await;
    let address = hub.site();
    let key = log_key(&address).await;
    let size =
        async |path: &str| Checkpoint::verify(&raw::get_public(&address, path).await.unwrap().1, &key).unwrap().size;
    let now = size("/checkpoint").await;
    let started = Instant::now();
    let path = format!("/checkpoint?after={now}");
    let (next, ()) = tokio::join!(size(&path), async {
        world.steward.create_dataset("next", pb::AccessLevel::Open, None).await.unwrap();
    });
    assert!(next > now && started.elapsed() < Duration::from_millis(1_900), "{next} {:?}", started.elapsed());
    for bad in ["/checkpoint?after=x", "/checkpoint?after=1&x=2", "/checkpoint?"] {
        assert_eq!(raw::get_public(&address, bad).await.unwrap().0, 400, "{bad}");
    }
    hub.stop().await;
}
