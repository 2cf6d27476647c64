//! Step 5: the lab searches and asks, the owners decide, grants are verified by somebody else.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value as Json;

use crate::{
    cli::{
        demo::{
            hub::Hub,
            offline,
            persona::{Cast, Persona},
            queries::PURPOSE,
            stage::{Stage, expect, part, surprise},
        },
        failure::Failure,
        files, names,
    },
    domain::approval_object,
    grpc::pb,
};

/// The grants of the story.
pub(super) struct Grants {
    pub(super) meters: pb::Grant,
}

const STAYS: &str = "participants/chu/datasets/stays";
const METERS: &str = "participants/energie/datasets/meters";
const STAYS_COLUMNS: [&str; 5] = ["patient", "commune", "admitted", "diagnosis", "cost"];
const METERS_COLUMNS: [&str; 3] = ["person", "kwh", "heating"];
const DAY: i64 = 86_400;

pub(super) async fn ask_and_decide(stage: &mut Stage<'_>, hub: &Hub, cast: &Cast) -> Result<Grants, Failure> {
    stage.step(5, "The lab finds data and asks; the owners decide")?;
    search(stage, &cast.labo).await?;
    let ask = Ask {
        dataset: STAYS,
        action: pb::Action::Aggregate,
        columns: &STAYS_COLUMNS,
        days: 180,
        why: "Heating and respiratory illness: aggregates by département.",
    };
    let request = ask.submit(stage, &cast.labo).await?;
    inbox(stage, &cast.chu).await?;
    let stays = approve(stage, &cast.chu, request, "research").await?;
    let broad = Ask {
        dataset: METERS,
        action: pb::Action::Read,
        columns: &[],
        days: 365,
        why: "We would like to have a look at all readings.",
    };
    let request = broad.submit(stage, &cast.labo).await?;
    inbox(stage, &cast.energie).await?;
    refuse(stage, cast, request).await?;
    let meters = approve_meters(stage, cast).await?;
    for grant in [&stays, &meters] {
        verify(stage, hub, grant).await?;
    }
    Ok(Grants { meters })
}

/// The lab's narrower ask for meters, approved.
pub(in crate::cli::demo) async fn approve_meters(stage: &mut Stage<'_>, cast: &Cast) -> Result<pb::Grant, Failure> {
    let ask = Ask {
        dataset: METERS,
        action: pb::Action::Aggregate,
        columns: &METERS_COLUMNS,
        days: 90,
        why: "Mean consumption by heating, crossed with stays; no rows.",
    };
    let request = ask.submit(stage, &cast.labo).await?;
    approve(stage, &cast.energie, request, "research_on_aggregates").await
}

async fn search(stage: &mut Stage<'_>, labo: &Persona) -> Result<(), Failure> {
    for (words, wanted) in [("", 4), ("sejours HOPITAL", 1), ("electricite", 2), ("tramway", 0)] {
        let request = pb::ListDatasetsRequest { query: words.to_owned(), ..pb::ListDatasetsRequest::default() };
        let page = labo.client.catalog().list_datasets(request).await?.into_inner();
        expect(
            page.datasets.len() == wanted,
            format_args!("{wanted} datasets for \"{words}\", not {}", page.datasets.len()),
        )?;
        if words.is_empty() {
            stage.done(&labo.name, "looks through the catalog")?;
            let rows: Vec<Vec<String>> = page.datasets.iter().map(entry).collect();
            stage.table(&["dataset", "access", "title"], &rows)?;
        } else if wanted == 0 {
            expect(page.empty_reason() == pb::EmptyReason::Query, "to be told that no dataset has the words")?;
            stage.done(&labo.name, format_args!("searches \"{words}\": nothing, since no dataset has this word"))?;
        } else {
            let found: Vec<&str> = page.datasets.iter().map(|dataset| dataset.table.as_str()).collect();
            stage.done(
                &labo.name,
                format_args!("searches \"{words}\" (accents and case do not matter): {}", found.join(", ")),
            )?;
        }
    }
    Ok(())
}

fn entry(dataset: &pb::Dataset) -> Vec<String> {
    let access = dataset.access_level().as_str_name().trim_start_matches("ACCESS_LEVEL_").to_lowercase();
    vec![dataset.table.clone(), access, dataset.title.clone()]
}

/// What the lab asks for.
struct Ask<'a> {
    dataset: &'a str,
    action: pb::Action,
    /// None asks for all of them.
    columns: &'a [&'a str],
    days: i64,
    why: &'a str,
}

impl Ask<'_> {
    async fn submit(&self, stage: &mut Stage<'_>, labo: &Persona) -> Result<pb::AccessRequest, Failure> {
        let columns = (!self.columns.is_empty()).then(|| {
            let names = self.columns.iter().map(|name| (*name).to_owned()).collect();
            pb::Columns { selection: Some(pb::columns::Selection::Only(pb::ColumnNames { names })) }
        });
        let request = pb::CreateAccessRequestRequest {
            dataset: self.dataset.to_owned(),
            action: self.action.into(),
            purpose: PURPOSE.to_owned(),
            columns,
            justification: self.why.to_owned(),
            duration: Some(prost_types::Duration { seconds: self.days * DAY, nanos: 0 }),
            request_id: String::new(),
        };
        let made = labo.client.access().create_access_request(request).await?.into_inner();
        let of = if self.columns.is_empty() { "all columns".to_owned() } else { self.columns.join(", ") };
        let what = format!(
            "asks for {}: {}, {PURPOSE}, {} days, {of}",
            names::short(self.dataset),
            action(self.action),
            self.days
        );
        stage.done(&labo.name, what)?;
        part(made.access_request, "access request")
    }
}

fn action(action: pb::Action) -> String {
    action.as_str_name().trim_start_matches("ACTION_").to_lowercase()
}

async fn inbox(stage: &mut Stage<'_>, owner: &Persona) -> Result<(), Failure> {
    let request = pb::ListAccessRequestsRequest {
        direction: pb::AccessRequestDirection::Inbox.into(),
        filter: "state = \"submitted\"".to_owned(),
        ..pb::ListAccessRequestsRequest::default()
    };
    let found = owner.client.access().list_access_requests(request).await?.into_inner().access_requests;
    expect(found.len() == 1, format_args!("one request in the inbox of {}", owner.name))?;
    stage.done(&owner.name, "finds it in its inbox")?;
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|request| {
            let days = request.duration.map_or(0, |duration| duration.seconds / DAY);
            let from = names::short(&request.requester);
            vec![
                from,
                names::short(&request.dataset),
                action(request.action()),
                format!("{days} d"),
                request.justification.clone(),
            ]
        })
        .collect();
    stage.table(&["from", "dataset", "action", "for", "why"], &rows)
}

/// The owner names the rule: where several permit, it chooses what its terms oblige to.
async fn approve(
    stage: &mut Stage<'_>,
    owner: &Persona,
    request: pb::AccessRequest,
    rule: &str,
) -> Result<pb::Grant, Failure> {
    let signature = owner.client.sign("access.approve", &approval_object(&request.name, rule, None)).await?;
    let approve = pb::ApproveAccessRequestRequest {
        name: request.name,
        rule: rule.to_owned(),
        signature,
        etag: request.etag,
        ..pb::ApproveAccessRequestRequest::default()
    };
    let approved = owner.client.access().approve_access_request(approve).await?.into_inner();
    let grant = part(approved.grant, "grant")?;
    expect(grant.state() == pb::GrantState::Active && grant.rule == rule, "the grant to be in force")?;
    stage.done(
        &owner.name,
        format_args!("approves, and signs: grant {} under rule `{}`", names::short(&grant.name), grant.rule),
    )?;
    Ok(grant)
}

async fn refuse(stage: &mut Stage<'_>, cast: &Cast, request: pb::AccessRequest) -> Result<(), Failure> {
    let name = request.name;
    let signature = cast.energie.client.sign("access.refuse", &name).await?;
    let reason = "Single readings show when people are at home. Ask for aggregates, and for what you need only.";
    let refuse = pb::RefuseAccessRequestRequest {
        name: name.clone(),
        reason: reason.to_owned(),
        signature,
        etag: request.etag,
        request_id: String::new(),
    };
    cast.energie.client.access().refuse_access_request(refuse).await?;
    stage.done(&cast.energie.name, "refuses: it is too much")?;
    let seen = cast.labo.client.access().get_access_request(pb::GetAccessRequestRequest { name }).await?.into_inner();
    let seen = part(seen.access_request, "access request")?;
    let refused = seen.state() == pb::AccessRequestState::Refused && seen.refusal_reason == reason;
    expect(refused, "the lab to read the owner's reason")?;
    stage.done(&cast.labo.name, format_args!("reads why: \"{reason}\""))
}

/// A third party verifies the grant with the public keys alone.
async fn verify(stage: &mut Stage<'_>, hub: &Hub, grant: &pb::Grant) -> Result<(), Failure> {
    let claims = claims(&grant.jws)?;
    expect(claims["sub"] == "labo", "the grant to be of the lab")?;
    let details = &claims["authorization_details"][0];
    stage.says(&format!("The grant on {}, decoded:", grant.table))?;
    stage.block(&readable(&claims))?;
    expect(details["identifier"] == grant.table.as_str(), "the grant to name its dataset")?;
    let folder = hub.dir.join("grants");
    files::private_folder(&folder)?;
    let (keys, form) = (hub.dir.join("jwks.json"), folder.join(format!("{}.jws", names::short(&grant.name))));
    files::write_public(&keys, &hub.fetch("/.well-known/jwks.json").await?)?;
    files::write_public(&form, grant.jws.as_bytes())?;
    offline::verify_grant(stage, &keys, &form, &hub.id).await?;
    let forged = folder.join("forged.jws");
    files::write_public(&forged, forge(&grant.jws)?.as_bytes())?;
    offline::refuse_grant(stage, &keys, &forged, &hub.id).await
}

/// One claim a line, those of the permitted use below the others.
fn readable(claims: &Json) -> String {
    let lines = |object: &Json, indent: &str| -> Vec<String> {
        let members = object.as_object().into_iter().flatten().filter(|(_, value)| !value[0].is_object());
        members.map(|(name, value)| format!("{indent}{name:<13}{value}")).collect()
    };
    let details = &claims["authorization_details"][0];
    let mut text = lines(claims, "");
    text.push("authorization_details".to_owned());
    text.extend(lines(details, "  "));
    if details["duties"][0].is_object() {
        text.push(format!("  {:<13}{}", "duties", details["duties"]));
    }
    text.join("\n")
}

fn claims(jws: &str) -> Result<Json, Failure> {
    let payload = jws.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims = payload.and_then(|payload| serde_json::from_slice(&payload).ok());
    claims.ok_or_else(|| surprise("the grant is not a compact JWS"))
}

/// The same grant for somebody else.
fn forge(jws: &str) -> Result<String, Failure> {
    let mut claims = claims(jws)?;
    claims["sub"] = "energie".into();
    let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
    let mut parts: Vec<&str> = jws.split('.').collect();
    *parts.get_mut(1).ok_or_else(|| surprise("the grant is not a compact JWS"))? = &payload;
    Ok(parts.join("."))
}
