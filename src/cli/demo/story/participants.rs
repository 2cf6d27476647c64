//! Steps 1 and 2: the operator boots the hub, four participants join.

use crate::{
    cli::{
        demo::{
            hub::{Hub, OPERATOR, OPERATOR_NAME, OPERATOR_SIREN},
            persona::{Cast, PROFILES, Persona, Profile},
            stage::{Stage, expect, part, surprise},
        },
        failure::Failure,
    },
    domain::Digest,
    grpc::pb,
};

/// The members of the operating participant.
pub(super) struct Operating {
    operator: Persona,
    operator_admin: Persona,
    auditor: Persona,
}

pub(super) async fn boot(stage: &mut Stage<'_>, hub: &Hub) -> Result<Operating, Failure> {
    stage.step(1, "The operator boots the hub and enrols itself")?;
    let about = hub.stranger().await?.hub().await?;
    let charter = part(about.charter, "charter")?;
    expect(about.hub_id == hub.id, format_args!("the hub `{}`, not `{}`", hub.id, about.hub_id))?;
    stage.done("hub", format_args!("{} answers at {} (TLS 1.3)", about.hub_id, hub.urls.grpc))?;
    stage.done(
        "hub",
        format_args!("made its CA, keys, database, and charter v{} {}", charter.version, short(&charter.digest)),
    )?;
    let operator = Persona::enrol(hub, "operator", hub.operator_token.clone()).await?;
    stage.done("operator", "makes a key, sends a CSR with its one-time token, gets a certificate")?;
    let again = Persona::enrol(hub, "thief", hub.operator_token.clone()).await;
    stage.refused("somebody", "uses the same token again", again, &["ENROLMENT_TOKEN_INVALID"])?;
    let auditor = operator.invite(hub, "auditor", "Auditor (fictional)", &[pb::Role::Auditor]).await?;
    stage.done("auditor", "is invited and enrols: reads the log, and nothing else")?;
    let operator_admin =
        operator.invite(hub, "operator_admin", "Administrator (fictional)", &[pb::Role::ParticipantAdmin]).await?;
    let who = operator.client.participants().who_am_i(pb::WhoAmIRequest {}).await?.into_inner();
    let member = part(who.member, "member")?;
    expect(member.roles().any(|role| role == pb::Role::Operator), "the first member to be the operator")?;
    stage.block(&format!("spiffe://{}/participant/{}/member/{}", hub.id, operator.participant, operator.member))?;
    Ok(Operating { operator, operator_admin, auditor })
}

pub(super) async fn join(stage: &mut Stage<'_>, hub: &Hub, operating: Operating) -> Result<Cast, Failure> {
    stage.step(2, "Four participants join: legal identity, charter, approval, members")?;
    let mut rows = vec![row(OPERATOR, OPERATOR_NAME, "public_body", OPERATOR_SIREN, "operator, auditor")];
    let (mut admins, mut members) = (Vec::new(), Vec::new());
    for profile in &PROFILES {
        let admin = Box::pin(admit(stage, hub, &operating.operator, profile)).await?;
        let title = format!("{} of {} (fictional)", role_name(profile.role), profile.id);
        members.push(admin.invite(hub, profile.id, &title, &[profile.role]).await?);
        admins.push(admin);
        let kind = profile.kind.as_str_name().trim_start_matches("PARTICIPANT_KIND_").to_lowercase();
        rows.push(row(profile.id, profile.legal_name, &kind, profile.siren, &role_name(profile.role)));
    }
    stage.done("admins", "invite a steward or requester each, who enrols with a CSR of its own")?;
    stage.table(&["participant", "legal name", "kind", "siren", "members"], &rows)?;
    let mut members = members.into_iter();
    let mut next = || members.next().ok_or_else(|| surprise("a participant is missing"));
    let (observatoire, chu, energie, labo) = (next()?, next()?, next()?, next()?);
    let Operating { operator, operator_admin, auditor } = operating;
    Ok(Cast { operator, operator_admin, auditor, observatoire, chu, energie, labo, admins })
}

/// From the invitation to the approval. The lab mistypes its SIREN first, and is impatient.
async fn admit(stage: &mut Stage<'_>, hub: &Hub, operator: &Persona, profile: &Profile) -> Result<Persona, Failure> {
    let request = pb::CreateInvitationRequest { lifetime: None, request_id: String::new() };
    let invitation = operator.client.participants().create_invitation(request).await?.into_inner().invitation_token;
    let is_lab = profile.kind == pb::ParticipantKind::Lab;
    if is_lab {
        let mistyped = profile.siren.replace("52", "25");
        let outcome = Persona::register(hub, profile, &mistyped, &invitation).await;
        stage.refused(
            profile.id,
            &format!("registers with a mistyped SIREN, {mistyped}"),
            outcome,
            &["SIREN_INVALID"],
        )?;
    }
    let admin = Persona::register(hub, profile, profile.siren, &invitation).await?;
    if is_lab {
        let early = admin.client.catalog().list_datasets(pb::ListDatasetsRequest::default()).await;
        stage.refused(profile.id, "looks at the catalog before it is approved", early, &["PARTICIPANT_NOT_ACTIVE"])?;
    }
    let charter = admin.client.participants().get_charter(pb::GetCharterRequest::default()).await?.into_inner().charter;
    let charter = part(charter, "charter")?;
    let digest = Digest::of(charter.text.as_bytes()).to_string();
    expect(digest == charter.digest, "the charter's digest to be that of its text")?;
    let signature = admin.client.sign("charter.sign", &digest).await?;
    let request = pb::SignCharterRequest { digest, signature, request_id: String::new() };
    let signed = admin.client.participants().sign_charter(request).await?.into_inner();
    let participant = part(signed.participant, "participant")?;
    expect(participant.state() == pb::ParticipantState::CharterSigned, "the charter to be signed")?;
    let request = pb::ApproveParticipantRequest {
        name: participant.name,
        accreditations: profile.accreditations.iter().map(|word| (*word).to_owned()).collect(),
        etag: participant.etag,
        request_id: String::new(),
    };
    let approved = operator.client.participants().approve_participant(request).await?.into_inner();
    let approved = part(approved.participant, "participant")?.state();
    expect(approved == pb::ParticipantState::Active, format_args!("{} to be active", profile.id))?;
    stage.done(profile.id, "registers with its SIREN, signs the charter's digest, is approved by the operator")?;
    Ok(admin)
}

/// The first digits of a digest, for people.
pub(super) fn short(digest: &str) -> String {
    let end = digest.char_indices().nth(19).map_or(digest.len(), |(at, _)| at);
    format!("{}…", &digest[..end])
}

/// `ROLE_STEWARD` as `steward`.
pub(super) fn role_name(role: pb::Role) -> String {
    role.as_str_name().trim_start_matches("ROLE_").to_lowercase()
}

fn row(id: &str, name: &str, kind: &str, siren: &str, members: &str) -> Vec<String> {
    [id, name, kind, siren, members].map(str::to_owned).to_vec()
}
