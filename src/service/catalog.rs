//! The catalog: datasets, what may be seen of them, and uploads that become snapshots.

use std::path::PathBuf;

use tokio::io::AsyncWriteExt as _;

use super::{Services, participant as checks, require_etag};
use crate::{
    audit::Committed,
    domain::{
        Access, Caller, ColumnNote, Dataset, DatasetId, DatasetState, Digest, EntryDraft, EntryKind, Page, PageRequest,
        ParticipantId, Snapshot, SnapshotId, SubjectKey,
    },
    error::{Error, Reason, Result},
    policy::{Act, Family, Permit},
    query::ingest::{self, Format, Ingested, Instructions, Limits, Source},
    store::dataset,
};

/// Subjects per staged job: a few milliseconds of the writer's time each.
const SUBJECTS_PER_JOB: usize = 5_000;

/// What an owner registers.
#[derive(Debug, Clone)]
pub struct NewDataset {
    /// Its name within the owner's datasets.
    pub id: DatasetId,
    /// Its title.
    pub title: String,
    /// What it holds.
    pub description: String,
    /// SPDX identifier or URL.
    pub licence: String,
    /// Attribution to carry along.
    pub attribution: String,
    /// Words to find it by.
    pub keywords: Vec<String>,
    /// True if it is not about real persons.
    pub synthetic: bool,
    /// Open or by grant.
    pub access: Access,
    /// The subject key, if rows are about individuals.
    pub subject_key: Option<SubjectKey>,
    /// What the owner says about columns.
    pub column_notes: Vec<ColumnNote>,
}

/// A change of a dataset's entry: only what is given.
#[derive(Debug, Clone, Default)]
pub struct DatasetChange {
    /// New title.
    pub title: Option<String>,
    /// New description.
    pub description: Option<String>,
    /// New licence.
    pub licence: Option<String>,
    /// New attribution.
    pub attribution: Option<String>,
    /// New keywords.
    pub keywords: Option<Vec<String>>,
}

impl Services {
    /// Registers a dataset of the caller's participant; it stays a draft until it has data and a policy.
    pub async fn create_dataset(&self, caller: &Caller, new: NewDataset) -> Result<(Dataset, Committed)> {
        let permit = self.authorise(caller, &new.id.owner, Family::Dataset, Act::Create).await?;
        checks::check_text("title", &new.title, 300)?;
        checks::check_text("description", &new.description, 10_000)?;
        checks::check_keywords(&new.keywords)?;
        let dataset = Dataset {
            id: new.id,
            title: new.title,
            description: new.description,
            licence: new.licence,
            attribution: new.attribution,
            keywords: new.keywords,
            synthetic: new.synthetic,
            access: new.access,
            subject_key: new.subject_key,
            column_notes: new.column_notes,
            state: DatasetState::Draft,
            snapshot: None,
            created_at: self.now(),
            revision: 1,
        };
        let entry = EntryDraft::by(EntryKind::DatasetCreated, caller)
            .about(&dataset.id)
            .fact("access", dataset.access.as_str())
            .fact("synthetic", dataset.synthetic);
        self.change(&permit, move |tx| {
            Box::pin(async move {
                dataset::add(tx, &dataset).await?;
                Ok((dataset, vec![entry]))
            })
        })
        .await
    }

    /// A dataset that the caller may see; what it may not see does not exist for it.
    pub async fn dataset(&self, caller: &Caller, id: &DatasetId) -> Result<Dataset> {
        let permit = self.authorise(caller, &caller.participant, Family::Dataset, Act::Discover).await?;
        let not_found = || Error::not_found(format_args!("dataset `{id}`"));
        let mut tx = self.read_as(&permit).await?;
        let found = dataset::lookup(&mut tx, id).await?.ok_or_else(not_found)?;
        if self.may_see(&mut tx, caller, &found).await? { Ok(found) } else { Err(not_found()) }
    }

    /// Datasets that match, of those the caller may see.
    pub async fn datasets(
        &self,
        caller: &Caller,
        query: &str,
        owner: Option<ParticipantId>,
        page: &PageRequest,
    ) -> Result<Page<Dataset>> {
        let permit = self.authorise(caller, &caller.participant, Family::Dataset, Act::Discover).await?;
        let words: Vec<String> = query.split_whitespace().map(str::to_owned).collect();
        if words.len() > 20 || query.len() > 1_000 {
            return Err(Error::invalid("query", "more than 20 words or 1,000 bytes"));
        }
        let filter = dataset::Filter { words, owner, viewer: Some(caller.participant.clone()) };
        let mut tx = self.read_as(&permit).await?;
        let Page { items: candidates, next } = dataset::list(&mut tx, &filter, page).await?;
        let mut items = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            if self.may_see(&mut tx, caller, &candidate).await? {
                items.push(candidate);
            }
        }
        Ok(Page { items, next })
    }

    /// Changes a dataset's entry.
    pub async fn update_dataset(
        &self,
        caller: &Caller,
        id: &DatasetId,
        change: DatasetChange,
        etag: &str,
    ) -> Result<(Dataset, Committed)> {
        let permit = self
            .authorise(caller, &id.owner, Family::Dataset, Act::Update)
            .await
            .map_err(|e| Self::hide(e, caller, id))?;
        change.title.iter().try_for_each(|title| checks::check_text("title", title, 300))?;
        change.description.iter().try_for_each(|text| checks::check_text("description", text, 10_000))?;
        change.keywords.iter().try_for_each(|keywords| checks::check_keywords(keywords))?;
        let entry = EntryDraft::by(EntryKind::DatasetUpdated, caller).about(id);
        self.change_dataset(&permit, id, etag, entry, move |dataset| {
            Ok(Dataset {
                title: change.title.unwrap_or(dataset.title),
                description: change.description.unwrap_or(dataset.description),
                licence: change.licence.unwrap_or(dataset.licence),
                attribution: change.attribution.unwrap_or(dataset.attribution),
                keywords: change.keywords.unwrap_or(dataset.keywords),
                ..dataset
            })
        })
        .await
    }

    /// Takes a dataset out of the catalog for good.
    pub async fn retire_dataset(&self, caller: &Caller, id: &DatasetId, etag: &str) -> Result<(Dataset, Committed)> {
        let permit = self
            .authorise(caller, &id.owner, Family::Dataset, Act::Retire)
            .await
            .map_err(|e| Self::hide(e, caller, id))?;
        let entry = EntryDraft::by(EntryKind::DatasetRetired, caller).about(id);
        self.change_dataset(&permit, id, etag, entry, Dataset::retire).await
    }

    async fn change_dataset(
        &self,
        permit: &Permit,
        id: &DatasetId,
        etag: &str,
        entry: EntryDraft,
        change: impl FnOnce(Dataset) -> Result<Dataset> + Send + 'static,
    ) -> Result<(Dataset, Committed)> {
        let (id, etag) = (id.clone(), etag.to_owned());
        self.change(permit, move |tx| {
            Box::pin(async move {
                let object = format!("dataset `{id}`");
                let current = dataset::lookup(tx, &id).await?.ok_or_else(|| Error::not_found(&object))?;
                require_etag(&etag, current.revision, &object)?;
                let mut changed = change(current)?;
                dataset::update(tx, &changed).await?;
                changed.revision += 1;
                Ok((changed, vec![entry]))
            })
        })
        .await
    }

    /// Starts an upload to a dataset of the caller's participant.
    pub async fn start_upload(
        &self,
        caller: &Caller,
        id: &DatasetId,
        format: Format,
        announced: Option<Digest>,
    ) -> Result<Upload> {
        let permit = self
            .authorise(caller, &id.owner, Family::Dataset, Act::Upload)
            .await
            .map_err(|e| Self::hide(e, caller, id))?;
        let dataset = self.dataset(caller, id).await?;
        if dataset.state == DatasetState::Retired {
            dataset.clone().publish()?;
        }
        let snapshot = SnapshotId::generate(self.now());
        let path = self.settings().data_dir.join("uploads").join(format!("{snapshot}.part"));
        let file =
            tokio::fs::File::create_new(&path).await.map_err(|e| Error::internal(format_args!("upload: {e}")))?;
        Ok(Upload {
            services: self.clone(),
            permit,
            caller: caller.clone(),
            dataset,
            snapshot,
            format,
            announced,
            received: 0,
            file,
            path: Part(path),
        })
    }

    /// Snapshots of a dataset that the caller may see.
    pub async fn snapshots(&self, caller: &Caller, id: &DatasetId, page: &PageRequest) -> Result<Page<Snapshot>> {
        self.dataset(caller, id).await?;
        dataset::snapshots(&mut self.read().await?, id, page).await
    }

    /// Where a snapshot's object lies.
    pub(super) fn object_path(&self, snapshot: SnapshotId) -> PathBuf {
        self.settings().data_dir.join("objects").join(format!("{snapshot}.parquet"))
    }
}

/// A file that is deleted unless the upload became a snapshot.
#[derive(Debug)]
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// An upload in progress. Dropping it leaves nothing behind.
#[derive(Debug)]
pub struct Upload {
    services: Services,
    permit: Permit,
    caller: Caller,
    dataset: Dataset,
    snapshot: SnapshotId,
    format: Format,
    announced: Option<Digest>,
    received: u64,
    file: tokio::fs::File,
    path: Part,
}

impl Upload {
    /// Takes the next part of the file.
    pub async fn write(&mut self, chunk: &[u8]) -> Result<()> {
        let limit = self.services.settings().upload_bytes;
        self.received += chunk.len() as u64;
        if self.received > limit {
            return Err(Error::new(Reason::UploadTooLarge).with("limit", format_args!("{limit} bytes")));
        }
        self.file.write_all(chunk).await.map_err(|e| Error::internal(format_args!("upload: {e}")))
    }

    /// Checks and re-encodes what was received and makes it the dataset's snapshot.
    pub async fn finish(mut self) -> Result<(Snapshot, Committed)> {
        self.file.flush().await.map_err(|e| Error::internal(format_args!("upload: {e}")))?;
        let services = self.services.clone();
        let id = self.dataset.id.clone();
        let known = dataset::subjects(&mut services.read().await?, &id).await?;
        let first_new = u32::try_from(known.len()).unwrap_or(u32::MAX);
        let limits = Limits {
            max_bytes: services.settings().upload_bytes.saturating_mul(20),
            max_rows: services.settings().upload_rows,
            ..Limits::default()
        };
        let (source, format, dataset) = (self.path.0.clone(), self.format, self.dataset.clone());
        // Goes with the work: nobody may be there any more when it ends.
        let kept = Part(services.object_path(self.snapshot));
        let (ingested, kept): (Ingested, Part) = tokio::task::spawn_blocking(move || {
            let instructions =
                Instructions { subject_key: dataset.subject_key.as_ref(), notes: &dataset.column_notes, limits };
            ingest::ingest(Source { path: &source, format }, &instructions, known, &kept.0, &mut |_| {})
                .map(|ingested| (ingested, kept))
        })
        .await
        .map_err(|e| Error::internal(format_args!("ingest: {e}")))?
        .map_err(|e| if e.reason() == Reason::ColumnUnknown { e.with("dataset", &id) } else { e })?;
        if self.announced.is_some_and(|announced| announced != ingested.source_digest) {
            return Err(Error::new(Reason::UploadDigestMismatch));
        }
        self.stage_subjects(&id, first_new, &ingested.new_subjects).await?;
        let published = self.publish_snapshot(ingested).await?;
        // From here on the object belongs to the snapshot.
        std::mem::forget(kept);
        Ok(published)
    }

    async fn stage_subjects(&self, id: &DatasetId, first: u32, new: &[String]) -> Result<()> {
        let numbered: Vec<(u32, String)> = (first..).zip(new.iter().cloned()).collect();
        for chunk in numbered.chunks(SUBJECTS_PER_JOB) {
            let (id, chunk) = (id.clone(), chunk.to_vec());
            self.services
                .inner
                .store
                .writer()
                .stage(move |tx| Box::pin(async move { dataset::add_subjects(tx, &id, &chunk).await }))
                .await?;
        }
        Ok(())
    }

    async fn publish_snapshot(&self, ingested: Ingested) -> Result<(Snapshot, Committed)> {
        let snapshot = Snapshot {
            id: self.snapshot,
            dataset: self.dataset.id.clone(),
            columns: ingested.columns,
            rows: ingested.rows,
            bytes: ingested.bytes,
            subjects: ingested.subjects,
            digest: ingested.digest,
            source_digest: ingested.source_digest,
            created_at: self.services.now(),
        };
        let entry = EntryDraft::by(EntryKind::SnapshotCreated, &self.caller)
            .about(&snapshot.dataset)
            .fact("snapshot", snapshot.id.to_string())
            .fact("rows", snapshot.rows.to_string())
            .fact("digest", snapshot.digest.to_string());
        self.services
            .change(&self.permit, move |tx| {
                Box::pin(async move {
                    let object = format!("dataset `{}`", snapshot.dataset);
                    let current =
                        dataset::lookup(tx, &snapshot.dataset).await?.ok_or_else(|| Error::not_found(object))?;
                    if current.state == DatasetState::Retired {
                        current.clone().publish()?;
                    }
                    dataset::add_snapshot(tx, &snapshot).await?;
                    dataset::update(tx, &Dataset { snapshot: Some(snapshot.clone()), ..current }).await?;
                    Ok((snapshot, vec![entry]))
                })
            })
            .await
    }
}
