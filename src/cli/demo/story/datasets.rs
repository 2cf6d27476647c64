//! Step 3: three owners register datasets and upload files.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use crate::{
    cli::{
        demo::{
            COMMUNES,
            hub::Hub,
            persona::{Cast, Persona},
            stage::{Stage, expect, part, surprise, thousands},
            synthetic::{self, SEED},
        },
        failure::Failure,
        files, upload,
    },
    grpc::pb,
};

/// The authority under which equal pseudonyms mean the same person.
const NAMESPACE: &str = "occitanie_health";
/// Communes with a power cut in the small dataset that nobody is granted.
const OUTAGES: usize = 200;

/// The files of the story that later steps need, and how large they are.
pub(super) struct Files {
    pub(super) folder: PathBuf,
    pub(super) stays: u32,
    pub(super) meters: u32,
}

type Note = (&'static str, pb::ColumnRole, &'static str);

pub(super) async fn register(stage: &mut Stage<'_>, hub: &Hub, cast: &Cast, rows: u32) -> Result<Files, Failure> {
    stage.step(3, "Three owners register datasets and upload them")?;
    let folder = hub.dir.join("files");
    files::private_folder(&folder)?;
    let files = Files { folder, stays: rows, meters: rows / 5 * 6 };
    generate(stage, &files).await?;
    let communes = create(&cast.observatoire, "communes", communes()).await?;
    broken_upload(stage, cast, &communes, &files.folder).await?;
    let snapshot = send(stage, &cast.observatoire, &communes, &files.folder.join("communes.csv")).await?;
    expect(snapshot.rows == 4_446, "4,446 communes")?;
    show(stage, &snapshot)?;
    for (owner, id, dataset, rows) in
        [(&cast.chu, "stays", stays(), files.stays), (&cast.energie, "meters", meters(), files.meters)]
    {
        let dataset = create(owner, id, dataset).await?;
        let snapshot = send(stage, owner, &dataset, &files.folder.join(format!("{id}.csv"))).await?;
        expect(snapshot.rows == u64::from(rows), format_args!("{rows} rows of {id}"))?;
        show(stage, &snapshot)?;
    }
    let outages = create(&cast.energie, "outages", outages()).await?;
    send(stage, &cast.energie, &outages, &files.folder.join("outages.csv")).await?;
    Ok(files)
}

/// Writes the files that owners will upload.
async fn generate(stage: &mut Stage<'_>, files: &Files) -> Result<(), Failure> {
    let bar = stage.spinner("generating synthetic people");
    let (folder, stays, meters) = (files.folder.clone(), files.stays, files.meters);
    let written = tokio::task::spawn_blocking(move || {
        let file = |name: &str| File::create(folder.join(name)).map(BufWriter::new);
        let mut out = file("stays.csv")?;
        synthetic::stays(SEED, stays, &mut out)?;
        out.flush()?;
        let mut out = file("meters.csv")?;
        synthetic::meters(SEED, meters, &mut out)?;
        out.flush()?;
        for (name, dataset, rows) in [
            ("stays-consents.csv", synthetic::Dataset::Stays, stays),
            ("meters-consents.csv", synthetic::Dataset::Meters, meters),
        ] {
            let mut out = file(name)?;
            synthetic::consents(SEED, dataset, rows, &mut out)?;
            out.flush()?;
        }
        std::fs::write(folder.join("communes.csv"), COMMUNES)?;
        std::fs::write(folder.join("outages.csv"), outages_csv())?;
        let mut broken: Vec<&str> = COMMUNES.lines().take(4).collect();
        broken.push("31555,Toulouse");
        std::fs::write(folder.join("broken.csv"), broken.join("\n"))?;
        Ok::<(), io::Error>(())
    })
    .await
    .map_err(surprise)?;
    bar.finish_and_clear();
    written.map_err(|e| Failure::file(&files.folder, &e))?;
    let (stays, meters) = (thousands(files.stays.into()), thousands(files.meters.into()));
    stage.says(&format!("Synthetic data from a fixed seed: {stays} stays, {meters} readings, one population."))
}

/// Minutes without power, by commune: the same at each run.
fn outages_csv() -> String {
    let codes = COMMUNES.lines().skip(1).filter_map(|line| line.split(',').next()).step_by(20).take(OUTAGES);
    let lines = codes.zip(0_u32..).map(|(code, at)| format!("{code},{}\n", at * 37 % 240 + 1));
    std::iter::once("commune,minutes\n".to_owned()).chain(lines).collect()
}

async fn create(owner: &Persona, id: &str, dataset: pb::Dataset) -> Result<pb::Dataset, Failure> {
    let request = pb::CreateDatasetRequest {
        parent: format!("participants/{}", owner.participant),
        dataset_id: id.to_owned(),
        dataset: Some(dataset),
        request_id: String::new(),
    };
    part(owner.client.catalog().create_dataset(request).await?.into_inner().dataset, "dataset")
}

/// A file with a short line is refused with the line's number, and leaves nothing.
async fn broken_upload(
    stage: &mut Stage<'_>,
    cast: &Cast,
    dataset: &pb::Dataset,
    folder: &Path,
) -> Result<(), Failure> {
    let outcome = upload_file(stage, &cast.observatoire, dataset, &folder.join("broken.csv")).await;
    let refusal =
        stage.refused(&cast.observatoire.name, "uploads a file with a broken line", outcome, &["UPLOAD_MALFORMED"])?;
    expect(refusal.metadata().get("line").is_some_and(|line| line == "5"), "line 5 to be named")
}

async fn send(
    stage: &mut Stage<'_>,
    owner: &Persona,
    dataset: &pb::Dataset,
    path: &Path,
) -> Result<pb::Snapshot, Failure> {
    let snapshot = upload_file(stage, owner, dataset, path).await?;
    let subjects = snapshot.subjects.map(|n| format!(" about {} subjects", thousands(n))).unwrap_or_default();
    let synthetic = if dataset.synthetic { "SYNTHETIC" } else { "real, open" };
    let what = format!(
        "uploads {} ({synthetic}): {} rows{subjects}, {} KB of Parquet",
        dataset.table,
        thousands(snapshot.rows),
        thousands(snapshot.size_bytes / 1_000),
    );
    stage.done(&owner.name, what)?;
    Ok(snapshot)
}

async fn upload_file(
    stage: &Stage<'_>,
    owner: &Persona,
    dataset: &pb::Dataset,
    path: &Path,
) -> Result<pb::Snapshot, Failure> {
    use pb::upload_snapshot_request::Part;
    let summary = upload::summarise(path, stage.out()).await?;
    let header = pb::UploadSnapshotHeader {
        dataset: dataset.name.clone(),
        format: pb::FileFormat::Csv.into(),
        source_digest: summary.digest.clone(),
        source_size_bytes: Some(summary.size),
        request_id: String::new(),
    };
    let header = pb::UploadSnapshotRequest { part: Some(Part::Header(header)) };
    let chunk = |chunk| pb::UploadSnapshotRequest { part: Some(Part::Chunk(chunk)) };
    let (messages, unread) = upload::messages(path, header, chunk, stage.out()).await?;
    let answer = owner.client.uploads().upload_snapshot(messages).await.map_err(|status| unread.or(path, status))?;
    let snapshot = part(answer.into_inner().snapshot, "snapshot")?;
    expect(snapshot.source_digest == summary.digest, "the digest of the file that was sent")?;
    Ok(snapshot)
}

fn show(stage: &mut Stage<'_>, snapshot: &pb::Snapshot) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = snapshot
        .columns
        .iter()
        .map(|column| {
            let role = column.role().as_str_name().trim_start_matches("COLUMN_ROLE_").to_lowercase();
            vec![column.name.clone(), type_name(column), role, column.description.clone()]
        })
        .collect();
    stage.table(&["column", "type", "role", "meaning"], &rows)
}

fn type_name(column: &pb::Column) -> String {
    let Some(of) = &column.r#type else { return String::new() };
    let name = of.logical_type().as_str_name().trim_start_matches("LOGICAL_TYPE_").to_lowercase();
    if name == "decimal" { format!("decimal({},{})", of.precision, of.scale) } else { name }
}

fn dataset(title: &str, description: &str, keywords: &[&str], notes: &[Note]) -> pb::Dataset {
    let note = |(name, role, description): &Note| pb::ColumnNote {
        name: (*name).to_owned(),
        role: (*role).into(),
        description: (*description).to_owned(),
    };
    pb::Dataset {
        title: title.to_owned(),
        description: description.to_owned(),
        keywords: keywords.iter().map(|word| (*word).to_owned()).collect(),
        column_notes: notes.iter().map(note).collect(),
        ..pb::Dataset::default()
    }
}

fn restricted(mut dataset: pb::Dataset, subject: Option<&str>) -> pb::Dataset {
    dataset.synthetic = true;
    dataset.access_level = pb::AccessLevel::Restricted.into();
    dataset.subject_key =
        subject.map(|column| pb::SubjectKey { column: column.to_owned(), pseudonym_namespace: NAMESPACE.to_owned() });
    dataset
}

fn communes() -> pb::Dataset {
    use pb::ColumnRole::{Dimension, Key, Measure};
    let dataset = dataset(
        "Communes d'Occitanie",
        "Les 4 446 communes de la région Occitanie (code officiel géographique 2026). Real open data.",
        &["communes", "territoire", "geography"],
        &[
            ("code_insee", Key, "INSEE code of the commune"),
            ("nom", Dimension, "its name"),
            ("code_departement", Key, "code of its département"),
            ("departement", Dimension, "name of its département"),
            ("siren_epci", Key, "SIREN of its inter-municipal body"),
            ("siren", Key, "SIREN of the commune"),
            ("codes_postaux", Dimension, "postal codes, separated by |"),
            ("population", Measure, "legal population"),
        ],
    );
    pb::Dataset {
        licence: "etalab-2.0".to_owned(),
        attribution: "INSEE, DGCL, Etalab, COG 2026".to_owned(),
        access_level: pb::AccessLevel::Open.into(),
        ..dataset
    }
}

fn stays() -> pb::Dataset {
    use pb::ColumnRole::{Dimension, Key, Measure};
    let dataset = dataset(
        "Séjours hospitaliers (données SYNTHÉTIQUES)",
        "SYNTHETIC: hospital stays of people who do not exist, generated from a fixed seed on the real communes. \
         Aucune ligne ne concerne une personne réelle.",
        &["santé", "hôpital", "health"],
        &[
            ("commune", Key, "INSEE code of the patient's commune"),
            ("admitted", Dimension, "day of admission"),
            ("age", Dimension, "age in years"),
            ("diagnosis", Dimension, "main diagnosis, ICD-10"),
            ("cost", Measure, "cost of the stay in euros"),
        ],
    );
    restricted(dataset, Some("patient"))
}

fn meters() -> pb::Dataset {
    use pb::ColumnRole::{Dimension, Key, Measure};
    let dataset = dataset(
        "Compteurs d'énergie (données SYNTHÉTIQUES)",
        "SYNTHETIC: electricity readings of homes that do not exist, on the pseudonyms of the stays. \
         Aucune ligne ne concerne une personne réelle.",
        &["énergie", "électricité", "chauffage", "energy"],
        &[
            ("commune", Key, "INSEE code of the home's commune"),
            ("month", Dimension, "first day of the month"),
            ("kwh", Measure, "electricity in the month, in kWh"),
            ("heating", Dimension, "main heating of the home"),
        ],
    );
    restricted(dataset, Some("person"))
}

fn outages() -> pb::Dataset {
    let dataset = dataset(
        "Coupures d'électricité (données SYNTHÉTIQUES)",
        "SYNTHETIC: minutes without power in 2025 by commune.",
        &["énergie", "réseau"],
        &[
            ("commune", pb::ColumnRole::Key, "INSEE code"),
            ("minutes", pb::ColumnRole::Measure, "minutes without power"),
        ],
    );
    restricted(dataset, None)
}
