//! Participants: invitation, registration, charter, approval, suspension.

use std::collections::BTreeSet;

use super::{Services, member::Enrolled, require_etag};
use crate::{
    audit::Committed,
    domain::{
        Caller, Charter, Digest, EntryDraft, EntryKind, Kind, Member, MemberId, MemberState, Page, PageRequest,
        Participant, ParticipantId, ParticipantState, Role, Siren, Timestamp,
    },
    error::{Error, Reason, Result},
    policy::{Act, Family, Permit},
    store::{member, participant},
    trust::{EnrolmentToken, enrolment_digest},
};

/// What anyone may know of the hub.
#[derive(Debug, Clone)]
pub struct HubInfo {
    /// Its trust domain.
    pub id: String,
    /// The charter in force.
    pub charter: Charter,
    /// Where its public documents are.
    pub public_url: String,
}

/// What a new participant says of itself.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The one-time invitation.
    pub invitation: String,
    /// The id it wants.
    pub id: ParticipantId,
    /// Its SIREN.
    pub siren: Siren,
    /// Its legal name.
    pub legal_name: String,
    /// What sort of organisation it is.
    pub kind: Kind,
    /// Its sector.
    pub sector: Option<String>,
    /// Its country, ISO 3166-1 alpha-2.
    pub country: String,
    /// Its first member, who administers it.
    pub admin_name: String,
    /// That member's certificate request (PKCS#10, PEM).
    pub csr: String,
}

impl Services {
    /// The hub's id and charter.
    pub async fn hub(&self) -> Result<HubInfo> {
        let charter = self.charter(None).await?;
        Ok(HubInfo { id: self.settings().hub_id.clone(), charter, public_url: self.settings().public_url.clone() })
    }

    /// One version of the charter, or the one in force.
    pub async fn charter(&self, version: Option<i64>) -> Result<Charter> {
        let mut tx = self.read().await?;
        let charter = match version {
            Some(version) => participant::lookup_charter(&mut tx, version).await?,
            None => participant::current_charter(&mut tx).await?,
        };
        charter.ok_or_else(|| Error::not_found("the charter"))
    }

    /// Makes a one-time token with which a new participant can register.
    pub async fn invite_participant(&self, caller: &Caller) -> Result<(String, Timestamp, Committed)> {
        let permit = self.authorise(caller, &caller.participant, Family::Participant, Act::Invite).await?;
        let token = EnrolmentToken::generate()?;
        let hash = token.digest();
        let expires_at = self.now().plus(self.settings().enrolment_lifetime);
        let entry = EntryDraft::by(EntryKind::ParticipantInvited, caller).fact("expires", expires_at.to_string());
        let ((), committed) = self
            .change(&permit, move |tx| {
                Box::pin(async move {
                    member::add_enrolment(tx, &hash, None, expires_at).await?;
                    Ok(((), vec![entry]))
                })
            })
            .await?;
        Ok((token.expose().to_owned(), expires_at, committed))
    }

    /// Registers a participant with its first member, who gets a certificate. The invitation is used up.
    pub async fn register(&self, registration: Registration) -> Result<(Participant, Enrolled, Committed)> {
        let now = self.now();
        check_text("legal_name", &registration.legal_name, 200)?;
        check_text("display_name", &registration.admin_name, 200)?;
        if registration.country.len() != 2 || !registration.country.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(Error::invalid("country", "not an ISO 3166-1 alpha-2 code"));
        }
        let new_participant = Participant {
            id: registration.id.clone(),
            siren: registration.siren,
            legal_name: registration.legal_name,
            kind: registration.kind,
            sector: registration.sector.filter(|sector| !sector.is_empty()),
            country: registration.country,
            accreditations: Vec::new(),
            state: ParticipantState::Registered,
            charter_version: None,
            created_at: now,
            revision: 1,
        };
        let admin = Member {
            id: MemberId::generate(now),
            participant: registration.id.clone(),
            display_name: registration.admin_name,
            roles: BTreeSet::from([Role::ParticipantAdmin]),
            state: MemberState::Active,
            created_at: now,
            revision: 1,
        };
        let issued = self.issue_certificate(&registration.csr, &admin)?;
        let hash = enrolment_digest(&registration.invitation)?;
        let certificate = issued.row(admin.id, now);
        let fingerprint = issued.fingerprint.clone();
        let ((participant, admin), committed) = self
            .change_by_hub(move |tx| {
                Box::pin(async move {
                    if member::use_enrolment(tx, &hash, now).await?.is_some() {
                        return Err(Error::new(Reason::EnrolmentTokenInvalid));
                    }
                    participant::add(tx, &new_participant).await?;
                    member::add(tx, &admin).await?;
                    member::add_certificate(tx, &certificate).await?;
                    let mut entry = EntryDraft::new(EntryKind::ParticipantRegistered)
                        .concerning(&new_participant.id)
                        .fact("participant", new_participant.id.as_str())
                        .fact("siren", new_participant.siren.as_str())
                        .fact("kind", new_participant.kind.as_str())
                        .fact("certificate", fingerprint);
                    entry.actor = Some(new_participant.id.clone());
                    entry.member = Some(admin.id);
                    Ok(((new_participant, admin), vec![entry]))
                })
            })
            .await?;
        Ok((
            participant,
            Enrolled { member: admin, certificate: issued.chain_pem, expires_at: issued.not_after },
            committed,
        ))
    }

    /// A participant.
    pub async fn participant(&self, caller: &Caller, id: &ParticipantId) -> Result<Participant> {
        let permit = self.authorise(caller, &caller.participant, Family::Participant, Act::Read).await?;
        let mut tx = self.read_as(&permit).await?;
        participant::lookup(&mut tx, id).await?.ok_or_else(|| Error::not_found(format_args!("participant `{id}`")))
    }

    /// Every participant.
    pub async fn participants(&self, caller: &Caller, page: &PageRequest) -> Result<Page<Participant>> {
        let permit = self.authorise(caller, &caller.participant, Family::Participant, Act::Read).await?;
        participant::list(&mut self.read_as(&permit).await?, page).await
    }

    /// Signs the charter in force for the caller's participant.
    pub async fn sign_charter(
        &self,
        caller: &Caller,
        certificate: &[u8],
        digest: Digest,
        signature: String,
    ) -> Result<(Participant, Committed)> {
        let permit = self.authorise(caller, &caller.participant, Family::Participant, Act::SignCharter).await?;
        let charter = self.charter(None).await?;
        if charter.digest != digest {
            return Err(Error::new(Reason::CharterMismatch).with("version", charter.version));
        }
        self.verify_act(caller, certificate, "charter.sign", &digest.to_string(), &signature)?;
        let now = self.now();
        let entry = EntryDraft::by(EntryKind::CharterSigned, caller)
            .fact("version", charter.version.to_string())
            .fact("digest", digest.to_string())
            .fact("signature", Digest::of(signature.as_bytes()).to_string());
        let (id, member) = (caller.participant.clone(), caller.member);
        self.change(&permit, move |tx| {
            Box::pin(async move {
                let current = participant::lookup(tx, &id)
                    .await?
                    .ok_or_else(|| Error::not_found(format_args!("participant `{id}`")))?;
                let signed = current.sign_charter(charter.version)?;
                participant::add_charter_signature(tx, &id, charter.version, member, &signature, now).await?;
                participant::update(tx, &signed).await?;
                Ok((bumped(signed), vec![entry]))
            })
        })
        .await
    }

    /// Lets a participant act.
    pub async fn approve_participant(
        &self,
        caller: &Caller,
        id: &ParticipantId,
        accreditations: Vec<String>,
        etag: &str,
    ) -> Result<(Participant, Committed)> {
        let permit = self.authorise(caller, &caller.participant, Family::Participant, Act::Approve).await?;
        let entry = EntryDraft::by(EntryKind::ParticipantApproved, caller)
            .concerning(id)
            .fact("participant", id.as_str())
            .fact("accreditations", accreditations.join(" "));
        self.change_participant(&permit, id, etag, entry, move |current| {
            let mut approved = current.approve()?;
            if !accreditations.is_empty() {
                approved.accreditations = accreditations;
            }
            Ok(approved)
        })
        .await
    }

    /// Stops a participant from acting, at once.
    pub async fn suspend_participant(
        &self,
        caller: &Caller,
        id: &ParticipantId,
        reason: &str,
        etag: &str,
    ) -> Result<(Participant, Committed)> {
        let permit = self.authorise(caller, &caller.participant, Family::Participant, Act::Suspend).await?;
        check_text("reason", reason, 500)?;
        if *id == caller.participant {
            return Err(Error::new(Reason::SeparationOfDuties));
        }
        let entry = EntryDraft::by(EntryKind::ParticipantSuspended, caller)
            .concerning(id)
            .fact("participant", id.as_str())
            .secret("reason", reason);
        self.change_participant(&permit, id, etag, entry, Participant::suspend).await
    }

    async fn change_participant(
        &self,
        permit: &Permit,
        id: &ParticipantId,
        etag: &str,
        entry: EntryDraft,
        change: impl FnOnce(Participant) -> Result<Participant> + Send + 'static,
    ) -> Result<(Participant, Committed)> {
        let (id, etag) = (id.clone(), etag.to_owned());
        self.change(permit, move |tx| {
            Box::pin(async move {
                let object = format!("participant `{id}`");
                let current = participant::lookup(tx, &id).await?.ok_or_else(|| Error::not_found(&object))?;
                require_etag(&etag, current.revision, &object)?;
                let changed = change(current)?;
                participant::update(tx, &changed).await?;
                Ok((bumped(changed), vec![entry]))
            })
        })
        .await
    }
}

fn bumped(participant: Participant) -> Participant {
    Participant { revision: participant.revision + 1, ..participant }
}

/// Refuses a text that is empty, too long or holds control characters.
pub(super) fn check_text(field: &'static str, text: &str, most: usize) -> Result<()> {
    if text.trim().is_empty() {
        return Err(Error::invalid(field, "it is empty"));
    }
    if text.chars().count() > most {
        return Err(Error::invalid(field, format_args!("longer than {most} characters")));
    }
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err(Error::invalid(field, "it holds control characters"));
    }
    Ok(())
}

/// Refuses too many keywords, and one that is empty or too long.
pub(super) fn check_keywords(keywords: &[String]) -> Result<()> {
    if keywords.len() > 32 {
        return Err(Error::invalid("keywords", "more than 32"));
    }
    keywords.iter().try_for_each(|word| check_text("keywords", word, 64))
}
