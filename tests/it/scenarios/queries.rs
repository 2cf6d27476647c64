//! Asking across datasets, and what the answer does and does not hold.

use odh::grpc::pb;
use tonic::Code;

use crate::{
    harness::{Hub, on_both_engines},
    personas::{Requester, ask, refused},
    world::{self, RESEARCH},
};

on_both_engines!(
    a_query_crosses_an_owners_data_with_open_data,
    masks_and_consents_hold_wherever_a_column_is_mentioned,
    an_aggregate_grant_gives_groups_and_no_rows,
    ones_own_data_needs_no_grant,
    an_answer_without_rows_is_an_answer,
    an_explanation_says_what_a_query_would_do_and_records_nothing,
    a_purpose_below_the_granted_one_is_covered_and_one_above_is_not,
    a_grant_can_be_named,
);

async fn a_query_crosses_an_owners_data_with_open_data(hub: &mut Hub) {
    let world = world::small(hub).await;
    let sql = "select c.name, count(*) as stays, sum(s.cost) as cost from chu.stays s \
               join chu.communes c on c.code = s.commune group by c.name order by c.name";
    let answer = world.requester.query(RESEARCH, sql).await.unwrap();
    assert_eq!(answer.columns(), ["name", "stays", "cost"]);
    let rows = answer.rows();
    // Commune 0 holds the subjects 0, 10, 20 ...: none of them has consented.
    assert_eq!(rows.len(), world::PLACES - 1);
    assert_eq!(rows.iter().map(|row| row[1].parse::<usize>().unwrap()).sum::<usize>(), world::consenting() * 4);
    let tables: Vec<&str> = answer.header.datasets.iter().map(|used| used.table.as_str()).collect();
    assert_eq!(tables, [world::COMMUNES, world::STAYS]);
    assert!(answer.header.datasets[0].grant.is_empty(), "open data needs no grant");
}

async fn masks_and_consents_hold_wherever_a_column_is_mentioned(hub: &mut Hub) {
    let world = world::small(hub).await;
    let query = async |sql: &str| world.requester.query(RESEARCH, sql).await.unwrap();
    let diagnoses = query("select diagnosis from chu.stays group by diagnosis order by 1").await.rows();
    assert_eq!(diagnoses, [["E"], ["I"], ["J"]]);
    for sql in [
        "select count(*) from chu.stays where diagnosis = 'J45'",
        "select count(*) from chu.stays where diagnosis like '_45'",
        "select count(*) from chu.stays where pid = 's00010'",
        "select count(*) from chu.stays where commune = 31001",
        "select count(*) from (select * from chu.stays) t where t.diagnosis = 'E11'",
    ] {
        assert_eq!(query(sql).await.number(), 0, "{sql}");
    }
    assert_eq!(query("select max(length(diagnosis)) from chu.stays").await.number(), 1);
}

async fn an_aggregate_grant_gives_groups_and_no_rows(hub: &mut Hub) {
    let world = world::small(hub).await;
    world.steward.revoke_grant(&world.grant.name).await.unwrap();
    let asked = world.requester.request_access(world::STAYS, pb::Action::Aggregate, RESEARCH).await.unwrap();
    world.steward.approve(&asked).await.unwrap();
    let query = async |sql: &str| world.requester.query(RESEARCH, sql).await;
    let groups = query("select commune, count(*) from chu.stays group by commune order by 1").await.unwrap();
    assert_eq!(groups.rows().len(), world::PLACES - 1);
    // Ages 18 to 87 over 450 subjects: six or seven subjects each, but some lose more than others to consent.
    let ages = query("select age, count(distinct pid) from chu.stays group by age").await.unwrap();
    assert!(ages.by_key().values().all(|n| n.parse::<u32>().unwrap() >= world::K), "{:?}", ages.by_key());
    refused(query("select age from chu.stays").await, Code::InvalidArgument, "QUERY_REJECTED");
    refused(query("select pid, count(*) from chu.stays group by pid").await, Code::InvalidArgument, "QUERY_REJECTED");
    refused(
        query("select diagnosis, count(*) from chu.stays group by diagnosis").await,
        Code::InvalidArgument,
        "QUERY_REJECTED",
    );
}

async fn ones_own_data_needs_no_grant(hub: &mut Hub) {
    let world = world::small(hub).await;
    let own = world.owner.requester().await;
    let answer = ask(&own, RESEARCH, "select count(*) from chu.stays").await.unwrap();
    assert_eq!(answer.number(), i64::try_from(world::ROWS).unwrap(), "no filter binds the owner but the floor");
    assert_eq!(answer.header.datasets[0].grant, "");
    ask(&own, RESEARCH, "select admitted, diagnosis from chu.stays limit 1").await.unwrap();
}

async fn an_answer_without_rows_is_an_answer(hub: &mut Hub) {
    let world = world::small(hub).await;
    let answer = world.requester.query(RESEARCH, "select pid, cost from chu.stays where age > 1000").await.unwrap();
    assert_eq!((answer.columns(), answer.rows().len()), (vec!["pid".to_owned(), "cost".to_owned()], 0));
}

async fn an_explanation_says_what_a_query_would_do_and_records_nothing(hub: &mut Hub) {
    use pb::explain_query_response::Result::{Explanation, Refusal};
    let world = world::small(hub).await;
    let before = world.auditor.entries("").await.len();
    let explained = world.requester.explain(RESEARCH, "select count(*) from chu.stays").await.unwrap();
    let Some(Explanation(explained)) = explained.result else { panic!("{explained:?}") };
    let [terms] = explained.datasets.as_slice() else { panic!("{explained:?}") };
    assert_eq!(terms.columns, ["pid", "commune", "age", "diagnosis", "cost"]);
    assert!(terms.consent_filter && terms.masks.contains_key("diagnosis") && terms.duties.len() == 1);
    let refused = world.requester.explain("marketing", "select count(*) from chu.stays").await.unwrap();
    let Some(Refusal(refusal)) = refused.result else { panic!("{refused:?}") };
    assert_eq!(refusal.reason(), pb::ErrorReason::PurposeNotPermitted);
    let message = refusal.message.unwrap();
    assert!(!message.fr.is_empty() && message.fr != message.en);
    assert_eq!(world.auditor.entries("").await.len(), before);
}

async fn a_purpose_below_the_granted_one_is_covered_and_one_above_is_not(hub: &mut Hub) {
    let world = world::small(hub).await;
    let count = "select count(*) from chu.stays";
    let below = world.requester.query("epidemiological_research", count).await.unwrap();
    assert_eq!(below.number(), i64::try_from(world::consenting() * 4).unwrap());
    let above = world.requester.query("research_and_development", count).await;
    refused(above, Code::PermissionDenied, "PURPOSE_NOT_PERMITTED");
}

async fn a_grant_can_be_named(hub: &mut Hub) {
    let world = world::small(hub).await;
    let asked = world.requester.request_access(world::STAYS, pb::Action::Read, RESEARCH).await.unwrap();
    let second = world.steward.approve(&asked).await.unwrap();
    let with = async |requester: &Requester, grant: &str| {
        let request = pb::ExecuteRequest {
            sql: "select count(*) from chu.stays".to_owned(),
            purpose: RESEARCH.to_owned(),
            grants: vec![grant.to_owned()],
            ..Default::default()
        };
        crate::personas::receive(requester.client.queries().execute(request).await?.into_inner()).await
    };
    for grant in [&world.grant.name, &second.name] {
        let answer = with(&world.requester, grant).await.unwrap();
        assert_eq!(&answer.header.datasets[0].grant, grant);
    }
    let nobody = with(&world.requester, "grants/00000000-0000-7000-8000-000000000000").await;
    refused(nobody, Code::PermissionDenied, "GRANT_REQUIRED");
    let nonsense = with(&world.requester, "nonsense").await.unwrap_err();
    assert_eq!(nonsense.code(), Code::InvalidArgument);
}
