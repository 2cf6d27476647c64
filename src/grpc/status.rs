//! The one map from the hub's errors to gRPC statuses (AIP-193), and the language that a caller asked for.
//!
//! Each status carries exactly one `ErrorInfo` and one `LocalizedMessage`; its own message is English, for programs.

use std::collections::HashMap;

use http::HeaderMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::pb;
use crate::error::{Code as HubCode, Error, Reason};

/// A language of the hub's texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Language {
    /// English, unless French is asked for.
    #[default]
    English,
    /// French.
    French,
}

impl Language {
    /// The language that `accept-language` (RFC 9110 section 12.5.4) prefers; English if it names neither.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let asked = headers.get(http::header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let mut best = (0, Self::English);
        for range in asked.split(',').take(32) {
            let mut parts = range.split(';').map(str::trim);
            let tag = parts.next().unwrap_or("").split('-').next().unwrap_or("");
            let language = match tag.to_ascii_lowercase().as_str() {
                "fr" => Self::French,
                "en" | "*" => Self::English,
                _ => continue,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(1_000, thousandths);
            if weight > best.0 {
                best = (weight, language);
            }
        }
        best.1
    }

    const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::French => "fr",
        }
    }

    fn message(self, error: &Error) -> String {
        match self {
            Self::English => error.message_en(),
            Self::French => error.message_fr(),
        }
    }
}

/// A weight of RFC 9110 (`0.8`, at most three decimals) in thousandths; 0 for anything else.
fn thousandths(weight: &str) -> u16 {
    let (whole, decimals) = weight.split_once('.').unwrap_or((weight, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return 0;
    }
    match whole {
        "1" => 1_000,
        "0" => format!("{decimals:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

/// The status that answers `error`.
pub(super) fn status(error: &Error, hub_id: &str, language: Language) -> Status {
    let mut details = ErrorDetails::with_error_info(error.reason().name(), hub_id, metadata(error));
    details.set_localized_message(language.tag(), language.message(error));
    Status::with_error_details(code(error.code()), error.message_en(), details)
}

/// What a call would be refused with, as part of an answer.
pub(super) fn refusal(error: &Error) -> pb::Refusal {
    pb::Refusal {
        reason: reason(error.reason()).into(),
        metadata: metadata(error).into_iter().collect(),
        message: Some(pb::LocalizedText { fr: error.message_fr(), en: error.message_en() }),
    }
}

/// The hub's error for a status that tonic itself made, which therefore has no details: `None` leaves it as it is.
///
/// `limit` is the largest message in bytes. tonic answers a message that is too large with `OUT_OF_RANGE` and one
/// that it cannot decode with `INTERNAL`; its own time-out is `CANCELLED`.
pub(super) fn of_transport(code: Code, limit: usize) -> Option<Error> {
    match code {
        Code::OutOfRange => Some(Error::new(Reason::MessageTooLarge).with("limit", limit)),
        Code::Cancelled => Some(Error::new(Reason::DeadlineExceeded)),
        Code::Internal => Some(Error::invalid("message", "it is not a message of this call")),
        Code::ResourceExhausted => Some(Error::new(Reason::Overloaded)),
        Code::Unavailable => Some(Error::new(Reason::Unavailable)),
        _ => None,
    }
}

/// The gRPC code of one of the hub's.
const fn code(code: HubCode) -> Code {
    match code {
        HubCode::InvalidArgument => Code::InvalidArgument,
        HubCode::NotFound => Code::NotFound,
        HubCode::AlreadyExists => Code::AlreadyExists,
        HubCode::Aborted => Code::Aborted,
        HubCode::FailedPrecondition => Code::FailedPrecondition,
        HubCode::Unauthenticated => Code::Unauthenticated,
        HubCode::PermissionDenied => Code::PermissionDenied,
        HubCode::ResourceExhausted => Code::ResourceExhausted,
        HubCode::DeadlineExceeded => Code::DeadlineExceeded,
        HubCode::Unavailable => Code::Unavailable,
        HubCode::Internal => Code::Internal,
        HubCode::Cancelled => Code::Cancelled,
        HubCode::Unimplemented => Code::Unimplemented,
    }
}

/// The name of a status code as metrics and dashboards know it.
pub(super) const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

fn reason(reason: Reason) -> pb::ErrorReason {
    pb::ErrorReason::from_str_name(&format!("ERROR_REASON_{}", reason.name())).unwrap_or(pb::ErrorReason::Internal)
}

fn metadata(error: &Error) -> HashMap<String, String> {
    error.params().iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn language(accept: &str) -> Language {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::ACCEPT_LANGUAGE, accept.parse().unwrap());
        Language::of(&headers)
    }

    #[test]
    fn the_reasons_of_the_hub_are_those_of_the_api() {
        for known in Reason::ALL {
            let value = pb::ErrorReason::from_str_name(&format!("ERROR_REASON_{}", known.name()));
            assert!(value.is_some(), "{} is not in errors.proto", known.name());
        }
        let in_proto = (1..1_000).take_while(|value| pb::ErrorReason::try_from(*value).is_ok()).count();
        assert_eq!(in_proto, Reason::ALL.len());
    }

    #[test]
    fn each_reason_becomes_a_status_with_one_info_and_one_text() {
        for known in Reason::ALL {
            let error = Error::new(*known).with("dataset", "chu.stays");
            let status = status(&error, "hub.example", Language::French);
            assert_ne!(status.code(), Code::Ok);
            let details = status.get_error_details();
            let info = details.error_info().unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (known.name(), "hub.example"));
            assert_eq!(info.metadata["dataset"], "chu.stays");
            let text = details.localized_message().unwrap();
            assert_eq!((text.locale.as_str(), &text.message), ("fr", &error.message_fr()));
            assert_eq!(status.message(), error.message_en());
        }
    }

    #[test]
    fn the_language_is_the_one_preferred_and_english_otherwise() {
        for french in ["fr", "fr-FR", "FR", "de, fr;q=0.5", "en;q=0.4,fr;q=0.5", "fr, en"] {
            assert_eq!(language(french), Language::French, "{french}");
        }
        for english in ["", "de", "en-GB, fr;q=0.9", "fr;q=0", "fr;q=2", "*", "fr;q=0.5, en;q=0.501"] {
            assert_eq!(language(english), Language::English, "{english}");
        }
        assert_eq!(Language::of(&HeaderMap::new()), Language::English);
    }
}
