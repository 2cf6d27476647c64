//! What was given out and will come back: tickets for one answer each, and prepared statements.
//!
//! A handle is random and says nothing. It is worth something to the member it was given to, for a while, and there are
//! only so many: neither a guess nor a collection of them helps anybody. They are kept in memory, so a connection
//! stays with the replica that it was made to.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{Caller, MemberId, ParticipantId, Timestamp},
    error::{Error, Reason, Result},
    query::{Parameterised, SchemaRef},
    service::QueryRequest,
};

/// How long a ticket can be used.
const TICKET_LIFETIME: Duration = Duration::from_mins(2);
/// How long a prepared statement is kept after its last use.
const STATEMENT_LIFETIME: Duration = Duration::from_hours(1);
/// Most tickets, and most prepared statements, of one member at a time.
const OF_ONE_MEMBER: usize = 64;
/// Most of each in all; a statement has 32 KiB at most.
const IN_ALL: usize = 2_048;

/// A query that was planned and may be fetched once.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    /// What to run.
    pub(super) ask: QueryRequest,
    /// The columns that were announced.
    pub(super) schema: SchemaRef,
}

/// A prepared statement and what was bound to it last.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    /// The purpose and grants that it was prepared for.
    pub(super) ask: QueryRequest,
    /// Its text and places.
    pub(super) text: Parameterised,
    /// The text with the values in their places; none until they are bound.
    pub(super) bound: Option<String>,
}

/// Prepared statements.
pub(super) type Statements = Handles<Statement>;

/// Tickets that were given out, and the answers that are on their way.
#[derive(Debug)]
pub(super) struct Tickets {
    waiting: Handles<Planned>,
    running: Arc<Running>,
}

type Running = Mutex<HashMap<Bytes, (MemberId, CancellationToken)>>;

impl Default for Tickets {
    fn default() -> Self {
        Self { waiting: Handles::new(TICKET_LIFETIME), running: Arc::default() }
    }
}

impl Tickets {
    /// A ticket for one answer.
    pub(super) fn issue(&self, caller: &Caller, now: Timestamp, planned: Planned) -> Result<Bytes> {
        self.waiting.keep(caller, now, planned)
    }

    /// Takes a ticket: it is good once, for the member that it was given to.
    pub(super) fn redeem(&self, caller: &Caller, now: Timestamp, ticket: &Bytes) -> Result<(Planned, Fetching)> {
        let planned = self.waiting.remove(caller, now, ticket).ok_or_else(|| Error::not_found("the ticket"))?;
        let cancelled = CancellationToken::new();
        lock(&self.running).insert(ticket.clone(), (caller.member, cancelled.clone()));
        let fetching = Fetching { ticket: ticket.clone(), running: Arc::clone(&self.running), cancelled };
        Ok((planned, fetching))
    }

    /// Cancels what a ticket stands for, whether it was fetched or not; false if it stands for nothing of the caller's.
    pub(super) fn cancel(&self, caller: &Caller, now: Timestamp, ticket: &Bytes) -> bool {
        if self.waiting.remove(caller, now, ticket).is_some() {
            return true;
        }
        match lock(&self.running).get(ticket) {
            Some((member, cancelled)) if *member == caller.member => {
                cancelled.cancel();
                true
            }
            _ => false,
        }
    }
}

/// An answer on its way; it can be cancelled by its ticket until this is dropped.
#[derive(Debug)]
pub(super) struct Fetching {
    ticket: Bytes,
    running: Arc<Running>,
    /// Cancelled when the caller asks for it.
    pub(super) cancelled: CancellationToken,
}

impl Drop for Fetching {
    fn drop(&mut self) {
        lock(&self.running).remove(&self.ticket);
    }
}

/// Things of members, by handle.
#[derive(Debug)]
pub(super) struct Handles<T> {
    lifetime: Duration,
    kept: Mutex<HashMap<Bytes, Kept<T>>>,
}

#[derive(Debug)]
struct Kept<T> {
    member: MemberId,
    participant: ParticipantId,
    until: Timestamp,
    thing: T,
}

impl Default for Handles<Statement> {
    fn default() -> Self {
        Self::new(STATEMENT_LIFETIME)
    }
}

impl<T: Clone> Handles<T> {
    fn new(lifetime: Duration) -> Self {
        Self { lifetime, kept: Mutex::default() }
    }

    /// Keeps a thing for the caller, or answers `OVERLOADED` if it, or everybody, has too many.
    pub(super) fn keep(&self, caller: &Caller, now: Timestamp, thing: T) -> Result<Bytes> {
        let mut kept = lock(&self.kept);
        kept.retain(|_, one| one.until > now);
        let own = kept.values().filter(|one| one.member == caller.member).count();
        if own >= OF_ONE_MEMBER || kept.len() >= IN_ALL {
            return Err(Error::new(Reason::Overloaded));
        }
        let handle = handle()?;
        let (member, participant) = (caller.member, caller.participant.clone());
        kept.insert(handle.clone(), Kept { member, participant, until: now.plus(self.lifetime), thing });
        Ok(handle)
    }

    /// The caller's thing, changed by `change`, and its life prolonged.
    pub(super) fn with<R>(
        &self,
        caller: &Caller,
        now: Timestamp,
        handle: &Bytes,
        change: impl FnOnce(&mut T) -> R,
    ) -> Option<R> {
        let mut kept = lock(&self.kept);
        let one = kept.get_mut(handle).filter(|one| one.is_of(caller, now))?;
        one.until = now.plus(self.lifetime);
        Some(change(&mut one.thing))
    }

    /// Takes the caller's thing away.
    pub(super) fn remove(&self, caller: &Caller, now: Timestamp, handle: &Bytes) -> Option<T> {
        let mut kept = lock(&self.kept);
        kept.get(handle).filter(|one| one.is_of(caller, now))?;
        kept.remove(handle).map(|one| one.thing)
    }
}

impl<T> Kept<T> {
    fn is_of(&self, caller: &Caller, now: Timestamp) -> bool {
        self.member == caller.member && self.participant == caller.participant && self.until > now
    }
}

/// The maps stay whole whatever panics: each change is one insertion or removal.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 128 random bits, printable, since clients write handles into their logs.
fn handle() -> Result<Bytes> {
    let mut random = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| Error::internal("no randomness"))?;
    let mut text = String::with_capacity(32);
    for byte in random {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(Bytes::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Credential, Kind, ParticipantState};

    fn caller(participant: &str) -> Caller {
        Caller {
            member: MemberId::generate(Timestamp::from_micros(0)),
            participant: participant.parse().unwrap(),
            roles: std::collections::BTreeSet::default(),
            participant_state: ParticipantState::Active,
            kind: Kind::Lab,
            sector: None,
            country: "FR".to_owned(),
            accreditations: std::collections::BTreeSet::default(),
            credential: Credential::UnboundToken { token: "t".to_owned() },
        }
    }

    const NOW: Timestamp = Timestamp::from_micros(1_000_000);

    #[test]
    fn a_handle_is_worth_something_to_its_member_and_for_a_while() {
        let (handles, me, other) = (Handles::new(Duration::from_mins(1)), caller("lab"), caller("lab"));
        let handle = handles.keep(&me, NOW, 1).unwrap();
        let read = |who: &Caller, at: Timestamp| handles.with(who, at, &handle, |thing| *thing);
        assert_eq!((read(&me, NOW), read(&other, NOW)), (Some(1), None));
        assert_eq!(handles.remove(&other, NOW, &handle), None);
        let later = NOW.plus(Duration::from_secs(59));
        assert_eq!(read(&me, later), Some(1), "and its use prolongs it");
        assert_eq!(read(&me, later.plus(Duration::from_secs(59))), Some(1));
        assert_eq!(read(&me, later.plus(Duration::from_secs(200))), None);
        assert_eq!(handles.with(&me, NOW, &Bytes::from_static(b"guess"), |thing| *thing), None);
    }

    #[test]
    fn a_member_has_so_many_and_takes_none_from_others() {
        let (handles, me) = (Handles::new(Duration::from_mins(1)), caller("lab"));
        for _ in 0..OF_ONE_MEMBER {
            handles.keep(&me, NOW, ()).unwrap();
        }
        assert_eq!(handles.keep(&me, NOW, ()).unwrap_err().reason(), Reason::Overloaded);
        handles.keep(&caller("lab"), NOW, ()).unwrap();
        handles.keep(&me, NOW.plus(Duration::from_secs(61)), ()).unwrap();
    }

    #[test]
    fn there_are_only_so_many_in_all() {
        let handles = Handles::new(Duration::from_mins(1));
        let mut made = 0;
        while made < IN_ALL {
            let member = caller("lab");
            for _ in 0..OF_ONE_MEMBER.min(IN_ALL - made) {
                handles.keep(&member, NOW, ()).unwrap();
                made += 1;
            }
        }
        assert!(handles.keep(&caller("lab"), NOW, ()).is_err());
    }
}
