//! Lists: pages, their tokens and filters.

use std::collections::BTreeSet;

use base64::Engine as _;
use odh::grpc::pb;
use tonic::{Code, Status};

use crate::{
    harness::{Hub, on_both_engines},
    personas::{Persona, refused},
    world,
};

on_both_engines!(
    pages_follow_one_another_without_gap_or_repetition,
    a_page_token_belongs_to_its_caller_and_its_request,
    a_page_token_that_was_changed_is_refused,
    a_negative_page_size_is_refused_and_a_huge_one_is_cut,
    a_filter_that_is_not_known_is_refused_never_ignored,
    a_search_finds_words_whatever_their_accents,
    inbox_and_outbox_show_each_side_its_own,
);

async fn page(persona: &Persona, request: pb::ListDatasetsRequest) -> Result<pb::ListDatasetsResponse, Status> {
    persona.client.catalog().list_datasets(request).await.map(tonic::Response::into_inner)
}

fn of_three(page_token: &str) -> pb::ListDatasetsRequest {
    pb::ListDatasetsRequest { page_size: 3, page_token: page_token.to_owned(), ..Default::default() }
}

async fn catalog(hub: &mut Hub) -> world::World {
    let world = world::small(hub).await;
    for number in 0..10 {
        world.steward.create_dataset(&format!("n{number}"), pb::AccessLevel::Open, None).await.unwrap();
    }
    world
}

async fn pages_follow_one_another_without_gap_or_repetition(hub: &mut Hub) {
    let world = catalog(hub).await;
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let next = page(&world.steward, of_three(&token)).await.unwrap();
        assert!(next.datasets.len() <= 3);
        seen.extend(next.datasets.into_iter().map(|dataset| dataset.name));
        token = next.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((seen.len(), seen.iter().collect::<BTreeSet<_>>().len()), (12, 12), "{seen:?}");
    assert!(seen.is_sorted());
    // Of drafts others see nothing, page after page.
    let (mut count, mut token) = (0, String::new());
    loop {
        let next = page(&world.requester, of_three(&token)).await.unwrap();
        count += next.datasets.len();
        token = next.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(count, 2);
}

async fn a_page_token_belongs_to_its_caller_and_its_request(hub: &mut Hub) {
    let world = catalog(hub).await;
    let token = page(&world.steward, of_three("")).await.unwrap().next_page_token;
    let colleague = world.owner.steward().await;
    refused(page(&colleague, of_three(&token)).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    refused(page(&world.requester, of_three(&token)).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    let other = pb::ListDatasetsRequest { query: "dataset".to_owned(), ..of_three(&token) };
    refused(page(&world.steward, other).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    let elsewhere = pb::ListParticipantsRequest { page_size: 3, page_token: token.clone(), filter: String::new() };
    let answer = world.steward.client.participants().list_participants(elsewhere).await;
    refused(answer, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    page(&world.steward, of_three(&token)).await.unwrap();
    hub.restart().await;
    page(&world.steward.at(&hub.site()).await, of_three(&token)).await.expect("it outlives a restart");
}

async fn a_page_token_that_was_changed_is_refused(hub: &mut Hub) {
    let world = catalog(hub).await;
    let token = page(&world.steward, of_three("")).await.unwrap().next_page_token;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(&token).unwrap();
    assert!(!bytes.windows(3).any(|three| three == b"chu"), "it shows what it holds: {token}");
    for at in (0..token.len()).step_by(5) {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        refused(page(&world.steward, of_three(&changed)).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    }
    for invented in ["x", "AAAA", "\u{1F980}", &token[1..], &format!("{token}A")] {
        refused(page(&world.steward, of_three(invented)).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    }
}

async fn a_negative_page_size_is_refused_and_a_huge_one_is_cut(hub: &mut Hub) {
    let world = catalog(hub).await;
    let sized = |page_size| pb::ListDatasetsRequest { page_size, ..Default::default() };
    refused(page(&world.steward, sized(-1)).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    refused(page(&world.steward, sized(i32::MIN)).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    assert_eq!(page(&world.steward, sized(i32::MAX)).await.unwrap().datasets.len(), 12);
    assert_eq!(page(&world.steward, sized(0)).await.unwrap().datasets.len(), 12);
}

async fn a_filter_that_is_not_known_is_refused_never_ignored(hub: &mut Hub) {
    let world = catalog(hub).await;
    let filtered = |filter: &str| pb::ListDatasetsRequest { filter: filter.to_owned(), ..Default::default() };
    for bad in [
        "color = \"red\"",
        "state",
        "state =",
        "state = \"draft\" OR state = \"published\"",
        "state != \"draft\"",
        "state = \"draft\" AND",
        "NOT state = \"draft\"",
        "state = \"draft",
        "' OR 1=1 --",
    ] {
        let answer = page(&world.steward, filtered(bad)).await;
        assert!(answer.is_err(), "`{bad}` was taken");
        refused(answer, Code::InvalidArgument, "FILTER_INVALID");
    }
    refused(page(&world.steward, filtered(&"x".repeat(2_001))).await, Code::InvalidArgument, "FILTER_INVALID");
    let drafts = page(&world.steward, filtered("state = \"draft\"")).await.unwrap().datasets;
    assert_eq!(drafts.len(), 10);
    assert!(drafts.iter().all(|dataset| dataset.state() == pb::DatasetState::Draft));
    let entries = pb::ListEntriesRequest { filter: "kind = \"x\"".to_owned(), ..Default::default() };
    let answer = world.auditor.client.audit().list_entries(entries).await;
    refused(answer, Code::InvalidArgument, "FILTER_INVALID");
    let made = world.auditor.entries("type = \"dataset.created\" AND actor = \"participants/chu\"").await;
    assert_eq!(made.len(), 12);
}

async fn a_search_finds_words_whatever_their_accents(hub: &mut Hub) {
    let world = world::small(hub).await;
    let dataset = pb::Dataset {
        name: world.steward.dataset("communes"),
        title: "Communes d'Occitanie : Sète, Nîmes, Pamiers".to_owned(),
        ..Default::default()
    };
    let request = pb::UpdateDatasetRequest {
        dataset: Some(dataset),
        update_mask: Some(prost_types::FieldMask { paths: vec!["title".to_owned()] }),
        etag: world.steward.get_dataset("communes").await.unwrap().etag,
        request_id: String::new(),
    };
    world.steward.client.catalog().update_dataset(request).await.unwrap();
    let search = |query: &str| pb::ListDatasetsRequest { query: query.to_owned(), ..Default::default() };
    for words in ["sete", "SÈTE", "nimes occitanie", "Pamiers", "nîm"] {
        let found = page(&world.requester, search(words)).await.unwrap();
        assert_eq!(found.datasets.len(), 1, "`{words}`");
        assert_eq!(found.empty_reason(), pb::EmptyReason::Unspecified);
    }
    for words in ["montpellier", "nîmes montpellier", "%", "_", "'"] {
        let found = page(&world.requester, search(words)).await.unwrap();
        assert!(found.datasets.is_empty() || words == "'", "`{words}` found {:?}", found.datasets);
    }
}

async fn inbox_and_outbox_show_each_side_its_own(hub: &mut Hub) {
    use pb::AccessRequestDirection::{Inbox, Outbox, Unspecified};
    let world = world::small(hub).await;
    let asked = world.requester.request_access(world::STAYS, pb::Action::Aggregate, world::RESEARCH).await.unwrap();
    let list = async |persona: &Persona, direction: pb::AccessRequestDirection| {
        let request = pb::ListAccessRequestsRequest { direction: direction.into(), ..Default::default() };
        let page = persona.client.access().list_access_requests(request).await.unwrap().into_inner();
        page.access_requests.into_iter().map(|request| request.name).collect::<Vec<_>>()
    };
    assert_eq!(list(&world.steward, Inbox).await.len(), 2);
    assert_eq!(list(&world.steward, Inbox).await[0], asked.name, "the newest first");
    assert_eq!(list(&world.steward, Outbox).await, [""; 0]);
    assert_eq!(list(&world.requester, Outbox).await.len(), 2);
    assert_eq!(list(&world.requester, Inbox).await, [""; 0]);
    assert_eq!(list(&world.requester, Unspecified).await.len(), 2);
}
