//! What keeps a decision from being made. The answer is no, with a reason of its own, and somebody is told.
//!
//! Each fault is one error event named `odh.policy.fault` (field `alert` is `policy_fault`, field `fault` its name) and
//! one count of the metric `odh_policy_faults_total`, by which `service` shows it. `docs/policy-tests.md` lists them.

use std::fmt;

use crate::error::{Error, Reason};

/// Why no decision could be made. The names are an interface: alerts rely on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The engine returned an error.
    Engine,
    /// The engine panicked.
    Panic,
    /// The engine did not try every rule.
    RuleSkipped,
    /// The model combines effects in another way than the hub does, or a rule has an effect that is neither permit nor
    /// deny.
    UnknownEffect,
    /// A rule does not have the columns of the model, or a policy in force cannot be compiled.
    ModelMismatch,
    /// The clock has gone back, or shows a time that cannot be.
    ClockSkew,
    /// A deny fired because the hub does not know an attribute of the caller that it asks for.
    UnknownAttribute,
    /// Memberships did not come into force: those before still are.
    ReloadFailed,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 8] = [
        Self::Engine,
        Self::Panic,
        Self::RuleSkipped,
        Self::UnknownEffect,
        Self::ModelMismatch,
        Self::ClockSkew,
        Self::UnknownAttribute,
        Self::ReloadFailed,
    ];

    /// The name in events, metrics and refusals.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Engine => "engine_error",
            Self::Panic => "engine_panic",
            Self::RuleSkipped => "rule_skipped",
            Self::UnknownEffect => "unknown_effect",
            Self::ModelMismatch => "model_mismatch",
            Self::ClockSkew => "clock_skew",
            Self::UnknownAttribute => "unknown_attribute",
            Self::ReloadFailed => "reload_failed",
        }
    }

    /// Tells the operator, and gives the refusal `DECISION_FAILED`. `detail` is for the operator alone.
    pub fn raise(self, detail: impl fmt::Display) -> Error {
        self.alert(detail);
        Error::new(Reason::DecisionFailed).with("fault", self.as_str())
    }

    /// Tells the operator of what is denied for another reason already.
    pub fn alert(self, detail: impl fmt::Display) {
        tracing::error!(name: "odh.policy.fault", alert = "policy_fault", fault = self.as_str(), %detail, "denied");
    }

    /// The fault that a refusal is for.
    pub fn of(error: &Error) -> Option<Self> {
        let name = error.params().get("fault").filter(|_| error.reason() == Reason::DecisionFailed)?;
        Self::ALL.into_iter().find(|fault| fault.as_str() == name)
    }
}
