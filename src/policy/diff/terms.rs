//! Whether one set of terms is stricter than another, term by term, in words.
//!
//! Both are compared as they apply: a rule's own limits joined with the floor of its policy. Row filters are compared
//! as sets of conditions, not by what they mean: one that has all conditions of another and more is stricter, anything
//! else is another filter.

use super::words::text;
use crate::domain::{Columns, Duty, How, LegalBasis, Policy, Rule, Text};

/// Which way a term has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// It limits more than before.
    Tighter,
    /// It limits less than before.
    Looser,
    /// It is another one, neither more nor less.
    Other,
}

/// A term that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TermChange {
    /// Where in the rule, for example `how.max_rows`.
    pub path: String,
    /// Which way.
    pub direction: Direction,
    /// What it was and what it is.
    pub text: Text,
}

/// On which terms a use is permitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The limits, the floor included.
    pub how: How,
    /// Why personal data may be processed.
    pub legal_basis: Option<LegalBasis>,
    /// What the user must do besides.
    pub duties: Vec<Duty>,
}

impl Terms {
    /// Those of a rule under its policy's floor; masks of columns that the rule leaves out do not count.
    pub fn of(rule: &Rule, policy: &Policy) -> Self {
        let mut how = rule.how.join(&policy.floor);
        how.masks.retain(|column, _| rule.columns.contains(column));
        Self { how, legal_basis: rule.legal_basis, duties: rule.duties.clone() }
    }

    /// The same as far as these columns go.
    #[must_use]
    pub fn on(mut self, columns: &Columns) -> Self {
        self.how.masks.retain(|column, _| columns.contains(column));
        self
    }

    /// Whether whoever has these terms could do without `other`: none of them is stricter or different.
    pub fn no_stricter_than(&self, other: &Self) -> bool {
        compare(other, self).iter().all(|change| change.direction == Direction::Looser)
    }
}

/// What differs from `old` to `new`, in the order of the model.
pub fn compare(old: &Terms, new: &Terms) -> Vec<TermChange> {
    let mut changes = Changes(Vec::new());
    changes.legal_basis(old.legal_basis, new.legal_basis);
    changes.how(&old.how, &new.how);
    changes.duties(&old.duties, &new.duties);
    changes.0
}

pub(super) struct Changes(Vec<TermChange>);

impl Changes {
    pub(super) fn add(
        &mut self,
        path: impl Into<String>,
        direction: Direction,
        en: impl Into<String>,
        fr: impl Into<String>,
    ) {
        self.0.push(TermChange { path: path.into(), direction, text: text(en, fr) });
    }

    fn legal_basis(&mut self, old: Option<LegalBasis>, new: Option<LegalBasis>) {
        if old == new {
            return;
        }
        let consent = Some(LegalBasis::Consent);
        let direction = match (old == consent, new == consent) {
            (false, true) => Direction::Tighter,
            (true, false) => Direction::Looser,
            _ => Direction::Other,
        };
        let name = |basis: Option<LegalBasis>| basis.map_or("-", LegalBasis::as_str);
        let (old, new) = (name(old), name(new));
        self.add(
            "legal_basis",
            direction,
            format!("legal basis `{new}` instead of `{old}`"),
            format!("base légale `{new}` au lieu de `{old}`"),
        );
    }

    fn duties(&mut self, old: &[Duty], new: &[Duty]) {
        let days = |duties: &[Duty]| {
            let days = |duty: &Duty| if let Duty::DeleteAfterDays(days) = duty { Some(*days) } else { None };
            duties.iter().filter_map(days).min()
        };
        let (mut old, mut new) = (old.to_vec(), new.to_vec());
        if let (Some(before), Some(after)) = (days(&old), days(&new)) {
            if before != after {
                self.add(
                    "duties",
                    if after < before { Direction::Tighter } else { Direction::Looser },
                    format!("delete after {after} days instead of {before}"),
                    format!("effacer après {after} jours au lieu de {before}"),
                );
            }
            for duties in [&mut old, &mut new] {
                duties.retain(|duty| !matches!(duty, Duty::DeleteAfterDays(_)));
            }
        }
        for duty in new.iter().filter(|duty| !old.contains(duty)) {
            let Text { en, fr } = duty_words(duty);
            self.add("duties", Direction::Tighter, format!("new duty: {en}"), format!("nouvelle obligation : {fr}"));
        }
        for duty in old.iter().filter(|duty| !new.contains(duty)) {
            let Text { en, fr } = duty_words(duty);
            self.add("duties", Direction::Looser, format!("duty dropped: {en}"), format!("obligation levée : {fr}"));
        }
    }
}

/// A duty in words.
pub(super) fn duty_words(duty: &Duty) -> Text {
    match duty {
        Duty::Attribute(said) => text(format!("attribution \"{said}\""), format!("mention « {said} »")),
        Duty::DeleteAfterDays(days) => text(format!("delete after {days} days"), format!("effacer après {days} jours")),
        Duty::NoReidentification => text("no re-identification", "aucune réidentification"),
        Duty::Notify(event) => text(format!("notify: {event}"), format!("prévenir : {event}")),
        Duty::ShareAlike => text("share alike", "partage à l'identique"),
    }
}

/// The changes of one direction, joined.
pub(super) fn joined(changes: &[TermChange], direction: Direction) -> Option<Text> {
    let some: Vec<&Text> = changes.iter().filter(|c| c.direction == direction).map(|c| &c.text).collect();
    let join = |of: fn(&Text) -> &String| some.iter().map(|text| of(text).as_str()).collect::<Vec<_>>().join("; ");
    (!some.is_empty()).then(|| text(join(|t| &t.en), join(|t| &t.fr).replace("; ", " ; ")))
}
