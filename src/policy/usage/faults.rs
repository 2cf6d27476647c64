//! Each fault, injected: the answer is no, with its own reason, and the alert is raised.

use std::sync::{Arc, Mutex};

use tracing::{Event, Subscriber, field::Visit};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt as _};

use super::{
    generate::{anyone, policy},
    tests::{VOCABULARY, asked, texts},
    *,
};
use crate::domain::{Clause, Who};

/// The names of events and of their faults, as an operator's collector sees them.
#[derive(Clone, Default)]
struct Alerts(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Alerts {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        struct Field(String);

        impl Visit for Field {
            fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
                if field.name() == "fault" {
                    value.clone_into(&mut self.0);
                }
            }

            fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn fmt::Debug) {}
        }

        let mut fault = Field(String::new());
        event.record(&mut fault);
        self.0.lock().unwrap().push(format!("{} {}", event.metadata().name(), fault.0));
    }
}

/// What `run` gives, and the one alert that it raises.
fn alerted<T>(run: impl FnOnce() -> T) -> (T, Vec<String>) {
    let alerts = Alerts::default();
    let given = tracing::subscriber::with_default(tracing_subscriber::registry().with(alerts.clone()), run);
    let heard = alerts.0.lock().unwrap().clone();
    (given, heard)
}

fn raises(fault: Fault, run: impl FnOnce() -> Result<Decision>) {
    let (answer, alerts) = alerted(run);
    let error = answer.unwrap_err();
    assert_eq!(error.reason(), Reason::DecisionFailed, "{}", fault.as_str());
    assert_eq!(Fault::of(&error), Some(fault));
    assert_eq!(alerts, [format!("odh.policy.fault {}", fault.as_str())]);
}

fn decided_by(model: &str) -> Result<Decision> {
    let compiled = CompiledPolicy::with_model(policy(vec![anyone("r1", Effect::Permit)]), model)?;
    decide(&compiled, &asked().question(), &VOCABULARY)
}

/// Decided over this row in place of the rule's own.
fn decided_over(row: Vec<String>) -> Result<Decision> {
    let compiled = CompiledPolicy::assemble(policy(vec![anyone("r1", Effect::Permit)]), vec![row], USAGE_MODEL)?;
    decide(&compiled, &asked().question(), &VOCABULARY)
}

fn row() -> Vec<String> {
    cells::row(&anyone("r1", Effect::Permit))
}

#[test]
fn the_model_as_it_is_raises_nothing() {
    let (decision, alerts) = alerted(|| decided_by(USAGE_MODEL).unwrap());
    assert!(decision.permit.is_some() && alerts.is_empty());
    assert!(decided_over(row()).unwrap().permit.is_some());
}

#[test]
fn an_error_of_the_engine_denies() {
    raises(Fault::Engine, || decided_by(&USAGE_MODEL.replace("action_ok(", "no_such_function(")));
}

#[test]
fn a_panic_of_the_engine_denies_and_the_next_decision_is_made() {
    let panicking = USAGE_MODEL.replace("m = ", "m = regexMatch(\"a\", \"(\") && ");
    raises(Fault::Panic, || decided_by(&panicking));
    assert!(decided_by(USAGE_MODEL).unwrap().permit.is_some());
}

#[test]
fn a_rule_that_is_not_tried_denies() {
    raises(Fault::RuleSkipped, || {
        let two = policy(vec![anyone("r1", Effect::Permit), anyone("r2", Effect::Deny)]);
        let compiled = CompiledPolicy::assemble(two, vec![row()], USAGE_MODEL)?;
        decide(&compiled, &asked().question(), &VOCABULARY)
    });
}

#[test]
fn effects_that_are_combined_in_another_way_deny() {
    for other in [
        USAGE_MODEL.replace(" && !some(where (p.eft == deny))", ""),
        USAGE_MODEL.replace("some(where (p.eft == allow)) && ", ""),
        USAGE_MODEL.replace("some(where (p.eft == allow)) && !some(where (p.eft == deny))", "priority(p.eft) || deny"),
    ] {
        assert_ne!(other, USAGE_MODEL);
        raises(Fault::UnknownEffect, || decided_by(&other));
    }
}

#[test]
fn a_rule_of_an_unknown_effect_denies() {
    for effect in ["Allow", "maybe", "", "allow "] {
        let mut row = row();
        effect.clone_into(row.last_mut().unwrap());
        raises(Fault::UnknownEffect, || decided_over(row));
    }
}

#[test]
fn a_rule_that_does_not_fit_the_model_denies() {
    let mut short = row();
    short.remove(3);
    let long = [row(), vec!["allow".to_owned()]].concat();
    for wrong in [short, long, Vec::new()] {
        raises(Fault::ModelMismatch, || decided_over(wrong));
    }
    raises(Fault::ModelMismatch, || decided_by(&USAGE_MODEL.replace("p = rule, ", "p = rule, more, ")));
}

#[test]
fn a_deny_on_what_the_hub_does_not_know_denies_for_want_of_it_and_is_told() {
    let mut sectors = anyone("no_arms", Effect::Deny);
    sectors.who = Who { sectors: texts(&["arms"]), ..Who::default() };
    let rules = policy(vec![anyone("r1", Effect::Permit), sectors]);
    let mut stranger = asked();
    stranger.who.sector = None;
    let (decision, alerts) = alerted(|| stranger.decide(&rules));
    assert_eq!(decision.permit, None);
    assert_eq!(
        (decision.trace[1].outcome, decision.trace[1].first_failed),
        (RuleOutcome::Unknown, Some(Clause::Sector))
    );
    assert_eq!(alerts, ["odh.policy.fault unknown_attribute"]);
    let refusal = crate::policy::explain::refusal(&decision, &rules, &stranger.who.participant, &[]);
    assert_eq!((refusal.reason(), refusal.params()["clause"].as_str()), (Reason::PolicyDenied, "unknown"));
    assert!(crate::policy::explain::in_full(&decision, &rules).en.contains("`no_arms` (deny) denies, since `sector`"));
    assert!(!crate::policy::explain::for_requester(&decision, &rules, &stranger.who.participant).en.contains("sector"));
    // A permit on it misses, which is no fault.
    let mut lab = anyone("labs", Effect::Permit);
    lab.who = Who { sectors: texts(&["health"]), ..Who::default() };
    let (decision, alerts) = alerted(|| stranger.decide(&policy(vec![lab])));
    assert_eq!((decision.permit, alerts.len()), (None, 0));
}
