//! Logging in as JDBC and ADBC do: the access token comes as a password and goes back as a bearer.
//!
//! Nothing is issued here. A token that is bound to a certificate stays bound to it; the user's name says nothing.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderValue, header};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

use crate::{
    error::{Error, Reason, Result},
    grpc::call,
};

/// With padding or without: ADBC sends none.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The access token of a handshake: a bearer, or the password of Basic (RFC 7617).
pub(in crate::grpc) fn credential(headers: &HeaderMap) -> Result<Option<String>> {
    let basic = headers.get(header::AUTHORIZATION).and_then(basic);
    let Some(encoded) = basic else { return Ok(call::bearer(headers)?.map(str::to_owned)) };
    let refused = || Error::new(Reason::Unauthenticated);
    if headers.get_all(header::AUTHORIZATION).iter().count() > 1 {
        return Err(refused());
    }
    let decoded = BASE64.decode(encoded).map_err(|_| refused())?;
    let text = String::from_utf8(decoded).map_err(|_| refused())?;
    let (_, password) = text.split_once(':').ok_or_else(refused)?;
    if call::is_token(password) { Ok(Some(password.to_owned())) } else { Err(refused()) }
}

/// What the client is to send from now on; nothing if it has only its certificate.
pub(super) fn bearer(headers: &MetadataMap) -> Result<Option<MetadataValue<Ascii>>> {
    let headers = headers.clone().into_headers();
    let Some(token) = credential(&headers)? else { return Ok(None) };
    let mut value: MetadataValue<Ascii> =
        format!("Bearer {token}").parse().map_err(|_| Error::new(Reason::Unauthenticated))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// What follows `Basic`.
fn basic(value: &HeaderValue) -> Option<&str> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then_some(encoded.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> Result<Option<String>> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        credential(&headers)
    }

    #[test]
    fn the_password_is_the_token_with_padding_and_without() {
        // user:a.b-c_d
        for good in ["Basic dXNlcjphLmItY19k", "basic dXNlcjphLmItY19k"] {
            assert_eq!(of(&[good]).unwrap().unwrap(), "a.b-c_d");
        }
        // u:ab
        for good in ["Basic dTphYg==", "Basic dTphYg"] {
            assert_eq!(of(&[good]).unwrap().unwrap(), "ab");
        }
        assert_eq!(of(&["Bearer a.b"]).unwrap().unwrap(), "a.b");
        assert_eq!(of(&[]).unwrap(), None);
    }

    #[test]
    fn what_holds_no_token_is_refused() {
        // `u:`, `ab` without a colon, `u:a b`, `u:é`, not base64, not UTF-8.
        for bad in
            ["Basic dTo", "Basic YWI", "Basic dTphIGI", "Basic dTrDqQ", "Basic %%", "Basic /w", "Basic ", "Digest x"]
        {
            assert_eq!(of(&[bad]).unwrap_err().reason(), Reason::Unauthenticated, "{bad}");
        }
        assert!(of(&["Basic dTphYg", "Bearer a"]).is_err() && of(&["Bearer a", "Basic dTphYg"]).is_err());
    }
}
