//! Stories of what people do with a hub, and of what they do wrong.

mod anchor;
mod audit_log;
mod decisions;
mod downloads;
mod enrolment;
mod erasure;
mod errors;
mod explanations;
mod foresight;
mod grants;
mod lists;
mod odrl;
mod operations;
mod queries;
mod reports;
mod roles;
mod shards;
mod tiles;
mod tls;
mod uploads;
mod witness;
