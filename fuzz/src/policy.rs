//! The readers of texts that people and peers send: no text makes one panic, and what is read is written and read again
//! as the same policy.

use std::sync::LazyLock;

use odh::{
    domain::Vocabulary,
    grpc::filter::{Filter, any},
    policy::{
        manifest as yaml,
        odrl::{from_odrl, to_odrl},
        vocabulary,
    },
};

/// The purposes that policies are written with.
pub static WORDS: LazyLock<Vocabulary> = LazyLock::new(|| vocabulary::load().expect("the embedded vocabulary"));

/// A manifest.
pub fn manifest(text: &str) {
    if let Ok(policy) = yaml::parse(text) {
        let again = yaml::to_yaml(&policy).expect("a policy is written");
        assert_eq!(yaml::parse(&again).expect("what is written is read"), policy);
    }
}

/// A policy in ODRL.
pub fn odrl(text: &str) {
    if let Ok(policy) = from_odrl(text, &WORDS) {
        let again = to_odrl(&policy, &WORDS).expect("a policy is written").to_string();
        assert_eq!(from_odrl(&again, &WORDS).expect("what is written is read"), policy);
    }
}

/// A filter of a list.
pub fn filter(text: &str) {
    if let Ok(filter) = Filter::parse(text, &[("type", any), ("state", any)], &["time"]) {
        assert!(filter.terms.iter().all(|term| ["type", "state", "time"].contains(&term.field)));
    }
}
