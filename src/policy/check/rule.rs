//! Checks of one rule's own terms: who, what, why, when, duties, and whether they make sense together.

use std::collections::BTreeSet;

use super::{Checker, country};
use crate::{
    domain::{Access, Action, Columns, Duty, Effect, LegalBasis, Rule, Who, Window},
    policy::path::key,
};

impl Checker<'_> {
    pub(super) fn rule(&mut self, path: &str, rule: &Rule) {
        if rule.actions.is_empty() {
            self.error(format!("{path}.actions"), "no action", "aucune action");
        }
        self.who(&format!("{path}.who"), &rule.who);
        self.columns(&format!("{path}.columns"), &rule.columns);
        for purpose in &rule.purposes {
            if self.vocabulary.require(purpose).is_err() {
                self.error(
                    format!("{path}.purposes"),
                    format!("`{purpose}` is not a purpose of this hub (see `odh policy purposes`)"),
                    format!("`{purpose}` n'est pas une finalité de ce hub (voir `odh policy purposes`)"),
                );
            }
        }
        self.windows_together(path, &rule.when);
        for (index, window) in rule.when.iter().enumerate() {
            if window.from.is_none() && window.until.is_none() {
                self.error(
                    format!("{path}.when[{index}]"),
                    "the window has neither a beginning nor an end",
                    "la période n'a ni début ni fin",
                );
            }
            if let (Some(from), Some(until)) = (window.from, window.until)
                && from >= until
            {
                self.error(
                    format!("{path}.when[{index}]"),
                    "the window is empty: it ends before it begins",
                    "la période est vide : elle finit avant de commencer",
                );
            }
        }
        self.how(&format!("{path}.how"), &rule.how);
        self.duties(path, &rule.duties);
        self.localized(&format!("{path}.text"), &rule.text);
        match rule.effect {
            Effect::Deny => self.deny(path, rule),
            Effect::Permit => self.permit(path, rule),
        }
    }

    /// A window inside another one says nothing.
    fn windows_together(&mut self, path: &str, when: &[Window]) {
        let within = |one: &Window, other: &Window| {
            other.from.is_none_or(|from| one.from.is_some_and(|own| from <= own))
                && other.until.is_none_or(|until| one.until.is_some_and(|own| own <= until))
        };
        for (index, window) in when.iter().enumerate() {
            let other = when
                .iter()
                .enumerate()
                .find(|(at, other)| *at != index && within(window, other) && (*at < index || !within(other, window)));
            if let Some((other, _)) = other {
                self.warning(
                    format!("{path}.when[{index}]"),
                    format!("the window adds nothing: it lies within `when[{other}]`"),
                    format!("la période n'ajoute rien : elle est comprise dans `when[{other}]`"),
                );
            }
        }
    }

    /// A duty twice says nothing more, and nobody can keep two deadlines at once.
    fn duties_together(&mut self, path: &str, duties: &[Duty]) {
        let mut days = BTreeSet::new();
        for (index, duty) in duties.iter().enumerate() {
            let path = format!("{path}.duties[{index}]");
            if duties[..index].contains(duty) {
                self.warning(&path, "the same duty as before", "la même obligation que plus haut");
            }
            if let Duty::DeleteAfterDays(after) = duty {
                days.insert(*after);
                if days.len() > 1 {
                    self.error(&path, "another deadline than before", "un autre délai que plus haut");
                }
            }
        }
    }

    /// A deny takes away; terms that shape a permitted use would be ignored in it.
    fn deny(&mut self, path: &str, rule: &Rule) {
        let idle = [
            ("how", !rule.how.is_empty()),
            ("duties", !rule.duties.is_empty()),
            ("legal_basis", rule.legal_basis.is_some()),
        ];
        for (term, given) in idle {
            if given {
                self.error(
                    format!("{path}.{term}"),
                    format!("a deny has no `{term}`"),
                    format!("une interdiction n'a pas de `{term}`"),
                );
            }
        }
    }

    /// Rows as a whole are no aggregates and no answer to an approved query.
    fn download(&mut self, path: &str, rule: &Rule) {
        let how = rule.how.join(&self.policy.floor);
        for (term, given) in [
            ("aggregate_only", how.aggregate_only.is_some()),
            ("privacy", how.privacy.is_some()),
            ("templates", how.templates.is_some()),
        ] {
            if given && rule.actions.contains(&Action::Download) {
                self.error(
                    format!("{path}.actions"),
                    format!("`download` fetches rows, `{term}` forbids them"),
                    format!("`download` donne des lignes, `{term}` l'interdit"),
                );
            }
        }
    }

    fn permit(&mut self, path: &str, rule: &Rule) {
        let only = |action: Action| rule.actions.iter().all(|each| *each == action);
        if only(Action::Discover) {
            return self.discovery(path, rule);
        }
        match rule.legal_basis {
            None => self.error(
                format!("{path}.legal_basis"),
                "a permit states its legal basis (`not_personal` if no personal data is concerned)",
                "une permission énonce sa base légale (`not_personal` s'il n'y a pas de données personnelles)",
            ),
            Some(LegalBasis::Consent) if self.dataset.subject_key.is_none() => self.error(
                format!("{path}.legal_basis"),
                "consent needs a dataset with a subject key",
                "le consentement suppose un jeu de données qui a une clé de personne",
            ),
            Some(LegalBasis::Consent) if rule.purposes.is_empty() => self.error(
                format!("{path}.purposes"),
                "consent is given for purposes: name them",
                "on consent à des finalités : nommez-les",
            ),
            Some(_) => {}
        }
        let k = rule.how.aggregate_only.max(self.policy.floor.aggregate_only);
        let rows = rule.effective_actions().contains(&Action::Read);
        let noise = rule.how.privacy.is_some() || self.policy.floor.privacy.is_some();
        if !rows && k.is_none() && !noise && rule.legal_basis != Some(LegalBasis::NotPersonal) {
            self.error(
                format!("{path}.how.aggregate_only"),
                "a permit of aggregates states its smallest group",
                "une permission d'agréger énonce son plus petit groupe",
            );
        }
        self.download(path, rule);
        self.limits_together(path, rule);
        self.masked_columns(path, rule);
        self.breadth(path, rule);
    }

    /// Only seeing the entry is permitted: whatever shapes a use would be ignored.
    fn discovery(&mut self, path: &str, rule: &Rule) {
        let idle = [
            ("how", !rule.how.is_empty()),
            ("duties", !rule.duties.is_empty()),
            ("purposes", !rule.purposes.is_empty()),
            ("columns", !rule.columns.is_all()),
        ];
        for (term, given) in idle {
            if given {
                self.error(
                    format!("{path}.{term}"),
                    format!("`{term}` has no effect where only `discover` is permitted"),
                    format!("`{term}` est sans effet là où seul `discover` est permis"),
                );
            }
        }
    }

    /// A mask on a column that the rule leaves out would be ignored.
    fn masked_columns(&mut self, path: &str, rule: &Rule) {
        for column in rule.how.masks.keys().filter(|column| !rule.columns.contains(column)) {
            let shown = column.escape_debug();
            self.error(
                format!("{path}.how.masks{}", key(column)),
                format!("column `{shown}` is not among the columns of this rule"),
                format!("la colonne `{shown}` n'est pas parmi celles de cette règle"),
            );
        }
    }

    fn breadth(&mut self, path: &str, rule: &Rule) {
        if self.dataset.access == Access::Open && rule.legal_basis == Some(LegalBasis::NotPersonal) {
            return;
        }
        if rule.is_for_ever() {
            let (en, fr) = if rule.when.is_empty() {
                ("no window: permitted for ever", "sans période : permis pour toujours")
            } else {
                ("a window without end: permitted for ever", "une période sans fin : permis pour toujours")
            };
            self.warning(format!("{path}.when"), en, fr);
        }
    }

    fn who(&mut self, path: &str, who: &Who) {
        for (term, texts) in [("sectors", &who.sectors), ("accreditations", &who.accreditations)] {
            for text in texts.iter().filter(|text| !is_word(text)) {
                let shown: String = text.chars().take(80).collect();
                self.error(
                    format!("{path}.{term}"),
                    format!(
                        "`{}` is not a word of at most 64 lower-case letters, digits and `._:/-`",
                        shown.escape_debug()
                    ),
                    format!("`{}` n'est pas un mot d'au plus 64 minuscules, chiffres et `._:/-`", shown.escape_debug()),
                );
            }
        }
        for country in &who.countries {
            if country != "EU" && !country::is_iso_3166(country) {
                let shown: String = country.chars().take(80).collect();
                self.error(
                    format!("{path}.countries"),
                    format!("`{}` is neither an ISO 3166-1 alpha-2 code nor `EU`", shown.escape_debug()),
                    format!("`{}` n'est ni un code ISO 3166-1 alpha-2 ni `EU`", shown.escape_debug()),
                );
            }
        }
    }

    fn columns(&mut self, path: &str, columns: &Columns) {
        let Columns::Only(names) = columns else { return };
        if names.is_empty() {
            self.error(path, "no column", "aucune colonne");
        }
        for name in names {
            self.column(path, name);
        }
    }

    fn duties(&mut self, path: &str, duties: &[Duty]) {
        self.duties_together(path, duties);
        for (index, duty) in duties.iter().enumerate() {
            let path = format!("{path}.duties[{index}]");
            match duty {
                Duty::Attribute(text) | Duty::Notify(text) => {
                    if text.trim().is_empty() {
                        self.error(&path, "an empty text", "un texte vide");
                    }
                    self.words(&path, text);
                }
                Duty::DeleteAfterDays(0) => {
                    self.error(&path, "at least one day", "au moins un jour");
                }
                Duty::DeleteAfterDays(_) | Duty::NoReidentification | Duty::ShareAlike => {}
            }
        }
    }
}

/// What an accreditation or sector may be called, so that it reads the same wherever it is written. Those of participants
/// are in lower case: another spelling would never match.
fn is_word(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    text.len() <= 64
        && text.bytes().next().is_some_and(plain)
        && text.bytes().all(|b| plain(b) || b"._:/-".contains(&b))
}
