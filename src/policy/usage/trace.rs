//! What each rule had to say, collected while the engine runs: a custom effector that does not stop early.
//!
//! The engine shares one effector among all calls and hands it neither request nor rule, and its functions are
//! plain pointers; but a call runs on one thread from start to end. So the run lives in a thread-local that
//! each stream of effects starts afresh.

use std::cell::RefCell;

use casbin::{EffectKind, Effector, EffectorStream};

use crate::domain::{Clause, RuleOutcome};

/// One rule's outcome and its first clause that did not hold, or that was unknown.
pub(super) type Said = (RuleOutcome, Option<Clause>);

#[derive(Default)]
struct Run {
    missed: Option<Clause>,
    unknown: Option<Clause>,
    said: Vec<Said>,
}

thread_local! {
    static RUN: RefCell<Run> = RefCell::default();
}

/// Notes that `clause` of the rule in hand does not hold; the first one counts.
pub(super) fn missed(clause: Clause) {
    RUN.with_borrow_mut(|run| run.missed = run.missed.or(Some(clause)));
}

/// Notes that `clause` of the deny in hand is unknown, and therefore holds; the first one counts.
pub(super) fn unknown(clause: Clause) {
    RUN.with_borrow_mut(|run| run.unknown = run.unknown.or(Some(clause)));
}

/// Ends the run and returns what the rules said, in their order.
pub(super) fn take() -> Vec<Said> {
    RUN.take().said
}

/// Allows if some rule allows and none denies; sees every rule.
pub(super) struct TraceEffector;

/// How casbin spells the only effect that this effector means.
pub(super) const EXPRESSION: &str = "some(where (p_eft == allow)) && !some(where (p_eft == deny))";

impl Effector for TraceEffector {
    fn new_stream(&self, expression: &str, rules: usize) -> Box<dyn EffectorStream> {
        RUN.take();
        Box::new(TraceStream { understood: expression == EXPRESSION, left: rules, allowed: false, denied: false })
    }
}

struct TraceStream {
    understood: bool,
    left: usize,
    allowed: bool,
    denied: bool,
}

impl EffectorStream for TraceStream {
    fn next(&self) -> bool {
        self.understood && self.allowed && !self.denied
    }

    fn push_effect(&mut self, effect: EffectKind) -> bool {
        let outcome = match effect {
            EffectKind::Allow => RuleOutcome::Permits,
            EffectKind::Deny => RuleOutcome::Denies,
            EffectKind::Indeterminate => RuleOutcome::Misses,
        };
        self.allowed |= outcome == RuleOutcome::Permits;
        self.denied |= outcome == RuleOutcome::Denies;
        RUN.with_borrow_mut(|run| {
            let said = match (outcome, run.missed.take(), run.unknown.take()) {
                (RuleOutcome::Misses, missed, _) => (RuleOutcome::Misses, missed),
                (RuleOutcome::Denies, _, Some(unknown)) => (RuleOutcome::Unknown, Some(unknown)),
                (outcome, ..) => (outcome, None),
            };
            run.said.push(said);
        });
        self.left = self.left.saturating_sub(1);
        self.left == 0
    }
}
