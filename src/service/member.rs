//! Members: invitation, enrolment, certificates, access tokens, revocation.

use std::{collections::BTreeSet, time::Duration};

use super::{Services, participant::check_text, require_etag};
use crate::{
    audit::Committed,
    domain::{
        Caller, EntryDraft, EntryKind, Member, MemberId, MemberState, Page, PageRequest, ParticipantId, Role, Timestamp,
    },
    error::{Error, Reason, Result},
    policy::{Act, Domain, Family, Permit},
    store::member::{self, Certificate},
    trust::{self, AccessTokenRequest, EnrolmentToken, IssuedCertificate, enrolment_digest},
};

/// A member with the certificate it has just got.
#[derive(Debug, Clone)]
pub struct Enrolled {
    /// The member.
    pub member: Member,
    /// Its certificate and the hub's CA certificate, PEM.
    pub certificate: String,
    /// When the certificate ends.
    pub expires_at: Timestamp,
}

impl Services {
    /// Adds a member to the caller's participant and gives its one-time token.
    pub async fn invite_member(
        &self,
        caller: &Caller,
        participant: &ParticipantId,
        display_name: String,
        roles: BTreeSet<Role>,
    ) -> Result<(Member, String, Timestamp, Committed)> {
        let permit = self.authorise(caller, participant, Family::Member, Act::Invite).await?;
        check_roles(caller, participant, &roles)?;
        check_text("display_name", &display_name, 200)?;
        let now = self.now();
        let token = EnrolmentToken::generate()?;
        let hash = token.digest();
        let expires_at = now.plus(self.settings().enrolment_lifetime);
        let new = Member {
            id: MemberId::generate(now),
            participant: participant.clone(),
            display_name,
            roles,
            state: MemberState::Invited,
            created_at: now,
            revision: 1,
        };
        let entry = EntryDraft::by(EntryKind::MemberInvited, caller)
            .concerning(participant)
            .fact("roles", role_list(&new.roles))
            .secret("invited", new.id.to_string());
        let (new, committed) = self
            .change(&permit, move |tx| {
                Box::pin(async move {
                    member::add(tx, &new).await?;
                    member::add_enrolment(tx, &hash, Some(new.id), expires_at).await?;
                    Ok((new, vec![entry]))
                })
            })
            .await?;
        Ok((new, token.expose().to_owned(), expires_at, committed))
    }

    /// Enrols a member: the one-time token is used up and the key of the request gets a certificate.
    pub async fn enrol(&self, token: &str, csr: &str) -> Result<(Enrolled, Committed)> {
        let hash = enrolment_digest(token)?;
        let now = self.now();
        let (services, csr) = (self.clone(), csr.to_owned());
        self.change_by_hub(move |tx| {
            Box::pin(async move {
                let refused = || Error::new(Reason::EnrolmentTokenInvalid);
                let id = member::use_enrolment(tx, &hash, now).await?.ok_or_else(refused)?;
                let mut enrolled = member::lookup(tx, id).await?.ok_or_else(refused)?;
                if enrolled.state == MemberState::Revoked {
                    return Err(refused());
                }
                enrolled.state = MemberState::Active;
                let issued = services.issue_certificate(&csr, &enrolled)?;
                member::update(tx, &enrolled).await?;
                enrolled.revision += 1;
                member::add_certificate(tx, &issued.row(id, now)).await?;
                let mut entry = EntryDraft::new(EntryKind::MemberEnrolled)
                    .concerning(&enrolled.participant)
                    .fact("certificate", issued.fingerprint.as_str())
                    .fact("expires", issued.not_after.to_string());
                entry.actor = Some(enrolled.participant.clone());
                entry.member = Some(id);
                let enrolled =
                    Enrolled { member: enrolled, certificate: issued.chain_pem, expires_at: issued.not_after };
                Ok((enrolled, vec![entry]))
            })
        })
        .await
    }

    /// Gives the caller a fresh certificate for the key of the request.
    pub async fn renew_certificate(&self, caller: &Caller, csr: &str) -> Result<(Enrolled, Committed)> {
        let permit = self.authorise(caller, &caller.participant, Family::Certificate, Act::Renew).await?;
        if caller.fingerprint().is_none() {
            return Err(Error::new(Reason::Unauthenticated));
        }
        let now = self.now();
        let current = self.member(caller, caller.member).await?;
        let issued = self.issue_certificate(csr, &current)?;
        let row = issued.row(current.id, now);
        let entry = EntryDraft::by(EntryKind::CertificateIssued, caller)
            .fact("certificate", issued.fingerprint.as_str())
            .fact("expires", issued.not_after.to_string());
        let ((), committed) = self
            .change(&permit, move |tx| {
                Box::pin(async move {
                    member::add_certificate(tx, &row).await?;
                    Ok(((), vec![entry]))
                })
            })
            .await?;
        let enrolled = Enrolled { member: current, certificate: issued.chain_pem, expires_at: issued.not_after };
        Ok((enrolled, committed))
    }

    /// A member that the caller may see: itself, or one of a participant whose members it may read.
    pub async fn member(&self, caller: &Caller, id: MemberId) -> Result<Member> {
        let mut tx = self.read().await?;
        let not_found = || Error::not_found(format_args!("member {id}"));
        let found = member::lookup(&mut tx, id).await?.ok_or_else(not_found)?;
        drop(tx);
        if id != caller.member {
            let permit = self.authorise(caller, &found.participant, Family::Member, Act::Read).await;
            permit.map_err(|_| not_found())?.require(
                Domain::Participant(&found.participant),
                Family::Member,
                Act::Read,
            )?;
        }
        Ok(found)
    }

    /// Members of a participant.
    pub async fn members(&self, caller: &Caller, of: &ParticipantId, page: &PageRequest) -> Result<Page<Member>> {
        let permit = self.authorise(caller, of, Family::Member, Act::Read).await?;
        member::list(&mut self.read_as(&permit).await?, of, page).await
    }

    /// Changes name or roles of a member.
    pub async fn update_member(
        &self,
        caller: &Caller,
        id: MemberId,
        display_name: Option<String>,
        roles: Option<BTreeSet<Role>>,
        etag: &str,
    ) -> Result<(Member, Committed)> {
        let current = self.member(caller, id).await?;
        let permit = self.authorise(caller, &current.participant, Family::Member, Act::Update).await?;
        if let Some(roles) = &roles {
            check_roles(caller, &current.participant, roles)?;
        }
        if let Some(name) = &display_name {
            check_text("display_name", name, 200)?;
        }
        let roles_text = roles.as_ref().map(role_list).unwrap_or_default();
        let entry = EntryDraft::by(EntryKind::MemberUpdated, caller)
            .concerning(&current.participant)
            .fact("roles", roles_text)
            .secret("member_changed", id.to_string());
        self.change_member(&permit, id, etag, entry, move |mut member| {
            member.display_name = display_name.unwrap_or(member.display_name);
            member.roles = roles.unwrap_or(member.roles);
            Ok(member)
        })
        .await
    }

    /// Revokes a member with all its certificates and tokens, at once.
    pub async fn revoke_member(
        &self,
        caller: &Caller,
        id: MemberId,
        reason: &str,
        etag: &str,
    ) -> Result<(Member, Committed)> {
        let current = self.member(caller, id).await?;
        let permit = self.authorise(caller, &current.participant, Family::Member, Act::Revoke).await?;
        check_text("reason", reason, 500)?;
        let entry = EntryDraft::by(EntryKind::MemberRevoked, caller)
            .concerning(&current.participant)
            .secret("revoked", id.to_string())
            .secret("reason", reason);
        self.change_member(&permit, id, etag, entry, |member| Ok(Member { state: MemberState::Revoked, ..member }))
            .await
    }

    async fn change_member(
        &self,
        permit: &Permit,
        id: MemberId,
        etag: &str,
        entry: EntryDraft,
        change: impl FnOnce(Member) -> Result<Member> + Send + 'static,
    ) -> Result<(Member, Committed)> {
        let etag = etag.to_owned();
        self.change(permit, move |tx| {
            Box::pin(async move {
                let object = format!("member {id}");
                let current = member::lookup(tx, id).await?.ok_or_else(|| Error::not_found(&object))?;
                require_etag(&etag, current.revision, &object)?;
                if current.state == MemberState::Revoked {
                    return Err(Error::new(Reason::StateConflict)
                        .with("object", object)
                        .with("state", current.state.as_str())
                        .with("wanted", "invited or active"));
                }
                let mut changed = change(current)?;
                member::update(tx, &changed).await?;
                changed.revision += 1;
                Ok((changed, vec![entry]))
            })
        })
        .await
    }

    /// Certificates of a participant's members.
    pub async fn certificates(&self, caller: &Caller, of: &ParticipantId) -> Result<Vec<Certificate>> {
        match self.authorise(caller, of, Family::Certificate, Act::Read).await {
            Ok(permit) => member::certificates(&mut self.read_as(&permit).await?, of).await,
            // Of its own everyone sees what it may renew.
            Err(_) if *of == caller.participant => {
                let permit = self.authorise(caller, of, Family::Certificate, Act::Renew).await?;
                let mut all = member::certificates(&mut self.read_as(&permit).await?, of).await?;
                all.retain(|certificate| certificate.member == caller.member);
                Ok(all)
            }
            Err(error) => Err(error),
        }
    }

    /// Revokes a certificate, at once.
    pub async fn revoke_certificate(
        &self,
        caller: &Caller,
        fingerprint: &str,
        reason: &str,
    ) -> Result<(Certificate, Committed)> {
        check_text("reason", reason, 500)?;
        let not_found = || Error::not_found("the certificate");
        let mut tx = self.read().await?;
        let certificate = member::lookup_certificate(&mut tx, fingerprint).await?.ok_or_else(not_found)?;
        let holder = member::lookup(&mut tx, certificate.member).await?.ok_or_else(not_found)?;
        drop(tx);
        // Whoever may have a certificate renewed may give it up.
        let act = if holder.id == caller.member { Act::Renew } else { Act::Revoke };
        let permit =
            self.authorise(caller, &holder.participant, Family::Certificate, act).await.map_err(|_| not_found())?;
        let now = self.now();
        let entry = EntryDraft::by(EntryKind::CertificateRevoked, caller)
            .concerning(&holder.participant)
            .fact("certificate", fingerprint)
            .secret("reason", reason);
        self.change(&permit, move |tx| {
            Box::pin(async move {
                if !member::revoke_certificate(tx, &certificate.fingerprint, &holder.participant, now).await? {
                    return Err(Error::new(Reason::StateConflict)
                        .with("object", "the certificate")
                        .with("state", "revoked")
                        .with("wanted", "valid"));
                }
                Ok((Certificate { revoked_at: Some(now), ..certificate }, vec![entry]))
            })
        })
        .await
    }

    /// Mints an access token: for the caller itself, bound to its certificate, or for a member that has none.
    pub async fn create_access_token(
        &self,
        caller: &Caller,
        member: Option<MemberId>,
        lifetime: Option<Duration>,
    ) -> Result<(String, Timestamp, Committed)> {
        let lifetime = lifetime.unwrap_or_else(|| self.settings().token_lifetime);
        if lifetime.is_zero() || lifetime > self.settings().token_lifetime_max {
            let most = self.settings().token_lifetime_max.as_secs();
            return Err(Error::invalid("lifetime", format_args!("not between 1 and {most} seconds")));
        }
        let (permit, holder, bound_to) = match member {
            Some(id) if id != caller.member => {
                let holder = self.member(caller, id).await?;
                let permit = self.authorise(caller, &holder.participant, Family::Member, Act::IssueToken).await?;
                (permit, holder, None)
            }
            _ => {
                let permit = self.authorise(caller, &caller.participant, Family::Participant, Act::Read).await?;
                let fingerprint = caller.fingerprint().ok_or_else(|| Error::new(Reason::Unauthenticated))?;
                (permit, self.member(caller, caller.member).await?, Some(fingerprint.to_owned()))
            }
        };
        if holder.state == MemberState::Revoked {
            return Err(Error::not_found(format_args!("member {}", holder.id)));
        }
        let now = self.now();
        let token = self.keys().tokens().mint(
            &AccessTokenRequest {
                participant: &holder.participant,
                member: holder.id,
                bound_to: bound_to.as_deref(),
                lifetime,
            },
            now,
        )?;
        let expires_at = token.expires_at;
        let entry = EntryDraft::by(EntryKind::TokenIssued, caller)
            .concerning(&holder.participant)
            .fact("token", token.jti.as_str())
            .fact("bound", bound_to.is_some())
            .fact("expires", expires_at.to_string())
            .secret("holder", holder.id.to_string());
        let id = token.jti.clone();
        let ((), committed) = self
            .change(&permit, move |tx| {
                Box::pin(async move {
                    // A service account has no certificate of its own: its first token makes it active.
                    if holder.state == MemberState::Invited {
                        member::update(tx, &Member { state: MemberState::Active, ..holder.clone() }).await?;
                    }
                    member::add_access_token(tx, &id, holder.id, expires_at).await?;
                    Ok(((), vec![entry]))
                })
            })
            .await?;
        Ok((token.token.to_string(), expires_at, committed))
    }

    pub(super) fn issue_certificate(&self, csr: &str, member: &Member) -> Result<IssuedCertificate> {
        self.keys().authority().issue_client(
            csr,
            &member.participant,
            member.id,
            self.now(),
            self.settings().certificate_lifetime,
        )
    }

    /// Checks the signature of an act that binds the caller's participant, made with its certificate's key.
    pub(super) fn verify_act(
        &self,
        caller: &Caller,
        certificate: &[u8],
        act: &str,
        object: &str,
        signature: &str,
    ) -> Result<()> {
        let act = trust::Act {
            act: act.to_owned(),
            hub: self.settings().hub_id.clone(),
            participant: caller.participant.clone(),
            member: caller.member,
            object: object.to_owned(),
        };
        trust::verify_act(signature, &act, certificate)
    }
}

/// Roles that a participant may give: only the operating one has operators, and nobody both decides and audits.
fn check_roles(caller: &Caller, participant: &ParticipantId, roles: &BTreeSet<Role>) -> Result<()> {
    let refuse = |why: &str| Err(Error::invalid("roles", why));
    if roles.is_empty() {
        return refuse("at least one role is needed");
    }
    if roles.contains(&Role::Operator)
        && !(caller.roles.contains(&Role::Operator) && caller.participant == *participant)
    {
        return refuse("only an operator makes another operator, within the operating participant");
    }
    let acts_on_data = roles.contains(&Role::Steward) || roles.contains(&Role::Requester);
    if acts_on_data && (roles.contains(&Role::Operator) || roles.contains(&Role::Auditor)) {
        return refuse("operator and auditor go with neither steward nor requester");
    }
    Ok(())
}

fn role_list(roles: &BTreeSet<Role>) -> String {
    roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(" ")
}

impl IssuedCertificate {
    /// The row that the store keeps of it.
    pub(super) fn row(&self, member: MemberId, issued_at: Timestamp) -> Certificate {
        let (fingerprint, expires_at) = (self.fingerprint.clone(), self.not_after);
        Certificate { fingerprint, member, issued_at, expires_at, revoked_at: None }
    }
}
