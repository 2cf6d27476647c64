//! Boxes in words, French and English: who may do what with which columns, why and when.

use std::collections::BTreeSet;

use super::roles;
use crate::{
    domain::{Action, Kind, Rule, Text, Timestamp},
    policy::analysis::{
        Bits,
        space::{ACCREDITATION, ACTION, COLUMN, COUNTRY, Cell, KIND, ORGANISATION, PURPOSE, ROLE, SECTOR, Space, TIME},
    },
};

/// Both languages at once.
pub(in crate::policy) fn text(en: impl Into<String>, fr: impl Into<String>) -> Text {
    Text { fr: fr.into(), en: en.into() }
}

/// A sentence for what is in the box: what its participants can do from now on, or can no longer do.
pub(super) fn sentence(space: &Space, cell: &Cell, gained: bool) -> Text {
    let parts = Parts { space, cell };
    let uses = !cell.dims[ACTION].is_subset(&space.actions(&[Action::Discover]));
    let mut said = parts.who();
    push(
        &mut said,
        &match (gained, parts.is_one()) {
            (true, true) => text(" can now", " peut désormais"),
            (true, false) => text(" can now", " peuvent désormais"),
            (false, true) => text(" can no longer", " ne peut plus"),
            (false, false) => text(" can no longer", " ne peuvent plus"),
        },
    );
    push(&mut said, &parts.actions());
    if uses {
        push(&mut said, &parts.columns());
        push(&mut said, &parts.purposes());
    }
    if let Some(time) = parts.time() {
        push(&mut said, &time);
    }
    said
}

/// The sentence, of several columns that are used in one query.
pub(super) fn at_once(sentence: Text) -> Text {
    let mut said = sentence;
    let (en, fr) = (", all at once, at least in part", ", toutes à la fois, au moins en partie");
    push(&mut said, &text(en, fr));
    said
}

/// The sentence, except for what these rules say: permits of the other version, denies of the same one.
pub(super) fn except(sentence: Text, permits: &[&Rule], denies: &[&Rule], gained: bool) -> Text {
    let names = |rules: &[&Rule]| quoted(rules.iter().map(|rule| &rule.id));
    let mut said = sentence;
    if !permits.is_empty() {
        let names = names(permits);
        let (en, fr) =
            if gained { ("permitted already", "permettait déjà") } else { ("still permits", "permet encore") };
        push(&mut said, &text(format!(", except what {names} {en}"), format!(", sauf ce que {names} {fr}")));
    }
    if !denies.is_empty() {
        let names = names(denies);
        let (en, fr) = if gained { ("denies", "interdit") } else { ("denied anyway", "interdisait de toute façon") };
        push(&mut said, &text(format!(", except what {names} {en}"), format!(", sauf ce que {names} {fr}")));
    }
    said
}

/// What makes the box narrower than `base`, clause by clause, joined by commas; empty if nothing does.
pub(in crate::policy) fn narrower(space: &Space, cell: &Cell, base: &Cell) -> Text {
    let parts = Parts { space, cell };
    let differs = |dim: usize| cell.dims[dim] != base.dims[dim];
    let mut said = Vec::new();
    if differs(ACTION) {
        let actions = parts.actions();
        said.push(text(format!("to{}", actions.en), format!("pour{}", actions.fr)));
    }
    let about = [ORGANISATION, KIND, SECTOR, COUNTRY, ROLE];
    let accredited = (ACCREDITATION..cell.dims.len()).any(differs);
    if about.into_iter().any(differs) || accredited {
        let who = parts.who();
        said.push(text(format!("for {}", who.en), format!("pour {}", who.fr)));
    }
    if differs(COLUMN) {
        let columns = parts.columns();
        said.push(text(
            columns.en.trim_start().trim_start_matches("of "),
            columns.fr.trim_start().trim_start_matches("de "),
        ));
    }
    if differs(PURPOSE) {
        let purposes = parts.purposes();
        said.push(text(purposes.en.trim_start(), purposes.fr.trim_start()));
    }
    if let Some(time) = parts.time().filter(|_| differs(TIME)) {
        said.push(text(time.en.trim_start(), time.fr.trim_start()));
    }
    let join = |of: fn(&Text) -> &String| said.iter().map(of).map(String::as_str).collect::<Vec<_>>().join(", ");
    text(join(|t| &t.en), join(|t| &t.fr))
}

/// An instant; midnight UTC as its day.
pub(in crate::policy) fn instant(at: Timestamp) -> String {
    let full = at.to_string();
    full.strip_suffix("T00:00:00.000000Z").map_or_else(|| full.replace(".000000Z", "Z"), str::to_owned)
}

/// Most names of one list in a sentence.
const MOST_NAMES: usize = 10;

/// Names in code quotes, joined by commas: the first ones, and how many more there are.
pub(in crate::policy) fn quoted_few<T: std::fmt::Display>(names: impl IntoIterator<Item = T>) -> Text {
    let names: Vec<T> = names.into_iter().collect();
    let more = names.len().saturating_sub(MOST_NAMES);
    let said = quoted(names.into_iter().take(MOST_NAMES));
    match more {
        0 => text(said.clone(), said),
        1 => text(format!("{said} and one more"), format!("{said} et un autre")),
        more => text(format!("{said} and {more} more"), format!("{said} et {more} autres")),
    }
}

/// Names in code quotes, joined by commas.
pub(in crate::policy) fn quoted<T: std::fmt::Display>(names: impl IntoIterator<Item = T>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn push(said: &mut Text, more: &Text) {
    said.en.push_str(&more.en);
    said.fr.push_str(&more.fr);
}

struct Parts<'a> {
    space: &'a Space,
    cell: &'a Cell,
}

impl Parts<'_> {
    fn is_full(&self, dim: usize) -> bool {
        self.cell.dims[dim] == Bits::all(self.space.sizes()[dim])
    }

    fn who(&self) -> Text {
        let mut said = self.participants();
        for (dim, names, en, fr) in
            [(SECTOR, &self.space.sectors, "sector", "secteur"), (COUNTRY, &self.space.countries, "country", "pays")]
        {
            if let Some((en, fr)) = self.attribute(dim, names, en, fr) {
                push(&mut said, &text(en, fr));
            }
        }
        let accredited = self.space.accreditations.iter().enumerate();
        for (at, name) in accredited.filter(|(at, _)| !self.is_full(ACCREDITATION + at)) {
            let more = if self.cell.dims[ACCREDITATION + at].contains(1) {
                text(format!(" accredited `{name}`"), format!(" avec l'accréditation `{name}`"))
            } else {
                text(format!(" not accredited `{name}`"), format!(" sans l'accréditation `{name}`"))
            };
            push(&mut said, &more);
        }
        if !self.is_full(ROLE) {
            let held: Vec<_> = self.cell.dims[ROLE].iter().map(|atom| self.space.role_sets[atom].clone()).collect();
            push(&mut said, &roles::text_of(&self.space.role_sets, &held));
        }
        let excepted = self.organisations(false);
        if self.names_others() && !excepted.is_empty() {
            push(&mut said, &text(format!(", but not {excepted},"), format!(", mais pas {excepted},")));
        }
        said
    }

    /// The participants that are named and are, or are not, inside.
    fn organisations(&self, inside: bool) -> String {
        let organisations = &self.cell.dims[ORGANISATION];
        let all = self.space.organisations.iter().enumerate();
        quoted(all.filter(|(atom, _)| organisations.contains(*atom) == inside).map(|(_, name)| name))
    }

    /// Whether participants that no rule names are inside.
    fn names_others(&self) -> bool {
        self.cell.dims[ORGANISATION].contains(self.space.organisations.len())
    }

    fn is_one(&self) -> bool {
        !self.names_others() && self.cell.dims[ORGANISATION].iter().count() == 1
    }

    fn participants(&self) -> Text {
        let kinds = self.kinds();
        if self.names_others() {
            return kinds.unwrap_or_else(|| text("all participants", "tous les participants"));
        }
        let only = self.organisations(true);
        match kinds {
            None => text(only.clone(), only),
            Some(kinds) => text(format!("{only} ({})", kinds.en), format!("{only} ({})", kinds.fr)),
        }
    }

    fn kinds(&self) -> Option<Text> {
        if self.is_full(KIND) {
            return None;
        }
        let name = |kind: Kind| match kind {
            Kind::Company => ("companies", "les entreprises"),
            Kind::Lab => ("labs", "les laboratoires"),
            Kind::PublicBody => ("public bodies", "les organismes publics"),
        };
        let names: Vec<_> = self.cell.dims[KIND].iter().map(|atom| name(Kind::ALL[atom])).collect();
        Some(text(list(names.iter().map(|(en, _)| *en), "and"), list(names.iter().map(|(_, fr)| *fr), "et")))
    }

    /// An attribute of which the last two atoms are any other value and none known.
    fn attribute(&self, dim: usize, names: &[String], en: &str, fr: &str) -> Option<(String, String)> {
        if self.is_full(dim) {
            return None;
        }
        let atoms = &self.cell.dims[dim];
        let (others, unknown) = (atoms.contains(names.len()), atoms.contains(names.len() + 1));
        let some = |inside: bool| -> Vec<&String> {
            names.iter().enumerate().filter(|(atom, _)| atoms.contains(*atom) == inside).map(|(_, name)| name).collect()
        };
        let (inside, outside) = (some(true), some(false));
        let is_eu = dim == COUNTRY && is_union(&inside);
        let is_not_eu = dim == COUNTRY && is_union(&outside);
        let (mut said_en, mut said_fr) = match (others, inside.is_empty(), outside.is_empty()) {
            (false, false, _) if is_eu => (" of the EU".to_owned(), " de l'UE".to_owned()),
            (false, false, _) if dim == COUNTRY && union_but(&inside).is_some() => {
                let but = quoted(union_but(&inside).unwrap_or_default());
                (format!(" of the EU but {but}"), format!(" de l'UE sauf {but}"))
            }
            (false, false, _) => {
                let names = quoted(inside);
                (format!(" of {en} {names}"), format!(" de {fr} {names}"))
            }
            (true, _, false) if is_not_eu => (" from outside the EU".to_owned(), " hors de l'UE".to_owned()),
            (true, _, false) => {
                let names = quoted(outside);
                (format!(" of any {en} but {names}"), format!(" de tout {fr} sauf {names}"))
            }
            (true, _, true) => (format!(" of any {en}"), format!(" de tout {fr}")),
            (false, true, _) => (String::new(), String::new()),
        };
        if unknown {
            let or = if said_en.is_empty() { ("", "") } else { (" or", " ou") };
            said_en = format!("{said_en}{} of unknown {en}", or.0);
            said_fr = format!("{said_fr}{} de {fr} inconnu", or.1);
        } else if others {
            said_en.push_str(" that is known");
            said_fr.push_str(" connu");
        }
        Some((said_en, said_fr))
    }

    fn actions(&self) -> Text {
        let name = |action: Action| match action {
            Action::Discover => ("see the catalog entry", "voir la fiche du catalogue"),
            Action::Read => ("query rows", "interroger les lignes"),
            Action::Aggregate => ("query aggregates", "interroger des agrégats"),
            Action::Download => ("download rows", "télécharger des lignes"),
        };
        let names: Vec<_> = self.cell.dims[ACTION].iter().map(|atom| name(Action::ALL[atom])).collect();
        let en = list(names.iter().map(|(en, _)| *en), "and");
        let fr = list(names.iter().map(|(_, fr)| *fr), "et");
        text(format!(" {en}"), format!(" {fr}"))
    }

    fn columns(&self) -> Text {
        let columns = &self.cell.dims[COLUMN];
        let columns_of = |inside: bool| {
            let all = self.space.columns.iter().enumerate();
            all.filter(|(atom, _)| columns.contains(*atom) == inside).map(|(_, name)| name).collect::<Vec<_>>()
        };
        let (inside, outside) = (columns_of(true), columns_of(false));
        // Every column of the dataset has a name here.
        let closed = self.space.columns.len() == self.space.sizes()[COLUMN];
        if self.is_full(COLUMN) {
            text(" of every column", " de toutes les colonnes")
        } else if columns.contains(self.space.columns.len()) || (closed && outside.len() < inside.len() / 2) {
            let names = quoted(outside);
            text(format!(" of every column but {names}"), format!(" de toutes les colonnes sauf {names}"))
        } else if let [one] = inside.as_slice() {
            text(format!(" of column `{one}`"), format!(" de la colonne `{one}`"))
        } else {
            let names = quoted(inside);
            text(format!(" of columns {names}"), format!(" des colonnes {names}"))
        }
    }

    fn purposes(&self) -> Text {
        let purposes = &self.cell.dims[PURPOSE];
        let size = self.space.sizes()[PURPOSE];
        let roots = self.roots(purposes);
        let spanned = roots.iter().fold(Bits::none(size), |all, root| all.or(self.space.below(*root)));
        let excepted = spanned.less(purposes);
        let slugs = |atoms: &[usize]| quoted(atoms.iter().map(|atom| &self.space.purposes[*atom]));
        if self.is_full(PURPOSE) {
            return text(" for any purpose", " pour toute finalité");
        }
        let missing = Bits::all(size).less(purposes);
        let missing_roots = self.roots(&missing);
        let missing_spans = missing_roots.iter().fold(Bits::none(size), |all, root| all.or(self.space.below(*root)));
        if missing_spans == missing && missing_roots.len() < roots.len() {
            let names = slugs(&missing_roots);
            return text(format!(" for any purpose but {names}"), format!(" pour toute finalité sauf {names}"));
        }
        if excepted.is_empty() {
            let names = slugs(&roots);
            return text(format!(" for {names}"), format!(" pour {names}"));
        }
        let but = self.roots(&excepted);
        let but_spans = but.iter().fold(Bits::none(size), |all, root| all.or(self.space.below(*root)));
        if but_spans.intersects(purposes) {
            let names = slugs(&purposes.iter().collect::<Vec<_>>());
            return text(format!(" for exactly {names}"), format!(" pour exactement {names}"));
        }
        let (names, but) = (slugs(&roots), slugs(&but));
        text(format!(" for {names} but not {but}"), format!(" pour {names} mais pas {but}"))
    }

    /// The purposes of a set that are below no other one of it.
    fn roots(&self, purposes: &Bits) -> Vec<usize> {
        let below_another =
            |atom: usize| purposes.iter().any(|other| other != atom && self.space.below(other).contains(atom));
        purposes.iter().filter(|atom| !below_another(*atom)).collect()
    }

    fn time(&self) -> Option<Text> {
        if self.is_full(TIME) {
            return None;
        }
        let edges = &self.space.edges;
        let atoms: Vec<usize> = self.cell.dims[TIME].iter().collect();
        let spans = atoms.chunk_by(|a, b| a + 1 == *b).filter_map(|span| Some((*span.first()?, *span.last()?)));
        let said: Vec<Text> = spans
            .map(|(first, last)| {
                let (from, until) =
                    (first.checked_sub(1).map(|at| instant(edges[at])), edges.get(last).copied().map(instant));
                match (from, until) {
                    (Some(from), Some(until)) => {
                        text(format!("from {from} until {until}"), format!("du {from} au {until}"))
                    }
                    (Some(from), None) => text(format!("from {from} on"), format!("à partir du {from}")),
                    (None, Some(until)) => text(format!("until {until}"), format!("jusqu'au {until}")),
                    (None, None) => text("at any time", "à tout moment"),
                }
            })
            .collect();
        let en = list(said.iter().map(|t| t.en.as_str()), "and");
        let fr = list(said.iter().map(|t| t.fr.as_str()), "et");
        Some(text(format!(" {en}"), format!(" {fr}")))
    }
}

fn is_union(countries: &[&String]) -> bool {
    let all: BTreeSet<&str> = countries.iter().map(|country| country.as_str()).collect();
    all == crate::policy::usage::EU.into_iter().collect()
}

/// The few member states that are missing, if all others of the EU are there and nobody else is.
fn union_but(countries: &[&String]) -> Option<Vec<&'static str>> {
    let union = crate::policy::usage::EU;
    let inside = countries.iter().all(|country| union.contains(&country.as_str()));
    let missing: Vec<_> = union.into_iter().filter(|state| !countries.iter().any(|one| one == state)).collect();
    (inside && missing.len() < union.len() / 2).then_some(missing)
}

/// `a, b and c`.
fn list<'a>(parts: impl Iterator<Item = &'a str>, and: &str) -> String {
    let parts: Vec<&str> = parts.collect();
    match parts.split_last() {
        None => String::new(),
        Some((one, [])) => (*one).to_owned(),
        Some((last, rest)) => format!("{} {and} {last}", rest.join(", ")),
    }
}
