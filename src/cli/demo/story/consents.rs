//! Steps 6 and 8: consents of the subjects, withdrawals, and a grant that ends.

use std::fs;

use super::{access::Grants, crossing::Seen, datasets::Files};
use crate::{
    cli::{
        demo::{
            persona::{Cast, Persona},
            queries::{BY_DEPARTEMENT, PURPOSE, ask},
            stage::{Stage, expect, thousands},
        },
        failure::Failure,
        names, upload,
    },
    grpc::pb,
};

/// Of so many stays, one subject withdraws.
const STAYS_PER_WITHDRAWAL: u32 = 200;

pub(super) async fn import(stage: &mut Stage<'_>, cast: &Cast, files: &Files) -> Result<(), Failure> {
    stage.step(6, "Consents of the subjects are imported: most given, some not")?;
    let mut rows = Vec::new();
    for (owner, id) in [(&cast.chu, "stays"), (&cast.energie, "meters")] {
        rows.push(import_file(stage, owner, id, files).await?);
    }
    stage.table(&["dataset", "subjects", "given", "withdrawn", "never answered"], &rows)
}

async fn import_file(stage: &mut Stage<'_>, owner: &Persona, id: &str, files: &Files) -> Result<Vec<String>, Failure> {
    use pb::import_consents_request::Part;
    let dataset = format!("participants/{}/datasets/{id}", owner.participant);
    let path = files.folder.join(format!("{id}-consents.csv"));
    let header = pb::ImportConsentsHeader {
        dataset: dataset.clone(),
        format: pb::FileFormat::Csv.into(),
        request_id: String::new(),
    };
    let header = pb::ImportConsentsRequest { part: Some(Part::Header(header)) };
    let chunk = |chunk| pb::ImportConsentsRequest { part: Some(Part::Chunk(chunk)) };
    let (messages, unread) = upload::messages(&path, header, chunk, stage.out()).await?;
    let answer = owner.client.consents().import_consents(messages).await.map_err(|status| unread.or(&path, status))?;
    let imported = answer.into_inner();
    expect(imported.unknown_subjects == 0 && imported.given > imported.withdrawn, "consents of known subjects")?;
    let name = names::short(&dataset);
    stage.done(&owner.name, format_args!("imports the consents of {name}, all at once"))?;
    let summary =
        owner.client.consents().get_consent_summary(pb::GetConsentSummaryRequest { dataset }).await?.into_inner();
    let (given, withdrawn) = summary
        .counts
        .iter()
        .fold((0, 0), |(given, withdrawn), counts| (given + counts.given, withdrawn + counts.withdrawn));
    expect((given, withdrawn) == (imported.given, imported.withdrawn), "the summary to count what was imported")?;
    let silent = summary.subjects.saturating_sub(given + withdrawn);
    Ok([name].into_iter().chain([summary.subjects, given, withdrawn, silent].map(thousands)).collect())
}

pub(super) async fn withdraw_and_revoke(
    stage: &mut Stage<'_>,
    cast: &Cast,
    files: &Files,
    grants: &Grants,
    before: Seen,
) -> Result<(), Failure> {
    stage.step(8, "Subjects withdraw, an owner revokes: both hold at the next query")?;
    let subjects = consenting(files, (files.stays / STAYS_PER_WITHDRAWAL) as usize)?;
    let asked = subjects.len() as u64;
    let request = pb::WithdrawConsentsRequest {
        dataset: "participants/chu/datasets/stays".to_owned(),
        subjects,
        purpose: String::new(),
        request_id: String::new(),
    };
    let answer = cast.chu.client.consents().withdraw_consents(request).await?.into_inner();
    expect(
        answer.withdrawn == asked && answer.unknown_subjects == 0,
        format_args!("{asked} withdrawals, not {}", answer.withdrawn),
    )?;
    stage.done(&cast.chu.name, format_args!("records that {} patients have withdrawn", thousands(asked)))?;
    let answer = ask(&cast.labo, BY_DEPARTEMENT, PURPOSE).await?;
    let after = answer.sum(1)?;
    expect(after < before.patients, format_args!("fewer than {} patients, not {after}", before.patients))?;
    let (was, is) = (thousands(before.patients), thousands(after));
    stage.done(&cast.labo.name, format_args!("asks the same again: {is} patients, {was} before"))?;

    let name = grants.meters.name.clone();
    let signature = cast.energie.client.sign("grant.revoke", &name).await?;
    let request = pb::RevokeGrantRequest {
        name,
        reason: "The study's protocol is under review.".to_owned(),
        signature,
        etag: grants.meters.etag.clone(),
        request_id: String::new(),
    };
    cast.energie.client.access().revoke_grant(request).await?;
    stage.done(&cast.energie.name, "revokes the grant on energie.meters, and signs")?;
    let outcome = ask(&cast.labo, BY_DEPARTEMENT, PURPOSE).await;
    stage.refused(&cast.labo.name, "asks the same once more", outcome, &["GRANT_REVOKED"])?;
    Ok(())
}

/// The first subjects of the stays that consented; they have a meter, too.
fn consenting(files: &Files, most: usize) -> Result<Vec<String>, Failure> {
    let path = files.folder.join("stays-consents.csv");
    let text = fs::read_to_string(&path).map_err(|e| Failure::file(&path, &e))?;
    let given = text.lines().filter(|line| line.contains(",given,"));
    Ok(given.filter_map(|line| line.split(',').next()).take(most).map(str::to_owned).collect())
}
