//! Limits compared: which are tighter, which looser, which merely others.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    terms::{Changes, Direction},
    words::{quoted, text},
};
use crate::{
    domain::{Filter, How, Interval, Mask, Name, Privacy, Template, Text},
    policy::path::key,
};

impl Changes {
    pub(super) fn how(&mut self, old: &How, new: &How) {
        let How {
            row_filter,
            masks,
            aggregate_only,
            privacy,
            max_rows,
            max_queries,
            rate,
            no_join_on,
            difference_check,
            templates,
            consent_required,
            certificate_required,
        } = new;
        self.row_filter(old.row_filter.as_ref(), row_filter.as_ref());
        self.masks(&old.masks, masks);
        self.at_least(
            "how.aggregate_only",
            old.aggregate_only.map(u64::from),
            aggregate_only.map(u64::from),
            &text("only aggregates, in groups of at least", "seulement des agrégats, par groupes d'au moins"),
            &text("rows, not only aggregates", "les lignes, pas seulement des agrégats"),
        );
        self.privacy(old.privacy.as_ref(), privacy.as_ref());
        self.at_most("how.max_rows", old.max_rows, *max_rows, &text("rows of an answer", "lignes par réponse"));
        self.at_most(
            "how.max_queries",
            old.max_queries,
            *max_queries,
            &text("queries under one grant", "requêtes par accord"),
        );
        for interval in Interval::ALL {
            let (before, after) = (old.rate.get(&interval), rate.get(&interval));
            let what = match interval {
                Interval::Minute => text("queries in a minute", "requêtes par minute"),
                Interval::Hour => text("queries in an hour", "requêtes par heure"),
                Interval::Day => text("queries in a day", "requêtes par jour"),
            };
            self.at_most("how.rate", before.copied().map(u64::from), after.copied().map(u64::from), &what);
        }
        self.no_join_on(&old.no_join_on, no_join_on);
        self.templates(old.templates.as_ref(), templates.as_ref());
        for (path, old, new, what) in [
            (
                "how.difference_check",
                old.difference_check,
                *difference_check,
                text("a check against earlier answers", "une comparaison aux réponses précédentes"),
            ),
            (
                "how.consent_required",
                old.consent_required,
                *consent_required,
                text("consent of the subjects", "le consentement des personnes"),
            ),
            (
                "how.certificate_required",
                old.certificate_required,
                *certificate_required,
                text("a client certificate", "un certificat client"),
            ),
        ] {
            self.flag(path, old, new, &what);
        }
    }

    fn flag(&mut self, path: &str, old: bool, new: bool, what: &Text) {
        let Text { en, fr } = what;
        match (old, new) {
            (false, true) => {
                self.add(path, Direction::Tighter, format!("now asks for {en}"), format!("exige désormais {fr}"));
            }
            (true, false) => {
                self.add(path, Direction::Looser, format!("no longer asks for {en}"), format!("n'exige plus {fr}"));
            }
            _ => {}
        }
    }

    /// A number below which nothing is shown: more is stricter, none is not strict at all.
    fn at_least(&mut self, path: &str, old: Option<u64>, new: Option<u64>, what: &Text, without: &Text) {
        let Text { en, fr } = what;
        match (old, new) {
            (None, Some(new)) => self.add(path, Direction::Tighter, format!("{en} {new}"), format!("{fr} {new}")),
            (Some(_), None) => self.add(path, Direction::Looser, without.en.clone(), without.fr.clone()),
            (Some(old), Some(new)) if old != new => {
                let direction = if new > old { Direction::Tighter } else { Direction::Looser };
                self.add(
                    path,
                    direction,
                    format!("{en} {new} instead of {old}"),
                    format!("{fr} {new} au lieu de {old}"),
                );
            }
            _ => {}
        }
    }

    /// A number that is not exceeded: less is stricter, none is not strict at all.
    fn at_most(&mut self, path: &str, old: Option<u64>, new: Option<u64>, what: &Text) {
        let Text { en, fr } = what;
        match (old, new) {
            (None, Some(new)) => {
                self.add(path, Direction::Tighter, format!("at most {new} {en}"), format!("au plus {new} {fr}"));
            }
            (Some(old), None) => self.add(
                path,
                Direction::Looser,
                format!("any number of {en} (it was at most {old})"),
                format!("sans limite de {fr} (c'était au plus {old})"),
            ),
            (Some(old), Some(new)) if old != new => {
                let direction = if new < old { Direction::Tighter } else { Direction::Looser };
                self.add(
                    path,
                    direction,
                    format!("at most {new} {en} instead of {old}"),
                    format!("au plus {new} {fr} au lieu de {old}"),
                );
            }
            _ => {}
        }
    }

    fn privacy(&mut self, old: Option<&Privacy>, new: Option<&Privacy>) {
        match (old, new) {
            (None, Some(new)) => {
                let (epsilon, budget) = (new.epsilon, new.budget);
                self.add(
                    "how.privacy",
                    Direction::Tighter,
                    format!("only aggregates with noise: ε {epsilon} a query, {budget} a grant"),
                    format!("seulement des agrégats bruités : ε {epsilon} par requête, {budget} par accord"),
                );
            }
            (Some(_), None) => {
                self.add("how.privacy", Direction::Looser, "without noise any more", "sans bruit désormais");
            }
            (Some(old), Some(new)) => {
                let Privacy { epsilon, budget, total, delta, max_groups, max_rows, bounds, groups } = new;
                for (field, old, new) in [
                    ("epsilon", old.epsilon, *epsilon),
                    ("budget", old.budget, *budget),
                    ("total", old.total, *total),
                    ("delta", old.delta.unwrap_or_default(), delta.unwrap_or_default()),
                ] {
                    if old != new {
                        let direction = if new < old { Direction::Tighter } else { Direction::Looser };
                        self.add(
                            format!("how.privacy.{field}"),
                            direction,
                            format!("privacy: `{field}` {new} instead of {old}"),
                            format!("confidentialité : `{field}` {new} au lieu de {old}"),
                        );
                    }
                }
                for (field, differs) in [
                    ("max_groups", old.max_groups != *max_groups),
                    ("max_rows", old.max_rows != *max_rows),
                    ("bounds", old.bounds != *bounds),
                    ("groups", old.groups != *groups),
                ] {
                    if differs {
                        self.add(
                            format!("how.privacy.{field}"),
                            Direction::Other,
                            format!("privacy: another `{field}`"),
                            format!("confidentialité : `{field}` a changé"),
                        );
                    }
                }
            }
            (None, None) => {}
        }
    }

    fn no_join_on(&mut self, old: &BTreeSet<String>, new: &BTreeSet<String>) {
        let (more, fewer) = (quoted(new.difference(old)), quoted(old.difference(new)));
        if !more.is_empty() {
            let (en, fr) = (format!("no joins on {more}"), format!("aucune jointure sur {more}"));
            self.add("how.no_join_on", Direction::Tighter, en, fr);
        }
        if !fewer.is_empty() {
            let (en, fr) = (format!("joins on {fewer}, too"), format!("jointures aussi sur {fewer}"));
            self.add("how.no_join_on", Direction::Looser, en, fr);
        }
    }

    fn templates(&mut self, old: Option<&BTreeMap<Name, Template>>, new: Option<&BTreeMap<Name, Template>>) {
        let path = "how.templates";
        match (old, new) {
            (None, Some(new)) => {
                let names = quoted(new.keys());
                let (en, fr) =
                    (format!("only approved queries: {names}"), format!("seulement des requêtes approuvées : {names}"));
                self.add(path, Direction::Tighter, en, fr);
            }
            (Some(_), None) => {
                self.add(
                    path,
                    Direction::Looser,
                    "any query, not only approved ones",
                    "toute requête, approuvée ou non",
                );
            }
            (Some(old), Some(new)) => {
                let only_in = |these: &BTreeMap<Name, Template>, others: &BTreeMap<Name, Template>| {
                    quoted(these.keys().filter(|name| !others.contains_key(*name)))
                };
                let changed = quoted(new.iter().filter(|(n, t)| old.get(*n).is_some_and(|o| o != *t)).map(|(n, _)| n));
                for (names, direction, en, fr) in [
                    (
                        only_in(new, old),
                        Direction::Looser,
                        "newly approved queries",
                        "requêtes nouvellement approuvées",
                    ),
                    (only_in(old, new), Direction::Tighter, "no longer approved", "ne sont plus approuvées"),
                    (changed, Direction::Other, "approved queries rewritten", "requêtes approuvées réécrites"),
                ] {
                    if !names.is_empty() {
                        self.add(path, direction, format!("{en}: {names}"), format!("{fr} : {names}"));
                    }
                }
            }
            (None, None) => {}
        }
    }

    fn row_filter(&mut self, old: Option<&Filter>, new: Option<&Filter>) {
        let (before, after) = (conditions(old), conditions(new));
        let direction = match (before.is_subset(&after), after.is_subset(&before)) {
            (true, true) => return,
            (true, false) => Direction::Tighter,
            (false, true) => Direction::Looser,
            (false, false) => Direction::Other,
        };
        let name = |filter: Option<&Filter>, none: &str| filter.map_or_else(|| none.to_owned(), |f| format!("`{f}`"));
        self.add(
            "how.row_filter",
            direction,
            format!("rows: {} instead of {}", name(new, "all"), name(old, "all")),
            format!("lignes : {} au lieu de {}", name(new, "toutes"), name(old, "toutes")),
        );
    }

    fn masks(&mut self, old: &BTreeMap<String, Mask>, new: &BTreeMap<String, Mask>) {
        let columns: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for column in columns {
            let (before, after) = (old.get(column), new.get(column));
            let Some(direction) = mask_direction(before, after) else { continue };
            let (en, fr) = (mask_words(after), mask_words(before));
            self.add(
                format!("how.masks{}", key(column)),
                direction,
                format!("column `{column}`: {} instead of {}", en.en, fr.en),
                format!("colonne `{column}` : {} au lieu de {}", en.fr, fr.fr),
            );
        }
    }
}

/// The conditions that must hold together.
fn conditions(filter: Option<&Filter>) -> BTreeSet<String> {
    fn collect(filter: &Filter, into: &mut BTreeSet<String>) {
        match filter {
            Filter::All(parts) => parts.iter().for_each(|part| collect(part, into)),
            other => {
                into.insert(other.to_string());
            }
        }
    }
    let mut all = BTreeSet::new();
    if let Some(filter) = filter {
        collect(filter, &mut all);
    }
    all
}

/// Which way a column's mask has changed; none if it has not.
fn mask_direction(old: Option<&Mask>, new: Option<&Mask>) -> Option<Direction> {
    let hides_all = |mask: &Mask| matches!(mask, Mask::Null | Mask::Constant(_));
    let direction = match (old, new) {
        (None, None) => return None,
        (None, Some(_)) => Direction::Tighter,
        (Some(_), None) => Direction::Looser,
        (Some(old), Some(new)) if old == new => return None,
        (Some(old), Some(new)) => match (old, new) {
            (old, new) if hides_all(old) && hides_all(new) => Direction::Other,
            (_, new) if hides_all(new) => Direction::Tighter,
            (old, _) if hides_all(old) => Direction::Looser,
            (Mask::Prefix(old), Mask::Prefix(new)) if new < old => Direction::Tighter,
            (Mask::Prefix(_), Mask::Prefix(_)) => Direction::Looser,
            (Mask::Bucket(old), Mask::Bucket(new)) if *old > 0 && new % old == 0 => Direction::Tighter,
            (Mask::Bucket(old), Mask::Bucket(new)) if *new > 0 && old % new == 0 => Direction::Looser,
            _ => Direction::Other,
        },
    };
    Some(direction)
}

fn mask_words(mask: Option<&Mask>) -> Text {
    match mask {
        None => text("its values", "ses valeurs"),
        Some(Mask::Null) => text("no value", "aucune valeur"),
        Some(Mask::Constant(_)) => text("a constant", "une constante"),
        Some(Mask::Hmac) => text("pseudonyms", "des pseudonymes"),
        Some(Mask::Prefix(length)) => {
            text(format!("its first {length} character(s)"), format!("ses {length} premier(s) caractère(s)"))
        }
        Some(Mask::Year) => text("the year", "l'année"),
        Some(Mask::Bucket(width)) => text(format!("steps of {width}"), format!("des paliers de {width}")),
    }
}
