//! P8: every term of a policy is enforced, or recorded as a duty and shown as such, or refused. None is ignored.

use std::collections::BTreeMap;

use odh::grpc::pb::{self, Coverage};
use prost::Message as _;
use tonic::Code;

use crate::{
    harness::{
        Hub, on_both_engines,
        raw::{frame, post},
    },
    personas::{Admin, Persona, ask, metadata, refused},
    policies::{at_least, no_reidentification, only, permit, policy, prefix, stays_policy},
    world::{self, RESEARCH, World},
};

on_both_engines!(
    coverage_lists_each_term_of_a_policy,
    what_cannot_be_enforced_is_refused_with_its_place,
    a_check_finds_what_publication_refuses,
    each_limit_of_a_rule_is_seen_in_answers,
    a_floor_that_asks_for_a_certificate_asks_the_owner_for_it_too,
    duties_are_recorded_in_the_grant,
    a_published_policy_never_changes,
);

async fn check(world: &World, policy: pb::Policy) -> pb::CheckPolicyResponse {
    let request = pb::CheckPolicyRequest { policy: Some(policy) };
    world.steward.client.policies().check_policy(request).await.unwrap().into_inner()
}

fn rich(dataset: &str) -> pb::Policy {
    let rule = pb::Rule {
        who: Some(pb::Who {
            organisations: vec!["participants/lab".to_owned()],
            kinds: vec![pb::ParticipantKind::Lab.into()],
            countries: vec!["EU".to_owned()],
            roles: vec![pb::Role::Requester.into()],
            ..Default::default()
        }),
        columns: Some(only(&["pid", "commune", "age", "diagnosis", "cost"])),
        legal_basis: pb::LegalBasis::Consent.into(),
        windows: vec![pb::Window { from_time: Some(time(0)), until_time: Some(time(4_000_000_000)) }],
        how: Some(pb::How {
            row_filter: Some(at_least("age", 30)),
            masks: [("diagnosis".to_owned(), prefix(1))].into(),
            max_rows: Some(10_000),
            certificate_required: true,
            ..Default::default()
        }),
        duties: vec![no_reidentification(), pb::Duty { duty: Some(pb::duty::Duty::DeleteAfterDays(30)) }],
        ..permit("rich", &[pb::Action::Read], &[RESEARCH])
    };
    policy(dataset, vec![rule])
}

fn time(seconds: i64) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds, nanos: 0 }
}

async fn coverage_lists_each_term_of_a_policy(hub: &mut Hub) {
    let world = world::small(hub).await;
    let checked = check(&world, rich(&world.steward.dataset("stays"))).await;
    assert_eq!(checked.findings.iter().filter(|f| f.severity() == pb::FindingSeverity::Error).count(), 0);
    let coverage: BTreeMap<&str, Coverage> =
        checked.coverage.iter().map(|term| (term.path.as_str(), term.coverage())).collect();
    let covered = |term: &str| coverage.iter().find(|(path, _)| path.contains(term)).map(|(_, coverage)| *coverage);
    for term in [
        "actions",
        "organisations",
        "kinds",
        "countries",
        "roles",
        "columns",
        "purposes",
        "legal_basis",
        "when",
        "row_filter",
        "masks",
        "max_rows",
        "certificate_required",
    ] {
        assert_eq!(covered(term), Some(Coverage::Enforced), "`{term}` in {coverage:#?}");
    }
    assert_eq!(covered("duties"), Some(Coverage::Duty), "{coverage:#?}");
    assert!(!coverage.values().any(|c| matches!(c, Coverage::Unspecified | Coverage::Refused)), "{coverage:#?}");
    // The digest is of the very text that is shown.
    let digest = odh::domain::Digest::of(checked.canonical_json.as_bytes()).to_string();
    assert_eq!(checked.digest, digest);
}

async fn what_cannot_be_enforced_is_refused_with_its_place(hub: &mut Hub) {
    let world = world::small(hub).await;
    let dataset = world.steward.dataset("stays");
    let sound = || rich(&dataset).rules.remove(0);
    let with_how = |how: pb::How| pb::Rule { how: Some(how), ..sound() };
    let cases: Vec<(&str, pb::Rule)> = vec![
        ("an unknown column", pb::Rule { columns: Some(only(&["pid", "nothing"])), ..sound() }),
        ("a purpose that is none", pb::Rule { purposes: vec!["world_domination".to_owned()], ..sound() }),
        ("no action", pb::Rule { actions: Vec::new(), ..sound() }),
        ("no legal basis", pb::Rule { legal_basis: 0, ..sound() }),
        ("no effect", pb::Rule { effect: 0, ..sound() }),
        ("an effect of the future", pb::Rule { effect: 99, ..sound() }),
        ("an action of the future", pb::Rule { actions: vec![99], ..sound() }),
        ("an empty window", pb::Rule { windows: vec![pb::Window::default()], ..sound() }),
        ("a k of one", with_how(pb::How { aggregate_only: Some(pb::AggregateOnly { k: 1 }), ..Default::default() })),
        ("no rows", with_how(pb::How { max_rows: Some(0), ..Default::default() })),
        (
            "a mask of another type",
            with_how(pb::How { masks: [("cost".to_owned(), prefix(2))].into(), ..Default::default() }),
        ),
        (
            "a mask that is none",
            with_how(pb::How { masks: [("diagnosis".to_owned(), pb::Mask::default())].into(), ..Default::default() }),
        ),
        ("an empty filter", with_how(pb::How { row_filter: Some(pb::Filter::default()), ..Default::default() })),
        (
            "a filter on another type",
            with_how(pb::How { row_filter: Some(at_least("diagnosis", 3)), ..Default::default() }),
        ),
        ("an empty duty", pb::Rule { duties: vec![pb::Duty::default()], ..sound() }),
        ("a limit on a deny", pb::Rule { effect: pb::Effect::Deny.into(), legal_basis: 0, ..sound() }),
    ];
    for (what, rule) in cases {
        let answer = world.steward.publish(policy(&dataset, vec![rule])).await;
        let status = answer.err().unwrap_or_else(|| panic!("{what} was published"));
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status:?}");
    }
    let rule = pb::Rule { columns: Some(only(&["nothing"])), ..sound() };
    let status = world.steward.publish(policy(&dataset, vec![rule])).await.unwrap_err();
    let named = [metadata(&status, "path"), metadata(&status, "column")].concat();
    assert!(named.contains("columns") || named.contains("nothing"), "{status:?}");
    // Nothing of all this is in force.
    world.requester.query(RESEARCH, "select count(*) from chu.stays").await.unwrap();
}

async fn a_check_finds_what_publication_refuses(hub: &mut Hub) {
    let world = world::small(hub).await;
    let mut bad = rich(&world.steward.dataset("stays"));
    bad.rules[0].how.as_mut().unwrap().masks.insert("cost".to_owned(), prefix(2));
    let found = check(&world, bad.clone()).await.findings;
    let error = found.iter().find(|f| f.severity() == pb::FindingSeverity::Error).unwrap();
    let message = error.message.as_ref().unwrap();
    assert!(error.path.contains("cost") && !message.fr.is_empty() && message.fr != message.en, "{error:?}");
    refused(world.steward.publish(bad).await, Code::InvalidArgument, "POLICY_INVALID");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_term_that_the_hub_does_not_know_is_never_dropped() {
    let mut hub = Hub::start(crate::harness::Engine::Sqlite, "unknown_term").await.unwrap();
    let world = world::small(&mut hub).await;
    // A client of a later version: a rule with a field 99 that this hub has never heard of.
    let mut rule = rich(&world.steward.dataset("stays")).rules.remove(0).encode_to_vec();
    rule.extend([0x9a, 0x06, 0x03, b'n', b'e', b'w']);
    let mut message = Vec::new();
    field(&mut message, 1, world.steward.dataset("stays").as_bytes());
    field(&mut message, 2, &rule);
    let mut request = Vec::new();
    field(&mut request, 1, &message);
    let identity = Some(world.steward.identity());
    let answer = post(&hub.site(), identity, "PolicyService/CreatePolicy", frame(&request)).await.unwrap();
    assert_eq!(answer.grpc.map(Code::from_i32), Some(Code::InvalidArgument), "{answer:?}");
    hub.stop().await;
}

/// A length-delimited field of protobuf.
fn field(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    message.push(number << 3 | 2);
    prost::encoding::encode_varint(bytes.len() as u64, message);
    message.extend(bytes);
}

async fn each_limit_of_a_rule_is_seen_in_answers(hub: &mut Hub) {
    let world = world::small(hub).await;
    let steward = &world.steward;
    steward.revoke_policy(&world.policy.name).await.unwrap();
    let mut limited = rich(&steward.dataset("stays"));
    limited.rules[0].how.as_mut().unwrap().max_rows = Some(100);
    steward.publish(limited).await.unwrap();
    let asked = world.requester.request_access("chu.stays", pb::Action::Read, RESEARCH).await.unwrap();
    steward.approve(&asked).await.unwrap();
    let read = async |sql: &str| world.requester.query(RESEARCH, sql).await;

    assert_eq!(read("select min(age) from chu.stays").await.unwrap().number(), 30, "the row filter");
    let diagnoses = read("select diagnosis, count(*) from chu.stays group by diagnosis").await.unwrap().by_key();
    assert_eq!(diagnoses.keys().map(String::as_str).collect::<Vec<_>>(), ["E", "I", "J"], "the mask");
    let unconsented = "select count(*) from chu.stays where pid = 's00020'";
    assert_eq!(read(unconsented).await.unwrap().number(), 0, "the consent filter");
    refused(read("select admitted from chu.stays").await, Code::InvalidArgument, "QUERY_REJECTED");
    refused(read("select pid from chu.stays").await, Code::ResourceExhausted, "QUERY_LIMIT");
    assert_eq!(read("select pid from chu.stays limit 100").await.unwrap().rows().len(), 100, "the row cap");

    let tool = without_certificate(&world.lab, &world.requester).await;
    let answer = ask(&tool, RESEARCH, "select count(*) from chu.stays").await;
    let status = refused(answer, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(metadata(&status, "clause"), "certificate");
}

/// The member as a tool that has nothing but a token.
async fn without_certificate(admin: &Admin, member: &Persona) -> Persona {
    let request = pb::CreateAccessTokenRequest { member: member.name.clone(), ..Default::default() };
    let token = admin.client.participants().create_access_token(request).await.unwrap().into_inner().access_token;
    let target = odh::cli::client::Target::new(&member.site.grpc, &member.site.ca_pem).with_bearer(token);
    Persona { client: odh::cli::client::Client::connect(target).await.unwrap(), ..member.clone() }
}

async fn a_floor_that_asks_for_a_certificate_asks_the_owner_for_it_too(hub: &mut Hub) {
    let world = world::small(hub).await;
    let own = world.owner.requester().await;
    let tool = without_certificate(&world.owner, &own).await;
    let count = "select count(*) from chu.stays";
    ask(&tool, RESEARCH, count).await.unwrap();
    let mut policy = stays_policy(&world.steward.dataset("stays"));
    policy.floor = Some(pb::How { certificate_required: true, ..Default::default() });
    world.steward.publish(policy).await.unwrap();
    let status = refused(ask(&tool, RESEARCH, count).await, Code::PermissionDenied, "POLICY_DENIED");
    assert_eq!(metadata(&status, "clause"), "certificate");
    own.query(RESEARCH, count).await.unwrap();
}

async fn duties_are_recorded_in_the_grant(hub: &mut Hub) {
    let world = world::small(hub).await;
    assert_eq!(world.grant.duties, [no_reidentification()]);
    let answer = world.requester.query(RESEARCH, "select count(*) from chu.stays").await.unwrap();
    let used = &answer.header.datasets[0];
    assert_eq!((used.rule.as_str(), used.grant.as_str()), ("rows", world.grant.name.as_str()));
    assert_eq!(used.policy_digest, world.policy.digest);
    assert_eq!(used.legal_basis(), pb::LegalBasis::Consent);
}

async fn a_published_policy_never_changes(hub: &mut Hub) {
    let world = world::small(hub).await;
    let second = world.steward.publish(rich(&world.steward.dataset("stays"))).await.unwrap();
    assert_eq!(second.version, world.policy.version + 1);
    let request = pb::GetPolicyRequest { name: world.policy.name.clone() };
    let first = world.requester.client.policies().get_policy(request).await.unwrap().into_inner();
    let first = first.policy_version.unwrap();
    assert_eq!((first.state(), &first.digest), (pb::PolicyState::Retired, &world.policy.digest));
    assert_eq!(first.policy, Some(stays_policy(&world.steward.dataset("stays"))));
    // The grant cites the first version and goes on under it: ages below 30 are still there.
    let youngest = world.requester.query(RESEARCH, "select min(age) from chu.stays").await.unwrap();
    assert!(youngest.number() < 30);
}
