//! Runs the cases of the hub's roles.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::hub::{self, Act, Domain, Family, HubPolicy, Membership},
    CaseReport, Checks, Coverage, Report, RuleCoverage, Subject,
    document::{Member, RolesCase, RolesFile},
    refuse,
};
use crate::{
    domain::{Caller, Credential, Effect, Kind, MemberId, ParticipantId, Timestamp},
    error::Result,
};

type Asks = BTreeSet<(Family, Act)>;

/// Members and what they may and may not do.
#[derive(Debug)]
pub(super) struct Suite {
    operator: ParticipantId,
    members: BTreeMap<String, Caller>,
    cases: Vec<(RolesCase, Asks, Asks)>,
}

impl Suite {
    pub(super) fn new(file: RolesFile) -> Result<Self> {
        let RolesFile { hub: operator, members, cases } = file;
        let members: BTreeMap<_, _> = members.into_iter().map(|(name, member)| (name, caller(member))).collect();
        let mut known = Vec::with_capacity(cases.len());
        for (index, case) in cases.into_iter().enumerate() {
            let path = format!("cases[{index}]");
            if !members.contains_key(&case.by) {
                return refuse(path, format_args!("`{}` is none of the members", case.by.escape_debug()));
            }
            let may = asks(&case.may)?;
            let mut may_not = asks(&case.may_not)?;
            if let Some((family, act)) = may.intersection(&may_not).next() {
                return refuse(path, format_args!("`{act}` of `{family}` both may and may not be done"));
            }
            if case.nothing_else {
                let all = Family::ALL.iter().flat_map(|family| Act::ALL.iter().map(move |act| (*family, *act)));
                may_not.extend(all.filter(|ask| !may.contains(ask)));
            }
            if may.is_empty() && may_not.is_empty() {
                return refuse(path, "it asks nothing");
            }
            known.push((case, may, may_not));
        }
        Ok(Self { operator, members, cases: known })
    }

    pub(super) fn run(&self) -> Result<Report> {
        let memberships: Vec<_> = self.members.values().map(membership).collect();
        let policy = HubPolicy::new(self.operator.clone(), &memberships, 1)?;
        let mut templates = hub::template_rows()?;
        templates.dedup();
        let mut fired = vec![false; templates.len()];
        let mut cases = Vec::with_capacity(self.cases.len());
        for (case, may, may_not) in &self.cases {
            let Some(caller) = self.members.get(&case.by) else { continue };
            let domain = case.domain.as_ref().map_or(Domain::Hub, Domain::Participant);
            let held = hub::roles_held(&self.operator, &membership(caller), domain);
            let mut checks = Checks::default();
            for (expected, asks) in [("may", may), ("may not", may_not)] {
                for (family, act) in asks {
                    let permitted = policy.authorise(caller, domain, *family, *act);
                    let got = if permitted.is_ok() { "may" } else { "may not" };
                    checks.equal(format!("{act} of {family}"), expected, got);
                    let about: Vec<_> =
                        (0..templates.len()).filter(|row| templates[*row].is_about(&held, *family, *act)).collect();
                    // A deny shows itself where something else would permit.
                    let allowed = about.iter().any(|row| templates[*row].allows);
                    for row in about {
                        fired[row] |= if templates[row].allows { permitted.is_ok() } else { allowed };
                    }
                }
            }
            cases.push(CaseReport { name: case.name.clone(), mismatches: checks.0 });
        }
        let rules = templates.iter().zip(fired).map(|(row, fires)| RuleCoverage {
            rule: row.to_string(),
            effect: if row.allows { Effect::Permit } else { Effect::Deny },
            fires,
            clauses: Vec::new(),
        });
        Ok(Report { cases, coverage: Coverage { subject: Subject::Roles, rules: rules.collect() } })
    }
}

fn asks(by_family: &BTreeMap<String, BTreeSet<String>>) -> Result<Asks> {
    let pairs = by_family.iter().flat_map(|(family, acts)| acts.iter().map(move |act| (family, act)));
    pairs.map(|(family, act)| Ok((family.parse()?, act.parse()?))).collect()
}

fn caller(member: Member) -> Caller {
    Caller {
        member: MemberId::generate(Timestamp::from_micros(0)),
        participant: member.participant,
        roles: member.roles,
        participant_state: member.state,
        // Roles alone count here.
        kind: Kind::PublicBody,
        sector: None,
        country: String::new(),
        accreditations: BTreeSet::new(),
        credential: Credential::Certificate { fingerprint: String::new() },
    }
}

fn membership(caller: &Caller) -> Membership {
    Membership { member: caller.member, participant: caller.participant.clone(), roles: caller.roles.clone() }
}
