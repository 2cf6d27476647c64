//! Memberships that change: what a reload costs, and that a thousand of them disturb no decision.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use odh::{
    domain::{Caller, Role},
    error::Reason,
    policy::{Act, Domain, Family, HubPolicy},
};

use crate::{
    decisions::{caller, membership},
    support::{Samples, Table},
};

const MEMBERSHIPS: usize = 10_000;
const RELOADS: usize = 1_000;

pub(crate) fn measure(table: &mut Table) {
    let callers: Vec<_> = (0..MEMBERSHIPS).map(caller).collect();
    let mut memberships: Vec<_> = callers.iter().map(membership).collect();
    // The last one is a requester in every other set and a steward in the rest.
    let (steady, changing) = (&callers[1], &callers[MEMBERSHIPS - 1]);
    let as_of = |role: Role| Caller { roles: [role].into(), ..changing.clone() };
    let policy = HubPolicy::new(callers[0].participant.clone(), &memberships, 0).unwrap();
    let (done, decided, waited) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let samples = std::thread::scope(|scope| {
        scope.spawn(|| {
            let may = |caller: &Caller, family, act| {
                policy.authorise(caller, Domain::Participant(&caller.participant), family, act).map_err(|e| e.reason())
            };
            while !done.load(Relaxed) {
                assert!(may(steady, Family::Query, Act::Run).is_ok());
                assert_eq!(may(steady, Family::Dataset, Act::Create).unwrap_err(), Reason::RoleMissing);
                for (role, own, other) in [
                    (Role::Requester, (Family::Query, Act::Run), (Family::Dataset, Act::Create)),
                    (Role::Steward, (Family::Dataset, Act::Create), (Family::Query, Act::Run)),
                ] {
                    let caller = as_of(role);
                    // By the roles it is made for, or not made: a service then waits for the reload.
                    match may(&caller, own.0, own.1) {
                        Ok(_) => {}
                        Err(Reason::Unavailable) => _ = waited.fetch_add(1, Relaxed),
                        Err(mixed) => panic!("{mixed:?}"),
                    }
                    let refused = may(&caller, other.0, other.1).unwrap_err();
                    assert!(matches!(refused, Reason::RoleMissing | Reason::Unavailable), "{refused:?}");
                }
                decided.fetch_add(6, Relaxed);
            }
        });
        let mut revision = 0;
        let samples = Samples::of_thread(RELOADS, |_| {
            revision += 1;
            let role = if revision % 2 == 0 { Role::Steward } else { Role::Requester };
            memberships[MEMBERSHIPS - 1].roles = [role].into();
            policy.reload(&memberships, revision).unwrap();
        });
        done.store(true, Relaxed);
        samples
    });
    let bar = Duration::from_millis(50);
    table.time("reload of 10,000 memberships, p99", samples.percentile(99), bar, &samples.summary());
    let note =
        format!("{} decisions meanwhile, {} of them to wait for the reload", decided.into_inner(), waited.into_inner());
    table.number("failed or mixed decisions during 1,000 reloads", 0.0, 0.0, &note);
}
