//! `AccessService`: access requests, and the grants that result.

use std::time::Duration;

use tonic::{Request, Response, Status};

use super::{
    call::Call,
    convert::{self, messages},
    filter::{Field, Filter, any, is},
    idempotency::Change,
    names,
    pb::{self, access_service_server::AccessService},
    policy::coverage_message,
    policy_document::limits_message,
};
use crate::{
    domain::{
        AccessRequest, AccessRequestId, AccessRequestState, Grant, GrantId, GrantState, Page, PurposeSlug, Timestamp,
    },
    error::{Error, Result},
    policy::{check::coverage, odrl::MEDIA_TYPE},
    service::{Approval, NewAccessRequest, etag},
    store::access::Side,
};

/// Bounds of a grant's duration.
const SHORTEST: Duration = Duration::from_mins(1);
const LONGEST: Duration = Duration::from_hours(3_650 * 24);

/// What lists can be filtered by.
const REQUEST_FIELDS: [Field; 4] =
    [("state", is::<AccessRequestState>), ("dataset", any), ("requester", any), ("purpose", is::<PurposeSlug>)];
const GRANT_FIELDS: [Field; 5] = [
    ("state", |state| matches!(state, "active" | "expired" | "revoked")),
    ("grantee", any),
    ("owner", any),
    ("dataset", any),
    ("purpose", is::<PurposeSlug>),
];

/// The service.
#[derive(Debug)]
pub(super) struct Api;

#[tonic::async_trait]
impl AccessService for Api {
    async fn create_access_request(
        &self,
        request: Request<pb::CreateAccessRequestRequest>,
    ) -> Result<Response<pb::CreateAccessRequestResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let new = NewAccessRequest {
                dataset: names::dataset("dataset", &asked.dataset)?,
                action: convert::action("action", asked.action)?,
                purpose: convert::purpose("purpose", &asked.purpose)?,
                columns: convert::columns("columns", asked.columns.clone())?,
                justification: asked.justification.clone(),
                duration: duration(convert::present("duration", asked.duration)?)?,
            };
            let (made, committed) = call.services().request_access(call.caller()?, new).await?;
            let receipt = Some(convert::receipt_of(&committed));
            Ok(pb::CreateAccessRequestResponse { access_request: Some(request_message(made)), receipt })
        };
        call.change(Change::under(&asked.request_id), &asked, run).await
    }

    async fn get_access_request(
        &self,
        request: Request<pb::GetAccessRequestRequest>,
    ) -> Result<Response<pb::GetAccessRequestResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let found = call.services().access_request(call.caller()?, request_id(&asked.name)?).await?;
            Ok(pb::GetAccessRequestResponse { access_request: Some(request_message(found)) })
        };
        call.answer(run).await
    }

    async fn list_access_requests(
        &self,
        request: Request<pb::ListAccessRequestsRequest>,
    ) -> Result<Response<pb::ListAccessRequestsResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let list = call.list(&asked)?;
            let filter = Filter::parse(&asked.filter, &REQUEST_FIELDS, &[])?;
            let caller = call.caller()?;
            let services = call.services();
            let page = match pb::AccessRequestDirection::try_from(asked.direction) {
                Ok(pb::AccessRequestDirection::Inbox) => {
                    services.access_requests(caller, Side::Inbox, &list.page).await?
                }
                Ok(pb::AccessRequestDirection::Outbox) => {
                    services.access_requests(caller, Side::Outbox, &list.page).await?
                }
                Ok(pb::AccessRequestDirection::Unspecified) => {
                    let received = services.access_requests(caller, Side::Inbox, &list.page).await?;
                    let made = services.access_requests(caller, Side::Outbox, &list.page).await?;
                    both(received, made, list.page.size)
                }
                Err(_) => return Err(Error::invalid("direction", "not one of its values")),
            };
            let keep = |one: &AccessRequest| filter.admits(|field, value| request_has(one, field, value));
            let access_requests = page.items.into_iter().filter(keep).map(request_message).collect();
            Ok(pb::ListAccessRequestsResponse { access_requests, next_page_token: call.next(&list, page.next)? })
        };
        call.answer(run).await
    }

    async fn approve_access_request(
        &self,
        request: Request<pb::ApproveAccessRequestRequest>,
    ) -> Result<Response<pb::ApproveAccessRequestResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let id = request_id(&asked.name)?;
            let rule = Some(asked.rule.as_str()).filter(|rule| !rule.is_empty()).map(str::parse).transpose()?;
            let approval = Approval { duration: asked.duration.map(duration).transpose()?, rule };
            let signature = asked.signature.clone();
            let (granted, committed) = call
                .services()
                .approve_access(call.caller()?, call.certificate()?, id, &approval, &asked.etag, signature)
                .await?;
            Ok(pb::ApproveAccessRequestResponse {
                access_request: Some(request_message(granted.request)),
                grant: Some(grant_message(granted.grant, call.services().now())),
                receipt: Some(convert::receipt_of(&committed)),
            })
        };
        call.change(Change::under(&asked.request_id), &asked, run).await
    }

    async fn refuse_access_request(
        &self,
        request: Request<pb::RefuseAccessRequestRequest>,
    ) -> Result<Response<pb::RefuseAccessRequestResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let id = request_id(&asked.name)?;
            let (reason, signature) = (asked.reason.clone(), asked.signature.clone());
            let (refused, committed) = call
                .services()
                .refuse_access(call.caller()?, call.certificate()?, id, reason, &asked.etag, signature)
                .await?;
            let receipt = Some(convert::receipt_of(&committed));
            Ok(pb::RefuseAccessRequestResponse { access_request: Some(request_message(refused)), receipt })
        };
        call.change(Change::under(&asked.request_id), &asked, run).await
    }

    async fn withdraw_access_request(
        &self,
        request: Request<pb::WithdrawAccessRequestRequest>,
    ) -> Result<Response<pb::WithdrawAccessRequestResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let id = request_id(&asked.name)?;
            let (withdrawn, committed) = call.services().withdraw_access(call.caller()?, id, &asked.etag).await?;
            let receipt = Some(convert::receipt_of(&committed));
            Ok(pb::WithdrawAccessRequestResponse { access_request: Some(request_message(withdrawn)), receipt })
        };
        call.change(Change::under(&asked.request_id), &asked, run).await
    }

    async fn get_grant(&self, request: Request<pb::GetGrantRequest>) -> Result<Response<pb::GetGrantResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let found = call.services().grant(call.caller()?, grant_id("name", &asked.name)?).await?;
            let terms = call.services().grant_terms(call.caller()?, &found).await?;
            let how = terms.rules.iter().fold(terms.floor.clone(), |floor, rule| rule.how.join(&floor));
            Ok(pb::GetGrantResponse {
                grant: Some(grant_message(found, call.services().now())),
                how: limits_message(how),
                coverage: coverage(&terms).iter().map(coverage_message).collect(),
            })
        };
        call.answer(run).await
    }

    async fn export_grant(
        &self,
        request: Request<pb::ExportGrantRequest>,
    ) -> Result<Response<pb::ExportGrantResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let document = call.services().grant_as_odrl(call.caller()?, grant_id("name", &asked.name)?).await?;
            Ok(pb::ExportGrantResponse { document: format!("{document:#}"), media_type: MEDIA_TYPE.to_owned() })
        };
        call.answer(run).await
    }

    async fn list_grants(
        &self,
        request: Request<pb::ListGrantsRequest>,
    ) -> Result<Response<pb::ListGrantsResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let list = call.list(&asked)?;
            let filter = Filter::parse(&asked.filter, &GRANT_FIELDS, &[])?;
            let page = call.services().grants(call.caller()?, &list.page).await?;
            let now = call.services().now();
            let keep = |grant: &Grant| filter.admits(|field, value| grant_has(grant, now, field, value));
            let grants = page.items.into_iter().filter(keep).map(|grant| grant_message(grant, now)).collect();
            Ok(pb::ListGrantsResponse { grants, next_page_token: call.next(&list, page.next)? })
        };
        call.answer(run).await
    }

    async fn revoke_grant(
        &self,
        request: Request<pb::RevokeGrantRequest>,
    ) -> Result<Response<pb::RevokeGrantResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let id = grant_id("name", &asked.name)?;
            let signature = asked.signature.clone();
            let (revoked, committed) = call
                .services()
                .revoke_grant(call.caller()?, call.certificate()?, id, &asked.reason, &asked.etag, signature)
                .await?;
            let grant = Some(grant_message(revoked, call.services().now()));
            Ok(pb::RevokeGrantResponse { grant, receipt: Some(convert::receipt_of(&committed)) })
        };
        call.change(Change::under(&asked.request_id), &asked, run).await
    }

    async fn get_jwks(&self, request: Request<pb::GetJwksRequest>) -> Result<Response<pb::GetJwksResponse>, Status> {
        let (call, _) = Call::split(request)?;
        let run = async { Ok(pb::GetJwksResponse { jwks: call.services().keys().tokens().jwks().to_json()? }) };
        call.answer(run).await
    }
}

fn request_id(name: &str) -> Result<AccessRequestId> {
    names::id("name", "accessRequests", name)
}

/// The id in `grants/{uuid}`.
pub(super) fn grant_id(field: &'static str, name: &str) -> Result<GrantId> {
    names::id(field, "grants", name)
}

fn duration(span: prost_types::Duration) -> Result<Duration> {
    convert::seconds("duration", &span, SHORTEST, LONGEST)
}

messages! {
    /// States of access requests.
    request_state_message AccessRequestState => pb::AccessRequestState {
        Submitted => Submitted, Approved => Approved, Refused => Refused, Withdrawn => Withdrawn,
    }
}

fn request_message(request: AccessRequest) -> pb::AccessRequest {
    pb::AccessRequest {
        name: format!("accessRequests/{}", request.id),
        requester: names::participant_name(&request.requester),
        member: names::member_name(&request.requester, request.member),
        dataset: names::dataset_name(&request.ask.dataset),
        action: convert::action_message(request.ask.action),
        purpose: request.ask.purpose.to_string(),
        duration: Some(convert::span(request.ask.duration())),
        columns: Some(convert::columns_message(request.ask.columns)),
        justification: request.justification,
        state: request_state_message(request.state),
        refusal_reason: request.refusal.unwrap_or_default(),
        grant: request.grant.map(|id| format!("grants/{id}")).unwrap_or_default(),
        create_time: Some(convert::timestamp(request.created_at)),
        decide_time: request.decided_at.map(convert::timestamp),
        etag: etag(request.revision),
    }
}

/// One page of both lists, the newest first: their ids are UUIDs of version 7, which sort by creation.
fn both(received: Page<AccessRequest>, made: Page<AccessRequest>, size: u32) -> Page<AccessRequest> {
    let more = received.next.is_some() || made.next.is_some();
    let mut items = received.items;
    items.extend(made.items);
    items.sort_by_key(|request| std::cmp::Reverse(request.id));
    items.dedup_by_key(|request| request.id);
    let mut page = Page::from_rows(items, size, |request| request.id.to_string());
    if more {
        page.next = page.items.last().map(|request| request.id.to_string());
    }
    page
}

fn request_has(request: &AccessRequest, field: &str, value: &str) -> bool {
    match field {
        "state" => request.state.as_str() == value,
        "dataset" => names::dataset_name(&request.ask.dataset) == value,
        "requester" => names::participant_name(&request.requester) == value,
        "purpose" => request.ask.purpose.as_str() == value,
        _ => false,
    }
}

/// A grant for the wire, with where it stands at `now`.
fn grant_message(grant: Grant, now: Timestamp) -> pb::Grant {
    pb::Grant {
        name: format!("grants/{}", grant.id),
        grantee: names::participant_name(&grant.grantee),
        owner: names::participant_name(&grant.dataset.owner),
        dataset: names::dataset_name(&grant.dataset),
        table: grant.dataset.to_string(),
        policy_digest: grant.policy.to_string(),
        rule: grant.rule.to_string(),
        action: convert::action_message(grant.action),
        purpose: grant.purpose.to_string(),
        legal_basis: convert::basis_message(grant.legal_basis),
        valid_from: Some(convert::timestamp(grant.valid_from)),
        valid_until: Some(convert::timestamp(grant.valid_until)),
        state: grant_state(&grant, now).into(),
        decided_by: names::member_name(&grant.dataset.owner, grant.decided_by),
        access_request: format!("accessRequests/{}", grant.access_request),
        etag: etag(grant.revision),
        columns: Some(convert::columns_message(grant.columns)),
        duties: grant.duties.into_iter().map(convert::duty_message).collect(),
        jws: grant.jws,
    }
}

fn grant_state(grant: &Grant, now: Timestamp) -> pb::GrantState {
    match grant.state {
        GrantState::Revoked => pb::GrantState::Revoked,
        GrantState::Active if grant.require_in_force(now).is_ok() => pb::GrantState::Active,
        GrantState::Active => pb::GrantState::Expired,
    }
}

fn grant_has(grant: &Grant, now: Timestamp, field: &str, value: &str) -> bool {
    match field {
        "state" => match grant_state(grant, now) {
            pb::GrantState::Active => value == "active",
            pb::GrantState::Expired => value == "expired",
            pb::GrantState::Revoked => value == "revoked",
            pb::GrantState::Unspecified => false,
        },
        "grantee" => names::participant_name(&grant.grantee) == value,
        "owner" => names::participant_name(&grant.dataset.owner) == value,
        "dataset" => names::dataset_name(&grant.dataset) == value,
        "purpose" => grant.purpose.as_str() == value,
        _ => false,
    }
}
