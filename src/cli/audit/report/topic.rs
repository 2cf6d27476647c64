//! What a report lists: its topics, when something gets on each list, and one finding.

use serde_json::{Value as Json, json};

use crate::cli::env::Lang;

/// What a list of findings is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    Denials,
    FirstPurposes,
    Volume,
    AfterHours,
    UnusedGrants,
}

impl Topic {
    pub(super) const ALL: &'static [Self] =
        &[Self::Denials, Self::FirstPurposes, Self::Volume, Self::AfterHours, Self::UnusedGrants];

    /// The name in JSON and CSV.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Denials => "denials",
            Self::FirstPurposes => "first_purposes",
            Self::Volume => "unusual_volume",
            Self::AfterHours => "after_hours",
            Self::UnusedGrants => "unused_grants",
        }
    }

    pub(super) const fn title(self, lang: Lang) -> &'static str {
        match self {
            Self::Denials => lang.pick("Denials by reason", "Refus par motif"),
            Self::FirstPurposes => lang.pick("Purposes used for the first time", "Finalités nouvelles"),
            Self::Volume => lang.pick("Unusual volume", "Volumes inhabituels"),
            Self::AfterHours => lang.pick("Access after hours", "Accès hors des heures ouvrées"),
            Self::UnusedGrants => lang.pick("Grants never used", "Autorisations jamais utilisées"),
        }
    }

    /// When something gets on the list.
    pub(super) const fn rule(self, lang: Lang) -> &'static str {
        match self {
            Self::Denials => lang.pick(
                "Refused calls and queries, by participant and reason, the most frequent first.",
                "Appels et requêtes refusés, par participant et par motif, les plus fréquents d'abord.",
            ),
            Self::FirstPurposes => lang.pick(
                "The first access of each participant for each purpose, the latest first.",
                "Premier accès de chaque participant pour chaque finalité, le plus récent d'abord.",
            ),
            Self::Volume => lang.pick(
                "Days on which a participant took at least 1,000 rows and 5 times the median of its other days.",
                "Jours où un participant a reçu au moins 1 000 lignes et 5 fois la médiane de ses autres jours.",
            ),
            Self::AfterHours => lang.pick(
                "Access on a weekend or outside working hours, by participant and day.",
                "Accès le week-end ou hors des heures ouvrées, par participant et par jour.",
            ),
            Self::UnusedGrants => lang.pick(
                "Grants that no access rests on and that were not revoked.",
                "Autorisations sur lesquelles aucun accès ne repose et qui n'ont pas été révoquées.",
            ),
        }
    }
}

/// Something for a person to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) topic: Topic,
    /// A day, or the time of the entry.
    pub(super) when: String,
    /// Who; empty for callers without an identity.
    pub(super) participant: String,
    /// A reason, a purpose, a dataset or a grant.
    pub(super) what: String,
    pub(super) count: u64,
    /// More about it, in English and French.
    pub(super) note: (String, String),
    /// The entry to begin with.
    pub(super) entry: u64,
}

impl Finding {
    pub(super) fn json(&self, lang: Lang) -> Json {
        json!({
            "topic": self.topic.name(), "when": self.when, "participant": self.participant, "what": self.what,
            "count": self.count, "note": lang.pick(&self.note.0, &self.note.1), "entry": self.entry,
        })
    }
}
