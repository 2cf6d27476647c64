//! What else can make a difference although nobody gains or loses a use: which of several permits governs an open
//! dataset, what binds the owner, and whether two ways of writing a policy come to the same.

use super::{
    Differ, DifferenceKind, Terms, compare, kind_of, permits,
    words::{quoted_few, text},
};
use crate::domain::{Effect, How, Name, Policy, Rule};

impl Differ<'_> {
    /// Permits that come before others now. A grant names its rule; for an open dataset the first one governs.
    pub(super) fn order(&mut self) {
        let (old, new) = (self.old, self.new);
        for (index, rule) in new.rules.iter().enumerate().filter(|(_, rule)| rule.effect == Effect::Permit) {
            let after = new.rules[index + 1..].iter();
            let overtaken: Vec<&Name> = after
                .filter(|other| self.came_first(other, rule) && self.govern_otherwise((*other, new), (rule, new)))
                .map(|other| &other.id)
                .collect();
            if !overtaken.is_empty() {
                let names = quoted_few(overtaken);
                let said = text(
                    format!("now comes before {}: on an open dataset it governs what both permit", names.en),
                    format!(
                        "passe désormais avant {} : données ouvertes, elle régit ce que toutes permettent",
                        names.fr
                    ),
                );
                self.add(DifferenceKind::Changed, Some(&rule.id), format!("rules[{index}]"), said);
            }
            let gone: Vec<&Name> = permits(old)
                .take_while(|before| before.id != rule.id)
                .filter(|before| permit(new, &before.id).is_none() && permit(old, &rule.id).is_some())
                .filter(|before| self.govern_otherwise((*before, old), (rule, new)))
                .filter(|before| !self.has_successor(before, (old, new), rule))
                .map(|before| &before.id)
                .collect();
            if !gone.is_empty() {
                let names = quoted_few(gone);
                let said = text(
                    format!("no longer comes after {}: on an open dataset it governs what both permitted", names.en),
                    format!(
                        "ne passe plus après {} : données ouvertes, elle régit ce que toutes permettaient",
                        names.fr
                    ),
                );
                self.add(DifferenceKind::Changed, Some(&rule.id), format!("rules[{index}]"), said);
            }
        }
    }

    /// Whether two permits share a use and it makes a difference which of them governs.
    fn govern_otherwise(&self, (one, its): (&Rule, &Policy), (other, others): (&Rule, &Policy)) -> bool {
        let both = one.effect == Effect::Permit && other.effect == Effect::Permit;
        let differ = || {
            let (here, there) = (Terms::of(one, its), Terms::of(other, others));
            one.columns != other.columns || !compare(&here, &there).is_empty()
        };
        both && self.overlap(one, other) && differ()
    }

    /// Whether `one` was a permit before and governed before `other`, or before there was one like that.
    fn came_first(&self, one: &Rule, other: &Rule) -> bool {
        let place = |rule: &Rule| permits(self.old).position(|known| known.id == rule.id);
        match (place(one), place(other)) {
            (Some(one), Some(other)) => one < other,
            (Some(_), None) => !self.has_successor(other, (self.new, self.old), one),
            (None, _) => false,
        }
    }

    /// Whether what a rule of one version that the other lacks permits is there another new rule's, which also comes
    /// before `other`: then that is told instead.
    fn has_successor(&self, rule: &Rule, (its, others): (&Policy, &Policy), other: &Rule) -> bool {
        let before = permits(others).take_while(|one| one.id != other.id);
        before.into_iter().any(|one| permit(its, &one.id).is_none() && self.overlap(one, rule))
    }

    /// What binds the owner's own queries: of the floor all but row filter and masks.
    pub(super) fn floor(&mut self) {
        let own = |policy: &Policy| Terms {
            how: How { row_filter: None, masks: std::collections::BTreeMap::new(), ..policy.floor.clone() },
            legal_basis: None,
            duties: Vec::new(),
        };
        for change in compare(&own(self.old), &own(self.new)) {
            let said = text(
                format!("for the owner's own queries: {}", change.text.en),
                format!("pour les requêtes du propriétaire : {}", change.text.fr),
            );
            let path = change.path.replacen("how", "floor", 1);
            self.add(kind_of(change.direction), None, path, said);
        }
    }

    /// Nothing above has told a difference.
    pub(super) fn nothing_found(&mut self) {
        let said = if self.has_same_effect() {
            text("written differently, to the same effect", "écrite autrement, pour le même effet")
        } else {
            text(
                "nobody gains or loses a use; which rule permits it, and so its terms, may differ",
                "nul ne gagne ni ne perd un usage ; la règle qui le permet, et donc ses conditions, peuvent différer",
            )
        };
        self.add(DifferenceKind::Changed, None, "rules", said);
    }

    /// Whether each rule is, under its id, about the very same uses on the same terms. Their order has been compared.
    fn has_same_effect(&self) -> bool {
        let (old, new) = (self.old, self.new);
        let same = |rule: &Rule| {
            old.rule(rule.id.as_str()).is_some_and(|before| {
                let (here, there) = (Terms::of(before, old), Terms::of(rule, new));
                before.effect == rule.effect
                    && before.actions == rule.actions
                    && before.columns == rule.columns
                    && self.space.cells(before) == self.space.cells(rule)
                    && compare(&here, &there).is_empty()
            })
        };
        old.rules.len() == new.rules.len() && new.rules.iter().all(same)
    }
}

fn permit<'a>(policy: &'a Policy, id: &Name) -> Option<&'a Rule> {
    policy.rule(id.as_str()).filter(|rule| rule.effect == Effect::Permit)
}
