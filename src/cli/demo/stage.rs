//! The narrator: headings, who does what, tables, progress, and the check of every expectation.

use std::fmt::Display;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use indicatif::ProgressBar;

use crate::cli::{
    env::Lang,
    failure::{Exit, Failure},
    output::Out,
};

const BOLD: &str = "1";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const FAINT: &str = "2";

/// Where the story is told.
pub(super) struct Stage<'a> {
    out: &'a mut Out,
    colour: bool,
    checks: u32,
    refusals: u32,
}

impl<'a> Stage<'a> {
    /// Tells it on `out`, in colours if it is a terminal and they are wanted.
    pub(super) fn new(out: &'a mut Out, colour: bool) -> Self {
        let colour = colour && out.is_terminal();
        Self { out, colour, checks: 0, refusals: 0 }
    }

    /// How many expectations were met so far.
    pub(super) const fn checks(&self) -> u32 {
        self.checks
    }

    /// How many of them were refusals.
    pub(super) const fn refusals(&self) -> u32 {
        self.refusals
    }

    pub(super) fn title(&mut self, text: &str) -> Result<(), Failure> {
        let text = self.paint(BOLD, text);
        self.out.line(format_args!("\n{text}"))
    }

    /// A step of the story begins.
    pub(super) fn step(&mut self, number: u32, text: &str) -> Result<(), Failure> {
        self.title(&format!("{number}. {text}"))
    }

    /// Narration.
    pub(super) fn says(&mut self, text: &str) -> Result<(), Failure> {
        self.out.line(format_args!("  {text}"))
    }

    /// Somebody has done something, and it worked.
    pub(super) fn done(&mut self, who: &str, what: impl Display) -> Result<(), Failure> {
        self.checks += 1;
        let mark = self.paint(GREEN, "✓");
        self.out.line(format_args!("  {mark} {who:<13} {what}"))
    }

    /// A text as it is, set apart.
    pub(super) fn block(&mut self, text: &str) -> Result<(), Failure> {
        for line in text.lines() {
            let line = self.paint(FAINT, line);
            self.out.line(format_args!("      {line}"))?;
        }
        Ok(())
    }

    /// A table; columns that hold numbers only stand to the right.
    pub(super) fn table(&mut self, header: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        let numeric: Vec<bool> = (0..header.len())
            .map(|at| rows.iter().all(|row| row.get(at).is_some_and(|cell| is_number(cell))))
            .collect();
        let aligned = |at: usize, text: &str| {
            let right = numeric.get(at).copied().unwrap_or_default();
            Cell::new(text).set_alignment(if right { CellAlignment::Right } else { CellAlignment::Left })
        };
        table.set_header(header.iter().enumerate().map(|(at, title)| aligned(at, &title.to_uppercase())));
        for row in rows {
            table.add_row(row.iter().enumerate().map(|(at, cell)| aligned(at, cell)));
        }
        for (at, line) in table.lines().enumerate() {
            let line = line.trim_end();
            let line = if at == 0 { self.paint(FAINT, line) } else { line.to_owned() };
            self.out.line(format_args!("     {line}"))?;
        }
        Ok(())
    }

    /// The last line.
    pub(super) fn end(&mut self, text: &str) -> Result<(), Failure> {
        let mark = self.paint(GREEN, "✓ Everything was as it should be:");
        self.out.line(format_args!("\n{mark} {text}"))
    }

    /// Somebody tries what must be refused, for one of these reasons. Gives the refusal.
    pub(super) fn refused<T>(
        &mut self,
        who: &str,
        what: &str,
        outcome: Result<T, impl Into<Failure>>,
        reasons: &[&str],
    ) -> Result<Failure, Failure> {
        let refusal = expect_refusal(what, outcome, reasons)?;
        self.checks += 1;
        self.refusals += 1;
        let mark = self.paint(YELLOW, "✗");
        self.out.line(format_args!("  {mark} {who:<13} {what}"))?;
        let reason = self.paint(YELLOW, refusal.reason().unwrap_or_default());
        self.out.line(format_args!("      refused: {reason} {}", refusal.message(Lang::En)))?;
        Ok(refusal)
    }

    /// Something that is not genuine was found out.
    pub(super) fn unverified(&mut self, who: &str, what: &str, why: &str) -> Result<(), Failure> {
        self.checks += 1;
        self.refusals += 1;
        let mark = self.paint(YELLOW, "✗");
        self.out.line(format_args!("  {mark} {who:<13} {what}"))?;
        self.out.line(format_args!("      refused: {}", why.trim_start_matches("error: ")))
    }

    /// Where it is told, for what shows progress of its own.
    pub(super) fn out(&self) -> &Out {
        self.out
    }

    /// Something that cannot tell how far it is.
    pub(super) fn spinner(&self, what: &str) -> ProgressBar {
        if !self.out.shows_progress() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new_spinner().with_message(format!("  {what}"));
        bar.enable_steady_tick(std::time::Duration::from_millis(100));
        bar
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// The refusal that was expected, for one of these reasons; anything else is a surprise.
pub(super) fn expect_refusal<T>(
    what: &str,
    outcome: Result<T, impl Into<Failure>>,
    reasons: &[&str],
) -> Result<Failure, Failure> {
    let wanted = reasons.join(" or ");
    match outcome.map_err(Into::into) {
        Ok(_) => Err(surprise(format_args!("{what}: expected to be refused with {wanted}, but it was done"))),
        Err(failure) if failure.reason().is_some_and(|reason| reasons.contains(&reason)) => Ok(failure),
        Err(failure) => Err(surprise(format_args!("{what}: expected to be refused with {wanted}, but got: {failure}"))),
    }
}

/// Fails unless things are as expected.
pub(super) fn expect(holds: bool, expectation: impl Display) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(surprise(format_args!("expected {expectation}"))) }
}

/// The part of an answer that must be there.
pub(super) fn part<T>(part: Option<T>, name: &str) -> Result<T, Failure> {
    part.ok_or_else(|| Failure::protocol(&format!("it lacks the {name}")))
}

/// The demo is not as it should be.
pub(super) fn surprise(text: impl Display) -> Failure {
    Failure::new(Exit::Failed, format!("the demo is not as it should be: {text}"), format!("surprise : {text}"))
}

fn is_number(text: &str) -> bool {
    text == "-"
        || text.starts_with(|first: char| first.is_ascii_digit()) && text.replace(',', "").parse::<f64>().is_ok()
}

/// 12345 as `12,345`.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Reason};

    #[test]
    fn only_a_refusal_for_an_expected_reason_is_as_it_should_be() {
        let refused = |reason| Err::<(), _>(Error::new(reason));
        let good = expect_refusal("x", refused(Reason::GrantRevoked), &["GRANT_REQUIRED", "GRANT_REVOKED"]).unwrap();
        assert_eq!(good.reason(), Some("GRANT_REVOKED"));
        let other = expect_refusal("x", refused(Reason::GrantExpired), &["GRANT_REVOKED"]).unwrap_err();
        assert!(other.to_string().contains("expected to be refused with GRANT_REVOKED, but got"), "{other}");
        let done = expect_refusal("x", Ok::<_, Failure>(()), &["GRANT_REVOKED"]).unwrap_err();
        assert!(done.to_string().contains("but it was done"), "{done}");
        assert_eq!(done.exit(), Exit::Failed);
    }

    #[test]
    fn a_story_that_nobody_watches_has_no_colours_and_no_progress() {
        let (mut out, stdout, stderr) = Out::captured(Lang::En);
        let mut stage = Stage::new(&mut out, true);
        stage.step(1, "Begin").unwrap();
        stage.done("chu", "does something").unwrap();
        stage
            .table(&["name", "n"], &[vec!["a".to_owned(), "1,000".to_owned()], vec!["b".to_owned(), "7".to_owned()]])
            .unwrap();
        assert!(stage.spinner("long").is_hidden());
        assert_eq!((stage.checks(), stage.refusals()), (1, 0));
        let text = stdout.text();
        assert!(!text.contains('\u{1b}') && stderr.text().is_empty(), "{text}");
        assert!(text.contains("✓ chu           does something"), "{text}");
    }

    #[test]
    fn numbers_are_grouped_by_three() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
