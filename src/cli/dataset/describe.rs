//! What an owner says about a dataset: on the command line or in a YAML file, and as the API wants it.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde::Deserialize;

use crate::{
    cli::{choices, failure::Failure, files},
    grpc::pb,
};

/// A description on the command line; what is not given is left as it is.
#[derive(Debug, Default, ClapArgs)]
pub(super) struct Flags {
    /// Read the description from this YAML file (`-` is standard input); other flags win over it.
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Title.
    #[arg(long)]
    title: Option<String>,
    /// What it holds, where it comes from, how it was made.
    #[arg(long)]
    description: Option<String>,
    /// Licence: an SPDX identifier such as etalab-2.0, or a URL.
    #[arg(long)]
    licence: Option<String>,
    /// Attribution that users must carry along.
    #[arg(long)]
    attribution: Option<String>,
    /// A word to find it by; can be repeated.
    #[arg(long = "keyword", value_name = "WORD")]
    keywords: Vec<String>,
    /// Whether no row is about a real person or organisation.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    synthetic: Option<bool>,
    /// Whether a grant is needed.
    #[arg(long = "access", value_name = "LEVEL", value_parser = choices::access_level())]
    access_level: Option<pb::AccessLevel>,
    /// The column with the pseudonym of the individual a row is about.
    #[arg(long, value_name = "COLUMN", requires = "namespace")]
    subject_key: Option<String>,
    /// The pseudonym namespace of the subject key.
    #[arg(long, requires = "subject_key")]
    namespace: Option<String>,
}

/// A description in a file. Unknown keys are refused.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    dataset: Option<String>,
    title: Option<String>,
    description: Option<String>,
    licence: Option<String>,
    attribution: Option<String>,
    keywords: Option<Vec<String>>,
    synthetic: Option<bool>,
    access: Option<String>,
    subject_key: Option<ManifestKey>,
    columns: Option<Vec<ManifestColumn>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestKey {
    column: String,
    namespace: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestColumn {
    name: String,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    description: String,
}

/// A description: the dataset with what was said, the fields that were said, and the id if a file has one.
#[derive(Debug)]
pub(super) struct Described {
    /// The dataset, other fields empty.
    pub dataset: pb::Dataset,
    /// Which fields were given, as an update mask.
    pub paths: Vec<&'static str>,
    /// `dataset` of the file.
    pub id: Option<String>,
}

impl Flags {
    /// Reads the file, if there is one, and lets the flags win.
    pub(super) fn read(self) -> Result<Described, Failure> {
        let mut said = match &self.file {
            Some(path) => parse(&files::read_text(path)?, &path.display().to_string())?,
            None => Manifest::default(),
        };
        let key = self.subject_key.zip(self.namespace).map(|(column, namespace)| ManifestKey { column, namespace });
        said.title = self.title.or(said.title);
        said.description = self.description.or(said.description);
        said.licence = self.licence.or(said.licence);
        said.attribution = self.attribution.or(said.attribution);
        said.keywords = Some(self.keywords).filter(|keywords| !keywords.is_empty()).or(said.keywords);
        said.synthetic = self.synthetic.or(said.synthetic);
        said.subject_key = key.or(said.subject_key);
        let mut described = said.describe()?;
        if let Some(level) = self.access_level {
            described.dataset.access_level = level.into();
            described.add("access_level");
        }
        Ok(described)
    }
}

impl Manifest {
    fn describe(self) -> Result<Described, Failure> {
        let mut described = Described { dataset: pb::Dataset::default(), paths: Vec::new(), id: self.dataset };
        described.put("title", self.title, |dataset| &mut dataset.title);
        described.put("description", self.description, |dataset| &mut dataset.description);
        described.put("licence", self.licence, |dataset| &mut dataset.licence);
        described.put("attribution", self.attribution, |dataset| &mut dataset.attribution);
        described.put("keywords", self.keywords, |dataset| &mut dataset.keywords);
        described.put("synthetic", self.synthetic, |dataset| &mut dataset.synthetic);
        let level =
            self.access.map(|text| named(&text, "ACCESS_LEVEL_", pb::AccessLevel::from_str_name)).transpose()?;
        described.put("access_level", level.map(i32::from), |dataset| &mut dataset.access_level);
        let key = self.subject_key.map(|key| pb::SubjectKey { column: key.column, pseudonym_namespace: key.namespace });
        described.put("subject_key", key.map(Some), |dataset| &mut dataset.subject_key);
        let notes = self.columns.map(|columns| columns.into_iter().map(ManifestColumn::note).collect()).transpose()?;
        described.put("column_notes", notes, |dataset| &mut dataset.column_notes);
        Ok(described)
    }
}

impl ManifestColumn {
    fn note(self) -> Result<pb::ColumnNote, Failure> {
        let role = self.role.map(|text| named(&text, "COLUMN_ROLE_", pb::ColumnRole::from_str_name)).transpose()?;
        Ok(pb::ColumnNote { name: self.name, role: role.unwrap_or_default().into(), description: self.description })
    }
}

impl Described {
    fn put<T>(&mut self, path: &'static str, value: Option<T>, field: impl FnOnce(&mut pb::Dataset) -> &mut T) {
        if let Some(value) = value {
            *field(&mut self.dataset) = value;
            self.add(path);
        }
    }

    fn add(&mut self, path: &'static str) {
        if !self.paths.contains(&path) {
            self.paths.push(path);
        }
    }
}

fn parse(text: &str, path: &str) -> Result<Manifest, Failure> {
    serde_norway::from_str(text).map_err(|e| {
        Failure::usage(format!("`{path}` is no description: {e}"), format!("`{path}` n'est pas une description : {e}"))
    })
}

/// The value of an enum by its short name.
fn named<T>(text: &str, prefix: &str, read: fn(&str) -> Option<T>) -> Result<T, Failure> {
    let lower = text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    read(&format!("{prefix}{}", text.to_ascii_uppercase())).filter(|_| lower && text != "unspecified").ok_or_else(
        || {
            let field = prefix.trim_end_matches('_').to_ascii_lowercase().replace('_', " ");
            Failure::usage(format!("`{text}` is no {field}"), format!("`{text}` n'est pas une valeur de {field}"))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "dataset: chu.stays\ntitle: Stays\naccess: restricted\nsynthetic: true\n\
                        subject_key: {column: person, namespace: occitanie_health}\n\
                        columns:\n  - {name: age, role: dimension, description: years}\n  - {name: cost}\n";

    fn read(text: &str, flags: Flags) -> Result<Described, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dataset.yaml");
        std::fs::write(&path, text).unwrap();
        Flags { file: Some(path), ..flags }.read()
    }

    #[test]
    fn a_file_says_what_it_says_and_nothing_else() {
        let described = read(YAML, Flags::default()).unwrap();
        assert_eq!(described.paths, ["title", "synthetic", "access_level", "subject_key", "column_notes"]);
        assert_eq!(described.id.as_deref(), Some("chu.stays"));
        let dataset = described.dataset;
        assert_eq!(dataset.access_level(), pb::AccessLevel::Restricted);
        assert_eq!(dataset.subject_key.unwrap().pseudonym_namespace, "occitanie_health");
        assert_eq!(dataset.column_notes[0].role(), pb::ColumnRole::Dimension);
        assert_eq!(dataset.column_notes[1].role(), pb::ColumnRole::Unspecified);
    }

    #[test]
    fn flags_win_over_the_file() {
        let flags =
            Flags { title: Some("Other".to_owned()), access_level: Some(pb::AccessLevel::Open), ..Flags::default() };
        let described = read(YAML, flags).unwrap();
        assert_eq!(described.dataset.title, "Other");
        assert_eq!(described.dataset.access_level(), pb::AccessLevel::Open);
        assert_eq!(described.paths.iter().filter(|path| **path == "access_level").count(), 1);
    }

    #[test]
    fn mistakes_in_the_file_are_told() {
        for (text, said) in [
            ("titel: x", "titel"),
            ("access: closed", "`closed` is no access level"),
            ("access: unspecified", "is no access level"),
            ("columns: [{name: a, role: hidden}]", "`hidden` is no column role"),
            ("title: [", "dataset.yaml"),
        ] {
            let failure = read(text, Flags::default()).unwrap_err().to_string();
            assert!(failure.contains(said), "{text}: {failure}");
        }
    }
}
