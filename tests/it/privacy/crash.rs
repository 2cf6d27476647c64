//! `kill -9` between charge and answer: what was charged stays charged, and no answer leaves that was not.

use std::time::Duration;

use odh::grpc::pb;
use tonic::Code;

use super::policies::{granted, groups, ledger, privacy};
use crate::{
    harness::{Engine, eventually, process::Home, sane},
    personas::{Operator, Requester, Steward, reason, refused},
    world::{self, RESEARCH},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_between_charge_and_answer_gives_nothing_back_on_sqlite() {
    Box::pin(survive(Engine::Sqlite)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_between_charge_and_answer_gives_nothing_back_on_postgres() {
    Box::pin(survive(Engine::Postgres)).await;
}

async fn survive(engine: Engine) {
    let dir = tempfile::tempdir().unwrap();
    let Some(home) = Home::new(engine, dir.path(), "charges").await else { return };
    let mut hub = home.serve().await;
    let operator = Operator::first(&hub.site, &home.operator_token()).await;
    let mut steward = operator.welcome("chu", pb::ParticipantKind::PublicBody).await.steward().await;
    let mut requester = operator.welcome("lab", pb::ParticipantKind::Lab).await.requester().await;
    steward.create_noted("stays", &[("commune", pb::ColumnRole::Key), ("cost", pb::ColumnRole::Measure)]).await;
    steward.upload("stays", world::stays()).await.unwrap();
    let amounts = pb::Privacy { budget: "3.5".to_owned(), total: "50".to_owned(), ..privacy() };
    let rule = groups(pb::How { privacy: Some(amounts), ..Default::default() });
    granted(&steward, &requester, rule).await;

    let mut answered = 0;
    let mut refusals = 0;
    for round in 0..40 {
        let asking = requester.clone();
        let sql = format!("select count(*) from chu.stays where age <> {round}");
        let asked = tokio::spawn(async move { asking.query(RESEARCH, &sql).await });
        if round % 2 == 0 {
            // At another moment each time, from before the charge to after the answer.
            tokio::time::sleep(Duration::from_millis(round * 7)).await;
            tokio::task::spawn_blocking(move || hub.kill()).await.unwrap();
            hub = home.serve().await;
            (steward, requester) = (Steward(steward.at(&hub.site).await), Requester(requester.at(&hub.site).await));
        }
        match asked.await.unwrap() {
            Ok(_) => answered += 1,
            Err(status) if round % 2 == 1 => {
                assert_eq!(reason(&status), "PRIVACY_BUDGET_SPENT");
                refusals += 1;
            }
            Err(_) => {}
        }
        let total = ledger(&steward).await.total.unwrap();
        assert!(total.queries <= 7 && answered <= total.queries, "{answered} answers, {total:?}");
    }
    assert!(refusals > 0, "the budget was never spent");
    let total = ledger(&steward).await.total.unwrap();
    assert_eq!((total.queries, total.epsilon.as_str()), (7, "3.5"));
    let status = requester.query(RESEARCH, "select count(*) from chu.stays where age <> 1000").await;
    refused(status, Code::ResourceExhausted, "PRIVACY_BUDGET_SPENT");
    eventually("the hub still answers", Duration::from_secs(10), || async { steward.who_am_i().await.ok() }).await;
    hub.terminate();
    assert!(hub.ended().await.success());
    sane::check(&home.database_url, home.dir()).await;
}
