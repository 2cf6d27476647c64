//! `odh audit report`: what an auditor looks for first, from an export, offline: as tables or as one HTML page.
//!
//! The export is verified first: a report on a log that is not genuine would be worth nothing. Everything here is a
//! hint for a person. None of it decides anything, and the thresholds are stated beside each list.

mod analysis;
mod entries;
mod page;
mod plot;
mod topic;

use std::path::PathBuf;

use clap::Args as ClapArgs;
use serde_json::json;

use self::{
    analysis::Report,
    topic::{Finding, Topic},
};
use super::export;
use crate::cli::{
    Session,
    failure::Failure,
    files,
    output::{Column, Format},
    upload,
};

/// The zone of the members of this hub: Paris, with its summer time (POSIX TZ).
const PARIS: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

const COLUMNS: &[Column] = &[
    Column::new("WHEN", "/when"),
    Column::new("PARTICIPANT", "/participant"),
    Column::new("WHAT", "/what"),
    Column::new("COUNT", "/count"),
    Column::new("NOTE", "/note"),
    Column::new("ENTRY", "/entry"),
];

/// What to look at first: denials by reason, purposes used for the first time, unusual volume, access after hours,
/// grants never used. Needs no identity, no context and no network.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The folder of an export.
    folder: PathBuf,
    /// Also write one HTML page with plots to this file; it loads nothing from anywhere.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// The log's key, its text or a file, from a source that you trust; by default that in the export.
    #[arg(long, value_name = "VKEY")]
    key: Option<String>,
    /// Working hours, first and last, in the zone.
    #[arg(long, value_name = "FROM-UNTIL", default_value = "7-20", value_parser = hours)]
    hours: (i8, i8),
    /// The zone in which days and hours are counted, as a POSIX TZ string.
    #[arg(long, value_name = "TZ", default_value = PARIS)]
    zone: String,
}

/// Runs `odh audit report`.
pub(super) fn run(args: &Args, session: &mut Session<'_>) -> Result<(), Failure> {
    let key = export::key(Some(&args.folder), args.key.as_deref())?;
    let verified = export::verify(&args.folder, &key, &[], &upload::entries(session.out))?;
    let zone = jiff::tz::TimeZone::posix(&args.zone)
        .map_err(|e| Failure::usage(format!("--zone: {e}"), format!("--zone : {e}")))?;
    let week = analysis::Week { zone, hours: args.hours };
    let report = entries::read(&args.folder, |entries| Report::of(entries, &week))?;
    let lang = session.out.lang;
    if let Some(file) = &args.html {
        files::write_private(file, page::render(&report, &verified.checkpoint, lang).as_bytes())?;
        let shown = file.display();
        session.out.say(format!("written: {shown}"), format!("écrit : {shown}"));
    }
    if session.out.format == Format::Json {
        let lists: serde_json::Map<_, _> = Topic::ALL
            .iter()
            .map(|topic| (topic.name().to_owned(), report.of_topic(*topic).map(|one| one.json(lang)).collect()))
            .collect();
        return session.out.json(&json!({
            "origin": verified.checkpoint.origin,
            "tree_size": verified.checkpoint.size,
            "entries": verified.entries,
            "first_missing": verified.first_missing,
            "findings": lists,
        }));
    }
    if session.out.format == Format::Csv {
        let rows: Vec<_> = report.findings.iter().map(|finding| finding.json(lang)).collect();
        let columns: Vec<Column> =
            std::iter::once(Column::new("TOPIC", "/topic")).chain(COLUMNS.iter().copied()).collect();
        return session.out.rows(&rows, &columns);
    }
    for topic in Topic::ALL {
        let rows: Vec<_> = report.of_topic(*topic).map(|one: &Finding| one.json(lang)).collect();
        session.out.line(format_args!("{} ({})", topic.title(lang), rows.len()))?;
        session.out.line(format_args!("{}", topic.rule(lang)))?;
        if !rows.is_empty() {
            session.out.rows(&rows, COLUMNS)?;
        }
        session.out.line("")?;
    }
    Ok(())
}

/// `7-20`: from seven until twenty.
fn hours(text: &str) -> Result<(i8, i8), String> {
    let hour = |text: &str| text.parse::<i8>().ok().filter(|hour| (0..=24).contains(hour));
    let (from, until) = text.split_once('-').ok_or("two hours with a `-` between them")?;
    match (hour(from), hour(until)) {
        (Some(from), Some(until)) if from < until => Ok((from, until)),
        _ => Err("two hours of a day, the first before the second".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_two_of_a_day_in_their_order() {
        assert_eq!(hours("7-20"), Ok((7, 20)));
        assert_eq!(hours("0-24"), Ok((0, 24)));
        for bad in ["", "7", "20-7", "7-25", "-1-5", "a-b", "7-7"] {
            assert!(hours(bad).is_err(), "{bad}");
        }
        assert!(jiff::tz::TimeZone::posix(PARIS).is_ok());
    }
}
