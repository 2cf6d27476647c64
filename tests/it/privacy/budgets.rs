//! Budgets of privacy: charged with the decision to every scope, never given back, and free for what was asked before.

use odh::grpc::pb;
use tonic::Code;

use super::policies::{granted, groups, ledger, left, patiently, privacy};
use crate::{
    harness::{Hub, on_both_engines},
    personas::{metadata, reason, refused},
    world::{self, RESEARCH},
};

on_both_engines!(
    a_hundred_parallel_questions_on_a_budget_of_seven_are_charged_exactly_seven_times,
    the_same_question_is_answered_again_for_free,
    every_scope_bounds_and_the_owner_sees_all_of_them,
    a_charge_is_not_given_back_to_a_question_that_is_cut,
    a_budget_that_makes_no_sense_is_not_published,
);

const BY_COMMUNE: &str = "select commune, count(*) n, sum(cost) c from chu.stays group by commune";

fn noisy(privacy: pb::Privacy) -> pb::Rule {
    groups(pb::How { privacy: Some(privacy), ..Default::default() })
}

async fn a_hundred_parallel_questions_on_a_budget_of_seven_are_charged_exactly_seven_times(hub: &mut Hub) {
    let world = world::small(hub).await;
    let amounts = pb::Privacy { budget: "3.5".to_owned(), total: "50".to_owned(), ..privacy() };
    let grant = granted(&world.steward, &world.requester, noisy(amounts)).await;
    world.steward.revoke_grant(&world.grant.name).await.unwrap();
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..100 {
        let requester = world.requester.clone();
        // Different questions: one that is the same would be answered again for free.
        let sql = format!("select count(*) from chu.stays where age <> {number}");
        asked.spawn(async move { patiently(&requester, &sql).await });
    }
    let answers = asked.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 7);
    for refusal in answers.into_iter().filter_map(Result::err) {
        assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::ResourceExhausted, "PRIVACY_BUDGET_SPENT"));
        assert_eq!(metadata(&refusal, "scope"), "grant");
    }
    let spent = left(&world.requester, &grant).await.privacy.unwrap();
    assert_eq!((spent.queries, spent.epsilon.as_str(), spent.budget.as_deref()), (7, "3.5", Some("3.5")));
    let total = ledger(&world.steward).await.total.unwrap();
    assert_eq!((total.queries, total.epsilon.as_str(), total.budget.as_deref()), (7, "3.5", Some("50")));
}

async fn the_same_question_is_answered_again_for_free(hub: &mut Hub) {
    let world = world::small(hub).await;
    let grant = granted(&world.steward, &world.requester, noisy(privacy())).await;
    world.steward.revoke_grant(&world.grant.name).await.unwrap();
    let first = world.requester.query(RESEARCH, BY_COMMUNE).await.unwrap();
    assert_eq!(first.rows().len(), world::PLACES);
    for again in [BY_COMMUNE, "SELECT commune, count(*) n, sum(cost) c\n FROM chu.stays GROUP BY commune -- again"] {
        assert_eq!(world.requester.query(RESEARCH, again).await.unwrap().rows(), first.rows());
    }
    let spent = left(&world.requester, &grant).await.privacy.unwrap();
    assert_eq!((spent.queries, spent.epsilon.as_str()), (1, "0.5"));
    let decisions = world.auditor.entries("type = \"query.decision\"").await;
    let epsilons: Vec<_> = decisions.iter().filter_map(|(_, leaf)| leaf["f"]["epsilon"].as_str()).collect();
    assert_eq!(epsilons, ["0.5", "0", "0"], "{decisions:#?}");

    // Over a restart as well, since it is in the database.
    hub.restart().await;
    let requester = crate::personas::Requester(world.requester.at(&hub.site()).await);
    assert_eq!(requester.query(RESEARCH, BY_COMMUNE).await.unwrap().rows(), first.rows());
    // Other rows are another question.
    let steward = crate::personas::Steward(world.steward.at(&hub.site()).await);
    steward.upload("stays", world::stays()).await.unwrap();
    assert_ne!(requester.query(RESEARCH, BY_COMMUNE).await.unwrap().rows(), first.rows());
    assert_eq!(left(&requester, &grant).await.privacy.unwrap().epsilon, "1");
    refused(
        requester.query(RESEARCH, "select count(*) from chu.stays").await,
        Code::ResourceExhausted,
        "PRIVACY_BUDGET_SPENT",
    );
}

async fn every_scope_bounds_and_the_owner_sees_all_of_them(hub: &mut Hub) {
    let world = world::small(hub).await;
    granted(&world.steward, &world.requester, noisy(privacy())).await;
    world.steward.revoke_grant(&world.grant.name).await.unwrap();
    let second = world.requester.request_access("chu.stays", pb::Action::Aggregate, RESEARCH).await.unwrap();
    let second = world.steward.approve(&second).await.unwrap();
    let ask = async |grant: &str, number: i32| {
        let request = pb::ExecuteRequest {
            sql: format!("select count(*) from chu.stays where age <> {number}"),
            purpose: RESEARCH.to_owned(),
            grants: if grant.is_empty() { Vec::new() } else { vec![grant.to_owned()] },
            ..Default::default()
        };
        crate::personas::receive(world.requester.client.queries().execute(request).await?.into_inner()).await
    };
    for number in 0..2 {
        ask(&second.name, number).await.unwrap();
    }
    let spent = refused(ask(&second.name, 2).await, Code::ResourceExhausted, "PRIVACY_BUDGET_SPENT");
    assert_eq!(metadata(&spent, "scope"), "grant");
    let grants = world.requester.client.access().list_grants(pb::ListGrantsRequest::default()).await.unwrap();
    let first = grants
        .into_inner()
        .grants
        .into_iter()
        .find(|it| it.state() == pb::GrantState::Active && it.name != second.name);
    let first = first.unwrap().name;
    ask(&first, 3).await.unwrap();
    let spent = refused(ask(&first, 4).await, Code::ResourceExhausted, "PRIVACY_BUDGET_SPENT");
    assert_eq!(metadata(&spent, "scope"), "dataset");

    let budget = ledger(&world.steward).await;
    let total = budget.total.unwrap();
    assert_eq!((total.queries, total.epsilon.as_str(), total.budget.as_deref()), (3, "1.5", Some("1.5")));
    let scopes: std::collections::BTreeMap<_, _> =
        budget.scopes.into_iter().map(|scope| (scope.scope, scope.spent.unwrap().epsilon)).collect();
    let expected = [(first, "0.5"), (second.name, "1"), (format!("purposes/{RESEARCH}"), "1.5")];
    assert_eq!(scopes, expected.map(|(scope, epsilon)| (scope, epsilon.to_owned())).into());
    let request = pb::GetPrivacyBudgetRequest { dataset: world.steward.dataset("stays") };
    refused(world.requester.client.privacy().get_privacy_budget(request).await, Code::NotFound, "NOT_FOUND_OR_DENIED");
}

async fn a_charge_is_not_given_back_to_a_question_that_is_cut(hub: &mut Hub) {
    let world = world::small(hub).await;
    let grant = granted(&world.steward, &world.requester, noisy(privacy())).await;
    world.steward.revoke_grant(&world.grant.name).await.unwrap();
    drop(world.requester.start(RESEARCH, BY_COMMUNE).await.unwrap());
    assert_eq!(left(&world.requester, &grant).await.privacy.unwrap().epsilon, "0.5");
}

async fn a_budget_that_makes_no_sense_is_not_published(hub: &mut Hub) {
    let world = world::small(hub).await;
    let bounds = |column: &str, lower, upper| [(column.to_owned(), pb::Bounds { lower, upper })].into();
    for bad in [
        pb::Privacy { epsilon: "0".to_owned(), ..privacy() },
        pb::Privacy { epsilon: "2".to_owned(), ..privacy() },
        pb::Privacy { budget: "2".to_owned(), ..privacy() },
        pb::Privacy { delta: Some("0".to_owned()), ..privacy() },
        pb::Privacy { max_groups: 0, ..privacy() },
        pb::Privacy { max_rows: 0, ..privacy() },
        pb::Privacy { bounds: bounds("age", 0, 100), ..privacy() },
        pb::Privacy { bounds: bounds("cost", 1, 0), ..privacy() },
        pb::Privacy { bounds: bounds("cost", 0, i64::MAX), ..privacy() },
        pb::Privacy { bounds: bounds("nothing", 0, 1), ..privacy() },
        pb::Privacy { groups: [("pid".to_owned(), pb::Values::default())].into(), ..privacy() },
    ] {
        let policy = crate::policies::policy(&world.steward.dataset("stays"), vec![noisy(bad.clone())]);
        let answer = world.steward.publish(policy).await;
        assert!(answer.is_err(), "{bad:?}");
        refused(answer, Code::InvalidArgument, "POLICY_INVALID");
    }
}
