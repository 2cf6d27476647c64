//! Out and in again is the same policy, with the same digest.

use proptest::prelude::*;

use super::{super::*, *};
use crate::policy::testing::any_policy;

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_out_comes_in_as_the_same_policy(policy in any_policy(purposes())) {
        let text = to_odrl(&policy, &VOCABULARY).unwrap().to_string();
        let again = from_odrl(&text, &VOCABULARY);
        prop_assert_eq!(again.as_ref(), Ok(&policy), "{}", text);
        prop_assert_eq!(again.unwrap().digest(), policy.digest());
    }
}

#[test]
fn a_policy_with_every_term_round_trips() {
    let policy = rich();
    let document = to_odrl(&policy, &VOCABULARY).unwrap();
    let again = from_odrl(&serde_json::to_string_pretty(&document).unwrap(), &VOCABULARY).unwrap();
    assert_eq!(again, policy);
    assert_eq!(to_odrl(&again, &VOCABULARY).unwrap(), document);
}

#[test]
fn the_strategy_is_always_written_since_that_of_odrl_is_another_one() {
    let document = to_odrl(&rich(), &VOCABULARY).unwrap();
    assert_eq!((&document["conflict"], &document["@type"]), (&"prohibit".into(), &"Offer".into()));
    assert_eq!(document["@id"], format!("urn:odh:policy:{}", rich().digest()));
}

#[test]
fn a_document_of_another_id_is_read_and_a_wrong_digest_is_not() {
    let text = to_odrl(&rich(), &VOCABULARY).unwrap().to_string();
    let id = format!("urn:odh:policy:{}", rich().digest());
    let other = text.replace(&id, "https://example.org/policy/7");
    assert_eq!(from_odrl(&other, &VOCABULARY).unwrap(), rich());
    let wrong = text.replace("Recherche", "recherche");
    let error = from_odrl(&wrong, &VOCABULARY).unwrap_err();
    assert_eq!(pointer(&error), "/@id");
}

#[test]
fn what_odrl_has_no_words_for_does_not_go_out() {
    let change = |change: fn(&mut Policy)| {
        let mut policy = rich();
        change(&mut policy);
        pointer(&to_odrl(&policy, &VOCABULARY).unwrap_err()).to_owned()
    };
    assert_eq!(change(|p| p.rules.clear()), "rules");
    assert_eq!(change(|p| p.rules[1].actions.clear()), "rules[1].actions");
    assert_eq!(change(|p| p.rules[2].how.max_rows = Some(1)), "rules[2].how");
    assert_eq!(change(|p| p.rules[2].duties = p.rules[1].duties.clone()), "rules[2].duties");
    assert_eq!(change(|p| p.rules[2].legal_basis = p.rules[1].legal_basis), "rules[2].legal_basis");
    assert_eq!(change(|p| p.rules[3].id = p.rules[1].id.clone()), "rules[3].id");
    let mut policy = rich();
    policy.rules[1].purposes = ["no_such_purpose".parse().unwrap()].into();
    assert_eq!(to_odrl(&policy, &VOCABULARY).unwrap_err().reason(), Reason::PurposeUnknown);
}
