//! What a command writes: results on standard output in the form that was asked for, talk on standard error.
//!
//! A resource is turned into JSON through the API's own descriptors, so that its fields are named as in `proto/`; tables
//! and CSV show chosen fields of this JSON. Everything goes through one [`Out`], so that tests can read it.

mod entries;
mod json;
pub mod records;
mod table;

use std::{
    fmt,
    io::{self, IsTerminal as _, Write},
    sync::{Arc, Mutex, PoisonError},
};

use clap::ValueEnum;
use serde_json::Value as Json;

use super::{env::Lang, failure::Failure};
use crate::grpc::pb;

pub(in crate::cli) use entries::EntriesFile;
pub use json::to_json;
pub use table::Column;

/// The forms of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Columns for a person.
    #[default]
    Table,
    /// JSON; fields are named as in the API.
    Json,
    /// Comma-separated values with a header line.
    Csv,
    /// Apache Parquet; answers of queries only.
    Parquet,
    /// An Arrow IPC stream; answers of queries only.
    Arrow,
}

/// Where a command writes.
pub struct Out {
    stdout: Box<dyn Write + Send + Sync>,
    stderr: Box<dyn Write + Send + Sync>,
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
    /// The form of results.
    pub format: Format,
    /// No talk, and of what was made or found only the names.
    pub quiet: bool,
    /// The user's language.
    pub lang: Lang,
}

impl fmt::Debug for Out {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Out").field("format", &self.format).field("quiet", &self.quiet).finish_non_exhaustive()
    }
}

impl Out {
    /// The process's own streams.
    pub fn process(lang: Lang) -> Self {
        Self {
            stdout: Box::new(io::stdout()),
            stderr: Box::new(io::stderr()),
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
            format: Format::Table,
            quiet: false,
            lang,
        }
    }

    /// Two buffers, for tests: what comes on standard output and on standard error.
    pub fn captured(lang: Lang) -> (Self, Captured, Captured) {
        let (stdout, stderr) = (Captured::default(), Captured::default());
        let out = Self {
            stdout: Box::new(stdout.clone()),
            stderr: Box::new(stderr.clone()),
            stdout_is_terminal: false,
            stderr_is_terminal: false,
            format: Format::Table,
            quiet: false,
            lang,
        };
        (out, stdout, stderr)
    }

    /// Whether standard output is a terminal.
    pub const fn is_terminal(&self) -> bool {
        self.stdout_is_terminal
    }

    /// Whether progress may be shown: somebody is looking at standard error.
    pub const fn shows_progress(&self) -> bool {
        self.stderr_is_terminal && !self.quiet
    }

    /// Standard output itself, for commands that write text of their own.
    pub fn writer(&mut self) -> &mut (dyn Write + Send + Sync) {
        &mut *self.stdout
    }

    /// Writes one line to standard output.
    pub fn line(&mut self, text: impl fmt::Display) -> Result<(), Failure> {
        writeln!(self.stdout, "{text}").map_err(|e| Failure::output(&e))
    }

    /// Writes bytes to standard output as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stdout.write_all(bytes).and_then(|()| self.stdout.flush()).map_err(|e| Failure::output(&e))
    }

    /// Tells a person something on standard error, unless quiet.
    pub fn say(&mut self, en: impl AsRef<str>, fr: impl AsRef<str>) {
        if !self.quiet {
            let text = self.lang.pick(en.as_ref(), fr.as_ref());
            // Without anybody to hear it there is nothing to do about it.
            let _ = writeln!(self.stderr, "{text}");
        }
    }

    /// Tells a person that something failed. Never quiet.
    pub fn fail(&mut self, failure: &Failure) {
        if !failure.message(self.lang).is_empty() {
            let _ = writeln!(self.stderr, "{}", failure.render(self.lang));
        }
    }

    /// Says which audit entry records what was done.
    pub fn recorded(&mut self, receipt: Option<&pb::Receipt>) {
        if let Some(receipt) = receipt {
            let index = receipt.index;
            self.say(format!("recorded as audit entry {index}"), format!("inscrit au journal : entrée {index}"));
        }
    }

    /// Writes a list of resources: a table or CSV of `columns`, or a JSON array of all fields.
    pub fn list<M: prost::Name>(&mut self, resources: &[M], columns: &[Column]) -> Result<(), Failure> {
        let rows = resources.iter().map(to_json).collect::<Result<Vec<_>, _>>()?;
        self.rows(&rows, columns)
    }

    /// Writes rows that are JSON already: a table or CSV of `columns`, or the JSON array.
    pub fn rows(&mut self, rows: &[Json], columns: &[Column]) -> Result<(), Failure> {
        if self.quiet && self.format == Format::Table {
            let Some(first) = columns.first() else { return Ok(()) };
            return rows.iter().try_for_each(|row| self.line(table::cell(row, first.path)));
        }
        match self.format {
            Format::Table => {
                let text = table::render(rows, columns, self.stdout_is_terminal);
                self.line(text)
            }
            Format::Csv => self.bytes(&table::csv(rows, columns)),
            Format::Json => self.json(&Json::Array(rows.to_vec())),
            Format::Parquet | Format::Arrow => Err(self.not_for_resources()),
        }
    }

    /// Writes one resource: its fields one below the other, one line of CSV, or a JSON object.
    pub fn show<M: prost::Name>(&mut self, resource: &M) -> Result<(), Failure> {
        let json = to_json(resource)?;
        self.object(&json)
    }

    /// Writes one object that is JSON already.
    pub fn object(&mut self, json: &Json) -> Result<(), Failure> {
        match self.format {
            Format::Table => {
                let text = table::fields(json, self.stdout_is_terminal);
                self.line(text)
            }
            Format::Csv => {
                let text = table::csv_object(json);
                self.bytes(&text)
            }
            Format::Json => self.json(json),
            Format::Parquet | Format::Arrow => Err(self.not_for_resources()),
        }
    }

    /// Writes what a change has made: the resource as [`Out::list`] would, its name alone if quiet, or the whole
    /// response (resource and receipt) as JSON. Says where it is recorded.
    pub fn changed<R: prost::Name, M: prost::Name>(
        &mut self,
        response: &R,
        resource: Option<&M>,
        columns: &[Column],
        receipt: Option<&pb::Receipt>,
    ) -> Result<(), Failure> {
        if self.format == Format::Json {
            self.show(response)?;
        } else {
            let resource = resource.ok_or_else(|| Failure::protocol("it lacks the resource"))?;
            self.list(std::slice::from_ref(resource), columns)?;
        }
        self.recorded(receipt);
        Ok(())
    }

    /// Writes what a change has counted or issued, which is no resource: the whole response, or the value of
    /// `field` alone if quiet. Says where it is recorded.
    pub fn issued<R: prost::Name>(
        &mut self,
        response: &R,
        field: &str,
        receipt: Option<&pb::Receipt>,
    ) -> Result<(), Failure> {
        let mut json = to_json(response)?;
        if self.format != Format::Json
            && let Some(fields) = json.as_object_mut()
        {
            fields.remove("receipt");
        }
        if self.quiet && self.format == Format::Table {
            self.line(table::cell(&json, &format!("/{field}")))?;
        } else {
            self.object(&json)?;
        }
        self.recorded(receipt);
        Ok(())
    }

    /// Writes JSON, indented.
    pub fn json(&mut self, json: &Json) -> Result<(), Failure> {
        self.line(format_args!("{json:#}"))
    }

    fn not_for_resources(&self) -> Failure {
        let format = self.format.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        Failure::usage(
            format!("`-o {format}` is for answers of queries: use table, json or csv"),
            format!("`-o {format}` vaut pour les réponses aux requêtes : utilisez table, json ou csv"),
        )
    }
}

/// What was written to a captured stream.
#[derive(Debug, Clone, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// The bytes so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The text so far; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[Column::new("NAME", "/name"), Column::new("STATE", "/state")];

    fn member() -> pb::Member {
        pb::Member {
            name: "participants/chu/members/0190b8a0-0000-7000-8000-000000000001".to_owned(),
            display_name: "Ada, \"stewardess\"".to_owned(),
            roles: vec![pb::Role::Steward.into(), pb::Role::ParticipantAdmin.into()],
            state: pb::MemberState::Active.into(),
            create_time: Some(prost_types::Timestamp { seconds: 0, nanos: 5_000 }),
            etag: String::new(),
        }
    }

    fn write(format: Format, quiet: bool, act: impl FnOnce(&mut Out) -> Result<(), Failure>) -> String {
        let (mut out, stdout, _) = Out::captured(Lang::En);
        (out.format, out.quiet) = (format, quiet);
        act(&mut out).unwrap();
        stdout.text()
    }

    #[test]
    fn a_table_shows_short_names_without_colours() {
        let text = write(Format::Table, false, |out| out.list(&[member()], COLUMNS));
        let lines: Vec<_> = text.lines().map(str::trim_end).collect();
        assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["NAME", "STATE"]);
        assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["0190b8a0-0000-7000-8000-000000000001", "active"]);
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn json_has_the_fields_of_the_api() {
        let json: Json = serde_json::from_str(&write(Format::Json, false, |out| out.show(&member()))).unwrap();
        assert_eq!(json["display_name"], "Ada, \"stewardess\"");
        assert_eq!(json["roles"], serde_json::json!(["steward", "participant_admin"]));
        assert_eq!(json["create_time"], "1970-01-01T00:00:00.000005Z");
    }

    #[test]
    fn csv_quotes_what_needs_it_and_keeps_full_names() {
        let columns = [Column::new("NAME", "/name"), Column::new("SHOWN", "/display_name")];
        let text = write(Format::Csv, false, |out| out.list(&[member()], &columns));
        assert_eq!(
            text,
            "name,display_name\nparticipants/chu/members/0190b8a0-0000-7000-8000-000000000001,\"Ada, \
             \"\"stewardess\"\"\"\n"
        );
    }

    #[test]
    fn quiet_leaves_only_names() {
        let text = write(Format::Table, true, |out| out.list(&[member()], COLUMNS));
        assert_eq!(text, "0190b8a0-0000-7000-8000-000000000001\n");
        let (mut out, _, stderr) = Out::captured(Lang::En);
        out.quiet = true;
        out.say("hello", "bonjour");
        out.fail(&Failure::usage("bad", "mauvais"));
        assert_eq!(stderr.text(), "error: bad\n");
    }

    #[test]
    fn a_resource_is_not_written_as_parquet() {
        let (mut out, stdout, _) = Out::captured(Lang::Fr);
        out.format = Format::Parquet;
        assert!(out.show(&member()).unwrap_err().to_string().contains("-o parquet"));
        assert!(stdout.bytes().is_empty());
    }
}
