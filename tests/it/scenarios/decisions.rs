//! What keeps a decision from being made denies it, is told to the operator and is in the log; and roles that change
//! while others work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use odh::{
    domain::{Clock, SystemClock, Timestamp},
    grpc::pb,
};
use sqlx::Row as _;
use tonic::Code;

use crate::{
    harness::{Hub, on_both_engines, raw, sane},
    personas::{Operator, Requester, refused},
    world::{self, RESEARCH},
};

on_both_engines!(
    a_clock_that_goes_back_denies_until_it_is_right_again,
    a_policy_that_is_not_what_its_digest_says_denies,
    roles_that_change_again_and_again_hold_at_the_next_call_and_disturb_nobody,
);

const COUNT: &str = "select count(*) from chu.stays";

/// The system's clock, off by some microseconds.
#[derive(Debug, Default)]
struct Shifted(AtomicI64);

impl Clock for Shifted {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(SystemClock.now().micros() + self.0.load(Ordering::Relaxed))
    }
}

async fn a_clock_that_goes_back_denies_until_it_is_right_again(hub: &mut Hub) {
    let clock = Arc::new(Shifted::default());
    hub.end().await;
    hub.clock = Arc::clone(&clock) as _;
    hub.serve().await.unwrap();
    let world = world::small(hub).await;
    // Late enough that going back does not come before the grant.
    clock.0.store(120_000_000, Ordering::Relaxed);
    world.requester.query(RESEARCH, COUNT).await.unwrap();
    // What time synchronisation corrects at once is no fault.
    clock.0.store(117_000_000, Ordering::Relaxed);
    world.requester.query(RESEARCH, COUNT).await.unwrap();
    assert_eq!(faults(hub, "clock_skew").await, 0);

    clock.0.store(60_000_000, Ordering::Relaxed);
    refused(world.requester.query(RESEARCH, COUNT).await, Code::PermissionDenied, "DECISION_FAILED");
    assert_eq!(faults(hub, "clock_skew").await, 1);
    assert_eq!(denials(hub, "DECISION_FAILED").await, 1, "a denial is in the log");

    clock.0.store(120_000_000, Ordering::Relaxed);
    world.requester.query(RESEARCH, COUNT).await.unwrap();
}

async fn a_policy_that_is_not_what_its_digest_says_denies(hub: &mut Hub) {
    let world = world::small(hub).await;
    world.requester.query(RESEARCH, COUNT).await.unwrap();
    hub.end().await;
    let mut db = sane::connect(&hub.database_url()).await;
    // Anybody with the database could open the data to everyone.
    let sql = "UPDATE policy SET document = replace(document, 'scientific_research', 'marketing')";
    assert!(sqlx::query(sql).execute(&mut db).await.unwrap().rows_affected() > 0);
    hub.serve().await.unwrap();
    let requester = Requester(world.requester.at(&hub.site()).await);
    // Who holds a grant knows of the dataset and is told; what the grant is not for is refused before.
    refused(requester.query(RESEARCH, COUNT).await, Code::PermissionDenied, "DECISION_FAILED");
    refused(requester.query("marketing", COUNT).await, Code::PermissionDenied, "DECISION_FAILED");
    // For others a dataset of which it cannot be decided who may see it is not there.
    let stranger = Operator(world.operator.at(&hub.site()).await).welcome("third", pb::ParticipantKind::Lab).await;
    let stranger = stranger.requester().await;
    refused(stranger.query(RESEARCH, COUNT).await, Code::InvalidArgument, "QUERY_REJECTED");
    assert!(faults(hub, "model_mismatch").await >= 3);
    assert_eq!(denials(hub, "DECISION_FAILED").await, 2);
}

async fn roles_that_change_again_and_again_hold_at_the_next_call_and_disturb_nobody(hub: &mut Hub) {
    const CHANGES: usize = 60;
    let world = world::small(hub).await;
    let changing = world.lab.requester().await;
    let mut member = changing.who_am_i().await.unwrap().member.unwrap();
    let (done, undisturbed) = (AtomicBool::new(false), AtomicUsize::new(0));
    let others = async {
        while !done.load(Ordering::Relaxed) {
            world.requester.explain(RESEARCH, COUNT).await.unwrap();
            undisturbed.fetch_add(1, Ordering::Relaxed);
        }
    };
    let changes = async {
        for change in 0..CHANGES {
            let queries = change % 2 == 1;
            let roles = vec![if queries { pb::Role::Requester } else { pb::Role::Steward }.into()];
            let request = pb::UpdateMemberRequest {
                etag: member.etag.clone(),
                member: Some(pb::Member { roles, ..member.clone() }),
                update_mask: Some(prost_types::FieldMask { paths: vec!["roles".to_owned()] }),
                request_id: String::new(),
            };
            let updated = world.lab.client.participants().update_member(request).await.unwrap().into_inner();
            member = updated.member.unwrap();
            let answer = changing.explain(RESEARCH, COUNT).await;
            if queries {
                answer.unwrap();
            } else {
                refused(answer, Code::PermissionDenied, "ROLE_MISSING");
            }
        }
        done.store(true, Ordering::Relaxed);
    };
    tokio::time::timeout(Duration::from_mins(2), async { tokio::join!(changes, others) }).await.unwrap();
    let undisturbed = undisturbed.into_inner();
    println!("{:?}: {undisturbed} decisions of another member during {CHANGES} changes of roles", hub.engine);
    assert!(undisturbed > 10);
    assert_eq!(faults(hub, "reload_failed").await, 0);
}

/// How often the operator's metrics count a fault.
async fn faults(hub: &Hub, fault: &str) -> usize {
    let (_, metrics) = raw::get(&format!("{}/metrics", hub.site().ops)).await.unwrap();
    let prefix = format!("odh_policy_faults_total{{fault=\"{fault}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&prefix)).map_or(0, |count| count.parse().unwrap())
}

/// How many decisions the log has that were denied for this reason.
async fn denials(hub: &Hub, reason: &str) -> usize {
    let mut db = sane::connect(&hub.database_url()).await;
    let rows = sqlx::query("SELECT leaf FROM entry WHERE kind = 'query.decision'").fetch_all(&mut db).await.unwrap();
    let leaves = rows.iter().map(|row| String::from_utf8(row.get::<Vec<u8>, _>("leaf")).unwrap());
    leaves.filter(|leaf| leaf.contains(&format!("\"{reason}\""))).count()
}
