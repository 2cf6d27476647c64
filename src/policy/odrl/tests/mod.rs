//! What must hold of the profile, for arbitrary policies and for the templates.

mod mutations;
mod peers;
mod published;
mod refusals;
mod round_trip;

use std::sync::LazyLock;

use crate::{
    domain::{Policy, PurposeSlug, Vocabulary},
    error::{Error, Reason},
    policy::{manifest, vocabulary},
};

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| vocabulary::load().unwrap());

fn purposes() -> Vec<PurposeSlug> {
    VOCABULARY.purposes().map(|purpose| purpose.slug.clone()).collect()
}

/// A policy with every term at least once.
fn rich() -> Policy {
    manifest::parse(include_str!("rich.yaml")).unwrap()
}

fn pointer(error: &Error) -> &str {
    assert_eq!(error.reason(), Reason::PolicyInvalid);
    &error.params()["path"]
}
