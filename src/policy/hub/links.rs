//! Who holds which role in which domain, as the engine asks for it.
//!
//! casbin's own role manager keeps a graph per domain, for roles that inherit roles, and takes every user whose id is a
//! role's name to hold that role. Roles of the hub inherit nothing, so this is one look-up, and a reload
//! builds no graph for each participant.

use std::collections::HashMap;

use casbin::{MatchingFn, Result, RoleManager};

/// Roles and domains by subject.
#[derive(Debug, Default)]
pub(super) struct Links {
    held: HashMap<String, Vec<(String, String)>>,
}

impl Links {
    /// `subject` holds `role` in `domain`.
    pub(super) fn add(&mut self, subject: String, role: String, domain: String) {
        self.held.entry(subject).or_default().push((role, domain));
    }
}

impl RoleManager for Links {
    fn clear(&mut self) {
        self.held.clear();
    }

    /// Without a domain, as no model of the hub has it, nothing is linked.
    fn add_link(&mut self, subject: &str, role: &str, domain: Option<&str>) {
        if let Some(domain) = domain {
            self.add(subject.to_owned(), role.to_owned(), domain.to_owned());
        }
    }

    /// Patterns are not used: they would make a decision cost as much as there are domains.
    fn matching_fn(&mut self, _: Option<MatchingFn>, _: Option<MatchingFn>) {}

    fn delete_link(&mut self, subject: &str, role: &str, domain: Option<&str>) -> Result<()> {
        if let Some(held) = self.held.get_mut(subject) {
            held.retain(|(own, place)| own != role || Some(place.as_str()) != domain);
        }
        Ok(())
    }

    fn has_link(&self, subject: &str, role: &str, domain: Option<&str>) -> bool {
        let Some(held) = self.held.get(subject) else { return false };
        held.iter().any(|(own, place)| own == role && Some(place.as_str()) == domain)
    }

    fn get_roles(&self, subject: &str, domain: Option<&str>) -> Vec<String> {
        let held = self.held.get(subject).into_iter().flatten();
        held.filter(|(_, place)| Some(place.as_str()) == domain).map(|(role, _)| role.clone()).collect()
    }

    fn get_users(&self, role: &str, domain: Option<&str>) -> Vec<String> {
        let holders = self.held.keys().filter(|subject| self.has_link(subject, role, domain));
        holders.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_held_where_it_was_given_and_nowhere_else() {
        let mut links = Links::default();
        links.add_link("user:ann", "role:steward", Some("org:chu"));
        links.add_link("user:ann", "role:steward", None);
        assert!(links.has_link("user:ann", "role:steward", Some("org:chu")));
        for (user, role, domain) in [
            ("user:ann", "role:steward", Some("org:irit")),
            ("user:ann", "role:steward", None),
            ("user:ann", "role:requester", Some("org:chu")),
            ("role:steward", "role:steward", Some("org:chu")),
            ("user:bob", "role:steward", Some("org:chu")),
        ] {
            assert!(!links.has_link(user, role, domain), "{user} {role} {domain:?}");
        }
        assert_eq!(links.get_roles("user:ann", Some("org:chu")), ["role:steward"]);
        assert_eq!(links.get_users("role:steward", Some("org:chu")), ["user:ann"]);
        links.delete_link("user:ann", "role:steward", Some("org:chu")).unwrap();
        assert!(!links.has_link("user:ann", "role:steward", Some("org:chu")));
    }
}
