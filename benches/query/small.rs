//! A small governed query over mutual TLS, warm, from its text to its first batch, beside a bare call to the same hub.
//!
//! Two hubs: one on the disk, and one in memory, where a commit waits for no disk. What the second takes over a bare
//! call is the engine, the policy, the consents and the commit's own work; the difference of the two is the disk's.

use std::{fmt::Write as _, path::Path, time::Duration, time::Instant};

use odh::grpc::pb::{self, execute_response::Part};

use crate::{
    harness::{Hub, PURPOSE, policy},
    personas::Requester,
    support::Table,
    timing::Times,
};

const ROWS: usize = 4_446;
const SUBJECTS: usize = 1_000;
const RUNS: usize = 400;
const WARM_UP: usize = 50;
const QUERY: &str =
    "SELECT commune, count(*), sum(cost) FROM chu.stays WHERE age >= 40 GROUP BY commune ORDER BY commune";
const BARE: usize = 0;
const IN_MEMORY: usize = 1;
const ON_DISK: usize = 2;

/// Measures, and checks that a consent that is withdrawn has no effect on the next query any more.
pub(crate) async fn measure(table: &mut Table, data: &Path) {
    let memory = Path::new("/dev/shm");
    let hubs = [hub(if memory.is_dir() { memory } else { data }).await, hub(data).await];
    let mut times = Times::new(3);
    for round in 0..WARM_UP + RUNS {
        for way in times.order(round) {
            let took = match way {
                BARE => bare(&hubs[0].requester).await,
                IN_MEMORY => first_batch(&hubs[0].requester).await,
                _ => first_batch(&hubs[1].requester).await,
            };
            if round >= WARM_UP {
                times.add(way, took);
            }
        }
    }
    let percentiles =
        |way: usize| format!("median {:.2} ms, p95 {:.2} ms", times.median(way), times.percentile(way, 95));
    table.note("bare unary call", &percentiles(BARE));
    let over = times.percentile(IN_MEMORY, 95) - times.percentile(BARE, 95);
    let path = "small governed query to its first batch, p95 over a bare call, in ms";
    table.number(path, over, 3.0, &format!("{}; commit without a disk", percentiles(IN_MEMORY)));
    let disk = format!("{}; the disk's part of the median {:.2} ms", percentiles(ON_DISK), {
        times.median(ON_DISK) - times.median(IN_MEMORY)
    });
    table.note("the same with the audit commit on the disk", &disk);
    withdrawal(table, &hubs[1]).await;
    for hub in hubs {
        hub.stop().await;
    }
}

async fn bare(requester: &Requester) -> Duration {
    let started = Instant::now();
    requester.who_am_i().await.unwrap();
    started.elapsed()
}

async fn first_batch(requester: &Requester) -> Duration {
    let started = Instant::now();
    let mut answer = requester.start(PURPOSE, QUERY).await.unwrap();
    let mut took = None;
    while let Some(message) = answer.message().await.unwrap() {
        if let (Some(Part::ArrowIpc(_)), None) = (message.part, took) {
            took = Some(started.elapsed());
        }
    }
    took.unwrap()
}

async fn withdrawal(table: &mut Table, hub: &Hub) {
    let count = "SELECT count(*) FROM chu.stays";
    let before = hub.requester.query(PURPOSE, count).await.unwrap().number();
    let rows =
        hub.requester.query(PURPOSE, "SELECT count(*) FROM chu.stays WHERE pid = 's00007'").await.unwrap().number();
    assert!(rows > 0);
    let started = Instant::now();
    hub.steward.withdraw("stays", &["s00007".to_owned()]).await;
    let after = hub.requester.query(PURPOSE, count).await.unwrap().number();
    assert_eq!(after, before - rows, "the next query leaves out whose consent was withdrawn");
    table.note("a withdrawal and the next query, which heeds it", &format!("{:.1?}", started.elapsed()));
}

/// A hub with 4,446 stays of a thousand subjects, nine of ten of whom consented, and a policy with filter and mask.
async fn hub(place: &Path) -> Hub {
    let hub = Hub::start(place, "chu").await;
    hub.steward.create_noted("stays", &[("commune", pb::ColumnRole::Key), ("age", pb::ColumnRole::Dimension)]).await;
    let mut csv = "pid,commune,age,diagnosis,cost\n".to_owned();
    for row in 0..ROWS {
        let (subject, age) = (row % SUBJECTS, 18 + row * 7 % 70);
        writeln!(csv, "s{subject:05},{},{age},{},{}", 31_001 + row % 13, ["J45", "E11"][row % 2], 100 + row % 900)
            .unwrap();
    }
    hub.steward.upload("stays", csv).await.unwrap();
    let comparison = pb::Comparison {
        column: "age".to_owned(),
        op: pb::CompareOp::Ge.into(),
        value: Some(pb::Value { value: Some(pb::value::Value::Int64Value(20)) }),
    };
    let how = pb::How {
        row_filter: Some(pb::Filter { condition: Some(pb::filter::Condition::Comparison(comparison)) }),
        masks: [("diagnosis".to_owned(), pb::Mask { mask: Some(pb::mask::Mask::PrefixLength(1)) })].into(),
        ..pb::How::default()
    };
    let rule = policy(&hub.steward, "stays", pb::Action::Read, how, pb::LegalBasis::Consent);
    let mut consents = "subject,purpose,status\n".to_owned();
    for subject in (0..SUBJECTS).filter(|subject| subject % 10 != 0) {
        writeln!(consents, "s{subject:05},{PURPOSE},given").unwrap();
    }
    hub.steward.import_consents("stays", consents).await.unwrap();
    hub.share("stays", rule, pb::Action::Read).await;
    hub
}
