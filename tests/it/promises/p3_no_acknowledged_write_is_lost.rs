//! P3: what was acknowledged is there after `kill -9`, as a whole; what was not acknowledged is there as a whole or
//! not at all.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use odh::grpc::pb;
use tonic::Code;

use crate::{
    harness::{Engine, HubProcess, process::Home, sane},
    personas::{Operator, Steward, refused},
};

/// How often it is killed.
const KILLS: usize = 20;
/// Writers at work when it is killed.
const WRITERS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_lose_nothing_on_sqlite() {
    Box::pin(survive(Engine::Sqlite)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_lose_nothing_on_postgres() {
    Box::pin(survive(Engine::Postgres)).await;
}

async fn survive(engine: Engine) {
    let dir = tempfile::tempdir().unwrap();
    let Some(home) = Home::new(engine, dir.path(), "kills").await else { return };
    let mut hub = home.serve().await;
    let operator = Operator::first(&hub.site, &home.operator_token()).await;
    let mut steward = operator.welcome("chu", pb::ParticipantKind::PublicBody).await.steward().await;

    let mut acknowledged: Vec<Written> = Vec::new();
    let mut starts = Vec::new();
    for round in 0..KILLS {
        let (written, unknown) = write_until_killed(&steward, round, hub).await;
        assert!(!written.is_empty(), "round {round}: nothing was written before the kill");
        let started = Instant::now();
        hub = home.serve().await;
        steward = Steward(steward.at(&hub.site).await);
        steward.who_am_i().await.unwrap();
        starts.push(started.elapsed());
        for one in &written {
            let found = steward.get_dataset(&one.id).await.unwrap_or_else(|e| panic!("`{}` was lost: {e}", one.id));
            assert_eq!(found.title, format!("Dataset {} of the suite", one.id));
        }
        for id in &unknown {
            // Nobody was told: it may be there, then it is complete, or not be there at all.
            if let Err(status) = steward.get_dataset(id).await {
                refused::<()>(Err(status), Code::NotFound, "NOT_FOUND_OR_DENIED");
            }
        }
        acknowledged.extend(written);
    }
    hub.terminate();
    assert!(hub.ended().await.success());

    let verified = sane::check(&home.database_url, home.dir()).await;
    let mut db = sane::connect(&home.database_url).await;
    for one in &acknowledged {
        let sql = "SELECT dataset FROM entry WHERE idx = $1 AND kind = 'dataset.created'";
        let about: String = sqlx::query_scalar(sql)
            .bind(i64::try_from(one.index).unwrap())
            .fetch_one(&mut db)
            .await
            .unwrap_or_else(|e| panic!("the entry of `{}` was lost: {e}", one.id));
        assert_eq!(about, format!("chu.{}", one.id));
    }
    starts.sort();
    let median = starts[KILLS / 2];
    println!(
        "{engine:?}: {KILLS} kills, {} acknowledged writes, {} entries, restarts: median {median:?}, slowest {:?}",
        acknowledged.len(),
        verified.entries,
        starts[KILLS - 1]
    );
    assert!(median < Duration::from_secs(2), "a restart takes {median:?}");
}

/// A write that was acknowledged.
pub(crate) struct Written {
    /// Of the dataset that was registered.
    pub(crate) id: String,
    /// Of its entry.
    pub(crate) index: u64,
}

/// Writes from all sides, kills the hub in the middle, and gives what was acknowledged and what is unknown.
pub(crate) async fn write_until_killed(
    steward: &Steward,
    round: usize,
    hub: HubProcess,
) -> (Vec<Written>, Vec<String>) {
    let written = Arc::new(Mutex::new(Vec::new()));
    let dead = Arc::new(AtomicBool::new(false));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (steward, written, dead) = (steward.clone(), Arc::clone(&written), Arc::clone(&dead));
        writers.spawn(async move {
            for number in 0.. {
                let id = format!("d{round}_{writer}_{number}");
                match steward.create_dataset(&id, pb::AccessLevel::Open, None).await {
                    Ok(done) => {
                        let index = done.receipt.unwrap().index;
                        written.lock().unwrap().push(Written { id, index });
                    }
                    Err(status) => {
                        assert!(dead.load(Ordering::SeqCst), "a write failed before the kill: {status:?}");
                        return id;
                    }
                }
            }
            unreachable!("the writers outlive the hub")
        });
    }
    let wanted = WRITERS + 7 * round % 41;
    crate::harness::eventually("the writers are at work", Duration::from_secs(30), || async {
        (written.lock().unwrap().len() >= wanted).then_some(())
    })
    .await;
    dead.store(true, Ordering::SeqCst);
    tokio::task::spawn_blocking(move || hub.kill()).await.unwrap();
    let unknown = writers.join_all().await;
    let written = std::mem::take(&mut *written.lock().unwrap());
    (written, unknown)
}
