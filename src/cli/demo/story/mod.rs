//! The nine steps, in order.

mod access;
mod audit;
mod consents;
mod crossing;
mod datasets;
mod participants;
mod policies;

use super::{hub::Hub, persona::Cast, stage::Stage};
use crate::cli::failure::Failure;

pub(super) use access::approve_meters;

/// What the story leaves behind.
pub(super) struct Told {
    pub(super) cast: Cast,
}

/// Plays all of it.
pub(super) async fn play(stage: &mut Stage<'_>, hub: &Hub, rows: u32) -> Result<Told, Failure> {
    let operating = Box::pin(participants::boot(stage, hub)).await?;
    let cast = Box::pin(participants::join(stage, hub, operating)).await?;
    let files = Box::pin(datasets::register(stage, hub, &cast, rows)).await?;
    Box::pin(policies::publish(stage, &cast)).await?;
    let grants = Box::pin(access::ask_and_decide(stage, hub, &cast)).await?;
    Box::pin(consents::import(stage, &cast, &files)).await?;
    let before = Box::pin(crossing::cross(stage, &cast)).await?;
    Box::pin(consents::withdraw_and_revoke(stage, &cast, &files, &grants, before)).await?;
    Box::pin(audit::check(stage, hub, &cast)).await?;
    Ok(Told { cast })
}
