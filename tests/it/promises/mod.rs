//! The promises of the hub, one module each, named after it.

mod p10_decisions_cost_the_same_in_a_large_hub;
mod p1_no_answer_without_a_durable_record;
mod p2_revocation_is_immediate;
pub(crate) mod p3_no_acknowledged_write_is_lost;
mod p4_tampering_is_found_offline;
mod p5_no_request_crashes_the_process;
mod p6_what_a_policy_hides_has_no_effect;
mod p7_waiting_for_the_audit_store_is_bounded;
mod p8_every_term_is_enforced_a_duty_or_refused;
mod p9_unknown_and_forbidden_answer_alike;
