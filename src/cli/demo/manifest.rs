//! `demo.json`: what a client needs to talk to the hub that is left running, and what it will be told.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Serialize;

use super::{
    hub::Hub,
    persona::Persona,
    queries::{BEHIND_THE_MASK, BY_DEPARTEMENT, BY_HEATING, MASKED, PURPOSE, REFUSED, ask},
    stage::{Stage, expect, surprise},
    story::{self, Told},
};
use crate::{
    cli::{choices::pages, failure::Failure, files, names},
    grpc::pb,
};

/// How long a tool's token is valid: the longest that a hub gives.
const DAY: i64 = 86_400;
/// Open data, which needs no grant.
const OPEN: &str = "\
SELECT departement, count(*) AS communes, sum(population) AS population
FROM observatoire.communes GROUP BY departement ORDER BY population DESC";

/// The file. Addresses are URLs, paths absolute.
#[derive(Serialize)]
struct Manifest<'a> {
    version: u32,
    hub_id: &'a str,
    grpc: &'a str,
    https: &'a str,
    ops: &'a str,
    ca: PathBuf,
    personas: BTreeMap<&'a str, Shown<'a>>,
    queries: Vec<Query>,
}

#[derive(Serialize)]
struct Shown<'a> {
    participant: &'a str,
    /// A UUID.
    member: &'a str,
    roles: Vec<String>,
    cert: &'a PathBuf,
    key: &'a PathBuf,
    bearer: String,
    grants: Vec<Grant>,
}

#[derive(Serialize)]
struct Grant {
    /// A UUID.
    id: String,
    dataset: String,
    table: String,
    purpose: String,
    jws: String,
}

#[derive(Serialize)]
struct Query {
    r#as: String,
    purpose: String,
    sql: String,
    expect: Expectation,
}

/// What an answer is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Expectation {
    /// So many rows.
    Rows(u64),
    /// Refused, for this reason.
    Reason(String),
}

/// Renews the grant that the story has revoked, and writes the file.
pub(super) async fn write(stage: &mut Stage<'_>, hub: &Hub, told: &Told) -> Result<PathBuf, Failure> {
    stage.title("For clients")?;
    let cast = &told.cast;
    story::approve_meters(stage, cast).await?;
    let mut personas = BTreeMap::new();
    for (persona, admin) in cast.shown() {
        let grants = if persona.roles.contains(&pb::Role::Requester) { grants(persona).await? } else { Vec::new() };
        let shown = Shown {
            participant: &persona.participant,
            member: &persona.member,
            roles: persona
                .roles
                .iter()
                .map(|role| role.as_str_name().trim_start_matches("ROLE_").to_lowercase())
                .collect(),
            cert: &persona.certificate,
            key: &persona.key,
            bearer: bearer(persona, admin).await?,
            grants,
        };
        personas.insert(persona.name.as_str(), shown);
    }
    stage.done("admins", "mint an access token for the tools of each member, valid for 24 hours")?;
    let manifest = Manifest {
        version: 1,
        hub_id: &hub.id,
        grpc: &hub.urls.grpc,
        https: &hub.urls.https,
        ops: &hub.urls.ops,
        ca: hub.ca.clone(),
        personas,
        queries: queries(&cast.labo).await?,
    };
    let path = hub.dir.join("demo.json");
    let text = serde_json::to_string_pretty(&manifest).map_err(surprise)?;
    // It holds access tokens.
    files::write_private(&path, text.as_bytes())?;
    Ok(path)
}

/// A token for a tool that has no certificate, from the administrator of the member's participant.
async fn bearer(persona: &Persona, admin: &Persona) -> Result<String, Failure> {
    let request = pb::CreateAccessTokenRequest {
        member: format!("participants/{}/members/{}", persona.participant, persona.member),
        lifetime: Some(prost_types::Duration { seconds: DAY, nanos: 0 }),
        request_id: String::new(),
    };
    let token = admin.client.participants().create_access_token(request).await?.into_inner();
    expect(!token.certificate_bound, format_args!("a token of {} that works without a certificate", persona.name))?;
    Ok(token.access_token)
}

/// The grants in force of a requester.
async fn grants(persona: &Persona) -> Result<Vec<Grant>, Failure> {
    let (found, _) = pages(100, |page_size, page_token| {
        let mut service = persona.client.access();
        async move {
            let request = pb::ListGrantsRequest { page_size, page_token, filter: "state = \"active\"".to_owned() };
            let page = service.list_grants(request).await?.into_inner();
            Ok((page.grants, page.next_page_token))
        }
    })
    .await?;
    expect(found.len() == 2, format_args!("two grants in force of {}, not {}", persona.name, found.len()))?;
    let grant = |grant: pb::Grant| Grant {
        id: names::short(&grant.name),
        dataset: grant.dataset,
        table: grant.table,
        purpose: grant.purpose,
        jws: grant.jws,
    };
    Ok(found.into_iter().map(grant).collect())
}

/// What the hub answers now, asked anew: consents and grants have changed since the story asked.
async fn queries(labo: &Persona) -> Result<Vec<Query>, Failure> {
    let permitted = [OPEN, BY_DEPARTEMENT, BY_HEATING, MASKED, BEHIND_THE_MASK].map(|sql| (sql, PURPOSE));
    let refused = REFUSED.iter().map(|refused| (refused.sql, refused.purpose));
    let mut queries = Vec::new();
    for (sql, purpose) in permitted.into_iter().chain(refused) {
        let expect = match ask(labo, sql, purpose).await {
            Ok(answer) => Expectation::Rows(answer.records.rows() as u64),
            Err(refusal) => match refusal.reason() {
                Some(reason) => Expectation::Reason(reason.to_owned()),
                None => return Err(refusal),
            },
        };
        queries.push(Query { r#as: labo.name.clone(), purpose: purpose.to_owned(), sql: sql.to_owned(), expect });
    }
    let refusals = queries.iter().filter(|query| matches!(query.expect, Expectation::Reason(_))).count();
    expect(refusals == REFUSED.len(), format_args!("{} refused queries, not {refusals}", REFUSED.len()))?;
    Ok(queries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expectation_is_a_number_of_rows_or_a_reason() {
        let json = |expectation| serde_json::to_string(&expectation).unwrap();
        assert_eq!(json(Expectation::Rows(13)), r#"{"rows":13}"#);
        assert_eq!(json(Expectation::Reason("GRANT_REQUIRED".to_owned())), r#"{"reason":"GRANT_REQUIRED"}"#);
    }
}
