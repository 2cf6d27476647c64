//! The engine end to end, on small objects that each test writes.

mod attacks;
mod policies;
mod privacy;
mod rules;
mod sensitivity;
mod support;
