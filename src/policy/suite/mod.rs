//! Policy tests: files that say what a policy must decide, and what running them has shown.
//!
//! A test of a usage policy has the policy (or the path of its manifest), participants, and cases: who asks what, and
//! the decision, rule, first failed clause and obligations that must come out. A test of the hub's roles has members
//! and what they may and may not do. Both ask the very functions that serve calls, without store, server or clock; this
//! module reads no file itself. `docs/policy-tests.md` describes the format.

mod coverage;
mod document;
mod roles;
#[cfg(test)]
mod tests;
mod usage;

pub use coverage::{ClauseCoverage, Coverage, RuleCoverage, Subject, percent};

use crate::{
    domain::{Policy, Vocabulary},
    error::{Error, Reason, Result},
    policy::manifest,
};

/// A test file that can be run.
#[derive(Debug)]
pub struct Suite(Kind);

#[derive(Debug)]
enum Kind {
    Usage(Box<usage::Suite>),
    Roles(roles::Suite),
}

/// What running a file has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its cases, in their order.
    pub cases: Vec<CaseReport>,
    /// What they have shown of the policy.
    pub coverage: Coverage,
}

/// What became of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseReport {
    /// Its name.
    pub name: String,
    /// What came out differently; empty if it passed.
    pub mismatches: Vec<Mismatch>,
}

/// Something that came out differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// What of the case: `decision`, `rule`, `first_failed`, `obligations.how` and so on.
    pub what: String,
    /// As the file says.
    pub expected: String,
    /// As it is.
    pub got: String,
}

/// Reads a test file. `load` gives the text of a manifest that the file names by its path, as written there. Refused
/// with `POLICY_INVALID`, with the place in the document: unknown keys, keys given twice, and cases that contradict
/// themselves or name a rule or a participant that is not there.
pub fn parse(text: &str, load: impl FnOnce(&str) -> Result<String>) -> Result<Suite> {
    let kind = match document::parse(text)? {
        document::File::Usage(file) => Kind::Usage(Box::new(usage::Suite::new(*file, load)?)),
        document::File::Roles(file) => Kind::Roles(roles::Suite::new(file)?),
    };
    Ok(Suite(kind))
}

impl Suite {
    /// Runs every case. Fails if the policy itself cannot be used, whatever is asked of it.
    pub fn run(&self, vocabulary: &Vocabulary) -> Result<Report> {
        match &self.0 {
            Kind::Usage(suite) => suite.run(vocabulary),
            Kind::Roles(suite) => suite.run(),
        }
    }
}

/// A manifest that no test names has shown nothing. None if the text is no manifest.
pub fn untested(manifest: &str) -> Option<Coverage> {
    manifest::parse(manifest).ok().map(|policy: Policy| Coverage::of_policy(&policy))
}

impl CaseReport {
    /// True if everything came out as the file says.
    pub const fn passed(&self) -> bool {
        self.mismatches.is_empty()
    }
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: expected {}, got {}", self.what, self.expected, self.got)
    }
}

/// Collects what differs.
#[derive(Debug, Default)]
struct Checks(Vec<Mismatch>);

impl Checks {
    fn equal(&mut self, what: impl Into<String>, expected: &str, got: &str) {
        if expected != got {
            self.0.push(Mismatch { what: what.into(), expected: expected.to_owned(), got: got.to_owned() });
        }
    }
}

/// A document that cannot be meant.
fn refuse<T>(path: impl std::fmt::Display, detail: impl std::fmt::Display) -> Result<T> {
    Err(Error::new(Reason::PolicyInvalid).with("path", path).with("detail", detail))
}
