//! P5: whatever is sent, the hub stays up, answers with a clear code, and serves the next caller.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use odh::grpc::pb;
use prost::Message as _;
use tonic::Code;

use crate::{
    harness::{
        Hub, on_both_engines,
        raw::{frame, post},
    },
    personas::{Requester, metadata, reason, refused},
    policies::{only, permit, policy},
    world::{self, RESEARCH, World},
};

on_both_engines!(
    garbage_instead_of_messages_is_answered,
    oversized_messages_are_refused_and_said_to_be,
    hostile_sql_is_rejected_in_bounded_time,
    one_member_cannot_take_every_slot,
    queries_that_would_eat_the_machine_end_at_a_limit,
    hostile_names_are_refused_by_name,
    a_call_holds_one_connection_to_the_database_at_a_time,
    what_computes_for_long_holds_up_nobody_elses_calls,
);

async fn garbage_instead_of_messages_is_answered(hub: &mut Hub) {
    let world = world::small(hub).await;
    let site = hub.site();
    let valid = pb::WhoAmIRequest {}.encode_to_vec();
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("half a frame head", vec![0, 0]),
        ("a length without its bytes", vec![0, 0, 0, 0, 9, 1]),
        ("the largest length", vec![0, 255, 255, 255, 255]),
        ("a compression that does not exist", [&[2, 0, 0, 0, 0][..], &valid].concat()),
        ("random bytes", frame(&(0..200_u32).map(|n| (n * 197 % 251) as u8).collect::<Vec<_>>())),
        ("a truncated varint", frame(&[0x0a, 0xff, 0xff])),
        ("invalid UTF-8 in a string", frame(&[0x0a, 0x02, 0xc3, 0x28])),
        ("a field of another type", frame(&[0x08, 0x01])),
    ];
    for method in ["ParticipantService/GetParticipant", "QueryService/Execute", "CatalogService/UploadSnapshot"] {
        for (what, body) in &bodies {
            let answer = post(&site, Some(world.requester.identity()), method, body.clone()).await.unwrap();
            let code = answer.grpc.map(Code::from_i32);
            assert!(code.is_some_and(|code| code != Code::Ok), "{method}, {what}: {answer:?}");
        }
    }
    for method in ["ParticipantService/NoSuchCall", "NoSuchService/Call", "../../etc/passwd"] {
        let answer = post(&site, Some(world.requester.identity()), method, frame(&valid)).await.unwrap();
        assert_eq!(answer.grpc.map(Code::from_i32), Some(Code::Unimplemented), "{method}: {answer:?}");
    }
    alive(&world).await;
}

async fn oversized_messages_are_refused_and_said_to_be(hub: &mut Hub) {
    let world = world::small(hub).await;
    let limit = hub.config.limits.message_bytes;
    let request = pb::ListDatasetsRequest { query: "x".repeat(limit + 1), ..Default::default() };
    let status = world.requester.client.catalog().list_datasets(request).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"), "{status:?}");
    assert_eq!(metadata(&status, "limit"), limit.to_string());
    alive(&world).await;
}

async fn hostile_sql_is_rejected_in_bounded_time(hub: &mut Hub) {
    let world = world::small(hub).await;
    let huge = format!("select '{}'", "x".repeat(40_000));
    let deep = format!("select {}1{} from chu.stays", "(".repeat(5_000), ")".repeat(5_000));
    let sums = format!("select 1{} from chu.stays", "+1".repeat(3_900));
    let unions = format!("select 1 from chu.stays{}", " union all select 1 from chu.stays".repeat(900));
    let ors = format!("select 1 from chu.stays where {}", "age = 1 or ".repeat(2_500) + "age = 2");
    let many: Vec<String> = (0..40).map(|n| format!("chu.stays t{n}")).collect();
    let cross = format!("select 1 from {}", many.join(", "));
    let cases: [(&str, &str); 18] = [
        ("a huge text", &huge),
        ("deep parentheses", &deep),
        ("thousands of additions", &sums),
        ("hundreds of unions", &unions),
        ("thousands of conditions", &ors),
        ("forty relations", &cross),
        ("white space", " \n "),
        ("two statements", "select 1; select 2"),
        ("a statement that is none", "drop table chu.stays"),
        ("a file", "select * from '/etc/passwd'"),
        ("a file by copy", "copy (select 1) to '/tmp/odh-suite'"),
        ("an external table", "create external table t stored as csv location '/etc/passwd'"),
        ("the catalog", "select * from information_schema.tables"),
        ("a setting", "set datafusion.execution.batch_size = 1"),
        ("a plan", "explain analyze select * from chu.stays"),
        ("a series without end", "select * from generate_series(1, 1000000000000)"),
        ("recursion", "with recursive t as (select 1 as n union all select n + 1 from t) select * from t"),
        ("no SQL at all", "\u{202e}\0\u{1F980} select"),
    ];
    for (what, sql) in cases {
        let started = Instant::now();
        let status = world.requester.query(RESEARCH, sql).await.err().unwrap_or_else(|| panic!("{what} was run"));
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status:?}");
        assert_eq!(reason(&status), "QUERY_REJECTED", "{what}: {status:?}");
        assert!(!metadata(&status, "rule").is_empty(), "{what} names no rule");
        assert!(started.elapsed() < Duration::from_secs(10), "{what} took {:?}", started.elapsed());
    }
    alive(&world).await;
}

async fn one_member_cannot_take_every_slot(hub: &mut Hub) {
    let world = world::small(hub).await;
    let sql = "select a.pid, b.pid, a.cost, b.cost from chu.stays a join chu.stays b on a.commune = b.commune";
    let mut running = Vec::new();
    for _ in 0..hub.config.query.concurrent_per_caller {
        running.push(world.requester.start(RESEARCH, sql).await.unwrap());
    }
    let status = world.requester.query(RESEARCH, "select count(*) from chu.stays").await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "OVERLOADED"), "{status:?}");
    let colleague = world.lab.requester().await;
    colleague.query(RESEARCH, "select count(*) from chu.stays").await.unwrap();
    drop(running);
    crate::harness::eventually("a dropped answer gives its slot back", Duration::from_secs(10), || async {
        world.requester.query(RESEARCH, "select count(*) from chu.stays").await.ok()
    })
    .await;
}

async fn queries_that_would_eat_the_machine_end_at_a_limit(hub: &mut Hub) {
    let world = world::small(hub).await;
    let product = "select a.pid, b.pid, c.pid from chu.stays a, chu.stays b, chu.stays c";
    let status = world.requester.query(RESEARCH, product).await.unwrap_err();
    assert_eq!((reason(&status).as_str(), metadata(&status, "rule").as_str()), ("QUERY_REJECTED", "too_complex"));
    let sql = "select a.pid, b.pid, c.pid from chu.stays a join chu.stays b on a.commune = b.commune
               join chu.stays c on b.commune = c.commune";
    let started = Instant::now();
    let status = world.requester.query(RESEARCH, sql).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(reason(&status), "QUERY_LIMIT", "{status:?}");
    assert!(started.elapsed() < hub.config.query.deadline + Duration::from_secs(5));
    alive(&world).await;
}

/// Two at once would have callers wait for each other: all for their second one, with none left.
async fn a_call_holds_one_connection_to_the_database_at_a_time(hub: &mut Hub) {
    let world = world::small(hub).await;
    hub.end().await;
    // One for the writer, one for everybody else.
    hub.config.database.max_connections = 2;
    hub.serve().await.unwrap();
    let requester = Requester(world.requester.at(&hub.site()).await);
    let count = "select count(*) from chu.stays";
    let asked = (0..24).map(|number| {
        let (requester, dataset) = (&requester, world.steward.dataset("stays"));
        async move {
            match number % 4 {
                0 => requester.explain(RESEARCH, count).await.map(drop),
                1 => {
                    let request = pb::ListDatasetsRequest::default();
                    requester.client.catalog().list_datasets(request).await.map(drop)
                }
                2 => {
                    let request = pb::ListPoliciesRequest { parent: dataset, ..Default::default() };
                    requester.client.policies().list_policies(request).await.map(drop)
                }
                _ => {
                    let (action, purpose) = (pb::Action::Aggregate.into(), RESEARCH.to_owned());
                    let request = pb::ExplainDecisionRequest { dataset, action, purpose, ..Default::default() };
                    requester.client.policies().explain_decision(request).await.map(drop)
                }
            }
        }
    });
    for answer in futures::future::join_all(asked).await {
        answer.unwrap();
    }
    assert!(requester.query(RESEARCH, count).await.unwrap().number() > 0);
}

async fn what_computes_for_long_holds_up_nobody_elses_calls(hub: &mut Hub) {
    let world = world::small(hub).await;
    let dataset = world.steward.dataset("stays");
    let rules = (0..80).map(|number| pb::Rule {
        columns: Some(only(&[["age", "cost", "commune", "pid"][number % 4]])),
        who: Some(pb::Who { accreditations: vec![format!("a{number}")], ..Default::default() }),
        ..permit(&format!("r{number}"), &[pb::Action::Read], &["marketing"])
    });
    let heavy = policy(&dataset, rules.collect());
    let check = || {
        let mut policies = world.steward.client.policies();
        let request = pb::CheckPolicyRequest { policy: Some(heavy.clone()) };
        async move { policies.check_policy(request).await.map(drop) }
    };
    let done = AtomicBool::new(false);
    let checks = async {
        for answer in futures::future::join_all((0..6).map(|_| check())).await {
            answer.unwrap();
        }
        done.store(true, Ordering::Relaxed);
    };
    let others = async {
        let mut answered = 0;
        while !done.load(Ordering::Relaxed) {
            let request = pb::ListDatasetsRequest::default();
            world.requester.client.catalog().list_datasets(request).await.unwrap();
            answered += 1;
        }
        answered
    };
    let ((), answered) = tokio::join!(checks, others);
    // Some 300 of them; on the threads that answer calls, checks left time for 3 to 8.
    assert!(answered >= 30, "only {answered} calls were answered beside six checks");
}

async fn hostile_names_are_refused_by_name(hub: &mut Hub) {
    let world = world::small(hub).await;
    let long = "a".repeat(10_000);
    for id in ["", "../../etc/passwd", "A", "1a", "a-b", "a b", "é", "a\0", "a\r\nb", "select ", "-a", &long] {
        let answer = world.steward.create_dataset(id, pb::AccessLevel::Open, None).await;
        let status = answer.err().unwrap_or_else(|| panic!("`{}` was taken", id.escape_debug()));
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(["ID_INVALID", "INVALID_ARGUMENT"].contains(&reason(&status).as_str()), "{status:?}");
        assert!(status.message().len() < 1_000, "the answer to a long name is short");
    }
    let name = "participants/chu/datasets/../../../etc/passwd".to_owned();
    let answer = world.requester.client.catalog().get_dataset(pb::GetDatasetRequest { name }).await;
    assert_eq!(answer.unwrap_err().code(), Code::InvalidArgument);
    refused(world.requester.query("no purpose", "select 1").await, Code::InvalidArgument, "PURPOSE_UNKNOWN");
}

async fn alive(world: &World) {
    let answer = world.requester.query(RESEARCH, "select count(*) from chu.stays").await.unwrap();
    assert_eq!(answer.number(), i64::try_from(world::consenting() * 4).unwrap());
}
