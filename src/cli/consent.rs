//! `odh consent`: what the subjects of a dataset permit.

use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Subcommand};

use super::{
    Session,
    client::Client,
    failure::Failure,
    files, names,
    output::{Column, Format, Out},
    upload,
};
use crate::grpc::pb;

const COLUMNS: &[Column] = &[
    Column::new("PURPOSE", "/purpose"),
    Column::new("RECIPIENT", "/recipient"),
    Column::new("GIVEN", "/given"),
    Column::new("WITHDRAWN", "/withdrawn"),
];

/// What the subjects of a dataset permit.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Import consents from a CSV file: subject, purpose, recipient, status, expires. For a steward of the owner.
    Import {
        /// The dataset, OWNER.DATASET.
        dataset: String,
        /// The file.
        file: PathBuf,
    },
    /// Withdraw consents on behalf of subjects, at once. For a steward of the owner.
    #[command(group(clap::ArgGroup::new("whose").required(true).multiple(true)))]
    Withdraw {
        /// The dataset, OWNER.DATASET.
        dataset: String,
        /// Pseudonym of a subject; can be repeated.
        #[arg(long = "subject", value_name = "PSEUDONYM", group = "whose")]
        subjects: Vec<String>,
        /// File with one pseudonym a line; `-` is standard input.
        #[arg(long, value_name = "FILE", group = "whose")]
        subjects_file: Option<PathBuf>,
        /// Only for this purpose and those below it; by default for every purpose.
        #[arg(long, default_value = "", hide_default_value = true)]
        purpose: String,
    },
    /// Count the consents of a dataset. For its owner and an auditor.
    Summary {
        /// The dataset, OWNER.DATASET.
        dataset: String,
    },
}

/// Runs `odh consent`.
pub async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    match args.command {
        Command::Import { dataset, file } => {
            let client = session.client().await?;
            let response = client.import_consents(&dataset, &file, &session.request_id, session.out).await?;
            session.out.issued(&response, "given", response.receipt.as_ref())
        }
        Command::Withdraw { dataset, mut subjects, subjects_file, purpose } => {
            if let Some(path) = subjects_file {
                let text = files::read_text(&path)?;
                subjects.extend(text.lines().filter(|line| !line.is_empty()).map(str::to_owned));
            }
            let (dataset, request_id) = (names::dataset(&dataset)?, session.request_id.clone());
            let request = pb::WithdrawConsentsRequest { dataset, subjects, purpose, request_id };
            let response = session.client().await?.consents().withdraw_consents(request).await?.into_inner();
            session.out.issued(&response, "withdrawn", response.receipt.as_ref())
        }
        Command::Summary { dataset } => {
            let request = pb::GetConsentSummaryRequest { dataset: names::dataset(&dataset)? };
            let response = session.client().await?.consents().get_consent_summary(request).await?.into_inner();
            if session.out.format == Format::Json {
                return session.out.show(&response);
            }
            session.out.list(&response.counts, COLUMNS)?;
            let subjects = response.subjects;
            session.out.say(
                format!("{subjects} subjects in the current snapshot"),
                format!("{subjects} personnes dans l'instantané courant"),
            );
            Ok(())
        }
    }
}

impl Client {
    /// Imports consents of subjects of `dataset` (`OWNER.DATASET`) from a CSV file. `out` shows progress.
    pub async fn import_consents(
        &self,
        dataset: &str,
        file: &Path,
        request_id: &str,
        out: &Out,
    ) -> Result<pb::ImportConsentsResponse, Failure> {
        use pb::import_consents_request::Part;
        let header = pb::ImportConsentsHeader {
            dataset: names::dataset(dataset)?,
            format: pb::FileFormat::Csv.into(),
            request_id: request_id.to_owned(),
        };
        let header = pb::ImportConsentsRequest { part: Some(Part::Header(header)) };
        let chunk = |bytes| pb::ImportConsentsRequest { part: Some(Part::Chunk(bytes)) };
        let (messages, read_error) = upload::messages(file, header, chunk, out).await?;
        let response = self.consents().import_consents(messages).await.map_err(|e| read_error.or(file, e))?;
        Ok(response.into_inner())
    }
}
