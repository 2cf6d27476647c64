//! How a command fails: an exit code that scripts can use, a text in the user's language, and what to try next.

use std::{collections::BTreeMap, fmt, io, path::Path};

use tonic_types::StatusExt as _;

use super::env::Lang;
use crate::error::{Code, Error, Reason};

/// What the program ends with. Stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything was done.
    Ok = 0,
    /// The hub refused it, or it failed.
    Failed = 1,
    /// The command or what it was given cannot be used.
    Usage = 2,
    /// The object does not exist, or the caller may not do this or see it.
    Denied = 3,
    /// The hub cannot be reached or is not ready.
    Unreachable = 4,
    /// Something that was to be verified is not genuine.
    Unverified = 5,
}

/// Why a command failed.
#[derive(Debug, Clone)]
pub struct Failure(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    exit: Exit,
    reason: Option<String>,
    metadata: BTreeMap<String, String>,
    en: String,
    fr: String,
}

impl Failure {
    /// A failure with its text in English and French.
    pub fn new(exit: Exit, en: impl Into<String>, fr: impl Into<String>) -> Self {
        let inner = Inner { exit, reason: None, metadata: BTreeMap::new(), en: en.into(), fr: fr.into() };
        Self(Box::new(inner))
    }

    /// The command or what it was given cannot be used.
    pub fn usage(en: impl Into<String>, fr: impl Into<String>) -> Self {
        Self::new(Exit::Usage, en, fr)
    }

    /// Something is not genuine.
    pub fn unverified(en: impl Into<String>, fr: impl Into<String>) -> Self {
        Self::new(Exit::Unverified, en, fr)
    }

    /// The hub answered with something that its API does not allow.
    pub fn protocol(detail: &str) -> Self {
        Self::new(
            Exit::Failed,
            format!("the hub's answer cannot be understood: {detail}"),
            format!("la réponse du hub est incompréhensible : {detail}"),
        )
    }

    /// A file cannot be read or written.
    pub fn file(path: &Path, cause: &io::Error) -> Self {
        let path = path.display();
        if cause.kind() == io::ErrorKind::NotFound {
            Self::usage(format!("there is no file `{path}`"), format!("il n'y a pas de fichier `{path}`"))
        } else {
            Self::usage(format!("`{path}` cannot be used: {cause}"), format!("`{path}` est inutilisable : {cause}"))
        }
    }

    /// Writing the answer failed. A reader that has gone away (`odh … | head`) is no failure.
    pub(super) fn output(cause: &io::Error) -> Self {
        if cause.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Ok, "", "");
        }
        Self::new(Exit::Failed, format!("cannot write: {cause}"), format!("écriture impossible : {cause}"))
    }

    /// The same for this stable reason of the API, with what belongs to it; the exit code follows from the reason.
    #[must_use]
    pub fn because(mut self, reason: String, metadata: BTreeMap<String, String>) -> Self {
        let known = Reason::ALL.iter().find(|known| known.name() == reason);
        if let Some(known) = known {
            self.0.exit = exit_of(known.code(), &reason);
        }
        (self.0.reason, self.0.metadata) = (Some(reason), metadata);
        self
    }

    /// What the program ends with.
    pub const fn exit(&self) -> Exit {
        self.0.exit
    }

    /// The stable reason (`google.rpc.ErrorInfo.reason`) if the hub gave one.
    pub fn reason(&self) -> Option<&str> {
        self.0.reason.as_deref()
    }

    /// What the hub says about the reason.
    pub const fn metadata(&self) -> &BTreeMap<String, String> {
        &self.0.metadata
    }

    /// The text.
    pub fn message(&self, lang: Lang) -> &str {
        lang.pick(&self.0.en, &self.0.fr)
    }

    /// What to try next, if there is something: an `odh` command or an action.
    pub fn hint(&self, lang: Lang) -> Option<String> {
        let about = |key: &str, otherwise: &str| self.0.metadata.get(key).map_or(otherwise, String::as_str).to_owned();
        let dataset = || about("dataset", "OWNER.DATASET");
        let hint = match self.reason()? {
            "GRANT_REQUIRED" | "PURPOSE_NOT_PERMITTED" | "GRANT_EXPIRED" => {
                let purpose = about("purpose", "PURPOSE");
                format!("odh access request {} --purpose {purpose} --justification \"...\"", dataset())
            }
            "POLICY_DENIED" => format!("odh policy explain {} --purpose PURPOSE", dataset()),
            "COLUMN_UNKNOWN" => format!("odh dataset show {}", dataset()),
            "PURPOSE_UNKNOWN" => "odh policy purposes".to_owned(),
            "QUERY_REJECTED" => "odh query --explain \"SQL\" --purpose PURPOSE".to_owned(),
            "CHARTER_MISMATCH" => "odh charter show, odh charter sign".to_owned(),
            "PARTICIPANT_NOT_ACTIVE" => lang
                .pick(
                    "odh charter sign; then the operator: odh participant approve",
                    "odh charter sign ; puis l'opérateur : odh participant approve",
                )
                .to_owned(),
            "ROLE_MISSING" => lang
                .pick(
                    "odh member whoami; a participant-admin changes roles: odh member update",
                    "odh member whoami ; un administrateur change les rôles : odh member update",
                )
                .to_owned(),
            "UNAUTHENTICATED" => "odh member renew, odh enroll".to_owned(),
            "ENROLMENT_TOKEN_INVALID" => "odh member invite, odh participant invite".to_owned(),
            // What this side has found when it read the file is all that there is to say.
            "POLICY_INVALID" if self.0.exit != Exit::Usage => "odh policy check -f FILE".to_owned(),
            _ => return None,
        };
        Some(hint)
    }

    /// What is shown to the user: one line that says what happened and why, and one that says what to try.
    pub fn render(&self, lang: Lang) -> String {
        let reason = self.reason().map(|reason| format!(" [{reason}]")).unwrap_or_default();
        let hint = self.hint(lang).map(|hint| format!("\n  {}: {hint}", lang.pick("try", "essayez")));
        let (error, hint) = (lang.pick("error", "erreur"), hint.unwrap_or_default());
        format!("{error}: {}{reason}{hint}", self.message(lang))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Lang::En))
    }
}

impl std::error::Error for Failure {}

impl From<Error> for Failure {
    /// An error of this side: something that the command was given.
    fn from(error: Error) -> Self {
        let exit = if error.reason().code() == Code::Internal { Exit::Failed } else { Exit::Usage };
        let metadata = error.params().iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        Self(Box::new(Inner {
            exit,
            reason: Some(error.reason().name().to_owned()),
            metadata,
            en: error.message_en(),
            fr: error.message_fr(),
        }))
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        let Some(info) = status.get_details_error_info() else { return transport(&status) };
        let code = match status.code() {
            tonic::Code::NotFound => Code::NotFound,
            tonic::Code::PermissionDenied => Code::PermissionDenied,
            tonic::Code::Unauthenticated => Code::Unauthenticated,
            tonic::Code::Unavailable => Code::Unavailable,
            _ => Code::Internal,
        };
        let exit = exit_of(code, &info.reason);
        // The hub answers in the language that the call asked for.
        let text = status
            .get_details_localized_message()
            .map(|text| text.message)
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| status.message().to_owned());
        Self(Box::new(Inner {
            exit,
            reason: Some(info.reason),
            metadata: info.metadata.into_iter().collect(),
            fr: text.clone(),
            en: text,
        }))
    }
}

impl From<tonic::transport::Error> for Failure {
    fn from(error: tonic::transport::Error) -> Self {
        unreachable_hub(&root_cause(&error))
    }
}

/// How the program ends if the hub refuses.
fn exit_of(code: Code, reason: &str) -> Exit {
    match (code, reason) {
        (Code::NotFound | Code::PermissionDenied | Code::Unauthenticated, _) => Exit::Denied,
        (Code::Unavailable, "UNAVAILABLE") => Exit::Unreachable,
        _ => Exit::Failed,
    }
}

/// A status that does not come from the hub's services: the connection failed, or something in between answered.
fn transport(status: &tonic::Status) -> Failure {
    let cause = std::error::Error::source(status).map_or_else(|| status.message().to_owned(), root_cause);
    match status.code() {
        tonic::Code::DeadlineExceeded | tonic::Code::Cancelled => {
            Failure::new(Exit::Unreachable, "the hub did not answer in time", "le hub n'a pas répondu dans le délai")
        }
        tonic::Code::Unavailable | tonic::Code::Unknown => unreachable_hub(&cause),
        code => Failure::new(
            Exit::Failed,
            format!("the hub answered {code:?} without a reason: {cause}"),
            format!("le hub a répondu {code:?} sans raison : {cause}"),
        ),
    }
}

fn unreachable_hub(cause: &str) -> Failure {
    Failure::new(
        Exit::Unreachable,
        format!("the hub cannot be reached: {cause}"),
        format!("le hub est injoignable : {cause}"),
    )
}

/// The innermost cause, which says what really happened ("connection refused").
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    fn refusal(code: tonic::Code, reason: &str, metadata: &[(&str, &str)]) -> Failure {
        let metadata: HashMap<String, String> =
            metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, "hub.example", metadata);
        details.set_localized_message("fr", "aucun accord");
        tonic::Status::with_error_details(code, "no grant", details).into()
    }

    #[test]
    fn a_refusal_shows_the_localised_text_its_reason_and_a_command_that_helps() {
        let failure = refusal(
            tonic::Code::PermissionDenied,
            "GRANT_REQUIRED",
            &[("dataset", "chu.stays"), ("purpose", "scientific_research")],
        );
        assert_eq!(
            failure.render(Lang::Fr),
            "erreur: aucun accord [GRANT_REQUIRED]\n  essayez: odh access request chu.stays --purpose \
             scientific_research --justification \"...\""
        );
        assert_eq!((failure.exit(), failure.reason()), (Exit::Denied, Some("GRANT_REQUIRED")));
    }

    #[test]
    fn exit_codes_tell_refused_denied_and_unreachable_apart() {
        let exit = |code, reason| refusal(code, reason, &[]).exit();
        assert_eq!(exit(tonic::Code::NotFound, "NOT_FOUND_OR_DENIED"), Exit::Denied);
        assert_eq!(exit(tonic::Code::Unauthenticated, "UNAUTHENTICATED"), Exit::Denied);
        assert_eq!(exit(tonic::Code::Aborted, "ETAG_MISMATCH"), Exit::Failed);
        assert_eq!(exit(tonic::Code::Unavailable, "UNAVAILABLE"), Exit::Unreachable);
        assert_eq!(exit(tonic::Code::Unavailable, "AUDIT_UNAVAILABLE"), Exit::Failed);
        assert_eq!(Failure::from(tonic::Status::unavailable("refused")).exit(), Exit::Unreachable);
        assert_eq!(Failure::from(Error::new(Reason::IdInvalid)).exit(), Exit::Usage);
    }

    #[test]
    fn a_missing_file_is_named() {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        let failure = Failure::file(Path::new("/nowhere/ca.pem"), &missing);
        assert_eq!(failure.exit(), Exit::Usage);
        assert_eq!(failure.render(Lang::En), "error: there is no file `/nowhere/ca.pem`");
        assert!(failure.render(Lang::Fr).contains("/nowhere/ca.pem"));
    }

    #[test]
    fn a_reader_that_has_gone_away_is_no_failure() {
        assert_eq!(Failure::output(&io::Error::from(io::ErrorKind::BrokenPipe)).exit(), Exit::Ok);
        assert_eq!(Failure::output(&io::Error::from(io::ErrorKind::StorageFull)).exit(), Exit::Failed);
    }
}
