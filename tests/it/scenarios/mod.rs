//! Stories of what people do with a hub, and of what they do wrong.

mod decisions;
mod enrolment;
mod errors;
mod grants;
mod lists;
mod odrl;
mod operations;
mod queries;
mod reports;
mod roles;
mod tls;
mod uploads;
