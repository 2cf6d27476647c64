//! The one error of the hub: a stable [`Reason`], its parameters, and texts in English and French.
//!
//! Everything below the transports returns [`Error`]; `grpc/status.rs` and `http` turn it into their own
//! shapes. A reason fixes the [`Code`] and both texts, so a message can never disagree between transports.
//! Whatever must not reach a caller (SQL, values, paths) goes into [`Error::internal`]'s log line, never here.

use std::{collections::BTreeMap, fmt};

/// Result of everything in the hub that can be refused or fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How a transport should answer; a deliberately small subset of the gRPC status codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    InvalidArgument,
    NotFound,
    AlreadyExists,
    Aborted,
    FailedPrecondition,
    Unauthenticated,
    PermissionDenied,
    ResourceExhausted,
    DeadlineExceeded,
    Unavailable,
    Internal,
    Cancelled,
    Unimplemented,
}

/// Declares [`Reason`] with everything that hangs on one: code, stable name and both texts.
macro_rules! reasons {
    ($($variant:ident $name:literal $code:ident $en:literal $fr:literal;)+) => {
        /// Why something was refused or failed: stable, machine-readable, the same in proto and docs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $(#[doc = concat!("`", $name, "`.")] $variant,)+ }

        impl Reason {
            /// Every reason, for documentation and for the test that compares them with the proto enum.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable name, as sent in `google.rpc.ErrorInfo.reason`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The code that this reason is answered with.
            pub const fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)+ }
            }

            const fn texts(self) -> (&'static str, &'static str) {
                match self { $(Self::$variant => ($en, $fr),)+ }
            }
        }
    };
}

reasons! {
    InvalidArgument "INVALID_ARGUMENT" InvalidArgument "`{field}` is not valid: {detail}" "`{field}` n'est pas valide : {detail}";
    IdInvalid "ID_INVALID" InvalidArgument "`{id}` is not an id: a lower-case letter, then at most 62 letters, digits or underscores" "`{id}` n'est pas un identifiant : une minuscule, puis au plus 62 minuscules, chiffres ou soulignés";
    SirenInvalid "SIREN_INVALID" InvalidArgument "`{siren}` is not a SIREN: nine digits with a valid Luhn check digit" "`{siren}` n'est pas un SIREN : neuf chiffres dont la clé de Luhn est juste";
    CsrInvalid "CSR_INVALID" InvalidArgument "the certificate request is not usable: {detail}" "la demande de certificat est inutilisable : {detail}";
    SignatureInvalid "SIGNATURE_INVALID" InvalidArgument "the signature of this act is not valid: {detail}" "la signature de cet acte n'est pas valide : {detail}";
    PolicyInvalid "POLICY_INVALID" InvalidArgument "the policy cannot be accepted: {path}: {detail}" "la politique est irrecevable : {path} : {detail}";
    PurposeUnknown "PURPOSE_UNKNOWN" InvalidArgument "`{purpose}` is not a purpose of this hub (see `odh policy purposes`)" "`{purpose}` n'est pas une finalité de ce hub (voir `odh policy purposes`)";
    ColumnUnknown "COLUMN_UNKNOWN" InvalidArgument "dataset `{dataset}` has no column `{column}`" "le jeu de données `{dataset}` n'a pas de colonne `{column}`";
    UploadMalformed "UPLOAD_MALFORMED" InvalidArgument "the file is malformed at line {line}: {detail}" "le fichier est mal formé à la ligne {line} : {detail}";
    UploadTooLarge "UPLOAD_TOO_LARGE" InvalidArgument "the file exceeds the limit of {limit}" "le fichier dépasse la limite de {limit}";
    UploadDigestMismatch "UPLOAD_DIGEST_MISMATCH" InvalidArgument "the bytes received do not have the announced size or SHA-256 digest" "les octets reçus n'ont pas la taille ou l'empreinte SHA-256 annoncée";
    ConsentsMalformed "CONSENTS_MALFORMED" InvalidArgument "the consents are malformed at line {line}: {detail}" "les consentements sont mal formés à la ligne {line} : {detail}";
    CharterMismatch "CHARTER_MISMATCH" InvalidArgument "the digest is not that of the current charter, version {version}" "l'empreinte n'est pas celle de la charte en vigueur, version {version}";
    FilterInvalid "FILTER_INVALID" InvalidArgument "the filter is not valid: {detail}" "le filtre n'est pas valide : {detail}";
    PageTokenInvalid "PAGE_TOKEN_INVALID" InvalidArgument "the page token is not valid for this caller and request" "le jeton de page n'est pas valable pour cet appelant et cette requête";
    MessageTooLarge "MESSAGE_TOO_LARGE" ResourceExhausted "the message exceeds {limit} bytes" "le message dépasse {limit} octets";
    AlreadyExists "ALREADY_EXISTS" AlreadyExists "{object} already exists" "{object} existe déjà";
    EtagMismatch "ETAG_MISMATCH" Aborted "{object} has changed since it was read: read it again" "{object} a changé depuis sa lecture : relisez-le";
    StateConflict "STATE_CONFLICT" FailedPrecondition "{object} is {state}: this needs it {wanted}" "{object} est dans l'état {state} : il faudrait {wanted}";
    RequestIdReused "REQUEST_ID_REUSED" AlreadyExists "this request id was used for another request" "cet identifiant de requête a servi pour une autre requête";
    Unauthenticated "UNAUTHENTICATED" Unauthenticated "a valid identity is required" "une identité valide est nécessaire";
    EnrolmentTokenInvalid "ENROLMENT_TOKEN_INVALID" Unauthenticated "the one-time token is unknown, used or expired" "le jeton à usage unique est inconnu, utilisé ou expiré";
    RoleMissing "ROLE_MISSING" PermissionDenied "none of your roles may {act} {family}" "aucun de vos rôles ne permet {act} sur {family}";
    ParticipantNotActive "PARTICIPANT_NOT_ACTIVE" PermissionDenied "participant `{participant}` is not active: it must sign the charter and be approved" "le participant `{participant}` n'est pas actif : il doit signer la charte et être approuvé";
    SeparationOfDuties "SEPARATION_OF_DUTIES" PermissionDenied "nobody decides on a request of their own organisation's member with the same identity" "nul ne décide de sa propre demande";
    PolicyDenied "POLICY_DENIED" PermissionDenied "the policy of `{dataset}` does not permit this ({clause}): {detail}" "la politique de `{dataset}` ne le permet pas ({clause}) : {detail}";
    DecisionFailed "DECISION_FAILED" PermissionDenied "this could not be decided ({fault}), so it is denied; the operator has been alerted" "la décision n'a pas pu être prise ({fault}) : refus ; l'opérateur est alerté";
    GrantRequired "GRANT_REQUIRED" PermissionDenied "no active grant covers `{dataset}` for purpose `{purpose}`: {unlock}" "aucun accord actif ne couvre `{dataset}` pour la finalité `{purpose}` : {unlock}";
    GrantRevoked "GRANT_REVOKED" PermissionDenied "the grant for `{dataset}` has been revoked" "l'accord sur `{dataset}` a été révoqué";
    GrantExpired "GRANT_EXPIRED" PermissionDenied "the grant for `{dataset}` has expired" "l'accord sur `{dataset}` a expiré";
    PurposeNotPermitted "PURPOSE_NOT_PERMITTED" PermissionDenied "purpose `{purpose}` is not covered by your grants on `{dataset}`: {unlock}" "la finalité `{purpose}` n'est pas couverte par vos accords sur `{dataset}` : {unlock}";
    NotFoundOrDenied "NOT_FOUND_OR_DENIED" NotFound "{object} does not exist, or you may not see it" "{object} n'existe pas, ou vous ne pouvez pas le voir";
    QueryRejected "QUERY_REJECTED" InvalidArgument "the query was rejected ({rule}): {detail}" "la requête a été rejetée ({rule}) : {detail}";
    QueryFailed "QUERY_FAILED" Internal "the query failed; quote its id {query_id} to the operator" "la requête a échoué ; citez son identifiant {query_id} à l'opérateur";
    QueryCut "QUERY_CUT" Aborted "the query was cut: a grant, policy or consent it depends on has changed" "la requête a été coupée : un accord, une politique ou un consentement dont elle dépend a changé";
    QueryLimit "QUERY_LIMIT" ResourceExhausted "the query reached its limit of {limit}" "la requête a atteint sa limite de {limit}";
    QueryBudgetSpent "QUERY_BUDGET_SPENT" ResourceExhausted "the {limit} queries that the policy of `{dataset}` allows have been asked" "les {limit} requêtes que permet la politique de `{dataset}` ont été posées";
    QueryRateExceeded "QUERY_RATE_EXCEEDED" ResourceExhausted "the policy of `{dataset}` allows {limit} queries in {seconds} s: ask again after {after}" "la politique de `{dataset}` permet {limit} requêtes en {seconds} s : redemandez après {after}";
    PrivacyBudgetSpent "PRIVACY_BUDGET_SPENT" ResourceExhausted "the privacy budget of `{dataset}` ({scope}) does not cover this question; one that was asked before is answered again for free" "le budget de confidentialité de `{dataset}` ({scope}) ne couvre pas cette question ; une question déjà posée reçoit de nouveau sa réponse sans frais";
    DeadlineExceeded "DEADLINE_EXCEEDED" DeadlineExceeded "the call did not end within its deadline" "l'appel n'a pas abouti dans son délai";
    AuditUnavailable "AUDIT_UNAVAILABLE" Unavailable "the audit log did not confirm this in time, so nothing was released: look whether it was recorded before you try again" "le journal d'audit ne l'a pas confirmé à temps, rien n'a été livré : vérifiez s'il a été enregistré avant de réessayer";
    Overloaded "OVERLOADED" ResourceExhausted "too many calls at once: try again later" "trop d'appels à la fois : réessayez plus tard";
    Unavailable "UNAVAILABLE" Unavailable "the hub is not ready for this now: try again" "le hub n'est pas prêt pour l'instant : réessayez";
    Internal "INTERNAL" Internal "an internal error occurred; quote incident {incident} to the operator" "une erreur interne est survenue ; citez l'incident {incident} à l'opérateur";
    PurposeRequired "PURPOSE_REQUIRED" InvalidArgument "name the purpose of this query, as the catalog or in the header `x-odh-purpose`; your grants are for: {purposes}" "indiquez la finalité de cette requête, comme catalogue ou dans l'en-tête `x-odh-purpose` ; vos accords portent sur : {purposes}";
    QueryCancelled "QUERY_CANCELLED" Cancelled "the query was cancelled by its caller" "la requête a été annulée par son appelant";
    Unimplemented "UNIMPLEMENTED" Unimplemented "this hub does not do this: {what}" "ce hub ne fait pas cela : {what}";
}

/// A refusal or failure, ready for any transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    reason: Reason,
    params: BTreeMap<&'static str, String>,
    /// Parameters that are words: what they are in French.
    french: BTreeMap<&'static str, String>,
}

impl Error {
    /// An error without parameters; add them with [`Error::with`].
    pub const fn new(reason: Reason) -> Self {
        Self { reason, params: BTreeMap::new(), french: BTreeMap::new() }
    }

    /// Adds one parameter that is words: each text quotes it in its own language, `ErrorInfo.metadata` in English.
    #[must_use]
    pub fn with_words(mut self, key: &'static str, en: impl fmt::Display, fr: impl fmt::Display) -> Self {
        self.french.insert(key, fr.to_string());
        self.with(key, en)
    }

    /// Adds one parameter. The texts quote it, and it travels as `ErrorInfo.metadata`: no personal data, no SQL.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.params.insert(key, value.to_string());
        self
    }

    /// Shorthand for a field that cannot be accepted.
    pub fn invalid(field: &'static str, detail: impl fmt::Display) -> Self {
        Self::new(Reason::InvalidArgument).with("field", field).with("detail", detail)
    }

    /// Shorthand for an object that is unknown or that the caller may not see: the two answer alike (P9).
    pub fn not_found(object: impl fmt::Display) -> Self {
        Self::new(Reason::NotFoundOrDenied).with("object", object)
    }

    /// Logs `cause` under a fresh incident id and returns the error that only carries this id.
    pub fn internal(cause: impl fmt::Display) -> Self {
        let incident = incident();
        tracing::error!(%incident, %cause, "internal error");
        Self::new(Reason::Internal).with("incident", incident)
    }

    /// Why.
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// The code that it is answered with.
    pub const fn code(&self) -> Code {
        self.reason.code()
    }

    /// The parameters, for `ErrorInfo.metadata`.
    pub const fn params(&self) -> &BTreeMap<&'static str, String> {
        &self.params
    }

    /// The text in French.
    pub fn message_fr(&self) -> String {
        self.render(self.reason.texts().1, &self.french)
    }

    /// The text in English, which is also [`fmt::Display`].
    pub fn message_en(&self) -> String {
        self.render(self.reason.texts().0, &BTreeMap::new())
    }

    /// Fills the template in one pass, so that a value that looks like a placeholder stays as it is.
    fn render(&self, template: &str, words: &BTreeMap<&'static str, String>) -> String {
        let mut out = String::with_capacity(template.len() + 32);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let Some((name, tail)) = after.split_once('}') else { break };
            out.push_str(words.get(name).or_else(|| self.params.get(name)).map_or("?", String::as_str));
            rest = tail;
        }
        out.push_str(rest);
        out
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message_en())
    }
}

impl std::error::Error for Error {}

/// A short random id that ties a caller's message to a log line.
fn incident() -> String {
    let mut bytes = [0_u8; 6];
    // Randomness only makes the id unique; a constant would still be a usable, if ambiguous, id.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = fmt::Write::write_fmt(&mut hex, format_args!("{byte:02x}"));
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_quote_their_parameters_in_both_languages() {
        let error = Error::new(Reason::SirenInvalid).with("siren", "123");
        assert!(error.message_en().contains("`123`"));
        assert!(error.message_fr().contains("`123`"));
    }

    #[test]
    fn a_parameter_that_is_words_is_in_the_language_of_its_text() {
        let error = Error::new(Reason::QueryRejected).with("rule", "syntax").with_words("detail", "no", "non");
        assert!(error.message_en().ends_with(": no") && error.message_fr().ends_with(" : non"));
        assert_eq!(error.params()["detail"], "no");
    }

    #[test]
    fn both_texts_of_a_reason_name_the_same_parameters() {
        let params = |text: &str| {
            let mut names: Vec<_> =
                text.split('{').skip(1).filter_map(|s| s.split('}').next()).map(str::to_owned).collect();
            names.sort();
            names
        };
        for reason in Reason::ALL {
            let (en, fr) = reason.texts();
            assert_eq!(params(en), params(fr), "{}", reason.name());
        }
    }
}
