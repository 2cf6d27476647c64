//! P7: waiting for the audit store is bounded by two seconds, then `UNAVAILABLE`; and it recovers by itself.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use odh::{config::SecretUrl, grpc::pb};
use tonic::{Code, Status};

use crate::{
    harness::{
        Engine, Hub, eventually,
        fault::BlockedLog,
        on_both_engines,
        proxy::{Link, Proxy},
    },
    personas::{reason, refused},
    world::{self, RESEARCH, World},
};

on_both_engines!(
    a_change_waits_two_seconds_at_most,
    a_query_waits_two_seconds_at_most,
    a_denial_that_cannot_be_recorded_is_no_answer_either,
);

/// Two seconds, and what the call itself and a busy machine need besides.
const BOUND: Duration = Duration::from_millis(2_500);

async fn a_change_waits_two_seconds_at_most(hub: &mut Hub) {
    let world = world::small(hub).await;
    let blocked = BlockedLog::of(hub).await;
    let started = Instant::now();
    let calls = (0..20).map(|n| {
        let steward = world.steward.clone();
        async move { steward.create_dataset(&format!("waits_{n}"), pb::AccessLevel::Open, None).await.map(|_| ()) }
    });
    for answer in futures::future::join_all(calls).await {
        refused(answer, Code::Unavailable, "AUDIT_UNAVAILABLE");
    }
    assert!(started.elapsed() < BOUND, "waited {:?}", started.elapsed());
    blocked.release().await;
    recovers(&world).await;
}

async fn a_query_waits_two_seconds_at_most(hub: &mut Hub) {
    let world = world::small(hub).await;
    let blocked = BlockedLog::of(hub).await;
    // One that would be permitted, and one that would be refused: neither its decision nor its refusal can be recorded.
    for sql in ["select count(*) from chu.stays", "select nothing from chu.stays"] {
        let started = Instant::now();
        let answer = world.requester.query(RESEARCH, sql).await;
        refused(answer, Code::Unavailable, "AUDIT_UNAVAILABLE");
        assert!(started.elapsed() < BOUND, "`{sql}` waited {:?}", started.elapsed());
    }
    blocked.release().await;
    recovers(&world).await;
    // The decision may have been recorded when nobody waited any more: then its outcome is, too.
    let url = hub.database_url();
    eventually("every query has its outcome", Duration::from_secs(20), || async {
        let mut db = crate::harness::sane::connect(&url).await;
        let open: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM query_run").fetch_one(&mut db).await.unwrap();
        (open == 0).then_some(())
    })
    .await;
}

async fn a_denial_that_cannot_be_recorded_is_no_answer_either(hub: &mut Hub) {
    let world = world::small(hub).await;
    let blocked = BlockedLog::of(hub).await;
    let started = Instant::now();
    let denied = world.requester.create_dataset_of_others().await;
    refused(denied, Code::Unavailable, "AUDIT_UNAVAILABLE");
    assert!(started.elapsed() < BOUND, "waited {:?}", started.elapsed());
    blocked.release().await;
    recovers(&world).await;
}

impl crate::personas::Requester {
    /// What no requester may do.
    async fn create_dataset_of_others(&self) -> Result<(), Status> {
        let request = crate::personas::Steward(self.0.clone()).new_dataset("mine", pb::AccessLevel::Open, None);
        self.client.catalog().create_dataset(request).await.map(|_| ())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_silent_is_unavailable_in_time() {
    Box::pin(unreachable_database(Link::Silent)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_gone_is_unavailable_in_time() {
    Box::pin(unreachable_database(Link::Cut)).await;
}

/// PostgreSQL behind a proxy that fails: queries, changes and reads are refused in time, and it recovers.
async fn unreachable_database(failure: Link) {
    let Some(url) = Engine::Postgres.database("unreachable").await else { return };
    let (proxy, through) = proxied(&url).await;
    let change = |config: &mut odh::config::Config| config.database.url = SecretUrl::new(&through);
    let mut hub = Hub::start_with(Engine::Sqlite, "unreachable", change).await.unwrap();
    let world = world::small(&mut hub).await;

    proxy.set(failure);
    for _ in 0..3 {
        let started = Instant::now();
        let (query, change, read) = tokio::join!(
            world.requester.query(RESEARCH, "select count(*) from chu.stays"),
            world.steward.create_dataset("lost", pb::AccessLevel::Open, None),
            world.steward.get_dataset("stays"),
        );
        let took = started.elapsed();
        for status in [query.map(|_| ()).unwrap_err(), change.map(|_| ()).unwrap_err(), read.map(|_| ()).unwrap_err()] {
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
            assert!(["AUDIT_UNAVAILABLE", "UNAVAILABLE"].contains(&reason(&status).as_str()), "{status:?}");
        }
        println!("{failure:?}: {took:?}");
        assert!(took < BOUND, "waited {took:?}");
    }
    let (ready, _) = crate::harness::raw::get(&format!("{}/health/ready", hub.site().ops)).await.unwrap();
    let (live, _) = crate::harness::raw::get(&format!("{}/health/live", hub.site().ops)).await.unwrap();
    assert_eq!((ready, live), (503, 200), "not ready, but no reason for a restart");

    proxy.set(Link::Up);
    recovers(&world).await;
    hub.end().await;
    crate::harness::sane::check(&url, hub.dir()).await;
}

/// A proxy in front of the server of this URL, and the URL through it.
pub(crate) async fn proxied(url: &str) -> (Proxy, String) {
    let (head, tail) = url.split_once('@').unwrap();
    let (server, database) = tail.split_once('/').unwrap();
    let upstream: SocketAddr = tokio::net::lookup_host(server).await.unwrap().next().unwrap();
    let proxy = Proxy::to(upstream).await;
    let through = format!("{head}@{}/{database}", proxy.address);
    (proxy, through)
}

async fn recovers(world: &World) {
    eventually("the hub takes changes again", Duration::from_secs(30), || async {
        world.steward.create_dataset("again", pb::AccessLevel::Open, None).await.ok()
    })
    .await;
    let answer = world.requester.query(RESEARCH, "select count(*) from chu.stays").await.unwrap();
    assert_eq!(answer.number(), i64::try_from(world::consenting() * 4).unwrap());
}
