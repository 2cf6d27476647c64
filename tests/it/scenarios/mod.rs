//! Stories of what people do with a hub, and of what they do wrong.

mod decisions;
mod enrolment;
mod errors;
mod explanations;
mod foresight;
mod grants;
mod lists;
mod operations;
mod queries;
mod roles;
mod tls;
mod uploads;
