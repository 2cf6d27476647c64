//! Running a hub: probes, metrics, reflection, an end that loses nothing, and what it takes.

use std::time::{Duration, Instant};

use odh::grpc::pb::{self, execute_response::Part};
use tonic::Code;

use crate::{
    harness::{Engine, Hub, eventually, on_both_engines, process::Home, raw},
    personas::{Operator, Stranger},
    world::{self, RESEARCH},
};

on_both_engines!(
    probes_and_metrics_answer_on_the_ops_listener,
    public_documents_are_served_to_everyone,
    a_running_query_ends_while_the_hub_drains,
    a_query_without_an_outcome_gets_one_at_the_next_start,
    a_second_server_on_the_same_directory_is_refused,
    no_personal_data_and_no_sql_are_in_the_metrics,
);

async fn probes_and_metrics_answer_on_the_ops_listener(hub: &mut Hub) {
    let world = world::small(hub).await;
    world.requester.query(RESEARCH, "select count(*) from chu.stays").await.unwrap();
    let ops = hub.site().ops;
    for probe in ["started", "live", "ready"] {
        let (status, _) = raw::get(&format!("{ops}/health/{probe}")).await.unwrap();
        assert_eq!(status, 200, "{probe}");
    }
    let (status, metrics) = raw::get(&format!("{ops}/metrics")).await.unwrap();
    assert_eq!(status, 200);
    assert!(metrics.ends_with("# EOF\n"));
    for line in ["QueryService\",method=\"Execute\"", "odh_audit"] {
        assert!(metrics.contains(line), "`{line}` in {metrics}");
    }
    assert_eq!(raw::get(&format!("{ops}/")).await.unwrap().0, 404);
}

async fn public_documents_are_served_to_everyone(hub: &mut Hub) {
    let site = hub.site();
    let (status, ca) = raw::get_public(&site, "/ca.crt").await.unwrap();
    assert_eq!((status, ca), (200, site.ca_pem.clone()));
    let (_, key) = raw::get_public(&site, "/log.vkey").await.unwrap();
    let (_, checkpoint) = raw::get_public(&site, "/checkpoint").await.unwrap();
    odh::audit::Checkpoint::verify(&checkpoint, &key.trim().parse().unwrap()).unwrap();
    assert_eq!(raw::get_public(&site, "/metrics").await.unwrap().0, 404, "metrics are not for everyone");
    let hub_says = Stranger::at(&site).await.client.participants().get_hub(pb::GetHubRequest {}).await.unwrap();
    assert_eq!(hub_says.into_inner().hub.unwrap().https_url, site.https.replace("127.0.0.1", "localhost"));
}

async fn a_running_query_ends_while_the_hub_drains(hub: &mut Hub) {
    let world = world::small(hub).await;
    let sql = "select a.pid, b.pid, a.cost, b.cost from chu.stays a join chu.stays b on a.commune = b.commune";
    let mut stream = world.requester.start(RESEARCH, sql).await.unwrap();
    stream.message().await.unwrap().unwrap();
    hub.begin_shutdown();
    let ops = hub.site().ops;
    eventually("the hub says that it is not ready", Duration::from_secs(5), || async {
        match raw::get(&format!("{ops}/health/ready")).await {
            Ok((200, _)) => None,
            _ => Some(()),
        }
    })
    .await;
    let mut receipt = None;
    while let Some(message) = stream.message().await.unwrap() {
        if let Some(Part::Receipt(last)) = message.part {
            receipt = Some(last);
        }
    }
    assert!(receipt.expect("the answer is complete").outcome.is_some());
    hub.end().await;
}

async fn a_query_without_an_outcome_gets_one_at_the_next_start(hub: &mut Hub) {
    let world = world::small(hub).await;
    let sql = "select a.pid, b.pid, a.cost, b.cost from chu.stays a join chu.stays b on a.commune = b.commune";
    let mut stream = world.requester.start(RESEARCH, sql).await.unwrap();
    let Some(Part::Header(header)) = stream.message().await.unwrap().unwrap().part else { panic!("no header") };
    drop(stream);
    // Nobody waits for the answer any more: its outcome is recorded all the same.
    let outcome = eventually("the outcome of a dropped answer", Duration::from_secs(10), || async {
        let entries = world.auditor.entries("type = \"query.outcome\"").await;
        entries.into_iter().find(|(_, entry)| entry.to_string().contains(&header.query_id))
    })
    .await;
    assert!(outcome.1.to_string().contains("cancelled"), "{}", outcome.1);
}

async fn a_second_server_on_the_same_directory_is_refused(hub: &mut Hub) {
    use odh::{app::App, domain::SystemClock, telemetry::Metrics};
    let metrics = std::sync::Arc::new(Metrics::new(odh::grpc::paths()));
    let address = "127.0.0.1:1".parse().unwrap();
    let operator = crate::harness::hub::operator();
    let second = App::open(hub.config.clone(), address, operator, std::sync::Arc::new(SystemClock), metrics).await;
    let text = second.unwrap_err().message_en();
    assert!(text.contains("in use by another server"), "{text}");
    Stranger::at(&hub.site()).await.client.participants().get_hub(pb::GetHubRequest {}).await.unwrap();
}

async fn no_personal_data_and_no_sql_are_in_the_metrics(hub: &mut Hub) {
    let world = world::small(hub).await;
    world.requester.query(RESEARCH, "select count(*) from chu.stays where pid = 's00001'").await.unwrap();
    let (_, metrics) = raw::get(&format!("{}/metrics", hub.site().ops)).await.unwrap();
    for secret in ["s00001", "select", "chu.stays", "a member", world.requester.name.rsplit('/').next().unwrap()] {
        assert!(!metrics.contains(secret), "`{secret}` in the metrics");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_binary_starts_fast_idles_small_and_ends_by_sigterm_on_sqlite() {
    Box::pin(life_of_a_process(Engine::Sqlite)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_binary_starts_fast_idles_small_and_ends_by_sigterm_on_postgres() {
    Box::pin(life_of_a_process(Engine::Postgres)).await;
}

async fn life_of_a_process(engine: Engine) {
    let dir = tempfile::tempdir().unwrap();
    let Some(home) = Home::new(engine, dir.path(), "life").await else { return };
    let first = home.serve().await;
    first.is_ready().await;
    let operator = Operator::first(&first.site, &home.operator_token()).await;
    first.terminate();
    assert!(first.ended().await.success());

    let started = Instant::now();
    let hub = home.serve().await;
    let operator = operator.at(&hub.site).await;
    operator.who_am_i().await.unwrap();
    let answered = started.elapsed();
    let resident = hub.resident_bytes() / (1 << 20);
    println!("{engine:?}: first answer after {answered:?} (listening after {:?}), {resident} MiB", hub.started_in);
    // The figures that are promised are of a release build on an idle machine; the README has the command.
    assert!(answered < Duration::from_secs(5), "{answered:?}");
    assert!(resident < 250, "{resident} MiB");
    hub.terminate();
    assert!(hub.ended().await.success());
    crate::harness::sane::check(&home.database_url, home.dir()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_reflection_answer_over_grpc() {
    let mut hub = Hub::start(Engine::Sqlite, "reflection").await.unwrap();
    let site = hub.site();
    let operator = Operator::first(&site, &hub.operator_token()).await;
    let identity = || Some(operator.identity());
    let post =
        async |path: &str, message: &[u8]| raw::post_to(&site, identity(), path, raw::frame(message)).await.unwrap();
    // grpc.health.v1: HealthCheckResponse { status: SERVING = 1 }.
    let health = post("/grpc.health.v1.Health/Check", &[]).await;
    assert_eq!((health.grpc, health.body.as_ref()), (Some(0), &raw::frame(&[0x08, 0x01])[..]), "{health:?}");
    // ServerReflectionRequest { list_services: "" }.
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let listed = post(&path, &[0x3a, 0x00]).await;
        assert_eq!(listed.grpc, Some(0), "{listed:?}");
        let text = String::from_utf8_lossy(&listed.body).into_owned();
        for service in ["ParticipantService", "QueryService", "AuditService"] {
            assert!(text.contains(&format!("occitanie.datahub.v1.{service}")), "{version}: {text}");
        }
    }
    let unknown = post("/occitanie.datahub.v2.QueryService/Execute", &[]).await;
    assert_eq!(unknown.grpc.map(Code::from_i32), Some(Code::Unimplemented));
    hub.stop().await;
}
