//! Permits that no use can reach because a deny covers them whole.
//!
//! A rule is a box: a product of sets, a taxonomy and intervals. So whether one deny contains a permit is exact,
//! clause by clause; that several denies cover a permit only together is not looked for.

use std::collections::BTreeSet;

use super::Checker;
use crate::domain::{Action, Columns, Effect, Rule, Vocabulary, Who, Window};

impl Checker<'_> {
    pub(super) fn reach(&mut self) {
        let rules = &self.policy.rules;
        let denies = || rules.iter().filter(|rule| rule.effect == Effect::Deny);
        for (index, permit) in rules.iter().enumerate().filter(|(_, rule)| rule.effect == Effect::Permit) {
            if let Some(deny) = denies().find(|deny| covers(deny, permit, self.vocabulary)) {
                self.warning(
                    format!("rules[{index}]"),
                    format!("never applies: `{}` denies all that it permits", deny.id),
                    format!("ne s'applique jamais : `{}` interdit tout ce qu'elle permet", deny.id),
                );
            }
        }
    }
}

fn covers(deny: &Rule, permit: &Rule, vocabulary: &Vocabulary) -> bool {
    let uses = permit.actions.iter().any(|action| *action != Action::Discover);
    let discovers = permit.actions.contains(&Action::Discover);
    permit.effective_actions().is_subset(&deny.effective_actions())
        && who_covers(&deny.who, &permit.who)
        && (!uses || uses_cover(deny, permit, vocabulary))
        // A deny limited to some purposes or columns does not hide the entry.
        && (!discovers || (deny.purposes.is_empty() && deny.columns.is_all()))
        && windows_cover(&deny.when, &permit.when)
}

fn uses_cover(deny: &Rule, permit: &Rule, vocabulary: &Vocabulary) -> bool {
    let purposes = deny.purposes.is_empty()
        || !permit.purposes.is_empty()
            && permit
                .purposes
                .iter()
                .all(|asked| deny.purposes.iter().any(|general| vocabulary.covers(general, asked)));
    let columns = match (&deny.columns, &permit.columns) {
        (Columns::All, _) => true,
        (Columns::Only(_), Columns::All) => false,
        (Columns::Only(denied), Columns::Only(permitted)) => permitted.is_subset(denied),
    };
    purposes && columns
}

fn who_covers(deny: &Who, permit: &Who) -> bool {
    any_covers(&deny.organisations, &permit.organisations)
        && any_covers(&deny.kinds, &permit.kinds)
        && any_covers(&deny.sectors, &permit.sectors)
        && any_covers(&deny.countries, &permit.countries)
        && deny.accreditations.is_subset(&permit.accreditations)
        && any_covers(&deny.roles, &permit.roles)
}

/// For sets of which any member will do, and the empty one asks for nothing.
fn any_covers<T: Ord>(wide: &BTreeSet<T>, narrow: &BTreeSet<T>) -> bool {
    wide.is_empty() || !narrow.is_empty() && narrow.is_subset(wide)
}

fn windows_cover(wide: &[Window], narrow: &[Window]) -> bool {
    let contains = |outer: &Window, inner: &Window| {
        let starts = outer.from.is_none_or(|outer| inner.from.is_some_and(|inner| outer <= inner));
        let ends = outer.until.is_none_or(|outer| inner.until.is_some_and(|inner| inner <= outer));
        starts && ends
    };
    wide.is_empty() || !narrow.is_empty() && narrow.iter().all(|inner| wide.iter().any(|outer| contains(outer, inner)))
}
