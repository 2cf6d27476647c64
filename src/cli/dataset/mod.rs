//! `odh dataset`: the catalog.

mod budget;
mod describe;

use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Subcommand};
use serde_json::Value as Json;

use budget::budget;

use super::{
    Session,
    choices::{self, FilterArgs, ListArgs, pages},
    client::Client,
    failure::Failure,
    names,
    output::{Column, Format, to_json},
    policy, query, upload,
};
use crate::grpc::pb;

const COLUMNS: &[Column] = &[
    Column::new("DATASET", "/name"),
    Column::new("TITLE", "/title"),
    Column::new("ACCESS", "/access_level"),
    Column::new("STATE", "/state"),
    Column::new("ROWS", "/snapshot/rows"),
    Column::new("LICENCE", "/licence"),
];

const SNAPSHOTS: &[Column] = &[
    Column::new("SNAPSHOT", "/name"),
    Column::new("CREATED", "/create_time"),
    Column::new("ROWS", "/rows"),
    Column::new("SUBJECTS", "/subjects"),
    Column::new("BYTES", "/size_bytes"),
    Column::new("DIGEST", "/digest"),
];

const SCHEMA: &[Column] = &[
    Column::new("COLUMN", "/name"),
    Column::new("TYPE", "/type/logical_type"),
    Column::new("NULLABLE", "/nullable"),
    Column::new("ROLE", "/role"),
    Column::new("DESCRIPTION", "/description"),
];

/// The catalog: datasets and their snapshots.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Register a dataset, from flags or a file. For a steward.
    Create {
        /// Its id, OWNER.DATASET; can be in the file instead.
        dataset: Option<String>,
        #[command(flatten)]
        flags: describe::Flags,
    },
    /// Search datasets: those that have all these words, or all.
    #[command(visible_alias = "search")]
    List {
        /// Words in title, description or keywords.
        text: Vec<String>,
        /// Only datasets of this participant.
        #[arg(long, value_name = "PARTICIPANT")]
        owner: Option<String>,
        #[command(flatten)]
        filter: FilterArgs,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show a dataset with its columns.
    Show {
        /// The dataset, OWNER.DATASET.
        dataset: String,
    },
    /// Change the description of a dataset. For a steward of its owner.
    Update {
        /// The dataset, OWNER.DATASET.
        dataset: String,
        #[command(flatten)]
        flags: describe::Flags,
    },
    /// Upload a file as the dataset's new snapshot. For a steward of its owner.
    Upload {
        /// The dataset, OWNER.DATASET.
        dataset: String,
        /// The file, CSV or Parquet.
        file: PathBuf,
        /// How it is written, if its name does not say so.
        #[arg(long, value_parser = choices::file_format())]
        format: Option<pb::FileFormat>,
    },
    /// Fetch the rows of a dataset that you may have, as a whole.
    #[command(after_help = "Example: odh dataset download meteo.stations --purpose scientific_research -o parquet \
                            > stations.parquet")]
    Download {
        /// The dataset, OWNER.DATASET.
        dataset: String,
        /// The purpose, a slug of `odh policy purposes`.
        #[arg(short, long)]
        purpose: String,
        /// Only these columns, in this order.
        #[arg(long, value_delimiter = ',', value_name = "COLUMN")]
        columns: Vec<String>,
        /// The grant to use, a UUID. By default the hub chooses.
        #[arg(long, value_name = "ID")]
        grant: Option<String>,
    },
    /// List the snapshots of a dataset.
    Snapshots {
        /// The dataset, OWNER.DATASET.
        dataset: String,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show what was spent of the privacy of the individuals in a dataset. For its owner.
    Budget {
        /// The dataset, OWNER.DATASET.
        dataset: String,
    },
    /// Take a dataset out of the catalog for good. For a steward of its owner.
    Retire {
        /// The dataset, OWNER.DATASET.
        dataset: String,
    },
}

/// Runs `odh dataset`.
pub async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    match args.command {
        Command::Create { dataset, flags } => create(dataset, flags, session).await,
        Command::List { text, owner, filter, list } => {
            search(text.join(" "), owner, filter.filter, list.limit, session).await
        }
        Command::Show { dataset } => {
            let client = session.client().await?;
            let dataset = get(&client, &dataset).await?;
            show(&dataset, session)?;
            if session.out.format == Format::Table && !session.out.quiet {
                governing(&client, dataset.name, session).await?;
            }
            Ok(())
        }
        Command::Update { dataset, flags } => update(&dataset, flags, session).await,
        Command::Upload { dataset, file, format } => send(&dataset, &file, format, session).await,
        Command::Download { dataset, purpose, columns, grant } => {
            let client = session.client().await?;
            let progress = upload::bytes_received(session.out);
            let answer = client.download(&dataset, &columns, &purpose, grant.as_deref(), &progress).await;
            progress.finish_and_clear();
            query::write(answer?, session.out)
        }
        Command::Snapshots { dataset, list } => snapshots(&dataset, list.limit, session).await,
        Command::Budget { dataset } => budget(&dataset, session).await,
        Command::Retire { dataset } => {
            let (name, request_id) = (names::dataset(&dataset)?, session.request_id.clone());
            let request = pb::RetireDatasetRequest { name, etag: String::new(), request_id };
            let response = session.client().await?.catalog().retire_dataset(request).await?.into_inner();
            session.out.changed(&response, response.dataset.as_ref(), COLUMNS, response.receipt.as_ref())
        }
    }
}

impl Client {
    /// Uploads a file as the new snapshot of `dataset` (`OWNER.DATASET`), with its digest and size for the hub to
    /// check. `out` shows progress.
    pub async fn upload_snapshot(
        &self,
        dataset: &str,
        file: &Path,
        format: pb::FileFormat,
        request_id: &str,
        out: &super::output::Out,
    ) -> Result<pb::UploadSnapshotResponse, Failure> {
        use pb::upload_snapshot_request::Part;
        let summary = upload::summarise(file, out).await?;
        let header = pb::UploadSnapshotHeader {
            dataset: names::dataset(dataset)?,
            format: format.into(),
            source_digest: summary.digest,
            source_size_bytes: Some(summary.size),
            request_id: request_id.to_owned(),
        };
        let message = |part| pb::UploadSnapshotRequest { part: Some(part) };
        let header = message(Part::Header(header));
        let chunk = |bytes| pb::UploadSnapshotRequest { part: Some(Part::Chunk(bytes)) };
        let (messages, read_error) = upload::messages(file, header, chunk, out).await?;
        let response = self.uploads().upload_snapshot(messages).await.map_err(|e| read_error.or(file, e))?;
        Ok(response.into_inner())
    }
}

/// The format that a file's name tells.
pub fn format_of(file: &Path) -> Option<pb::FileFormat> {
    match file.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "csv" => Some(pb::FileFormat::Csv),
        "parquet" => Some(pb::FileFormat::Parquet),
        _ => None,
    }
}

async fn create(id: Option<String>, flags: describe::Flags, session: &mut Session<'_>) -> Result<(), Failure> {
    let described = flags.read()?;
    let id = id.or(described.id).ok_or_else(|| {
        Failure::usage("which dataset? Write OWNER.DATASET", "quel jeu de données ? Écrivez PROPRIÉTAIRE.JEU")
    })?;
    let id = names::dataset_id(&id)?;
    let request = pb::CreateDatasetRequest {
        parent: names::participant(id.owner.as_str())?,
        dataset_id: id.name.to_string(),
        dataset: Some(described.dataset),
        request_id: session.request_id.clone(),
    };
    let response = session.client().await?.catalog().create_dataset(request).await?.into_inner();
    session.out.changed(&response, response.dataset.as_ref(), COLUMNS, response.receipt.as_ref())?;
    session.out.say(
        format!("next: odh dataset upload {id} FILE, then odh policy new"),
        format!("ensuite : odh dataset upload {id} FICHIER, puis odh policy new"),
    );
    Ok(())
}

async fn search(
    query: String,
    owner: Option<String>,
    filter: String,
    limit: usize,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let parent = owner.map(|owner| names::participant(&owner)).transpose()?.unwrap_or_default();
    let client = session.client().await?;
    let why_empty = std::sync::atomic::AtomicI32::new(0);
    let (datasets, more) = pages(limit, |page_size, page_token| {
        let (parent, query, filter) = (parent.clone(), query.clone(), filter.clone());
        let request = pb::ListDatasetsRequest { parent, page_size, page_token, query, filter };
        let (mut service, why_empty) = (client.catalog(), &why_empty);
        async move {
            let page = service.list_datasets(request).await?.into_inner();
            why_empty.store(page.empty_reason, std::sync::atomic::Ordering::Relaxed);
            Ok((page.datasets, page.next_page_token))
        }
    })
    .await?;
    session.out.list(&datasets, COLUMNS)?;
    session.more(more);
    if datasets.is_empty() {
        let reason = pb::EmptyReason::try_from(why_empty.into_inner()).unwrap_or_default();
        if parent.is_empty() || reason != pb::EmptyReason::NoDataset {
            let (en, fr) = nothing_found(reason);
            session.out.say(en, fr);
        } else {
            // Whether there is such a participant, and whether it hides something, is all the same here.
            let owner = names::short(&parent);
            session.out.say(
                format!("`{owner}` has no dataset that you may discover"),
                format!("`{owner}` n'a aucun jeu de données que vous puissiez découvrir"),
            );
        }
    }
    Ok(())
}

const fn nothing_found(reason: pb::EmptyReason) -> (&'static str, &'static str) {
    match reason {
        pb::EmptyReason::Query => ("no dataset has all these words", "aucun jeu de données n'a tous ces mots"),
        pb::EmptyReason::Filter => ("no dataset passes the filter", "aucun jeu de données ne passe le filtre"),
        pb::EmptyReason::QueryAndFilter => (
            "some datasets have these words and some pass the filter, but none does both",
            "des jeux de données ont ces mots, d'autres passent le filtre, mais aucun ne fait les deux",
        ),
        pb::EmptyReason::NoDataset | pb::EmptyReason::Unspecified => {
            ("there is no dataset that you may discover", "il n'y a aucun jeu de données que vous puissiez découvrir")
        }
    }
}

fn show(dataset: &pb::Dataset, session: &mut Session<'_>) -> Result<(), Failure> {
    if session.out.format != Format::Table {
        return session.out.show(dataset);
    }
    let mut json = to_json(dataset)?;
    // The columns have a table of their own, which includes the notes.
    if let Some(fields) = json.as_object_mut() {
        fields.remove("column_notes");
    }
    let columns = json.pointer_mut("/snapshot/columns").map(Json::take);
    session.out.object(&json)?;
    let Some(Json::Array(mut columns)) = columns else { return Ok(()) };
    for column in &mut columns {
        if let Some(decimal) = column.pointer("/type").filter(|kind| kind["logical_type"] == "decimal") {
            let text = format!("decimal({},{})", decimal["precision"], decimal["scale"]);
            column["type"]["logical_type"] = text.into();
        }
    }
    session.out.line("")?;
    session.out.rows(&columns, SCHEMA)
}

/// The policy in force, and what the hub does about each of its terms.
async fn governing(client: &Client, parent: String, session: &mut Session<'_>) -> Result<(), Failure> {
    let request = pb::ListPoliciesRequest { parent, page_size: 50, ..pb::ListPoliciesRequest::default() };
    let versions = client.policies().list_policies(request).await?.into_inner().policy_versions;
    let Some(version) = versions.into_iter().find(|one| one.state() == pb::PolicyState::Published) else {
        return Ok(());
    };
    session.out.line("")?;
    session.out.line(format_args!("{}  {}", version.name, version.digest))?;
    let request = pb::GetPolicyRequest { name: version.name };
    policy::covered(&client.policies().get_policy(request).await?.into_inner().coverage, session.out)
}

async fn update(dataset: &str, flags: describe::Flags, session: &mut Session<'_>) -> Result<(), Failure> {
    let described = flags.read()?;
    if described.paths.is_empty() {
        return Err(Failure::usage(
            "nothing to change: give the fields, or a file with -f",
            "rien à changer : donnez les champs, ou un fichier avec -f",
        ));
    }
    let client = session.client().await?;
    let current = get(&client, dataset).await?;
    let request = pb::UpdateDatasetRequest {
        dataset: Some(pb::Dataset { name: current.name, ..described.dataset }),
        update_mask: Some(prost_types::FieldMask { paths: described.paths.into_iter().map(str::to_owned).collect() }),
        etag: current.etag,
        request_id: session.request_id.clone(),
    };
    let response = client.catalog().update_dataset(request).await?.into_inner();
    session.out.changed(&response, response.dataset.as_ref(), COLUMNS, response.receipt.as_ref())
}

async fn send(
    dataset: &str,
    file: &Path,
    format: Option<pb::FileFormat>,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let format = format.or_else(|| format_of(file)).ok_or_else(|| {
        let path = file.display();
        Failure::usage(
            format!("the name of `{path}` does not say how it is written: add --format csv or --format parquet"),
            format!("le nom de `{path}` ne dit pas son format : ajoutez --format csv ou --format parquet"),
        )
    })?;
    let client = session.client().await?;
    let response = client.upload_snapshot(dataset, file, format, &session.request_id, session.out).await?;
    session.out.changed(&response, response.snapshot.as_ref(), SNAPSHOTS, response.receipt.as_ref())?;
    if let Some(snapshot) = response.snapshot.filter(|_| session.out.format == Format::Table && !session.out.quiet) {
        let columns = snapshot.columns.iter().map(to_json).collect::<Result<Vec<_>, _>>()?;
        session.out.line("")?;
        session.out.rows(&columns, SCHEMA)?;
    }
    Ok(())
}

async fn snapshots(dataset: &str, limit: usize, session: &mut Session<'_>) -> Result<(), Failure> {
    let parent = names::dataset(dataset)?;
    let client = session.client().await?;
    let (snapshots, more) = pages(limit, |page_size, page_token| {
        let request = pb::ListSnapshotsRequest { parent: parent.clone(), page_size, page_token };
        let mut service = client.catalog();
        async move {
            let page = service.list_snapshots(request).await?.into_inner();
            Ok((page.snapshots, page.next_page_token))
        }
    })
    .await?;
    session.out.list(&snapshots, SNAPSHOTS)?;
    session.more(more);
    Ok(())
}

async fn get(client: &Client, dataset: &str) -> Result<pb::Dataset, Failure> {
    let request = pb::GetDatasetRequest { name: names::dataset(dataset)? };
    let response = client.catalog().get_dataset(request).await?.into_inner();
    response.dataset.ok_or_else(|| Failure::protocol("it lacks the dataset"))
}
