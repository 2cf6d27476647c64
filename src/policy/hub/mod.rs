//! What a member may do on the hub: role templates of `policies/hub` over the memberships in the store.
//!
//! casbin decides by roles in domains; a participant is a domain (`org:ID`), so a role held in one reaches no
//! other, and a decision costs the same with ten memberships or a hundred thousand (P10). Domain `hub` is
//! reserved: what is held there reaches every participant. Only members of the participant that operates the
//! hub get anything in it, by this mapping:
//!
//! | role in the store | member of the operating participant | member of any other |
//! |---|---|---|
//! | operator | `hub_operator` in `hub` | nothing |
//! | auditor | `hub_auditor` in `hub`, and `auditor` in its own | `auditor` in its own: reads that participant's entries only |
//! | any other | that role in its own | that role in its own |
//!
//! Every member also holds `member` in its own participant. Nothing is decided by this module about single
//! objects (who owns, who asked): a service passes the domain of the object it acts on.

mod acts;
mod links;
mod templates;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use arc_swap::ArcSwap;
use casbin::{CoreApi, Enforcer, Model};
use parking_lot::RwLock;

pub use acts::{Act, Family};

use super::{
    assets::{HUB_CASES, HUB_MODEL, HUB_POLICY},
    fault::Fault,
};
use crate::{
    domain::{Caller, MemberId, ParticipantId, ParticipantState, Role},
    error::{Error, Reason, Result},
};

/// The reserved domain.
const HUB: &str = "hub";

/// An active member with the roles it holds, as the store has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The member.
    pub member: MemberId,
    /// For whom it acts.
    pub participant: ParticipantId,
    /// What it may do.
    pub roles: BTreeSet<Role>,
}

/// Where an act takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain<'a> {
    /// On what belongs to this participant: for a dataset its owner, for a request or query who asks.
    Participant(&'a ParticipantId),
    /// On the hub as a whole.
    Hub,
}

impl fmt::Display for Domain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Participant(id) => write!(f, "org:{id}"),
            Self::Hub => f.write_str(HUB),
        }
    }
}

/// Evidence that a caller may do an act in a domain. Only [`HubPolicy::authorise`] makes one; services take it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an act that was authorised and not done is a mistake"]
pub struct Permit {
    caller: Caller,
    /// None is the hub as a whole.
    participant: Option<ParticipantId>,
    family: Family,
    act: Act,
}

impl Permit {
    /// Who may.
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Where.
    pub fn domain(&self) -> Domain<'_> {
        self.participant.as_ref().map_or(Domain::Hub, Domain::Participant)
    }

    /// What about.
    pub const fn family(&self) -> Family {
        self.family
    }

    /// What.
    pub const fn act(&self) -> Act {
        self.act
    }

    /// Refuses a permit that was given for something else; a step that takes one asks this first.
    pub fn require(&self, domain: Domain<'_>, family: Family, act: Act) -> Result<()> {
        if (self.domain(), self.family, self.act) == (domain, family, act) {
            Ok(())
        } else {
            Err(Error::internal(format!("a permit for {} {} was used for {family} {act}", self.family, self.act)))
        }
    }
}

/// The roles in force. Readers never wait: a reload is built aside, tried out and swapped in.
#[derive(Debug)]
pub struct HubPolicy {
    operator: ParticipantId,
    loaded: ArcSwap<Loaded>,
}

/// One revision of the memberships with its engine; never changed once made.
struct Loaded {
    revision: i64,
    memberships: BTreeMap<MemberId, (ParticipantId, BTreeSet<Role>)>,
    enforcer: Enforcer,
}

impl HubPolicy {
    /// Loads the embedded templates and these memberships. `operator` is the participant that operates the hub;
    /// `revision` the store's revision of memberships that they were read at.
    pub fn new(operator: ParticipantId, memberships: &[Membership], revision: i64) -> Result<Self> {
        let loaded = Loaded::new(&operator, memberships, revision, HUB_MODEL, HUB_POLICY)?;
        Ok(Self { operator, loaded: ArcSwap::from_pointee(loaded) })
    }

    /// The revision in force; a caller that reads a newer one in the store reloads before it authorises.
    pub fn revision(&self) -> i64 {
        self.loaded.load().revision
    }

    /// Whether the membership of `caller`, as read just now, is the one in force. If it is, a decision on this caller
    /// comes out as it would with the newest memberships, whatever has changed for others: decisions need not wait for a
    /// reload that does not concern them.
    pub fn knows(&self, caller: &Caller) -> bool {
        self.loaded.load().knows(caller)
    }

    /// Replaces the memberships unless newer ones are in force. The new ones are built aside, pass the self-test of
    /// `policies/hub/cases.csv` and come into force in one swap; if they do not pass, the old ones stay and an alert is
    /// raised. Takes some 2 us per membership of the caller's thread.
    pub fn reload(&self, memberships: &[Membership], revision: i64) -> Result<()> {
        self.replace(memberships, revision, HUB_MODEL, HUB_POLICY)
    }

    fn replace(&self, memberships: &[Membership], revision: i64, model: &str, templates: &str) -> Result<()> {
        let fresh =
            catch_unwind(AssertUnwindSafe(|| Loaded::new(&self.operator, memberships, revision, model, templates)));
        let fresh = match fresh {
            Ok(Ok(fresh)) => Arc::new(fresh),
            Ok(Err(error)) => return Err(Fault::ReloadFailed.raise(format_args!("revision {revision}: {error}"))),
            Err(_) => return Err(Fault::ReloadFailed.raise(format_args!("revision {revision}: the engine panicked"))),
        };
        self.loaded.rcu(|old| if old.revision > revision { Arc::clone(old) } else { Arc::clone(&fresh) });
        Ok(())
    }

    /// Whether `caller` may do `act` in `domain`.
    ///
    /// Refused with `PARTICIPANT_NOT_ACTIVE` (a participant on its way in may only read, sign the charter and keep its
    /// certificate; a suspended one nothing), `UNAVAILABLE` if the caller's roles, read just now, differ from
    /// the loaded ones, `ROLE_MISSING` otherwise, and `DECISION_FAILED`, with an alert, when the engine fails.
    pub fn authorise(&self, caller: &Caller, domain: Domain<'_>, family: Family, act: Act) -> Result<Permit> {
        let on_its_way =
            matches!(caller.participant_state, ParticipantState::Registered | ParticipantState::CharterSigned);
        if !(on_its_way && is_open_before_approval(family, act)) {
            caller.require_active()?;
        }
        let loaded = self.loaded.load();
        if !loaded.knows(caller) {
            return Err(Error::new(Reason::Unavailable));
        }
        if !loaded.allows(&subject(caller.member), &domain.to_string(), family, act)? {
            return Err(Error::new(Reason::RoleMissing).with("act", act).with("family", family));
        }
        let participant = match domain {
            Domain::Participant(id) => Some(id.clone()),
            Domain::Hub => None,
        };
        Ok(Permit { caller: caller.clone(), participant, family, act })
    }
}

impl Loaded {
    fn new(
        operator: &ParticipantId,
        memberships: &[Membership],
        revision: i64,
        model: &str,
        templates: &str,
    ) -> Result<Self> {
        let mut model = super::read_model(model)?;
        for row in templates::rows(templates)? {
            super::require_arity(&model, &row.cells())?;
            model.add_policy("p", "p", row.cells());
        }
        let mut held = links::Links::default();
        for membership in memberships {
            for [subject, role, domain] in links(operator, membership) {
                held.add(subject, role, domain);
            }
        }
        let cases = templates::cases(HUB_CASES)?;
        for (index, case) in cases.iter().enumerate() {
            for role in case.roles.iter().filter(|role| *role != "nobody") {
                let domain = if role.starts_with("hub_") { HUB } else { "selftest" };
                held.add(tester(index), format!("role:{role}"), domain.to_owned());
            }
        }
        let memberships = memberships.iter().map(|m| (m.member, (m.participant.clone(), m.roles.clone()))).collect();
        let mut enforcer = super::enforcer(model)?;
        let shared = Arc::new(RwLock::new(links::Links::default()));
        let installed = enforcer.set_role_manager(Arc::<RwLock<links::Links>>::clone(&shared));
        installed.map_err(|e| Error::internal(format!("role links: {e}")))?;
        // Only now: installing it clears it.
        *shared.write() = held;
        let loaded = Self { revision, memberships, enforcer };
        for (index, case) in cases.iter().enumerate() {
            if loaded.allows(&tester(index), &case.domain, case.family, case.act)? != case.allowed {
                return Err(Error::internal(format!("hub policy: self-test {} fails: {case:?}", index + 1)));
            }
        }
        Ok(loaded)
    }

    fn knows(&self, caller: &Caller) -> bool {
        let known = self.memberships.get(&caller.member);
        known.is_some_and(|(participant, roles)| *participant == caller.participant && *roles == caller.roles)
    }

    /// The engine's answer; a fault if it has none.
    fn allows(&self, subject: &str, domain: &str, family: Family, act: Act) -> Result<bool> {
        let arguments = (subject, domain, family.as_str(), act.as_str());
        match catch_unwind(AssertUnwindSafe(|| self.enforcer.enforce(arguments))) {
            Ok(Ok(allowed)) => Ok(allowed),
            Ok(Err(error)) => Err(Fault::Engine.raise(format_args!("roles, {act} {family}: {error}"))),
            Err(_) => Err(Fault::Panic.raise(format_args!("roles, {act} {family}"))),
        }
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("revision", &self.revision)
            .field("memberships", &self.memberships.len())
            .finish_non_exhaustive()
    }
}

/// What a participant may do between registration and approval.
const fn is_open_before_approval(family: Family, act: Act) -> bool {
    matches!(
        (family, act),
        (Family::Participant, Act::Read | Act::SignCharter)
            | (Family::Certificate, Act::Read | Act::Renew)
            | (Family::Member, Act::Read)
    )
}

/// What a membership links for `g` of the model, by the table above.
fn links(operator: &ParticipantId, membership: &Membership) -> Vec<[String; 3]> {
    let own = Domain::Participant(&membership.participant).to_string();
    let operates = membership.participant == *operator;
    let mut held = vec![("member", own.as_str())];
    for role in &membership.roles {
        match role {
            Role::Operator if operates => held.push(("hub_operator", HUB)),
            Role::Operator => {}
            Role::Auditor => {
                held.push((role.as_str(), &own));
                if operates {
                    held.push(("hub_auditor", HUB));
                }
            }
            Role::ParticipantAdmin | Role::Steward | Role::Requester => held.push((role.as_str(), &own)),
        }
    }
    let user = subject(membership.member);
    held.into_iter().map(|(role, domain)| [user.clone(), format!("role:{role}"), domain.to_owned()]).collect()
}

/// The templates' rows.
pub(super) fn template_rows() -> Result<Vec<templates::Row>> {
    templates::rows(HUB_POLICY)
}

/// The roles, with their prefix, that count for this member in `domain`.
pub(super) fn roles_held(operator: &ParticipantId, membership: &Membership, domain: Domain<'_>) -> BTreeSet<String> {
    let domain = domain.to_string();
    let here = links(operator, membership).into_iter().filter(|link| link[2] == domain || link[2] == HUB);
    here.map(|[_, role, _]| role).collect()
}

/// Prefixed, because casbin takes a user whose id is a role's name to hold that role everywhere.
fn subject(member: MemberId) -> String {
    format!("user:{member}")
}

/// Members have UUIDs and participants the prefix `org:`, so the self-test's names collide with none.
fn tester(index: usize) -> String {
    format!("user:selftest-{index}")
}

#[cfg(test)]
mod tests;
