//! The words of the hub as types: ids, state machines and documents, without I/O, clock or transport.
//!
//! Everything above may use this layer; it may use only [`crate::error`]. A transition of a state machine
//! consumes the old state and can fail, so an object in a state it cannot reach is not representable.

mod access_request;
mod audit_entry;
mod caller;
mod charter;
mod consent;
mod dataset;
mod decision;
mod digest;
mod filter;
mod grant;
mod half_year;
mod id;
mod member;
mod page;
mod participant;
mod policy;
mod purpose;
mod siren;
mod time;

pub use access_request::{AccessRequest, AccessRequestState, Ask, approval_object};
pub use audit_entry::{AuditEvent, EntryDraft, EntryKind, Receipt};
pub use caller::{Caller, Credential};
pub use charter::Charter;
pub use consent::{ConsentChange, ConsentCounts, ConsentState};
pub use dataset::{Access, Column, ColumnNote, ColumnRole, ColumnType, Dataset, DatasetState, Snapshot, SubjectKey};
pub use decision::{Clause, Decision, Permit, RuleOutcome, RuleTrace};
pub use digest::Digest;
pub use filter::{CompareOp, Filter, Value};
pub use grant::{Grant, GrantState};
pub use half_year::HalfYear;
pub use id::{AccessRequestId, DatasetId, GrantId, MemberId, Name, ParticipantId, QueryId, RequestId, SnapshotId};
pub use member::{Member, MemberState, Role};
pub use page::{Page, PageRequest};
pub use participant::{Kind, Participant, ParticipantState};
pub use policy::{
    Action, Billionths, Bounds, Columns, Delta, Duty, Effect, Epsilon, How, Interval, LegalBasis, Mask, Policy,
    PolicyState, PolicyVersion, Privacy, Rule, Template, Text, Who, Window,
};
pub use purpose::{Purpose, PurposeSlug, Vocabulary};
pub use siren::Siren;
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
