//! The first start of a hub: log, charter, operating participant, and the token for its first operator.

use std::{collections::BTreeSet, time::Duration};

use super::Services;
use crate::{
    domain::{
        Charter, Digest, EntryDraft, EntryKind, Kind, Member, MemberId, MemberState, Participant, ParticipantId,
        ParticipantState, QueryId, Role, Siren,
    },
    error::Result,
    policy::assets,
    store::{Engine, member, participant, request},
    trust::EnrolmentToken,
};

/// No query of any replica runs longer.
const LONGEST_QUERY: Duration = Duration::from_mins(10);

/// Who runs the hub.
#[derive(Debug, Clone)]
pub struct OperatorIdentity {
    /// Its id as a participant.
    pub id: ParticipantId,
    /// Its SIREN.
    pub siren: Siren,
    /// Its legal name.
    pub legal_name: String,
}

impl Services {
    /// Brings an empty database to life. Gives the one-time token for the first operator, or none if the hub
    /// has members already.
    pub async fn initialise(&self, operator: OperatorIdentity) -> Result<Option<String>> {
        let mut tx = self.read().await?;
        if member::any(&mut tx).await? {
            return Ok(None);
        }
        drop(tx);
        let now = self.now();
        let token = EnrolmentToken::generate()?;
        let hash = token.digest();
        let expires_at = now.plus(self.settings().enrolment_lifetime);
        let hub_id = self.settings().hub_id.clone();
        let charter = Charter {
            version: 1,
            text: assets::CHARTER_V1.to_owned(),
            digest: Digest::of(assets::CHARTER_V1.as_bytes()),
            published_at: now,
        };
        let new_participant = Participant {
            id: operator.id.clone(),
            siren: operator.siren,
            legal_name: operator.legal_name,
            kind: Kind::PublicBody,
            sector: None,
            country: "FR".to_owned(),
            accreditations: Vec::new(),
            state: ParticipantState::Active,
            charter_version: Some(1),
            created_at: now,
            revision: 1,
        };
        let first = Member {
            id: MemberId::generate(now),
            participant: operator.id,
            display_name: "first operator".to_owned(),
            roles: BTreeSet::from([Role::Operator, Role::ParticipantAdmin]),
            state: MemberState::Invited,
            created_at: now,
            revision: 1,
        };
        self.change_by_hub(move |tx| {
            Box::pin(async move {
                participant::add_charter(tx, &charter).await?;
                participant::add(tx, &new_participant).await?;
                member::add(tx, &first).await?;
                member::add_enrolment(tx, &hash, Some(first.id), expires_at).await?;
                let entries = vec![
                    EntryDraft::new(EntryKind::HubInitialised)
                        .concerning(&new_participant.id)
                        .fact("hub", hub_id)
                        .fact("operator", new_participant.id.as_str()),
                    EntryDraft::new(EntryKind::CharterPublished)
                        .fact("version", charter.version.to_string())
                        .fact("digest", charter.digest.to_string()),
                ];
                Ok(((), entries))
            })
        })
        .await?;
        Ok(Some(token.expose().to_owned()))
    }

    /// Closes the queries that a crash left without an outcome: they count as released.
    pub async fn close_open_queries(&self) -> Result<usize> {
        let mut tx = self.read().await?;
        // With several replicas, what is younger than the longest query may still be running elsewhere.
        let before = match self.inner.store.engine() {
            Engine::Sqlite => self.now(),
            Engine::Postgres => self.now().minus(LONGEST_QUERY),
        };
        let open: Vec<QueryId> = request::open_queries(&mut tx, before).await?;
        drop(tx);
        for id in &open {
            let id = *id;
            self.change_by_hub(move |tx| {
                Box::pin(async move {
                    request::end_query(tx, id).await?;
                    let entry =
                        EntryDraft::new(EntryKind::QueryOutcome).fact("query", id.to_string()).fact("end", "unknown");
                    Ok(((), vec![entry]))
                })
            })
            .await?;
        }
        Ok(open.len())
    }
}
