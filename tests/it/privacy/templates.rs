//! Approved queries: nothing else is answered, whoever wrote it down and however.

use odh::grpc::pb;
use tonic::{Code, Status};

use super::policies::{granted, granted_on, rows};
use crate::{
    harness::{Hub, on_both_engines},
    personas::{Answer, Requester, metadata, receive, refused},
    world::{self, RESEARCH},
};

on_both_engines!(
    only_the_approved_query_is_answered,
    a_joint_query_needs_the_consent_of_every_owner,
    a_template_that_is_no_query_is_not_published,
);

const BY_AGE: &str =
    "SELECT commune, count(*) AS n FROM chu.stays WHERE age >= $least GROUP BY commune ORDER BY commune";

fn template(sql: &str, parameters: &[(&str, pb::LogicalType)]) -> pb::Template {
    let parameters = parameters
        .iter()
        .map(|(name, it)| ((*name).to_owned(), pb::ColumnType { logical_type: (*it).into(), ..Default::default() }));
    pb::Template { sql: sql.to_owned(), parameters: parameters.collect(), text: None }
}

fn only(templates: &[(&str, pb::Template)]) -> pb::How {
    let templates = templates.iter().map(|(name, it)| ((*name).to_owned(), it.clone())).collect();
    pb::How { templates: Some(pb::Templates { templates }), ..Default::default() }
}

async fn approved(requester: &Requester, name: &str, parameters: &[(&str, &str)]) -> Result<Answer, Status> {
    let request = pb::ExecuteRequest {
        purpose: RESEARCH.to_owned(),
        template: name.to_owned(),
        parameters: parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..Default::default()
    };
    receive(requester.client.queries().execute(request).await?.into_inner()).await
}

async fn only_the_approved_query_is_answered(hub: &mut Hub) {
    let world = world::small(hub).await;
    let by_age = template(BY_AGE, &[("least", pb::LogicalType::Int64)]);
    granted(&world.steward, &world.requester, rows(only(&[("by_age", by_age.clone())]))).await;
    world.steward.revoke_grant(&world.grant.name).await.unwrap();
    let name = format!("{}/templates/by_age", world.steward.dataset("stays"));

    let request = pb::ListTemplatesRequest { dataset: world.steward.dataset("stays") };
    let listed = world.requester.client.privacy().list_templates(request).await.unwrap().into_inner().templates;
    assert_eq!((listed.len(), &listed[0].name, listed[0].template.as_ref()), (1, &name, Some(&by_age)));

    let bound = approved(&world.requester, &name, &[("least", "60")]).await.unwrap();
    assert!(!bound.rows().is_empty());
    // The same text with the value in its place is the same query, however it is laid out.
    let written =
        "select commune, COUNT(*) as n from chu.stays\n where age>=60 -- adults\n group by commune order by commune";
    let by_hand = world.requester.query(RESEARCH, written).await.unwrap();
    assert_eq!(by_hand.rows(), bound.rows());
    let (_, decision) = world
        .auditor
        .entries("type = \"query.decision\"")
        .await
        .into_iter()
        .find(|(index, _)| *index == bound.receipt.decision.as_ref().unwrap().index)
        .unwrap();
    assert!(decision.to_string().contains("chu.stays/by_age"), "{decision}");

    for other in [
        "select count(*) from chu.stays",
        "select commune, count(*) as n from chu.stays where age >= 60 or true group by commune order by commune",
        "select commune, count(*) as n from chu.stays where age >= age group by commune order by commune",
        "select commune, count(*) as n from chu.stays where age >= 60 group by commune order by commune limit 1",
        "select pid, count(*) as n from chu.stays where age >= 60 group by pid order by pid",
    ] {
        let status = refused(world.requester.query(RESEARCH, other).await, Code::PermissionDenied, "POLICY_DENIED");
        assert_eq!(metadata(&status, "clause"), "templates", "{other}");
    }
    for (values, code) in [
        (&[][..], Code::InvalidArgument),
        (&[("least", "60 OR 1=1")], Code::InvalidArgument),
        (&[("least", "60"), ("more", "1")], Code::InvalidArgument),
    ] {
        assert_eq!(approved(&world.requester, &name, values).await.unwrap_err().code(), code, "{values:?}");
    }
    let unknown = approved(&world.requester, &name.replace("by_age", "by_cost"), &[]).await;
    refused(unknown, Code::NotFound, "NOT_FOUND_OR_DENIED");
}

async fn a_joint_query_needs_the_consent_of_every_owner(hub: &mut Hub) {
    let world = world::small(hub).await;
    let grid = world.operator.welcome("grid", pb::ParticipantKind::Company).await.steward().await;
    grid.create_noted("meters", &[]).await;
    grid.upload("meters", "pid,kwh\ns00001,10\ns00002,20\n").await.unwrap();
    let joint = "SELECT count(*) AS n FROM chu.stays AS s JOIN grid.meters AS m ON s.pid = m.pid WHERE m.kwh > $least";
    let least = [("least", pb::LogicalType::Int64)];
    granted(&world.steward, &world.requester, rows(only(&[("joint", template(joint, &least))]))).await;
    world.steward.revoke_grant(&world.grant.name).await.unwrap();
    let mut rule = rows(only(&[("own", template("SELECT count(*) AS n FROM grid.meters", &[]))]));
    rule.columns = None;
    granted_on(&grid, &world.requester, "meters", rule.clone()).await;
    let sql = joint.replace("$least", "5");
    let status = refused(world.requester.query(RESEARCH, &sql).await, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(metadata(&status, "dataset"), "grid.meters");
    rule.how = Some(only(&[("joint", template(joint, &least))]));
    granted_on(&grid, &world.requester, "meters", rule).await;
    let grants = world.requester.client.access().list_grants(pb::ListGrantsRequest::default()).await.unwrap();
    let old = grants.into_inner().grants.into_iter().rfind(|grant| grant.table == "grid.meters").unwrap();
    grid.revoke_grant(&old.name).await.unwrap();
    assert_eq!(world.requester.query(RESEARCH, &sql).await.unwrap().number(), 8);
}

async fn a_template_that_is_no_query_is_not_published(hub: &mut Hub) {
    let world = world::small(hub).await;
    let int = pb::LogicalType::Int64;
    for bad in [
        template("DELETE FROM chu.stays", &[]),
        template("SELECT count(*) FROM chu.stays WHERE age = $age", &[]),
        template("SELECT count(*) FROM chu.stays", &[("age", int)]),
        template("SELECT count(*) FROM chu.stays WHERE age = $1", &[("age", int)]),
        template("SELECT count(*) FROM lab.other WHERE age = $age", &[("age", int)]),
        template("SELECT now() FROM chu.stays", &[]),
    ] {
        let how = only(&[("bad", bad.clone())]);
        let policy = crate::policies::policy(&world.steward.dataset("stays"), vec![rows(how)]);
        let status = refused(world.steward.publish(policy).await, Code::InvalidArgument, "POLICY_INVALID");
        assert_eq!(metadata(&status, "path"), "how.templates.bad", "{bad:?}");
    }
}
