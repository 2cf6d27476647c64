//! Access: requests, decisions on them, and the grants that result.

use std::time::Duration;

use super::{Services, participant::check_text, policy::Question, require_etag};
use crate::{
    audit::Committed,
    domain::{
        Access, AccessRequest, AccessRequestId, AccessRequestState, Action, Ask, Caller, Columns, DatasetId, Decision,
        Digest, EntryDraft, EntryKind, Grant, GrantId, GrantState, Name, Page, PageRequest, PurposeSlug,
        approval_object,
    },
    error::{Error, Reason, Result},
    policy::{Act, Family, Permit},
    store::{access, access::Side, dataset, policy},
};

/// Longest validity of a grant: two years.
const LONGEST_GRANT: Duration = Duration::from_hours(731 * 24);

/// What a requester asks for.
#[derive(Debug, Clone)]
pub struct NewAccessRequest {
    /// The dataset.
    pub dataset: DatasetId,
    /// Read rows, or aggregates only.
    pub action: Action,
    /// What for.
    pub purpose: PurposeSlug,
    /// Which columns.
    pub columns: Columns,
    /// Why.
    pub justification: String,
    /// For how long from the decision on.
    pub duration: Duration,
}

/// An approved request and its grant.
#[derive(Debug, Clone)]
pub struct GrantedAccess {
    /// The request.
    pub request: AccessRequest,
    /// The grant.
    pub grant: Grant,
}

/// What the owner agrees to.
#[derive(Debug, Clone, Default)]
pub struct Approval {
    /// A shorter time than asked for.
    pub duration: Option<Duration>,
    /// The rule that the grant cites; needed if several permit what is asked for.
    pub rule: Option<Name>,
}

impl Services {
    /// Submits a request to the dataset's owner. What no rule could permit is refused right away, with the reason.
    pub async fn request_access(&self, caller: &Caller, new: NewAccessRequest) -> Result<(AccessRequest, Committed)> {
        let permit = self.authorise(caller, &caller.participant, Family::Access, Act::Request).await?;
        check_text("justification", &new.justification, 5_000)?;
        if new.duration.is_zero() || new.duration > LONGEST_GRANT {
            return Err(Error::invalid("duration", "not between one second and two years"));
        }
        self.inner.vocabulary.require(&new.purpose)?;
        let ask = Ask {
            dataset: new.dataset,
            action: new.action,
            purpose: new.purpose,
            columns: new.columns,
            duration_seconds: new.duration.as_secs(),
        };
        self.require_permitted(caller, &ask).await?;
        let request = AccessRequest {
            id: AccessRequestId::generate(self.now()),
            requester: caller.participant.clone(),
            member: caller.member,
            ask,
            justification: new.justification,
            state: AccessRequestState::Submitted,
            refusal: None,
            grant: None,
            created_at: self.now(),
            decided_at: None,
            revision: 1,
        };
        let entry = EntryDraft::by(EntryKind::AccessRequested, caller)
            .about(&request.ask.dataset)
            .purpose(&request.ask.purpose)
            .fact("request", request.id.to_string())
            .fact("action", request.ask.action.as_str())
            .fact("duration_seconds", request.ask.duration_seconds.to_string())
            .secret("justification", request.justification.as_str());
        self.change(&permit, move |tx| {
            Box::pin(async move {
                access::add_request(tx, &request).await?;
                Ok((request, vec![entry]))
            })
        })
        .await
    }

    /// Refuses an ask that the policy in force does not permit, for the reason it gives.
    async fn require_permitted(&self, caller: &Caller, ask: &Ask) -> Result<()> {
        let dataset = self.dataset(caller, &ask.dataset).await?;
        if dataset.id.owner == caller.participant {
            return Err(no_grant_needed(&dataset.id, "your own"));
        }
        if dataset.access == Access::Open {
            return Err(no_grant_needed(&dataset.id, "open"));
        }
        if ask.action == Action::Discover {
            return Err(Error::invalid("action", "a grant is for reading rows or aggregates"));
        }
        if let Columns::Only(names) = &ask.columns
            && let Some(unknown) = names.iter().find(|name| !dataset.columns().iter().any(|c| c.name == **name))
        {
            return Err(Error::new(Reason::ColumnUnknown).with("dataset", &dataset.id).with("column", unknown));
        }
        let version = self.policy(caller, &ask.dataset, None).await?;
        match self.decide_ask(caller, &dataset, &version, ask, None)?.first() {
            Some(decision) if decision.permit.is_none() => {
                Err(self.refusal(caller, &dataset, &version, &asked(ask), decision))
            }
            _ => Ok(()),
        }
    }

    /// A request that the caller's participant is a party of.
    pub async fn access_request(&self, caller: &Caller, id: AccessRequestId) -> Result<AccessRequest> {
        let permit = self.authorise(caller, &caller.participant, Family::Access, Act::Read).await?;
        let not_found = || Error::not_found(format_args!("access request {id}"));
        let found = access::lookup_request(&mut self.read_as(&permit).await?, id).await?.ok_or_else(not_found)?;
        let is_party = found.requester == caller.participant || found.ask.dataset.owner == caller.participant;
        if is_party { Ok(found) } else { Err(not_found()) }
    }

    /// Requests to or of the caller's participant, newest first.
    pub async fn access_requests(
        &self,
        caller: &Caller,
        side: Side,
        page: &PageRequest,
    ) -> Result<Page<AccessRequest>> {
        let permit = self.authorise(caller, &caller.participant, Family::Access, Act::Read).await?;
        access::list_requests(&mut self.read_as(&permit).await?, &caller.participant, side, page).await
    }

    /// Approves a request, perhaps for a shorter time or under a rule of the owner's choice, and issues the signed grant.
    pub async fn approve_access(
        &self,
        caller: &Caller,
        certificate: &[u8],
        id: AccessRequestId,
        approval: &Approval,
        etag: &str,
        signature: String,
    ) -> Result<(GrantedAccess, Committed)> {
        let (permit, request) = self.decidable(caller, id).await?;
        let rule = approval.rule.as_ref().map_or("", Name::as_str);
        let seconds = approval.duration.map(|duration| duration.as_secs());
        let object = approval_object(&format!("accessRequests/{id}"), rule, seconds);
        self.verify_act(caller, certificate, "access.approve", &object, &signature)?;
        let duration = approval.duration.unwrap_or_else(|| request.ask.duration()).min(request.ask.duration());
        if duration.is_zero() {
            return Err(Error::invalid("duration", "a grant lasts at least one second"));
        }
        let grant = self.draw_up(caller, &request, duration, approval.rule.as_ref()).await?;
        let entry = EntryDraft::by(EntryKind::AccessApproved, caller)
            .about(&grant.dataset)
            .concerning(&grant.grantee)
            .purpose(&grant.purpose)
            .fact("request", id.to_string())
            .fact("grant", grant.id.to_string())
            .fact("policy", grant.policy.to_string())
            .fact("rule", grant.rule.as_str())
            .fact("action", grant.action.as_str())
            .fact("until", grant.valid_until.to_string())
            .fact("jws", Digest::of(grant.jws.as_bytes()).to_string())
            .fact("signature", Digest::of(signature.as_bytes()).to_string());
        let now = self.now();
        let etag = etag.to_owned();
        self.change(&permit, move |tx| {
            Box::pin(async move {
                let current = load_request(tx, id, &etag).await?;
                // The policy may have gone since the grant was drawn up.
                let in_force = policy::in_force(tx, &grant.dataset).await?;
                if in_force.is_none_or(|version| version.digest != grant.policy) {
                    return Err(Error::new(Reason::EtagMismatch)
                        .with("object", format_args!("the policy of `{}`", grant.dataset)));
                }
                let mut approved = current.approve(grant.id, now)?;
                access::update_request(tx, &approved, Some(&signature)).await?;
                access::add_grant(tx, &grant).await?;
                approved.revision += 1;
                Ok((GrantedAccess { request: approved, grant }, vec![entry]))
            })
        })
        .await
    }

    /// The grant for a request under the policy in force now, signed by the hub.
    async fn draw_up(
        &self,
        caller: &Caller,
        request: &AccessRequest,
        duration: Duration,
        rule: Option<&Name>,
    ) -> Result<Grant> {
        let mut tx = self.read().await?;
        let not_found = || Error::not_found(format_args!("dataset `{}`", request.ask.dataset));
        let dataset = dataset::lookup(&mut tx, &request.ask.dataset).await?.ok_or_else(not_found)?;
        let version = policy::in_force(&mut tx, &dataset.id).await?.ok_or_else(not_found)?;
        let requester = self.standing(&mut tx, request).await?;
        drop(tx);
        let decisions = self.decide_ask(&requester, &dataset, &version, &request.ask, rule)?;
        let decision = the_one(decisions)?;
        let refused = || self.refusal(&requester, &dataset, &version, &asked(&request.ask), &decision);
        let permit = decision.permit.clone().ok_or_else(refused)?;
        let rule = version.policy.rule(permit.rule.as_str()).ok_or_else(not_found)?;
        let now = self.now();
        let mut grant = Grant {
            id: GrantId::generate(now),
            access_request: request.id,
            grantee: request.requester.clone(),
            dataset: dataset.id.clone(),
            policy: version.digest,
            rule: permit.rule,
            action: request.ask.action,
            columns: request.ask.columns.intersect(&rule.columns),
            purpose: request.ask.purpose.clone(),
            legal_basis: permit.legal_basis,
            duties: permit.duties,
            valid_from: now,
            valid_until: now.plus(duration),
            state: GrantState::Active,
            decided_by: caller.member,
            jws: String::new(),
            revision: 1,
        };
        grant.jws = self.keys().tokens().sign_grant(&grant, now)?;
        Ok(grant)
    }

    /// The requester as the policy sees it now: attributes of its participant and of the member that asked.
    async fn standing(&self, tx: &mut crate::store::Tx, request: &AccessRequest) -> Result<Caller> {
        let not_found = || Error::not_found(format_args!("participant `{}`", request.requester));
        let participant = crate::store::participant::lookup(tx, &request.requester).await?.ok_or_else(not_found)?;
        let member = crate::store::member::lookup(tx, request.member).await?.ok_or_else(not_found)?;
        let caller = Caller {
            member: member.id,
            participant: participant.id,
            roles: member.roles,
            participant_state: participant.state,
            kind: participant.kind,
            sector: participant.sector,
            country: participant.country,
            accreditations: participant.accreditations.into_iter().collect(),
            credential: crate::domain::Credential::Certificate { fingerprint: String::new() },
        };
        caller.require_active()?;
        Ok(caller)
    }

    /// Refuses a request, with the reason that the requester will see.
    pub async fn refuse_access(
        &self,
        caller: &Caller,
        certificate: &[u8],
        id: AccessRequestId,
        reason: String,
        etag: &str,
        signature: String,
    ) -> Result<(AccessRequest, Committed)> {
        let (permit, request) = self.decidable(caller, id).await?;
        check_text("reason", &reason, 2_000)?;
        self.verify_act(caller, certificate, "access.refuse", &format!("accessRequests/{id}"), &signature)?;
        let entry = EntryDraft::by(EntryKind::AccessRefused, caller)
            .about(&request.ask.dataset)
            .concerning(&request.requester)
            .purpose(&request.ask.purpose)
            .fact("request", id.to_string())
            .fact("signature", Digest::of(signature.as_bytes()).to_string())
            .secret("reason", reason.as_str());
        let now = self.now();
        let etag = etag.to_owned();
        self.change(&permit, move |tx| {
            Box::pin(async move {
                let mut refused = load_request(tx, id, &etag).await?.refuse(reason, now)?;
                access::update_request(tx, &refused, Some(&signature)).await?;
                refused.revision += 1;
                Ok((refused, vec![entry]))
            })
        })
        .await
    }

    /// Takes back a request of the caller's participant.
    pub async fn withdraw_access(
        &self,
        caller: &Caller,
        id: AccessRequestId,
        etag: &str,
    ) -> Result<(AccessRequest, Committed)> {
        let request = self.access_request(caller, id).await?;
        let permit = self.authorise(caller, &request.requester, Family::Access, Act::Withdraw).await?;
        let entry = EntryDraft::by(EntryKind::AccessWithdrawn, caller)
            .about(&request.ask.dataset)
            .fact("request", id.to_string());
        let (now, etag) = (self.now(), etag.to_owned());
        self.change(&permit, move |tx| {
            Box::pin(async move {
                let mut withdrawn = load_request(tx, id, &etag).await?.withdraw(now)?;
                access::update_request(tx, &withdrawn, None).await?;
                withdrawn.revision += 1;
                Ok((withdrawn, vec![entry]))
            })
        })
        .await
    }

    /// A request that the caller may decide on: to its participant, and not made by itself.
    async fn decidable(&self, caller: &Caller, id: AccessRequestId) -> Result<(Permit, AccessRequest)> {
        let request = self.access_request(caller, id).await?;
        let permit = self.authorise(caller, &request.ask.dataset.owner, Family::Access, Act::Decide).await?;
        if request.member == caller.member {
            return Err(Error::new(Reason::SeparationOfDuties));
        }
        Ok((permit, request))
    }
}

fn asked(ask: &Ask) -> Question<'_> {
    Question { action: ask.action, purpose: Some(&ask.purpose), columns: &ask.columns, rule: None }
}

fn no_grant_needed(dataset: &DatasetId, state: &str) -> Error {
    Error::new(Reason::StateConflict)
        .with("object", format_args!("dataset `{dataset}`"))
        .with("state", state)
        .with("wanted", "restricted and another participant's")
}

/// Rules differ in what they oblige to, so the hub does not choose among several: the owner names one.
fn the_one(mut decisions: Vec<Decision>) -> Result<Decision> {
    let names =
        decisions.iter().filter_map(|decision| decision.permit.as_ref()).map(|permit| format!("`{}`", permit.rule));
    let names: Vec<String> = names.collect();
    match (decisions.pop(), names.len()) {
        (Some(decision), 0 | 1) => Ok(decision),
        _ => Err(Error::invalid("rule", format_args!("several rules permit this, name one: {}", names.join(", ")))),
    }
}

async fn load_request(tx: &mut crate::store::Tx, id: AccessRequestId, etag: &str) -> Result<AccessRequest> {
    let object = format!("access request {id}");
    let current = access::lookup_request(tx, id).await?.ok_or_else(|| Error::not_found(&object))?;
    require_etag(etag, current.revision, &object)?;
    Ok(current)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{How, LegalBasis, Permit};

    #[test]
    fn of_several_rules_the_owner_names_one() {
        let permitted_by = |rule: &str| Decision {
            policy: Digest([0; 32]),
            permit: Some(Permit {
                rule: rule.parse().unwrap(),
                how: How::default(),
                duties: Vec::new(),
                legal_basis: LegalBasis::NotPersonal,
            }),
            trace: Vec::new(),
        };
        assert!(the_one(vec![permitted_by("rows")]).is_ok());
        let error = the_one(vec![permitted_by("rows"), permitted_by("aggregates")]).unwrap_err();
        assert_eq!(error.reason(), Reason::InvalidArgument);
        assert!(error.message_en().contains("`rows`, `aggregates`"), "{}", error.message_en());
    }
}
