//! How many queries run at a time, in all and per member.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    domain::MemberId,
    error::{Error, Reason, Result},
};

/// Counts running queries.
#[derive(Debug, Clone)]
pub struct Slots {
    all: Arc<Semaphore>,
    per_member: Arc<Mutex<HashMap<MemberId, usize>>>,
    most_per_member: usize,
}

/// The right to run one query; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Slots,
    member: MemberId,
    _one_of_all: OwnedSemaphorePermit,
}

impl Slots {
    /// At most `all` queries at a time, `most_per_member` of one member.
    pub fn new(all: usize, most_per_member: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), per_member: Arc::default(), most_per_member }
    }

    /// A slot for a member, or `OVERLOADED`.
    pub(super) fn take(&self, member: MemberId) -> Result<Slot> {
        let overloaded = || Error::new(Reason::Overloaded);
        let permit = Arc::clone(&self.all).try_acquire_owned().map_err(|_| overloaded())?;
        let mut per_member = self.per_member.lock().map_err(|_| overloaded())?;
        let running = per_member.entry(member).or_default();
        if *running >= self.most_per_member {
            return Err(overloaded());
        }
        *running += 1;
        drop(per_member);
        Ok(Slot { slots: self.clone(), member, _one_of_all: permit })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Ok(mut per_member) = self.slots.per_member.lock() else { return };
        if let Some(running) = per_member.get_mut(&self.member) {
            *running -= 1;
            if *running == 0 {
                per_member.remove(&self.member);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    #[test]
    fn a_member_has_its_share_and_gets_it_back() {
        let slots = Slots::new(10, 1);
        let member = MemberId::generate(Timestamp::from_micros(0));
        let slot = slots.take(member).unwrap();
        assert_eq!(slots.take(member).unwrap_err().reason(), Reason::Overloaded);
        drop(slot);
        assert!(slots.take(member).is_ok());
    }
}
