//! Sets of roles in words: which combinations a box is about.

use std::collections::BTreeSet;

use super::words::{quoted, text};
use crate::domain::{Role, Text};

/// The end of a phrase about members: which roles they hold. `sets` are all combinations there are, `held` some.
pub(super) fn text_of(sets: &[BTreeSet<Role>], held: &[BTreeSet<Role>]) -> Text {
    let is_exactly = |asks: &dyn Fn(&BTreeSet<Role>) -> bool| sets.iter().all(|set| asks(set) == held.contains(set));
    let of = |keep: &dyn Fn(&Role) -> bool| Role::ALL.into_iter().filter(|role| keep(role)).collect::<BTreeSet<_>>();
    let never = of(&|role| !held.iter().any(|set| set.contains(role)));
    let alone = of(&|role| held.contains(&BTreeSet::from([*role])));
    let names = |roles: &BTreeSet<Role>| quoted(roles.iter().map(|role| role.as_str()));
    if is_exactly(&BTreeSet::is_empty) {
        return text(" without any role", " sans aucun rôle");
    }
    if is_exactly(&|set| set.is_disjoint(&never)) {
        let never = names(&never);
        return text(format!(" not in role {never}"), format!(" hors du rôle {never}"));
    }
    if is_exactly(&|set| !set.is_disjoint(&alone) && set.is_disjoint(&never)) {
        let but = if never.is_empty() { (String::new(), String::new()) } else { but_not(&names(&never)) };
        let alone = names(&alone);
        return text(format!(" in role {alone}{}", but.0), format!(" dans le rôle {alone}{}", but.1));
    }
    if let Some(first) = held.iter().find_map(BTreeSet::first) {
        let beside = |role: Role| of(&|other| *other != role && held.contains(&BTreeSet::from([role, *other])));
        let others = beside(*first);
        let these = others.first().map_or_else(BTreeSet::new, |other| beside(*other));
        if is_exactly(&|set| !set.is_disjoint(&these) && !set.is_disjoint(&others)) {
            let (these, others) = (names(&these), names(&others));
            return text(
                format!(" in role {these} and also in role {others}"),
                format!(" dans le rôle {these} et aussi dans le rôle {others}"),
            );
        }
    }
    let each = |none: &str| {
        let one = |set: &BTreeSet<Role>| {
            let names: Vec<&str> = set.iter().map(|role| role.as_str()).collect();
            if names.is_empty() { none.to_owned() } else { format!("`{}`", names.join("` + `")) }
        };
        held.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    text(format!(" with exactly the roles {}", each("none")), format!(" avec exactement les rôles {}", each("aucun")))
}

fn but_not(names: &str) -> (String, String) {
    (format!(" but not {names}"), format!(" mais pas {names}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::analysis::space::role_sets;

    #[test]
    fn combinations_of_roles_are_told_as_shortly_as_they_can_be() {
        use Role::{Auditor, Requester, Steward};
        let said = |asks: &dyn Fn(&BTreeSet<Role>) -> bool| {
            let held: Vec<_> = role_sets().into_iter().filter(|set| asks(set)).collect();
            let said = text_of(&role_sets(), &held);
            assert_ne!(said.en, said.fr);
            said.en
        };
        let has = |set: &BTreeSet<Role>, role| set.contains(&role);
        assert_eq!(said(&BTreeSet::is_empty), " without any role");
        assert_eq!(said(&|set| has(set, Requester)), " in role `requester`");
        assert_eq!(said(&|set| !has(set, Steward)), " not in role `steward`");
        assert_eq!(said(&|set| has(set, Requester) && !has(set, Steward)), " in role `requester` but not `steward`");
        let both = said(&|set| has(set, Requester) && has(set, Steward));
        assert!(both.contains("`requester`") && both.contains(" and also in role ") && both.contains("`steward`"));
        let odd = said(&|set| set.is_empty() || has(set, Requester) && has(set, Auditor));
        assert!(odd.starts_with(" with exactly the roles none, ") && odd.contains("` + `"), "{odd}");
    }
}
