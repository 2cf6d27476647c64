//! Changes that collide, repeat or make no sense: a clear reason, and nothing half done.

use odh::grpc::pb;
use tonic::Code;

use crate::{
    harness::{Hub, on_both_engines},
    personas::{Operator, reason, refused},
    policies::open_policy,
    world,
};

on_both_engines!(
    a_stale_etag_is_refused_and_changes_nothing,
    an_id_is_taken_once_even_by_many_at_once,
    the_same_request_id_does_the_same_thing_once,
    a_request_id_is_for_one_request,
    a_missing_or_unknown_field_is_named,
    a_decision_is_taken_once_even_by_many_at_once,
    what_has_ended_does_not_begin_again,
    errors_carry_their_reason_domain_and_texts,
);

async fn a_stale_etag_is_refused_and_changes_nothing(hub: &mut Hub) {
    let world = world::small(hub).await;
    let read = world.steward.get_dataset("communes").await.unwrap();
    let update = |title: &str, etag: &str| pb::UpdateDatasetRequest {
        dataset: Some(pb::Dataset { name: read.name.clone(), title: title.to_owned(), ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["title".to_owned()] }),
        etag: etag.to_owned(),
        request_id: String::new(),
    };
    let catalog = world.steward.client.catalog();
    let first = catalog.clone().update_dataset(update("First", &read.etag)).await.unwrap().into_inner();
    let first = first.dataset.unwrap();
    assert_ne!(first.etag, read.etag);
    assert_eq!((first.title.as_str(), &first.description), ("First", &read.description));
    let second = catalog.clone().update_dataset(update("Second", &read.etag)).await;
    refused(second, Code::Aborted, "ETAG_MISMATCH");
    assert_eq!(world.steward.get_dataset("communes").await.unwrap(), first);
    let without = catalog.clone().update_dataset(update("Third", "")).await.unwrap_err();
    assert_eq!(without.code(), Code::InvalidArgument, "the etag is required: {without:?}");
    let many = (0..8).map(|n| {
        let (mut catalog, request) = (catalog.clone(), update(&format!("Many {n}"), &first.etag));
        async move { catalog.update_dataset(request).await }
    });
    let done = futures::future::join_all(many).await;
    assert_eq!(done.iter().filter(|answer| answer.is_ok()).count(), 1, "one of many wins");
}

async fn an_id_is_taken_once_even_by_many_at_once(hub: &mut Hub) {
    let world = world::small(hub).await;
    let many = (0..8).map(|_| world.steward.create_dataset("wanted", pb::AccessLevel::Open, None));
    let done = futures::future::join_all(many).await;
    let (made, others): (Vec<_>, Vec<_>) = done.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1);
    for answer in others {
        refused(answer, Code::AlreadyExists, "ALREADY_EXISTS");
    }
    let entries =
        world.auditor.entries("type = \"dataset.created\" AND dataset = \"participants/chu/datasets/wanted\"");
    assert_eq!(entries.await.len(), 1);
}

async fn the_same_request_id_does_the_same_thing_once(hub: &mut Hub) {
    let world = world::small(hub).await;
    let request = pb::CreateDatasetRequest {
        request_id: "0197a0b0-0000-7000-8000-000000000001".to_owned(),
        ..world.steward.new_dataset("once", pb::AccessLevel::Open, None)
    };
    let catalog = world.steward.client.catalog();
    let many = (0..6).map(|_| {
        let (mut catalog, request) = (catalog.clone(), request.clone());
        async move { catalog.create_dataset(request).await.unwrap().into_inner() }
    });
    let answers = futures::future::join_all(many).await;
    assert!(answers.iter().all(|answer| answer == &answers[0]), "every repetition gets the first answer");
    hub.restart().await;
    let steward = world.steward.at(&hub.site()).await;
    let later = steward.client.catalog().create_dataset(request).await.unwrap().into_inner();
    assert_eq!(later, answers[0]);
    let auditor = crate::personas::Auditor(world.auditor.at(&hub.site()).await);
    let entries = auditor.entries("type = \"dataset.created\" AND dataset = \"participants/chu/datasets/once\"").await;
    assert_eq!(entries.len(), 1);
}

async fn a_request_id_is_for_one_request(hub: &mut Hub) {
    let world = world::small(hub).await;
    let id = "0197a0b0-0000-7000-8000-000000000002".to_owned();
    let with_id = |name: &str| pb::CreateDatasetRequest {
        request_id: id.clone(),
        ..world.steward.new_dataset(name, pb::AccessLevel::Open, None)
    };
    let catalog = world.steward.client.catalog();
    catalog.clone().create_dataset(with_id("one")).await.unwrap();
    refused(catalog.clone().create_dataset(with_id("two")).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    // Another caller's ids are its own.
    let other = world.owner.steward().await;
    other.client.catalog().create_dataset(with_id("two")).await.unwrap();
    let bad = pb::CreateDatasetRequest { request_id: "not a uuid".to_owned(), ..with_id("three") };
    assert_eq!(catalog.clone().create_dataset(bad).await.unwrap_err().code(), Code::InvalidArgument);
    // A secret is shown once.
    let invitation = pb::CreateInvitationRequest { request_id: id.clone(), ..Default::default() };
    let participants = world.operator.client.participants();
    let first = participants.clone().create_invitation(invitation.clone()).await.unwrap().into_inner();
    let again = participants.clone().create_invitation(invitation).await.unwrap().into_inner();
    assert!(!first.invitation_token.is_empty() && again.invitation_token.is_empty());
    assert_eq!(first.receipt, again.receipt);
}

async fn a_missing_or_unknown_field_is_named(hub: &mut Hub) {
    let world = world::small(hub).await;
    let good = || world.steward.new_dataset("fields", pb::AccessLevel::Open, None);
    let dataset = || good().dataset.unwrap();
    let with = |dataset: pb::Dataset| pb::CreateDatasetRequest { dataset: Some(dataset), ..good() };
    let cases = [
        ("no dataset", pb::CreateDatasetRequest { dataset: None, ..good() }),
        ("no parent", pb::CreateDatasetRequest { parent: String::new(), ..good() }),
        ("a parent of another kind", pb::CreateDatasetRequest { parent: "grants/x".to_owned(), ..good() }),
        ("no title", with(pb::Dataset { title: String::new(), ..dataset() })),
        ("a title too long", with(pb::Dataset { title: "x".repeat(201), ..dataset() })),
        ("a title of control characters", with(pb::Dataset { title: "a\u{1b}[31m\r\n".to_owned(), ..dataset() })),
        ("no access level", with(pb::Dataset { access_level: 0, ..dataset() })),
        ("an access level of the future", with(pb::Dataset { access_level: 42, ..dataset() })),
        ("too many keywords", with(pb::Dataset { keywords: vec!["k".to_owned(); 33], ..dataset() })),
        ("a subject key that is none", with(pb::Dataset { subject_key: Some(pb::SubjectKey::default()), ..dataset() })),
    ];
    for (what, request) in cases {
        let answer = world.steward.client.catalog().create_dataset(request).await;
        let status = answer.err().unwrap_or_else(|| panic!("{what} was taken"));
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status:?}");
        assert!(["INVALID_ARGUMENT", "ID_INVALID"].contains(&reason(&status).as_str()), "{what}: {status:?}");
    }
    let update = pb::UpdateDatasetRequest {
        dataset: Some(pb::Dataset { name: world.steward.dataset("communes"), ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["state".to_owned()] }),
        etag: "\"1\"".to_owned(),
        request_id: String::new(),
    };
    let status = world.steward.client.catalog().update_dataset(update).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "a field that is not the owner's to set: {status:?}");
    assert!(world.steward.get_dataset("fields").await.is_err(), "nothing was made");
}

async fn a_decision_is_taken_once_even_by_many_at_once(hub: &mut Hub) {
    let world = world::small(hub).await;
    let asked = world.requester.request_access(world::STAYS, pb::Action::Read, world::RESEARCH).await.unwrap();
    let stewards = [world.steward.clone(), world.owner.steward().await, world.owner.steward().await];
    let decisions = stewards.iter().map(|steward| steward.approve(&asked));
    let done = futures::future::join_all(decisions).await;
    assert_eq!(done.iter().filter(|answer| answer.is_ok()).count(), 1);
    refused(world.steward.refuse(&asked, "too late").await, Code::Aborted, "ETAG_MISMATCH");
    let entries = world.auditor.entries("type = \"access.approved\"").await;
    assert_eq!(entries.len(), 2, "that of the world and this one");
}

async fn what_has_ended_does_not_begin_again(hub: &mut Hub) {
    let world = world::small(hub).await;
    world.steward.revoke_grant(&world.grant.name).await.unwrap();
    refused(world.steward.revoke_grant(&world.grant.name).await, Code::FailedPrecondition, "STATE_CONFLICT");
    world.steward.revoke_policy(&world.policy.name).await.unwrap();
    refused(world.steward.revoke_policy(&world.policy.name).await, Code::FailedPrecondition, "STATE_CONFLICT");
    let asked = world.requester.request_access(world::STAYS, pb::Action::Read, world::RESEARCH).await;
    assert!(asked.is_err(), "no policy is in force");
    let retire = || pb::RetireDatasetRequest { name: world.steward.dataset("communes"), ..Default::default() };
    let catalog = world.steward.client.catalog();
    catalog.clone().retire_dataset(retire()).await.unwrap();
    refused(catalog.clone().retire_dataset(retire()).await, Code::FailedPrecondition, "STATE_CONFLICT");
    let upload = world.steward.upload("communes", "a\n1\n").await;
    refused(upload, Code::FailedPrecondition, "STATE_CONFLICT");
    let publish = world.steward.publish(open_policy(&world.steward.dataset("communes"))).await;
    refused(publish, Code::FailedPrecondition, "STATE_CONFLICT");
    let taken = world.steward.create_dataset("communes", pb::AccessLevel::Open, None).await;
    refused(taken, Code::AlreadyExists, "ALREADY_EXISTS");
}

async fn errors_carry_their_reason_domain_and_texts(hub: &mut Hub) {
    use tonic_types::StatusExt as _;
    let operator = Operator::first(&hub.site(), &hub.operator_token()).await;
    let request = pb::GetParticipantRequest { name: "participants/Not An Id".to_owned() };
    let status = operator.client.participants().get_participant(request).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "ID_INVALID"));
    let text = status.get_details_localized_message().unwrap();
    assert_eq!((text.locale.as_str(), text.message.as_str()), ("en", status.message()));
    assert!(!text.message.contains('?'), "a parameter is missing: {text:?}");
}
