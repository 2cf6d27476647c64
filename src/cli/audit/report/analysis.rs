//! The lists and series of a report: one pass over the entries, aggregates only.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    entries::Entry,
    topic::{Finding, Topic},
};
use crate::domain::Timestamp;
use jiff::{
    civil::{Date, DateTime},
    tz::TimeZone,
};

/// A day is unusual from this many rows on, and from this many times what its participant usually takes.
const MANY_ROWS: u64 = 1_000;
const TIMES_USUAL: u64 = 5;
/// Other days with answers that it takes to know what is usual.
const KNOWN_DAYS: usize = 3;

/// Which hours are worked, and in which zone.
#[derive(Debug, Clone)]
pub(super) struct Week {
    pub(super) zone: TimeZone,
    /// From the first, until before the second.
    pub(super) hours: (i8, i8),
}

impl Week {
    fn local(&self, at: Timestamp) -> DateTime {
        self.zone.to_datetime(jiff::Timestamp::from_microsecond(at.micros()).unwrap_or_default())
    }

    fn is_worked(&self, at: DateTime) -> bool {
        use jiff::civil::Weekday::{Saturday, Sunday};
        !matches!(at.weekday(), Saturday | Sunday) && (self.hours.0..self.hours.1).contains(&at.hour())
    }
}

/// What an export shows.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// In the order of the topics.
    pub(super) findings: Vec<Finding>,
    /// Entries, denials and rows that left, by day.
    pub(super) days: BTreeMap<Date, Day>,
    /// Accesses by hour of the day: all of them, and those on a weekend or after hours.
    pub(super) hours: [(u64, u64); 24],
    /// Entries by kind.
    pub(super) kinds: BTreeMap<String, u64>,
}

/// Counts of one day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) entries: u64,
    pub(super) denials: u64,
    pub(super) rows: u64,
}

impl Report {
    /// Reads all entries once.
    pub(super) fn of(entries: &mut dyn Iterator<Item = Entry>, week: &Week) -> Self {
        let mut seen = Seen::default();
        let mut report = Self::default();
        for entry in entries {
            let local = week.local(entry.at);
            let (denials, rows) = seen.take(&entry, local, week);
            let day = report.days.entry(local.date()).or_default();
            day.entries += 1;
            day.denials += denials;
            day.rows += rows;
            if entry.is_access()
                && let Some(hour) = usize::try_from(local.hour()).ok().and_then(|hour| report.hours.get_mut(hour))
            {
                hour.0 += 1;
                hour.1 += u64::from(!week.is_worked(local));
            }
            *report.kinds.entry(entry.kind).or_default() += 1;
        }
        report.findings = seen.findings();
        report
    }

    /// The findings about one topic.
    pub(super) fn of_topic(&self, topic: Topic) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.topic == topic)
    }
}

type Key = (String, String);

/// Aggregates while the entries pass.
#[derive(Debug, Default)]
struct Seen {
    /// By participant and reason: how many, the first entry, the time of the last.
    denials: BTreeMap<Key, (u64, u64, String)>,
    /// By participant and purpose: how many, the first entry, its time, its datasets.
    purposes: BTreeMap<Key, (u64, u64, String, String)>,
    /// By participant and day: rows, the first entry.
    volume: BTreeMap<String, BTreeMap<Date, (u64, u64)>>,
    /// By participant and day: how many, the first entry, the datasets.
    after_hours: BTreeMap<(String, Date), (u64, u64, BTreeSet<String>)>,
    /// By grant: who has it, for which dataset, when, until when, the entry.
    grants: BTreeMap<String, (String, String, String, String, u64)>,
    used: BTreeSet<String>,
}

impl Seen {
    /// Takes an entry in; gives the denials and the rows that it stands for.
    fn take(&mut self, entry: &Entry, local: DateTime, week: &Week) -> (u64, u64) {
        let actor = entry.actor.clone().unwrap_or_default();
        let time = local.strftime("%Y-%m-%d %H:%M").to_string();
        let (mut denials, mut rows) = (0, 0);
        if entry.kind == "call.denied" || entry.fact("decision") == "deny" {
            denials = entry.number("count").unwrap_or(1);
            let key = (actor.clone(), entry.fact("reason").to_owned());
            let seen = self.denials.entry(key).or_insert((0, entry.index, String::new()));
            seen.0 += denials;
            seen.2.clone_from(&time);
        }
        if entry.is_access() {
            let datasets = entry.datasets().join(" ");
            self.used.extend(entry.grants().map(str::to_owned));
            if let Some(purpose) = &entry.purpose {
                let first = (0, entry.index, time, datasets);
                self.purposes.entry((actor.clone(), purpose.clone())).or_insert(first).0 += 1;
            }
            if !week.is_worked(local) {
                let seen = self.after_hours.entry((actor, local.date())).or_insert((0, entry.index, BTreeSet::new()));
                seen.0 += 1;
                seen.2.extend(entry.datasets().into_iter().map(str::to_owned));
            }
        } else if entry.kind.ends_with(".outcome") && entry.actor.is_some() {
            rows = entry.number("rows").unwrap_or_default();
            let days = self.volume.entry(actor).or_default();
            days.entry(local.date()).or_insert((0, entry.index)).0 += rows;
        } else if entry.kind == "access.approved" {
            self.grant(entry, time);
        } else if entry.kind == "grant.revoked" {
            self.grants.remove(entry.fact("grant"));
        }
        (denials, rows)
    }

    fn grant(&mut self, entry: &Entry, time: String) {
        let dataset = entry.dataset.clone().unwrap_or_default();
        let until = entry.fact("until").get(..10).unwrap_or_default().to_owned();
        let purpose = entry.purpose.clone().unwrap_or_default();
        self.grants.insert(entry.fact("grant").to_owned(), (dataset, purpose, time, until, entry.index));
    }

    fn findings(self) -> Vec<Finding> {
        let mut denials: Vec<_> = self
            .denials
            .into_iter()
            .map(|((participant, what), (count, entry, when))| {
                let note = if participant.is_empty() {
                    ("callers without an identity".to_owned(), "appelants sans identité".to_owned())
                } else {
                    <(String, String)>::default()
                };
                Finding { topic: Topic::Denials, when, participant, what, count, note, entry }
            })
            .collect();
        denials.sort_by_key(|one| std::cmp::Reverse(one.count));
        let mut purposes: Vec<_> = self
            .purposes
            .into_iter()
            .map(|((participant, what), (count, entry, when, datasets))| {
                let note = (format!("first of {datasets}"), format!("d'abord {datasets}"));
                Finding { topic: Topic::FirstPurposes, when, participant, what, count, note, entry }
            })
            .collect();
        purposes.sort_by_key(|one| std::cmp::Reverse(one.entry));
        let after_hours = self.after_hours.into_iter().map(|((participant, day), (count, entry, datasets))| Finding {
            topic: Topic::AfterHours,
            when: day.to_string(),
            participant,
            what: datasets.into_iter().collect::<Vec<_>>().join(" "),
            count,
            note: <(String, String)>::default(),
            entry,
        });
        let used = self.used;
        let unused = self.grants.into_iter().filter(|(grant, _)| !used.contains(grant)).map(
            |(grant, (what, purpose, when, until, entry))| Finding {
                topic: Topic::UnusedGrants,
                when,
                participant: String::new(),
                what,
                count: 0,
                note: (
                    format!("grant {grant} for {purpose}, valid until {until}"),
                    format!("autorisation {grant} pour {purpose}, valable jusqu'au {until}"),
                ),
                entry,
            },
        );
        let volume = self.volume.into_iter().flat_map(|(participant, days)| unusual(&participant, &days));
        denials.into_iter().chain(purposes).chain(volume).chain(after_hours).chain(unused).collect()
    }
}

/// The days of one participant that stand out from its others.
fn unusual(participant: &str, days: &BTreeMap<Date, (u64, u64)>) -> Vec<Finding> {
    let stands_out = |(day, (rows, entry)): (&Date, &(u64, u64))| {
        let mut others: Vec<u64> = days.iter().filter(|(other, _)| *other != day).map(|(_, (rows, _))| *rows).collect();
        others.sort_unstable();
        let usual = *others.get(others.len() / 2)?;
        let many = *rows >= MANY_ROWS && *rows >= TIMES_USUAL.saturating_mul(usual);
        (others.len() >= KNOWN_DAYS && many).then(|| Finding {
            topic: Topic::Volume,
            when: day.to_string(),
            participant: participant.to_owned(),
            what: "rows".to_owned(),
            count: *rows,
            note: (format!("usually {usual}"), format!("d'habitude {usual}")),
            entry: *entry,
        })
    };
    days.iter().filter_map(stands_out).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    /// 2026-11-02, a Monday, at 10:00 in Paris, and so many hours later.
    fn at(hours: i64) -> String {
        let monday: Timestamp = "2026-11-02T09:00:00Z".parse().unwrap();
        Timestamp::from_micros(monday.micros() + hours * 3_600_000_000).to_string()
    }

    fn report(lines: &[Json]) -> Report {
        let week = Week { zone: TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap(), hours: (7, 20) };
        let entries = lines.iter().zip(0_u64..).map(|(line, index)| {
            let mut line = line.clone();
            line["i"] = index.to_string().into();
            serde_json::from_value(line).unwrap()
        });
        Report::of(&mut entries.collect::<Vec<Entry>>().into_iter(), &week)
    }

    fn asked(hours: i64, actor: &str, purpose: &str, grant: Option<&str>) -> Json {
        json!({"t": "query.decision", "ts": at(hours), "actor": actor, "purpose": purpose,
               "f": {"decision": "permit", "datasets": [{"dataset": "chu.stays", "grant": grant}]}})
    }

    fn took(hours: i64, actor: &str, rows: u64) -> Json {
        json!({"t": "query.outcome", "ts": at(hours), "actor": actor, "f": {"rows": rows.to_string()}})
    }

    fn listed(report: &Report, topic: Topic) -> Vec<(String, String, u64, u64)> {
        report.of_topic(topic).map(|one| (one.participant.clone(), one.what.clone(), one.count, one.entry)).collect()
    }

    #[test]
    fn denials_are_counted_by_participant_and_reason_the_most_frequent_first() {
        let denied = |actor: Option<&str>, reason: &str, count: Option<&str>| json!({"t": "call.denied", "ts": at(0), "actor": actor, "f": {"reason": reason, "count": count}});
        let refused = json!({"t": "query.decision", "ts": at(1), "actor": "lab",
                             "f": {"decision": "deny", "reason": "NO_GRANT"}});
        let report = report(&[denied(Some("lab"), "NO_GRANT", None), refused, denied(None, "NO_IDENTITY", Some("40"))]);
        let expected = [("", "NO_IDENTITY", 40, 2), ("lab", "NO_GRANT", 2, 0)];
        assert_eq!(listed(&report, Topic::Denials), expected.map(|(a, b, c, d)| (a.to_owned(), b.to_owned(), c, d)));
        assert_eq!(report.days.values().map(|day| day.denials).sum::<u64>(), 42);
    }

    #[test]
    fn the_first_use_of_a_purpose_is_shown_with_how_often_it_was_used_since() {
        let report = report(&[
            asked(0, "lab", "research", None),
            asked(1, "lab", "research", None),
            asked(2, "lab", "care", None),
        ]);
        let expected = [("lab", "care", 1, 2), ("lab", "research", 2, 0)];
        let listed = listed(&report, Topic::FirstPurposes);
        assert_eq!(listed, expected.map(|(a, b, c, d)| (a.to_owned(), b.to_owned(), c, d)));
    }

    #[test]
    fn a_day_is_unusual_beside_the_others_of_the_same_participant() {
        let usual: Vec<Json> = (0..4).map(|day| took(24 * day, "lab", 300)).collect();
        let with = |more: &[Json]| listed(&report(&[&usual[..], more].concat()), Topic::Volume);
        assert_eq!(with(&[took(24 * 4, "lab", 1_499)]), []);
        assert_eq!(with(&[took(24 * 4, "lab", 1_500)]), [("lab".to_owned(), "rows".to_owned(), 1_500, 4)]);
        assert_eq!(with(&[took(24 * 4, "lab", 800), took(24 * 4 + 1, "lab", 800)])[0].2, 1_600);
        assert_eq!(with(&[took(24 * 4, "other", 1_000_000)]), [], "nobody knows what is usual for it");
    }

    #[test]
    fn access_on_a_weekend_or_at_night_is_after_hours_in_the_zone_of_the_members() {
        // 10:00 and 19:59 are worked, 20:00 and 06:59 are not, nor is Saturday; in July Paris is two hours ahead.
        let mut summer = asked(0, "lab", "research", None);
        summer["ts"] = "2026-07-01T05:30:00Z".into();
        let night = asked(10, "lab", "research", None);
        let report =
            report(&[asked(0, "lab", "r", None), summer, night.clone(), night, asked(24 * 5, "lab", "r", None)]);
        let expected = [("lab", "chu.stays", 2, 2), ("lab", "chu.stays", 1, 4)];
        let listed = listed(&report, Topic::AfterHours);
        assert_eq!(listed, expected.map(|(a, b, c, d)| (a.to_owned(), b.to_owned(), c, d)));
        assert_eq!((report.hours[20], report.hours[7]), ((2, 2), (1, 0)));
    }

    #[test]
    fn a_grant_is_unused_until_an_access_rests_on_it_and_forgotten_when_it_is_revoked() {
        let granted = |grant: &str| {
            json!({"t": "access.approved", "ts": at(0), "actor": "chu", "ds": "chu.stays", "purpose": "research",
                   "f": {"grant": grant, "until": "2027-01-01T00:00:00Z"}})
        };
        let revoked = json!({"t": "grant.revoked", "ts": at(2), "actor": "chu", "f": {"grant": "g3"}});
        let lines = [granted("g1"), granted("g2"), granted("g3"), asked(1, "lab", "research", Some("g1")), revoked];
        let report = report(&lines);
        let unused: Vec<_> = report.of_topic(Topic::UnusedGrants).collect();
        assert_eq!(unused.len(), 1);
        assert_eq!((unused[0].entry, unused[0].note.0.as_str()), (1, "grant g2 for research, valid until 2027-01-01"));
    }
}
