//! Permits that others make superfluous.
//!
//! The two ways in which the hub chooses a rule need two readings. For a restricted dataset the owner grants under one
//! rule, those that state the action before those that only imply it: a permit is superfluous if the same can be had
//! under others on terms that are no stricter. For an open dataset the first rule that permits governs, rows before
//! aggregates and whatever its terms: a later one that is covered never comes to govern.

use super::{
    Analyst,
    cover::{Cover, Piece},
    space::{COLUMN, Cell},
};
use crate::{
    domain::{Access, Action, Columns, Effect},
    policy::{
        check::Severity,
        diff::{Terms, words::text},
    },
};

impl Analyst<'_> {
    pub(super) fn shadows(&mut self) {
        match self.dataset.access {
            Access::Restricted => self.superfluous(),
            Access::Open => self.never_first(),
        }
    }

    /// From the last rule to the first, each against those that are left: what is found can go together.
    fn superfluous(&mut self) {
        let denies = self.rules(Effect::Deny);
        let mut left = self.rules(Effect::Permit);
        let mut found = Vec::new();
        for index in self.rules(Effect::Permit).into_iter().rev() {
            let others: Vec<usize> = left.iter().copied().filter(|other| *other != index).collect();
            if let Some(by) = self.instead_of(index, &others, &denies) {
                left = others;
                found.push((index, by));
            }
        }
        for (index, by) in found.into_iter().rev() {
            let names = self.names(&by);
            self.say(
                Severity::Warning,
                format!("rules[{index}]"),
                text(
                    format!("adds nothing: {} permits the same on terms that are no stricter", names.en),
                    format!(
                        "n'ajoute rien : {} permet la même chose à des conditions qui ne sont pas plus strictes",
                        names.fr
                    ),
                ),
            );
        }
    }

    /// The rules under which all that a permit gives can be had as well; none if something cannot.
    fn instead_of(&mut self, index: usize, others: &[usize], denies: &[usize]) -> Option<Vec<usize>> {
        let rule = self.rule(index).clone();
        let mine = Terms::of(&rule, self.policy);
        let cells = self.cells[index].clone();
        if cells.is_empty() {
            return None;
        }
        let mut instead = Vec::new();
        for action in rule.effective_actions() {
            let serves = |other: &usize| {
                let other = self.rule(*other);
                if action == Action::Discover {
                    return other.actions.contains(&action);
                }
                let chosen = if rule.actions.contains(&action) {
                    other.actions.contains(&action)
                } else {
                    other.effective_actions().contains(&action)
                };
                chosen && Terms::of(other, self.policy).on(&rule.columns).no_stricter_than(&mine)
            };
            let serving: Vec<usize> = others.iter().copied().filter(serves).collect();
            let atoms = self.space.actions(&[action]);
            let part: Vec<Cell> = cells.iter().map(|cell| cell.within(super::ACTION, &atoms)).collect();
            let part: Vec<Cell> = part.into_iter().filter(|cell| !cell.is_empty()).collect();
            let with_denies = [serving.as_slice(), denies].concat();
            // What denies take alone is another finding.
            if serving.is_empty() || self.covered(&part, denies) || !self.covered(&part, &with_denies) {
                return None;
            }
            instead.extend(self.needed(&part, &serving, denies));
        }
        instead.sort_unstable();
        instead.dedup();
        Some(instead)
    }

    /// Rules of an open dataset that come after others which always permit first.
    fn never_first(&mut self) {
        let permits = self.rules(Effect::Permit);
        let denies = self.rules(Effect::Deny);
        let all = super::pieces(self.policy, &self.cells).into_iter();
        // Which columns are asked for depends on the rule itself.
        let every_column = self.space.everything().dims[COLUMN].clone();
        let widened = all.map(|mut piece| {
            piece.cell.dims[COLUMN] = every_column.clone();
            Piece { denies: false, ..piece }
        });
        let Some(cover) = Cover::new(&self.space, widened.collect()) else { return };
        let exact = std::mem::replace(&mut self.cover, cover);
        for index in permits.iter().copied() {
            let rule = self.rule(index).clone();
            let uses = self.cells[index].iter().filter(|cell| !self.only_looks(cell));
            let cells: Vec<Cell> = uses.map(|cell| cell.within(COLUMN, &every_column)).collect();
            if cells.is_empty() || rule.actions.contains(&Action::Discover) {
                continue;
            }
            let reads = rule.effective_actions().contains(&Action::Read);
            let before = permits.iter().copied().filter(|other| {
                let stopped = denies.iter().any(|deny| self.touches(*deny, &self.cells[*other]));
                let gives_rows = self.rule(*other).effective_actions().contains(&Action::Read);
                // Rows come first wherever their rule stands, but for a deny that leaves the aggregates.
                let later = *other > index && !reads && gives_rows && !stopped;
                later || *other < index && (!stopped || self.has_fewer_columns(*other, &rule.columns))
            });
            let before: Vec<usize> = before.collect();
            // Rows are asked for first: whoever gets them never comes to the aggregates.
            let asked = if reads { Action::Read } else { Action::Aggregate };
            let atoms = self.space.actions(&[asked]);
            let part: Vec<Cell> = cells.iter().map(|cell| cell.within(super::ACTION, &atoms)).collect();
            if !before.is_empty() && part.iter().all(|cell| !cell.is_empty()) && self.covered(&part, &before) {
                let by = self.needed(&part, &before, &[]);
                let names = self.names(&by);
                self.say(
                    Severity::Warning,
                    format!("rules[{index}]"),
                    text(
                        format!("never governs a query: {} comes first", names.en),
                        format!("ne régit jamais de requête : {} passe avant", names.fr),
                    ),
                );
            }
        }
        self.cover = exact;
    }

    /// Whether a rule has no column but these, so that each deny that stops it also stops one with these.
    fn has_fewer_columns(&self, rule: usize, columns: &Columns) -> bool {
        self.space.columns_of(&self.rule(rule).columns).is_subset(&self.space.columns_of(columns))
    }
}
