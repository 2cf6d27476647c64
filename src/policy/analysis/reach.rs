//! Permits that no use can reach because denies cover them, whole or in part, and where the two meet.

use std::collections::BTreeSet;

use super::{
    Analyst, Bits,
    space::{ACTION, COLUMN, Cell, PURPOSE},
};
use crate::{
    domain::{Columns, Effect},
    policy::{
        check::Severity,
        diff::words::{narrower, quoted_few, text},
    },
};

/// Most meetings that are told of one permit.
const MOST_MEETINGS: usize = 10;

impl Analyst<'_> {
    /// Permits that never apply, and parts of permits that never do.
    pub(super) fn reach(&mut self) {
        let denies = self.rules(Effect::Deny);
        for index in self.rules(Effect::Permit) {
            let cells = self.cells[index].clone();
            let touching: Vec<usize> = denies.iter().copied().filter(|deny| self.touches(*deny, &cells)).collect();
            if cells.is_empty() || touching.is_empty() {
                continue;
            }
            if self.covered(&cells, &touching) {
                let by = self.needed(&cells, &touching, &[]);
                let names = self.names(&by);
                let said = match by.as_slice() {
                    [_] => text(
                        format!("never applies: {} denies all that it permits", names.en),
                        format!("ne s'applique jamais : {} interdit tout ce qu'elle permet", names.fr),
                    ),
                    _ => text(
                        format!("never applies: {} together deny all that it permits", names.en),
                        format!("ne s'applique jamais : {} interdisent ensemble tout ce qu'elle permet", names.fr),
                    ),
                };
                self.say(Severity::Warning, format!("rules[{index}]"), said);
            } else {
                self.dead_parts(index, &cells, &touching);
            }
        }
    }

    /// Terms of a permit that lead nowhere although the permit as a whole does not.
    fn dead_parts(&mut self, index: usize, cells: &[Cell], denies: &[usize]) {
        let rule = self.rule(index).clone();
        let actions = rule.actions.iter().map(|action| (action.as_str().to_owned(), self.space.actions(&[*action])));
        let actions: Vec<(String, Bits)> = actions.collect();
        let purposes = rule
            .purposes
            .iter()
            .map(|slug| (slug.to_string(), self.space.purposes_below(&BTreeSet::from([slug.clone()]))));
        let purposes: Vec<(String, Bits)> = purposes.collect();
        let columns: Vec<(String, Bits)> = match &rule.columns {
            Columns::All => Vec::new(),
            Columns::Only(names) => names
                .iter()
                .map(|name| (name.clone(), self.space.columns_of(&Columns::Only([name.clone()].into()))))
                .collect(),
        };
        let (en, fr) = (["action", "purpose", "column"], ["action", "finalité", "colonne"]);
        for (at, (dim, field, parts)) in
            [(ACTION, "actions", actions), (PURPOSE, "purposes", purposes), (COLUMN, "columns", columns)]
                .into_iter()
                .enumerate()
        {
            if parts.len() < 2 {
                continue;
            }
            let mut dead = Vec::new();
            for (name, atoms) in parts {
                let uses = cells.iter().filter(|cell| dim == ACTION || !self.only_looks(cell));
                let part: Vec<Cell> = uses.map(|cell| cell.within(dim, &atoms)).filter(|c| !c.is_empty()).collect();
                if !part.is_empty() && self.covered(&part, denies) {
                    dead.push(name);
                }
            }
            if !dead.is_empty() {
                let names = quoted_few(dead);
                let said = text(
                    format!("{} {} never applies: it is denied", en[at], names.en),
                    format!("{} {} sans effet : c'est interdit", fr[at], names.fr),
                );
                self.say(Severity::Warning, format!("rules[{index}].{field}"), said);
            }
        }
    }

    /// Where a deny takes part of a permit.
    pub(super) fn conflicts(&mut self) {
        let (permits, denies) = (self.rules(Effect::Permit), self.rules(Effect::Deny));
        for permit in permits {
            let mut told = 0;
            for deny in &denies {
                let meeting = self.meeting(permit, *deny);
                let Some((cell, base)) = meeting.filter(|_| told < MOST_MEETINGS) else { continue };
                let about = narrower(&self.space, &cell, &base);
                if about.is_empty() {
                    continue;
                }
                told += 1;
                let id = self.rule(*deny).id.clone();
                let said = text(
                    format!("`{id}` takes a part of it, {}: the deny wins", about.en),
                    format!("`{id}` en ôte une partie, {} : l'interdiction l'emporte", about.fr),
                );
                self.say(Severity::Info, format!("rules[{permit}]"), said);
            }
        }
    }

    /// A box in which both rules hold, and the permit's box that it lies in.
    fn meeting(&self, permit: usize, deny: usize) -> Option<(Cell, Cell)> {
        let pairs = self.cells[permit].iter().flat_map(|one| self.cells[deny].iter().map(move |other| (one, other)));
        let (one, other) = pairs.into_iter().find(|(one, other)| one.intersects(other))?;
        let both = one.dims.iter().zip(&other.dims).map(|(a, b)| a.and(b));
        Some((Cell { dims: both.collect() }, one.clone()))
    }
}
