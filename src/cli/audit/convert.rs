//! Other forms of an export that has been verified: Parquet for data tools, OCSF for a SIEM.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use clap::ValueEnum;

use super::ocsf;
use crate::{
    audit::{LeafView, export::ENTRIES, leaf_hash},
    cli::{failure::Failure, output::EntriesFile},
};

/// A form besides JSONL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// Apache Parquet, `entries.parquet`.
    Parquet,
    /// OCSF 1.3 API Activity, `entries.ocsf.jsonl`.
    Ocsf,
}

/// Writes the entries of an export in another form into its folder; gives the file.
pub(super) fn write(folder: &Path, form: Form) -> Result<PathBuf, Failure> {
    let source = folder.join(ENTRIES);
    let lines = BufReader::new(File::open(&source).map_err(|e| Failure::file(&source, &e))?).lines();
    let lines = lines.map(|line| line.map_err(|e| Failure::file(&source, &e)));
    match form {
        Form::Parquet => {
            let path = folder.join("entries.parquet");
            let mut file = EntriesFile::create(&path)?;
            for line in lines {
                let line = line?;
                file.add(&line, &LeafView::parse(line.as_bytes())?, &leaf_hash(line.as_bytes()))?;
            }
            file.finish()?;
            Ok(path)
        }
        Form::Ocsf => {
            let path = folder.join("entries.ocsf.jsonl");
            let mut file = BufWriter::new(File::create(&path).map_err(|e| Failure::file(&path, &e))?);
            for line in lines {
                let line = line?;
                let event = ocsf::line(&LeafView::parse(line.as_bytes())?, &leaf_hash(line.as_bytes()));
                file.write_all(event.as_bytes()).map_err(|e| Failure::file(&path, &e))?;
            }
            file.flush().map_err(|e| Failure::file(&path, &e))?;
            Ok(path)
        }
    }
}
