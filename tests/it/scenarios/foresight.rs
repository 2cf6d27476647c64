//! Policies before they are in force: analysed, compared, and tried on what really happened.

use std::collections::BTreeSet;

use odh::grpc::pb;
use tonic::Code;

use crate::{
    harness::{Hub, on_both_engines},
    personas::{Requester, Steward, access_day, receive_download, refused},
    policies::{at_least, only, open_policy, permit, policy, prefix, stays_policy},
    world::{self, RESEARCH, World},
};

on_both_engines!(
    a_check_finds_what_never_applies_and_who_nobody_is,
    two_versions_are_compared_by_whoever_may_read_them,
    a_draft_is_tried_on_the_requests_grants_and_queries_of_a_period,
    a_narrower_filter_is_told_with_the_rows_that_pass,
    an_open_dataset_follows_a_draft_at_once,
    of_what_the_owner_queried_itself_the_floor_alone_is_tried,
    only_a_steward_of_the_owner_simulates_and_it_is_recorded,
);

fn named(name: &str) -> pb::PolicyChoice {
    pb::PolicyChoice { choice: Some(pb::policy_choice::Choice::Name(name.to_owned())) }
}

fn document(policy: pb::Policy) -> pb::PolicyChoice {
    pb::PolicyChoice { choice: Some(pb::policy_choice::Choice::Policy(policy)) }
}

fn trial(policy: pb::Policy) -> pb::SimulatePolicyRequest {
    let since_time = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
    pb::SimulatePolicyRequest { policy: Some(document(policy)), since_time, ..Default::default() }
}

async fn simulate(steward: &Steward, policy: pb::Policy) -> pb::SimulatePolicyResponse {
    steward.client.policies().simulate_policy(trial(policy)).await.unwrap().into_inner()
}

fn flip<'a>(
    simulated: &'a pb::SimulatePolicyResponse,
    participant: &str,
    action: pb::Action,
    purpose: &str,
) -> Option<&'a pb::Flip> {
    let name = format!("participants/{participant}");
    simulated.flips.iter().find(|f| f.participant == name && f.action() == action && f.purpose == purpose)
}

async fn a_check_finds_what_never_applies_and_who_nobody_is(hub: &mut Hub) {
    let world = world::small(hub).await;
    let dataset = world.steward.dataset("stays");
    let deny = |id: &str, kinds: &[pb::ParticipantKind]| pb::Rule {
        id: id.to_owned(),
        effect: pb::Effect::Deny.into(),
        actions: vec![pb::Action::Aggregate.into()],
        who: Some(pb::Who { kinds: kinds.iter().map(|kind| (*kind).into()).collect(), ..Default::default() }),
        ..Default::default()
    };
    let mut rules = stays_policy(&dataset).rules;
    rules.push(deny("labs", &[pb::ParticipantKind::Lab]));
    rules.push(deny("others", &[pb::ParticipantKind::Company, pb::ParticipantKind::PublicBody]));
    let who = pb::Who { organisations: vec!["participants/nobody".to_owned()], ..Default::default() };
    rules.push(pb::Rule { who: Some(who), ..permit("partner", &[pb::Action::Discover], &[]) });
    let request = pb::CheckPolicyRequest { policy: Some(policy(&dataset, rules)) };
    let checked = world.steward.client.policies().check_policy(request).await.unwrap().into_inner();
    let has = |path: &str, en: &str, fr: &str| {
        checked.findings.iter().any(|finding| {
            let message = finding.message.as_ref().unwrap();
            finding.path == path && message.en.contains(en) && message.fr.contains(fr)
        })
    };
    for rule in ["/rules/0", "/rules/1"] {
        let both = "`labs`, `others` together deny";
        assert!(has(rule, both, "`labs`, `others` interdisent ensemble"), "{:#?}", checked.findings);
    }
    assert!(has("/rules/4/who/organisations", "no participant is registered as `nobody`", "inscrit"));
}

async fn two_versions_are_compared_by_whoever_may_read_them(hub: &mut Hub) {
    let world = world::small(hub).await;
    let dataset = world.steward.dataset("stays");
    let mut stricter = stays_policy(&dataset);
    stricter.rules[1].how.as_mut().unwrap().aggregate_only = Some(pb::AggregateOnly { k: world::K + 2 });
    let second = world.steward.publish(stricter).await.unwrap();
    let request = pb::ComparePoliciesRequest { old: Some(named(&world.policy.name)), new: Some(named(&second.name)) };
    let compared = world.requester.client.policies().compare_policies(request.clone()).await.unwrap().into_inner();
    assert_eq!((&compared.old_digest, &compared.new_digest), (&world.policy.digest, &second.digest));
    assert_eq!(compared.differences.len(), 1, "{compared:#?}");
    let difference = &compared.differences[0];
    assert_eq!((difference.kind(), difference.rule.as_str()), (pb::DifferenceKind::Tightened, "groups"));
    assert_eq!(difference.path, "/rules/1/how/aggregate_only");
    assert!(difference.message.as_ref().unwrap().fr.contains("7 au lieu de 5"), "{difference:?}");

    let draft = world.steward.draft(stays_policy(&dataset)).await.unwrap();
    let hidden = pb::ComparePoliciesRequest { new: Some(named(&draft.name)), ..request };
    let answer = world.requester.client.policies().compare_policies(hidden.clone()).await;
    refused(answer, Code::NotFound, "NOT_FOUND_OR_DENIED");
    world.steward.client.policies().compare_policies(hidden).await.unwrap();
}

/// The lab asked and queried under its grant and was denied for marketing; a company was denied for want of a grant.
async fn history(world: &World) -> Requester {
    let count = "select count(*) from chu.stays";
    world.requester.query(RESEARCH, count).await.unwrap();
    world.requester.query(RESEARCH, count).await.unwrap();
    world.requester.query("marketing", count).await.unwrap_err();
    world.requester.request_access(world::STAYS, pb::Action::Aggregate, RESEARCH).await.unwrap();
    let company = world.operator.welcome("third", pb::ParticipantKind::Company).await.requester().await;
    company.query(RESEARCH, count).await.unwrap_err();
    company
}

async fn a_draft_is_tried_on_the_requests_grants_and_queries_of_a_period(hub: &mut Hub) {
    let world = world::small(hub).await;
    history(&world).await;
    let dataset = world.steward.dataset("stays");
    let same = simulate(&world.steward, stays_policy(&dataset)).await;
    assert_eq!(same.flips, []);
    assert_eq!((same.access_requests, same.grants), (2, 1));
    assert_eq!(same.queries, 4, "two permitted, two denied");
    assert_eq!(same.in_force, world.policy.name);

    // Only companies, with aggregates for marketing, too; the column of costs is out.
    let who = || Some(pb::Who { kinds: vec![pb::ParticipantKind::Company.into()], ..Default::default() });
    let how = || Some(pb::How { aggregate_only: Some(pb::AggregateOnly { k: 10 }), ..Default::default() });
    let rule = pb::Rule {
        who: who(),
        how: how(),
        columns: Some(only(&["pid", "commune", "age"])),
        legal_basis: pb::LegalBasis::Consent.into(),
        ..permit("companies", &[pb::Action::Aggregate], &[RESEARCH, "marketing"])
    };
    let tried = simulate(&world.steward, policy(&dataset, vec![rule])).await;
    let lost = flip(&tried, "lab", pb::Action::Read, RESEARCH).unwrap();
    assert_eq!((lost.kind(), lost.rule_before.as_str(), lost.rule_after.as_str()), (pb::FlipKind::Loses, "rows", ""));
    assert_eq!((lost.permitted_queries, lost.grants.len()), (2, 1), "{lost:#?}");
    assert_eq!(lost.effective_time, world.grant.valid_until, "the grant goes on under its own policy");
    assert!(lost.columns_lost.contains(&"cost".to_owned()), "{lost:#?}");
    let asked = flip(&tried, "lab", pb::Action::Aggregate, RESEARCH).unwrap();
    assert_eq!((asked.kind(), asked.access_requests.len(), asked.effective_time), (pb::FlipKind::Loses, 1, None));

    let changed = flip(&tried, "third", pb::Action::Aggregate, RESEARCH).unwrap();
    assert_eq!((changed.kind(), changed.denied_queries), (pb::FlipKind::Changes, 1), "{changed:#?}");
    assert_eq!((changed.rule_before.as_str(), changed.rule_after.as_str()), ("groups", "companies"));
    assert_eq!(changed.columns_lost, ["cost"]);
    assert!(changed.terms.iter().any(|term| term.kind() == pb::DifferenceKind::Tightened), "{changed:#?}");
    assert!(flip(&tried, "lab", pb::Action::Aggregate, "marketing").is_none(), "it is for companies");
    let said: BTreeSet<&str> = tried.assumptions.iter().map(|text| text.en.as_str()).collect();
    assert!(said.iter().any(|text| text.contains("are today's")), "{said:?}");
    assert!(said.iter().any(|text| text.contains("taken to be a requester")), "{said:?}");
}

async fn a_narrower_filter_is_told_with_the_rows_that_pass(hub: &mut Hub) {
    let world = world::small(hub).await;
    let mut narrower = stays_policy(&world.steward.dataset("stays"));
    narrower.rules[0].how.as_mut().unwrap().row_filter = Some(at_least("age", 40));
    let tried = simulate(&world.steward, narrower.clone()).await;
    let flip = flip(&tried, "lab", pb::Action::Read, RESEARCH).unwrap();
    let adults = (0..world::SUBJECTS).filter(|number| 18 + number % 70 >= 40).count() as u64 * 4;
    assert_eq!((flip.kind(), flip.rows_before), (pb::FlipKind::Changes, Some(world::ROWS as u64)));
    assert_eq!(flip.rows_after, Some(adults), "{flip:#?}");

    // Under a floor that shows no small group, no small count is shown either.
    narrower.rules[0].how.as_mut().unwrap().row_filter = Some(at_least("age", 1_000));
    narrower.floor = Some(pb::How { aggregate_only: Some(pb::AggregateOnly { k: 5 }), ..Default::default() });
    narrower.rules.truncate(1);
    let tried = simulate(&world.steward, narrower).await;
    let flip = self::flip(&tried, "lab", pb::Action::Read, RESEARCH).unwrap();
    assert_eq!(flip.rows_after, None, "{flip:#?}");
}

async fn an_open_dataset_follows_a_draft_at_once(hub: &mut Hub) {
    let world = world::small(hub).await;
    world.requester.query(RESEARCH, "select count(*) from chu.communes").await.unwrap();
    let dataset = world.steward.dataset("communes");
    assert_eq!(simulate(&world.steward, open_policy(&dataset)).await.flips, []);
    let mut closed = open_policy(&dataset);
    closed.rules[0].purposes = vec!["marketing".to_owned()];
    closed.rules[0].actions.push(pb::Action::Discover.into());
    closed.rules[0].who = Some(pb::Who { kinds: vec![pb::ParticipantKind::Company.into()], ..Default::default() });
    let tried = simulate(&world.steward, closed).await;
    let query = flip(&tried, "lab", pb::Action::Read, RESEARCH).unwrap();
    assert_eq!((query.kind(), query.effective_time), (pb::FlipKind::Loses, None));
    let entry = flip(&tried, "lab", pb::Action::Discover, "").unwrap();
    assert_eq!(entry.kind(), pb::FlipKind::Loses);
}

async fn of_what_the_owner_queried_itself_the_floor_alone_is_tried(hub: &mut Hub) {
    let world = world::small(hub).await;
    let own = world.owner.requester().await;
    let rows = "select pid, diagnosis from chu.stays where age < 30";
    let before = own.query(RESEARCH, rows).await.unwrap().rows();
    let dataset = world.steward.dataset("stays");
    let file = pb::DownloadRequest {
        dataset: dataset.clone(),
        purpose: RESEARCH.to_owned(),
        columns: vec!["pid".to_owned()],
        ..Default::default()
    };
    receive_download(own.client.queries().download(file).await.unwrap().into_inner()).await.unwrap();

    // Rules that shut everybody out, and the floor's filter and masks, are no matter of the owner's own use.
    let mut closed = stays_policy(&dataset);
    closed.rules.truncate(1);
    closed.rules[0].purposes = vec!["marketing".to_owned()];
    closed.rules[0].actions.push(pb::Action::Discover.into());
    closed.rules[0].who = Some(pb::Who { kinds: vec![pb::ParticipantKind::Company.into()], ..Default::default() });
    let masks = [("diagnosis".to_owned(), prefix(1))].into();
    closed.floor = Some(pb::How { row_filter: Some(at_least("age", 40)), masks, ..Default::default() });
    let tried = simulate(&world.steward, closed.clone()).await;
    assert_eq!(tried.queries, 2);
    assert!(tried.flips.iter().all(|flip| flip.participant != "participants/chu"), "{:#?}", tried.flips);
    assert!(tried.assumptions.iter().any(|it| it.en.contains("takes no rule") && it.fr.contains("aucune règle")));
    assert!(!tried.assumptions.iter().any(|it| it.en.contains("taken to be a requester")), "nobody else queried");
    // And so it comes: the same rows as before.
    world.steward.publish(closed.clone()).await.unwrap();
    assert_eq!(own.query(RESEARCH, rows).await.unwrap().rows(), before);

    // A smallest group in the floor binds the owner: aggregates only, and no file.
    closed.rules[0].actions = vec![pb::Action::Aggregate.into()];
    closed.floor = Some(pb::How { aggregate_only: Some(pb::AggregateOnly { k: 5 }), ..Default::default() });
    let tried = simulate(&world.steward, closed.clone()).await;
    let changed = flip(&tried, "chu", pb::Action::Read, RESEARCH).unwrap();
    assert_eq!((changed.kind(), changed.own_data, changed.permitted_queries), (pb::FlipKind::Changes, true, 2));
    assert_eq!((changed.rule_before.as_str(), changed.rule_after.as_str()), ("", ""));
    assert_eq!(changed.effective_time, None, "its own use rests on no grant");
    let term = &changed.terms[0];
    assert_eq!((term.path.as_str(), term.kind()), ("/how/aggregate_only", pb::DifferenceKind::Tightened));
    let lost = flip(&tried, "chu", pb::Action::Download, RESEARCH).unwrap();
    assert_eq!((lost.kind(), lost.own_data, lost.permitted_queries), (pb::FlipKind::Loses, true, 1));
    world.steward.publish(closed).await.unwrap();
    refused(own.query(RESEARCH, rows).await, Code::InvalidArgument, "QUERY_REJECTED");
    own.query(RESEARCH, "select count(*) from chu.stays").await.unwrap();
}

async fn only_a_steward_of_the_owner_simulates_and_it_is_recorded(hub: &mut Hub) {
    let world = world::small(hub).await;
    let draft = || stays_policy(&world.steward.dataset("stays"));
    let other = world.lab.steward().await;
    let answer = other.client.policies().simulate_policy(trial(draft())).await;
    refused(answer, Code::NotFound, "NOT_FOUND_OR_DENIED");
    let answer = world.owner.client.policies().simulate_policy(trial(draft())).await;
    refused(answer, Code::PermissionDenied, "ROLE_MISSING");
    let mut wrong = draft();
    wrong.rules[0].columns = Some(only(&["nothing"]));
    let answer = world.steward.client.policies().simulate_policy(trial(wrong)).await;
    refused(answer, Code::InvalidArgument, "POLICY_INVALID");

    let tried = simulate(&world.steward, draft()).await;
    let entries = world.steward.entries("type = \"policy.simulated\"").await;
    let (index, entry) = entries.last().unwrap();
    assert_eq!(*index, tried.receipt.unwrap().index);
    assert_eq!(entry["f"]["policy"], tried.policy_digest.as_str());
    assert_eq!(entry["parties"], serde_json::json!(["chu"]), "nobody else reads what the owner tries");
    let request = pb::SimulatePolicyRequest { since_time: Some(access_time()), ..trial(draft()) };
    let answer = world.steward.client.policies().simulate_policy(request).await;
    refused(answer, Code::InvalidArgument, "INVALID_ARGUMENT");
}

/// An instant that has not come.
fn access_time() -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: 4_000_000_000 + access_day().seconds, nanos: 0 }
}
