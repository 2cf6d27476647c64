//! The acts of the hub by family, named as in `policies/hub/policy.csv`.

use std::{fmt, str::FromStr};

use crate::error::Error;

/// Declares a closed list of names.
macro_rules! names {
    ($(#[$doc:meta])* $type:ident $what:literal { $($(#[$variant_doc:meta])* $variant:ident $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $type { $($(#[$variant_doc])* $variant,)+ }

        impl $type {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name used in `policies/hub`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                let found = Self::ALL.iter().copied().find(|each| each.as_str() == text);
                found.ok_or_else(|| Error::invalid($what, text.escape_debug()))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

names! {
    /// What an act is about.
    Family "family" {
        /// Participants and their standing.
        Participant "participant",
        /// Members of a participant.
        Member "member",
        /// Client certificates.
        Certificate "certificate",
        /// Datasets and their snapshots.
        Dataset "dataset",
        /// Usage policies.
        Policy "policy",
        /// Access requests.
        Access "access",
        /// Grants.
        Grant "grant",
        /// Consents of data subjects.
        Consent "consent",
        /// Queries.
        Query "query",
        /// The audit log.
        Audit "audit",
    }
}

names! {
    /// What is done. Not every act exists in every family: no role may do what no template names.
    Act "act" {
        /// Invite a participant or a member.
        Invite "invite",
        /// Let a participant act.
        Approve "approve",
        /// Stop a participant.
        Suspend "suspend",
        /// Read what the domain asked for holds.
        Read "read",
        /// Sign the charter for the participant.
        SignCharter "sign_charter",
        /// Change.
        Update "update",
        /// End at once.
        Revoke "revoke",
        /// Mint an access token that is bound to no certificate.
        IssueToken "issue_token",
        /// Get a fresh certificate.
        Renew "renew",
        /// Create.
        Create "create",
        /// Upload a snapshot.
        Upload "upload",
        /// Take out of use.
        Retire "retire",
        /// See in the catalog.
        Discover "discover",
        /// Put into force.
        Publish "publish",
        /// Try out without effect.
        Check "check",
        /// Ask for access.
        Request "request",
        /// Take a request back, or a consent.
        Withdraw "withdraw",
        /// Approve or refuse a request.
        Decide "decide",
        /// Import consents.
        Import "import",
        /// Run a query.
        Run "run",
        /// Show how a query would be decided and planned.
        Explain "explain",
        /// Read every participant's entries.
        ReadAll "read_all",
        /// Export one's own entries.
        Export "export",
        /// Export every participant's entries.
        ExportAll "export_all",
        /// Erase a person or a subject.
        Erase "erase",
    }
}
