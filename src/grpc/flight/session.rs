//! Sessions, which hold one thing: the catalog, that is the purpose, of queries that name none.
//!
//! JDBC's `catalog` sets it. It lives in a cookie of the client and not here: it says no more than a header could, and
//! so there is nothing to keep, to bind to a member, or to lose when a hub restarts. A session is never silently
//! another one.

use std::collections::HashMap;

use prost::Message as _;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

use super::context::purpose;
use crate::{
    domain::Vocabulary,
    error::{Error, Result},
};

/// The cookie that holds the catalog.
const COOKIE: &str = "odh_catalog";
/// The option that sets it.
const CATALOG: &str = "catalog";

/// The catalog of the session.
pub(super) fn catalog(headers: &MetadataMap) -> Option<&str> {
    let cookies = headers.get_all("cookie").iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == COOKIE)?;
    Some(value.trim_matches('"')).filter(|value| !value.is_empty())
}

/// Sets options; gives the answer and the cookie to send along.
pub(super) fn set(body: &[u8], vocabulary: &Vocabulary) -> Result<(Vec<u8>, Option<MetadataValue<Ascii>>)> {
    let asked = SetSessionOptionsRequest::decode(body).map_err(|_| malformed())?;
    let mut result = SetSessionOptionsResult::default();
    let mut cookie = None;
    for (name, value) in asked.session_options {
        let error = match (name.as_str(), value.value) {
            (CATALOG, Some(option::Value::Text(slug))) if slug.is_empty() => {
                cookie = Some(cookie_of("")?);
                continue;
            }
            (CATALOG, Some(option::Value::Text(slug))) => {
                match purpose(&slug).and_then(|slug| vocabulary.require(&slug).map(|known| known.slug.clone())) {
                    Ok(slug) => {
                        cookie = Some(cookie_of(slug.as_str())?);
                        continue;
                    }
                    Err(_) => ErrorValue::InvalidValue,
                }
            }
            (CATALOG, _) => ErrorValue::InvalidValue,
            _ => ErrorValue::InvalidName,
        };
        result.errors.insert(name, OptionError { value: error.into() });
    }
    Ok((result.encode_to_vec(), cookie))
}

/// The options as they are.
pub(super) fn get(headers: &MetadataMap) -> Vec<u8> {
    let value = |catalog: &str| SessionOptionValue { value: Some(option::Value::Text(catalog.to_owned())) };
    let session_options = catalog(headers).map(|it| (CATALOG.to_owned(), value(it))).into_iter().collect();
    GetSessionOptionsResult { session_options }.encode_to_vec()
}

/// Ends the session; gives the answer and the cookie that takes the catalog away.
pub(super) fn close() -> Result<(Vec<u8>, MetadataValue<Ascii>)> {
    let result = CloseSessionResult { status: CloseStatus::Closed.into() };
    Ok((result.encode_to_vec(), cookie_of("")?))
}

fn cookie_of(slug: &str) -> Result<MetadataValue<Ascii>> {
    let age = if slug.is_empty() { "; Max-Age=0" } else { "" };
    format!("{COOKIE}={slug}; Path=/; Secure; HttpOnly{age}").parse().map_err(Error::internal)
}

fn malformed() -> Error {
    Error::invalid("body", "it is not the message of this action")
}

// --- messages of `Flight.proto` that `arrow-flight` does not have ---------------------------------------------------

#[derive(Clone, PartialEq, prost::Message)]
struct SessionOptionValue {
    #[prost(oneof = "option::Value", tags = "1, 2, 3, 4, 5")]
    value: Option<option::Value>,
}

mod option {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(super) enum Value {
        #[prost(string, tag = "1")]
        Text(String),
        #[prost(bool, tag = "2")]
        Bool(bool),
        #[prost(sfixed64, tag = "3")]
        Int(i64),
        #[prost(double, tag = "4")]
        Double(f64),
        #[prost(message, tag = "5")]
        List(Texts),
    }

    #[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
    pub(super) struct Texts {
        #[prost(string, repeated, tag = "1")]
        values: Vec<String>,
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct SetSessionOptionsRequest {
    #[prost(map = "string, message", tag = "1")]
    session_options: HashMap<String, SessionOptionValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SetSessionOptionsResult {
    #[prost(map = "string, message", tag = "1")]
    errors: HashMap<String, OptionError>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
struct OptionError {
    #[prost(enumeration = "ErrorValue", tag = "1")]
    value: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum ErrorValue {
    Unspecified = 0,
    InvalidName = 1,
    InvalidValue = 2,
    Error = 3,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GetSessionOptionsResult {
    #[prost(map = "string, message", tag = "1")]
    session_options: HashMap<String, SessionOptionValue>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
struct CloseSessionResult {
    #[prost(enumeration = "CloseStatus", tag = "1")]
    status: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum CloseStatus {
    Unspecified = 0,
    Closed = 1,
    Closing = 2,
    NotCloseable = 3,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(name: &str, value: option::Value) -> (SetSessionOptionsResult, Option<MetadataValue<Ascii>>) {
        let session_options = HashMap::from([(name.to_owned(), SessionOptionValue { value: Some(value) })]);
        let body = SetSessionOptionsRequest { session_options }.encode_to_vec();
        let (answer, cookie) = set(&body, &crate::policy::vocabulary::load().unwrap()).unwrap();
        (SetSessionOptionsResult::decode(answer.as_slice()).unwrap(), cookie)
    }

    #[test]
    fn the_catalog_comes_back_as_the_cookie_that_was_given() {
        let (answer, cookie) = ask(CATALOG, option::Value::Text("scientific_research".to_owned()));
        assert!(answer.errors.is_empty());
        let cookie = cookie.unwrap().to_str().unwrap().to_owned();
        let mut headers = MetadataMap::new();
        assert_eq!(catalog(&headers), None);
        headers.insert("cookie", format!("other=1; {}", cookie.split(';').next().unwrap()).parse().unwrap());
        assert_eq!(catalog(&headers), Some("scientific_research"));
        let options = GetSessionOptionsResult::decode(get(&headers).as_slice()).unwrap().session_options;
        assert_eq!(options[CATALOG].value, Some(option::Value::Text("scientific_research".to_owned())));
        assert!(close().unwrap().1.to_str().unwrap().contains("Max-Age=0"));
    }

    #[test]
    fn what_is_no_purpose_or_no_option_is_said_by_name() {
        let text = |value: &str| option::Value::Text(value.to_owned());
        for (name, value, error) in [
            (CATALOG, text("no_such_purpose"), ErrorValue::InvalidValue),
            (CATALOG, text("x; Path=/"), ErrorValue::InvalidValue),
            (CATALOG, option::Value::Bool(true), ErrorValue::InvalidValue),
            ("schema", text("chu"), ErrorValue::InvalidName),
        ] {
            let (answer, cookie) = ask(name, value);
            assert_eq!(answer.errors[name].value, i32::from(error), "{name}");
            assert!(cookie.is_none());
        }
    }
}
