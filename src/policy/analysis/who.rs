//! Rules that are about nobody who takes part.

use super::{
    Analyst,
    space::{ACCREDITATION, COUNTRY, Cell, KIND, ORGANISATION, ROLE, SECTOR, Space},
};
use crate::{
    domain::{Kind, ParticipantId},
    policy::{
        check::Severity,
        diff::words::{quoted_few, text},
        usage::Attributes,
    },
};

impl Analyst<'_> {
    /// Rules whose parties nobody is, the owner aside: it needs no rule for its own data.
    pub(super) fn nobody(&mut self, participants: Option<&[Attributes]>) {
        let Some(participants) = participants else { return };
        let owner = &self.dataset.id.owner;
        let others: Vec<&Attributes> = participants.iter().filter(|one| one.participant != *owner).collect();
        for index in 0..self.policy.rules.len() {
            let rule = self.rule(index);
            if rule.who.is_anyone() || self.cells[index].is_empty() {
                continue;
            }
            let registered = |id: &ParticipantId| participants.iter().any(|one| one.participant == *id);
            let unknown: Vec<_> = rule.who.organisations.iter().filter(|id| !registered(id)).collect();
            let all_unknown = !unknown.is_empty() && unknown.len() == rule.who.organisations.len();
            let fits = others.iter().any(|one| self.cells[index].iter().any(|cell| self.space.holds(cell, one)));
            if !unknown.is_empty() {
                let names = quoted_few(unknown);
                self.say(
                    Severity::Warning,
                    format!("rules[{index}].who.organisations"),
                    text(
                        format!("no participant is registered as {}", names.en),
                        format!("aucun participant n'est inscrit sous {}", names.fr),
                    ),
                );
            }
            if !fits && !all_unknown {
                self.say(
                    Severity::Warning,
                    format!("rules[{index}].who"),
                    text(
                        "about nobody: no registered participant fits all of it",
                        "ne vise personne : aucun participant inscrit n'y répond en tout point",
                    ),
                );
            }
        }
    }
}

impl Space {
    /// Whether a box is about somebody with these attributes; roles count if they are known.
    fn holds(&self, cell: &Cell, who: &Attributes) -> bool {
        let atom = |known: &[String], value: Option<&String>| match value {
            Some(value) => known.iter().position(|one| one == value).unwrap_or(known.len()),
            None => known.len() + 1,
        };
        let organisations = &self.organisations;
        let organisation = organisations.iter().position(|id| *id == who.participant).unwrap_or(organisations.len());
        let kind = who.kind.and_then(|kind| Kind::ALL.iter().position(|one| *one == kind));
        let role = who.roles.as_ref().is_none_or(|held| {
            let sets = self.role_sets.iter().enumerate().filter(|(_, set)| set.is_subset(held));
            sets.into_iter().any(|(atom, _)| cell.dims[ROLE].contains(atom))
        });
        let accredited = self.accreditations.iter().enumerate().all(|(at, accreditation)| {
            let held = who.accreditations.as_ref().is_some_and(|held| held.contains(accreditation));
            cell.dims[ACCREDITATION + at].contains(usize::from(held))
        });
        role && accredited
            && cell.dims[ORGANISATION].contains(organisation)
            && kind.is_some_and(|kind| cell.dims[KIND].contains(kind))
            && cell.dims[SECTOR].contains(atom(&self.sectors, who.sector.as_ref()))
            && cell.dims[COUNTRY].contains(atom(&self.countries, who.country.as_ref()))
    }
}
