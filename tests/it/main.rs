//! The one integration binary. `harness` boots what the tests need; each other module is a theme.

#![expect(clippy::unwrap_used, reason = "a test ends where the world is not as it should be")]
#![expect(clippy::print_stdout, reason = "what was measured is shown by `--nocapture`")]

mod attacks;
mod faults;
mod flight;
mod harness;
mod hostile;
mod hostile_texts;
mod layering;
mod personas;
mod policies;
mod privacy;
mod promises;
mod scenarios;
mod tutorial;
mod verifiers;
mod verify_by_hand;
mod world;
