//! Consents: imports from the holder, withdrawals, counts.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Services;
use crate::{
    audit::Committed,
    domain::{
        Caller, ConsentChange, ConsentCounts, ConsentState, DatasetId, Digest, EntryDraft, EntryKind, Name,
        PurposeSlug, RequestId, Timestamp,
    },
    error::{Error, Reason, Result},
    policy::{Act, Family, Permit},
    store::consent::{self, Delta, Event, Scope},
};

/// Events per staged job: a few milliseconds of the writer's time each.
const EVENTS_PER_JOB: usize = 5_000;
/// Largest file of consents in bytes; a million lines are about 60 MB.
const LARGEST_IMPORT: usize = 256 << 20;

/// What an import or a withdrawal did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConsentImport {
    /// Subjects and purposes given.
    pub given: u64,
    /// Subjects and purposes withdrawn.
    pub withdrawn: u64,
    /// Lines about a pseudonym that no snapshot of the dataset has had: nothing is recorded of them.
    pub unknown: u64,
}

/// Changes by ordinal, ready for the store.
#[derive(Debug, Default)]
struct Batch {
    events: Vec<Event>,
    deltas: BTreeMap<Scope, Delta>,
    counts: ConsentImport,
}

impl Services {
    /// Imports a CSV file with the columns subject, purpose, status and optionally recipient and expires.
    /// All of it takes effect at once, or nothing does.
    pub async fn import_consents(
        &self,
        caller: &Caller,
        id: &DatasetId,
        file: Vec<u8>,
    ) -> Result<(ConsentImport, Committed)> {
        let permit = self.authorise_consents(caller, id, Act::Import).await?;
        if file.len() > LARGEST_IMPORT {
            return Err(Error::new(Reason::UploadTooLarge).with("limit", format_args!("{LARGEST_IMPORT} bytes")));
        }
        let known = self.subjects(id).await?;
        let services = self.clone();
        let (batch, digest) = tokio::task::spawn_blocking(move || {
            let changes = parse(&file, |purpose| services.inner.vocabulary.require(purpose).map(|_| ()))?;
            Ok::<_, Error>((Batch::of(&changes, &known), Digest::of(&file)))
        })
        .await
        .map_err(|e| Error::internal(format_args!("consents: {e}")))??;
        let entry = EntryDraft::by(EntryKind::ConsentsImported, caller).about(id).fact("file", digest.to_string());
        self.apply(&permit, id, batch, entry).await
    }

    /// Withdraws consents of subjects, for one purpose or for all; takes effect at the next call and cuts streams.
    pub async fn withdraw_consents(
        &self,
        caller: &Caller,
        id: &DatasetId,
        subjects: Vec<String>,
        purpose: Option<PurposeSlug>,
    ) -> Result<(ConsentImport, Committed)> {
        let permit = self.authorise_consents(caller, id, Act::Withdraw).await?;
        if subjects.is_empty() || subjects.len() > 10_000 {
            return Err(Error::invalid("subjects", "not between 1 and 10,000"));
        }
        let scopes: BTreeSet<Scope> = if let Some(purpose) = purpose {
            self.inner.vocabulary.require(&purpose)?;
            BTreeSet::from([(purpose, None)])
        } else {
            let known = consent::scopes(&mut self.read().await?, id).await?;
            // Whoever withdraws everything withdraws it for every recipient.
            let for_all = known.iter().map(|(purpose, _)| (purpose.clone(), None)).collect::<Vec<_>>();
            known.into_iter().chain(for_all).collect()
        };
        let changes: Vec<ConsentChange> = subjects
            .iter()
            .flat_map(|subject| {
                scopes.iter().map(move |(purpose, recipient)| ConsentChange {
                    subject: subject.clone(),
                    purpose: purpose.clone(),
                    recipient: recipient.clone(),
                    state: ConsentState::Withdrawn,
                    expires_at: None,
                })
            })
            .collect();
        let batch = Batch::of(&changes, &self.subjects(id).await?);
        let entry =
            EntryDraft::by(EntryKind::ConsentsWithdrawn, caller).about(id).secret("subjects", subjects.join("\n"));
        self.apply(&permit, id, batch, entry).await
    }

    /// Counts per purpose and recipient, for the owner.
    pub async fn consent_counts(&self, caller: &Caller, id: &DatasetId) -> Result<Vec<ConsentCounts>> {
        let permit = self
            .authorise(caller, &id.owner, Family::Consent, Act::Read)
            .await
            .map_err(|e| Self::hide(e, caller, id))?;
        self.dataset(caller, id).await?;
        consent::counts(&mut self.read_as(&permit).await?, id).await
    }

    async fn authorise_consents(&self, caller: &Caller, id: &DatasetId, act: Act) -> Result<Permit> {
        let permit =
            self.authorise(caller, &id.owner, Family::Consent, act).await.map_err(|e| Self::hide(e, caller, id))?;
        let dataset = self.dataset(caller, id).await?;
        if dataset.subject_key.is_none() {
            return Err(Error::invalid("dataset", "it has no subject key, so nobody's consent applies to it"));
        }
        Ok(permit)
    }

    async fn subjects(&self, id: &DatasetId) -> Result<HashMap<String, u32>> {
        crate::store::dataset::subjects(&mut self.read().await?, id).await
    }

    async fn apply(
        &self,
        permit: &Permit,
        id: &DatasetId,
        batch: Batch,
        entry: EntryDraft,
    ) -> Result<(ConsentImport, Committed)> {
        let now = self.now();
        let batch_id = RequestId::generate(now).to_string();
        let writer = self.inner.store.writer();
        for events in batch.events.chunks(EVENTS_PER_JOB) {
            let (batch_id, id, events) = (batch_id.clone(), id.clone(), events.to_vec());
            writer
                .stage(move |tx| Box::pin(async move { consent::add_events(tx, &batch_id, &id, &events).await }))
                .await?;
        }
        let entry = entry
            .fact("batch", batch_id.as_str())
            .fact("given", batch.counts.given.to_string())
            .fact("withdrawn", batch.counts.withdrawn.to_string());
        let (id, counts, events) = (id.clone(), batch.counts, batch.events.len() as u64);
        self.change(permit, move |tx| {
            Box::pin(async move {
                consent::apply(tx, &batch_id, &id, events, &batch.deltas, now).await?;
                Ok((counts, vec![entry]))
            })
        })
        .await
    }
}

impl Batch {
    /// Translates pseudonyms to ordinals; of several lines about the same the last one counts.
    fn of(changes: &[ConsentChange], known: &HashMap<String, u32>) -> Self {
        let mut batch = Self::default();
        for change in changes {
            let Some(&ordinal) = known.get(&change.subject) else {
                batch.counts.unknown += 1;
                continue;
            };
            let delta = batch.deltas.entry((change.purpose.clone(), change.recipient.clone())).or_default();
            for subjects in delta.expiries.values_mut() {
                subjects.remove(ordinal);
            }
            match change.state {
                ConsentState::Given => {
                    delta.given.insert(ordinal);
                    delta.withdrawn.remove(ordinal);
                    if let Some(expires_at) = change.expires_at {
                        delta.expiries.entry(expires_at).or_default().insert(ordinal);
                    }
                }
                ConsentState::Withdrawn => {
                    delta.withdrawn.insert(ordinal);
                    delta.given.remove(ordinal);
                }
            }
            batch.events.push(Event {
                ordinal,
                purpose: change.purpose.clone(),
                recipient: change.recipient.clone(),
                state: change.state,
                expires_at: change.expires_at,
            });
        }
        batch.counts.given = batch.deltas.values().map(|delta| delta.given.len()).sum();
        batch.counts.withdrawn = batch.deltas.values().map(|delta| delta.withdrawn.len()).sum();
        batch
    }
}

/// Reads the file; the first bad line refuses all of it, with its number and without its content.
fn parse(file: &[u8], known_purpose: impl Fn(&PurposeSlug) -> Result<()>) -> Result<Vec<ConsentChange>> {
    let bad = |line: u64, detail: &str| Error::new(Reason::ConsentsMalformed).with("line", line).with("detail", detail);
    let mut reader = csv::ReaderBuilder::new().from_reader(file);
    let header = reader.headers().map_err(|_| bad(1, "the header is not readable"))?.clone();
    let position = |name: &str| header.iter().position(|column| column == name);
    let required = |name: &'static str| position(name).ok_or_else(|| bad(1, &format!("no column `{name}`")));
    let (subject, purpose, status) = (required("subject")?, required("purpose")?, required("status")?);
    let (recipient, expires) = (position("recipient"), position("expires"));
    if header.iter().any(|column| !["subject", "purpose", "status", "recipient", "expires"].contains(&column)) {
        return Err(bad(1, "a column other than subject, purpose, status, recipient, expires"));
    }
    let mut purposes: HashMap<String, PurposeSlug> = HashMap::new();
    let mut changes = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|e| {
            bad(e.position().map_or(0, csv::Position::line), "not a CSV record with as many fields as the header")
        })?;
        let line = record.position().map_or(0, csv::Position::line);
        let field = |index: usize| record.get(index).unwrap_or("");
        let optional = |index: Option<usize>| index.map_or("", field);
        if field(subject).is_empty() {
            return Err(bad(line, "the subject is empty"));
        }
        let slug = if let Some(slug) = purposes.get(field(purpose)) {
            slug.clone()
        } else {
            let slug: PurposeSlug = field(purpose).parse().map_err(|_| bad(line, "the purpose is not a slug"))?;
            known_purpose(&slug).map_err(|_| bad(line, "the purpose is not one of this hub"))?;
            purposes.insert(field(purpose).to_owned(), slug.clone());
            slug
        };
        let state = match field(status) {
            "given" => ConsentState::Given,
            "withdrawn" => ConsentState::Withdrawn,
            _ => return Err(bad(line, "the status is neither given nor withdrawn")),
        };
        let recipient: Option<Name> = match optional(recipient) {
            "" => None,
            text => Some(text.parse().map_err(|_| bad(line, "the recipient is not a participant's id"))?),
        };
        let expires_at: Option<Timestamp> = match optional(expires) {
            "" => None,
            text => Some(text.parse().map_err(|_| bad(line, "expires is not an RFC 3339 instant"))?),
        };
        changes.push(ConsentChange { subject: field(subject).to_owned(), purpose: slug, recipient, state, expires_at });
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<ConsentChange>> {
        parse(text.as_bytes(), |_| Ok(()))
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        let error = parsed("subject,purpose,status\na,research,given\nb,research,maybe\n").unwrap_err();
        assert_eq!(error.reason(), Reason::ConsentsMalformed);
        assert_eq!(error.params()["line"], "3");
    }

    #[test]
    fn the_last_line_about_a_subject_counts() {
        let changes =
            parsed("subject,purpose,status\na,research,given\na,research,withdrawn\nz,research,given\n").unwrap();
        let batch = Batch::of(&changes, &HashMap::from([("a".to_owned(), 7)]));
        assert_eq!(batch.counts, ConsentImport { given: 0, withdrawn: 1, unknown: 1 });
        assert!(batch.deltas.values().all(|delta| delta.withdrawn.contains(7) && delta.given.is_empty()));
    }
}
