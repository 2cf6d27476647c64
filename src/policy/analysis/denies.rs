//! Denies that change nothing, and terms of one rule that another of its terms has already.
//!
//! Neither is wrong: a deny may be meant for rules to come. So they are worth knowing, no more.

use super::Analyst;
use crate::{
    domain::{Effect, PurposeSlug, Rule, Vocabulary},
    policy::{
        check::Severity,
        diff::words::{quoted_few, text},
        usage::EU,
    },
};

impl Analyst<'_> {
    /// Denies of what nothing permits, and denies of what others deny. From the last one to the first, each against
    /// those that are left: what is found can go together.
    pub(super) fn idle_denies(&mut self) {
        let permits = self.rules(Effect::Permit);
        let mut left = self.rules(Effect::Deny);
        let mut found = Vec::new();
        for index in self.rules(Effect::Deny).into_iter().rev() {
            let cells = self.cells[index].clone();
            if cells.is_empty() {
                continue;
            }
            let others: Vec<usize> = left.iter().copied().filter(|other| *other != index).collect();
            if !permits.iter().any(|permit| self.touches(*permit, &cells)) {
                found
                    .push((index, text("takes nothing: no rule permits it", "n'ôte rien : aucune règle ne le permet")));
            } else if self.covered(&cells, &others) {
                let by = self.needed(&cells, &others, &[]);
                let names = self.names(&by);
                found.push((
                    index,
                    text(
                        format!("takes nothing more: {} denies all of it", names.en),
                        format!("n'ôte rien de plus : {} interdit déjà tout cela", names.fr),
                    ),
                ));
            } else {
                continue;
            }
            left = others;
        }
        for (index, said) in found.into_iter().rev() {
            self.say(Severity::Info, format!("rules[{index}]"), said);
        }
    }

    /// Purposes below another one of their rule, and member states beside `EU`.
    pub(super) fn redundant_terms(&mut self) {
        for index in 0..self.policy.rules.len() {
            let rule = self.rule(index);
            let (purposes, countries) = (below_another(rule, self.vocabulary), within_the_union(rule));
            if !purposes.is_empty() {
                let names = quoted_few(purposes);
                let said = text(
                    format!("{} adds nothing: a purpose above it is named, too", names.en),
                    format!("{} n'ajoute rien : une finalité plus large est nommée aussi", names.fr),
                );
                self.say(Severity::Info, format!("rules[{index}].purposes"), said);
            }
            if !countries.is_empty() {
                let names = quoted_few(countries);
                let said = text(
                    format!("{} adds nothing beside `EU`", names.en),
                    format!("{} n'ajoute rien à côté de `EU`", names.fr),
                );
                self.say(Severity::Info, format!("rules[{index}].who.countries"), said);
            }
        }
    }
}

fn below_another(rule: &Rule, vocabulary: &Vocabulary) -> Vec<String> {
    let above = |slug: &PurposeSlug| rule.purposes.iter().any(|other| other != slug && vocabulary.covers(other, slug));
    rule.purposes.iter().filter(|slug| above(slug)).map(ToString::to_string).collect()
}

fn within_the_union(rule: &Rule) -> Vec<String> {
    let countries = &rule.who.countries;
    let named = countries.iter().filter(|country| EU.contains(&country.as_str()));
    if countries.contains("EU") { named.cloned().collect() } else { Vec::new() }
}
