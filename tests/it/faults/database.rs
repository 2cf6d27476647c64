//! PostgreSQL dies or goes at the worst moment, replicas are killed, and two servers meet on one SQLite file.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use odh::{config::SecretUrl, grpc::pb};

use super::{Template, copy, long, told::Told};
use crate::{
    harness::{Engine, Hub, eventually, postgres::Cluster, process::Home, proxy::Link, sane},
    personas::{Operator, Steward},
    promises::p7_waiting_for_the_audit_store_is_bounded::proxied,
    world,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_ends_at_commit_leaves_all_of_it_or_nothing() {
    let Some(url) = Engine::Postgres.database("at_commit").await else { return };
    let (proxy, through) = proxied(&url).await;
    let change = |config: &mut odh::config::Config| config.database.url = SecretUrl::new(&through);
    let mut hub = Hub::start_with(Engine::Sqlite, "at_commit", change).await.unwrap();
    let world = world::small(&mut hub).await;
    let mut told = Told::default();
    for (number, heard) in [false, true, false, true, true].into_iter().enumerate() {
        let id = format!("at_commit_{number}");
        proxy.set(Link::CutAtCommit { heard });
        let refused = told.refused;
        told.change(&world.steward, &id).await;
        assert_eq!(told.refused, refused + 1, "nobody can know whether it is done");
        // What the server heard is done, although nobody was told; what it did not hear is not.
        eventually("the hub works again", Duration::from_secs(5), || async {
            let found = world.steward.get_dataset(&id).await;
            match (&found, heard) {
                (Ok(_), true) => Some(()),
                (Err(status), false) if status.code() == tonic::Code::NotFound => Some(()),
                _ => None,
            }
        })
        .await;
        let refused = told.refused;
        told.change(&world.steward, &format!("after_{number}")).await;
        told.query(&world.requester).await;
        assert_eq!(told.refused, refused, "the writer reads the head again and goes on");
    }
    hub.end().await;
    sane::check(&url, hub.dir()).await;
    told.holds(&url, hub.dir()).await;
}

/// What a firewall that loses its state does, or a machine that loses its network: no end of the connection is ever told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_goes_silent_at_commit_is_left_within_seconds() {
    let Some(url) = Engine::Postgres.database("forgotten").await else { return };
    let (proxy, through) = proxied(&url).await;
    let change = |config: &mut odh::config::Config| config.database.url = SecretUrl::new(&through);
    let mut hub = Hub::start_with(Engine::Sqlite, "forgotten", change).await.unwrap();
    let world = world::small(&mut hub).await;
    let mut told = Told::default();
    for (round, heard) in [false, true].into_iter().enumerate() {
        proxy.set(Link::ForgetAtCommit { heard });
        let refused = told.refused;
        let started = Instant::now();
        told.change(&world.steward, &format!("forgotten_{round}")).await;
        assert_eq!(told.refused, refused + 1, "nobody can know whether it is done");
        // While the server has not given up the transaction that did not hear its commit, the log's head stays locked.
        for number in 0.. {
            let before = told.datasets.len();
            told.change(&world.steward, &format!("later_{round}_{number}")).await;
            if told.datasets.len() > before {
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "the hub does not work again");
        }
        println!("a connection forgotten at COMMIT, heard {heard}: works again after {:?}", started.elapsed());
        told.query(&world.requester).await;
        let found = world.steward.get_dataset(&format!("forgotten_{round}")).await;
        assert_eq!(found.is_ok(), heard, "what the server heard is done, and nothing else");
    }
    hub.end().await;
    sane::check(&url, hub.dir()).await;
    told.holds(&url, hub.dir()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_may_crash_under_load() {
    // One of its own: killing a process of it makes the whole server recover.
    let Some(cluster) = tokio::task::spawn_blocking(Cluster::start).await.unwrap() else { return };
    let url = cluster.create_database("crashes").await;
    let change = |config: &mut odh::config::Config| config.database.url = SecretUrl::new(&url);
    let mut hub = Hub::start_with(Engine::Sqlite, "crashes", change).await.unwrap();
    let world = world::small(&mut hub).await;
    let mut told = Told::default();
    for round in 0..if long() { 20 } else { 2 } {
        let load = (0..8).map(|writer| {
            let steward = world.steward.clone();
            async move {
                let mut told = Told::default();
                for number in 0..12 {
                    told.change(&steward, &format!("r{round}_{writer}_{number}")).await;
                }
                told
            }
        });
        let crash = async {
            tokio::time::sleep(Duration::from_millis(120)).await;
            let mut db = sane::connect(&url).await;
            let sql = "SELECT CAST(pid AS BIGINT) FROM pg_stat_activity WHERE pid <> pg_backend_pid()
                       AND datname = current_database() ORDER BY query_start DESC NULLS LAST LIMIT 1";
            let pid: i64 = sqlx::query_scalar(sql).fetch_one(&mut db).await.unwrap();
            assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
        };
        let (all, ()) = tokio::join!(futures::future::join_all(load), crash);
        for mut one in all {
            told.datasets.append(&mut one.datasets);
            told.receipts.append(&mut one.receipts);
            told.refused += one.refused;
        }
        eventually("the hub works again", Duration::from_secs(20), || async {
            world.steward.get_dataset("stays").await.ok()
        })
        .await;
    }
    for id in &told.datasets {
        world.steward.get_dataset(id).await.unwrap_or_else(|e| panic!("`{id}` was lost: {e}"));
    }
    println!("PostgreSQL crashes: {} acknowledged, {} refused", told.datasets.len(), told.refused);
    assert!(told.refused > 0 && !told.datasets.is_empty());
    hub.end().await;
    sane::check(&url, hub.dir()).await;
    told.holds(&url, hub.dir()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_keep_one_log_while_they_are_killed() {
    let dir = tempfile::tempdir().unwrap();
    let Some(first) = Home::new(Engine::Postgres, &dir.path().join("one"), "replicas").await else { return };
    let hub = first.serve().await;
    let operator = Operator::first(&hub.site, &first.operator_token()).await;
    let steward = operator.welcome("chu", pb::ParticipantKind::PublicBody).await.steward().await;
    hub.terminate();
    assert!(hub.ended().await.success());
    // Replicas share the keys and the database.
    let mut homes = vec![first];
    for name in ["two", "three"] {
        let to = dir.path().join(name);
        copy(homes[0].dir(), &to.join("data"));
        homes.push(Home::beside(&homes[0], &to));
    }
    let mut hubs = Vec::new();
    for home in &homes {
        hubs.push(home.serve().await);
    }
    let mut told = Told::default();
    for round in 0..if long() { 30 } else { 3 } {
        let mut writers = tokio::task::JoinSet::new();
        for (replica, hub) in hubs.iter().enumerate() {
            for writer in 0..3 {
                let steward = Steward(steward.at(&hub.site).await);
                writers.spawn(async move {
                    let mut told = Told::default();
                    for number in 0..8 {
                        told.change(&steward, &format!("r{round}_{replica}_{writer}_{number}")).await;
                    }
                    told
                });
            }
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
        hubs.remove(round % 3).kill();
        for mut one in writers.join_all().await {
            told.datasets.append(&mut one.datasets);
            told.receipts.append(&mut one.receipts);
            told.refused += one.refused;
        }
        hubs.insert(round % 3, homes[round % 3].serve().await);
    }
    let steward = Steward(steward.at(&hubs[0].site).await);
    for id in &told.datasets {
        steward.get_dataset(id).await.unwrap_or_else(|e| panic!("`{id}` was lost: {e}"));
    }
    for hub in hubs {
        hub.terminate();
        assert!(hub.ended().await.success());
    }
    println!("three replicas: {} acknowledged, {} refused", told.datasets.len(), told.refused);
    assert!(told.refused > 0 && !told.datasets.is_empty());
    sane::check(&homes[0].database_url, homes[0].dir()).await;
    told.holds(&homes[0].database_url, homes[0].dir()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_on_one_sqlite_file_is_refused() {
    let template = Template::new().await;
    let home = template.copy("first").await;
    let hub = home.serve().await;
    // A directory of its own with the same keys, or with others: the file is what they must not share.
    let same_keys = template.dir.path().join("same_keys");
    copy(template.home.dir(), &same_keys.join("data"));
    let other_keys = template.dir.path().join("other_keys");
    std::fs::create_dir_all(&other_keys).unwrap();
    for dir in [same_keys, other_keys] {
        let said = Home::beside(&home, &dir).refuses().await;
        assert!(said.contains("in use by another server"), "{said}");
    }
    let mut told = Told::default();
    template.actors(&hub).await.act("undisturbed", &mut told).await;
    assert_eq!(told.refused, 0);
    hub.kill();
    template.holds(&home, &told).await;
}
