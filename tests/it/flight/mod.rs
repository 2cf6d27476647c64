//! Flight SQL on the wire, with the client of `arrow-flight`; real drivers run in `tests/clients`.

mod client;
mod lists;
mod logins;
mod prepared;
mod queries;
mod streams;
mod tickets;
