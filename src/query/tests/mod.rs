//! The engine end to end, on small objects that each test writes.

mod attacks;
mod policies;
mod rules;
mod support;
