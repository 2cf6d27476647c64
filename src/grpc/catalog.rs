//! `CatalogService`: datasets, their snapshots and uploads.

use tonic::{Request, Response, Status, Streaming};

use super::{
    call::Call,
    column_type,
    convert::{self, enums, messages},
    filter::{Field, Filter, any, is},
    idempotency::Change,
    names,
    pb::{self, catalog_service_server::CatalogService},
    upload,
};
use crate::{
    domain::{
        Access, Caller, Column, ColumnNote, ColumnRole, Dataset, DatasetId, DatasetState, Digest, Name, PageRequest,
        ParticipantId, Snapshot, SubjectKey,
    },
    error::{Error, Reason, Result},
    service::{DatasetChange, NewDataset, Services, etag},
};

/// Pages that are read on to fill a page of a filtered search or to say why one is empty.
const MOST_PAGES: usize = 20;
/// What `update_mask` may name; `*` stands for all of it.
const CHANGEABLE: [&str; 5] = ["title", "description", "licence", "attribution", "keywords"];
/// Fields of a filter.
const FIELDS: [Field; 7] = [
    ("state", is::<DatasetState>),
    ("access_level", is::<Access>),
    ("licence", any),
    ("pseudonym_namespace", is::<Name>),
    ("synthetic", is::<bool>),
    ("keyword", any),
    ("column", any),
];

/// The service.
#[derive(Debug)]
pub(super) struct Api;

#[tonic::async_trait]
impl CatalogService for Api {
    async fn create_dataset(
        &self,
        request: Request<pb::CreateDatasetRequest>,
    ) -> Result<Response<pb::CreateDatasetResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let owner = names::participant("parent", &asked.parent)?;
            let id = DatasetId { owner, name: asked.dataset_id.parse()? };
            let new = new_dataset(id, convert::present("dataset", asked.dataset.clone())?)?;
            let (made, committed) = call.services().create_dataset(call.caller()?, new).await?;
            let receipt = Some(convert::receipt_of(&committed));
            Ok(pb::CreateDatasetResponse { dataset: Some(dataset_message(made)), receipt })
        };
        call.change(Change::under(&asked.request_id), &asked, run).await
    }

    async fn get_dataset(
        &self,
        request: Request<pb::GetDatasetRequest>,
    ) -> Result<Response<pb::GetDatasetResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let id = names::dataset("name", &asked.name)?;
            let found = call.services().dataset(call.caller()?, &id).await?;
            Ok(pb::GetDatasetResponse { dataset: Some(dataset_message(found)) })
        };
        call.answer(run).await
    }

    async fn list_datasets(
        &self,
        request: Request<pb::ListDatasetsRequest>,
    ) -> Result<Response<pb::ListDatasetsResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let list = call.list(&asked)?;
            let search = Search {
                services: call.services(),
                caller: call.caller()?,
                owner: match asked.parent.as_str() {
                    "" | "participants/-" => None,
                    parent => Some(names::participant("parent", parent)?),
                },
                filter: Filter::parse(&asked.filter, &FIELDS, &[])?,
            };
            if asked.query.chars().count() > 256 {
                return Err(Error::invalid("query", "longer than 256 characters"));
            }
            let first = list.page.after.is_none();
            let (datasets, next) = search.page(&asked.query, list.page.clone()).await?;
            let empty = datasets.is_empty() && next.is_none() && first;
            let empty_reason = if empty { search.why_empty(&asked.query).await? } else { pb::EmptyReason::Unspecified };
            Ok(pb::ListDatasetsResponse {
                datasets: datasets.into_iter().map(dataset_message).collect(),
                next_page_token: call.next(&list, next)?,
                empty_reason: empty_reason.into(),
            })
        };
        call.answer(run).await
    }

    async fn update_dataset(
        &self,
        request: Request<pb::UpdateDatasetRequest>,
    ) -> Result<Response<pb::UpdateDatasetResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let new = convert::present("dataset", asked.dataset.clone())?;
            let id = names::dataset("dataset.name", &new.name)?;
            let mask = convert::present("update_mask", asked.update_mask.as_ref())?;
            let change = change(new, &convert::mask("update_mask", &mask.paths, &CHANGEABLE)?);
            let etag = convert::required("etag", &asked.etag)?;
            let (changed, committed) = call.services().update_dataset(call.caller()?, &id, change, etag).await?;
            let receipt = Some(convert::receipt_of(&committed));
            Ok(pb::UpdateDatasetResponse { dataset: Some(dataset_message(changed)), receipt })
        };
        call.change(Change::under(&asked.request_id), &asked, run).await
    }

    async fn retire_dataset(
        &self,
        request: Request<pb::RetireDatasetRequest>,
    ) -> Result<Response<pb::RetireDatasetResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let id = names::dataset("name", &asked.name)?;
            let (retired, committed) = call.services().retire_dataset(call.caller()?, &id, &asked.etag).await?;
            let receipt = Some(convert::receipt_of(&committed));
            Ok(pb::RetireDatasetResponse { dataset: Some(dataset_message(retired)), receipt })
        };
        call.change(Change::under(&asked.request_id), &asked, run).await
    }

    async fn upload_snapshot(
        &self,
        request: Request<Streaming<pb::UploadSnapshotRequest>>,
    ) -> Result<Response<pb::UploadSnapshotResponse>, Status> {
        let (call, mut stream) = Call::split(request)?;
        let header = match upload::header(&mut stream).await {
            Ok(header) => header,
            Err(error) => return Err(call.refuse(error).await),
        };
        let run = async {
            let id = names::dataset("dataset", &header.dataset)?;
            let format = convert::format("format", header.format)?;
            let announced: Option<Digest> = match header.source_digest.as_str() {
                "" => None,
                digest => Some(digest.parse()?),
            };
            let mut upload = call.services().start_upload(call.caller()?, &id, format, announced).await?;
            let mut size = 0_u64;
            while let Some(chunk) = upload::chunk(&mut stream).await? {
                size += chunk.len() as u64;
                upload.write(&chunk).await?;
            }
            if header.source_size_bytes.is_some_and(|announced| announced != size) {
                return Err(Error::new(Reason::UploadDigestMismatch));
            }
            let (snapshot, committed) = upload.finish().await?;
            let receipt = Some(convert::receipt_of(&committed));
            Ok(pb::UploadSnapshotResponse { snapshot: Some(snapshot_message(snapshot)), receipt })
        };
        call.change(Change::under(&header.request_id), &header, run).await
    }

    async fn list_snapshots(
        &self,
        request: Request<pb::ListSnapshotsRequest>,
    ) -> Result<Response<pb::ListSnapshotsResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let list = call.list(&asked)?;
            let id = names::dataset("parent", &asked.parent)?;
            let page = call.services().snapshots(call.caller()?, &id, &list.page).await?;
            let snapshots = page.items.into_iter().map(snapshot_message).collect();
            Ok(pb::ListSnapshotsResponse { snapshots, next_page_token: call.next(&list, page.next)? })
        };
        call.answer(run).await
    }
}

/// A search of the catalog with a filter on what it finds.
struct Search<'a> {
    services: &'a Services,
    caller: &'a Caller,
    owner: Option<ParticipantId>,
    filter: Filter,
}

impl Search<'_> {
    /// The next page; of a filtered search the first one that is not empty, as far as it goes.
    async fn page(&self, query: &str, mut page: PageRequest) -> Result<(Vec<Dataset>, Option<String>)> {
        for _ in 0..MOST_PAGES {
            let found = self.services.datasets(self.caller, query, self.owner.clone(), &page).await?;
            let mut items = found.items;
            items.retain(|dataset| self.filter.admits(|field, value| has(dataset, field, value)));
            if !items.is_empty() || found.next.is_none() {
                return Ok((items, found.next));
            }
            page.after = found.next;
        }
        Ok((Vec::new(), page.after))
    }

    /// Why a search found nothing, by searching with less.
    async fn why_empty(&self, query: &str) -> Result<pb::EmptyReason> {
        let page = || PageRequest { size: PageRequest::MAX_SIZE, after: None };
        let unfiltered = Search { filter: Filter::default(), owner: self.owner.clone(), ..*self };
        if unfiltered.page("", page()).await?.0.is_empty() {
            return Ok(pb::EmptyReason::NoDataset);
        }
        let words = !query.trim().is_empty();
        if words && unfiltered.page(query, page()).await?.0.is_empty() {
            return Ok(pb::EmptyReason::Query);
        }
        let passes_filter = words && !self.page("", page()).await?.0.is_empty();
        Ok(if passes_filter { pb::EmptyReason::QueryAndFilter } else { pb::EmptyReason::Filter })
    }
}

enums! {
    /// Access levels.
    access_message access Access = pb::AccessLevel { Open => Open, Restricted => Restricted }
    /// Roles of columns.
    role_message role ColumnRole = pb::ColumnRole {
        Dimension => Dimension, Measure => Measure, Key => Key, SubjectKey => SubjectKey,
    }
}

messages! {
    /// States of datasets.
    state_message DatasetState => pb::DatasetState { Draft => Draft, Published => Published, Retired => Retired }
}

fn new_dataset(id: DatasetId, new: pb::Dataset) -> Result<NewDataset> {
    let lengths = [
        ("title", new.title.chars().count(), 200),
        ("licence", new.licence.chars().count(), 200),
        ("attribution", new.attribution.chars().count(), 1_000),
    ];
    if let Some((field, _, most)) = lengths.into_iter().find(|(_, length, most)| length > most) {
        return Err(Error::invalid(field, format_args!("longer than {most} characters")));
    }
    Ok(NewDataset {
        id,
        title: new.title,
        description: new.description,
        licence: new.licence,
        attribution: new.attribution,
        keywords: new.keywords,
        synthetic: new.synthetic,
        access: access("access_level", new.access_level)?,
        subject_key: new.subject_key.map(subject_key).transpose()?,
        column_notes: column_notes(new.column_notes)?,
    })
}

fn subject_key(key: pb::SubjectKey) -> Result<SubjectKey> {
    convert::required("subject_key.column", &key.column)?;
    Ok(SubjectKey { column: key.column, namespace: key.pseudonym_namespace.parse()? })
}

fn column_notes(notes: Vec<pb::ColumnNote>) -> Result<Vec<ColumnNote>> {
    convert::unique("column_notes", notes.iter().map(|note| Ok(note.name.clone())))?;
    notes.into_iter().map(column_note).collect()
}

fn column_note(note: pb::ColumnNote) -> Result<ColumnNote> {
    convert::required("column_notes.name", &note.name)?;
    if note.description.chars().count() > 1_000 {
        return Err(Error::invalid("column_notes.description", "longer than 1,000 characters"));
    }
    let role = match note.role {
        0 => None,
        stated => Some(role("column_notes.role", stated)?),
    };
    if role == Some(ColumnRole::SubjectKey) {
        return Err(Error::invalid("column_notes.role", "the subject key is stated by `subject_key`"));
    }
    Ok(ColumnNote { name: note.name, role, description: note.description })
}

/// The change of those fields that `mask` names.
fn change(new: pb::Dataset, mask: &[&str]) -> DatasetChange {
    let named = |field: &str| mask.contains(&field);
    DatasetChange {
        title: named("title").then_some(new.title),
        description: named("description").then_some(new.description),
        licence: named("licence").then_some(new.licence),
        attribution: named("attribution").then_some(new.attribution),
        keywords: named("keywords").then_some(new.keywords),
    }
}

fn dataset_message(dataset: Dataset) -> pb::Dataset {
    pb::Dataset {
        name: names::dataset_name(&dataset.id),
        table: dataset.id.to_string(),
        title: dataset.title,
        description: dataset.description,
        licence: dataset.licence,
        attribution: dataset.attribution,
        keywords: dataset.keywords,
        synthetic: dataset.synthetic,
        access_level: access_message(dataset.access),
        subject_key: dataset
            .subject_key
            .map(|key| pb::SubjectKey { column: key.column, pseudonym_namespace: key.namespace.to_string() }),
        column_notes: dataset
            .column_notes
            .into_iter()
            .map(|note| pb::ColumnNote {
                name: note.name,
                role: note.role.map(role_message).unwrap_or_default(),
                description: note.description,
            })
            .collect(),
        state: state_message(dataset.state),
        snapshot: dataset.snapshot.map(snapshot_message),
        create_time: Some(convert::timestamp(dataset.created_at)),
        etag: etag(dataset.revision),
    }
}

fn snapshot_message(snapshot: Snapshot) -> pb::Snapshot {
    pb::Snapshot {
        name: names::snapshot_name(&snapshot.dataset, snapshot.id),
        columns: snapshot.columns.into_iter().map(column_message).collect(),
        rows: snapshot.rows,
        size_bytes: snapshot.bytes,
        subjects: snapshot.subjects,
        digest: snapshot.digest.to_string(),
        source_digest: snapshot.source_digest.to_string(),
        create_time: Some(convert::timestamp(snapshot.created_at)),
    }
}

fn column_message(column: Column) -> pb::Column {
    pb::Column {
        name: column.name,
        r#type: Some(column_type::message(column.data_type)),
        nullable: column.nullable,
        role: role_message(column.role),
        description: column.description,
    }
}

fn has(dataset: &Dataset, field: &str, value: &str) -> bool {
    match field {
        "state" => dataset.state.as_str() == value,
        "access_level" => dataset.access.as_str() == value,
        "licence" => dataset.licence == value,
        "pseudonym_namespace" => dataset.subject_key.as_ref().is_some_and(|key| key.namespace.as_str() == value),
        "synthetic" => dataset.synthetic.to_string() == value,
        "keyword" => dataset.keywords.iter().any(|keyword| keyword == value),
        "column" => dataset.columns().iter().any(|column| column.name == value),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_fields_that_the_mask_names_are_changed() {
        let new = pb::Dataset { title: "t".to_owned(), licence: "l".to_owned(), ..pb::Dataset::default() };
        let changed = change(new, &["title"]);
        assert_eq!(changed.title.as_deref(), Some("t"));
        assert_eq!((changed.licence, changed.keywords), (None, None));
    }

    #[test]
    fn a_note_cannot_make_a_column_the_subject_key_or_stand_twice() {
        let note = |name: &str, role: pb::ColumnRole| pb::ColumnNote {
            name: name.to_owned(),
            role: role.into(),
            description: String::new(),
        };
        assert!(column_notes(vec![note("a", pb::ColumnRole::SubjectKey)]).is_err());
        assert!(column_notes(vec![note("a", pb::ColumnRole::Key), note("a", pb::ColumnRole::Key)]).is_err());
        let inferred = column_notes(vec![note("a", pb::ColumnRole::Unspecified)]).unwrap();
        assert_eq!(inferred[0].role, None);
    }
}
