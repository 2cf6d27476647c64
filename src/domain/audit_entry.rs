//! What is written to the audit log: the kinds of entries and what each says, before it becomes a leaf.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::{DatasetId, MemberId, ParticipantId, PurposeSlug};

/// Declares the kinds of entries with their names in the log.
macro_rules! entry_kinds {
    ($($(#[$doc:meta])* $variant:ident $name:literal;)+) => {
        /// What an entry records.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum EntryKind { $($(#[$doc])* $variant,)+ }

        impl EntryKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name in the log (`t` of a leaf).
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

entry_kinds! {
    /// The log begins.
    HubInitialised "hub.initialised";
    /// A charter came into force.
    CharterPublished "charter.published";
    /// A participant was invited.
    ParticipantInvited "participant.invited";
    /// A participant gave its identity.
    ParticipantRegistered "participant.registered";
    /// A participant signed the charter.
    CharterSigned "charter.signed";
    /// The operator approved a participant.
    ParticipantApproved "participant.approved";
    /// The operator suspended a participant.
    ParticipantSuspended "participant.suspended";
    /// A member was invited.
    MemberInvited "member.invited";
    /// A member got its first certificate.
    MemberEnrolled "member.enrolled";
    /// A member's roles changed.
    MemberUpdated "member.updated";
    /// A member was revoked.
    MemberRevoked "member.revoked";
    /// A certificate was renewed.
    CertificateIssued "certificate.issued";
    /// A certificate was revoked.
    CertificateRevoked "certificate.revoked";
    /// An access token was minted.
    TokenIssued "token.issued";
    /// A dataset was registered.
    DatasetCreated "dataset.created";
    /// A dataset's entry changed.
    DatasetUpdated "dataset.updated";
    /// A dataset left the catalog.
    DatasetRetired "dataset.retired";
    /// A snapshot became visible.
    SnapshotCreated "snapshot.created";
    /// A policy was drafted.
    PolicyCreated "policy.created";
    /// A policy came into force.
    PolicyPublished "policy.published";
    /// A policy takes no new grants.
    PolicyRetired "policy.retired";
    /// A policy ended with its grants.
    PolicyRevoked "policy.revoked";
    /// A policy was tried on the past.
    PolicySimulated "policy.simulated";
    /// Access was asked for.
    AccessRequested "access.requested";
    /// Access was approved and a grant issued.
    AccessApproved "access.approved";
    /// Access was refused.
    AccessRefused "access.refused";
    /// An access request was withdrawn.
    AccessWithdrawn "access.withdrawn";
    /// A grant was revoked.
    GrantRevoked "grant.revoked";
    /// Consents were imported.
    ConsentsImported "consent.imported";
    /// Consents were withdrawn.
    ConsentsWithdrawn "consent.withdrawn";
    /// A query was decided on, before any data left.
    QueryDecision "query.decision";
    /// A query ended.
    QueryOutcome "query.outcome";
    /// The log was exported.
    AuditExported "audit.exported";
    /// A person or subject was erased.
    Erased "audit.erased";
    /// Old entries were pruned.
    AuditPruned "audit.pruned";
    /// A half-year of the log began; it cites the final checkpoint of the one before.
    ShardBegun "audit.shard";
    /// A call was denied.
    CallDenied "call.denied";
}

/// An entry to append: what happened, to whom it is shown, and what only a commitment of is logged.
#[derive(Debug, Clone)]
pub struct EntryDraft {
    /// What it records.
    pub kind: EntryKind,
    /// The participant that acted; none for the hub itself.
    pub actor: Option<ParticipantId>,
    /// The member that acted; only a salted commitment of it is logged.
    pub member: Option<MemberId>,
    /// Every participant it concerns: each may read the whole entry and counts it without gaps.
    pub parties: BTreeSet<ParticipantId>,
    /// The dataset it is about, for search.
    pub dataset: Option<DatasetId>,
    /// Further datasets that it is about, for search alone: the leaf names them in its facts.
    pub also_about: BTreeSet<DatasetId>,
    /// The purpose it is about, for search.
    pub purpose: Option<PurposeSlug>,
    /// Size of the log up to which policies and consents were evaluated for a decision.
    pub fence: Option<u64>,
    /// Readable facts. No personal data, no SQL, no floats; 64-bit integers as strings.
    pub facts: Map<String, Json>,
    /// Personal or secret values by name: the leaf holds a salted commitment, the value goes to an erasable table.
    pub secrets: Vec<(&'static str, String)>,
}

impl EntryDraft {
    /// An entry of `kind` by the hub itself, without facts.
    pub fn new(kind: EntryKind) -> Self {
        Self {
            kind,
            actor: None,
            member: None,
            parties: BTreeSet::new(),
            dataset: None,
            also_about: BTreeSet::new(),
            purpose: None,
            fence: None,
            facts: Map::new(),
            secrets: Vec::new(),
        }
    }

    /// An entry of `kind` by `caller`, which concerns the caller's participant.
    pub fn by(kind: EntryKind, caller: &super::Caller) -> Self {
        let mut draft = Self::new(kind).concerning(&caller.participant);
        draft.actor = Some(caller.participant.clone());
        draft.member = Some(caller.member);
        draft
    }

    /// Adds a participant it concerns.
    #[must_use]
    pub fn concerning(mut self, party: &ParticipantId) -> Self {
        self.parties.insert(party.clone());
        self
    }

    /// Says that it is about `dataset`, which concerns the owner.
    #[must_use]
    pub fn about(mut self, dataset: &DatasetId) -> Self {
        self.dataset = Some(dataset.clone());
        self.concerning(&dataset.owner.clone())
    }

    /// Says that it is about `dataset` among others, which concerns the owner. The facts have to name it.
    #[must_use]
    pub fn about_also(mut self, dataset: &DatasetId) -> Self {
        self.also_about.insert(dataset.clone());
        self.concerning(&dataset.owner.clone())
    }

    /// Every dataset it is about, for search.
    pub fn every_dataset(&self) -> BTreeSet<&DatasetId> {
        self.dataset.iter().chain(&self.also_about).collect()
    }

    /// Says for which purpose.
    #[must_use]
    pub fn purpose(mut self, purpose: &PurposeSlug) -> Self {
        self.purpose = Some(purpose.clone());
        self
    }

    /// Says up to which size of the log policies and consents were evaluated.
    #[must_use]
    pub const fn fence(mut self, size: u64) -> Self {
        self.fence = Some(size);
        self
    }

    /// Adds a readable fact. Numbers must be given as strings.
    #[must_use]
    pub fn fact(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a value of which only a commitment is logged. A NUL becomes U+FFFD: no database keeps it as text.
    #[must_use]
    pub fn secret(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.secrets.push((name, value.into().replace('\0', "\u{fffd}")));
        self
    }
}

/// An entry as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// Its index, from 0, without gaps.
    pub index: u64,
    /// The leaf: RFC 8785 JSON, hashed as it is.
    pub leaf: Vec<u8>,
    /// RFC 6962 leaf hash.
    pub leaf_hash: [u8; 32],
}

/// Proof that an act is in the log: where, and the checkpoint that covers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// The entry's index.
    pub index: u64,
    /// RFC 6962 leaf hash of the entry.
    pub leaf_hash: [u8; 32],
    /// The signed checkpoint (C2SP tlog-checkpoint) of the commit that made it durable.
    pub checkpoint: String,
}
