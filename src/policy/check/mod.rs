//! What stands against publishing a policy, and what its owner should think twice about.
//!
//! Errors are terms that the hub could not honour: a policy with one is refused, so that nothing in a published
//! policy is silently ignored (P8). Warnings are about what is allowed but probably not meant. Both are told in
//! French and English with the path of the term. [`coverage()`] says of each term whether the hub enforces it.

mod country;
mod coverage;
mod how;
mod limits;
mod rule;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

pub use coverage::{Coverage, Covered, coverage};

use super::analysis::{self, Surroundings};
use crate::{
    domain::{Column, Dataset, Policy, Text, Vocabulary},
    error::{Error, Reason, Result},
};

/// Most rules of one policy: each adds to the cost of every decision.
pub const MAX_RULES: usize = 200;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// The policy can be published, but may not do what was meant.
    Warning,
    /// The policy cannot be published.
    Error,
}

/// Something that stands out in a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it weighs.
    pub severity: Severity,
    /// Which term, for example `rules[0].how.masks.age`.
    pub path: String,
    /// What is the matter, in English.
    pub message_en: String,
    /// What is the matter, in French.
    pub message_fr: String,
}

/// Everything that stands out, in the policy's order; then what its rules amount to together.
pub fn check(policy: &Policy, dataset: &Dataset, vocabulary: &Vocabulary) -> Vec<Finding> {
    check_among(policy, dataset, vocabulary, &Surroundings::default())
}

/// As [`check`], by what is known of those who take part, and of the time.
pub fn check_among(
    policy: &Policy,
    dataset: &Dataset,
    vocabulary: &Vocabulary,
    around: &Surroundings<'_>,
) -> Vec<Finding> {
    let mut checker = Checker { policy, dataset, vocabulary, findings: Vec::new() };
    checker.document();
    for (index, rule) in policy.rules.iter().enumerate() {
        checker.rule(&format!("rules[{index}]"), rule);
    }
    checker.how("floor", &policy.floor);
    checker.honoured();
    checker.findings.extend(analysis::findings(policy, dataset, vocabulary, around));
    checker.findings
}

/// Refuses what has an error: `POLICY_INVALID` with the first of them.
pub fn require_no_error(findings: &[Finding]) -> Result<()> {
    match findings.iter().find(|finding| finding.severity == Severity::Error) {
        None => Ok(()),
        Some(Finding { path, message_en, message_fr, .. }) => {
            Err(Error::new(Reason::PolicyInvalid).with("path", path).with_words("detail", message_en, message_fr))
        }
    }
}

struct Checker<'a> {
    policy: &'a Policy,
    dataset: &'a Dataset,
    vocabulary: &'a Vocabulary,
    findings: Vec<Finding>,
}

impl Checker<'_> {
    fn error(&mut self, path: impl Into<String>, en: impl Into<String>, fr: impl Into<String>) {
        self.add(Severity::Error, path.into(), en.into(), fr.into());
    }

    fn warning(&mut self, path: impl Into<String>, en: impl Into<String>, fr: impl Into<String>) {
        self.add(Severity::Warning, path.into(), en.into(), fr.into());
    }

    fn add(&mut self, severity: Severity, path: String, message_en: String, message_fr: String) {
        self.findings.push(Finding { severity, path, message_en, message_fr });
    }

    /// What concerns the policy as a whole.
    fn document(&mut self) {
        let policy = self.policy;
        if policy.dataset != self.dataset.id {
            let (id, other) = (&self.dataset.id, &policy.dataset);
            self.error(
                "dataset",
                format!("the policy is about `{other}`, not `{id}`"),
                format!("la politique porte sur `{other}`, pas sur `{id}`"),
            );
        }
        if policy.rules.is_empty() {
            self.error("rules", "no rule: nobody could do anything", "aucune règle : nul ne pourrait rien faire");
        }
        if policy.rules.len() > MAX_RULES {
            self.error("rules", format!("more than {MAX_RULES} rules"), format!("plus de {MAX_RULES} règles"));
        }
        let mut seen = BTreeSet::new();
        for (index, rule) in policy.rules.iter().enumerate() {
            if !seen.insert(&rule.id) {
                self.error(
                    format!("rules[{index}].id"),
                    format!("`{}` is the id of an earlier rule", rule.id),
                    format!("`{}` est l'identifiant d'une règle précédente", rule.id),
                );
            }
        }
    }

    /// No term is taken that the hub neither enforces nor records as a duty (P8).
    fn honoured(&mut self) {
        for term in coverage(self.policy).into_iter().filter(|term| term.coverage == Coverage::Refused) {
            self.error(
                term.path,
                format!("this hub does not enforce this term ({})", term.term.en),
                format!("ce hub n'applique pas ce terme ({})", term.term.fr),
            );
        }
    }

    /// The dataset's column of this name; a finding if there is none.
    fn column(&mut self, path: &str, name: &str) -> Option<Column> {
        let found = self.dataset.columns().iter().find(|column| column.name == name).cloned();
        if found.is_none() {
            let shown = name.escape_debug();
            if self.dataset.snapshot.is_none() {
                self.error(
                    path,
                    format!("column `{shown}` cannot be checked: nothing has been uploaded yet"),
                    format!("la colonne `{shown}` ne peut être vérifiée : rien n'a encore été déposé"),
                );
            } else {
                self.error(
                    path,
                    format!("the dataset has no column `{shown}`"),
                    format!("le jeu de données n'a pas de colonne `{shown}`"),
                );
            }
        }
        found
    }

    /// A text that people will read: not too long, and without characters that cannot be seen or turn others round.
    fn words(&mut self, path: &str, text: &str) {
        if text.chars().count() > 1000 || text.chars().any(|c| is_unseen(c) && c != '\n') {
            self.error(
                path,
                "longer than 1000 characters, or with control characters or invisible ones",
                "plus de 1000 caractères, ou des caractères de contrôle ou invisibles",
            );
        }
    }

    fn localized(&mut self, path: &str, text: &Text) {
        self.words(&format!("{path}.fr"), &text.fr);
        self.words(&format!("{path}.en"), &text.en);
    }
}

/// Control and format characters (Unicode categories Cc and Cf) and separators of lines: what a reader does not see, and
/// what shows a text in another order than it is written in.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
            | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2064}'
            | '\u{2066}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}
