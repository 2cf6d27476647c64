//! Erasing a person or a data subject (GDPR article 17) without touching the log.
//!
//! A person is a member of a participant, a subject a pseudonym in a dataset. What goes is all that opens their
//! commitments in the log, and their clear values beside it; leaves and proofs stay.

use std::collections::BTreeMap;

use super::Services;
use crate::{
    audit::Committed,
    domain::{Caller, ConsentState, DatasetId, EntryDraft, EntryKind, MemberId, MemberState, ParticipantId, RequestId},
    error::{Error, Reason, Result},
    policy::{Act, Family, Permit},
    store::{
        Tx, audit as log,
        consent::{self, Delta},
        dataset, erasure,
    },
};

/// What an erasure has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    /// Openings that are gone.
    pub openings: u64,
    /// Whether the database's files are free of them, too; if not, a later erasure or restart completes it.
    pub purged: bool,
}

/// Whom to find in openings.
enum Whom {
    /// Every opening of what this member did, and those that name it.
    Member(String),
    /// Openings that name the pseudonym, of entries about any dataset.
    Subject(String),
}

/// What the job has to delete.
#[derive(Default)]
struct Found {
    entries: Vec<u64>,
    places: Vec<erasure::Place>,
}

impl Services {
    /// Erases a member that is revoked. For a participant-admin of its participant and for an operator.
    pub async fn erase_member(&self, caller: &Caller, id: MemberId) -> Result<(Erased, Committed)> {
        let current = self.member(caller, id).await?;
        let permit = self.authorise(caller, &current.participant, Family::Member, Act::Erase).await?;
        if current.state != MemberState::Revoked {
            return Err(Error::new(Reason::StateConflict)
                .with("object", format_args!("member {id}"))
                .with("state", current.state.as_str())
                .with("wanted", "revoked"));
        }
        let name = current.display_name.clone();
        let whom = Whom::Member(id.to_string());
        self.erase(&permit, &current.participant, "member", whom, move |tx| {
            Box::pin(async move { erasure::forget_name(tx, id, &name).await })
        })
        .await
    }

    /// Erases a subject of a dataset and withdraws its consents. For a steward of the owner and for an operator.
    pub async fn erase_subject(&self, caller: &Caller, id: &DatasetId, pseudonym: &str) -> Result<(Erased, Committed)> {
        let permit = self
            .authorise(caller, &id.owner, Family::Consent, Act::Erase)
            .await
            .map_err(|e| Self::hide(e, caller, id))?;
        let mut tx = self.read_as(&permit).await?;
        let ordinal = dataset::subjects(&mut tx, id).await?.get(pseudonym).copied();
        let ordinal = ordinal.ok_or_else(|| Error::not_found("the subject"))?;
        let deltas: BTreeMap<_, _> = consent::scopes(&mut tx, id)
            .await?
            .into_iter()
            .map(|scope| (scope, Delta { withdrawn: [ordinal].into_iter().collect(), ..Delta::default() }))
            .collect();
        drop(tx);
        let (id, now) = (id.clone(), self.now());
        let owner = id.owner.clone();
        let batch = RequestId::generate(now).to_string();
        let whom = Whom::Subject(pseudonym.to_owned());
        self.erase(&permit, &owner, "subject", whom, move |tx| {
            Box::pin(async move {
                let events: Vec<_> = deltas
                    .keys()
                    .map(|(purpose, recipient)| consent::Event {
                        ordinal,
                        purpose: purpose.clone(),
                        recipient: recipient.clone(),
                        state: ConsentState::Withdrawn,
                        expires_at: None,
                    })
                    .collect();
                consent::add_events(tx, &batch, &id, &events).await?;
                consent::apply(tx, &batch, &id, events.len() as u64, &deltas, now).await?;
                erasure::forget_pseudonym(tx, &id, ordinal).await
            })
        })
        .await
    }

    /// Looks for the openings aside, deletes them and what came in the meantime in one job, and purges the files.
    async fn erase<F>(
        &self,
        permit: &Permit,
        party: &ParticipantId,
        what: &'static str,
        whom: Whom,
        forget: F,
    ) -> Result<(Erased, Committed)>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> futures::future::BoxFuture<'t, Result<()>> + Send + 'static,
    {
        let mut tx = self.read_as(permit).await?;
        let size = log::head(&mut tx, self.origin()).await?.frontier.size();
        let mut found = Found::default();
        whom.find(&mut tx, 0, &mut found).await?;
        drop(tx);
        let entry = EntryDraft::by(EntryKind::Erased, permit.caller()).concerning(party).fact("what", what);
        let (openings, committed) = self
            .change(permit, move |tx| {
                Box::pin(async move {
                    whom.find(tx, size, &mut found).await?;
                    let mut openings = erasure::delete_openings_of(tx, &found.entries).await?;
                    openings += erasure::delete_openings(tx, &found.places).await?;
                    forget(tx).await?;
                    Ok((openings, vec![entry.fact("openings", openings.to_string())]))
                })
            })
            .await?;
        let purged = self.inner.store.purge().await?;
        Ok((Erased { openings, purged }, committed))
    }
}

impl Whom {
    async fn find(&self, tx: &mut Tx, first: u64, found: &mut Found) -> Result<()> {
        let (Self::Member(text) | Self::Subject(text)) = self;
        for ((index, field), value) in erasure::openings_with(tx, text, first).await? {
            match self {
                Self::Member(_) if field == "member" => found.entries.push(index),
                _ if names(&value, text) => found.places.push((index, field)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether `text` stands in `value` as a whole: not as a part of a longer word.
fn names(value: &str, text: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    value.match_indices(text).any(|(at, _)| {
        let (before, after) = (&value[..at], &value[at + text.len()..]);
        !is_part(before.chars().next_back()) && !is_part(after.chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_found_in_lists_and_in_queries_but_not_inside_other_words() {
        assert!(names("s00001\ns00002\n", "s00002") && names("s00002", "s00002"));
        assert!(names("select * from t where pid = 's00002'", "s00002"));
        assert!(!names("s000021", "s00002") && !names("as00002", "s00002") && !names("", "s00002"));
        assert!(names("s000021 s00002", "s00002"));
    }
}
