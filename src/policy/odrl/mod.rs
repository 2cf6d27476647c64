//! Usage policies as ODRL 2.2 in JSON-LD: out and in without loss, inside one closed profile.
//!
//! [`to_odrl`] and [`from_odrl`] are each other's inverse: the policy that comes back has the same digest. The profile
//! (`policies/profile/`) is a projection of the domain's types in the compact form that the Dataspace Protocol's JSON
//! Schemas describe; whatever lies outside it is refused with a JSON pointer (RFC 6901), never dropped (P8).
//! [`to_offers`] and [`to_agreement`] are one-way: what a connector that decides by its own rules gets to see, with
//! what it will not enforce. Pure: no network, no clock; contexts are known by an embedded copy alone.

mod constraints;
mod duties;
mod export;
mod import;
mod json;
mod limits;
mod literal;
mod node;
mod peers;
mod terms;
#[cfg(test)]
mod tests;
mod windows;

pub use export::to_odrl;
pub use import::{from_odrl, is_odrl};
pub use peers::{Offers, to_agreement, to_offers};

/// Media type of every document that is written here.
pub const MEDIA_TYPE: &str = "application/ld+json";
