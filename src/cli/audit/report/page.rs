//! A report as one HTML page: inline style and plots, no script, nothing loaded, every text escaped.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use jiff::civil::Date;

use super::{
    analysis::{Day, Report},
    plot::{Bar, bars},
    topic::{Finding, Topic},
};
use crate::{audit::Checkpoint, cli::env::Lang, domain::Digest};

/// Days that a plot shows: the last ones.
const DAYS: usize = 400;
/// Findings that a list shows; the tables of the command have them all.
const ROWS: usize = 500;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1f;\
background:#fff}h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2.2rem}p.rule{color:#555;margin:.2rem 0 .6rem}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid #ddd;\
vertical-align:top}td.n,th.n{text-align:right}code{font-size:.85em;word-break:break-all}svg{width:100%;height:auto;\
display:block;margin:.4rem 0 1rem}.bar{fill:#7a9cc6}.marked{fill:#b3261e}.axis{font-size:10px;fill:#555}\
@media(prefers-color-scheme:dark){body{background:#161618;color:#e6e6ea}p.rule,.axis{color:#aaa;fill:#aaa}\
th,td{border-color:#3a3a40}}";

/// The page.
pub(super) fn render(report: &Report, checkpoint: &Checkpoint, lang: Lang) -> String {
    let title = lang.pick("Report on the audit log", "Rapport sur le journal d'audit");
    let mut page = format!(
        "<!doctype html>\n<html lang=\"{}\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>",
        lang.tag()
    );
    let verified = lang.pick(
        "Every entry was checked against the signed checkpoint",
        "Chaque entrée a été vérifiée par rapport au point de contrôle signé",
    );
    let _ = write!(
        page,
        "<p>{}: {} {}. {verified}: <code>{}</code>.</p>",
        Text(&checkpoint.origin),
        checkpoint.size,
        lang.pick("entries", "entrées"),
        Digest(checkpoint.root).hex()
    );
    plots(&mut page, report, lang);
    for topic in Topic::ALL {
        list(&mut page, *topic, &report.of_topic(*topic).collect::<Vec<_>>(), lang);
    }
    kinds(&mut page, report, lang);
    page + "</body></html>\n"
}

fn plots(page: &mut String, report: &Report, lang: Lang) {
    let days = every_day(&report.days);
    let by_day = |bar: fn(&Day) -> (u64, u64)| -> Vec<Bar> {
        let bar = |(date, day): &(Date, Day)| {
            let (value, marked) = bar(day);
            Bar { label: date.to_string(), value, marked }
        };
        days.iter().map(bar).collect()
    };
    let hours = report.hours.iter().enumerate();
    let by_hour: Vec<Bar> = hours
        .map(|(hour, (value, marked))| Bar { label: format!("{hour} h"), value: *value, marked: *marked })
        .collect();
    for (title, plotted) in [
        (
            lang.pick("Entries by day (denials marked)", "Entrées par jour (refus marqués)"),
            by_day(|day| (day.entries.max(day.denials), day.denials)),
        ),
        (lang.pick("Rows that left, by day", "Lignes sorties, par jour"), by_day(|day| (day.rows, 0))),
        (
            lang.pick("Access by hour (after hours marked)", "Accès par heure (hors des heures ouvrées marqués)"),
            by_hour,
        ),
    ] {
        let _ = write!(page, "<h2>{title}</h2>{}", bars(title, &plotted));
    }
}

/// The last days, without gaps.
fn every_day(days: &BTreeMap<Date, Day>) -> Vec<(Date, Day)> {
    let (Some((first, _)), Some((last, _))) = (days.first_key_value(), days.last_key_value()) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    let mut date = *last;
    while date >= *first && all.len() < DAYS {
        all.push((date, days.get(&date).copied().unwrap_or_default()));
        let Ok(before) = date.yesterday() else { break };
        date = before;
    }
    all.reverse();
    all
}

fn list(page: &mut String, topic: Topic, findings: &[&Finding], lang: Lang) {
    let _ =
        write!(page, "<h2>{} ({})</h2><p class=\"rule\">{}</p>", topic.title(lang), findings.len(), topic.rule(lang));
    if findings.is_empty() {
        return;
    }
    let heads = lang.pick(
        "<th>When</th><th>Participant</th><th>What</th><th class=\"n\">Count</th><th>Note</th><th class=\"n\">Entry</th>",
        "<th>Quand</th><th>Participant</th><th>Quoi</th><th class=\"n\">Nombre</th><th>Note</th><th class=\"n\">Entrée</th>",
    );
    let _ = write!(page, "<table><tr>{heads}</tr>");
    for one in findings.iter().take(ROWS) {
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td><td>{}</td><td class=\"n\">{}</td></tr>",
            Text(&one.when),
            Text(&one.participant),
            Text(&one.what),
            one.count,
            Text(lang.pick(&one.note.0, &one.note.1)),
            one.entry
        );
    }
    page.push_str("</table>");
    if findings.len() > ROWS {
        let _ = write!(page, "<p class=\"rule\">{} +</p>", findings.len() - ROWS);
    }
}

fn kinds(page: &mut String, report: &Report, lang: Lang) {
    let _ = write!(page, "<h2>{}</h2><table>", lang.pick("Entries by type", "Entrées par type"));
    for (kind, count) in &report.kinds {
        let _ = write!(page, "<tr><td>{}</td><td class=\"n\">{count}</td></tr>", Text(kind));
    }
    page.push_str("</table>");
}

/// Text of others in HTML: nothing in it can begin a tag, end an attribute or name an entity.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            // Control characters, and what reorders text, would show something else than is there.
            c if c.is_control()
                || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                f.write_char('\u{fffd}')
            }
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTACK: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>&lt;\u{202e}";

    fn page(report: &Report, lang: Lang) -> String {
        let checkpoint = Checkpoint { origin: format!("hub{ATTACK}"), size: 7, root: [1; 32] };
        render(report, &checkpoint, lang)
    }

    fn hostile() -> Report {
        let finding = |topic| Finding {
            topic,
            when: ATTACK.to_owned(),
            participant: ATTACK.to_owned(),
            what: ATTACK.to_owned(),
            count: 3,
            note: (ATTACK.to_owned(), ATTACK.to_owned()),
            entry: 5,
        };
        let mut report =
            Report { findings: Topic::ALL.iter().map(|topic| finding(*topic)).collect(), ..Report::default() };
        report.kinds.insert(ATTACK.to_owned(), 1);
        report.days.insert(jiff::civil::date(2026, 11, 2), Day { entries: 4, denials: 2, rows: 9 });
        report.days.insert(jiff::civil::date(2026, 11, 5), Day { entries: 1, denials: 0, rows: 0 });
        report
    }

    #[test]
    fn nothing_that_somebody_wrote_becomes_a_tag() {
        for lang in [Lang::En, Lang::Fr] {
            let page = page(&hostile(), lang);
            for bad in ["<script", "<img", "onerror=alert(2)>", "\u{202e}", "'>", "\"'"] {
                assert!(!page.contains(bad), "{bad}");
            }
            assert_eq!(page.matches("&lt;script&gt;alert(1)&lt;/script&gt;").count(), 1 + 4 * Topic::ALL.len() + 1);
            // A tag for each that the template opens: what was given adds none.
            assert_eq!(page.matches('<').count(), page.matches('>').count());
            assert_eq!(page.matches("<tr>").count(), page.matches("</tr>").count());
        }
    }

    #[test]
    fn a_page_loads_nothing_and_runs_nothing() {
        let page = page(&hostile(), Lang::En);
        for bad in ["http:", "https:", "src=", "href=", "url(", "@import", "javascript:", "<iframe", "<link"] {
            assert!(!page.replace(&Text(ATTACK).to_string(), "").contains(bad), "{bad}");
        }
        assert!(page.contains("default-src 'none'"));
    }

    #[test]
    fn a_plot_shows_the_days_between_and_the_last_ones_of_many() {
        let days = every_day(&hostile().days);
        assert_eq!(days.len(), 4);
        assert_eq!(days[1].1, Day::default());
        let first = jiff::civil::date(2020, 1, 1);
        let long = BTreeMap::from([(first, Day::default()), (jiff::civil::date(2026, 1, 1), Day::default())]);
        assert_eq!(every_day(&long).len(), DAYS);
        assert_eq!(every_day(&long).last().unwrap().0, jiff::civil::date(2026, 1, 1));
        assert!(every_day(&BTreeMap::new()).is_empty());
    }

    #[test]
    fn an_empty_report_is_a_page_in_both_languages() {
        assert!(page(&Report::default(), Lang::Fr).contains("Refus par motif (0)"));
        assert!(page(&Report::default(), Lang::En).contains("<html lang=\"en\">"));
    }
}
