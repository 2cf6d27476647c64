use super::*;
use crate::domain::{Credential, Kind, Timestamp};

fn id(text: &str) -> ParticipantId {
    text.parse().unwrap()
}

fn caller(participant: &str, roles: &[Role]) -> Caller {
    Caller {
        member: MemberId::generate(Timestamp::from_micros(1_000_000)),
        participant: id(participant),
        roles: roles.iter().copied().collect(),
        participant_state: ParticipantState::Active,
        kind: Kind::Lab,
        sector: None,
        country: "FR".to_owned(),
        accreditations: BTreeSet::new(),
        credential: Credential::UnboundToken { token: "t".to_owned() },
    }
}

fn membership(caller: &Caller) -> Membership {
    Membership { member: caller.member, participant: caller.participant.clone(), roles: caller.roles.clone() }
}

fn policy_of(callers: &[&Caller]) -> HubPolicy {
    let memberships: Vec<_> = callers.iter().map(|caller| membership(caller)).collect();
    HubPolicy::new(id("region"), &memberships, 1).unwrap()
}

fn may(policy: &HubPolicy, caller: &Caller, domain: &str, family: Family, act: Act) -> bool {
    let participant = (domain != HUB).then(|| id(domain));
    let domain = participant.as_ref().map_or(Domain::Hub, Domain::Participant);
    policy.authorise(caller, domain, family, act).is_ok()
}

/// What each role may do in its own participant, or for operator and auditor of the hub in all.
fn expected(role: Role, operates: bool) -> BTreeSet<(Family, Act)> {
    use Act::{
        Approve, Check, Create, Decide, Discover, Erase, Explain, Export, ExportAll, Import, Invite, IssueToken,
        Publish, Read, ReadAll, Renew, Request, Retire, Revoke, Run, SignCharter, Suspend, Update, Upload, Withdraw,
    };
    use Family::{Access, Audit, Certificate, Consent, Dataset, Grant, Member, Participant, Policy, Query};
    let mut may = vec![(Participant, Read), (Dataset, Discover), (Policy, Read), (Certificate, Renew)];
    may.extend(match (role, operates) {
        (Role::Operator, false) => vec![],
        (Role::Operator, true) => vec![
            (Participant, Invite),
            (Participant, Approve),
            (Participant, Suspend),
            (Member, Read),
            (Member, Erase),
            (Consent, Erase),
            (Certificate, Revoke),
        ],
        (Role::ParticipantAdmin, _) => vec![
            (Participant, SignCharter),
            (Member, Invite),
            (Member, Read),
            (Member, Update),
            (Member, Revoke),
            (Member, IssueToken),
            (Member, Erase),
            (Certificate, Revoke),
            (Certificate, Read),
            (Access, Read),
            (Grant, Read),
            (Audit, Read),
            (Audit, Export),
        ],
        (Role::Steward, _) => vec![
            (Dataset, Create),
            (Dataset, Update),
            (Dataset, Upload),
            (Dataset, Retire),
            (Policy, Create),
            (Policy, Publish),
            (Policy, Retire),
            (Policy, Revoke),
            (Policy, Check),
            (Access, Decide),
            (Access, Read),
            (Grant, Read),
            (Grant, Revoke),
            (Consent, Import),
            (Consent, Withdraw),
            (Consent, Read),
            (Consent, Erase),
            (Audit, Read),
            (Audit, Export),
        ],
        (Role::Requester, _) => {
            vec![(Access, Request), (Access, Withdraw), (Access, Read), (Grant, Read), (Query, Run), (Query, Explain)]
        }
        (Role::Auditor, false) => {
            vec![(Access, Read), (Grant, Read), (Consent, Read), (Audit, Read), (Audit, Export)]
        }
        (Role::Auditor, true) => vec![
            (Access, Read),
            (Grant, Read),
            (Consent, Read),
            (Audit, Read),
            (Audit, Export),
            (Audit, ReadAll),
            (Audit, ExportAll),
        ],
    });
    may.into_iter().collect()
}

#[test]
fn each_role_may_do_what_the_hub_means_it_to_and_nothing_else() {
    for participant in ["chu", "region"] {
        for role in Role::ALL {
            let someone = caller(participant, &[role]);
            let policy = policy_of(&[&someone]);
            let wanted = expected(role, participant == "region");
            for (family, act) in Family::ALL.iter().flat_map(|f| Act::ALL.iter().map(move |a| (*f, *a))) {
                let got = may(&policy, &someone, participant, family, act);
                assert_eq!(got, wanted.contains(&(family, act)), "{role} of {participant}: {family} {act}");
            }
        }
    }
}

#[test]
fn a_role_reaches_no_other_participant() {
    for role in Role::ALL {
        let someone = caller("chu", &[role]);
        let policy = policy_of(&[&someone]);
        for (family, act) in Family::ALL.iter().flat_map(|f| Act::ALL.iter().map(move |a| (*f, *a))) {
            assert!(!may(&policy, &someone, "irit", family, act), "{role}: {family} {act}");
            assert!(!may(&policy, &someone, HUB, family, act), "{role}: {family} {act} on the hub");
        }
    }
}

#[test]
fn operator_and_auditor_of_the_operating_participant_reach_every_one() {
    let (operator, auditor) = (caller("region", &[Role::Operator]), caller("region", &[Role::Auditor]));
    let policy = policy_of(&[&operator, &auditor]);
    for domain in ["chu", "region", HUB] {
        assert!(may(&policy, &operator, domain, Family::Participant, Act::Approve));
        assert!(!may(&policy, &operator, domain, Family::Participant, Act::SignCharter));
        assert!(may(&policy, &auditor, domain, Family::Audit, Act::ReadAll));
        assert!(!may(&policy, &auditor, domain, Family::Participant, Act::Approve));
    }
}

#[test]
fn a_participant_named_hub_is_not_the_hub() {
    let steward = caller(HUB, &[Role::Steward]);
    let policy = policy_of(&[&steward]);
    let own = id(HUB);
    assert!(policy.authorise(&steward, Domain::Participant(&own), Family::Dataset, Act::Create).is_ok());
    assert!(policy.authorise(&steward, Domain::Hub, Family::Dataset, Act::Create).is_err());
    let other = id("chu");
    assert!(policy.authorise(&steward, Domain::Participant(&other), Family::Dataset, Act::Create).is_err());
}

#[test]
fn separation_of_duties_holds_across_roles_of_one_member() {
    for second in [Role::Operator, Role::Auditor] {
        let someone = caller("region", &[Role::Requester, Role::Steward, second]);
        let policy = policy_of(&[&someone]);
        assert!(!may(&policy, &someone, "region", Family::Query, Act::Run), "{second}");
        assert!(!may(&policy, &someone, "region", Family::Access, Act::Decide), "{second}");
        assert!(may(&policy, &someone, "region", Family::Dataset, Act::Create), "{second}");
    }
}

#[test]
fn a_participant_that_is_not_active_may_hardly_do_anything() {
    let mut admin = caller("chu", &[Role::ParticipantAdmin]);
    let policy = policy_of(&[&admin]);
    admin.participant_state = ParticipantState::Registered;
    assert!(may(&policy, &admin, "chu", Family::Participant, Act::SignCharter));
    assert!(!may(&policy, &admin, "chu", Family::Member, Act::Invite));
    assert!(!may(&policy, &admin, "chu", Family::Dataset, Act::Discover));
    admin.participant_state = ParticipantState::Suspended;
    assert!(!may(&policy, &admin, "chu", Family::Participant, Act::SignCharter));
    assert!(!may(&policy, &admin, "chu", Family::Participant, Act::Read));
}

#[test]
fn roles_that_differ_from_the_loaded_ones_are_refused_until_the_reload() {
    let mut someone = caller("chu", &[Role::Requester]);
    let policy = policy_of(&[&someone]);
    let own = id("chu");
    someone.roles.insert(Role::Steward);
    let refused = policy.authorise(&someone, Domain::Participant(&own), Family::Query, Act::Run).unwrap_err();
    assert_eq!(refused.reason(), Reason::Unavailable);
    policy.reload(&[membership(&someone)], 2).unwrap();
    assert_eq!(policy.revision(), 2);
    assert!(may(&policy, &someone, "chu", Family::Dataset, Act::Create));
    policy.reload(&[], 3).unwrap();
    assert!(!may(&policy, &someone, "chu", Family::Query, Act::Run));
}

#[test]
fn an_older_revision_never_replaces_a_newer_one() {
    let someone = caller("chu", &[Role::Requester]);
    let policy = policy_of(&[&someone]);
    policy.reload(&[], 5).unwrap();
    policy.reload(&[membership(&someone)], 4).unwrap();
    assert_eq!(policy.revision(), 5);
    assert!(!may(&policy, &someone, "chu", Family::Query, Act::Run));
}

#[test]
fn memberships_that_fail_the_self_test_leave_the_old_ones_in_force() {
    let someone = caller("chu", &[Role::Requester]);
    let policy = policy_of(&[&someone]);
    let lines: Vec<_> = HUB_POLICY.lines().filter(|line| line.starts_with("p,") && line.ends_with("deny")).collect();
    assert_eq!(lines.len(), 9);
    let without = |line: &&str| HUB_POLICY.replace(*line, "");
    for broken in lines.iter().map(without).chain([String::new(), "p, role:x".to_owned()]) {
        let refused = policy.replace(&[], 9, HUB_MODEL, &broken).unwrap_err();
        assert_eq!(Fault::of(&refused), Some(Fault::ReloadFailed));
        assert_eq!(policy.revision(), 1);
        assert!(may(&policy, &someone, "chu", Family::Query, Act::Run));
    }
}

#[test]
fn no_part_of_the_model_can_be_left_out_without_a_case_of_the_self_test_noticing() {
    let someone = caller("chu", &[Role::Requester]);
    let policy = policy_of(&[&someone]);
    for (part, without) in [
        ("r.obj == p.obj && ", ""),
        ("r.act == p.act && ", ""),
        (" && (g(r.sub, p.role, r.dom) || g(r.sub, p.role, \"hub\"))", ""),
        ("g(r.sub, p.role, r.dom) || ", ""),
        (" || g(r.sub, p.role, \"hub\")", ""),
        (", r.dom)", ", \"selftest\")"),
        (" && !some(where (p.eft == deny))", ""),
        ("some(where (p.eft == allow)) && ", ""),
    ] {
        assert!(HUB_MODEL.contains(part), "{part}");
        let mutant = HUB_MODEL.replace(part, without);
        assert!(policy.replace(&[], 9, &mutant, HUB_POLICY).is_err(), "no case notices that `{part}` is gone");
    }
    policy.replace(&[membership(&someone)], 9, HUB_MODEL, HUB_POLICY).unwrap();
}

#[test]
fn an_engine_that_fails_or_panics_or_does_not_fit_its_rows_never_comes_into_force() {
    let someone = caller("chu", &[Role::Requester]);
    let policy = policy_of(&[&someone]);
    for (from, to) in [
        ("m = r.obj", "m = no_such_function(r.obj) && r.obj"),
        ("m = r.obj", "m = regexMatch(\"a\", \"(\") && r.obj"),
        ("p = role, obj, act, eft", "p = role, obj, act, extra, eft"),
        ("[matchers]", "[matcher]"),
    ] {
        let broken = HUB_MODEL.replacen(from, to, 1);
        assert_ne!(broken, HUB_MODEL);
        let refused = policy.replace(&[], 9, &broken, HUB_POLICY).unwrap_err();
        assert_eq!(Fault::of(&refused), Some(Fault::ReloadFailed), "{to}");
        assert!(may(&policy, &someone, "chu", Family::Query, Act::Run), "{to}");
    }
}

#[test]
fn an_engine_that_fails_or_panics_later_denies_with_a_reason_of_its_own() {
    let someone = caller("chu", &[Role::Requester]);
    for (matcher, fault) in [("no_such_function(r.obj)", Fault::Engine), ("regexMatch(r.obj, \"(\")", Fault::Panic)] {
        let mut loaded = Loaded::new(&id("region"), &[membership(&someone)], 1, HUB_MODEL, HUB_POLICY).unwrap();
        let broken = HUB_MODEL.replacen("m = ", &format!("m = {matcher} && "), 1);
        let mut model = super::super::read_model(&broken).unwrap();
        for row in templates::rows(HUB_POLICY).unwrap() {
            model.add_policy("p", "p", row.cells());
        }
        loaded.enforcer = super::super::enforcer(model).unwrap();
        let policy = HubPolicy { operator: id("region"), loaded: ArcSwap::from_pointee(loaded) };
        let own = id("chu");
        let refused = policy.authorise(&someone, Domain::Participant(&own), Family::Query, Act::Run).unwrap_err();
        assert_eq!(refused.reason(), Reason::DecisionFailed);
        assert_eq!(Fault::of(&refused), Some(fault));
    }
}

/// The member `steady` is in both sets of memberships; `moving` is a steward in one and a requester in the other.
#[test]
fn a_thousand_reloads_fail_or_mix_no_decision_that_is_made_meanwhile() {
    let steady = caller("chu", &[Role::Requester]);
    let moving = [caller("irit", &[Role::Steward]), caller("irit", &[Role::Requester])];
    let moving = moving.map(|each| Caller { member: MemberId::generate(Timestamp::from_micros(7)), ..each });
    let moving = [moving[0].clone(), Caller { member: moving[0].member, ..moving[1].clone() }];
    let others: Vec<_> = (0..50).map(|n| membership(&caller(&format!("p{n}"), &[Role::Steward]))).collect();
    let sets = [0, 1].map(|n| [vec![membership(&steady), membership(&moving[n])], others.clone()].concat());
    let policy = HubPolicy::new(id("region"), &sets[0], 0).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    let decided = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                use std::sync::atomic::Ordering::Relaxed;
                let (chu, irit) = (id("chu"), id("irit"));
                while !done.load(Relaxed) {
                    let run = policy.authorise(&steady, Domain::Participant(&chu), Family::Query, Act::Run);
                    assert!(run.is_ok(), "{run:?}");
                    let create = policy.authorise(&steady, Domain::Participant(&chu), Family::Dataset, Act::Create);
                    assert_eq!(create.unwrap_err().reason(), Reason::RoleMissing);
                    // Of a member that changes, each decision is by the roles it is made for, or is not made.
                    for (caller, mine, other) in [
                        (&moving[0], (Family::Dataset, Act::Create), (Family::Query, Act::Run)),
                        (&moving[1], (Family::Query, Act::Run), (Family::Dataset, Act::Create)),
                    ] {
                        let domain = Domain::Participant(&irit);
                        let permitted = policy.authorise(caller, domain, mine.0, mine.1).map_err(|e| e.reason());
                        assert!(permitted.is_ok() || permitted == Err(Reason::Unavailable), "{permitted:?}");
                        let denied = policy.authorise(caller, domain, other.0, other.1).unwrap_err().reason();
                        assert!(matches!(denied, Reason::RoleMissing | Reason::Unavailable), "{denied:?}");
                    }
                    decided.fetch_add(6, Relaxed);
                }
            });
        }
        for revision in 1..=1_000_i64 {
            policy.reload(&sets[usize::from(revision % 2 == 1)], revision).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let decided = decided.into_inner();
    println!("{decided} decisions during 1000 reloads");
    assert!(decided > 100 && policy.revision() == 1_000);
}

#[test]
fn a_denial_names_act_and_family_and_a_permit_what_it_is_for() {
    let someone = caller("chu", &[Role::Requester]);
    let policy = policy_of(&[&someone]);
    let own = id("chu");
    let denied = policy.authorise(&someone, Domain::Participant(&own), Family::Dataset, Act::Create).unwrap_err();
    assert_eq!(denied.reason(), Reason::RoleMissing);
    assert!(denied.message_en().contains("create dataset"));
    let permit = policy.authorise(&someone, Domain::Participant(&own), Family::Query, Act::Run).unwrap();
    assert_eq!((permit.caller(), permit.family(), permit.act()), (&someone, Family::Query, Act::Run));
    assert!(permit.require(Domain::Participant(&own), Family::Query, Act::Run).is_ok());
    assert!(permit.require(Domain::Hub, Family::Query, Act::Run).is_err());
    assert!(permit.require(Domain::Participant(&own), Family::Query, Act::Explain).is_err());
}

#[test]
fn the_models_use_nothing_that_can_run_text_or_recompile_patterns() {
    for model in [HUB_MODEL, super::super::assets::USAGE_MODEL] {
        for banned in ["eval", "regexMatch", "keyMatch", "globMatch", "keyGet"] {
            assert!(!model.contains(banned), "{banned}");
        }
    }
}
