//! The engine end to end, on small objects that each test writes.

mod attacks;
mod limits;
mod policies;
mod privacy;
mod random;
mod rules;
mod sensitivity;
mod support;
