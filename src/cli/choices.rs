//! Values of arguments: enums of the API by their short names, durations, and what lists have in common.

use std::future::Future;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::failure::Failure;
use crate::grpc::pb;

/// Roles.
pub(super) fn role() -> impl TypedValueParser<Value = pb::Role> {
    choice("ROLE_", &["operator", "participant_admin", "steward", "requester", "auditor"], pb::Role::from_str_name)
}

/// Kinds of participants.
pub(super) fn kind() -> impl TypedValueParser<Value = pb::ParticipantKind> {
    choice("PARTICIPANT_KIND_", &["company", "lab", "public_body"], pb::ParticipantKind::from_str_name)
}

/// What a grant can be for.
pub(super) fn action() -> impl TypedValueParser<Value = pb::Action> {
    choice("ACTION_", &["read", "aggregate", "download"], pb::Action::from_str_name)
}

/// What a decision can be about.
pub(super) fn any_action() -> impl TypedValueParser<Value = pb::Action> {
    choice("ACTION_", &["discover", "read", "aggregate", "download"], pb::Action::from_str_name)
}

/// Whether a dataset needs a grant.
pub(super) fn access_level() -> impl TypedValueParser<Value = pb::AccessLevel> {
    choice("ACCESS_LEVEL_", &["open", "restricted"], pb::AccessLevel::from_str_name)
}

/// How a file is written.
pub(super) fn file_format() -> impl TypedValueParser<Value = pb::FileFormat> {
    choice("FILE_FORMAT_", &["csv", "parquet"], pb::FileFormat::from_str_name)
}

fn choice<T: Clone + Send + Sync + 'static>(
    prefix: &'static str,
    values: &'static [&'static str],
    read: fn(&str) -> Option<T>,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(values)
        .try_map(move |text| read(&format!("{prefix}{}", text.to_uppercase())).ok_or("not a value of the API"))
}

/// A duration: a number and `s`, `m`, `h` or `d`, for example `90d`.
pub(super) fn duration(text: &str) -> Result<prost_types::Duration, String> {
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => 0,
    };
    let number = text.get(..text.len().saturating_sub(1)).and_then(|number| number.parse::<u32>().ok());
    match number.and_then(|number| i64::from(number).checked_mul(unit)).filter(|seconds| *seconds > 0) {
        Some(seconds) => Ok(prost_types::Duration { seconds, nanos: 0 }),
        None => Err("write a number and s, m, h or d, for example 90d".to_owned()),
    }
}

/// What every list takes.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ListArgs {
    /// At most this many.
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub limit: usize,
}

/// A filter (AIP-160), for lists that have one.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct FilterArgs {
    /// Only what fits, for example `state = "active" AND kind = "lab"`.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "EXPRESSION")]
    pub filter: String,
}

/// Collects the pages of a list until `limit`. `next` gets the size and token of a page and returns the page and the
/// token of the next one. Says also whether there is more.
pub(super) async fn pages<T, F, P>(limit: usize, mut next: F) -> Result<(Vec<T>, bool), Failure>
where
    F: FnMut(i32, String) -> P,
    P: Future<Output = Result<(Vec<T>, String), Failure>>,
{
    let mut found = Vec::new();
    let mut token = String::new();
    loop {
        let wanted = limit.saturating_sub(found.len());
        if wanted == 0 {
            return Ok((found, true));
        }
        let size = i32::try_from(wanted.min(1_000)).unwrap_or(1_000);
        let (page, following) = next(size, token).await?;
        found.extend(page.into_iter().take(wanted));
        if following.is_empty() {
            return Ok((found, false));
        }
        token = following;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, seconds) in [("45s", 45), ("15m", 900), ("12h", 43_200), ("90d", 7_776_000)] {
            assert_eq!(duration(text).unwrap().seconds, seconds);
        }
        for bad in ["", "d", "90", "0d", "-1d", "1.5h", "1w", "é", "9999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    /// Serves the numbers from 0 to 9 in pages of at most four.
    async fn page(size: i32, token: String) -> Result<(Vec<usize>, String), Failure> {
        let start: usize = token.parse().unwrap_or(0);
        let end = 10.min(start + usize::try_from(size).unwrap().min(4));
        let next = if end == 10 { String::new() } else { end.to_string() };
        Ok(((start..end).collect(), next))
    }

    #[tokio::test]
    async fn pages_are_collected_up_to_the_limit() {
        assert_eq!(pages(200, page).await.unwrap(), ((0..10).collect(), false));
        assert_eq!(pages(5, page).await.unwrap(), ((0..5).collect(), true));
        assert_eq!(pages(10, page).await.unwrap(), ((0..10).collect(), false));
        assert_eq!(pages(0, page).await.unwrap(), (vec![], true));
    }
}
