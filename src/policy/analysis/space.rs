//! The space of uses in which a rule is a box: one dimension for each clause, cut into atoms that no rule can tell
//! apart any further.
//!
//! A dimension holds the values that the policies name and one atom for all others. Time is cut at each edge of a
//! window; `EU` is its member states; a purpose stands for itself and what is below it through each of its parents;
//! each accreditation is a dimension of its own, of those who lack it and those who hold it. A sector or country that
//! the hub does not know is an atom, too: it misses a permit and fires a deny, as in the decision.

use std::collections::BTreeSet;

use super::bits::Bits;
use crate::{
    domain::{
        Action, Column, Columns, Effect, Kind, ParticipantId, Policy, PurposeSlug, Role, Rule, Timestamp, Vocabulary,
    },
    policy::usage::EU,
};

/// What is done.
pub(in crate::policy) const ACTION: usize = 0;
/// Which participant; the last atom is any that no rule names.
pub(in crate::policy) const ORGANISATION: usize = 1;
/// What kind of participant.
pub(in crate::policy) const KIND: usize = 2;
/// Its sector; the last two atoms are any other and an unknown one.
pub(in crate::policy) const SECTOR: usize = 3;
/// Its country; the last two atoms are any other and an unknown one.
pub(in crate::policy) const COUNTRY: usize = 4;
/// The roles of the member, as a set: none, one, or two ([`role_sets`]). More need not be told apart: whatever two rules
/// ask for, two roles are enough to be meant by both, and with fewer roles fewer rules apply.
pub(in crate::policy) const ROLE: usize = 5;
/// What for.
pub(in crate::policy) const PURPOSE: usize = 6;
/// When: the spans between the edges of windows.
pub(in crate::policy) const TIME: usize = 7;
/// On which column; the last atom may be any that is not named.
pub(in crate::policy) const COLUMN: usize = 8;
/// The first accreditation: lacking it is atom 0, holding it atom 1.
pub(in crate::policy) const ACCREDITATION: usize = 9;

/// The sets of roles that are the atoms of [`ROLE`].
pub(in crate::policy) fn role_sets() -> Vec<BTreeSet<Role>> {
    let mut sets = vec![BTreeSet::new()];
    sets.extend(Role::ALL.map(|role| BTreeSet::from([role])));
    for (at, one) in Role::ALL.iter().enumerate() {
        sets.extend(Role::ALL[at + 1..].iter().map(|other| BTreeSet::from([*one, *other])));
    }
    sets
}

/// The dimensions of some policies over one dataset.
#[derive(Debug)]
pub(in crate::policy) struct Space {
    pub(in crate::policy) organisations: Vec<ParticipantId>,
    pub(in crate::policy) sectors: Vec<String>,
    pub(in crate::policy) countries: Vec<String>,
    pub(in crate::policy) accreditations: Vec<String>,
    pub(in crate::policy) purposes: Vec<PurposeSlug>,
    pub(in crate::policy) columns: Vec<String>,
    pub(in crate::policy) role_sets: Vec<BTreeSet<Role>>,
    /// Instants at which a span ends and the next begins.
    pub(in crate::policy) edges: Vec<Timestamp>,
    /// For each purpose, itself and what is below it.
    below: Vec<Bits>,
    sizes: Vec<usize>,
}

/// A box: what a rule, or a part of it, is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::policy) struct Cell {
    /// By dimension, the atoms inside.
    pub(in crate::policy) dims: Vec<Bits>,
}

impl Cell {
    /// True if no use is inside.
    pub(in crate::policy) fn is_empty(&self) -> bool {
        self.dims.iter().any(Bits::is_empty)
    }

    /// Whether some use is in both.
    pub(in crate::policy) fn intersects(&self, other: &Self) -> bool {
        self.dims.iter().zip(&other.dims).all(|(a, b)| a.intersects(b))
    }

    /// The same with one dimension cut down to these atoms.
    #[must_use]
    pub(in crate::policy) fn within(&self, dim: usize, atoms: &Bits) -> Self {
        let mut cell = self.clone();
        cell.dims[dim] = cell.dims[dim].and(atoms);
        cell
    }
}

impl Space {
    /// The space in which each of these policies can be written. Without `columns` a dataset may have any.
    pub(in crate::policy) fn new(policies: &[&Policy], columns: Option<&[Column]>, vocabulary: &Vocabulary) -> Self {
        let rules = || policies.iter().flat_map(|policy| &policy.rules);
        let named = |of: fn(&Rule) -> &BTreeSet<String>| -> Vec<String> {
            rules().flat_map(of).cloned().collect::<BTreeSet<_>>().into_iter().collect()
        };
        let organisations: BTreeSet<_> = rules().flat_map(|rule| &rule.who.organisations).cloned().collect();
        let organisations: Vec<ParticipantId> = organisations.into_iter().collect();
        let sectors = named(|rule| &rule.who.sectors);
        let accreditations = named(|rule| &rule.who.accreditations);
        let countries: BTreeSet<String> = rules().flat_map(countries_of).collect();
        let countries: Vec<String> = countries.into_iter().collect();
        let purposes: Vec<PurposeSlug> = vocabulary.purposes().map(|purpose| purpose.slug.clone()).collect();
        let below = purposes.iter().map(|general| {
            let covered = purposes.iter().enumerate().filter(|(_, special)| vocabulary.covers(general, special));
            Bits::of(purposes.len(), covered.map(|(atom, _)| atom))
        });
        let below = below.collect();
        let edges: BTreeSet<Timestamp> =
            rules().flat_map(|rule| &rule.when).flat_map(|window| [window.from, window.until]).flatten().collect();
        let edges: Vec<Timestamp> = edges.into_iter().collect();
        let known: Option<BTreeSet<String>> = columns.map(|all| all.iter().map(|column| column.name.clone()).collect());
        let columns: Vec<String> = known.clone().unwrap_or_else(|| mentioned_columns(policies)).into_iter().collect();
        let role_sets = role_sets();
        let mut sizes = vec![
            Action::ALL.len(),
            organisations.len() + 1,
            Kind::ALL.len(),
            sectors.len() + 2,
            countries.len() + 2,
            role_sets.len(),
            purposes.len(),
            edges.len() + 1,
            // What nobody has uploaded yet may have any column.
            columns.len() + usize::from(known.is_none()),
        ];
        sizes.extend(accreditations.iter().map(|_| 2));
        Self { organisations, sectors, countries, accreditations, purposes, columns, role_sets, edges, below, sizes }
    }

    /// How many atoms each dimension has.
    pub(in crate::policy) fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Everything.
    pub(in crate::policy) fn everything(&self) -> Cell {
        Cell { dims: self.sizes.iter().map(|size| Bits::all(*size)).collect() }
    }

    /// What a rule is about: at most two boxes, since whoever only looks at the catalog has neither purpose nor columns.
    /// Boxes without any use are left out.
    pub(in crate::policy) fn cells(&self, rule: &Rule) -> Vec<Cell> {
        let (looks, uses): (Vec<Action>, Vec<Action>) =
            rule.effective_actions().into_iter().partition(|action| *action == Action::Discover);
        let base = self.base(rule);
        let mut cells = Vec::with_capacity(2);
        // A deny limited to some purposes or columns is about use and does not hide the entry.
        let hides = rule.effect == Effect::Permit || rule.purposes.is_empty() && rule.columns.is_all();
        if !looks.is_empty() && hides {
            cells.push(base.within(ACTION, &self.actions(&looks)));
        }
        if !uses.is_empty() {
            let mut cell = base.within(ACTION, &self.actions(&uses));
            cell.dims[PURPOSE] = self.purposes_below(&rule.purposes);
            cell.dims[COLUMN] = self.columns_of(&rule.columns);
            cells.push(cell);
        }
        cells.retain(|cell| !cell.is_empty());
        cells
    }

    /// These actions.
    pub(in crate::policy) fn actions(&self, actions: &[Action]) -> Bits {
        let all = Action::ALL.iter().enumerate();
        Bits::of(self.sizes[ACTION], all.filter(|(_, action)| actions.contains(action)).map(|(atom, _)| atom))
    }

    /// These purposes and what is below them; every purpose if none is given.
    pub(in crate::policy) fn purposes_below(&self, purposes: &BTreeSet<PurposeSlug>) -> Bits {
        if purposes.is_empty() {
            return Bits::all(self.sizes[PURPOSE]);
        }
        let found = purposes.iter().filter_map(|slug| self.purposes.iter().position(|known| known == slug));
        found.fold(Bits::none(self.sizes[PURPOSE]), |all, atom| all.or(&self.below[atom]))
    }

    /// A purpose, by its atom, and what is below it.
    pub(in crate::policy) fn below(&self, purpose: usize) -> &Bits {
        &self.below[purpose]
    }

    /// These columns.
    pub(in crate::policy) fn columns_of(&self, columns: &Columns) -> Bits {
        match columns {
            Columns::All => Bits::all(self.sizes[COLUMN]),
            Columns::Only(names) => {
                let known = self.columns.iter().enumerate().filter(|(_, name)| names.contains(*name));
                Bits::of(self.sizes[COLUMN], known.map(|(atom, _)| atom))
            }
        }
    }

    /// Who and when, with every action, purpose and column.
    fn base(&self, rule: &Rule) -> Cell {
        let deny = rule.effect == Effect::Deny;
        let who = &rule.who;
        let mut cell = self.everything();
        cell.dims[ORGANISATION] = self.one_of(ORGANISATION, &self.organisations, &who.organisations, false);
        cell.dims[KIND] = self.one_of(KIND, &Kind::ALL, &who.kinds, false);
        cell.dims[SECTOR] = self.one_of(SECTOR, &self.sectors, &who.sectors, deny);
        cell.dims[COUNTRY] = self.one_of(COUNTRY, &self.countries, &countries_of(rule), deny);
        if !who.roles.is_empty() {
            let sets = self.role_sets.iter().enumerate().filter(|(_, held)| !held.is_disjoint(&who.roles));
            cell.dims[ROLE] = Bits::of(self.sizes[ROLE], sets.map(|(atom, _)| atom));
        }
        if !rule.when.is_empty() {
            // The span before edge `n` is atom `n`; it begins at the edge before.
            let inside = (0..self.sizes[TIME]).filter(|atom| {
                let (from, until) = (atom.checked_sub(1).map(|edge| self.edges[edge]), self.edges.get(*atom));
                rule.when.iter().any(|window| {
                    window.from.is_none_or(|edge| from.is_some_and(|from| edge <= from))
                        && window.until.is_none_or(|edge| until.is_some_and(|until| *until <= edge))
                })
            });
            cell.dims[TIME] = Bits::of(self.sizes[TIME], inside);
        }
        for (at, accreditation) in self.accreditations.iter().enumerate() {
            if who.accreditations.contains(accreditation) {
                cell.dims[ACCREDITATION + at] = Bits::of(2, [1]);
            }
        }
        cell
    }

    /// The members of a set of which any will do; an empty set asks for nothing. `unknown` adds the last atom.
    fn one_of<T: Ord>(&self, dim: usize, known: &[T], asked: &BTreeSet<T>, unknown: bool) -> Bits {
        let size = self.sizes[dim];
        if asked.is_empty() {
            return Bits::all(size);
        }
        let found = known.iter().enumerate().filter(|(_, value)| asked.contains(value)).map(|(atom, _)| atom);
        Bits::of(size, found.chain(unknown.then(|| size - 1)))
    }
}

/// The countries of a rule, `EU` as its member states.
fn countries_of(rule: &Rule) -> BTreeSet<String> {
    let spell = |country: &String| {
        if country == "EU" { EU.map(str::to_owned).to_vec() } else { vec![country.clone()] }
    };
    rule.who.countries.iter().flat_map(spell).collect()
}

fn mentioned_columns(policies: &[&Policy]) -> BTreeSet<String> {
    let rules = policies.iter().flat_map(|policy| &policy.rules);
    rules
        .filter_map(|rule| match &rule.columns {
            Columns::All => None,
            Columns::Only(names) => Some(names),
        })
        .flatten()
        .cloned()
        .collect()
}
